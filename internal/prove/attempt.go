package prove

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
)

// Attempt is one call of one attacker, and whether the plan grants it.
type Attempt struct {
	Attacker string `json:"attacker"` // a service, or plan.Outside
	Target   string `json:"target"`   // a service, an external or an address
	Kind     string `json:"kind"`
	Call     Call   `json:"call"`
	Granted  bool   `json:"granted"`
	Line     int    `json:"line,omitempty"` // of the rule that grants it
	Why      string `json:"why"`            // where no rule does
}

// generator makes the attempts of one attacker.
type generator struct {
	plan     *plan.Plan
	set      *policy.Set
	attacker string
	readOnly bool
	out      []Attempt
	skipped  int
	seen     map[string]bool
}

// Attempts generates what an attacker tries. With readOnly, granted calls that might change data are
// left out; skipped counts these, and granted calls to externals, which are never made.
func Attempts(p *plan.Plan, set *policy.Set, attacker string, readOnly bool) (out []Attempt, skipped int) {
	g := &generator{plan: p, set: set, attacker: attacker, readOnly: readOnly, seen: map[string]bool{}}
	if attacker == plan.Outside {
		g.outside()
		return g.out, g.skipped
	}
	for i := range p.Services {
		if string(p.Services[i].Name) == attacker {
			g.inside(&p.Services[i])
		}
	}
	return g.out, g.skipped
}

func (g *generator) add(a Attempt) {
	key := fmt.Sprintf("%+v", a.Call)
	if g.seen[key] {
		return
	}
	g.seen[key] = true
	safe := a.Call.Method == "GET" || a.Call.Method == "HEAD" || a.Call.Method == "OPTIONS" || a.Call.Method == ""
	if a.Granted && g.readOnly && !safe {
		g.skipped++
		return
	}
	a.Attacker, a.Call.ID = g.attacker, len(g.out)
	g.out = append(g.out, a)
}

// canonical is the request as policy sees it.
func (r *request) canonical(host string) (canon.Request, error) {
	c, err := canon.New(r.method, host, r.target)
	switch r.protocol {
	case "ws":
		c.Protocol = canon.WebSocket
	case "grpc":
		c.Protocol = canon.GRPC
	}
	return c, err
}

// rulesAt are the rules of all callers on a target's port.
func (g *generator) rulesAt(target string, port int) []*plan.Rule {
	var out []*plan.Rule
	for i := range g.plan.Rules {
		r := &g.plan.Rules[i]
		if r.Target == target && (port == 0 || slices.Contains(r.Ports, port)) {
			out = append(out, r)
		}
	}
	return out
}

func (g *generator) inside(s *plan.Service) {
	for i := range g.plan.Services {
		t := &g.plan.Services[i]
		if t.Name == s.Name {
			continue
		}
		for _, l := range t.Listen {
			g.service(s, t, l)
		}
	}
	for i := range g.plan.Externals {
		g.external(s, &g.plan.Externals[i])
	}
	g.managedKeys(s)
	g.direct(s)
}

func upstreamOf(s *plan.Service, target string, port int) *plan.Upstream {
	for i := range s.Upstreams {
		if u := &s.Upstreams[i]; u.Target == target && (port == 0 || u.TargetPort == port) {
			return u
		}
	}
	return nil
}

// service attacks one port of another service by its name.
func (g *generator) service(s, t *plan.Service, l model.Listen) {
	target, address := string(t.Name), net.JoinHostPort(string(t.Name), strconv.Itoa(l.Port))
	u := upstreamOf(s, target, l.Port)
	if u == nil {
		g.add(Attempt{
			Target: target, Kind: "closed", Why: "no rule opens this port to " + g.attacker,
			Call: Call{Address: address, Protocol: "http", Method: "GET", Target: "/", Host: address},
		})
		return
	}
	if l.Protocol == model.TCP {
		r := request{kind: "route", protocol: "tcp"}
		g.call(target, l.Port, address, &r)
		return
	}
	for _, r := range g.requests(l.Protocol, g.rulesAt(target, l.Port), func(r *request) bool {
		ok, _, _ := g.decide(target, l.Port, address, r)
		return ok
	}) {
		g.call(target, l.Port, address, &r)
	}
	r := request{kind: "by-address", protocol: "http", method: "GET", target: "/"}
	if l.Protocol != model.GRPC {
		g.call(target, l.Port, net.JoinHostPort(u.IP, strconv.Itoa(u.Port)), &r)
	}
}

// requests are the samples for a port, with tricks around an open and a closed path.
func (g *generator) requests(p model.Protocol, rules []*plan.Rule, granted func(*request) bool) []request {
	if p == model.GRPC {
		return gRPC(rules)
	}
	out := routes(rules, g.attacker)
	open, closed, openMethod := "/", "", "GET"
	for _, r := range out {
		switch ok := granted(&r); {
		case ok && open == "/" && r.protocol == "http":
			open, openMethod = r.target, r.method
		case !ok && closed == "" && r.target != "/" && r.method == "GET" && r.protocol == "http":
			closed = r.target
		}
	}
	if closed == "" {
		return out // all is open: there is nothing to trick
	}
	for _, t := range tricks(open, closed) {
		out = append(out, request{kind: "trick", protocol: "http", method: openMethod, target: t})
	}
	friend := g.attacker
	for _, r := range rules {
		if r.Caller != g.attacker && r.Caller != plan.Outside {
			friend = r.Caller
		}
	}
	for _, h := range headers(g.plan.TrustDomain, friend, open) {
		out = append(out, request{kind: "claim", protocol: "http", method: "GET", target: closed, header: h})
	}
	out = append(out, request{kind: "host", protocol: "http", method: "GET", target: closed, host: friend})
	return append(out, ambiguous(open)...)
}

// call adds a request to a service's port, with the expectation of both ends.
func (g *generator) call(target string, port int, address string, r *request) {
	host := r.host
	if host == "" {
		host = address
	}
	granted, line, why := g.decide(target, port, host, r)
	g.add(Attempt{
		Target: target, Kind: r.kind, Granted: granted, Line: line, Why: why,
		Call: Call{Address: address, Protocol: r.protocol, Method: r.method, Target: r.target, Host: host, Header: r.header},
	})
}

// decide asks the evaluator for both ends, as the agent does.
func (g *generator) decide(target string, port int, host string, r *request) (granted bool, line int, why string) {
	if r.refuse {
		return false, 0, "the request has more than one reading"
	}
	c := canon.Request{Protocol: canon.TCP}
	if r.protocol != "tcp" {
		var err error
		if c, err = r.canonical(host); err != nil {
			return false, 0, "refused before any rule is asked: " + err.Error()
		}
	}
	out := g.set.Outbound(g.attacker)
	d := out.Decide(out.Peer(target), port, &c, nil)
	if !d.Allow {
		return false, 0, d.Reason.String()
	}
	line = g.plan.Rules[d.Rule].Pos.Line
	if in := g.set.Inbound(target); in != nil {
		if d = in.Decide(in.Peer(g.attacker), port, &c, nil); !d.Allow {
			return false, 0, target + ": " + d.Reason.String()
		}
	}
	return true, line, ""
}

// external attacks a destination outside. What is granted isn't tried: it would reach a
// real one.
func (g *generator) external(s *plan.Service, x *model.External) {
	name := string(x.Name)
	u := upstreamOf(s, name, 0)
	if u == nil {
		port := strconv.Itoa(x.Port)
		for _, a := range []string{net.JoinHostPort(name, port), net.JoinHostPort(x.Host, port), net.JoinHostPort(name, strconv.Itoa(x.LocalPort))} {
			g.add(Attempt{Target: name, Kind: "closed", Why: "no rule opens it to " + g.attacker, Call: Call{Address: a, Protocol: "tcp"}})
		}
		return
	}
	address := net.JoinHostPort(name, strconv.Itoa(u.Port))
	if u.Protocol == model.TCP {
		g.skipped++
		if x.TLS == model.TLSPassthrough {
			g.add(Attempt{
				Target: name, Kind: "server-name", Why: "another server behind the same address",
				Call: Call{Address: address, Protocol: "tls", Host: "ward-attack.invalid"},
			})
		}
		return
	}
	granted := func(r *request) bool {
		ok, _, _ := g.decide(name, u.TargetPort, x.Host, r)
		return ok
	}
	for _, r := range g.requests(u.Protocol, g.rulesAt(name, u.TargetPort), granted) {
		if granted(&r) {
			g.skipped++
			continue
		}
		if r.host == "" {
			r.host = x.Host
		}
		g.call(name, u.TargetPort, address, &r)
	}
	if u.Protocol != model.GRPC {
		r := request{kind: "host", protocol: "http", method: "GET", target: "/", host: "ward-attack.invalid", refuse: true}
		g.call(name, u.TargetPort, address, &r)
	}
}

// direct goes round the names: to other services' ports on loopback addresses, to ports that
// upstreams don't have, and to what hosts usually run.
func (g *generator) direct(s *plan.Service) {
	ports := map[int]bool{22: true, 5432: true, 6379: true}
	for i := range g.plan.Services {
		for _, l := range g.plan.Services[i].Listen {
			ports[l.Port] = true
		}
	}
	if _, p, err := net.SplitHostPort(g.plan.Gateway.Listen); err == nil {
		if n, err := strconv.Atoi(p); err == nil {
			ports[n] = true
		}
	}
	taken := map[string]bool{}
	addresses := []string{"127.0.0.1", "::1", "127.64.0.1", "127.64.0.2", "127.64.255.254"}
	for _, u := range s.Upstreams {
		taken[net.JoinHostPort(u.IP, strconv.Itoa(u.Port))] = true
		if u.Localhost {
			taken[net.JoinHostPort("127.0.0.1", strconv.Itoa(u.Port))] = true
		}
		if !slices.Contains(addresses, u.IP) {
			addresses = append(addresses, u.IP)
		}
	}
	for _, l := range s.Listen {
		taken[net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Port))] = true
		taken[net.JoinHostPort("::1", strconv.Itoa(l.Port))] = true
	}
	for port := range ports {
		for _, a := range addresses {
			address := net.JoinHostPort(a, strconv.Itoa(port))
			if !taken[address] {
				g.add(Attempt{Target: address, Kind: "address", Why: "nobody listens there", Call: Call{Address: address, Protocol: "tcp"}})
			}
		}
	}
}
