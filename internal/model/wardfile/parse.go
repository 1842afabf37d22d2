// Package wardfile reads, writes and describes ward.yaml, version 1.
//
// It guarantees that a Model which Parse returned without an error-level Problem
// is complete and consistent: names resolve, patterns are canonical, defaults
// are filled in, and every item knows the line that said it. It reads from an
// io.Reader only: no file system, network, clock or environment.
package wardfile

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/base/condition"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/form"
	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/model/source"
)

const (
	maxProblems = 1000 // of each severity; what lies beyond is counted
	// maxExcerptLine is how long a line may be, in bytes, to be shown.
	maxExcerptLine = 2000
	// maxConditions bounds the conditions of a file: each costs about a tenth of a millisecond to compile.
	maxConditions = 1000
	nearBudget    = 10_000_000 // steps of comparing words for suggestions, per file
)

// Parse reads ward.yaml from r; name is what problems call the file. It finds
// every problem, not only the first. The Model is never nil, but means something
// only where the Problems hold no Error.
func Parse(name string, r io.Reader) (*model.Model, model.Problems) {
	p := &parser{name: name, text: &source.Text{}, near: nearBudget, m: &model.Model{}, vague: map[model.ServiceName]bool{}}
	src, err := source.ReadAll(r)
	if err != nil {
		p.add(model.Problem{Message: err.Error()})
		return p.m, p.problems
	}
	doc, serr := source.Parse(src, source.Options{})
	p.text = &doc.Text
	switch {
	case serr != nil:
		p.add(model.Problem{Pos: model.Pos{Line: serr.Line, Col: serr.Col}, Message: serr.Message, Hint: serr.Hint})
	case doc.Root == nil:
		p.add(model.Problem{Pos: model.Pos{Line: 1, Col: 1}, Message: "the file is empty", Hint: "write a first one with `ward init`"})
	default:
		p.file(doc.Root)
		if len(p.m.Services) > 0 {
			p.resolve()
		}
		if p.count[model.Error] == 0 {
			p.advise()
		}
	}
	p.finish()
	return p.m, p.problems
}

type parser struct {
	name     string
	text     *source.Text
	m        *model.Model
	problems model.Problems
	count    [2]int // by severity
	near     int    // what is left of nearBudget
	// vague services have listeners that couldn't be read: nothing follows from them.
	vague map[model.ServiceName]bool
	// conditions compiles when:, made with the first one.
	conditions *condition.Language
	compiled   int // of maxConditions
}

func (p *parser) add(pr model.Problem) {
	if p.count[pr.Severity]++; p.count[pr.Severity] > maxProblems {
		return
	}
	pr.File = p.name
	if pr.Pos.Line > 0 && p.text.LineLen(pr.Pos.Line) <= maxExcerptLine {
		pr.Excerpt, pr.Caret = excerpt(p.text.Line(pr.Pos.Line), pr.Pos.Col)
	}
	p.problems = append(p.problems, pr)
}

// finish puts the problems in the order of the file, and says how many more there are.
func (p *parser) finish() {
	slices.SortStableFunc(p.problems, func(a, b model.Problem) int {
		if a.Pos.Line != b.Pos.Line {
			return a.Pos.Line - b.Pos.Line
		}
		return a.Pos.Col - b.Pos.Col
	})
	for s, n := range p.count {
		if n > maxProblems {
			p.problems = append(p.problems, model.Problem{
				Severity: model.Severity(s), File: p.name,
				Message: fmt.Sprintf("and %d more of the severity %q", n-maxProblems, model.Severity(s)),
			})
		}
	}
}

func (p *parser) errorf(at model.Pos, hint, format string, args ...any) {
	p.add(model.Problem{Pos: at, Hint: hint, Message: fmt.Sprintf(format, args...)})
}

// warnf warns; rule names the kind of warning for `ward scan`.
func (p *parser) warnf(rule string, at model.Pos, hint, format string, args ...any) {
	p.add(model.Problem{Severity: model.Warning, Rule: rule, Pos: at, Hint: hint, Message: fmt.Sprintf(format, args...)})
}

func pos(n *yaml.Node) model.Pos { return model.Pos{Line: n.Line, Col: n.Column} }

// nearest is lexis.Nearest as long as the budget lasts.
func (p *parser) nearest(s string, known []string) string {
	if p.near -= len(known) * (len(s)*len(s) + 1); p.near < 0 {
		p.near = 0
		return ""
	}
	return lexis.Nearest(s, known)
}

// suggest is "did you mean x?", or "one of a, b, c" where that is short.
func (p *parser) suggest(s string, known []string) string {
	if near := p.nearest(s, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(known) <= 16 {
		return "one of " + strings.Join(known, ", ")
	}
	return ""
}

// expected says what should stand where something else stands, and how it is written.
func (p *parser) expected(n *yaml.Node, f *form.Form) {
	is := map[yaml.Kind]string{yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list"}[n.Kind]
	switch {
	case is != "":
	case isNull(n):
		is = "nothing"
	default:
		is = fmt.Sprintf("%q", lexis.Clip(n.Value))
	}
	p.errorf(pos(n), written(n, f), "expected %s, found %s", f.What, is)
}

// written shows how what was meant is likely to be written, or is "".
func written(n *yaml.Node, f *form.Form) string {
	single := n.Kind == yaml.ScalarNode && !isNull(n)
	switch {
	case f.Shape == form.ListShape && n.Kind == yaml.MappingNode:
		return "put it in brackets, as [{…}], or behind a dash"
	case f.Shape == form.ListShape && single:
		return fmt.Sprintf("put it in brackets: [%s]", lexis.Clip(n.Value))
	case f.Shape == form.ObjectShape && single:
		if needed := slices.Concat(f.Always, f.OneOf); len(needed) > 0 {
			return fmt.Sprintf("write {%s: …}", needed[0])
		}
		return "write {} for what is usual; it may hold " + strings.Join(f.Keys(), ", ")
	}
	return ""
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// entry is one key of a mapping.
type entry struct {
	key   string
	pos   model.Pos
	value *yaml.Node
	bad   bool // the key isn't what it may be
}

// entries is the keys of a mapping, each once; what is no mapping is a problem
// unless it is empty and may be.
func (p *parser) entries(n *yaml.Node, f *form.Form) ([]entry, bool) {
	if n.Kind != yaml.MappingNode {
		p.expected(n, f)
		return nil, false
	}
	out := make([]entry, 0, len(n.Content)/2)
	seen := make(map[string]model.Pos, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if at, ok := seen[k.Value]; ok {
			p.errorf(pos(k), "", "%q stands twice in one mapping; first on line %d", lexis.Clip(k.Value), at.Line)
			continue
		}
		seen[k.Value] = pos(k)
		out = append(out, entry{key: k.Value, pos: pos(k), value: n.Content[i+1]})
	}
	return out, true
}

// object calls each for every known key of n; unknown, missing and contradicting
// keys are problems.
func (p *parser) object(n *yaml.Node, f *form.Form, each func(e entry, f *form.Form)) {
	all, ok := p.entries(n, f)
	if !ok {
		return
	}
	has := make(map[string]bool, len(all))
	for _, e := range all {
		sub := f.Field(e.key)
		switch {
		case sub != nil:
			has[e.key] = true
			each(e, sub)
		default:
			near, hint := p.nearest(e.key, f.Keys()), "one of "+strings.Join(f.Keys(), ", ")
			if near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
				has[near] = true // so that a misspelt key isn't also a missing one
			}
			p.errorf(e.pos, hint, "unknown key %q", lexis.Clip(e.key))
		}
	}
	for _, k := range f.Always {
		if !has[k] {
			p.errorf(pos(n), "", "%q is missing", k)
		}
	}
	if len(f.OneOf) == 0 {
		return
	}
	said := slices.DeleteFunc(slices.Clone(f.OneOf), func(k string) bool { return !has[k] })
	switch {
	case len(said) == 0:
		p.errorf(pos(n), "", `%q is missing (or "%s")`, f.OneOf[0], strings.Join(f.OneOf[1:], `" or "`))
	case len(said) > 1:
		p.errorf(pos(n), "", "%q and %q exclude each other", said[0], said[1])
	}
}

// names calls each for every entry of a mapping whose keys are names.
func (p *parser) names(n *yaml.Node, f *form.Form, what string, each func(e entry)) {
	if isNull(n) && f.Min == 0 {
		p.errorf(pos(n), "leave the key out where there are none", "expected %s, found nothing", f.What)
		return
	}
	all, ok := p.entries(n, f)
	if ok && len(all) < f.Min {
		p.errorf(pos(n), "", "there must be at least one entry")
	}
	match := form.Matcher(f.Name)
	for _, e := range all {
		if !match(e.key) {
			hint := ""
			if f.Name == form.RELabel {
				hint = "a DNS label has a-z, 0-9 and hyphens inside, and at most 63 characters"
			}
			p.errorf(e.pos, hint, "%q is not a name for %s", lexis.Clip(e.key), what)
			e.bad = true
		}
		each(e)
	}
}

// items is the elements of a list, or of "one or a list".
func (p *parser) items(n *yaml.Node, f *form.Form) []*yaml.Node {
	switch {
	case n.Kind == yaml.SequenceNode:
		if len(n.Content) < f.Min {
			p.errorf(pos(n), "leave the key out where there are none", "an empty list")
		}
		if f.Max > 0 && len(n.Content) > f.Max {
			p.errorf(pos(n), "", "a list of %d; the limit is %d", len(n.Content), f.Max)
			return n.Content[:f.Max]
		}
		return n.Content
	case f.Shape == form.SomeShape && !isNull(n):
		return []*yaml.Node{n}
	}
	p.expected(n, f)
	return nil
}

// scalar is the text of a scalar of the right type, and one of the words if the
// form has words.
func (p *parser) scalar(n *yaml.Node, f *form.Form) (string, bool) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		p.expected(n, f)
		return "", false
	}
	types := f.Types
	if types == 0 {
		types = form.IsString
	}
	is := form.IsString
	switch n.Tag {
	case "!!int", "!!float":
		is = form.IsNumber
	case "!!bool":
		is = form.IsBool
	}
	if types&is == 0 {
		hint := ""
		if f.Pattern == form.RELabel || f.Pattern == form.RENonEmpty || f.Pattern == form.REDomain || f.Pattern == `\S` {
			hint = fmt.Sprintf("to mean the text, put it in quotes: %q", lexis.Clip(n.Value))
		}
		p.errorf(pos(n), hint, "expected %s, found %q", f.What, lexis.Clip(n.Value))
		return "", false
	}
	if strings.IndexByte(n.Value, 0) >= 0 {
		p.errorf(pos(n), "", "a value may not hold a NUL character")
		return "", false
	}
	if len(f.Words) > 0 && !slices.Contains(f.Words, n.Value) {
		p.errorf(pos(n), p.suggest(n.Value, f.Words), "%q is not %s", lexis.Clip(n.Value), f.What)
		return "", false
	}
	return n.Value, true
}

// text is a scalar that also has the form's pattern.
func (p *parser) pattern(n *yaml.Node, f *form.Form, hint string) (string, bool) {
	s, ok := p.scalar(n, f)
	if ok && !form.Matcher(f.Pattern)(s) {
		p.errorf(pos(n), hint, "expected %s, found %q", f.What, lexis.Clip(s))
		return "", false
	}
	return s, ok
}

// value is what an entry says; of a key that ends in "_file" it is a path.
func (p *parser) value(e entry, f *form.Form) string {
	if strings.HasSuffix(e.key, "_file") {
		return p.path(e, f)
	}
	s, _ := p.pattern(e.value, f, "")
	return s
}

// path is a file that an entry names, for Model.Files.
func (p *parser) path(e entry, f *form.Form) string {
	s, ok := p.pattern(e.value, f, "")
	if ok {
		p.m.Files = append(p.m.Files, model.File{Pos: pos(e.value), Key: e.key, Path: s})
	}
	return s
}

// whole is a whole number within the form's bounds.
func (p *parser) whole(n *yaml.Node, f *form.Form) int {
	s, ok := p.scalar(n, f)
	if !ok {
		return 0
	}
	v, ok := lexis.Decimal(s)
	if !ok || v < f.Min || v > f.Max {
		p.errorf(pos(n), fmt.Sprintf("a whole number from %d to %d", f.Min, f.Max), "expected %s, found %q", f.What, lexis.Clip(s))
		return 0
	}
	return v
}

// grants is one grant or a list of them; what names the place in messages.
func (p *parser) grants(n *yaml.Node, f *form.Form) []model.Grant {
	nodes := p.items(n, f)
	out := make([]model.Grant, 0, len(nodes))
	elem := f.Elem
	if elem == nil {
		elem = f
	}
	first := map[string]model.Pos{}
	for _, item := range nodes {
		s, ok := p.scalar(item, elem)
		if !ok {
			continue
		}
		g, err := model.ParseGrant(s)
		if err != nil {
			p.errorf(pos(item), lexis.Hint(err), "%v", err)
			continue
		}
		g.Pos = pos(item)
		if elem.Pattern == form.RERoute && (g.Kind == model.GrantAny || g.Kind == model.GrantTCP) {
			p.errorf(g.Pos, `name routes: "GET /books/**", "* /**", "ws /live" or "grpc pkg.Service/Method"`, "%q can't be opened to the outside", s)
			continue
		}
		if len(nodes) > 1 {
			key := g.String()
			if at, ok := first[key]; ok {
				p.errorf(g.Pos, "", "the grant %q stands twice; first on line %d", lexis.Clip(key), at.Line)
				continue
			}
			first[key] = g.Pos
		}
		out = append(out, g)
	}
	return out
}
