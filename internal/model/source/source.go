// Package source reads a YAML text into a tree that knows where everything
// stands: each node's first and last byte, and each comment.
//
// It guarantees bounds before anything is built: size, number of tokens, length
// of a scalar, depth; and one reading: UTF-8, one document, no tags, no
// directives, no anchors or aliases unless the caller asks for a few. It doesn't
// know the words of ward.yaml.
package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// The bounds of a text. They leave room for 10,000 services or 100,000 rules.
const (
	MaxBytes  = 16 << 20
	MaxTokens = 3_000_000 // an upper bound of what may become a node
	MaxScalar = 64 << 10
	MaxDepth  = 32
	maxAlias  = 200
)

// Error is a text that can't be read, with its place; both count from 1, and
// Col counts characters. Line 0 is "nowhere".
type Error struct {
	Line, Col int
	Message   string
	Hint      string
}

// Error is the message with its place.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Col, e.Message)
}

// Text is the bytes of a document, cut into lines. Line ends are LF.
type Text struct {
	src   []byte
	lines []int // offset of each line's first byte
}

// Document is a text and its tree.
type Document struct {
	Text
	// Root is the document's one node, or nil where the text holds only comments.
	Root *yaml.Node
	// Aliased says that the text has aliases, so that the tree isn't a plain tree.
	Aliased bool
}

// Options choose what a reader tolerates.
type Options struct {
	// Foreign accepts what other programs' files hold: a few anchors and aliases, and tags.
	Foreign bool
}

// ReadAll reads at most MaxBytes.
func ReadAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return b, nil
}

// Parse reads src. The Document is never nil: with an Error it still holds the
// Text, for excerpts.
func Parse(src []byte, o Options) (*Document, *Error) {
	d := &Document{}
	if len(src) > MaxBytes {
		return d, &Error{Message: fmt.Sprintf("the file is larger than %d MiB", MaxBytes>>20)}
	}
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	if bytes.IndexByte(src, '\r') >= 0 {
		src = bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n"))
	}
	d.Text = newText(src)
	if err := d.scan(); err != nil {
		return d, err
	}
	if err := d.decode(); err != nil {
		return d, err
	}
	if d.Root == nil {
		return d, nil
	}
	return d, (&walker{o: o, d: d}).walk(d.Root, 0)
}

func newText(src []byte) Text {
	lines := make([]int, 1, bytes.Count(src, []byte{'\n'})+1)
	for i, c := range src {
		if c == '\n' {
			lines = append(lines, i+1)
		}
	}
	return Text{src: src, lines: lines}
}

// Bytes is the text, with LF line ends and without a byte order mark.
func (t *Text) Bytes() []byte { return t.src }

// Lines is the number of lines.
func (t *Text) Lines() int { return len(t.lines) }

// Line is the text of a line without its end, "" where there is no such line.
func (t *Text) Line(n int) string {
	if n < 1 || n > len(t.lines) {
		return ""
	}
	end := len(t.src)
	if n < len(t.lines) {
		end = t.lines[n] - 1
	}
	return string(t.src[t.lines[n-1]:end])
}

// LineLen is the length of a line in bytes, without its end.
func (t *Text) LineLen(n int) int {
	switch {
	case n < 1 || n > len(t.lines):
		return 0
	case n == len(t.lines):
		return len(t.src) - t.lines[n-1]
	}
	return t.lines[n] - 1 - t.lines[n-1]
}

// Offset is the byte at which a place stands.
func (t *Text) Offset(line, col int) int {
	if line < 1 || line > len(t.lines) {
		return len(t.src)
	}
	off := t.lines[line-1]
	for i := 1; i < col && off < len(t.src) && t.src[off] != '\n'; i++ {
		_, n := utf8.DecodeRune(t.src[off:])
		off += n
	}
	return off
}

// Place is the line and column of a byte.
func (t *Text) Place(off int) (line, col int) {
	lo, hi := 0, len(t.lines)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; t.lines[mid] <= off {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo + 1, utf8.RuneCount(t.src[t.lines[lo]:off]) + 1
}

// scan refuses what would have two readings, or cost too much, before the
// YAML library sees it.
func (t *Text) scan() *Error {
	fail := func(off int, msg string) *Error {
		line, col := t.Place(off)
		return &Error{Line: line, Col: col, Message: msg}
	}
	tokens := 0
	for i := 0; i < len(t.src); {
		c := t.src[i]
		switch {
		case c == ',' || c == '\n' || c == ':' || c == '[' || c == '{' || c == '?':
			if tokens++; tokens > MaxTokens {
				return fail(i, "the file holds too many values")
			}
		case c == '\r':
			return fail(i, "a carriage return without a line feed")
		case c == '%' && (i == 0 || t.src[i-1] == '\n'):
			return fail(i, "YAML directives are not used here")
		case c < ' ' && c != '\t' || c == 0x7f:
			return fail(i, fmt.Sprintf("control character 0x%02x", c))
		}
		if c < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(t.src[i:])
		if r == utf8.RuneError && n == 1 {
			return fail(i, "the text is not valid UTF-8")
		}
		if r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return fail(i, fmt.Sprintf("invisible control character U+%04X", r))
		}
		i += n
	}
	return nil
}

func (d *Document) decode() (out *Error) {
	// The library panics on some malformed texts instead of returning an error.
	defer func() {
		if r := recover(); r != nil {
			out = &Error{Line: 1, Col: 1, Message: "the text is not valid YAML"}
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(d.src))
	var doc, next yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return d.syntax(err)
	}
	if len(doc.Content) == 1 && !emptyDocument(doc.Content[0]) {
		d.Root = doc.Content[0]
	}
	switch err := dec.Decode(&next); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return d.syntax(err)
	}
	return &Error{Line: max(next.Line, 1), Col: 1, Message: "a second YAML document; one file holds one document"}
}

func emptyDocument(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Value == ""
}

// syntax turns the library's "yaml: line 3: cause" into an Error.
func (d *Document) syntax(err error) *Error {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		if msg = msg[len(m[0]):]; strings.HasPrefix(msg, "did not find expected") {
			line++ // the library counts these from 0
		}
	}
	line = min(max(line, 1), len(d.lines))
	text := d.Line(line)
	col := utf8.RuneCountInString(text) - utf8.RuneCountInString(strings.TrimLeft(text, " \t")) + 1
	e := &Error{Line: line, Col: col, Message: "YAML: " + msg}
	// The library tells where the list or mapping begins. This trap is the one that paths fall into.
	brace := regexp.MustCompile(`[\[{,][^"'\[\]{},]*/\{`)
	for l := line; l <= min(line+5, len(d.lines)); l++ {
		if at := brace.FindStringIndex(d.Line(l)); at != nil {
			e.Line, e.Col = l, utf8.RuneCountInString(d.Line(l)[:at[1]])
			e.Hint = `inside of [ ] or { }, a text that holds { } [ ] or a comma needs quotes: "GET /books/{id}"`
			return e
		}
	}
	switch {
	case strings.Contains(msg, "tab") || strings.Contains(msg, "cannot start any token") && strings.Contains(text, "\t"):
		e.Hint = "indent with spaces, never with tabs"
	case strings.Contains(msg, "mapping values are not allowed"):
		e.Hint = `check the indentation, or quote a value that holds ": "`
	case strings.Contains(msg, "did not find expected"):
		e.Hint = "check the indentation and the brackets from here on"
	}
	return e
}

type walker struct {
	o       Options
	d       *Document
	aliases int
}

// walk checks what the library lets pass and this package doesn't.
func (w *walker) walk(n *yaml.Node, depth int) *Error {
	fail := func(msg, hint string) *Error {
		return &Error{Line: n.Line, Col: n.Column, Message: msg, Hint: hint}
	}
	switch {
	case depth > MaxDepth:
		return fail("nested too deeply", "")
	case len(n.Value) > MaxScalar:
		return fail(fmt.Sprintf("a value of %d bytes; the limit is %d", len(n.Value), MaxScalar), "")
	case n.Kind == yaml.AliasNode && !w.o.Foreign:
		return fail("YAML aliases (*"+clip(n.Value)+") are not used here", "write the value out, so that each line says what it means")
	case n.Anchor != "" && !w.o.Foreign:
		return fail("YAML anchors (&"+clip(n.Anchor)+") are not used here", "write the value out, so that each line says what it means")
	case n.Style&yaml.TaggedStyle != 0 && !w.o.Foreign:
		return fail("YAML tags ("+clip(n.Tag)+") are not used here", "remove the tag")
	case n.Kind == yaml.AliasNode:
		w.d.Aliased = true
		if w.aliases++; w.aliases > maxAlias {
			return fail("too many YAML aliases", "")
		}
		return nil
	}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && c.Kind != yaml.ScalarNode && c.Kind != yaml.AliasNode {
			return &Error{Line: c.Line, Col: c.Column, Message: "a key must be a word, not a list or a mapping"}
		}
		if err := w.walk(c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}
