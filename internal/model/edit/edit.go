// Package edit puts grants into a ward.yaml, and takes them out, as a careful hand would.
//
// It guarantees that nothing else of the file changes: comments, order and spelling stay.
package edit

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/form"
	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/model/source"
)

// Grant is one grant to put in, or to take out.
type Grant struct {
	Caller string // a service
	Target string // as the key under calls says it: a name, or name:port
	Grant  string // as model.ParseGrant reads it
}

// Add puts grants into a ward.yaml, each under services.<caller>.calls.<target>,
// and changes nothing else: comments, order and spelling stay. A grant that is
// there already is left as it is. The callers must exist; whether the targets do is
// for Parse to say.
func Add(src []byte, adds []Grant) ([]byte, error) {
	return edit(src, adds, (*editor).add)
}

// Remove takes grants out; a call or a calls mapping that becomes empty goes
// too. A comment behind a removed grant goes with it, comments in lines of their
// own stay. A grant that isn't there is an error.
func Remove(src []byte, removes []Grant) ([]byte, error) {
	return edit(src, removes, (*editor).remove)
}

// editor is one document for one edit.
type editor struct {
	doc *source.Document
	lay *source.Layout
}

func edit(src []byte, edits []Grant, apply func(*editor, *yaml.Node, Grant) ([]byte, error)) ([]byte, error) {
	for _, e := range edits {
		if _, err := model.ParseGrant(e.Grant); err != nil {
			return nil, fmt.Errorf("edit grant %q: %w", lexis.Clip(e.Grant), err)
		}
		if !form.Matcher(form.RETarget)(e.Target) {
			return nil, fmt.Errorf("edit grant: %q is no target", lexis.Clip(e.Target))
		}
		doc, serr := source.Parse(src, source.Options{})
		if serr != nil {
			return nil, fmt.Errorf("read: %w", serr)
		}
		lay, err := doc.Layout()
		if err != nil {
			return nil, err
		}
		service := child(child(doc.Root, "services"), e.Caller)
		if service == nil || service.Kind != yaml.MappingNode || len(service.Content) == 0 {
			return nil, fmt.Errorf("edit grant: there is no service %q", lexis.Clip(e.Caller))
		}
		if src, err = apply(&editor{doc: doc, lay: lay}, service, e); err != nil {
			return nil, err
		}
	}
	if _, serr := source.Parse(src, source.Options{}); serr != nil {
		return nil, fmt.Errorf("edit grants: this layout can't be edited; run `ward fmt` first: %w", serr)
	}
	return src, nil
}

// child is the value of a key, or nil.
func child(n *yaml.Node, key string) *yaml.Node {
	if i := keyIndex(n, key); i >= 0 {
		return n.Content[i+1]
	}
	return nil
}

func keyIndex(n *yaml.Node, key string) int {
	if n == nil || n.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i
		}
	}
	return -1
}

func (d *editor) splice(start, end int, text string) []byte {
	src := d.doc.Bytes()
	return slices.Concat(src[:start], []byte(text), src[end:])
}

// written is the index of a grant among nodes, however it is spelt there; -1 if it isn't.
func written(nodes []*yaml.Node, grant string) int {
	want, _ := model.ParseGrant(grant)
	return slices.IndexFunc(nodes, func(n *yaml.Node) bool {
		g, err := model.ParseGrant(n.Value)
		return err == nil && g.Equal(want)
	})
}

func (d *editor) add(service *yaml.Node, e Grant) ([]byte, error) {
	calls := child(service, "calls")
	if calls == nil {
		return d.addPair(service, "calls", e.Target, e.Grant), nil
	}
	if calls.Kind == yaml.MappingNode && len(calls.Content) == 0 { // calls: {}
		start, end := d.lay.Span(calls)
		return d.splice(start, end, "{"+e.Target+": "+lexis.Quote(e.Grant, true)+"}"), nil
	}
	if calls.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("edit grant: calls of %s (line %d) is not a mapping", e.Caller, calls.Line)
	}
	call := child(calls, e.Target)
	switch {
	case call == nil:
		return d.addPair(calls, e.Target, "", e.Grant), nil
	case call.Kind == yaml.ScalarNode && call.Tag != "!!null":
		if written([]*yaml.Node{call}, e.Grant) >= 0 {
			return d.doc.Bytes(), nil
		}
		start, end := d.lay.Span(call)
		return d.splice(start, end, "["+form.Scalar(call, true)+", "+lexis.Quote(e.Grant, true)+"]"), nil
	case call.Kind == yaml.SequenceNode && len(call.Content) > 0:
		if written(call.Content, e.Grant) >= 0 {
			return d.doc.Bytes(), nil
		}
		last := call.Content[len(call.Content)-1]
		_, end := d.lay.Span(last)
		if call.Style&yaml.FlowStyle != 0 {
			return d.splice(end, end, ", "+spelt(e.Grant, call.Content, true)), nil
		}
		_, col := d.doc.Place(d.lay.Dash(last))
		at := d.doc.LineEnd(end)
		return d.splice(at, at, "\n"+strings.Repeat(" ", col-1)+"- "+spelt(e.Grant, call.Content, false)), nil
	}
	return nil, fmt.Errorf("edit grant: the grants of %s to %s (line %d) are neither a text nor a list", e.Caller, e.Target, call.Line)
}

// spelt is a grant in quotes as all its neighbours are, or else as it has to be.
func spelt(grant string, neighbours []*yaml.Node, flow bool) string {
	all := func(style yaml.Style) bool {
		return !slices.ContainsFunc(neighbours, func(n *yaml.Node) bool { return n.Style&style == 0 })
	}
	double := lexis.DoubleQuoted(grant)
	switch {
	case all(yaml.DoubleQuotedStyle):
		return double
	case all(yaml.SingleQuotedStyle) && double == `"`+grant+`"` && !strings.Contains(grant, "'"): // nothing of it needs to be escaped
		return "'" + grant + "'"
	}
	return lexis.Quote(grant, flow)
}

// addPair puts "key: grant", or "key: {sub: grant}", behind a mapping's last entry.
func (d *editor) addPair(n *yaml.Node, key, sub, grant string) []byte {
	last := n.Content[len(n.Content)-1]
	_, end := d.lay.Span(last)
	if n.Style&yaml.FlowStyle != 0 {
		text := lexis.Quote(grant, true)
		if sub != "" {
			text = "{" + sub + ": " + text + "}"
		}
		return d.splice(end, end, ", "+key+": "+text)
	}
	at := d.doc.LineEnd(end)
	margin := "\n" + strings.Repeat(" ", n.Content[0].Column-1)
	text := margin + key + ":"
	if sub != "" {
		text += margin + "  " + sub + ":"
	}
	return d.splice(at, at, text+" "+lexis.Quote(grant, false))
}

func (d *editor) remove(service *yaml.Node, e Grant) ([]byte, error) {
	calls := child(service, "calls")
	call := child(calls, e.Target)
	missing := fmt.Errorf("edit grant: %s has no grant %q for %s", e.Caller, lexis.Clip(e.Grant), e.Target)
	if call == nil {
		return nil, missing
	}
	nodes := []*yaml.Node{call}
	if call.Kind == yaml.SequenceNode {
		nodes = call.Content
	}
	i := written(nodes, e.Grant)
	switch {
	case i < 0:
		return nil, missing
	case len(nodes) > 1 && call.Style&yaml.FlowStyle != 0:
		return d.cut(nodes, i, 1), nil
	case len(nodes) > 1:
		_, end := d.lay.Span(nodes[i])
		return d.cutLines(d.lay.Dash(nodes[i]), end), nil
	case len(calls.Content) > 2:
		return d.removePair(calls, keyIndex(calls, e.Target)), nil
	case len(service.Content) > 2:
		return d.removePair(service, keyIndex(service, "calls")), nil
	}
	return nil, fmt.Errorf("edit grant: service %s would be empty", e.Caller)
}

func (d *editor) removePair(n *yaml.Node, i int) []byte {
	if n.Style&yaml.FlowStyle != 0 {
		return d.cut(n.Content, i, 2)
	}
	start, _ := d.lay.Span(n.Content[i])
	_, end := d.lay.Span(n.Content[i+1])
	return d.cutLines(start, end)
}

// cut takes width nodes from the i-th on out of a flow collection, with the comma
// that parted them from a neighbour. Comments in between stay.
func (d *editor) cut(nodes []*yaml.Node, i, width int) []byte {
	start, _ := d.lay.Span(nodes[i])
	_, end := d.lay.Span(nodes[i+width-1])
	if i+width < len(nodes) {
		next, _ := d.lay.Span(nodes[i+width])
		end = d.comma(end, next)
		if !d.lay.Inside(end, next) {
			end = next
		}
		return d.splice(start, end, "")
	}
	_, before := d.lay.Span(nodes[i-1])
	if comma := d.comma(before, start) - 1; !d.lay.Inside(before, start) {
		return d.splice(comma, end, "")
	}
	return d.splice(start, end, "")
}

// comma is behind the first comma from a byte on that stands in no comment.
func (d *editor) comma(from, to int) int {
	src := d.doc.Bytes()
	for i := from; i < to; i++ {
		if src[i] == ',' {
			return i + 1
		}
		if src[i] == '#' {
			i = d.doc.LineEnd(i)
		}
	}
	return to
}

// cutLines takes out the lines from one byte to another, but keeps those that
// hold only a comment. What stands before the first byte in its line stays.
func (d *editor) cutLines(start, end int) []byte {
	src := d.doc.Bytes()
	first, _ := d.doc.Place(start)
	last, _ := d.doc.Place(end)
	if prefix := d.doc.Line(first)[:start-d.doc.Offset(first, 1)]; strings.TrimSpace(prefix) != "" {
		return d.splice(start, end, "") // it shares its line with a dash or a key
	}
	var kept strings.Builder
	for n := first; n <= last; n++ {
		if strings.HasPrefix(strings.TrimSpace(d.doc.Line(n)), "#") {
			kept.WriteString(d.doc.Line(n) + "\n")
		}
	}
	stop := d.doc.LineEnd(end)
	if stop < len(src) {
		stop++
	}
	return d.splice(d.doc.Offset(first, 1), stop, kept.String())
}
