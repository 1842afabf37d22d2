package telemetry

import "time"

// Call is a request under way. Whoever forwards it keeps it until End, and may use it again then.
type Call struct {
	Span
	series *Series
	parent Parent
}

// Begin counts a request as under way in s, and gives it its place in a trace (see NewSpan). It returns the traceparent to send on, which
// holds until the Call begins anew.
func (c *Call) Begin(s *Series, parent string, n int) string {
	c.series, c.Span = s, NewSpan(parent, n)
	s.open.Add(1)
	return c.parent.Write(&c.Span)
}

// Ended is how a request ended.
type Ended struct {
	Status  int
	In, Out int64 // bytes of bodies
	Start   time.Time
	Took    time.Duration
}

// End counts a request in s, the series in which it began or, where it came out otherwise, another one; and leaves its record.
func (c *Call) End(m *Meter, s *Series, e Ended) {
	c.series.open.Add(-1)
	s.Count(e.Status, e.In, e.Out, e.Took)
	m.Ring.Put(&Record{Span: c.Span, Start: e.Start.UnixNano(), Took: e.Took, In: e.In, Out: e.Out, Series: s.number, Status: uint16(max(0, min(e.Status, 999)))})
}

// Note counts a request that was refused before it was under way, and leaves its record in a place of a trace (see NewSpan).
func (m *Meter) Note(s *Series, span Span, e Ended) {
	s.Count(e.Status, e.In, e.Out, e.Took)
	m.Ring.Put(&Record{Span: span, Start: e.Start.UnixNano(), Took: e.Took, In: e.In, Out: e.Out, Series: s.number, Status: uint16(max(0, min(e.Status, 999)))})
}
