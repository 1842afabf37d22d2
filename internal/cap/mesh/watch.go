package mesh

import (
	"errors"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/telemetry"
)

// call is what the mesh remembers of a request until it ends. Calls are used again.
type call struct {
	telemetry.Call
	visit  *visit
	under  *resolved // the plan that decided
	series *telemetry.Series
	set    [maxSet]proxy.Header
}

// maxSet is room for the fields that a request without a user gets.
const maxSet = 4

// series are those of a link under one plan.
type series struct {
	allowed []*telemetry.Series // by rule
	// What no rule names, or what didn't come to be.
	undeclared, denied, limited, failed *telemetry.Series
}

// newSeries finds the series of a plan's rules.
func newSeries(m *telemetry.Meter, p *plan.Plan) []*telemetry.Series {
	out := make([]*telemetry.Series, len(p.Rules))
	for i := range p.Rules {
		r := &p.Rules[i]
		out[i] = m.Series(telemetry.Label{Caller: r.Caller, Target: r.Target, Route: r.Grant.String(), Verdict: telemetry.Allowed})
		m.Series(telemetry.Label{Caller: r.Caller, Target: r.Target, Route: telemetry.Undeclared}) // refusals show from the start
	}
	return out
}

func (m *Mesh) seriesOf(s *state, l *link) series {
	name := func(party string) string {
		if s.has(party) {
			return party
		}
		return ""
	}
	of := func(v telemetry.Verdict) *telemetry.Series {
		return m.config.Meter.Series(telemetry.Label{Caller: name(l.caller), Target: name(l.target), Route: telemetry.Undeclared, Verdict: v})
	}
	return series{s.allowed, of(telemetry.Allowed), of(telemetry.Denied), of(telemetry.Limited), of(telemetry.Failed)}
}

// rule is the series of what a rule allowed; -1 is none: it was learnt.
func (s *series) rule(i int32) *telemetry.Series {
	if i < 0 || int(i) >= len(s.allowed) {
		return s.undeclared
	}
	return s.allowed[i]
}

// begin takes a call for a request that is let pass. What it returns is the traceparent to send on.
func (m *Mesh) begin(res *resolved, rule int32, parent string, n int) (*call, string) {
	c := m.calls.Get().(*call)
	c.visit, c.under, c.series = nil, res, res.series.rule(rule)
	return c, c.Begin(c.series, parent, n)
}

// end counts a request that was let pass.
func (m *Mesh) end(c *call, r *proxy.Record) {
	if c.visit != nil {
		c.visit.leave()
	}
	s := c.series
	switch {
	case errors.Is(r.Err, proxy.ErrBusy):
		s = c.under.series.limited
	case errors.Is(r.Err, proxy.ErrDial), errors.Is(r.Err, proxy.ErrClosed), !r.Verdict.Allow:
		s = c.under.series.failed
	}
	c.End(m.config.Meter, s, ended(r))
	c.under = nil
	m.calls.Put(c)
}

// over counts what was let pass and has no record of the engine's.
func (m *Mesh) over(c *call, s *telemetry.Series) {
	c.End(m.config.Meter, s, telemetry.Ended{Start: m.config.Clock.Now()})
	c.under = nil
	m.calls.Put(c)
}

func ended(r *proxy.Record) telemetry.Ended {
	return telemetry.Ended{Status: r.Status, In: r.In, Out: r.Out, Start: r.Start, Took: r.Took}
}

// refused counts a request that wasn't let pass.
func (m *Mesh) refused(l *link, r *proxy.Record) {
	res := m.resolve(l)
	if res == nil {
		return
	}
	span, decided := r.Verdict.Tag.(telemetry.Span)
	if !decided {
		parent, n := "", 0
		if r.Request.Method != "" {
			parent, n = r.Request.Get(telemetry.TraceParent)
		}
		span = telemetry.NewSpan(parent, n)
	}
	m.config.Meter.Note(res.series.denied, span, ended(r))
}

// dropped counts a connection that was closed before a request could come, and returns the trace that shows it.
func (m *Mesh) dropped(s *telemetry.Series) telemetry.TraceID {
	span := telemetry.NewSpan("", 0)
	m.config.Meter.Note(s, span, telemetry.Ended{Start: m.config.Clock.Now()})
	return span.Trace
}
