package mesh

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/txn"
	"github.com/wardhq/ward/internal/wire"
)

// decide is the one place where a request meets policy: the caller's end and the target's
// end, each by its own table.
func (m *Mesh) decide(_ context.Context, r *proxy.Request) proxy.Verdict {
	l := r.Conn.Peer.(*link)
	res := m.resolve(l)
	if res == nil {
		return proxy.Verdict{Public: "no plan is in force"}
	}
	user, refused := m.users.context(res.state, l, r)
	if refused != "" {
		m.misused(l, refused)
	}
	d, end := m.both(res, l, &r.Request, policyContext(user, m.users.clock.Now()))
	if !d.Allow && m.learned(l, &r.Request) {
		d.Allow, d.Rule = true, -1
	}
	if !d.Allow {
		span := telemetry.NewSpan(r.Get(telemetry.TraceParent))
		id := m.noteIn(denied{caller: l.caller, target: l.target, port: l.port, method: methodOf(&r.Request), path: r.Path, reason: d.Reason, end: end}, span.Trace)
		v := proxy.Verdict{Tag: span, Status: statusOf(d.Reason), DenialID: id, Public: l.caller + " may not do this at " + l.target + whyNot(d.Reason)}
		if l.caller == plan.Outside {
			v.Status, v.Public = toStrangers(d.Reason)
		}
		return v
	}
	if res.pool == nil {
		return proxy.Verdict{Public: "no plan is in force"}
	}
	if l.external && !res.state.externals[l.target].isHost(r.Host) {
		span := telemetry.NewSpan(r.Get(telemetry.TraceParent))
		id := m.noteIn(denied{caller: l.caller, target: l.target, port: l.port, method: methodOf(&r.Request), path: r.Path, host: r.Host, end: "outbound"}, span.Trace)
		return proxy.Verdict{Tag: span, Status: 421, DenialID: id, Public: "the Host isn't that of the external"}
	}
	if d.Rule >= 0 {
		res.state.hits[d.Rule].Add(1)
	}
	if d.Reason == policy.AllowedByObserve {
		m.note(denied{caller: l.caller, target: l.target, port: l.port, method: methodOf(&r.Request), path: r.Path, observed: true, end: "outbound"})
	}
	parent, n := r.Get(telemetry.TraceParent)
	if user == nil && !l.external && m.users.byTrace(l.target, traceOf(r)) != nil {
		n = 0 // the target would take what it does for this caller for the user's
	}
	under, sent := m.begin(res, d.Rule, parent, n)
	v := proxy.Verdict{Allow: true, Upstream: res.pool, Drop: userFields(), Tag: under}
	switch {
	case !l.external:
		v.Set = tell(append(append(under.set[:0], res.set...), proxy.Header{Name: telemetry.TraceParent, Value: sent}), user)
		if user != nil {
			under.visit = m.users.enter(l.target, user, telemetry.TraceOf(sent, 1))
		}
	case res.state.externals[l.target].credential != nil:
		c := res.state.externals[l.target].credential
		c.authenticate(&v, l, r, policyContext(user, m.users.clock.Now()))
		if c.prints != nil {
			v.Masks = &masks{m, c, l}
		}
	}
	return v
}

// userFields never pass as they came.
func userFields() []string { return []string{txn.Header} }

// statusOf is how a denial is answered: for want of a user in the call 401, otherwise 403.
func statusOf(r policy.Reason) int {
	if r == policy.NeedsUser || r == policy.NeedsFactor {
		return http.StatusUnauthorized
	}
	return http.StatusForbidden
}

// toStrangers is how the outside is refused what the gateway had let pass: it learns no names, nor who is in quarantine.
func toStrangers(r policy.Reason) (status int, public string) {
	if r == policy.Quarantined {
		return http.StatusServiceUnavailable, "this isn't available now"
	}
	return statusOf(r), "this isn't open to you"
}

func whyNot(r policy.Reason) string {
	switch r {
	case policy.Quarantined:
		return " while one of them is in quarantine"
	case policy.NeedsUser:
		return " without a signed-in user's live request"
	case policy.NeedsFactor:
		return " unless the user has just shown a second factor"
	case policy.OtherUser:
		return " for this user"
	case policy.ConditionFailed:
		return " under these conditions"
	}
	return ""
}

// learned tells whether a denied call passes because grants are being learnt. What comes from outside or goes to an
// external never does.
func (m *Mesh) learned(l *link, r *canon.Request) bool {
	return m.config.Learn != nil && !m.quarantine.holds(l) && !l.external && l.caller != plan.Outside && m.config.Learn.Learn(l.caller, l.target, l.port, r)
}

// both asks both ends, unless one of them is in quarantine.
func (m *Mesh) both(res *resolved, l *link, r *canon.Request, c *policy.Context) (policy.Decision, string) {
	if m.quarantine.holds(l) {
		return policy.Decision{Reason: policy.Quarantined, Rule: -1}, "outbound"
	}
	return res.both(l, r, c)
}

// both asks both ends; what comes back is the first refusal, or the caller's end's permission.
func (res *resolved) both(l *link, r *canon.Request, c *policy.Context) (d policy.Decision, end string) {
	if res == nil {
		return policy.Decision{}, "outbound"
	}
	out := res.out.Decide(res.toTarget, l.port, r, c)
	if !out.Allow {
		return out, "outbound"
	}
	if l.external {
		return out, "" // an external's own end isn't ours
	}
	if in := res.in.Decide(res.toCaller, l.port, r, c); !in.Allow {
		return in, "inbound"
	}
	return out, ""
}

// serveTCP decides and carries a connection at layer 4.
func (m *Mesh) serveTCP(ctx context.Context, c net.Conn, l *link) {
	r := canon.Request{Protocol: canon.TCP}
	res := m.resolve(l)
	d, end := m.both(res, l, &r, nil)
	if !d.Allow && m.learned(l, &r) {
		d.Allow, d.Rule = true, -1
	}
	note := denied{caller: l.caller, target: l.target, port: l.port, method: "TCP", reason: d.Reason, end: end}
	if !d.Allow {
		var trace telemetry.TraceID
		if res != nil {
			trace = m.dropped(res.series.denied)
		}
		m.noteIn(note, trace)
		c.Close()
		return
	}
	if res == nil {
		c.Close()
		return
	}
	if x := res.state.externals[l.target]; l.external && x != nil && x.checksSNI() {
		checked, name, err := readSNI(c)
		if err != nil || !x.isHost(name) {
			note.host, note.end = name, "outbound"
			m.noteIn(note, m.dropped(res.series.denied))
			c.Close()
			return
		}
		c = checked
	}
	if res.pool == nil {
		c.Close()
		return
	}
	if d.Rule >= 0 {
		res.state.hits[d.Rule].Add(1)
	}
	if d.Reason == policy.AllowedByObserve {
		note.observed = true
		m.note(note)
	}
	under, _ := m.begin(res, d.Rule, "", 0)
	if here := res.databasesOf(l); len(here) > 0 {
		m.serveDatabase(ctx, c, l, here, under)
		return
	}
	m.engine.ServeTCP(ctx, c, proxy.ConnInfo{Peer: l}, proxy.Verdict{Allow: true, Upstream: res.pool, Tag: under})
}

// done hears of every request's end.
func (m *Mesh) done(r *proxy.Record) {
	if r.Request == nil || r.Request.Conn == nil {
		return
	}
	l, ok := r.Request.Conn.Peer.(*link)
	if !ok {
		return
	}
	if c, ok := r.Verdict.Tag.(*call); ok {
		m.end(c, r)
	} else {
		m.refused(l, r)
	}
	if r.Err == nil {
		return
	}
	if l.external && errors.Is(r.Err, proxy.ErrDial) {
		// Nobody else learns why: the service sees a gateway error.
		m.note(denied{caller: l.caller, target: l.target, port: l.port, method: "*", failed: wire.Clip(r.Err.Error()), end: "outbound"})
		return
	}
	if r.Request.Method != "" || r.Request.Protocol == canon.TCP {
		return
	}
	// Refused before it was understood: an ambiguous or malformed request is a sign of attack.
	m.note(denied{caller: l.caller, target: l.target, port: l.port, method: "?", malformed: r.Err.Error(), end: "parse"})
}

func methodOf(r *canon.Request) string {
	switch r.Protocol {
	case canon.WebSocket:
		return "WS"
	case canon.GRPC:
		return "GRPC"
	}
	return r.Method
}
