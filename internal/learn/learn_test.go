package learn

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/edit"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
)

const shop = `app: shop
services:
  web:
    run: ./web
    listen: http://:8080
    calls:
      # the catalogue
      books: GET /books # one
  books: {run: ./books, listen: [http://:8081, h2c://:8082]}
  api: {run: ./api, listen: http://:8083}
  pay: {run: ./pay, listen: grpc://:8084}
  redis: {run: redis-server, listen: tcp://:6379}
externals:
  bank: {host: bank.example, tls: originate}
`

func parse(t testing.TB, text string) *model.Model {
	t.Helper()
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(text))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	return m
}

func get(paths ...string) []Call {
	var out []Call
	for _, p := range paths {
		out = append(out, Call{Caller: "web", Target: "api", Port: 8083, Kind: model.GrantHTTP, Method: "GET", Path: p})
	}
	return out
}

func TestGrants(t *testing.T) {
	var many []string
	for i := range maxRoutes + 1 {
		many = append(many, fmt.Sprintf("/r/x%c%c/y%d%s", 'a'+i/26, 'a'+i%26, i%2, strings.Repeat("/z", i)))
	}
	for _, c := range []struct {
		name  string
		calls []Call
		want  string // caller target grant, one a line
		notes string // a part of them
	}{
		{"a plain path", get("/search"), "web api GET /search", ""},
		{"the root", get("/"), "web api GET /", ""},
		{"a slash at the end is another path", get("/a", "/a/"), "web api GET /a\nweb api GET /a/", ""},
		{"numbers are ids", get("/o/1", "/o/2/items/77"), "web api GET /o/{id}\nweb api GET /o/{id}/items/{id}", ""},
		{"a UUID", get("/o/3f2504e0-4f89-11d3-9a0c-0305e82c3301"), "web api GET /o/{id}", ""},
		{"a hash", get("/blob/9f86d081884c7d65"), "web api GET /blob/{id}", ""},
		{"a ULID", get("/o/01ARZ3NDEKTSV4RRFFQ69G5FAV"), "web api GET /o/{id}", ""},
		{"words are words", get("/deadbeef", "/v1/decade", "/health-check"), "web api GET /deadbeef\nweb api GET /health-check\nweb api GET /v1/decade", ""},
		{"two siblings stay", get("/u/ann", "/u/bob"), "web api GET /u/ann\nweb api GET /u/bob", ""},
		{"three become a name", get("/u/ann", "/u/bob", "/u/cyd"), "web api GET /u/{name}", "/u/{name} stands for ann, bob, cyd"},
		{"with what is below", get("/u/ann/x", "/u/bob/x", "/u/cyd/x"), "web api GET /u/{name}/x", ""},
		{"first segments are never merged", get("/a", "/b", "/c"), "web api GET /a\nweb api GET /b\nweb api GET /c", ""},
		{"siblings with other routes stay", get("/u/ann/x", "/u/bob/y", "/u/cyd/z"), "web api GET /u/ann/x\nweb api GET /u/bob/y\nweb api GET /u/cyd/z", ""},
		{"what a pattern can't say", get("/x/a*b"), "web api GET /x/{id}", ""},
		{"methods of one path", append(get("/a"), Call{"web", "api", 8083, model.GrantHTTP, "POST", "/a"}, Call{"web", "api", 8083, model.GrantHTTP, "HEAD", "/a"}), "web api GET,POST /a", ""},
		{"HEAD alone", []Call{{"web", "api", 8083, model.GrantHTTP, "HEAD", "/a"}}, "web api HEAD /a", ""},
		{"WebSocket", []Call{{"web", "api", 8083, model.GrantWS, "GET", "/live/7"}}, "web api ws /live/{id}", ""},
		{"gRPC", []Call{{"api", "pay", 8084, model.GrantGRPC, "POST", "/shop.v1.Pay/Charge"}}, "api pay grpc shop.v1.Pay/Charge", ""},
		{"TCP", []Call{{"web", "redis", 6379, model.GrantTCP, "", ""}, {"web", "redis", 6379, model.GrantTCP, "", ""}}, "web redis tcp", ""},
		{"one port of several", []Call{{"api", "books", 8082, model.GrantHTTP, "GET", "/x"}}, "api books:8082 GET /x", ""},
		{"a port that its kind doesn't fit", []Call{{"api", "redis", 6379, model.GrantHTTP, "GET", "/x"}}, "", "port 6379 is left out"},
		{"not between services", []Call{{"web", "bank", 443, model.GrantHTTP, "GET", "/x"}, {"GATEWAY", "web", 8080, model.GrantHTTP, "GET", "/x"}, {"web", "web", 8080, model.GrantHTTP, "GET", "/x"}}, "", ""},
		{"an unknown method", []Call{{"web", "api", 8083, model.GrantHTTP, "FROB", "/a"}}, "", "is left out"},
		{"too many routes", get(many...), "web api GET /r/**", "too many to list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			edits, notes := Grants(parse(t, shop), c.calls)
			var lines []string
			for _, e := range edits {
				lines = append(lines, e.Caller+" "+e.Target+" "+e.Grant)
			}
			if diff := cmp.Diff(c.want, strings.Join(lines, "\n")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if got := fmt.Sprint(notes); !strings.Contains(got, c.notes) || c.notes == "" && len(notes) > 0 && c.want != "" && !strings.Contains(c.want, "{name}") {
				t.Errorf("notes: %s", got)
			}
		})
	}
}

// TestWhatWasSeenIsAllowedAfterwards puts the grants into the file and asks the policy about each call again.
func TestWhatWasSeenIsAllowedAfterwards(t *testing.T) {
	calls := append(get("/", "/a", "/a/", "/u/ann", "/u/bob", "/u/cyd", "/u/7", "/o/1/x", "/o/2/y", "/a*b/1"),
		Call{"web", "books", 8082, model.GrantHTTP, "PUT", "/books/9"}, Call{"web", "redis", 6379, model.GrantTCP, "", ""},
		Call{"api", "pay", 8084, model.GrantGRPC, "POST", "/shop.v1.Pay/Charge"}, Call{"api", "web", 8080, model.GrantWS, "GET", "/live"})
	edits, _ := Grants(parse(t, shop), calls)
	after, err := edit.Add([]byte(shop), edits)
	if err != nil {
		t.Fatal(err)
	}
	for _, kept := range []string{"# the catalogue", "GET /books", "# one"} {
		if !strings.Contains(string(after), kept) {
			t.Errorf("lost %q:\n%s", kept, after)
		}
	}
	set, err := policy.Compile(plan.Build(parse(t, string(after))), "2026-01-01")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range calls {
		r := canon.Request{Method: c.Method, Path: c.Path, Protocol: map[model.GrantKind]canon.Protocol{model.GrantHTTP: canon.HTTP, model.GrantWS: canon.WebSocket, model.GrantGRPC: canon.GRPC, model.GrantTCP: canon.TCP}[c.Kind]}
		out, in := set.Outbound(c.Caller), set.Inbound(c.Target)
		if !out.Decide(out.Peer(c.Target), c.Port, &r, nil).Allow || !in.Decide(in.Peer(c.Caller), c.Port, &r, nil).Allow {
			t.Errorf("%+v isn't allowed by\n%s", c, after)
		}
	}
}

func TestWidenOpensServicesOnly(t *testing.T) {
	p := plan.Build(parse(t, shop))
	before := p.Revision()
	w := Widen(p)
	if p.Revision() != before {
		t.Error("the plan was changed")
	}
	if diff := cmp.Diff(p.Rules, w.Rules); diff != "" {
		t.Errorf("rules (-before +after)\n%s", diff)
	}
	for i := range w.Services {
		s := &w.Services[i]
		ips, reached := map[string]string{}, map[string]bool{}
		for _, u := range s.Upstreams {
			if u.External || u.Target == string(s.Name) {
				t.Errorf("%s can dial %s", s.Name, u.Target)
			}
			if other, ok := ips[u.IP]; ok && other != u.Target {
				t.Errorf("%s: %s and %s share %s", s.Name, other, u.Target, u.IP)
			}
			ips[u.IP], reached[fmt.Sprint(u.Target, ":", u.TargetPort)] = u.Target, true
		}
		for j := range w.Services {
			for _, l := range w.Services[j].Listen {
				if key := fmt.Sprint(w.Services[j].Name, ":", l.Port); i != j && !reached[key] {
					t.Errorf("%s can't dial %s", s.Name, key)
				}
			}
		}
	}
}
