package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/telemetry"
)

// call is what the gateway remembers of a request until it ends. Calls are used again.
type call struct {
	telemetry.Call
	stay   *stay // nil without a session
	routed routed
	to     *verdicts // under the plan that decided
}

// routed is where a request led.
type routed struct {
	rule int32 // the route's, -1 for none
	own  own
	in   bool // a person of the console asks: what they look for may look like an attack
}

// own are Ward's own pages.
type own uint8

const (
	notOwn own = iota
	signInPages
	consolePages
)

// routes are the series of a plan's routes.
type routes struct {
	rules      []verdicts // by rule of the plan; only routes' are asked for
	undeclared verdicts
	own        [consolePages + 1]verdicts
	meter      *telemetry.Meter
}

// verdicts are the series of one route, by verdict.
type verdicts [telemetry.Failed + 1]*telemetry.Series

// The routes that stand for Ward's own pages: of sign-in and the provider, and of the console.
const (
	ownRoute     = "sign-in"
	consoleRoute = "console"
)

func newRoutes(m *telemetry.Meter, p *plan.Plan) routes {
	of := func(target, route string) (out verdicts) {
		for v := range out {
			out[v] = m.Series(telemetry.Label{Caller: plan.Outside, Target: target, Route: route, Verdict: telemetry.Verdict(v)})
		}
		return out
	}
	x := routes{meter: m, rules: make([]verdicts, len(p.Rules)), undeclared: of("", telemetry.Undeclared)}
	x.own[signInPages], x.own[consolePages] = of(plan.Self, ownRoute), of(plan.Self, consoleRoute)
	for i := range p.Rules {
		if r := &p.Rules[i]; r.Caller == plan.Outside {
			x.rules[i] = of(r.Target, r.Grant.String())
		}
	}
	return x
}

// of are the series of where a request led.
func (x *routes) of(to routed) *verdicts {
	switch {
	case to.own != notOwn:
		return &x.own[to.own]
	case to.rule >= 0 && int(to.rule) < len(x.rules) && x.rules[to.rule][0] != nil:
		return &x.rules[to.rule]
	}
	return &x.undeclared
}

// decide routes and decides a request from outside, and counts it.
func (g *Gateway) decide(ctx context.Context, r *proxy.Request) proxy.Verdict {
	s := g.state.Load()
	if s == nil {
		return proxy.Verdict{Status: http.StatusServiceUnavailable, Public: "the gateway is starting"}
	}
	c := g.calls.Get().(*call)
	c.stay, c.routed = nil, routed{rule: -1}
	v, judged := g.answered(ctx, s, r, c)
	parent, n := r.Get(telemetry.TraceParent)
	if s.plan.Users.On() || slices.Contains(v.Drop, telemetry.TraceParent) {
		n = 0 // whom a call is for may follow from its trace: a stranger doesn't choose it
	}
	c.to = s.routes.of(c.routed)
	sent := c.Begin(c.to[verdictOf(&v)], parent, n)
	if v.Allow {
		v.Set = append(v.Set[:len(v.Set):len(v.Set)], proxy.Header{Name: telemetry.TraceParent, Value: sent})
	}
	if v.Tag = c; judged && !c.routed.in {
		g.sight(r, &v, c.routed, c.Trace)
	}
	return v
}

// answered decides a request of a client that nothing stands against; others' aren't judged.
func (g *Gateway) answered(ctx context.Context, s *state, r *proxy.Request, c *call) (v proxy.Verdict, judged bool) {
	who, known := r.Conn.Peer.(*client)
	if known {
		who.asked.Store(true)
		if wait, id := g.standing.Load().refuses(who.from); wait > 0 {
			return proxy.Verdict{
				Status: http.StatusTooManyRequests, Public: "this address may not ask for more now", DenialID: id,
				Respond: []proxy.Header{{Name: "Retry-After", Value: strconv.Itoa(int(wait/time.Second) + 1)}},
			}, false
		}
	}
	return g.judge(ctx, s, r, c), true
}

func verdictOf(v *proxy.Verdict) telemetry.Verdict {
	switch {
	case v.Allow, v.Status >= 300 && v.Status < 400: // on to sign-in
		return telemetry.Allowed
	case v.Status == http.StatusTooManyRequests:
		return telemetry.Limited
	case v.Status >= 500:
		return telemetry.Failed
	}
	return telemetry.Denied
}

// done hears of every request's end.
func (g *Gateway) done(r *proxy.Record) {
	e := telemetry.Ended{Status: r.Status, In: r.In, Out: r.Out, Start: r.Start, Took: r.Took}
	c, ok := r.Verdict.Tag.(*call)
	if !ok { // refused before it was understood, or there is no plan
		g.unread(r)
		if s := g.state.Load(); s != nil {
			g.config.Meter.Note(s.routes.undeclared[telemetry.Denied], telemetry.NewSpan("", 0), e)
		}
		return
	}
	if c.stay != nil {
		g.people.leave(c.stay)
	}
	verdict := verdictOf(r.Verdict)
	switch {
	case errors.Is(r.Err, proxy.ErrBusy):
		verdict = telemetry.Limited
	case errors.Is(r.Err, proxy.ErrDial), errors.Is(r.Err, proxy.ErrClosed):
		verdict = telemetry.Failed
	}
	c.End(g.config.Meter, c.to[verdict], e)
	g.calls.Put(c)
}
