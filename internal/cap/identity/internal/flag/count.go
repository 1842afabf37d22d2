package flag

import (
	"math"
	"math/bits"
	"time"
)

// Things are counted over three spans. A count remembers at least one span and at most two.
const (
	short = iota
	middle
	long
	spans
)

func spanLength(span int) time.Duration {
	return [spans]time.Duration{5 * time.Minute, time.Hour, 24 * time.Hour}[span]
}

func spanNumber(now time.Time, span int) uint32 {
	return uint32(now.Unix() / int64(spanLength(span).Seconds()))
}

// count is how often, over one span.
type count struct {
	at          uint32 // the span's number
	now, before uint16
}

func (c *count) roll(n uint32) {
	switch {
	case n <= c.at: // a clock that went back stays in the newest span
		return
	case n == c.at+1:
		c.before, c.now = c.now, 0
	default:
		c.before, c.now = 0, 0
	}
	c.at = n
}

func (c *count) add() {
	if c.now < math.MaxUint16 {
		c.now++
	}
}

func (c *count) value() int { return int(c.now) + int(c.before) }

// take forgets some of what was counted.
func (c *count) take(n int) {
	n1 := min(n, int(c.now))
	c.now -= uint16(n1)
	c.before -= uint16(min(n-n1, int(c.before)))
}

// account counts tries against an account.
type account struct {
	spans [spans]count
	total uint32 // since they were last resolved by a sign-in
	// sketches of a pair's last passwords, plus one; with a sign-in they were mistakes.
	sketches [4]uint32
}

func (a *account) roll(now time.Time) {
	for i := range a.spans {
		a.spans[i].roll(spanNumber(now, i))
	}
}

func (a *account) add(now time.Time) {
	a.roll(now)
	for i := range a.spans {
		a.spans[i].add()
	}
	if a.total < math.MaxUint32 {
		a.total++
	}
}

// over returns the first span whose count has reached its limit, and the count.
func (a *account) over(limits [spans]int) (span, n int, ok bool) {
	for i := range a.spans {
		if n := a.spans[i].value(); n >= limits[i] {
			return i, n, true
		}
	}
	return 0, 0, false
}

// What a source has distinct ones of.
const (
	failed    = iota // accounts that failed
	succeeded        // accounts that signed in
	unknown          // identifiers of nobody
	passwords        // sketches
	registers        // registrations and resets; each one is distinct
	kinds
)

const (
	sourceWords = 8   // 512 bits: to some 2,000 distinct ones
	globalWords = 256 // 16,384 bits: to some 80,000
)

// source counts distinct things by linear counting (Whang, Vander-Zanden and Taylor 1990): each sets a bit that its hash chooses.
// An account has the same bit among those that failed and those that succeeded, so that mistakes which were put right
// fall out.
type source struct {
	at    [spans]uint32
	words int
	bits  []uint64 // spans × kinds × (now, before) × words
}

func (s *source) part(span, kind, half int) []uint64 {
	i := ((span*kinds+kind)*2 + half) * s.words
	return s.bits[i : i+s.words]
}

func (s *source) roll(now time.Time) {
	if s.words == 0 {
		s.words = sourceWords
	}
	if s.bits == nil {
		s.bits = make([]uint64, spans*kinds*2*s.words)
	}
	for span := range s.at {
		n := spanNumber(now, span)
		if n <= s.at[span] {
			continue
		}
		for kind := range kinds {
			if n == s.at[span]+1 {
				copy(s.part(span, kind, 1), s.part(span, kind, 0))
			} else {
				clear(s.part(span, kind, 1))
			}
			clear(s.part(span, kind, 0))
		}
		s.at[span] = n
	}
}

// add needs roll before.
func (s *source) add(kind int, hash uint64) {
	bit := hash % uint64(s.words*64)
	for span := range spans {
		s.part(span, kind, 0)[bit/64] |= 1 << (bit % 64)
	}
}

// distinct estimates how many there are in any of the kinds.
func (s *source) distinct(span int, of ...int) float64 {
	set := 0
	for i := range s.words {
		var w uint64
		for _, kind := range of {
			w |= s.part(span, kind, 0)[i] | s.part(span, kind, 1)[i]
		}
		set += bits.OnesCount64(w)
	}
	m := float64(s.words * 64)
	return -m * math.Log(math.Max(m-float64(set), 1)/m)
}

// unresolved estimates how many failed and didn't sign in, and how many signed in.
func (s *source) unresolved(span int) (failures, signIns float64) {
	signIns = s.distinct(span, succeeded)
	return s.distinct(span, failed, succeeded) - signIns, signIns
}
