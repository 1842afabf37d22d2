// Package learn turns calls that were seen while grants are learnt into grants for ward.yaml.
//
// Guarantee: what comes out allows every call that went in, but those that a Note says are left
// out; a wildcard stands only where an id was seen, or three values or more with the same routes below
// them, and each such place is in a Note, as is every "**". Externals are never opened. Whether
// a call ought to be allowed is for the reader of the diff.
package learn

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/edit"
)

// Call is one call that no rule allowed. Kind is GrantHTTP, GrantWS, GrantGRPC or GrantTCP.
type Call struct {
	Caller, Target string
	Port           int
	Kind           model.GrantKind
	Method         string // HTTP only
	Path           string // canonical; "" for TCP
}

// Note is something that the reader of the diff should know.
type Note struct {
	Caller string `json:"caller"`
	Target string `json:"target"`
	Text   string `json:"text"`
}

// maxRoutes is how many grants of one caller to one target a person would still read.
const maxRoutes = 60

// Grants returns the grants that allow the calls, in the order of the model's services.
func Grants(m *model.Model, calls []Call) ([]edit.Grant, []Note) {
	g := grouper{model: m, pairs: map[pair][]Call{}}
	for _, c := range calls {
		g.take(c)
	}
	var edits []edit.Grant
	for _, p := range g.order() {
		for _, grant := range g.grants(p) {
			edits = append(edits, edit.Grant{Caller: p.caller, Target: p.target, Grant: grant})
		}
	}
	return edits, g.notes
}

// pair is a caller and a key under its calls.
type pair struct{ caller, target string }

type grouper struct {
	model *model.Model
	pairs map[pair][]Call
	notes []Note
}

func (g *grouper) note(p pair, format string, args ...any) {
	g.notes = append(g.notes, Note{p.caller, p.target, fmt.Sprintf(format, args...)})
}

func (g *grouper) index(name string) int {
	return slices.IndexFunc(g.model.Services, func(s model.Service) bool { return string(s.Name) == name })
}

// take files a call under the key that it needs: the target's name, with the port if the grant would open
// another one too.
func (g *grouper) take(c Call) {
	i := g.index(c.Target)
	if g.index(c.Caller) < 0 || i < 0 || c.Caller == c.Target {
		return // not between two services of the model
	}
	fit, isPort := 0, false
	for _, l := range g.model.Services[i].Listen {
		if c.Kind.Fits(l.Protocol) {
			fit++
			isPort = isPort || l.Port == c.Port
		}
	}
	p := pair{c.Caller, c.Target}
	if !isPort {
		g.note(p, "a call to port %d is left out: no grant of its kind fits that port", c.Port)
		return
	}
	if fit > 1 {
		p.target = fmt.Sprintf("%s:%d", c.Target, c.Port)
	}
	g.pairs[p] = append(g.pairs[p], c)
}

func (g *grouper) order() []pair {
	return slices.SortedFunc(maps.Keys(g.pairs), func(a, b pair) int {
		return cmp.Or(cmp.Compare(g.index(a.caller), g.index(b.caller)), strings.Compare(a.target, b.target))
	})
}

func (g *grouper) grants(p pair) []string {
	routes := map[model.GrantKind]*tree{model.GrantHTTP: {}, model.GrantWS: {}}
	out := map[string]bool{}
	for _, c := range g.pairs[p] {
		switch c.Kind {
		case model.GrantTCP:
			out["tcp"] = true
		case model.GrantGRPC:
			out["grpc "+strings.TrimPrefix(c.Path, "/")] = true
		case model.GrantHTTP, model.GrantWS:
			routes[c.Kind].add(segments(c.Path), c.Method)
		}
	}
	for _, kind := range []model.GrantKind{model.GrantHTTP, model.GrantWS} {
		t := routes[kind]
		t.merge(nil, func(where string, values []string) {
			g.note(p, "%s stands for %s", where, listed(values))
		})
		found := t.routes(nil)
		if len(found) > maxRoutes {
			g.note(p, "%d routes were seen, too many to list: they are written as ** below their first segment, which is wider than what was seen", len(found))
			found = t.wide()
		}
		for _, r := range found {
			if kind == model.GrantWS {
				out["ws "+r.pattern] = true
				continue
			}
			out[strings.Join(r.methods, ",")+" "+r.pattern] = true
		}
	}
	var list []string
	for _, grant := range slices.Sorted(maps.Keys(out)) {
		if _, err := model.ParseGrant(grant); err != nil {
			g.note(p, "%q is left out: %v", grant, err)
			continue
		}
		list = append(list, grant)
	}
	slices.SortStableFunc(list, func(a, b string) int { return strings.Compare(afterWord(a), afterWord(b)) })
	return list
}

// afterWord is a grant's pattern: grants of one path stand together.
func afterWord(grant string) string {
	_, rest, _ := strings.Cut(grant, " ")
	return rest
}

func listed(values []string) string {
	slices.Sort(values)
	const most = 4
	if len(values) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(values[:most], ", "), len(values)-most)
	}
	return strings.Join(values, ", ")
}
