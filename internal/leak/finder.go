package leak

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
)

// Finding is a secret that stands where it was found. It never holds the value.
type Finding struct {
	Secret string // its name; "" for a Card
	Form   Form
	Canary bool
	Offset int64 // in bytes from the beginning of the stream
	Length int   // in bytes
	Line   int   // from 1 on
}

// Finder looks through one stream. It isn't for concurrent use. It holds back only bytes that may be the beginning of a
// match, at most some KiB.
type Finder struct {
	prints *Fingerprints
	cards  bool
	found  func(Finding)

	held    []byte // not released yet
	passed  int    // how much of held went on all the same, in a pause
	start   int64  // where held begins in the stream
	lines   int    // newlines before held
	before  byte   // what stands before held; 0 at the beginning
	scanned int    // how much of held was looked at for windows
	digits  int    // and for cards
	waiting []candidate
	masks   []span
}

// candidate is a window that passed the filter: what of the prints from, up to to, begin so and have one length.
type candidate struct {
	at       int // in held
	from, to int // in prints
}

// span is a part of held.
type span struct{ from, to int }

// Finder returns one that calls found for each match, in the order in which they end. cards looks for the numbers of payment
// cards too. prints may be nil, for none.
func (f *Fingerprints) Finder(cards bool, found func(Finding)) *Finder {
	if f == nil {
		f = Make(nil)
	}
	return &Finder{prints: f, cards: cards, found: found}
}

// piece bounds what is held of a large chunk.
const piece = 32 << 10

// Mask takes the next chunk of the stream, and appends to dst what may go on, with asterisks in place of what was found.
// In all, exactly as many bytes come out as went in.
func (f *Finder) Mask(dst, chunk []byte) []byte {
	for len(chunk) > 0 {
		n := min(len(chunk), piece)
		f.held = append(f.held, chunk[:n]...)
		chunk = chunk[n:]
		dst = f.release(dst, f.look(false))
	}
	return dst
}

// Pause is for a silence in which the stream should not stall: it appends what was held back, but for what has the first 8 bytes
// of a secret. Of a secret whose first bytes went on so, the rest is masked still.
func (f *Finder) Pause(dst []byte) []byte {
	f.look(false)
	n := len(f.held)
	for _, c := range f.waiting {
		n = min(n, c.at)
	}
	return f.pass(dst, n)
}

// Flush ends the stream: it appends what was held back. What is the beginning of a secret, and nothing else, is passed on.
func (f *Finder) Flush(dst []byte) []byte {
	return f.release(dst, f.look(true))
}

// Write is Mask whose output nobody needs. It never fails.
func (f *Finder) Write(chunk []byte) (int, error) {
	for rest := chunk; len(rest) > 0; {
		n := min(len(rest), piece)
		f.held = append(f.held, rest[:n]...)
		rest = rest[n:]
		f.drop(f.look(false))
	}
	return len(chunk), nil
}

// Close ends a stream that was written.
func (f *Finder) Close() error {
	f.drop(f.look(true))
	return nil
}

// look looks at what is new, and returns how much of held may go on.
func (f *Finder) look(last bool) int {
	f.resume()
	free := f.windows()
	if last {
		free = len(f.held)
		f.waiting = f.waiting[:0]
	}
	for _, c := range f.waiting {
		free = min(free, c.at)
	}
	if f.cards {
		free = min(free, f.findCards(last))
	}
	return free
}

// resume looks at the candidates whose form may be all there now.
func (f *Finder) resume() {
	still := f.waiting[:0]
	for _, c := range f.waiting {
		if f.judge(c) {
			still = append(still, c)
		}
	}
	f.waiting = still
}

// judge compares a candidate, and tells whether it has to wait for more.
func (f *Finder) judge(c candidate) (wait bool) {
	end := c.at + int(f.prints.prints[c.from].length)
	if end > len(f.held) {
		return true
	}
	got := f.prints.proofOf(f.held[c.at:end])
	for _, p := range f.prints.prints[c.from:c.to] {
		if hmac.Equal(got[:], p.proof[:]) {
			n := f.prints.names[p.name]
			f.report(Finding{Secret: n.name, Form: p.form, Canary: n.canary}, span{c.at, end})
			f.masks = append(f.masks, span{c.at, end})
		}
	}
	return false
}

func (f *Finder) report(what Finding, where span) {
	what.Offset, what.Length = f.start+int64(where.from), where.to-where.from
	what.Line = f.lines + bytes.Count(f.held[:where.from], []byte{'\n'}) + 1
	f.found(what)
}

// windows looks at each window that is all there, and returns where those begin that aren't and could be.
func (f *Finder) windows() int {
	fp, held := f.prints, f.held
	if len(fp.prints) == 0 {
		f.scanned = len(held)
		return len(held)
	}
	i := f.scanned
	if i+window <= len(held) {
		factor, shift, filter := fp.factor, fp.shift, fp.filter
		w := binary.LittleEndian.Uint64(held[i:]) << 8
		for ; i+window <= len(held); i++ {
			w = w>>8 | uint64(held[i+window-1])<<56
			h := w * factor
			at := h >> shift
			if filter[at/64]>>(at%64)&1 == 0 {
				continue
			}
			fp.withTag(uint32(h>>40), func(from, to int) {
				if c := (candidate{i, from, to}); f.judge(c) {
					f.waiting = append(f.waiting, c)
				}
			})
		}
	}
	f.scanned = i
	for end := len(held); end > i; end-- {
		if fp.isOutside(held[end-1]) {
			return end
		}
	}
	return i
}

// release appends the first n bytes of held, masked, and lets go of them.
func (f *Finder) release(dst []byte, n int) []byte {
	dst = f.pass(dst, n)
	f.drop(n)
	return dst
}

// pass appends the first n bytes of held, masked, but for those that went on before.
func (f *Finder) pass(dst []byte, n int) []byte {
	if n <= f.passed {
		return dst
	}
	from := len(dst) - f.passed // where held begins, seen from dst
	dst = append(dst, f.held[f.passed:n]...)
	for _, m := range f.masks {
		if lo, hi := max(m.from, f.passed), min(m.to, n); lo < hi {
			fill(dst[from+lo : from+hi])
		}
	}
	f.passed = n
	return dst
}

func fill(b []byte) {
	for i := range b {
		b[i] = '*'
	}
}

// drop lets go of the first n bytes of held.
func (f *Finder) drop(n int) {
	if n == 0 {
		return
	}
	f.start += int64(n)
	f.lines += bytes.Count(f.held[:n], []byte{'\n'})
	f.before = f.held[n-1]
	f.held = f.held[:copy(f.held, f.held[n:])]
	f.scanned, f.digits, f.passed = max(f.scanned-n, 0), max(f.digits-n, 0), max(f.passed-n, 0)
	for i := range f.waiting {
		f.waiting[i].at -= n
	}
	still := f.masks[:0]
	for _, m := range f.masks {
		if m.to > n {
			still = append(still, span{max(m.from-n, 0), m.to - n})
		}
	}
	f.masks = still
}
