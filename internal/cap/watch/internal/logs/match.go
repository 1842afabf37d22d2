package logs

import (
	"bytes"
	"context"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wardhq/ward/internal/base/fault"
)

// Bounds of what may be asked for.
const (
	maxText    = 1024 // bytes of a text or a regexp
	maxProgram = 2000 // parts of a regexp with its repetitions written out: one line must not take long
)

// matcher is a question as it is asked of blocks and lines.
type matcher struct {
	services     map[string]bool
	since, until int64 // µs; since is in it, until isn't
	before       Cursor
	after        uint64
	levels       uint16
	level        Level
	limit        int
	text         []byte // in lower case; nil for none
	trace        []byte
	re           *regexp.Regexp
	needle       []byte   // in lower case: every line that matches holds it
	keys         []uint32 // of the filter: every block with a match has them
}

func newMatcher(q Query) (*matcher, error) {
	m := &matcher{since: math.MinInt64, until: math.MaxInt64, before: q.Before, after: q.After, level: q.Level, limit: min(q.Limit, MaxLimit), services: map[string]bool{}}
	if q.Limit == 0 {
		m.limit = usualLimit
	}
	if m.limit < 0 || len(q.Text) > maxText || len(q.Regexp) > maxText || q.Level > Gap || len(q.Services) > maxServices {
		return nil, fault.New(fault.Invalid, "a search of logs is for at most 1,024 bytes of text, and for 1 line or more")
	}
	for _, name := range q.Services {
		m.services[name] = true
	}
	if !q.Since.IsZero() {
		m.since = q.Since.UnixMicro()
	}
	if !q.Until.IsZero() {
		m.until = q.Until.UnixMicro()
	}
	for l := q.Level; l <= Gap; l++ {
		m.levels |= 1 << l
	}
	if q.Text != "" {
		m.text = fold(nil, []byte(q.Text))
		m.require(m.text, false)
	}
	if q.Trace != "" {
		if traceIn(q.Trace) == "" {
			return nil, fault.New(fault.Invalid, "a trace is named by 32 digits in hex")
		}
		m.trace = fold(nil, []byte(q.Trace))
		m.require(m.trace, true)
	}
	if q.Regexp != "" {
		return m, m.compile(q.Regexp)
	}
	return m, nil
}

// require notes what every line must hold, in lower case.
func (m *matcher) require(part []byte, whole bool) {
	m.keys = append(m.keys, keysOf(part, whole)...)
	if len(part) > len(m.needle) {
		m.needle = part
	}
}

func (m *matcher) compile(pattern string) error {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return fault.New(fault.Invalid, "the regular expression can't be read: "+err.Error())
	}
	if programSize(tree) > maxProgram {
		return fault.New(fault.Invalid, "the regular expression is too large with its repetitions written out")
	}
	if m.re, err = regexp.Compile(pattern); err != nil {
		return fault.New(fault.Invalid, "the regular expression can't be read: "+err.Error())
	}
	eachLiteral(tree, func(s string) { m.require(fold(nil, []byte(s)), false) })
	return nil
}

// programSize is about how many instructions a regexp has, which is before they are made: x{1000} is a thousand x.
func programSize(t *syntax.Regexp) int {
	n := 1 + len(t.Rune)
	for _, sub := range t.Sub {
		n += programSize(sub)
	}
	if t.Op == syntax.OpRepeat {
		n *= max(t.Min, t.Max, 1)
	}
	return min(n, math.MaxInt32)
}

// eachLiteral calls f with texts that every match of a regexp holds.
func eachLiteral(t *syntax.Regexp, f func(string)) {
	switch t.Op {
	case syntax.OpLiteral:
		s := string(t.Rune)
		if strings.ContainsRune(s, utf8.RuneError) { // which also stands for bytes that are no UTF-8
			return
		}
		if t.Flags&syntax.FoldCase != 0 && strings.IndexFunc(s, isFoldedBeyondASCII) >= 0 {
			return
		}
		f(s)
	case syntax.OpConcat, syntax.OpCapture, syntax.OpPlus:
		for _, sub := range t.Sub {
			eachLiteral(sub, f)
		}
	case syntax.OpRepeat:
		if t.Min > 0 {
			eachLiteral(t.Sub[0], f)
		}
	}
}

// isFoldedBeyondASCII tells whether a letter has another case that isn't in ASCII: (?i)k also finds the sign of kelvin, and s the long s.
func isFoldedBeyondASCII(r rune) bool { return r >= 0x80 || strings.ContainsRune("kKsS", r) }

// inTime tells whether any line can be of the time that is asked for.
func (m *matcher) inTime(s *summary) bool {
	return s.last >= m.since && s.first < m.until && (m.before == Cursor{} || s.first <= m.before.Time)
}

func (m *matcher) mayBeIn(s *summary) bool {
	return m.inTime(s) && s.lastSeq > m.after && s.levels&m.levels != 0
}

// has tells whether line i is of the time, the numbers and the level that are asked for.
func (m *matcher) has(c *content, i int) bool {
	at, seq := c.at[i], c.seq[i]
	if m.before != (Cursor{}) && (at > m.before.Time || at == m.before.Time && seq >= m.before.Seq) {
		return false
	}
	return at >= m.since && at < m.until && seq > m.after && c.level[i] >= m.level
}

// span is where a line is.
type span struct{ line, from, to int }

// lines are those that match, and whether all were looked at before ctx ended.
func (m *matcher) lines(ctx context.Context, c *content, out []span) ([]span, bool) {
	var lower []byte
	if len(m.needle) > 0 {
		lower = c.folded()
	}
	for line, from := 0, 0; from < len(c.text); {
		if len(m.needle) > 0 { // go to the next line that holds it
			i := bytes.Index(lower[from:], m.needle)
			if i < 0 {
				break
			}
			line += bytes.Count(lower[from:from+i], []byte{'\n'})
			from = bytes.LastIndexByte(lower[:from+i], '\n') + 1
		}
		to := from + bytes.IndexByte(c.text[from:], '\n')
		if m.has(c, line) && m.matches(c, from, to) {
			out = append(out, span{line, from, to})
		}
		line, from = line+1, to+1
		if m.re != nil && ctx.Err() != nil {
			return out, false
		}
	}
	return out, true
}

// matches tells whether the text of a line is what is asked for.
func (m *matcher) matches(c *content, from, to int) bool {
	if m.text != nil && !bytes.Contains(c.folded()[from:to], m.text) {
		return false
	}
	if m.trace != nil && !hasWord(c.folded()[from:to], m.trace) {
		return false
	}
	return m.re == nil || m.re.Match(c.text[from:to])
}

// hasWord tells whether a word is in a text with no letter or digit beside it.
func hasWord(text, word []byte) bool {
	for from := 0; ; {
		i := bytes.Index(text[from:], word)
		if i < 0 {
			return false
		}
		start, end := from+i, from+i+len(word)
		before, behind := other, other
		if start > 0 {
			before, _ = classOf(text[start-1])
		}
		if end < len(text) {
			behind, _ = classOf(text[end])
		}
		if before == other && behind == other {
			return true
		}
		from = start + 1
	}
}

// Has tells whether something of a service is kept.
func (s *Store) Has(service string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.services[service] != nil
}

// Services are those of which something is kept, by name, and the time of the oldest line.
func (s *Store) Services() (names []string, oldest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := int64(math.MaxInt64)
	for name, sv := range s.services {
		if sv.head == nil && len(sv.segments) == 0 {
			continue
		}
		names = append(names, name)
		if len(sv.segments) > 0 {
			first = min(first, sv.segments[0].first())
		} else {
			first = min(first, sv.head.first)
		}
	}
	slices.Sort(names)
	if len(names) > 0 {
		oldest = time.UnixMicro(first).UTC()
	}
	return names, oldest
}
