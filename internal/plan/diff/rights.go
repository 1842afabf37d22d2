package diff

import (
	"slices"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// forever is the end of a right that has none; it sorts after every date.
const forever = "9999-99-99"

// right is one rule in a form that can be compared. A right holds what Decide
// would allow: HEAD with GET, and of "any" the protocols that its ports speak.
type right struct {
	rule    *plan.Rule
	methods []string // of HTTP
	path    pattern
	end     string
}

func newRight(r *plan.Rule) right {
	x := right{rule: r, methods: r.Grant.Methods, path: everything(), end: forever}
	if r.Mode == plan.Observe {
		x.end = r.Until
	}
	switch r.Grant.Kind {
	case model.GrantAny:
		x.methods = []string{"*"}
	case model.GrantHTTP:
		if slices.Contains(x.methods, "GET") && !slices.Contains(x.methods, "HEAD") {
			x.methods = append(slices.Clone(x.methods), "HEAD")
		}
	}
	if r.Grant.Pattern != "" {
		x.path = parse(r.Grant.Pattern)
	}
	return x
}

// atom is a point of a right whose path alone is left to compare.
type atom struct {
	port   int
	kind   model.GrantKind // HTTP, WS, GRPC or TCP
	method string          // of HTTP; "*" for all that nobody names
}

// has says whether x holds the atom on some path, for the same people, until end at least.
func (x *right) has(a atom, to, end string) bool {
	if !slices.Contains(x.rule.Ports, a.port) || x.end < end {
		return false
	}
	if x.rule.To != to && x.rule.To != anyone && x.rule.To != "" {
		return false
	}
	if x.rule.Grant.Kind == model.GrantAny {
		return true
	}
	if x.rule.Grant.Kind != a.kind {
		return false
	}
	return a.kind != model.GrantHTTP || slices.Contains(x.methods, a.method) || slices.Contains(x.methods, "*")
}

const anyone = "anyone"

type pairKey struct{ caller, target string }

// side is one plan, ready to compare.
type side struct {
	plan  *plan.Plan
	pairs map[pairKey][]right
	exact map[string]string // the text of a right: its latest end
	tcp   map[string][]int  // the tcp ports of each target
}

func newSide(p *plan.Plan) *side {
	s := &side{plan: p, pairs: map[pairKey][]right{}, exact: map[string]string{}, tcp: map[string][]int{}}
	for i := range p.Rules {
		r := &p.Rules[i]
		if !grants(r) {
			continue
		}
		x := newRight(r)
		k := pairKey{r.Caller, r.Target}
		s.pairs[k] = append(s.pairs[k], x)
		key := exactKey(r)
		s.exact[key] = max(s.exact[key], x.end)
	}
	for i := range p.Services {
		for _, l := range p.Services[i].Listen {
			if l.Protocol == model.TCP {
				name := string(p.Services[i].Name)
				s.tcp[name] = append(s.tcp[name], l.Port)
			}
		}
	}
	for i := range p.Externals {
		if e := &p.Externals[i]; plan.ExternalProtocol(e) == model.TCP {
			s.tcp[string(e.Name)] = []int{e.Port}
		}
	}
	return s
}

// grants says whether a rule grants anything on any day.
func grants(r *plan.Rule) bool {
	return r.Mode == plan.Enforce || r.Mode == plan.Observe && r.Until != ""
}

// exactKey is equal for rules that say the same in the same words.
func exactKey(r *plan.Rule) string {
	var b strings.Builder
	for _, s := range []string{r.Caller, r.Target, r.To, r.Grant.String()} {
		b.WriteString(s)
		b.WriteByte(0)
	}
	for _, p := range r.Ports {
		b.WriteString(strconv.Itoa(p))
		b.WriteByte(',')
	}
	return b.String()
}

// atoms lists the points of x that s's plan can tell apart, given the methods
// that the pair names in either plan.
func (s *side) atoms(x *right, methods []string) []atom {
	var out []atom
	for _, port := range x.rule.Ports {
		kinds := []model.GrantKind{x.rule.Grant.Kind}
		if x.rule.Grant.Kind == model.GrantAny {
			kinds = []model.GrantKind{model.GrantHTTP, model.GrantWS, model.GrantGRPC}
			if slices.Contains(s.tcp[x.rule.Target], port) {
				kinds = []model.GrantKind{model.GrantTCP}
			}
		}
		for _, k := range kinds {
			if k != model.GrantHTTP {
				out = append(out, atom{port: port, kind: k})
				continue
			}
			ms := x.methods
			if slices.Contains(ms, "*") {
				ms = methods
			}
			for _, m := range ms {
				out = append(out, atom{port, k, m})
			}
		}
	}
	return out
}

// namedMethods are the methods that two lists of rights name, and "*" for the others.
func namedMethods(a, b []right) []string {
	out := []string{"*"}
	for _, xs := range [][]right{a, b} {
		for i := range xs {
			out = append(out, xs[i].methods...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// missing lists the atoms of x that others don't hold on all of x's paths until end.
func (s *side) missing(x *right, others []right, methods []string, end string) []atom {
	var out []atom
	for _, a := range s.atoms(x, methods) {
		var qs []pattern
		for i := range others {
			if others[i].has(a, x.rule.To, end) {
				qs = append(qs, others[i].path)
			}
		}
		if !covered(x.path, qs) {
			out = append(out, a)
		}
	}
	return out
}

// reduced says the missing atoms of a rule as grants by ports.
func reduced(x *right, missing []atom) []Right {
	var out []Right
	for _, port := range x.rule.Ports {
		var ms []string
		any := false
		for _, a := range missing {
			if a.port == port {
				any = true
				if a.kind == model.GrantHTTP {
					ms = append(ms, a.method)
				}
			}
		}
		if !any {
			continue
		}
		g := x.rule.Grant
		if g.Kind == model.GrantHTTP {
			g.Methods = shortest(ms)
		}
		if n := len(out); n > 0 && out[n-1].Grant.Equal(g) {
			out[n-1].Ports = append(out[n-1].Ports, port)
			continue
		}
		r := Right{Caller: x.rule.Caller, Target: x.rule.Target, Ports: []int{port}, Grant: g, To: x.rule.To, Line: x.rule.Pos.Line}
		if x.end != forever {
			r.Until = x.end
		}
		out = append(out, r)
	}
	return out
}

// shortest is a list of methods without what another one says already.
func shortest(ms []string) []string {
	slices.Sort(ms)
	ms = slices.Compact(ms)
	if slices.Contains(ms, "*") {
		return []string{"*"}
	}
	if slices.Contains(ms, "GET") {
		ms = slices.DeleteFunc(ms, func(m string) bool { return m == "HEAD" })
	}
	return ms
}
