package keys

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/wardhq/ward/internal/base/fault"
)

// batch is the body of a request to encrypt, decrypt or rewrap: one item, or a list of them.
type batch struct {
	items []Item
	many  bool
}

// plaintexts and ciphertexts are batches of either; they say which it is when they are read.
type (
	plaintexts  struct{ batch }
	ciphertexts struct{ batch }
)

func (b *plaintexts) read(body []byte) (err error) {
	b.batch, err = readBatch(body, "plaintext")
	return err
}

func (b *ciphertexts) read(body []byte) (err error) {
	b.batch, err = readBatch(body, "ciphertext")
	return err
}

var errJSON = errors.New("it isn't JSON of this form")

// readBatch reads items whose data has a name, as encoding/json would in several times its time, which would be most of what a batch
// costs. It is stricter: no name twice or in other letters, no null, no invalid UTF-8, no item without data, at most maxItems items.
func readBatch(body []byte, data string) (batch, error) {
	r := reader{b: body}
	var out batch
	var one Item
	names := []string{"context", "owner", data, "items"}
	given := r.members(names, func(name string) {
		if name != "items" {
			r.member(&one, name, &Item{})
			return
		}
		out.many, out.items = true, make([]Item, 0, min(maxItems, len(body)/256+1)) // as many as there are probably
		before := &Item{}
		r.elements(func() {
			if len(out.items) == maxItems {
				r.fail(fmt.Errorf("there are more than %d items", maxItems))
				return
			}
			out.items = append(out.items, Item{})
			it := &out.items[len(out.items)-1]
			r.members(names[:3], func(name string) { r.member(it, name, before) })
			before = it
		})
	})
	if out.many && given > 1 {
		r.fail(errors.New("there is one item or a list of items, not both"))
	}
	if !out.many {
		out.items = []Item{one}
	}
	if slices.ContainsFunc(out.items, func(it Item) bool { return it.Data == nil }) {
		r.fail(fmt.Errorf("an item has no %s", data))
	}
	if r.space(); r.at < len(r.b) {
		r.fail(errJSON)
	}
	return out, r.err
}

// writeBatch is the reply to a batch in JSON: what it made, under the name, or the errors.
func writeBatch(results []Result, name string, many bool) json.RawMessage {
	size := 32
	for i := range results {
		size += 32 + base64.StdEncoding.EncodedLen(len(results[i].Data))
	}
	out := make([]byte, 0, size)
	if many {
		out = append(out, `{"items":[`...)
	}
	for i := range results {
		if i > 0 {
			out = append(out, ',')
		}
		if err := results[i].Err; err != nil {
			text, _ := json.Marshal(fault.PublicText(err)) // a string has no error
			out = append(append(append(out, `{"error":`...), text...), '}')
			continue
		}
		out = append(append(append(out, `{"`...), name...), `":"`...)
		out = append(base64.StdEncoding.AppendEncode(out, results[i].Data), `"}`...)
	}
	if many {
		out = append(out, `]}`...)
	}
	return out
}

// member reads one member of an item. before is the item before, whose context's strings are likely to be the same.
func (r *reader) member(it *Item, name string, before *Item) {
	switch name {
	case "context":
		r.members([]string{"service", "class", "tenant", "table", "column", "row"}, func(name string) {
			switch name {
			case "service":
				it.Context.Service = r.text(before.Context.Service)
			case "class":
				it.Context.Class = r.text(before.Context.Class)
			case "tenant":
				it.Context.Tenant = r.text(before.Context.Tenant)
			case "table":
				it.Context.Table = r.text(before.Context.Table)
			case "column":
				it.Context.Column = r.text(before.Context.Column)
			case "row":
				it.Context.Row = r.text(before.Context.Row)
			}
		})
	case "owner":
		it.Owner = r.text("")
	default:
		it.Data = r.bytes()
	}
}

// reader reads JSON. After the first failure it is at the end.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.at = len(r.b)
}

func (r *reader) space() {
	for r.at < len(r.b) && (r.b[r.at] == ' ' || r.b[r.at] == '\n' || r.b[r.at] == '\t' || r.b[r.at] == '\r') {
		r.at++
	}
}

// next takes c if it comes next.
func (r *reader) next(c byte) bool {
	r.space()
	if r.at == len(r.b) || r.b[r.at] != c {
		return false
	}
	r.at++
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
	for i := r.at; i < len(r.b); i++ {
		switch c := r.b[i]; {
		case c == '\\':
			escaped = true
			i++
		case c < ' ':
			r.fail(errJSON)
			return nil
		case c == '"':
			b := r.b[r.at:i]
			r.at = i + 1
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
