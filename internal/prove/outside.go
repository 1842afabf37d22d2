package prove

import (
	"net"
	"strconv"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// outside attacks through the gateway: every exposed route, every route that isn't, and
// what looks like the ones while it is the others.
func (g *generator) outside() {
	var rules, open []*plan.Rule
	for i := range g.plan.Rules {
		r := &g.plan.Rules[i]
		if r.External {
			continue
		}
		rules = append(rules, r)
		if r.Caller == plan.Outside {
			open = append(open, r)
		}
	}
	host := g.authority()
	granted := func(r *request) bool {
		ok, _, _, _ := g.route(host, r)
		return ok
	}
	for _, r := range g.requests(model.HTTP, rules, granted) {
		// In front, "host" means to name another service.
		g.through(host, &r, r.kind == "host")
	}
	for _, r := range gRPC(rules) {
		g.through(host, &r, false)
	}
	g.hosts(open)
	g.people(open)
	g.console()
}

func (g *generator) authority() string { return g.plan.Authority(g.plan.Gateway.Host) }

// through adds a request to the gateway.
func (g *generator) through(host string, r *request, foreign bool) {
	if r.host != "" {
		host = r.host
	}
	granted, target, line, why := g.route(host, r)
	if foreign {
		granted, line, why = false, 0, "not the host of the application"
	}
	g.add(Attempt{
		Target: target, Kind: r.kind, Granted: granted, Line: line, Why: why,
		Call: Call{Address: g.plan.Gateway.Listen, TLS: true, Protocol: r.protocol, Method: r.method, Target: r.target, Host: host, Header: r.header},
	})
}

// route asks the evaluator, as gateway and agent do.
func (g *generator) route(host string, r *request) (granted bool, target string, line int, why string) {
	if r.refuse {
		return false, "gateway", 0, "the request has more than one reading"
	}
	c, err := r.canonical(host)
	if err != nil {
		return false, "gateway", 0, "refused before any rule is asked: " + err.Error()
	}
	m := g.set.Exposed().Route(&c, nil)
	if !m.Allow {
		return false, "gateway", 0, m.Reason.String()
	}
	in := g.set.Inbound(m.Target)
	if d := in.Decide(in.Peer(plan.Outside), m.Port, &c, nil); !d.Allow {
		return false, m.Target, 0, m.Target + ": " + d.Reason.String()
	}
	return true, m.Target, g.plan.Rules[m.Rule].Pos.Line, ""
}

// hosts asks for open routes under names that aren't the application's, and without TLS.
func (g *generator) hosts(open []*plan.Rule) {
	path := "/"
	for _, r := range open {
		if r.Grant.Kind == model.GrantHTTP {
			path = paths(r.Grant.Pattern)[0]
			break
		}
	}
	names := []string{"ward-attack.invalid", g.plan.Gateway.Host + ".ward-attack.invalid", "control", "169.254.169.254"}
	for i := range g.plan.Services {
		s := &g.plan.Services[i]
		names = append(names, string(s.Name))
		for _, l := range s.Listen {
			names = append(names, net.JoinHostPort(string(s.Name), strconv.Itoa(l.Port)))
		}
	}
	for _, n := range names {
		r := request{kind: "host", protocol: "http", method: "GET", target: path, host: n}
		g.through(n, &r, true)
	}
	g.add(Attempt{
		Target: "gateway", Kind: "plain", Why: "the gateway speaks TLS only here",
		Call: Call{Address: g.plan.Gateway.Listen, Protocol: "http", Method: "GET", Target: path, Host: g.authority()},
	})
}
