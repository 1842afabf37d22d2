// Package toml reads of TOML (toml.io, v1.0.0) what lock files and manifests use: names, texts, lists and inline tables.
//
// Guarantee: linear in time, nesting is limited, and what isn't closed is an error with its line. Not guaranteed: that everything else that TOML forbids is refused.
package toml

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxNesting is how deep values may be nested.
const maxNesting = 64

// Table is one [table] or [[table]] of a TOML document (toml.io, v1.0.0), in the order in which they stand.
type Table struct {
	Name   string         // "package.dependencies"
	Line   int            // where it begins
	Values map[string]any // string, []any, map[string]any, or Other
}

// Other is a number, date or boolean as it stands.
type Other string

// Text is a value that is text, or "".
func (t Table) Text(key string) string { s, _ := t.Values[key].(string); return s }

// List are the texts of an array.
func (t Table) List(key string) []string {
	items, _ := t.Values[key].([]any)
	var texts []string
	for _, i := range items {
		if s, ok := i.(string); ok {
			texts = append(texts, s)
		}
	}
	return texts
}

// Read reads what lock files use of TOML: no more is asked of a program's own output. Linear in time; nesting is limited.
func Read(data []byte) ([]Table, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	r := &reader{s: string(data), line: 1}
	tables := []Table{{Line: 1, Values: map[string]any{}}}
	for {
		r.space(true)
		if r.s == "" {
			return tables, nil
		}
		if strings.HasPrefix(r.s, "[") {
			brackets := min(len(r.s)-len(strings.TrimLeft(r.s, "[")), 2)
			r.take(brackets)
			line := r.line
			name, err := r.key()
			if err != nil {
				return tables, r.wrong(err)
			}
			if !strings.HasPrefix(r.s, strings.Repeat("]", brackets)) {
				return tables, r.wrong(errors.New("a table's name that isn't closed"))
			}
			r.take(brackets)
			tables = append(tables, Table{strings.Join(name, "."), line, map[string]any{}})
		} else if err := r.pair(tables[len(tables)-1].Values, 0); err != nil {
			return tables, r.wrong(err)
		}
		r.space(false)
		if r.s != "" && r.s[0] != '\n' {
			return tables, r.wrong(errors.New("more on a line than belongs there"))
		}
	}
}

type reader struct {
	s    string // what is left
	line int
}

func (r *reader) wrong(err error) error { return fmt.Errorf("line %d: %w", r.line, err) }

func (r *reader) take(n int) string {
	taken := r.s[:n]
	r.line += strings.Count(taken, "\n")
	r.s = r.s[n:]
	return taken
}

// space skips blanks and comments, and newlines too if they part nothing here.
func (r *reader) space(newlines bool) {
	for r.s != "" {
		switch c := r.s[0]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n' && newlines:
			r.take(1)
		case c == '#':
			end := strings.IndexByte(r.s, '\n')
			if end < 0 {
				end = len(r.s)
			}
			r.take(end)
		default:
			return
		}
	}
}

// key reads a key and the parts behind its dots.
func (r *reader) key() ([]string, error) {
	var parts []string
	for {
		r.space(false)
		end := strings.IndexFunc(r.s, func(c rune) bool { return c != '-' && c != '_' && (c > 0x7f || !isAlnum(byte(c))) })
		switch {
		case r.s != "" && (r.s[0] == '"' || r.s[0] == '\''):
			part, err := r.str()
			if err != nil {
				return nil, err
			}
			parts = append(parts, part)
		case end > 0:
			parts = append(parts, r.take(end))
		default:
			return nil, errors.New("not a key")
		}
		r.space(false)
		if !strings.HasPrefix(r.s, ".") {
			return parts, nil
		}
		r.take(1)
	}
}

// pair reads "key = value" into a table; dotted keys are joined again, for nothing here asks for their parts.
func (r *reader) pair(into map[string]any, depth int) error {
	key, err := r.key()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(r.s, "=") {
		return errors.New("a key without a value")
	}
	r.take(1)
	r.space(false)
	into[strings.Join(key, ".")], err = r.value(depth)
	return err
}

func (r *reader) value(depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("values are nested deeper than %d", maxNesting)
	}
	if r.s == "" {
		return nil, errors.New("a value is missing")
	}
	switch r.s[0] {
	case '"', '\'':
		return r.str()
	case '[':
		r.take(1)
		items := []any{}
		for {
			r.space(true)
			if strings.HasPrefix(r.s, "]") {
				r.take(1)
				return items, nil
			}
			item, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			items = append(items, item)
			r.space(true)
			if strings.HasPrefix(r.s, ",") {
				r.take(1)
			} else if !strings.HasPrefix(r.s, "]") {
				return nil, errors.New("a list that isn't closed")
			}
		}
	case '{':
		r.take(1)
		table := map[string]any{}
		for {
			r.space(true)
			if strings.HasPrefix(r.s, "}") {
				r.take(1)
				return table, nil
			}
			if err := r.pair(table, depth+1); err != nil {
				return nil, err
			}
			r.space(true)
			if strings.HasPrefix(r.s, ",") {
				r.take(1)
			} else if !strings.HasPrefix(r.s, "}") {
				return nil, errors.New("an inline table that isn't closed")
			}
		}
	}
	end := strings.IndexAny(r.s, ",]}#\n\r")
	if end < 0 {
		end = len(r.s)
	}
	word := strings.TrimSpace(r.take(end))
	if word == "" || !isAlnum(word[0]) && word[0] != '+' && word[0] != '-' {
		return nil, fmt.Errorf("%.20q is no value", word)
	}
	return Other(word), nil
}

// str reads a string of any of the four forms.
func (r *reader) str() (string, error) {
	quote := r.s[:1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(r.s, triple) {
		r.take(3)
		end := strings.Index(r.s, triple)
		if end < 0 {
			return "", errors.New("a text that isn't closed")
		}
		text := r.take(end)
		r.take(3)
		return strings.TrimPrefix(text, "\n"), nil // escapes in it don't matter here: no name or version is written so
	}
	for i := 1; i < len(r.s) && r.s[i] != '\n'; i++ {
		if r.s[i] == '\\' && quote == `"` {
			i++
			continue
		}
		if r.s[i] == quote[0] {
			text := r.take(i + 1)[1:i]
			if quote == `"` {
				text = unescape(text)
			}
			return text, nil
		}
	}
	return "", errors.New("a text that isn't closed")
}

// unescape resolves a text's escapes, which are Go's; what has others stays as it stands, and so matches nothing.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	if text, err := strconv.Unquote(`"` + s + `"`); err == nil {
		return text
	}
	return s
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
