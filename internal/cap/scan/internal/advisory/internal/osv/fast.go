package osv

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// quick reads an advisory in one pass, where encoding/json takes two and reflection. It reads what such files usually are, and gives up (false) at the least
// that is unusual: a name twice or in another case, null, a mistake. Then encoding/json decides; so it never has to say what an odd file means.
func quick(b []byte, e *Entry) bool {
	r := &reader{b: b}
	var details []byte
	names := [...]string{"id", "modified", "withdrawn", "aliases", "upstream", "summary", "details", "severity", "affected", "database_specific"}
	ok := r.object(names[:], func(i int) bool {
		switch i {
		case 0:
			return r.text(&e.ID)
		case 1:
			raw, ok := r.value()
			return ok && raw[0] == '"' && e.Modified.UnmarshalJSON(raw) == nil
		case 2:
			return r.text(&e.Withdrawn)
		case 3:
			return r.texts(&e.Aliases)
		case 4:
			return r.texts(&e.Upstream)
		case 5:
			return r.text(&e.Summary)
		case 6:
			var ok bool
			details, _, ok = r.quoted()
			return ok
		case 7:
			return r.severity(&e.Severity)
		case 8:
			return list(r, &e.Affected, r.affected)
		}
		raw, ok := r.value()
		return ok && e.Database.UnmarshalJSON(raw) == nil
	})
	r.space()
	if !ok || r.at != len(b) {
		return false
	}
	// Most details are long, and nobody reads those beside a summary.
	return details == nil || !e.wordless() || json.Unmarshal(details, &e.Details) == nil
}

func (r *reader) affected(a *Affected) bool {
	names := [...]string{"package", "ranges", "versions", "severity", "database_specific", "ecosystem_specific"}
	return r.object(names[:], func(i int) bool {
		switch i {
		case 0:
			names := [...]string{"ecosystem", "name"}
			return r.object(names[:], func(i int) bool { return r.text([...]*string{&a.Package.Ecosystem, &a.Package.Name}[i]) })
		case 1:
			return list(r, &a.Ranges, func(g *Range) bool {
				names := [...]string{"type", "events"}
				return r.object(names[:], func(i int) bool {
					if i == 0 {
						return r.text(&g.Type)
					}
					return list(r, &g.Events, r.event)
				})
			})
		case 2:
			return r.texts(&a.Versions)
		case 3:
			return r.severity(&a.Severity)
		}
		raw, ok := r.value()
		if i == 4 {
			return ok && a.Database.UnmarshalJSON(raw) == nil
		}
		return ok && a.Ecosystem.UnmarshalJSON(raw) == nil
	})
}

func (r *reader) event(v *Event) bool {
	names := [...]string{"introduced", "fixed", "last_affected", "limit"}
	return r.object(names[:], func(i int) bool { return r.text([...]*string{&v.Introduced, &v.Fixed, &v.LastAffected, &v.Limit}[i]) })
}

func (r *reader) severity(to *[]Severity) bool {
	return list(r, to, func(s *Severity) bool {
		names := [...]string{"type", "score"}
		return r.object(names[:], func(i int) bool { return r.text([...]*string{&s.Type, &s.Score}[i]) })
	})
}

// maxNesting is how deep quick follows values that it doesn't know.
const maxNesting = 64

// reader stands in a JSON text. Its methods read what stands there next, and are false where that isn't so.
type reader struct {
	b     []byte
	at    int
	depth int
}

func (r *reader) space() {
	for r.at < len(r.b) && (r.b[r.at] == ' ' || r.b[r.at] == '\n' || r.b[r.at] == '\t' || r.b[r.at] == '\r') {
		r.at++
	}
}

// is takes a character with the space before it, if it stands there.
func (r *reader) is(c byte) bool {
	r.space()
	if r.at < len(r.b) && r.b[r.at] == c {
		r.at++
		return true
	}
	return false
}

// object reads an object. take reads the value of the name with a number; others are passed over.
func (r *reader) object(names []string, take func(i int) bool) bool {
	seen := 0
	return r.members('{', '}', func() bool {
		raw, plain, ok := r.quoted()
		if !ok || !plain || !r.is(':') {
			return false
		}
		name, known := raw[1:len(raw)-1], -1
		for i, n := range names {
			if len(n) != len(name) {
				continue
			}
			if n == string(name) {
				known = i
			} else if strings.EqualFold(n, string(name)) { // encoding/json takes it for the same
				return false
			}
		}
		if known < 0 {
			_, ok := r.value()
			return ok
		}
		if seen&(1<<known) != 0 {
			return false
		}
		seen |= 1 << known
		return take(known)
	})
}

// members reads what stands between brackets, with commas.
func (r *reader) members(open, end byte, one func() bool) bool {
	if !r.is(open) {
		return false
	}
	if r.is(end) {
		return true
	}
	for one() {
		if r.is(end) {
			return true
		}
		if !r.is(',') {
			return false
		}
	}
	return false
}

func list[T any](r *reader, to *[]T, one func(*T) bool) bool {
	*to = []T{}
	return r.members('[', ']', func() bool {
		var v T
		ok := one(&v)
		*to = append(*to, v)
		return ok
	})
}

func (r *reader) texts(to *[]string) bool { return list(r, to, r.text) }

func (r *reader) text(to *string) bool {
	raw, plain, ok := r.quoted()
	if ok && !plain {
		return json.Unmarshal(raw, to) == nil
	}
	if ok {
		*to = string(raw[1 : len(raw)-1])
	}
	return ok
}

// quoted reads a string, with its quotes; a plain one stands for itself.
func (r *reader) quoted() (raw []byte, plain, ok bool) {
	if !r.is('"') {
		return nil, false, false
	}
	start := r.at - 1
	plain = true
	high := byte(0)
	for ; r.at < len(r.b); r.at++ {
		c := r.b[r.at]
		high |= c
		switch {
		case c == '"':
			r.at++
			raw = r.b[start:r.at]
			return raw, plain && (high < utf8.RuneSelf || utf8.Valid(raw)), true
		case c < ' ':
			return nil, false, false
		case c == '\\':
			plain = false
			if !r.escape() {
				return nil, false, false
			}
		}
	}
	return nil, false, false
}

// escape goes from a backslash to the end of what it begins.
func (r *reader) escape() bool {
	r.at++
	if r.at >= len(r.b) {
		return false
	}
	if r.b[r.at] != 'u' {
		return strings.IndexByte(`"\/bfnrt`, r.b[r.at]) >= 0
	}
	for range 4 {
		if r.at++; r.at >= len(r.b) || strings.IndexByte("0123456789abcdefABCDEF", r.b[r.at]) < 0 {
			return false
		}
	}
	return true
}

// value passes over any value, and gives its bytes.
func (r *reader) value() ([]byte, bool) {
	r.space()
	start := r.at
	if r.at >= len(r.b) || r.depth == maxNesting {
		return nil, false
	}
	r.depth++
	defer func() { r.depth-- }()
	ok := false
	switch r.b[r.at] {
	case '{':
		ok = r.object(nil, nil)
	case '[':
		ok = r.members('[', ']', func() bool {
			_, ok := r.value()
			return ok
		})
	case '"':
		_, _, ok = r.quoted()
	case 't':
		ok = r.word("true")
	case 'f':
		ok = r.word("false")
	case 'n':
		ok = r.word("null")
	default: // numbers are short and rare
		for r.at < len(r.b) && strings.IndexByte("+-.0123456789eE", r.b[r.at]) >= 0 {
			r.at++
		}
		ok = json.Valid(r.b[start:r.at])
	}
	return r.b[start:r.at], ok
}

func (r *reader) word(w string) bool {
	if !strings.HasPrefix(string(r.b[r.at:min(r.at+len(w), len(r.b))]), w) {
		return false
	}
	r.at += len(w)
	return true
}
