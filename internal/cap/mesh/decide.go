package mesh

import (
	"context"
	"errors"
	"net"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/wire"
)

// decide is the one place where a request meets policy: the caller's end and the target's
// end, each by its own table.
func (m *Mesh) decide(_ context.Context, r *proxy.Request) proxy.Verdict {
	l := r.Conn.Peer.(*link)
	d, end := m.both(l, &r.Request)
	if !d.Allow && m.learned(l, &r.Request) {
		d.Allow, d.Rule = true, -1
	}
	if !d.Allow {
		id := m.note(denied{caller: l.caller, target: l.target, port: l.port, method: methodOf(&r.Request), path: r.Path, reason: d.Reason, end: end})
		return proxy.Verdict{DenialID: id, Public: l.caller + " may not do this at " + l.target}
	}
	res := m.resolve(l)
	if res == nil || res.pool == nil {
		return proxy.Verdict{Public: "no plan is in force"}
	}
	if l.external && !res.state.externals[l.target].isHost(r.Host) {
		id := m.note(denied{caller: l.caller, target: l.target, port: l.port, method: methodOf(&r.Request), path: r.Path, host: r.Host, end: "outbound"})
		return proxy.Verdict{Status: 421, DenialID: id, Public: "the Host isn't that of the external"}
	}
	if d.Rule >= 0 {
		res.state.hits[d.Rule].Add(1)
	}
	if d.Reason == policy.AllowedByObserve {
		m.note(denied{caller: l.caller, target: l.target, port: l.port, method: methodOf(&r.Request), path: r.Path, observed: true, end: "outbound"})
	}
	v := proxy.Verdict{Allow: true, Upstream: res.pool}
	if !l.external {
		v.Set = res.set
	}
	return v
}

// learned tells whether a denied call passes because grants are being learnt. What comes from outside or goes to an
// external never does.
func (m *Mesh) learned(l *link, r *canon.Request) bool {
	return m.config.Learn != nil && !l.external && l.caller != plan.Outside && m.config.Learn.Learn(l.caller, l.target, l.port, r)
}

// both asks both ends; what comes back is the first refusal, or the caller's end's permission.
func (m *Mesh) both(l *link, r *canon.Request) (d policy.Decision, end string) {
	res := m.resolve(l)
	if res == nil {
		return policy.Decision{}, "outbound"
	}
	out := res.out.Decide(res.toTarget, l.port, r, nil)
	if !out.Allow {
		return out, "outbound"
	}
	if l.external {
		return out, "" // an external's own end isn't ours
	}
	if in := res.in.Decide(res.toCaller, l.port, r, nil); !in.Allow {
		return in, "inbound"
	}
	return out, ""
}

// serveTCP decides and carries a connection at layer 4.
func (m *Mesh) serveTCP(ctx context.Context, c net.Conn, l *link) {
	r := canon.Request{Protocol: canon.TCP}
	d, end := m.both(l, &r)
	if !d.Allow && m.learned(l, &r) {
		d.Allow, d.Rule = true, -1
	}
	note := denied{caller: l.caller, target: l.target, port: l.port, method: "TCP", reason: d.Reason, end: end}
	if !d.Allow {
		m.note(note)
		c.Close()
		return
	}
	res := m.resolve(l)
	if x := res.state.externals[l.target]; l.external && x != nil && x.checksSNI() {
		checked, name, err := readSNI(c)
		if err != nil || !x.isHost(name) {
			note.host, note.end = name, "outbound"
			m.note(note)
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
	m.engine.ServeTCP(ctx, c, proxy.ConnInfo{Peer: l}, proxy.Verdict{Allow: true, Upstream: res.pool})
}

// done hears of every request's end.
func (m *Mesh) done(r *proxy.Record) {
	if r.Request == nil || r.Request.Conn == nil {
		return
	}
	l, ok := r.Request.Conn.Peer.(*link)
	if !ok || r.Err == nil {
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
