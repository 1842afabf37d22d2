package policy_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
)

// shop has one caller "a" with the given grants at "b" (http 80, tcp 90).
func shop(grants ...model.Grant) *plan.Plan {
	return plan.Build(&model.Model{
		App: "shop", TrustDomain: "shop.internal",
		Services: []model.Service{
			{Name: "a", Calls: []model.Call{{Target: "b", Grants: grants}}},
			{Name: "b", Listen: []model.Listen{{Protocol: model.H2C, Port: 80}, {Protocol: model.TCP, Port: 90}}},
		},
	})
}

func get(pattern string) model.Grant {
	return model.Grant{Kind: model.GrantHTTP, Methods: []string{"GET"}, Pattern: pattern}
}

func request(method, path string) *canon.Request {
	return &canon.Request{Protocol: canon.HTTP, Method: method, Path: path}
}

func TestPathsMatchSegmentBySegment(t *testing.T) {
	for _, tt := range []struct {
		name, pattern, path string
		want                bool
	}{
		{"literal", "/books", "/books", true},
		{"literal is no prefix", "/books", "/books/1", false},
		{"literal is no part of a segment", "/books", "/booksx", false},
		{"trailing slash is significant", "/books", "/books/", false},
		{"trailing slash in the pattern", "/books/", "/books/", true},
		{"trailing slash in the pattern only", "/books/", "/books", false},
		{"root", "/", "/", true},
		{"root is only the root", "/", "/a", false},
		{"name matches one segment", "/books/{id}", "/books/1", true},
		{"name matches no empty segment", "/books/{id}", "/books/", false},
		{"name doesn't match two", "/books/{id}", "/books/1/2", false},
		{"star is a name", "/books/*/pages", "/books/1/pages", true},
		{"rest matches zero segments", "/books/**", "/books", true},
		{"rest matches the slash", "/books/**", "/books/", true},
		{"rest matches many", "/books/**", "/books/1/2/3/", true},
		{"rest doesn't match a sibling", "/books/**", "/bookshop", false},
		{"rest of the root matches all", "/**", "/", true},
		{"case is significant", "/books", "/Books", false},
		{"a star in the path is a literal", "/books/a", "/books/*", false},
		{"no path", "/**", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := compile(t, shop(get(tt.pattern)))
			out := set.Outbound("a")
			if got := out.Decide(out.Peer("b"), 80, request("GET", tt.path), nil); got.Allow != tt.want {
				t.Errorf("%s on %s: %+v, want allow %v", tt.pattern, tt.path, got, tt.want)
			}
		})
	}
}

func TestAnyRuleThatMatchesAllowsWhicheverIsMoreSpecific(t *testing.T) {
	set := compile(t, shop(get("/a/{x}/c"), get("/a/b/**"), get("/a/b/d/e"), get("/{x}/b/d/f")))
	out := set.Outbound("a")
	for path, rule := range map[string]int32{
		"/a/b/c": 1, "/a/z/c": 0, "/a/b/d/e": 2, "/a/b/d/f": 1, "/q/b/d/f": 3, "/a/b": 1, "/a/z/d": -1, "/q/b/d/e": -1,
	} {
		if got := out.Decide(out.Peer("b"), 80, request("GET", path), nil); got.Rule != rule || got.Allow != (rule >= 0) {
			t.Errorf("%s: %+v, want rule %d", path, got, rule)
		}
	}
}

func TestMethods(t *testing.T) {
	post := model.Grant{Kind: model.GrantHTTP, Methods: []string{"POST"}, Pattern: "/p"}
	purge := model.Grant{Kind: model.GrantHTTP, Methods: []string{"PURGE"}, Pattern: "/c"}
	star := model.Grant{Kind: model.GrantHTTP, Methods: []string{"*"}, Pattern: "/s"}
	set := compile(t, shop(get("/g"), post, purge, star))
	out := set.Outbound("a")
	for _, tt := range []struct {
		method, path string
		want         policy.Reason
	}{
		{"GET", "/g", policy.Allowed},
		{"HEAD", "/g", policy.Allowed},
		{"OPTIONS", "/g", policy.NoMethod},
		{"get", "/g", policy.NoMethod},
		{"HEAD", "/p", policy.NoMethod},
		{"PURGE", "/c", policy.Allowed},
		{"PURGED", "/c", policy.NoMethod},
		{"", "/c", policy.NoMethod},
		{"OPTIONS", "/s", policy.Allowed},
		{"ANYTHING", "/s", policy.Allowed},
		{"GET", "/none", policy.NoRoute},
	} {
		if got := out.Decide(out.Peer("b"), 80, request(tt.method, tt.path), nil); got.Reason != tt.want {
			t.Errorf("%s %s: reason %v, want %v", tt.method, tt.path, got.Reason, tt.want)
		}
	}
}

func TestWhatIsUnknownIsDenied(t *testing.T) {
	set := compile(t, shop(get("/**")))
	out := set.Outbound("a")
	r := request("GET", "/")
	var none *policy.Table
	for name, got := range map[string]policy.Decision{
		"nil table":            none.Decide(1, 80, r, nil),
		"zero peer":            out.Decide(0, 80, r, nil),
		"peer of no plan":      out.Decide(out.Peer("mallory"), 80, r, nil),
		"peer out of range":    out.Decide(99, 80, r, nil),
		"nil request":          out.Decide(out.Peer("b"), 80, nil, nil),
		"table of an unknown":  set.Outbound("mallory").Decide(1, 80, r, nil),
		"gateway without rule": set.Inbound("b").Decide(set.Inbound("b").Peer(plan.Outside), 80, r, nil),
		"the other direction":  set.Outbound("b").Decide(set.Outbound("b").Peer("a"), 80, r, nil),
		"another port":         out.Decide(out.Peer("b"), 81, r, nil),
		"zero protocol":        out.Decide(out.Peer("b"), 80, &canon.Request{Path: "/", Method: "GET"}, nil),
		"zero decision":        {Rule: -1},
	} {
		if got.Allow || got.Rule != -1 {
			t.Errorf("%s: %+v, want a denial without rule", name, got)
		}
	}
	if got := set.Outbound("b").Peer("a"); set.Outbound("b").Decide(got, 80, r, nil).Reason != policy.NoRule {
		t.Errorf("a known peer without rule: want NoRule")
	}
}

func TestObserveEndsAfterItsLastDayAndYieldsToEnforce(t *testing.T) {
	m := &model.Model{
		App: "shop", TrustDomain: "shop.internal",
		Services: []model.Service{
			{Name: "a", Calls: []model.Call{{Target: "b", Grants: []model.Grant{get("/**")}}}},
			{Name: "b", Listen: []model.Listen{{Protocol: model.HTTP, Port: 80}}},
			{Name: "c"},
		},
		Observe: []model.Observe{
			{From: "a", To: "b", Grants: []model.Grant{get("/narrow")}, Until: "2026-12-31"},
			{From: "c", To: "b", Grants: []model.Grant{get("/x")}, Until: "2026-08-01"},
		},
	}
	p := plan.Build(m)
	decide := func(day, caller, path string) policy.Decision {
		set, err := policy.Compile(p, day)
		if err != nil {
			t.Fatal(err)
		}
		in := set.Inbound("b")
		return in.Decide(in.Peer(caller), 80, request("GET", path), nil)
	}
	if got := decide("2026-08-01", "a", "/narrow"); got != (policy.Decision{Allow: true, Reason: policy.Allowed, Rule: 0}) {
		t.Errorf("enforce and observe both match: %+v, want the enforce rule", got)
	}
	if got := decide("2026-08-01", "c", "/x"); got.Reason != policy.AllowedByObserve {
		t.Errorf("last day: %+v, want allowed by observe", got)
	}
	if got := decide("2026-08-02", "c", "/x"); got.Reason != policy.NoRule {
		t.Errorf("day after: %+v, want no rule", got)
	}
}

func TestCompileRefuses(t *testing.T) {
	bad := func(change func(*plan.Plan)) *plan.Plan {
		p := shop(get("/a"))
		change(p)
		return p
	}
	for name, p := range map[string]*plan.Plan{
		"rest in the middle":     shop(get("/a/**/b")),
		"half a wildcard":        shop(get("/a/x*")),
		"a nameless name":        shop(get("/a/{}")),
		"two names in a segment": shop(get("/a/{x}{y}")),
		"an empty segment":       shop(get("/a//b")),
		"no slash":               shop(get("a")),
		"no pattern":             shop(get("")),
		"no port":                bad(func(p *plan.Plan) { p.Rules[0].Ports = nil }),
		"unsorted ports":         bad(func(p *plan.Plan) { p.Rules[0].Ports = []int{90, 80} }),
		"no kind":                bad(func(p *plan.Plan) { p.Rules[0].Grant.Kind = 0 }),
	} {
		if set, err := policy.Compile(p, today); err == nil || set != nil {
			t.Errorf("%s: compiled", name)
		}
	}
	for _, day := range []string{"", "today", "2026-8-1", "2026-08-01T00:00:00Z"} {
		if _, err := policy.Compile(shop(get("/a")), day); err == nil {
			t.Errorf("day %q: compiled", day)
		}
	}
}

func TestExposedFindsTheMostSpecificRouteAcrossServices(t *testing.T) {
	ws := model.Grant{Kind: model.GrantWS, Pattern: "/live"}
	grpc := model.Grant{Kind: model.GrantGRPC, Pattern: "/shop.v1.Cart/*"}
	expose := func(g ...model.Grant) []model.Expose { return []model.Expose{{To: "anyone", Routes: g}} }
	p := plan.Build(&model.Model{
		App: "shop", TrustDomain: "shop.internal",
		Services: []model.Service{
			{Name: "web", Listen: []model.Listen{{Protocol: model.HTTP, Port: 8080}}, Expose: expose(get("/**"), ws)},
			{
				Name: "api", Listen: []model.Listen{{Protocol: model.GRPC, Port: 7000}, {Protocol: model.HTTP, Port: 9000}},
				Expose: expose(get("/api/{id}"), grpc),
			},
			{
				Name: "admin", Listen: []model.Listen{{Protocol: model.TCP, Port: 1}, {Protocol: model.H2C, Port: 2}},
				Expose: expose(model.Grant{Kind: model.GrantAny}),
			},
		},
	})
	x := compile(t, p).Exposed()
	for _, tt := range []struct {
		name string
		r    canon.Request
		want policy.Match
	}{
		{
			"most specific",
			canon.Request{Protocol: canon.HTTP, Method: "GET", Path: "/api/1"},
			policy.Match{Decision: policy.Decision{Allow: true, Reason: policy.Allowed, Rule: 2}, Target: "api", Port: 9000},
		},
		{
			"the rest",
			canon.Request{Protocol: canon.HTTP, Method: "HEAD", Path: "/x/y"},
			policy.Match{Decision: policy.Decision{Allow: true, Reason: policy.Allowed, Rule: 0}, Target: "web", Port: 8080},
		},
		{
			"web socket",
			canon.Request{Protocol: canon.WebSocket, Method: "GET", Path: "/live"},
			policy.Match{Decision: policy.Decision{Allow: true, Reason: policy.Allowed, Rule: 1}, Target: "web", Port: 8080},
		},
		{
			"grpc on its own port",
			canon.Request{Protocol: canon.GRPC, Method: "POST", Path: "/shop.v1.Cart/Add"},
			policy.Match{Decision: policy.Decision{Allow: true, Reason: policy.Allowed, Rule: 3}, Target: "api", Port: 7000},
		},
		{
			"any is last",
			canon.Request{Protocol: canon.HTTP, Method: "POST", Path: "/x"},
			policy.Match{Decision: policy.Decision{Allow: true, Reason: policy.Allowed, Rule: 4}, Target: "admin", Port: 2},
		},
		{
			"tcp never",
			canon.Request{Protocol: canon.TCP},
			policy.Match{Decision: policy.Decision{Reason: policy.WrongProtocol, Rule: -1}},
		},
	} {
		if diff := cmp.Diff(tt.want, x.Route(&tt.r, nil)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestExposedTellsMissingRouteFromMissingMethod(t *testing.T) {
	p := plan.Build(&model.Model{Services: []model.Service{{
		Name: "web", Listen: []model.Listen{{Protocol: model.HTTP, Port: 8080}},
		Expose: []model.Expose{{To: "anyone", Routes: []model.Grant{get("/a"), {Kind: model.GrantWS, Pattern: "/live"}}}},
	}}})
	x := compile(t, p).Exposed()
	for path, want := range map[string]policy.Reason{"/a": policy.NoMethod, "/b": policy.NoRoute, "/live": policy.WrongProtocol} {
		if got := x.Route(request("POST", path), nil); got.Reason != want || got.Allow || got.Target != "" {
			t.Errorf("POST %s: %+v, want reason %v", path, got, want)
		}
	}
	if diff := cmp.Diff([]string{"GET", "HEAD"}, x.Methods("/a")); diff != "" {
		t.Error(diff)
	}
	empty := compile(t, plan.Build(&model.Model{})).Exposed()
	if got := empty.Route(request("GET", "/"), nil); got.Allow {
		t.Errorf("nothing exposed: %+v", got)
	}
}

func TestManySiblingsAreToldApart(t *testing.T) {
	var grants []model.Grant
	for i := range 3000 {
		grants = append(grants, get(fmt.Sprintf("/%s%d", strings.Repeat("x", i%40), i)))
	}
	set := compile(t, shop(grants...))
	out := set.Outbound("a")
	for i, g := range grants {
		if got := out.Decide(out.Peer("b"), 80, request("GET", g.Pattern), nil); got.Rule != int32(i) {
			t.Fatalf("%s: %+v, want rule %d", g.Pattern, got, i)
		}
		for _, path := range []string{g.Pattern + "y", "/y" + g.Pattern[1:], g.Pattern + "/", g.Pattern[:len(g.Pattern)-1] + "z"} {
			if got := out.Decide(out.Peer("b"), 80, request("GET", path), nil); got.Allow {
				t.Fatalf("%s: %+v, want a denial", path, got)
			}
		}
	}
}

func TestRulesThatDifferInPortsAloneAreBothKept(t *testing.T) {
	p := shop(get("/a"), get("/a"), get("/a"))
	p.Rules[0].Ports, p.Rules[1].Ports, p.Rules[2].Ports = []int{80, 81}, []int{80, 82}, []int{80}
	set := compile(t, p)
	out := set.Outbound("a")
	for port, rule := range map[int]int32{80: 0, 81: 0, 82: 1, 83: -1} {
		if got := out.Decide(out.Peer("b"), port, request("GET", "/a"), nil); got.Rule != rule {
			t.Errorf("port %d: %+v, want rule %d", port, got, rule)
		}
	}
}

// wide has n rules of mixed shape on one pair.
func wide(n int) *plan.Plan {
	grants := make([]model.Grant, 0, n)
	for i := range n {
		shape := []string{"/api/v1/r%d", "/api/v1/r%d/{id}", "/api/v2/{t}/r%d/items", "/static/r%d/**"}[i%4]
		grants = append(grants, get(fmt.Sprintf(shape, i)))
	}
	return shop(grants...)
}

func TestDecideAllocatesNothing(t *testing.T) {
	set := compile(t, wide(1000))
	out, x := set.Outbound("a"), set.Exposed()
	peer := out.Peer("b")
	for _, path := range []string{"/api/v1/r500", "/api/v1/r501/42", "/api/v2/t/r502/items", "/static/r503/a/b/c", "/none", "/api/v1/r500/x/y"} {
		r := request("GET", path)
		if n := testing.AllocsPerRun(100, func() { out.Decide(peer, 80, r, nil); x.Route(r, nil) }); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

// Every mix of a literal and a wildcard at 12 levels is a rule, and the path
// takes both branches at each level: the most that a path can cost.
func TestHostilePathsCostNoMoreThanTheRulesOfThePair(t *testing.T) {
	var grants []model.Grant
	for bits := range 1 << 12 {
		p := ""
		for i := range 12 {
			p += []string{"/a", "/{x}"}[bits>>i&1]
		}
		grants = append(grants, get(p+"/end"))
	}
	set := compile(t, shop(grants...))
	out := set.Outbound("a")
	peer := out.Peer("b")
	r := request("GET", strings.Repeat("/a", 30_000))
	start := time.Now()
	const runs = 20
	for range runs {
		if out.Decide(peer, 80, r, nil).Allow {
			t.Fatal("allowed")
		}
	}
	each := time.Since(start) / runs
	t.Logf("%v for one decision", each)
	if each > 100*time.Millisecond {
		t.Errorf("one decision took %v over 8,191 nodes", each)
	}
}

func TestLargePlansCompileFast(t *testing.T) {
	if testing.Short() {
		t.Skip("measures time")
	}
	r := rand.New(rand.NewPCG(5, 6))
	m := &model.Model{App: "big", TrustDomain: "big.internal"}
	for i := range 10_000 {
		s := model.Service{
			Name:   model.ServiceName(fmt.Sprintf("s%d", i)),
			Listen: []model.Listen{{Protocol: model.HTTP, Port: 80}},
		}
		for j := range 5 {
			s.Calls = append(s.Calls, model.Call{Target: fmt.Sprintf("s%d", r.IntN(10_000)), Grants: []model.Grant{
				get(fmt.Sprintf("/api/v1/r%d/{id}", j)), get(fmt.Sprintf("/api/v2/r%d/**", j)),
			}})
		}
		m.Services = append(m.Services, s)
	}
	start := time.Now()
	p := plan.Build(m)
	built := time.Since(start)
	start = time.Now()
	compile(t, p)
	compiled := time.Since(start)
	t.Logf("10,000 services, %d rules: build %v, compile %v", len(p.Rules), built, compiled)
	if built+compiled > 15*time.Second {
		t.Errorf("build %v and compile %v: far above the 0.7 s that it should take unloaded", built, compiled)
	}
}
