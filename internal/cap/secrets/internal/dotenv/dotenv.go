// Package dotenv reads .env files, for the import of secrets.
//
// Guarantee: a file is read within limits and as a whole or not at all; nothing in it is expanded or run: what a
// shell would expand is refused, so that no value is other than what a program saw; errors name the line and
// never show what stands in it. Not guaranteed: that every dialect reads the same; where they differ much
// (a name twice, ${…}) the file is refused.
package dotenv

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

// Limits of a file.
const (
	MaxFile    = 4 << 20  // bytes
	MaxEntries = 10_000   // variables
	MaxValue   = 64 << 10 // bytes of one value
	maxName    = 255      // bytes of a variable's name
)

// Entry is one variable.
type Entry struct {
	Name  string
	Value secret.Bytes
	Line  int // where it begins, from 1 on
}

// Parse reads a file: NAME=value lines, with "export " before it, spaces around the =, comments after #, values in single
// quotes (as they are) or double quotes (\n, \r, \t, \\, \" and \$ are escapes; others stay as they are). Quoted
// values may span lines.
func Parse(r io.Reader) ([]Entry, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read .env: %w", err)
	case len(text) > MaxFile:
		return nil, fault.New(fault.Invalid, fmt.Sprintf("a .env file has at most %d bytes", MaxFile))
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	p := parser{rest: string(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))), line: 1}
	if !utf8.ValidString(p.rest) || strings.ContainsRune(p.rest, 0) {
		return nil, fault.New(fault.Invalid, "the .env file isn't text in UTF-8")
	}
	var out []Entry
	seen := map[string]int{}
	for p.blank(); p.rest != ""; p.blank() {
		e, err := p.entry()
		if err != nil {
			return nil, err
		}
		if first := seen[e.Name]; first > 0 {
			return nil, p.errorf(e.Line, "%s is there already, in line %d", e.Name, first)
		}
		if len(out) == MaxEntries {
			return nil, p.errorf(e.Line, "more than %d variables", MaxEntries)
		}
		seen[e.Name] = e.Line
		out = append(out, e)
	}
	return out, nil
}

type parser struct {
	rest string
	line int
}

func (p *parser) errorf(line int, format string, args ...any) error {
	return fault.New(fault.Invalid, fmt.Sprintf("line %d: ", line)+fmt.Sprintf(format, args...))
}

// take moves over n bytes and returns them.
func (p *parser) take(n int) string {
	s := p.rest[:n]
	p.line += strings.Count(s, "\n")
	p.rest = p.rest[n:]
	return s
}

// spaces moves over spaces within the line.
func (p *parser) spaces() { p.take(len(p.rest) - len(strings.TrimLeft(p.rest, " \t"))) }

// toEnd moves to the end of the line, and returns what was there.
func (p *parser) toEnd() string {
	n := strings.IndexByte(p.rest, '\n')
	if n < 0 {
		n = len(p.rest)
	}
	return p.take(n)
}

// blank moves over empty lines and comments.
func (p *parser) blank() {
	for {
		p.take(len(p.rest) - len(strings.TrimLeft(p.rest, " \t\n")))
		if !strings.HasPrefix(p.rest, "#") {
			return
		}
		p.toEnd()
	}
}

func (p *parser) entry() (Entry, error) {
	e := Entry{Line: p.line}
	if after, ok := strings.CutPrefix(p.rest, "export"); ok && strings.TrimLeft(after, " \t") != after {
		p.take(len("export"))
		p.spaces()
	}
	e.Name = p.name()
	p.spaces()
	if e.Name == "" || len(e.Name) > maxName || !strings.HasPrefix(p.rest, "=") {
		return e, p.errorf(e.Line, "it isn't of the form NAME=value")
	}
	p.take(1)
	p.spaces()
	value, err := p.value(e.Line)
	if err != nil {
		return e, err
	}
	if len(value) > MaxValue {
		return e, p.errorf(e.Line, "the value of %s has more than %d bytes", e.Name, MaxValue)
	}
	e.Value = secret.New([]byte(value))
	return e, nil
}

func (p *parser) name() string {
	n := 0
	for n < len(p.rest) {
		c := p.rest[n]
		letter := c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (n == 0 || c != '.' && c != '-' && (c < '0' || c > '9')) {
			break
		}
		n++
	}
	return p.take(n)
}

func (p *parser) value(line int) (string, error) {
	var value string
	switch {
	case strings.HasPrefix(p.rest, "'"):
		p.take(1)
		end := strings.IndexByte(p.rest, '\'')
		if end < 0 {
			return "", p.errorf(line, "a single quote isn't closed")
		}
		value = p.take(end)
		p.take(1)
	case strings.HasPrefix(p.rest, `"`):
		var err error
		if value, err = p.double(line); err != nil {
			return "", err
		}
	default:
		return p.bare(line)
	}
	if rest := strings.TrimLeft(p.toEnd(), " \t"); rest != "" && rest[0] != '#' {
		return "", p.errorf(p.line, "something follows the closing quote")
	}
	return value, nil
}

// double reads a value in double quotes.
func (p *parser) double(line int) (string, error) {
	p.take(1)
	var b strings.Builder
	for {
		n := strings.IndexAny(p.rest, `"\$`)
		if n < 0 {
			return "", p.errorf(line, "a double quote isn't closed")
		}
		b.WriteString(p.take(n))
		switch {
		case p.rest[0] == '"':
			p.take(1)
			return b.String(), nil
		case p.rest[0] == '$':
			if expands(p.rest) {
				return "", p.expansion()
			}
			b.WriteString(p.take(1))
		case len(p.rest) == 1:
			return "", p.errorf(line, "a double quote isn't closed")
		default:
			switch esc := p.take(2); esc[1] {
			case 'n':
				b.WriteByte('\n')
			case 'r':
				b.WriteByte('\r')
			case 't':
				b.WriteByte('\t')
			case '\\', '"', '$':
				b.WriteByte(esc[1])
			default:
				b.WriteString(esc)
			}
		}
	}
}

// bare reads a value without quotes, up to a comment or the end of the line.
func (p *parser) bare(line int) (string, error) {
	value := p.toEnd()
	for i := range len(value) {
		if value[i] == '#' && (i == 0 || value[i-1] == ' ' || value[i-1] == '\t') {
			value = value[:i]
			break
		}
	}
	for i := range len(value) {
		if expands(value[i:]) {
			return "", p.errorf(line, expansionText)
		}
	}
	return strings.TrimRight(value, " \t\r"), nil
}

const expansionText = "${…} and $(…) aren't expanded; put the value in single quotes if it is meant as it stands"

func (p *parser) expansion() error { return p.errorf(p.line, expansionText) }

// expands tells that a shell would put something else for what s begins with.
func expands(s string) bool { return strings.HasPrefix(s, "${") || strings.HasPrefix(s, "$(") }
