package source

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Comment is one comment, from its # to the end of its line.
type Comment struct {
	Start, End int // bytes; End is where the line ends
	Line, Col  int
	Own        bool // nothing but white space stands before it in its line
	Blank      bool // the line before it is blank
}

// Layout is where the nodes of a document begin and end, and its comments.
type Layout struct {
	Comments []Comment
	spans    map[*yaml.Node][2]int
	dashes   map[*yaml.Node]int
}

// Dash is the byte of the dash before an element of a block list, -1 for others.
func (l *Layout) Dash(n *yaml.Node) int {
	if off, ok := l.dashes[n]; ok {
		return off
	}
	return -1
}

// Span is the bytes of a node, from its first to behind its last; an absent
// value is an empty span behind its key's colon. Keys have spans too.
func (l *Layout) Span(n *yaml.Node) (start, end int) {
	s := l.spans[n]
	return s[0], s[1]
}

// Inside says whether a comment stands between two bytes.
func (l *Layout) Inside(start, end int) bool {
	for i := l.first(start); i < len(l.Comments) && l.Comments[i].Start < end; i++ {
		return true
	}
	return false
}

// first is the index of the first comment at or behind a byte.
func (l *Layout) first(off int) int {
	lo, hi := 0, len(l.Comments)
	for lo < hi {
		if mid := (lo + hi) / 2; l.Comments[mid].Start < off {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

var errLayout = errors.New("the text has a layout that can't be edited; write it in plain block style")

// Layout finds out where everything stands. Documents with aliases have none.
func (d *Document) Layout() (*Layout, error) {
	l := &layouter{d: d, Layout: &Layout{spans: map[*yaml.Node][2]int{}, dashes: map[*yaml.Node]int{}}}
	if d.Aliased {
		return nil, errLayout
	}
	if d.Root != nil {
		if err := l.node(d.Root); err != nil {
			return nil, err
		}
	}
	l.gap(len(d.src))
	return l.Layout, nil
}

type layouter struct {
	*Layout
	d *Document
	// at is how far the text is accounted for; place is the last place looked up.
	at    int
	place struct{ line, col, off int }
}

// offset is Text.Offset, cheap for places in ascending order.
func (l *layouter) offset(line, col int) int {
	p := &l.place
	if line != p.line || col < p.col {
		p.line, p.col, p.off = line, 1, l.d.Offset(line, 1)
	}
	for p.col < col && p.off < len(l.d.src) && l.d.src[p.off] != '\n' {
		_, n := utf8.DecodeRune(l.d.src[p.off:])
		p.off += n
		p.col++
	}
	return p.off
}

// gap takes the comments of a stretch without scalars.
func (l *layouter) gap(to int) {
	src := l.d.src
	for i := l.at; i < to; i++ {
		if src[i] != '#' || i > 0 && src[i-1] != ' ' && src[i-1] != '\t' && src[i-1] != '\n' {
			continue
		}
		end := i + max(bytes.IndexByte(src[i:], '\n'), 0)
		if end == i {
			end = len(src)
		}
		c := Comment{Start: i, End: end}
		c.Line, c.Col = l.d.Place(i)
		begin := l.d.lines[c.Line-1]
		c.Own = len(bytes.TrimSpace(src[begin:i])) == 0
		c.Blank = c.Line > 1 && strings.TrimSpace(l.d.Line(c.Line-1)) == ""
		l.Comments = append(l.Comments, c)
		i = end
	}
	l.at = max(l.at, to)
}

func (l *layouter) node(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return l.scalar(n)
	}
	flow := n.Style&yaml.FlowStyle != 0
	start := l.offset(n.Line, n.Column)
	if flow {
		if start < l.at || start >= len(l.d.src) || strings.IndexByte("[{", l.d.src[start]) < 0 {
			return errLayout
		}
		l.gap(start + 1)
	}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && absent(c) {
			l.colon()
			l.spans[c] = [2]int{l.at, l.at}
			continue
		}
		if n.Kind == yaml.SequenceNode && !flow {
			if err := l.dash(c); err != nil {
				return err
			}
		}
		if err := l.node(c); err != nil {
			return err
		}
	}
	if flow && !l.closing() {
		return errLayout
	}
	l.spans[n] = [2]int{start, l.at}
	return nil
}

func absent(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Value == "" && n.Style == 0
}

// colon goes behind the colon of a key whose value is absent. In a flow mapping
// there may be none.
func (l *layouter) colon() {
	for i := l.at; i < len(l.d.src); i++ {
		switch l.d.src[i] {
		case ' ', '\t':
		case ':':
			l.gap(i + 1)
			return
		default:
			return
		}
	}
}

// dash goes behind the dash of a block list's item, over comments.
func (l *layouter) dash(item *yaml.Node) error {
	for i := l.at; i < len(l.d.src); i++ {
		switch l.d.src[i] {
		case ' ', '\t', '\n', ':': // the colon of the list's key
		case '#':
			l.gap(i)
			end := bytes.IndexByte(l.d.src[i:], '\n')
			if end < 0 {
				return errLayout
			}
			i += end
		case '-':
			l.gap(i + 1)
			l.dashes[item] = i
			if absent(item) {
				l.spans[item] = [2]int{l.at, l.at}
			}
			return nil
		default:
			return errLayout
		}
	}
	return errLayout
}

// closing goes behind the closing bracket of a flow collection.
func (l *layouter) closing() bool {
	for i := l.at; i < len(l.d.src); i++ {
		switch c := l.d.src[i]; c {
		case ' ', '\t', '\n', ',', ':':
		case '#':
			end := bytes.IndexByte(l.d.src[i:], '\n')
			if end < 0 {
				return false
			}
			i += end
		case ']', '}':
			l.gap(i + 1)
			return true
		default:
			return false
		}
	}
	return false
}

func (l *layouter) scalar(n *yaml.Node) error {
	if absent(n) {
		l.spans[n] = [2]int{l.at, l.at}
		return nil
	}
	start := l.offset(n.Line, n.Column)
	if start < l.at || start >= len(l.d.src) {
		return errLayout
	}
	l.gap(start)
	end, ok := 0, false
	switch style := n.Style; {
	case style&yaml.DoubleQuotedStyle != 0:
		end, ok = quotedEnd(l.d.src, start, '"')
	case style&yaml.SingleQuotedStyle != 0:
		end, ok = quotedEnd(l.d.src, start, '\'')
	case style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		end, ok = l.blockEnd(start, n.Value)
	default:
		end, ok = plainEnd(l.d.src, start, n.Value)
	}
	if !ok {
		return errLayout
	}
	l.at = end
	l.spans[n] = [2]int{start, end}
	return nil
}

func quotedEnd(src []byte, at int, quote byte) (int, bool) {
	if src[at] != quote {
		return 0, false
	}
	for i := at + 1; i < len(src); i++ {
		switch {
		case src[i] == '\\' && quote == '"':
			i++
		case src[i] == quote && quote == '\'' && i+1 < len(src) && src[i+1] == quote:
			i++
		case src[i] == quote:
			return i + 1, true
		}
	}
	return 0, false
}

// blockEnd is the end of a literal or folded scalar: behind its last line that
// isn't blank, without the line end. The header's comment is taken on the way.
func (l *layouter) blockEnd(at int, value string) (int, bool) {
	src := l.d.src
	if src[at] != '|' && src[at] != '>' {
		return 0, false
	}
	eol := bytes.IndexByte(src[at:], '\n')
	header := src[at:]
	if eol >= 0 {
		header = src[at : at+eol]
	}
	if len(header) > 1 && header[1] != '-' && header[1] != '+' && header[1] != ' ' || bytes.ContainsAny(header, "123456789") && header[0] != ' ' && bytes.IndexAny(header, "123456789") < 3 {
		return 0, false // an indentation indicator
	}
	l.at = at + 1
	end := at + len(bytes.TrimRight(header, " \t"))
	l.gap(at + len(header))
	if eol < 0 || strings.TrimSpace(value) == "" {
		return end, strings.TrimLeft(value, "\n") == ""
	}
	indent := -1
	for i := at + eol + 1; i < len(src); {
		stop := i + bytes.IndexByte(src[i:], '\n')
		if stop < i {
			stop = len(src)
		}
		line := src[i:stop]
		if body := bytes.TrimLeft(line, " "); len(body) > 0 {
			if indent < 0 {
				indent = len(line) - len(body)
			}
			if len(line)-len(body) < indent {
				break
			}
			end = stop
		}
		i = stop + 1
	}
	return end, true
}

// plainEnd follows the value through the text; where lines were folded, any white
// space in one stands for any in the other.
func plainEnd(src []byte, at int, value string) (int, bool) {
	for i := 0; i < len(value); {
		if white(value[i]) {
			for i < len(value) && white(value[i]) {
				i++
			}
			for at < len(src) && white(src[at]) {
				at++
			}
			continue
		}
		if at >= len(src) || src[at] != value[i] {
			return 0, false
		}
		at++
		i++
	}
	return at, true
}

func white(c byte) bool { return c == ' ' || c == '\t' || c == '\n' }

// LineEnd is where the line that holds a byte ends, without its line feed.
func (t *Text) LineEnd(off int) int {
	if i := bytes.IndexByte(t.src[off:], '\n'); i >= 0 {
		return off + i
	}
	return len(t.src)
}
