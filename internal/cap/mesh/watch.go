package mesh

import (
	"errors"
	"net/http"
	"time"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/telemetry"
)

// call is what the mesh remembers of a request until it ends. Calls are used again.
type call struct {
	telemetry.Call
	visit *visit
	to    *verdicts // of the rule that let it pass, under the plan that decided
	set   [maxSet]proxy.Header
}

// maxSet is room for the fields that a request without a user gets.
const maxSet = 4

// verdicts are the series of what one rule lets pass, by what became of it.
type verdicts struct {
	allowed, limited, failed *telemetry.Series
	within                   time.Duration // the promised p99, 0 for none: who waited longer in vain wasn't just impatient
}

// series are those of a link under one plan.
type series struct {
	rules      []verdicts // by rule of the plan
	undeclared verdicts   // of what is learnt: no rule names it yet
	denied     *telemetry.Series
}

// newVerdicts finds the series of a route; l.Verdict isn't looked at.
func newVerdicts(m *telemetry.Meter, l telemetry.Label) verdicts {
	of := func(v telemetry.Verdict) *telemetry.Series {
		l.Verdict = v
		return m.Series(l)
	}
	return verdicts{allowed: of(telemetry.Allowed), limited: of(telemetry.Limited), failed: of(telemetry.Failed)}
}

// newSeries finds the series of a plan's rules.
func newSeries(m *telemetry.Meter, p *plan.Plan) []verdicts {
	out := make([]verdicts, len(p.Rules))
	for i := range p.Rules {
		r := &p.Rules[i]
		out[i] = newVerdicts(m, telemetry.Label{Caller: r.Caller, Target: r.Target, Route: r.Grant.String()})
		out[i].within = time.Duration(p.Watch.SLO.Of(model.ServiceName(r.Target)).P99) * time.Millisecond
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
	label := telemetry.Label{Caller: name(l.caller), Target: name(l.target), Route: telemetry.Undeclared}
	return series{s.series, newVerdicts(m.config.Meter, label), m.config.Meter.Series(label)}
}

// rule are the series of what a rule lets pass; -1 is none: it was learnt.
func (s *series) rule(i int32) *verdicts {
	if i < 0 || int(i) >= len(s.rules) {
		return &s.undeclared
	}
	return &s.rules[i]
}

// begin takes a call for a request that is let pass. What it returns is the traceparent to send on.
func (m *Mesh) begin(res *resolved, rule int32, parent string, n int) (*call, string) {
	c := m.calls.Get().(*call)
	c.visit, c.to = nil, res.series.rule(rule)
	return c, c.Begin(c.to.allowed, parent, n)
}

// end counts a request that was let pass.
func (m *Mesh) end(c *call, r *proxy.Record) {
	if c.visit != nil {
		c.visit.leave()
	}
	s, e := c.to.allowed, ended(r)
	switch {
	case errors.Is(r.Err, proxy.ErrBusy):
		s = c.to.limited
	case errors.Is(r.Err, proxy.ErrDial), errors.Is(r.Err, proxy.ErrClosed), !r.Verdict.Allow:
		s = c.to.failed
	case c.gaveUp(r):
		s, e.Status = c.to.failed, http.StatusGatewayTimeout // nobody was there to be told
	}
	c.End(m.config.Meter, s, e)
	c.to = nil
	m.calls.Put(c)
}

// gaveUp tells whether the caller left without an answer after longer than is promised. A call of gRPC may be a stream on which there was
// nothing to say yet.
func (c *call) gaveUp(r *proxy.Record) bool {
	return r.Status == 0 && errors.Is(r.Err, proxy.ErrGone) && c.to.within > 0 && r.Took > c.to.within+proxy.Tick && r.Request.Protocol != canon.GRPC
}

// over counts what was let pass and has no record of the engine's.
func (m *Mesh) over(c *call, s *telemetry.Series) {
	c.End(m.config.Meter, s, telemetry.Ended{Start: m.config.Clock.Now()})
	c.to = nil
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
