package explain

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/words"
)

// Fix is the line to add.
type Fix struct {
	Service string      `json:"service"` // whose entry it belongs into
	Section string      `json:"section"` // "calls" or "expose"
	Line    int         `json:"line"`    // the line to change, or the one that the section or service begins at
	Replace bool        `json:"replace"` // YAML takes the place of the entry at Line
	YAML    string      `json:"yaml"`
	Grant   model.Grant `json:"grant"`
	Port    int         `json:"port,omitempty"` // the port that the grant is for, 0 for all that fit
}

// exactGrant is the narrowest grant that has the request.
func exactGrant(r *canon.Request) model.Grant {
	switch r.Protocol {
	case canon.TCP:
		return model.Grant{Kind: model.GrantTCP}
	case canon.WebSocket:
		return model.Grant{Kind: model.GrantWS, Pattern: literal(r.Path)}
	case canon.GRPC:
		return model.Grant{Kind: model.GrantGRPC, Pattern: r.Path}
	default:
		return model.Grant{Kind: model.GrantHTTP, Methods: []string{r.Method}, Pattern: literal(r.Path)}
	}
}

// literal is the pattern of a path. A segment that a pattern can't say becomes "*".
func literal(path string) string {
	if !strings.ContainsAny(path, "*{}") {
		return path
	}
	segs := strings.Split(path, "/")
	for i, s := range segs {
		if strings.ContainsAny(s, "*{}") {
			segs[i] = "*"
		}
	}
	return strings.Join(segs, "/")
}

// fix finds the line that would allow the request, or says why there is none.
func (x *explainer) fix(res *Result) (*Fix, string) {
	g := exactGrant(x.request)
	if _, err := model.ParseGrant(g.String()); err != nil {
		return nil, fmt.Sprintf("no grant can say %q: %v", g.String(), err)
	}
	if x.query.Caller == x.query.Target {
		return nil, "a service reaches itself without Ward, and no rule is needed"
	}
	var fits, has []string
	for _, l := range x.listens {
		has = append(has, fmt.Sprintf("%s :%d", l.Protocol, l.Port))
		if g.Kind.Fits(l.Protocol) && (x.query.Port == 0 || x.query.Port == l.Port) {
			fits = append(fits, strconv.Itoa(l.Port))
		}
	}
	if len(fits) == 0 {
		if len(has) == 0 {
			has = []string{"nothing"}
		}
		return nil, fmt.Sprintf("%s has no port for it: it listens on %s", x.query.Target, strings.Join(has, ", "))
	}
	if x.query.Caller == plan.Outside {
		return x.exposeFix(res, g)
	}
	return x.callFix(g), ""
}

func (x *explainer) exposeFix(res *Result, g model.Grant) (*Fix, string) {
	lowest := 0
	for _, l := range x.listens {
		if g.Kind.Fits(l.Protocol) && (lowest == 0 || l.Port < lowest) {
			lowest = l.Port
		}
	}
	switch {
	case x.target == nil:
		return nil, "the gateway lets in, not out: only services call externals"
	case g.Kind == model.GrantTCP:
		return nil, "the gateway lets no plain TCP in"
	case x.query.Port != 0 && x.query.Port != lowest:
		return nil, fmt.Sprintf("the gateway chooses the port, and takes :%d", lowest)
	}
	if e := res.Ends[0]; e.Reason != 0 && e.Rule >= 0 && !e.Allowed {
		if r := &x.plan.Rules[e.Rule]; !moreSpecific(g, r) {
			return nil, fmt.Sprintf("%s has this very route; take it out there first (line %d)", r.Target, r.Pos.Line)
		}
	}
	f := &Fix{Service: x.query.Target, Section: "expose", Grant: g, Line: x.target.Pos.Line}
	if len(x.target.Expose) == 0 {
		to := "anyone"
		if x.plan.Users.On() {
			to = plan.SignedIn
		}
		f.YAML = "expose: {route: " + scalar(g.String()) + ", to: " + to + "}"
		return f, ""
	}
	e := &x.target.Expose[0]
	f.Line, f.Replace = e.Pos.Line, true
	f.YAML = "{routes: " + list(append(spell(e.Routes), g.String())) + ", to: " + audience(&e.Need) + "}"
	return f, ""
}

// audience is a need as expose: says it.
func audience(n *model.Need) string {
	s := "anyone"
	if len(n.Who) > 0 {
		s = strings.Join(n.Who, ", ")
	}
	if len(n.Who) > 1 {
		s = "[" + s + "]"
	}
	if n.MFA > 0 {
		s += ", mfa: " + lexis.Duration(n.MFA)
	}
	if n.When != "" {
		s += ", when: " + lexis.DoubleQuoted(n.When)
	}
	return s
}

// moreSpecific says whether the gateway would prefer g, all of whose segments
// are literal, to r.
func moreSpecific(g model.Grant, r *plan.Rule) bool {
	return r.Grant.Kind == model.GrantAny || r.Grant.Pattern != g.Pattern
}

func (x *explainer) callFix(g model.Grant) *Fix {
	f := &Fix{Service: x.query.Caller, Section: "calls", Grant: g, Line: x.caller.Pos.Line, Port: x.query.Port}
	for i := range x.caller.Calls {
		c := &x.caller.Calls[i]
		if c.Target == x.query.Target && (c.Port == 0 || c.Port == x.query.Port) {
			f.Line, f.Replace, f.Port = c.Pos.Line, true, c.Port
			f.YAML = key(c.Target, c.Port) + ": " + list(append(spell(c.Grants), g.String()))
			return f
		}
	}
	f.YAML = key(x.query.Target, f.Port) + ": " + scalar(g.String())
	if len(x.caller.Calls) == 0 {
		f.YAML = "calls: {" + f.YAML + "}"
		return f
	}
	f.Line = x.caller.Calls[len(x.caller.Calls)-1].Pos.Line
	return f
}

func key(target string, port int) string {
	if port == 0 {
		return target
	}
	return fmt.Sprintf("\"%s:%d\"", target, port)
}

func spell(grants []model.Grant) []string {
	out := make([]string, 0, len(grants)+1)
	for _, g := range grants {
		out = append(out, g.String())
	}
	return out
}

func list(grants []string) string {
	for i, g := range grants {
		grants[i] = scalar(g)
	}
	return "[" + strings.Join(grants, ", ") + "]"
}

// scalar quotes what YAML would read as more than text.
func scalar(s string) string {
	if strings.ContainsAny(s, "{}[],#&!|>'\"%@`:") || strings.HasPrefix(s, "*") {
		return strconv.Quote(s)
	}
	return s
}

// Text says the result for people; file is the name that lines are given with.
func (r *Result) Text(file string) string {
	verdict := "denied"
	if r.Allowed {
		verdict = "allowed"
	}
	target := r.Target
	if r.Port != 0 {
		target += ":" + strconv.Itoa(r.Port)
	}
	out := fmt.Sprintf("%s  %s -> %s  %s\n", verdict, words.Name(r.Caller), target, r.Request)
	var rows [][]string
	for _, e := range r.Ends {
		yes, line := "no", ""
		if e.Allowed {
			yes = "yes"
		}
		if e.Line > 0 {
			line = fmt.Sprintf("%s:%d", file, e.Line)
		}
		rows = append(rows, []string{e.Name, yes, e.Why, line})
	}
	out += words.Columns("  ", rows)
	switch {
	case r.Fix != nil && r.Fix.Replace:
		out += fmt.Sprintf("to allow it, change the %s of %s at %s:%d to\n  %s\n", r.Fix.Section, r.Fix.Service, file, r.Fix.Line, r.Fix.YAML)
	case r.Fix != nil && strings.HasPrefix(r.Fix.YAML, r.Fix.Section+":"):
		out += fmt.Sprintf("to allow it, add to %s (%s:%d)\n  %s\n", r.Fix.Service, file, r.Fix.Line, r.Fix.YAML)
	case r.Fix != nil:
		out += fmt.Sprintf("to allow it, add to the %s of %s (%s:%d)\n  %s\n", r.Fix.Section, r.Fix.Service, file, r.Fix.Line, r.Fix.YAML)
	case r.NoFix != "":
		out += "nothing in ward.yaml would allow it: " + r.NoFix + "\n"
	}
	return out
}
