package policybench

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/casbin/casbin/v3"
	casbinmodel "github.com/casbin/casbin/v3/model"
	"github.com/cedar-policy/cedar-go"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
)

// engine answers query i of those it was made with.
type engine func(i int) bool

type factory struct {
	name string
	make func(testing.TB, *plan.Plan, []Query) engine
}

func factories() []factory {
	return []factory{
		{"ward", wardEngine},
		{"ward-by-name", wardByName},
		{"cedar", cedarEngine},
		{"cedar-sliced", cedarSliced},
		{"opa-rules", opaRules},
		{"opa-data", opaData},
		{"casbin", casbinEngine},
	}
}

// wardEngine decides on connections whose peer is resolved, as gateway and agent do.
func wardEngine(t testing.TB, p *plan.Plan, qs []Query) engine {
	set, err := policy.Compile(p, Today)
	if err != nil {
		t.Fatal(err)
	}
	tables, peers := make([]*policy.Table, len(qs)), make([]policy.PeerID, len(qs))
	for i := range qs {
		tables[i] = set.Outbound(qs[i].Caller)
		peers[i] = tables[i].Peer(qs[i].Target)
	}
	return func(i int) bool { return tables[i].Decide(peers[i], port, &qs[i].Request, nil).Allow }
}

// wardByName looks both names up for each request, as the other engines must.
func wardByName(t testing.TB, p *plan.Plan, qs []Query) engine {
	set, err := policy.Compile(p, Today)
	if err != nil {
		t.Fatal(err)
	}
	return func(i int) bool {
		out := set.Outbound(qs[i].Caller)
		return out.Decide(out.Peer(qs[i].Target), port, &qs[i].Request, nil).Allow
	}
}

func cedarEngine(t testing.TB, p *plan.Plan, qs []Query) engine {
	ps, err := cedar.NewPolicySetFromBytes("plan.cedar", []byte(CedarText(p.Rules, Today)))
	if err != nil {
		t.Fatal(err)
	}
	entities, requests := cedar.EntityMap{}, cedarRequests(qs)
	return func(i int) bool {
		d, _ := cedar.Authorize(ps, entities, requests[i])
		return d == cedar.Allow
	}
}

// cedarRequests builds the requests beforehand: only the decision is measured, as
// with the other engines.
func cedarRequests(qs []Query) []cedar.Request {
	out := make([]cedar.Request, 0, len(qs))
	for i := range qs {
		out = append(out, CedarRequest(qs[i].Caller, qs[i].Target, port, &qs[i].Request))
	}
	return out
}

// cedarSliced keeps one policy set per caller and target, and picks it by hand.
func cedarSliced(t testing.TB, p *plan.Plan, qs []Query) engine {
	type pair struct{ caller, target string }
	rules := map[pair][]plan.Rule{}
	for i := range p.Rules {
		k := pair{p.Rules[i].Caller, p.Rules[i].Target}
		rules[k] = append(rules[k], p.Rules[i])
	}
	sets := map[pair]*cedar.PolicySet{}
	for k, rs := range rules {
		ps, err := cedar.NewPolicySetFromBytes("plan.cedar", []byte(CedarText(rs, Today)))
		if err != nil {
			t.Fatal(err)
		}
		sets[k] = ps
	}
	entities, requests := cedar.EntityMap{}, cedarRequests(qs)
	return func(i int) bool {
		ps := sets[pair{qs[i].Caller, qs[i].Target}]
		if ps == nil {
			return false
		}
		d, _ := cedar.Authorize(ps, entities, requests[i])
		return d == cedar.Allow
	}
}

const opaModule = `package ward
import rego.v1
default allow := false
allow if {
	some rule in data.rules[input.caller][input.target]
	input.port in rule.ports
	input.method in rule.methods
	regex.match(rule.path, input.path)
}
`

// opaRules generates one Rego rule for each of ours, whose equalities OPA indexes.
func opaRules(t testing.TB, p *plan.Plan, qs []Query) engine {
	var b strings.Builder
	b.WriteString("package ward\nimport rego.v1\ndefault allow := false\n")
	for i := range p.Rules {
		r := &p.Rules[i]
		for _, m := range methodsOf(r) {
			fmt.Fprintf(&b, "allow if { input.caller == %q; input.target == %q; input.port == %d; input.method == %q; regex.match(%q, input.path) }\n",
				r.Caller, r.Target, port, m, regexpOf(r.Grant.Pattern))
		}
	}
	return opaEngine(t, qs, rego.Module("ward.rego", b.String()))
}

// opaData keeps the rules as data by caller and target.
func opaData(t testing.TB, p *plan.Plan, qs []Query) engine {
	rules := map[string]any{}
	for i := range p.Rules {
		r := &p.Rules[i]
		byTarget, ok := rules[r.Caller].(map[string]any)
		if !ok {
			byTarget = map[string]any{}
			rules[r.Caller] = byTarget
		}
		var ms []any
		for _, m := range methodsOf(r) {
			ms = append(ms, m)
		}
		list, _ := byTarget[r.Target].([]any)
		byTarget[r.Target] = append(list, map[string]any{
			"ports": []any{port}, "methods": ms, "path": regexpOf(r.Grant.Pattern),
		})
	}
	store := inmem.NewFromObjectWithOpts(map[string]any{"rules": rules}, inmem.OptReturnASTValuesOnRead(true))
	return opaEngine(t, qs, rego.Module("ward.rego", opaModule), rego.Store(store))
}

// opaEngine prepares the query once.
func opaEngine(t testing.TB, qs []Query, options ...func(*rego.Rego)) engine {
	ctx := context.Background()
	q, err := rego.New(append(options, rego.Query("data.ward.allow"))...).PrepareForEval(ctx)
	if err != nil {
		t.Fatal(err)
	}
	inputs := make([]ast.Value, len(qs))
	for i := range qs {
		inputs[i], err = ast.InterfaceToValue(map[string]any{
			"caller": qs[i].Caller, "target": qs[i].Target, "port": port,
			"method": qs[i].Request.Method, "path": qs[i].Request.Path,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return func(i int) bool {
		rs, err := q.Eval(ctx, rego.EvalParsedInput(inputs[i]))
		return err == nil && rs.Allowed()
	}
}

const casbinModel = `[request_definition]
r = sub, obj, path, act
[policy_definition]
p = sub, obj, path, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && r.obj == p.obj && r.act == p.act && regexMatch(r.path, p.path)
`

func casbinEngine(t testing.TB, p *plan.Plan, qs []Query) engine {
	m, err := casbinmodel.NewModelFromString(casbinModel)
	if err != nil {
		t.Fatal(err)
	}
	e, err := casbin.NewEnforcer(m)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for i := range p.Rules {
		r := &p.Rules[i]
		for _, act := range methodsOf(r) {
			rows = append(rows, []string{r.Caller, r.Target, regexpOf(r.Grant.Pattern), act})
		}
	}
	if _, err := e.AddPolicies(rows); err != nil {
		t.Fatal(err)
	}
	return func(i int) bool {
		ok, err := e.Enforce(qs[i].Caller, qs[i].Target, qs[i].Request.Path, qs[i].Request.Method)
		return err == nil && ok
	}
}

func methodsOf(r *plan.Rule) []string {
	var out []string
	for _, m := range r.Grant.Methods {
		out = append(out, m)
		if m == "GET" {
			out = append(out, "HEAD")
		}
	}
	return out
}

func regexpOf(pattern string) string {
	out := ""
	for _, s := range strings.Split(pattern, "/")[1:] {
		switch {
		case s == "**":
			out += "(/.*)?"
		case strings.HasPrefix(s, "{"):
			out += "/[^/]+"
		default:
			out += "/" + s
		}
	}
	return "^" + out + "$"
}

func TestAllEnginesAnswerAlike(t *testing.T) {
	for _, n := range []int{10, 1000} {
		p, qs := Build(n)
		if len(p.Rules) != n {
			t.Fatalf("%d rules, want %d", len(p.Rules), n)
		}
		want := wardEngine(t, p, qs)
		for _, f := range factories()[1:] {
			got := f.make(t, p, qs)
			allowed := 0
			for i := range qs {
				if got(i) != want(i) {
					t.Fatalf("%s at %d rules: %+v: %v, ward says %v", f.name, n, qs[i], got(i), want(i))
				}
				if want(i) {
					allowed++
				}
			}
			if allowed < len(qs)/3 || allowed == len(qs) {
				t.Errorf("%d of %d queries allowed: no fair mix", allowed, len(qs))
			}
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		p, qs := Build(n)
		for _, f := range factories() {
			b.Run(fmt.Sprintf("%s/rules=%d", f.name, n), func(b *testing.B) {
				e := f.make(b, p, qs)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					e(i)
					i = (i + 1) & (len(qs) - 1)
				}
			})
		}
	}
}

// BenchmarkOnePair gives Ward's matcher all rules at a single caller and target:
// the worst that its table can be asked.
func BenchmarkOnePair(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		p, qs := Build(n)
		for i := range p.Rules {
			p.Rules[i].Caller, p.Rules[i].Target = "svc0", "svc1"
			p.Rules[i].Grant.Pattern = strings.Replace(p.Rules[i].Grant.Pattern, "/", fmt.Sprintf("/g%d-", i%97), 1)
			p.Rules[i].Grant.Pattern += fmt.Sprintf("-%d", i)
			if strings.Contains(p.Rules[i].Grant.Pattern, "**-") || strings.Contains(p.Rules[i].Grant.Pattern, "}-") {
				p.Rules[i].Grant.Pattern = fmt.Sprintf("/g%d/{a}/r%d/{id}", i%97, i)
			}
		}
		for i := range qs {
			r := &p.Rules[(i*7919)%len(p.Rules)]
			qs[i].Caller, qs[i].Target = "svc0", "svc1"
			qs[i].Request.Path, qs[i].Request.Method = instance(r.Grant.Pattern), r.Grant.Methods[0]
		}
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			e := wardEngine(b, p, qs)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				e(i)
				i = (i + 1) & (len(qs) - 1)
			}
		})
	}
}
