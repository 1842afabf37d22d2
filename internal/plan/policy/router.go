package policy

import (
	"slices"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// Router tells where a request from outside goes. It is immutable: use it from
// any number of goroutines.
type Router struct {
	all   pair
	rules []plan.Rule
	ports map[int32]*[3]int // rule: the port for HTTP, WebSocket and gRPC, 0 for none
}

// Match is where a request goes. Unless Decision allows, Target is "" and Port 0.
//
// For the answer to a denial: NoRoute is 404, NoMethod is 405 (with Methods in
// the Allow field), WrongProtocol is 404 or, where it may help, 426; all else is 403.
type Match struct {
	Decision
	Target string
	Port   int
}

// Route finds the target of r, and judges the person in c: of all exposed routes the most specific pattern,
// whichever service it belongs to, then the lowest rule. It gives the route
// and the gateway's own decision; the target's inbound table decides apart.
// It never allocates.
func (x *Router) Route(r *canon.Request, c *Context) Match {
	if x == nil || r == nil {
		return Match{Decision: Decision{Reason: UnknownPeer, Rule: -1}}
	}
	s := search{kind: kindOf(r.Protocol) &^ kindTCP, observe: -1, enforce: -1, request: r, context: c}
	if s.kind != 0 {
		s.run(&x.all, r)
	}
	m := Match{Decision: s.decision(&x.all)}
	if !m.Allow {
		return m
	}
	m.Target = x.rules[m.Rule].Target
	m.Port = x.ports[m.Rule][slotOf(s.kind)]
	return m
}

// Methods lists the HTTP methods that a path has from outside, ascending, for the
// Allow field of a 405 (RFC 9110 §15.5.6); "*" where any token is allowed.
func (x *Router) Methods(path string) []string {
	var out []string
	for _, m := range []string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "*"} {
		d := x.Route(&canon.Request{Protocol: canon.HTTP, Method: m, Path: path}, nil)
		if d.Allow || d.Reason.Asks() {
			out = append(out, m)
		}
	}
	if slices.Contains(out, "*") {
		return []string{"*"}
	}
	return out
}

func slotOf(k kind) int {
	switch k {
	case kindWS:
		return 1
	case kindGRPC:
		return 2
	default:
		return 0
	}
}

func compileRouter(p *plan.Plan, today string) (*Router, error) {
	protocols := make(map[string][]model.Listen, len(p.Services))
	for i := range p.Services {
		protocols[string(p.Services[i].Name)] = p.Services[i].Listen
	}
	x := &Router{rules: p.Rules, ports: map[int32]*[3]int{}}
	var nodes arena
	var conds conditions
	for _, mode := range []plan.Mode{plan.Enforce, plan.Observe} {
		for i := range p.Rules {
			r := &p.Rules[i]
			if r.Caller != plan.Outside || r.Mode != mode || !InForce(r, today) {
				continue
			}
			n, err := newNeed(r, &conds)
			if err != nil {
				return nil, ruleError(int32(i), r, err)
			}
			if err := x.add(int32(i), n, protocols[r.Target], &nodes); err != nil {
				return nil, err
			}
		}
	}
	return x, nil
}

// add puts a rule into the router's one trie, once with the port 0, because the
// router chooses the port and not the client, and only for the protocols that one of the
// rule's ports speaks.
func (x *Router) add(index int32, n *need, listens []model.Listen, nodes *arena) error {
	r := &x.rules[index]
	var ports [3]int
	for _, l := range listens {
		if !slices.Contains(r.Ports, l.Port) {
			continue
		}
		for slot, k := range []model.GrantKind{model.GrantHTTP, model.GrantWS, model.GrantGRPC} {
			if k.Fits(l.Protocol) && (ports[slot] == 0 || l.Port < ports[slot]) {
				ports[slot] = l.Port
			}
		}
	}
	var speaks kind
	for slot, k := range []kind{kindHTTP, kindWS, kindGRPC} {
		if ports[slot] != 0 {
			speaks |= k
		}
	}
	e, err := newEntry(index, r)
	if err != nil {
		return ruleError(index, r, err)
	}
	if e.kinds &= speaks; e.kinds == 0 {
		return nil
	}
	x.ports[index] = &ports
	e.port, e.need = 0, n
	if e.more != nil {
		e.more.ports = nil
	}
	return x.all.put(e, r, nodes)
}
