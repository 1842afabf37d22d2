package form

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/model/source"
)

const (
	listWidth = 80  // a list that was written line by line becomes inline up to here
	lineWidth = 110 // what was written inline stays inline up to here
)

// Layout is the canonical form of a text that f describes: keys in the order of f, names in the order of
// the file, two spaces, short lists inline, no needless quotes. Comments stay with what they stand at. The result
// has the same values, and Layout of it is the same. A text that is no YAML, or has a key twice, is an error;
// unknown keys are not.
func Layout(f *Form, src []byte) ([]byte, error) {
	doc, serr := source.Parse(src, source.Options{})
	if serr != nil {
		return nil, fmt.Errorf("read: %w", serr)
	}
	if err := noDuplicates(doc.Root); err != nil {
		return nil, err
	}
	lay, err := doc.Layout()
	if err != nil {
		return nil, err
	}
	p := &printer{form: f, doc: doc, lay: lay, items: map[*yaml.Node]*item{}}
	p.format()
	out := []byte(p.b.String())
	if err := same(doc, lay, out); err != nil {
		return nil, err
	}
	return out, nil
}

func noDuplicates(n *yaml.Node) error {
	if n == nil {
		return nil
	}
	seen := map[string]bool{}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if seen[c.Value] {
				return fmt.Errorf("read: %w", &source.Error{Line: c.Line, Col: c.Column, Message: fmt.Sprintf("%q stands twice in one mapping", lexis.Clip(c.Value))})
			}
			seen[c.Value] = true
		}
		if err := noDuplicates(c); err != nil {
			return err
		}
	}
	return nil
}

var errFormat = errors.New("this text can't be formatted without changing it; write it in plain block style")

// same checks that out says what doc says, with the same comments.
func same(doc *source.Document, lay *source.Layout, out []byte) error {
	again, serr := source.Parse(out, source.Options{})
	if serr != nil || !equalTrees(doc.Root, again.Root) {
		return errFormat
	}
	lay2, err := again.Layout()
	if err != nil || !maps.Equal(commentCounts(doc, lay), commentCounts(again, lay2)) {
		return errFormat
	}
	return nil
}

func commentCounts(d *source.Document, l *source.Layout) map[string]int {
	out := map[string]int{}
	for _, c := range l.Comments {
		out[strings.TrimRight(string(d.Bytes()[c.Start:c.End]), " \t")]++
	}
	return out
}

// equalTrees compares values; the order of keys doesn't matter.
func equalTrees(a, b *yaml.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.Kind != b.Kind || a.Tag != b.Tag || a.Value != b.Value || len(a.Content) != len(b.Content) {
		return a.Tag == "!!null" && b.Tag == "!!null"
	}
	if a.Kind != yaml.MappingNode {
		return slices.EqualFunc(a.Content, b.Content, equalTrees)
	}
	values := make(map[string]*yaml.Node, len(b.Content)/2)
	for i := 0; i+1 < len(b.Content); i += 2 {
		values[b.Content[i].Value] = b.Content[i+1]
	}
	for i := 0; i+1 < len(a.Content); i += 2 {
		v, ok := values[a.Content[i].Value]
		if !ok || !equalTrees(a.Content[i+1], v) {
			return false
		}
	}
	return true
}

// item is a line of its own: a key with its value, or an element of a list. It is
// kept under its key or element.
type item struct {
	value *yaml.Node
	up    *item // the item whose value this one is part of
	start int
	col   int
	head  []source.Comment // lines above
	tail  *source.Comment  // behind, in the same line
	foot  []source.Comment // lines below the last item of this item's value
	block bool             // the value is written as lines of its own
	blank bool             // a blank line stood above
}

type printer struct {
	form  *Form
	doc   *source.Document
	lay   *source.Layout
	items map[*yaml.Node]*item
	order []*item
	root  item
	b     strings.Builder
}

func (p *printer) format() {
	root := p.doc.Root
	p.root.block = true
	if root != nil {
		root.Style &^= yaml.FlowStyle
		p.plan(root, p.form, &p.root, 0)
	}
	p.attach()
	switch {
	case root == nil:
	case root.Kind == yaml.ScalarNode:
		p.b.WriteString(Scalar(root, false) + "\n")
	default:
		p.block(root, p.form, 0)
	}
	p.comments(p.root.foot, 0, p.b.Len() > 0)
}

// plan decides what is written inline and what in lines, and makes the items.
// indent is the indentation of n's own items.
func (p *printer) plan(n *yaml.Node, f *Form, up *item, indent int) {
	for i, c := range n.Content {
		value, sub, width := c, elemForm(f), indent+2
		if n.Kind == yaml.MappingNode {
			if i%2 == 1 {
				continue
			}
			value = n.Content[i+1]
			sub = keyForm(f, c.Value, value)
			width = indent + len(Scalar(c, false)) + 2
		}
		it := &item{value: value, up: up}
		line := c.Line
		if it.start, it.col = p.lay.Dash(c), c.Column; it.start < 0 {
			it.start, _ = p.lay.Span(c)
		} else {
			line, it.col = p.doc.Place(it.start)
		}
		it.blank = line > 1 && strings.TrimSpace(p.doc.Line(line-1)) == ""
		p.items[c] = it
		p.order = append(p.order, it)
		if len(value.Content) == 0 {
			continue
		}
		if it.block = !p.inline(value, sub, width); it.block {
			p.plan(value, sub, it, indent+2)
		}
	}
}

// inline says whether a collection is written in one line.
func (p *printer) inline(n *yaml.Node, f *Form, used int) bool {
	start, end := p.lay.Span(n)
	if n.Style&yaml.FlowStyle == 0 { // the last element's own comment counts
		end = p.doc.LineEnd(end)
	}
	if p.lay.Inside(start, end) {
		return false
	}
	most := lineWidth
	if n.Style&yaml.FlowStyle == 0 {
		most = listWidth
		scalars := !slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return c.Kind != yaml.ScalarNode })
		if n.Kind != yaml.SequenceNode || !scalars {
			return false
		}
	}
	if len(n.Content) > lineWidth {
		return false
	}
	text := p.flow(n, f)
	return !strings.Contains(text, "\n") && used+utf8.RuneCountInString(text) <= most
}

// elemForm is the form of a list's elements, nil where the vocabulary doesn't know it.
func elemForm(f *Form) *Form {
	if f == nil {
		return nil
	}
	return f.Elem
}

// keyForm is the form of a key's value, nil where the vocabulary doesn't know it.
func keyForm(f *Form, key string, value *yaml.Node) *Form {
	if f == nil {
		return nil
	}
	var sub *Form
	switch f.Shape {
	case ObjectShape:
		sub = f.Field(key)
	case NamesShape:
		sub = f.Elem
	}
	if sub != nil && (value.Kind == yaml.MappingNode || sub.Shape == EitherShape) && (sub.Shape == EitherShape || sub.Shape == SomeShape) {
		return sub.Elem
	}
	return sub
}

// pairs is the indices of a mapping's keys in canonical order: known keys in the
// order of the vocabulary, then the others in the order of the file.
func pairs(n *yaml.Node, f *Form) []int {
	out := make([]int, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		out = append(out, i)
	}
	if f == nil || f.Shape != ObjectShape {
		return out
	}
	keys := f.Keys()
	rank := func(i int) int {
		if r := slices.Index(keys, n.Content[i].Value); r >= 0 {
			return r
		}
		return len(keys)
	}
	slices.SortStableFunc(out, func(a, b int) int { return rank(a) - rank(b) })
	return out
}

// block writes a collection's items, each in lines of its own.
func (p *printer) block(n *yaml.Node, f *Form, indent int) {
	if n.Kind == yaml.MappingNode {
		for k, i := range pairs(n, f) {
			key, value := n.Content[i], n.Content[i+1]
			it := p.items[key]
			p.above(it, indent, k == 0)
			p.indent(indent)
			p.b.WriteString(Scalar(key, false) + ":")
			p.value(it, value, keyForm(f, key.Value, value), indent)
		}
		return
	}
	for k, c := range n.Content {
		it := p.items[c]
		p.above(it, indent, k == 0)
		p.indent(indent)
		p.b.WriteByte('-')
		p.value(it, c, elemForm(f), indent)
	}
}

// above writes the comments above an item, and keeps one blank line where there
// were some. At the top level, whatever takes several lines stands apart.
func (p *printer) above(it *item, indent int, first bool) {
	if indent == 0 && it.block && !first {
		p.blank()
	}
	p.comments(it.head, indent, !first)
	if it.blank && (!first || len(it.head) > 0) {
		p.blank()
	}
}

func (p *printer) blank() {
	if s := p.b.String(); s != "" && !strings.HasSuffix(s, "\n\n") {
		p.b.WriteByte('\n')
	}
}

func (p *printer) comments(cs []source.Comment, indent int, blank bool) {
	for i, c := range cs {
		if c.Blank && (blank || i > 0) {
			p.blank()
		}
		p.indent(indent)
		p.b.WriteString(p.commentText(c) + "\n")
	}
}

func (p *printer) commentText(c source.Comment) string {
	return strings.TrimRight(string(p.doc.Bytes()[c.Start:c.End]), " \t")
}

func (p *printer) indent(n int) {
	for range n {
		p.b.WriteByte(' ')
	}
}

// value writes what follows a key's colon or an element's dash.
func (p *printer) value(it *item, v *yaml.Node, f *Form, indent int) {
	tail := ""
	if it.tail != nil {
		tail = " " + p.commentText(*it.tail)
	}
	switch {
	case it.block:
		p.b.WriteString(tail + "\n")
		p.block(v, f, indent+2)
		p.comments(it.foot, indent+2, true)
		return
	case v.Kind != yaml.ScalarNode:
		p.b.WriteString(" " + p.flow(v, f) + tail + "\n")
		return
	case isLiteral(v):
		chomp := "-"
		if strings.HasSuffix(v.Value, "\n") {
			chomp = ""
		}
		p.b.WriteString(" |" + chomp + tail + "\n")
		for line := range strings.SplitSeq(strings.TrimSuffix(v.Value, "\n"), "\n") {
			if line != "" {
				p.indent(indent + 2)
			}
			p.b.WriteString(line + "\n")
		}
		return
	}
	if text := Scalar(v, false); text != "" {
		p.b.WriteString(" " + text)
	}
	p.b.WriteString(tail + "\n")
}

// flow is a node in one line.
func (p *printer) flow(n *yaml.Node, f *Form) string {
	if n.Kind == yaml.ScalarNode {
		if n.Tag == "!!null" && n.Value == "" {
			return "null"
		}
		return Scalar(n, true)
	}
	var parts []string
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			parts = append(parts, p.flow(c, elemForm(f)))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	for _, i := range pairs(n, f) {
		k, v := n.Content[i], n.Content[i+1]
		parts = append(parts, Scalar(k, true)+": "+p.flow(v, keyForm(f, k.Value, v)))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// attach gives every comment to an item.
func (p *printer) attach() {
	slices.SortStableFunc(p.order, func(a, b *item) int { return a.start - b.start })
	next := 0
	for i := range p.lay.Comments {
		c := p.lay.Comments[i]
		for next < len(p.order) && p.order[next].start < c.Start {
			next++
		}
		var prev, after *item
		if next > 0 {
			prev = p.order[next-1]
		}
		if next < len(p.order) {
			after = p.order[next]
		}
		switch {
		case !c.Own && prev != nil && prev.tail == nil:
			prev.tail = &p.lay.Comments[i]
		case prev != nil && p.within(prev, c.Start) && !prev.block:
			prev.head = append(prev.head, c)
		default:
			if up := container(prev, c.Col, &p.root); after == nil || c.Col > after.col && !up.holds(after) {
				up.foot = append(up.foot, c)
			} else {
				after.head = append(after.head, c)
			}
		}
	}
}

// container is the innermost item around it whose lines begin no further right
// than col.
func container(it *item, col int, root *item) *item {
	for ; it != nil && it != root; it = it.up {
		if it.col <= col {
			return it.up
		}
	}
	return root
}

func (it *item) holds(o *item) bool {
	for ; o != nil; o = o.up {
		if o == it {
			return true
		}
	}
	return false
}

// within says that a byte lies inside of an item that is written in one line.
func (p *printer) within(it *item, off int) bool {
	_, end := p.lay.Span(it.value)
	return off < end
}
