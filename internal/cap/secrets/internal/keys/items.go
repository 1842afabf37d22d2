package keys

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/wardhq/ward/sdk/seal/envelope"
)

// item is one of encrypt, decrypt and rewrap. Data that is missing is nil.
type item struct {
	context               envelope.Context
	owner                 string
	plaintext, ciphertext []byte
}

// batch is the body of a request: one item, or a list of them.
type batch struct {
	items []item
	many  bool
}

var errJSON = errors.New("it isn't JSON of this form")

// readBatch reads JSON as encoding/json does, in a fraction of its time, which would be most of what a batch costs. It is stricter:
// no name twice or in other letters, no null, no invalid UTF-8, at most maxItems items.
func readBatch(body []byte) (batch, error) {
	r := reader{rest: body}
	var out batch
	var single item
	given := r.members([]string{"context", "owner", "plaintext", "ciphertext", "items"}, func(name string) {
		if name != "items" {
			r.member(&single, name, envelope.Context{})
			return
		}
		out.many, out.items = true, []item{}
		var before envelope.Context
		r.elements(func() {
			if len(out.items) == maxItems {
				r.fail(fmt.Errorf("there are more than %d items", maxItems))
				return
			}
			var it item
			r.members([]string{"context", "owner", "plaintext", "ciphertext"}, func(name string) { r.member(&it, name, before) })
			before = it.context
			out.items = append(out.items, it)
		})
	})
	if out.many && given > 1 {
		r.fail(errors.New("there is one item or a list of items, not both"))
	}
	if !out.many {
		out.items = []item{single}
	}
	if r.space(); len(r.rest) > 0 {
		r.fail(errJSON)
	}
	return out, r.err
}

// member reads one member of an item. before is the context of the item before, whose strings are likely to be the same.
func (r *reader) member(it *item, name string, before envelope.Context) {
	switch name {
	case "context":
		r.members([]string{"service", "class", "tenant", "table", "column", "row"}, func(name string) {
			switch name {
			case "service":
				it.context.Service = r.text(before.Service)
			case "class":
				it.context.Class = r.text(before.Class)
			case "tenant":
				it.context.Tenant = r.text(before.Tenant)
			case "table":
				it.context.Table = r.text(before.Table)
			case "column":
				it.context.Column = r.text(before.Column)
			case "row":
				it.context.Row = r.text(before.Row)
			}
		})
	case "owner":
		it.owner = r.text("")
	case "plaintext":
		it.plaintext = r.bytes()
	case "ciphertext":
		it.ciphertext = r.bytes()
	}
}

// reader reads JSON from the front of rest. After the first failure it reads nothing more.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

func (r *reader) space() {
	for len(r.rest) > 0 && (r.rest[0] == ' ' || r.rest[0] == '\n' || r.rest[0] == '\t' || r.rest[0] == '\r') {
		r.rest = r.rest[1:]
	}
}

// next takes c if it comes next.
func (r *reader) next(c byte) bool {
	r.space()
	if len(r.rest) == 0 || r.rest[0] != c {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

func (r *reader) expect(c byte) {
	if !r.next(c) {
		r.fail(errJSON)
	}
}

// members reads an object whose names are among those allowed, each at most once, and returns how many there were.
func (r *reader) members(allowed []string, value func(name string)) (n int) {
	r.expect('{')
	if r.next('}') {
		return 0
	}
	seen := 0
	for r.err == nil {
		name := r.quoted()
		i := slices.IndexFunc(allowed, func(a string) bool { return a == string(name) })
		if i < 0 || seen&(1<<i) != 0 {
			r.fail(errors.New("a name is there twice, or isn't known"))
			return 0
		}
		seen |= 1 << i
		n++
		r.expect(':')
		value(allowed[i])
		if !r.next(',') {
			r.expect('}')
			return n
		}
	}
	return 0
}

func (r *reader) elements(value func()) {
	r.expect('[')
	if r.next(']') {
		return
	}
	for r.err == nil {
		value()
		if !r.next(',') {
			r.expect(']')
			return
		}
	}
}

// text reads a string, and returns likely itself if it is that.
func (r *reader) text(likely string) string {
	b := r.quoted()
	if string(b) == likely {
		return likely
	}
	return string(b)
}

// bytes reads base64; it is never nil.
func (r *reader) bytes() []byte {
	b := r.quoted()
	out := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Decode(out, b)
	if err != nil {
		r.fail(errors.New("a value isn't standard base64"))
	}
	return out[:n]
}

// quoted reads a string; what it returns may be part of the body.
func (r *reader) quoted() []byte {
	r.expect('"')
	escaped := false
	for i := 0; i < len(r.rest); i++ {
		switch c := r.rest[i]; {
		case c == '\\':
			escaped = true
			i++
		case c < ' ':
			r.fail(errJSON)
			return nil
		case c == '"':
			b := r.rest[:i]
			r.rest = r.rest[i+1:]
			return r.unescape(b, escaped)
		}
	}
	r.fail(errJSON)
	return nil
}

func (r *reader) unescape(b []byte, escaped bool) []byte {
	if !utf8.Valid(b) {
		r.fail(errJSON)
		return nil
	}
	if !escaped {
		return b
	}
	var s string
	if err := json.Unmarshal(slices.Concat([]byte{'"'}, b, []byte{'"'}), &s); err != nil {
		r.fail(errJSON)
	}
	return []byte(s)
}
