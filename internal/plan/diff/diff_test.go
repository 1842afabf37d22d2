package diff_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/diff"
	"github.com/wardhq/ward/internal/plan/policy"
)

// shop has a caller "a" with grants at "b", written as in ward.yaml, and an observe
// grant if until isn't "".
func shop(t testing.TB, until string, grants ...string) *plan.Plan {
	t.Helper()
	var gs []model.Grant
	for _, s := range grants {
		g, err := model.ParseGrant(s)
		if err != nil {
			t.Fatal(err)
		}
		gs = append(gs, g)
	}
	m := &model.Model{App: "shop", Services: []model.Service{
		{Name: "a"},
		{Name: "b", Listen: []model.Listen{{Protocol: model.HTTP, Port: 80}, {Protocol: model.TCP, Port: 90}}},
	}}
	if until != "" {
		m.Observe = []model.Observe{{From: "a", To: "b", Grants: gs, Until: until}}
	} else {
		m.Services[0].Calls = []model.Call{{Target: "b", Grants: gs}}
	}
	return plan.Build(m)
}

func said(rs []diff.Right) string {
	var out []string
	for _, r := range rs {
		out = append(out, fmt.Sprintf("%s %v", r.Grant, r.Ports))
	}
	return strings.Join(out, "; ")
}

func TestRightsAreComparedByMeaning(t *testing.T) {
	for _, tt := range []struct {
		name         string
		old, new     string // grants, separated by semicolons
		gains, loses string
	}{
		{"the same", "GET /a", "GET /a", "", ""},
		{"another name", "GET /a/{x}", "GET /a/*", "", ""},
		{"another order", "GET /a;POST /b", "POST /b;GET /a", "", ""},
		{"split by method", "GET,POST /a", "GET /a;POST /a", "", ""},
		{"head is in get", "GET /a;HEAD /a", "GET /a", "", ""},
		{"get is not in head", "HEAD /a", "GET /a", "GET /a [80]", ""},
		{"a method more", "GET /a", "GET,POST /a", "POST /a [80]", ""},
		{"a broader path", "GET /a/b", "GET /a/**", "GET /a/** [80]", ""},
		{"a narrower path", "GET /a/**", "GET /a/b", "", "GET /a/** [80]"},
		{"covered by a broader one that stays", "GET /a/**;GET /a/b", "GET /a/**", "", ""},
		{"covered together", "GET /a/**", "GET /a;GET /a/;GET /a/{x}/**", "", ""},
		{"every method", "* /a", "GET,POST /a", "", "* /a [80]"},
		{"any to what its ports speak", "any", "* /**;ws /**;grpc */*;tcp", "", "any [80]"},
		{"tcp under any", "any;tcp", "any", "", ""},
		{"protocols are apart", "GET /a", "ws /a", "ws /a [80]", "GET /a [80]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := diff.Compare(shop(t, "", strings.Split(tt.old, ";")...), shop(t, "", strings.Split(tt.new, ";")...))
			if g := said(c.Gains); g != tt.gains {
				t.Errorf("gains %q, want %q", g, tt.gains)
			}
			if l := said(c.Losses); l != tt.loses {
				t.Errorf("losses %q, want %q", l, tt.loses)
			}
			if c.Empty() != (tt.gains+tt.loses == "") {
				t.Errorf("empty: %v", c.Empty())
			}
		})
	}
}

func TestTimeIsComparedToo(t *testing.T) {
	short, long, always := shop(t, "2026-08-31", "GET /a"), shop(t, "2026-09-30", "GET /a"), shop(t, "", "GET /**")
	for _, tt := range []struct {
		name                           string
		old, new                       *plan.Plan
		gains, losses, longer, shorter int
	}{
		{"extended", short, long, 0, 0, 1, 0},
		{"cut", long, short, 0, 0, 0, 1},
		{"made permanent and broader", short, always, 1, 0, 0, 0},
		{"permanent to observed", shop(t, "", "GET /a"), long, 0, 0, 0, 1},
		{"observed to permanent", long, shop(t, "", "GET /a"), 0, 0, 1, 0},
	} {
		c := diff.Compare(tt.old, tt.new)
		if len(c.Gains) != tt.gains || len(c.Losses) != tt.losses || len(c.Longer) != tt.longer || len(c.Shorter) != tt.shorter {
			t.Errorf("%s: gains %v losses %v longer %v shorter %v", tt.name, c.Gains, c.Losses, c.Longer, c.Shorter)
		}
	}
}

// What Compare calls no difference, policy decides alike; what it calls a gain
// or a loss shows on some request.
func TestCompareAgreesWithPolicyOnRandomGrants(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	grant := func() string {
		p := ""
		for range r.IntN(3) {
			p += "/" + []string{"a", "b", "{x}"}[r.IntN(3)]
		}
		if r.IntN(2) == 0 || p == "" {
			p += []string{"/", "/**"}[r.IntN(2)]
		}
		return []string{"GET ", "GET,POST ", "* ", "ws ", "HEAD "}[r.IntN(5)] + p
	}
	var requests []canon.Request
	for _, m := range []string{"GET", "HEAD", "POST", "PURGE"} {
		for _, a := range []string{"", "/a", "/b", "/f"} {
			for _, b := range []string{"", "/a", "/b", "/f"} {
				for _, c := range []string{"", "/", "/f"} {
					if p := a + b + c; strings.HasPrefix(p, "/") {
						requests = append(requests, canon.Request{Protocol: canon.HTTP, Method: m, Path: p},
							canon.Request{Protocol: canon.WebSocket, Method: "GET", Path: p})
					}
				}
			}
		}
	}
	equal := 0
	for range 3000 {
		old, new := shop(t, "", grant(), grant(), grant()), shop(t, "", grant(), grant())
		if r.IntN(3) == 0 {
			new = shop(t, "", append([]string{grant()}, texts(old)...)...)
		}
		gained, lost := false, false
		a, b := decider(t, old), decider(t, new)
		for i := range requests {
			was, is := a(&requests[i]), b(&requests[i])
			gained, lost = gained || is && !was, lost || was && !is
		}
		c := diff.Compare(old, new)
		if (len(c.Gains) > 0) != gained || (len(c.Losses) > 0) != lost {
			t.Fatalf("%q to %q: gains %q (%v), losses %q (%v)", texts(old), texts(new), said(c.Gains), gained, said(c.Losses), lost)
		}
		if !gained && !lost {
			equal++
		}
	}
	if equal < 100 {
		t.Errorf("only %d of 3,000 are equal", equal)
	}
}

func texts(p *plan.Plan) []string {
	var out []string
	for i := range p.Rules {
		out = append(out, p.Rules[i].Grant.String())
	}
	return out
}

func decider(t *testing.T, p *plan.Plan) func(*canon.Request) bool {
	set, err := policy.Compile(p, "2026-08-01")
	if err != nil {
		t.Fatal(err)
	}
	out := set.Outbound("a")
	peer := out.Peer("b")
	return func(r *canon.Request) bool { return out.Decide(peer, 80, r, nil).Allow }
}

func TestLargePlansCompareFast(t *testing.T) {
	if testing.Short() {
		t.Skip("measures time")
	}
	big := func(extra int) *plan.Plan {
		m := &model.Model{App: "big"}
		for i := range 1000 {
			s := model.Service{Name: model.ServiceName(fmt.Sprintf("s%d", i)), Listen: []model.Listen{{Protocol: model.HTTP, Port: 80}}}
			for j := range 100 {
				s.Calls = append(s.Calls, model.Call{Target: fmt.Sprintf("s%d", (i+j/10+1)%1000), Grants: []model.Grant{
					{Kind: model.GrantHTTP, Methods: []string{"GET"}, Pattern: fmt.Sprintf("/r%d/{id}", j+extra)},
				}})
			}
			m.Services = append(m.Services, s)
		}
		return plan.Build(m)
	}
	a, b := big(0), big(1)
	start := time.Now()
	c := diff.Compare(a, b)
	d := time.Since(start)
	t.Logf("100,000 rules each: %v, %d gains", d, len(c.Gains))
	if d > 20*time.Second {
		t.Errorf("took %v", d)
	}
}
