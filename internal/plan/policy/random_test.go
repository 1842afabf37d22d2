package policy_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
)

const today = "2026-08-01"

func pick[T any](r *rand.Rand, xs ...T) T { return xs[r.IntN(len(xs))] }

// randomModel is small and dense: few names, few segments, so that patterns
// overlap and requests hit.
func randomModel(r *rand.Rand) *model.Model {
	m := &model.Model{App: "rnd", TrustDomain: "rnd.internal"}
	n := 2 + r.IntN(3)
	for i := range n {
		s := model.Service{Name: model.ServiceName(fmt.Sprintf("s%d", i))}
		for _, l := range []model.Listen{{Protocol: model.HTTP, Port: 80}, {Protocol: model.H2C, Port: 81}, {Protocol: model.GRPC, Port: 82}, {Protocol: model.TCP, Port: 83}} {
			if r.IntN(3) > 0 {
				s.Listen = append(s.Listen, l)
			}
		}
		if r.IntN(2) == 0 {
			s.Expose = append(s.Expose, model.Expose{Routes: randomGrants(r), To: "anyone"})
		}
		for range r.IntN(4) {
			port := pick(r, 0, 0, 80, 81)
			s.Calls = append(s.Calls, model.Call{Target: randomTarget(r, n), Port: port, Grants: randomGrants(r)})
		}
		m.Services = append(m.Services, s)
	}
	m.Externals = []model.External{{Name: "ext", Host: "ext.example.com", Port: 80, Protocol: model.HTTP}}
	for range r.IntN(3) {
		m.Observe = append(m.Observe, model.Observe{
			From: model.ServiceName(fmt.Sprintf("s%d", r.IntN(n))), To: randomTarget(r, n), Grants: randomGrants(r),
			Until: pick(r, "2026-07-31", today, "2026-08-02", ""),
		})
	}
	return m
}

func randomTarget(r *rand.Rand, n int) string {
	if r.IntN(6) == 0 {
		return "ext"
	}
	return fmt.Sprintf("s%d", r.IntN(n))
}

func randomGrants(r *rand.Rand) []model.Grant {
	var out []model.Grant
	for range 1 + r.IntN(4) {
		switch r.IntN(12) {
		case 0:
			out = append(out, model.Grant{Kind: model.GrantAny})
		case 1:
			out = append(out, model.Grant{Kind: model.GrantTCP})
		case 2, 3:
			out = append(out, model.Grant{Kind: model.GrantGRPC, Pattern: pick(r, "/a/b", "/a/*", "/*/*")})
		case 4, 5:
			out = append(out, model.Grant{Kind: model.GrantWS, Pattern: randomPattern(r)})
		default:
			ms := pick(r, []string{"GET"}, []string{"POST"}, []string{"*"}, []string{"GET", "PURGE"}, []string{"HEAD"})
			out = append(out, model.Grant{Kind: model.GrantHTTP, Methods: ms, Pattern: randomPattern(r)})
		}
	}
	return out
}

func randomPattern(r *rand.Rand) string {
	p := ""
	for range r.IntN(4) {
		p += "/" + pick(r, "a", "b", "c", "{x}", "*")
	}
	switch {
	case r.IntN(4) == 0:
		return p + "/**"
	case p == "" || r.IntN(6) == 0:
		return p + "/"
	}
	return p
}

func randomRequest(r *rand.Rand) *canon.Request {
	req := &canon.Request{
		Protocol: pick(r, canon.HTTP, canon.HTTP, canon.HTTP, canon.WebSocket, canon.GRPC, canon.TCP, canon.ProtocolUnknown),
		Method:   pick(r, "GET", "HEAD", "POST", "PURGE", "OPTIONS"),
	}
	for range r.IntN(5) {
		req.Path += "/" + pick(r, "a", "b", "c", "d", "abc")
	}
	if req.Path == "" || r.IntN(5) == 0 {
		req.Path += "/"
	}
	return req
}

func compile(t testing.TB, p *plan.Plan) *policy.Set {
	t.Helper()
	set, err := policy.Compile(p, today)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// both compares the two ends and the oracle on one request.
func both(t *testing.T, p *plan.Plan, set *policy.Set, q question) policy.Decision {
	t.Helper()
	want := oracleDecide(p, today, q)
	out := set.Outbound(q.caller)
	if got := out.Decide(out.Peer(q.target), q.port, q.r, nil); got != want {
		t.Fatalf("outbound %s -> %s:%d %+v\n got %+v\nwant %+v\nrules %+v", q.caller, q.target, q.port, *q.r, got, want, p.Rules)
	}
	if q.target == "ext" {
		return want
	}
	in := set.Inbound(q.target)
	if got := in.Decide(in.Peer(q.caller), q.port, q.r, nil); got != want {
		t.Fatalf("inbound %s -> %s:%d %+v\n got %+v\nwant %+v\nrules %+v", q.caller, q.target, q.port, *q.r, got, want, p.Rules)
	}
	return want
}

func TestDecideAgreesWithTheOracleOnRandomModels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	reasons := map[policy.Reason]int{}
	for range 1500 {
		p := plan.Build(randomModel(r))
		set := compile(t, p)
		for range 60 {
			caller, target := plan.Outside, randomTarget(r, len(p.Services))
			if r.IntN(4) > 0 {
				caller = fmt.Sprintf("s%d", r.IntN(len(p.Services)))
			}
			d := both(t, p, set, question{caller, target, pick(r, 80, 80, 81, 81, 82, 83, 84), randomRequest(r)})
			reasons[d.Reason]++
		}
	}
	for _, want := range []policy.Reason{policy.Allowed, policy.AllowedByObserve, policy.NoRule, policy.NoRoute, policy.NoMethod, policy.WrongProtocol} {
		if reasons[want] < 200 {
			t.Errorf("reason %v came up %d times only: the models no longer test it", want, reasons[want])
		}
	}
}

// FuzzDecide gives path and method to the fuzzer, and the model to its seed.
func FuzzDecide(f *testing.F) {
	f.Add(uint64(1), "GET", "/a/b", uint8(1), uint8(80))
	f.Add(uint64(2), "HEAD", "/", uint8(1), uint8(81))
	f.Add(uint64(3), "", "//a//", uint8(3), uint8(82))
	f.Add(uint64(4), "*", "a/{x}/**", uint8(2), uint8(80))
	f.Fuzz(func(t *testing.T, seed uint64, method, path string, protocol, port uint8) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := plan.Build(randomModel(r))
		set := compile(t, p)
		req := &canon.Request{Protocol: canon.Protocol(protocol % 5), Method: method, Path: path}
		for _, s := range p.Services {
			both(t, p, set, question{"s0", string(s.Name), int(port), req})
			both(t, p, set, question{plan.Outside, string(s.Name), int(port), req})
		}
	})
}

// oracleRoute reads every exposed rule: the best one that one of its ports can serve.
func oracleRoute(p *plan.Plan, r *canon.Request) (rule int, port int) {
	best, bestKey := -1, ""
	for i, x := range p.Rules {
		if x.Caller != plan.Outside || !oraclePath(x.Grant, r) || !oracleProtocol(x.Grant.Kind, r.Protocol) ||
			x.Grant.Kind == model.GrantHTTP && !oracleMethod(x.Grant.Methods, r.Method) {
			continue
		}
		serves := oraclePort(p, x, r.Protocol)
		if key := oracleKey(x); serves > 0 && (best < 0 || key < bestKey) {
			best, bestKey, port = i, key, serves
		}
	}
	return best, port
}

func oraclePort(p *plan.Plan, x plan.Rule, protocol canon.Protocol) int {
	for _, s := range p.Services {
		if string(s.Name) != x.Target {
			continue
		}
		for _, port := range x.Ports { // ascending
			for _, l := range s.Listen {
				grpc := l.Protocol == model.GRPC || l.Protocol == model.H2C
				http := l.Protocol == model.HTTP || l.Protocol == model.H2C
				if l.Port == port && (protocol == canon.GRPC && grpc || (protocol == canon.HTTP || protocol == canon.WebSocket) && http) {
					return port
				}
			}
		}
	}
	return 0
}

func TestRouteAgreesWithTheOracleAndWithBothEnds(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	allowed := 0
	for range 1500 {
		p := plan.Build(randomModel(r))
		set := compile(t, p)
		for range 30 {
			req := randomRequest(r)
			got := set.Exposed().Route(req, nil)
			rule, port := oracleRoute(p, req)
			if got.Allow != (rule >= 0) || got.Allow && (int(got.Rule) != rule || got.Port != port || got.Target != p.Rules[rule].Target) {
				t.Fatalf("%+v: got %+v, want rule %d port %d\nrules %+v", *req, got, rule, port, p.Rules)
			}
			if !got.Allow {
				continue
			}
			allowed++
			out, in := set.Outbound(plan.Outside), set.Inbound(got.Target)
			if !out.Decide(out.Peer(got.Target), got.Port, req, nil).Allow || !in.Decide(in.Peer(plan.Outside), got.Port, req, nil).Allow {
				t.Fatalf("%+v is routed by %+v, and an end denies it", *req, got)
			}
		}
	}
	if allowed < 1000 {
		t.Errorf("%d allowed only", allowed)
	}
}
