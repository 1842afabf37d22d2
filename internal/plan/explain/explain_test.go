package explain_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/explain"
)

const today = "2026-08-01"

func shop() *model.Model {
	grant := func(s string) model.Grant {
		g, err := model.ParseGrant(s)
		if err != nil {
			panic(err)
		}
		return g
	}
	return &model.Model{
		App: "shop",
		Services: []model.Service{
			{
				Name: "web", Listen: []model.Listen{{Protocol: model.HTTP, Port: 80}},
				Expose: []model.Expose{{To: "anyone", Routes: []model.Grant{grant("GET /**")}}},
				Calls: []model.Call{
					{Target: "api", Port: 82, Grants: []model.Grant{grant("GET /v1/{id}")}},
					{Target: "pay", Grants: []model.Grant{grant("POST /v1/charges")}},
				},
			},
			{Name: "api", Listen: []model.Listen{{Protocol: model.HTTP, Port: 81}, {Protocol: model.H2C, Port: 82}, {Protocol: model.TCP, Port: 83}}},
			{Name: "idle"},
		},
		Externals: []model.External{{Name: "pay", Host: "pay.example", Port: 443, LocalPort: 80, TLS: model.TLSOriginate, Protocol: model.HTTP}},
	}
}

// apply does to a model what a Fix says to do to its text.
func apply(t *testing.T, m *model.Model, f *explain.Fix, target string) {
	t.Helper()
	for i := range m.Services {
		s := &m.Services[i]
		if string(s.Name) != f.Service {
			continue
		}
		if f.Section == "expose" {
			s.Expose = append(s.Expose, model.Expose{To: "anyone", Routes: []model.Grant{f.Grant}})
			return
		}
		s.Calls = append(s.Calls, model.Call{Target: target, Port: f.Port, Grants: []model.Grant{f.Grant}})
		return
	}
	t.Fatalf("no service %q", f.Service)
}

// readable holds that the text of a fix is YAML that says its grant.
func readable(t *testing.T, f *explain.Fix) {
	t.Helper()
	text := "    " + f.YAML
	if !strings.HasPrefix(f.YAML, f.Section+":") {
		text = "    " + f.Section + ":\n      " + f.YAML
	}
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader("app: x\nservices:\n  api:\n    run: x\n"+
		"    listen: [http://:81, h2c://:82, tcp://:83]\n  web: {run: x, listen: http://:80}\n"+
		"  idle: {run: x}\n  me:\n    run: x\n    listen: h2c://:1\n"+text+
		"\nexternals:\n  pay: {host: pay.example, tls: originate}\n"))
	if problems.HasErrors() {
		t.Fatalf("%s\n%s", text, problems)
	}
	me := m.Services[3]
	for _, e := range me.Expose {
		if slices.ContainsFunc(e.Routes, f.Grant.Equal) {
			return
		}
	}
	for _, c := range me.Calls {
		if slices.ContainsFunc(c.Grants, f.Grant.Equal) && c.Port == f.Port {
			return
		}
	}
	t.Fatalf("%s doesn't say %q", text, f.Grant)
}

func TestAFixAllowsWhatWasDenied(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	pick := func(xs ...string) string { return xs[r.IntN(len(xs))] }
	fixed, impossible := 0, 0
	for range 2000 {
		m := shop()
		q := explain.Query{
			Caller: pick("web", "api", "idle", plan.Outside), Target: pick("web", "api", "pay", "idle"),
			Method: pick("GET", "POST", "OPTIONS", "PURGE", "ws", "grpc", "tcp"),
			Path:   pick("/", "/a", "/v1/1", "/v1/charges", "/a.B/C", "/x*y/{z}", "/v1/1/"), Port: []int{0, 0, 81, 82, 83}[r.IntN(5)],
		}
		res, err := explain.Explain(plan.Build(m), today, q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		switch {
		case res.Allowed && (res.Fix != nil || res.NoFix != ""):
			t.Fatalf("%+v is allowed, and has a fix", q)
		case res.Allowed:
		case res.Fix == nil && res.NoFix == "":
			t.Fatalf("%+v is denied without a word on what to do", q)
		case res.Fix == nil:
			impossible++
		default:
			fixed++
			if !strings.Contains(strings.ReplaceAll(res.Fix.YAML, `"`, ""), res.Fix.Grant.String()) {
				t.Fatalf("%+v: the grant %q isn't in %q", q, res.Fix.Grant, res.Fix.YAML)
			}
			readable(t, res.Fix)
			apply(t, m, res.Fix, q.Target)
			after, err := explain.Explain(plan.Build(m), today, q)
			if err != nil || !after.Allowed {
				t.Fatalf("%+v: still denied after %+v: %+v, %v", q, *res.Fix, after, err)
			}
		}
	}
	if fixed < 300 || impossible < 100 {
		t.Errorf("%d fixed, %d impossible: the queries no longer test it", fixed, impossible)
	}
}

func TestQuestionsThatNoRequestCanAskAreErrors(t *testing.T) {
	p := plan.Build(shop())
	for _, q := range []explain.Query{
		{Caller: "nobody", Target: "api", Method: "GET", Path: "/"},
		{Caller: "web", Target: "nobody", Method: "GET", Path: "/"},
		{Caller: "pay", Target: "web", Method: "GET", Path: "/"},
		{Caller: "web", Target: "api", Method: "GET", Path: "/a/../b"},
		{Caller: "web", Target: "api", Method: "GET", Path: ""},
		{Caller: "web", Target: "api", Method: "ws", Path: "/%2f"},
		{Caller: "web", Target: "api", Method: "G T", Path: "/"},
	} {
		_, err := explain.Explain(p, today, q)
		if _, ok := errors.AsType[*explain.QueryError](err); !ok {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func TestPathsAreAskedInCanonicalForm(t *testing.T) {
	res, err := explain.Explain(plan.Build(shop()), today, explain.Query{Caller: "web", Target: "api", Method: "GET", Path: "/v1/%41?x=1"})
	if err != nil || !res.Allowed || res.Request != "GET /v1/A" || res.Port != 82 {
		t.Errorf("%+v, %v", res, err)
	}
}

// FuzzExplain holds that no question brings it down, and that an answer is for every end.
func FuzzExplain(f *testing.F) {
	f.Add("web", "api", "GET", "/v1/1", 0)
	f.Add("GATEWAY", "web", "ws", "/live", 80)
	f.Add("web", "pay", "grpc", "a.B/C", 443)
	p := plan.Build(shop())
	f.Fuzz(func(t *testing.T, caller, target, method, path string, port int) {
		res, err := explain.Explain(p, today, explain.Query{Caller: caller, Target: target, Port: port, Method: method, Path: path})
		if err != nil {
			return
		}
		denied := slices.ContainsFunc(res.Ends, func(e explain.End) bool { return !e.Allowed })
		if res.Allowed == denied || len(res.Ends) == 0 {
			t.Errorf("allowed %v with ends %+v", res.Allowed, res.Ends)
		}
		if !strings.HasPrefix(res.Text("ward.yaml"), fmt.Sprint(map[bool]string{true: "allowed", false: "denied"}[res.Allowed])) {
			t.Error("the text says something else")
		}
	})
}
