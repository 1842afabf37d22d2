package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
)

const exposed = `app: a
users: {groups: [staff], roles: [admin]}
services:
  web:
    run: x
    listen: http://:80
    expose:
      - {routes: [GET /**], to: anyone}
      - {routes: [GET /account/**], to: signed-in}
      - {routes: [GET /admin/**], to: "group:staff", mfa: 15m}
      - {routes: [GET /root], to: ["role:admin", "user:Root@Example.com"]}
      - {routes: ["GET /users/{id}"], to: signed-in, when: params.id == user.id}
      - {routes: [GET /office], to: anyone, when: cidr("10.0.0.0/8").containsIP(ip)}
    calls:
      orders: ["GET /orders/{id} as user", "DELETE /orders/{id} as user mfa 5m", GET /health]
  orders: {run: x, listen: http://:80}
`

func planOf(t testing.TB, src string) *plan.Plan {
	t.Helper()
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(src))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	return plan.Build(m)
}

const now = 1_700_000_000

func TestPeopleAreAskedFor(t *testing.T) {
	p := planOf(t, exposed)
	set, err := policy.Compile(p, "2026-01-01")
	if err != nil {
		t.Fatal(err)
	}
	alice := &policy.Person{ID: "u1", Email: "alice@example.com"}
	staff := &policy.Person{ID: "u2", Groups: []string{"staff"}}
	fresh := &policy.Person{ID: "u2", Groups: []string{"staff"}, FactorAt: now - 900}
	stale := &policy.Person{ID: "u2", Groups: []string{"staff"}, FactorAt: now - 901}
	root := &policy.Person{ID: "u3", Email: "root@example.com"}
	admin := &policy.Person{ID: "u4", Roles: []string{"admin"}}
	for _, tt := range []struct {
		path string
		who  *policy.Person
		ip   string
		want policy.Reason
	}{
		{"/", nil, "", policy.Allowed},
		{"/account/x", nil, "", policy.NeedsUser},
		{"/account/x", alice, "", policy.Allowed},
		{"/account/x", &policy.Person{}, "", policy.OtherUser},
		{"/admin/x", nil, "", policy.NeedsUser},
		{"/admin/x", alice, "", policy.OtherUser},
		{"/admin/x", staff, "", policy.NeedsFactor},
		{"/admin/x", stale, "", policy.NeedsFactor},
		{"/admin/x", fresh, "", policy.Allowed},
		{"/root", alice, "", policy.OtherUser},
		{"/root", root, "", policy.Allowed},
		{"/root", admin, "", policy.Allowed},
		{"/users/u1", alice, "", policy.Allowed},
		{"/users/u%31", alice, "", policy.Allowed}, // not canonical; decoded all the same
		{"/users/u2", alice, "", policy.ConditionFailed},
		{"/office", nil, "10.1.1.1", policy.Allowed},
		{"/office", nil, "11.1.1.1", policy.ConditionFailed},
		{"/office", nil, "", policy.ConditionFailed},
	} {
		c := &policy.Context{Person: tt.who, IP: tt.ip, Now: now}
		r := request("GET", tt.path)
		m := set.Exposed().Route(r, c)
		if m.Reason != tt.want || m.Allow != (tt.want == policy.Allowed) || !m.Allow && (m.Target != "" || m.Port != 0) {
			t.Errorf("GET %s as %+v: %+v, want %v", tt.path, tt.who, m, tt.want)
		}
		in := set.Inbound("web")
		if got := in.Decide(in.Peer(plan.Outside), 80, r, c); got.Reason != tt.want {
			t.Errorf("GET %s as %+v: the service's own end says %v, want %v", tt.path, tt.who, got.Reason, tt.want)
		}
	}
}

func TestCallsAsUserNeedOne(t *testing.T) {
	set, err := policy.Compile(planOf(t, exposed), "2026-01-01")
	if err != nil {
		t.Fatal(err)
	}
	out, in := set.Outbound("web"), set.Inbound("orders")
	for _, tt := range []struct {
		method, path string
		who          *policy.Person
		want         policy.Reason
	}{
		{"GET", "/health", nil, policy.Allowed},
		{"GET", "/orders/1", nil, policy.NeedsUser},
		{"GET", "/orders/1", &policy.Person{ID: "u"}, policy.Allowed},
		{"DELETE", "/orders/1", &policy.Person{ID: "u"}, policy.NeedsFactor},
		{"DELETE", "/orders/1", &policy.Person{ID: "u", FactorAt: now - 300}, policy.Allowed},
	} {
		c := &policy.Context{Person: tt.who, Now: now}
		if tt.who == nil {
			c = nil
		}
		r := request(tt.method, tt.path)
		if a, b := out.Decide(out.Peer("orders"), 80, r, c), in.Decide(in.Peer("web"), 80, r, c); a.Reason != tt.want || b.Reason != tt.want {
			t.Errorf("%s %s as %+v: %v and %v, want %v", tt.method, tt.path, tt.who, a.Reason, b.Reason, tt.want)
		}
	}
}

func TestPeopleCostNoAllocation(t *testing.T) {
	set, err := policy.Compile(planOf(t, exposed), "2026-01-01")
	if err != nil {
		t.Fatal(err)
	}
	c := &policy.Context{Person: &policy.Person{ID: "u", Groups: []string{"staff"}, FactorAt: now}, Now: now}
	r := request("GET", "/admin/x")
	if n := testing.AllocsPerRun(100, func() { set.Exposed().Route(r, c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A slow reading of the rule about places: of the patterns that fit the path, the most specific decides alone.
func TestMostSpecificAudienceGoverns(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	words := []string{"anyone", "signed-in", "group:staff", "role:admin"}
	people := []*policy.Person{nil, {ID: "u"}, {ID: "s", Groups: []string{"staff"}}, {ID: "a", Roles: []string{"admin"}}}
	may := func(word string, p *policy.Person) bool {
		return word == "anyone" || p != nil && (word == "signed-in" || word == "group:staff" && len(p.Groups) > 0 || word == "role:admin" && len(p.Roles) > 0)
	}
	// From most to least specific for /a/b.
	patterns := []string{"/a/b", "/a/*", "/a/**", "/*/b", "/*/*", "/*/**", "/**"}
	for range 300 {
		var b strings.Builder
		b.WriteString("app: a\nusers: {groups: [staff], roles: [admin]}\nservices:\n  s:\n    run: x\n    listen: http://:80\n    expose:\n")
		governs := ""
		for i, at := range rng.Perm(len(patterns)) {
			if i > 3 {
				break
			}
			word := words[rng.IntN(len(words))]
			fmt.Fprintf(&b, "      - {route: GET %s, to: %q}\n", patterns[at], word)
		}
		src := b.String()
		set, err := policy.Compile(planOf(t, src), "2026-01-01")
		if err != nil {
			t.Fatal(err)
		}
		for _, pattern := range patterns {
			if i := strings.Index(src, "GET "+pattern+","); i >= 0 {
				_, rest, _ := strings.Cut(src[i:], `to: "`)
				governs, _, _ = strings.Cut(rest, `"`)
				break
			}
		}
		if !slices.Contains(words, governs) {
			t.Fatal("no rule governs")
		}
		for _, p := range people {
			m := set.Exposed().Route(request("GET", "/a/b"), &policy.Context{Person: p, Now: now})
			if m.Allow != may(governs, p) {
				t.Fatalf("%+v: %+v, but %s governs in\n%s", p, m, governs, src)
			}
		}
	}
}
