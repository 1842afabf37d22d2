package policybench

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cedar-policy/cedar-go"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
)

func pick[T any](r *rand.Rand, xs ...T) T { return xs[r.IntN(len(xs))] }

func randomGrant(r *rand.Rand) model.Grant {
	pattern := ""
	for range r.IntN(4) {
		pattern += "/" + pick(r, "a", "b", "{x}", "*")
	}
	if pattern == "" || r.IntN(5) == 0 {
		pattern += "/"
	} else if r.IntN(3) == 0 {
		pattern += "/**"
	}
	switch r.IntN(8) {
	case 0:
		return model.Grant{Kind: model.GrantAny}
	case 1:
		return model.Grant{Kind: model.GrantTCP}
	case 2:
		return model.Grant{Kind: model.GrantGRPC, Pattern: pick(r, "/a/b", "/a/*", "/*/*")}
	case 3:
		return model.Grant{Kind: model.GrantWS, Pattern: pattern}
	}
	return model.Grant{
		Kind: model.GrantHTTP, Pattern: pattern,
		Methods: pick(r, []string{"GET"}, []string{"GET", "POST"}, []string{"*"}, []string{"PURGE"}),
	}
}

func randomPlan(r *rand.Rand) *plan.Plan {
	listens := []model.Listen{{Protocol: model.HTTP, Port: 80}, {Protocol: model.H2C, Port: 81}, {Protocol: model.GRPC, Port: 82}, {Protocol: model.TCP, Port: 83}}
	m := &model.Model{App: "d", TrustDomain: "d.internal"}
	for i := range 3 {
		s := model.Service{Name: model.ServiceName(fmt.Sprintf("s%d", i)), Listen: listens[:1+r.IntN(4)]}
		for range r.IntN(4) {
			s.Calls = append(s.Calls, model.Call{
				Target: fmt.Sprintf("s%d", r.IntN(3)), Port: pick(r, 0, 0, 80), Grants: []model.Grant{randomGrant(r), randomGrant(r)},
			})
		}
		if r.IntN(2) == 0 {
			s.Expose = []model.Expose{{To: "anyone", Routes: []model.Grant{randomGrant(r)}}}
		}
		m.Services = append(m.Services, s)
	}
	m.Observe = []model.Observe{{From: "s0", To: "s1", Until: pick(r, "2026-07-31", Today), Grants: []model.Grant{randomGrant(r)}}}
	return plan.Build(m)
}

// differ holds both ends against cedar-go on one request.
func differ(t *testing.T, p *plan.Plan, caller, target string, q *canon.Request) {
	t.Helper()
	text := CedarText(p.Rules, Today)
	ps, err := cedar.NewPolicySetFromBytes("plan.cedar", []byte(text))
	if err != nil {
		t.Fatalf("cedar reads the export: %v\n%s", err, text)
	}
	set, err := policy.Compile(p, Today)
	if err != nil {
		t.Fatal(err)
	}
	out, in := set.Outbound(caller), set.Inbound(target)
	for port := 80; port <= 84; port++ {
		d, _ := cedar.Authorize(ps, cedar.EntityMap{}, CedarRequest(caller, target, port, q))
		a := out.Decide(out.Peer(target), port, q, nil)
		b := in.Decide(in.Peer(caller), port, q, nil)
		if want := d == cedar.Allow; a.Allow != want || b.Allow != want {
			t.Fatalf("%s -> %s:%d %+v: cedar %v, outbound %+v, inbound %+v\n%s", caller, target, port, *q, d, a, b, text)
		}
	}
}

func randomQuery(r *rand.Rand) *canon.Request {
	q := &canon.Request{
		Protocol: pick(r, canon.HTTP, canon.HTTP, canon.WebSocket, canon.GRPC, canon.TCP),
		Method:   pick(r, "GET", "HEAD", "POST", "PURGE", "OPTIONS"),
	}
	for range r.IntN(5) {
		q.Path += "/" + pick(r, "a", "b", "c")
	}
	if q.Path == "" || r.IntN(5) == 0 {
		q.Path += "/"
	}
	return q
}

func TestBothEndsAgreeWithCedar(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		p := randomPlan(r)
		for range 3 {
			differ(t, p, pick(r, "s0", "s1", "s2", plan.Outside), pick(r, "s0", "s1", "s2"), randomQuery(r))
		}
	}
}

func FuzzBothEndsAgreeWithCedar(f *testing.F) {
	f.Add(uint64(1), "GET", "/a/b", uint8(1))
	f.Add(uint64(9), "HEAD", "//a/", uint8(2))
	f.Fuzz(func(t *testing.T, seed uint64, method, path string, protocol uint8) {
		p := randomPlan(rand.New(rand.NewPCG(seed, 1)))
		q := &canon.Request{Protocol: canon.Protocol(protocol % 5), Method: method, Path: path}
		for _, caller := range []string{"s0", "s1", plan.Outside} {
			differ(t, p, caller, "s1", q)
		}
	})
}
