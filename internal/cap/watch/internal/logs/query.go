package logs

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"os"
	"slices"
	"time"
)

// Bounds of a question and of its answer.
const (
	MaxLimit   = 1000
	usualLimit = 100
)

// Query asks for lines. Its zero value asks for the newest.
type Query struct {
	Services []string  `json:"services,omitempty"` // none: of all
	Since    time.Time `json:"since,omitzero"`     // from then on
	Until    time.Time `json:"until,omitzero"`     // before
	Text     string    `json:"text,omitempty"`     // that hold this; the case of ASCII letters doesn't matter
	Regexp   string    `json:"regexp,omitempty"`   // that this finds something in: RE2, case matters
	Level    Level     `json:"level,omitempty"`    // that say they are as bad as this, or worse; gaps are
	Trace    string    `json:"trace,omitempty"`    // that hold this ID of 32 hex digits as a word
	Limit    int       `json:"limit,omitempty"`    // at most MaxLimit; 100 for 0
	Before   Cursor    `json:"before,omitzero"`    // go on where another answer ended
	After    uint64    `json:"after,omitempty"`    // that came after the line of this number
}

// Cursor is a place between lines: before the line of this time and number. The zero value is the end.
type Cursor struct {
	Time int64  `json:"time"` // µs since 1970
	Seq  uint64 `json:"seq"`
}

// Entry is a line that was found.
type Entry struct {
	Service string    `json:"service"`
	Replica int       `json:"replica"`
	Time    time.Time `json:"time"`
	Level   Level     `json:"level,omitempty"`
	Trace   string    `json:"trace,omitempty"` // that the line says it belongs to
	Text    string    `json:"text"`
	Seq     uint64    `json:"seq"` // its number; later lines have greater ones
}

// Unread is a part that is damaged.
type Unread struct {
	Service  string    `json:"service"`
	From, To time.Time // at most
}

// Result is an answer.
type Result struct {
	Entries []Entry `json:"entries"` // newest first
	// Next is where to go on; zero if this is all there is.
	Next Cursor `json:"next,omitzero"`
	// Unsearched, if not zero, is the time from which backwards nothing was looked at, because the context ended; Next goes on there.
	Unsearched time.Time `json:"unsearched,omitzero"`
	Unread     []Unread  `json:"unread,omitempty"`
	// Last is the number of the newest line that there was; see Query.After.
	Last uint64 `json:"last"`
	// Read and Skipped are how many blocks were decompressed, and how many their filters spared.
	Read    int `json:"read"`
	Skipped int `json:"skipped"`
}

// Search finds lines, the newest first. It reads a block after the other and no more than it needs; it isn't an error when ctx ends, see
// Result.Unsearched.
func (s *Store) Search(ctx context.Context, q Query) (Result, error) {
	m, err := newMatcher(q)
	if err != nil {
		return Result{}, err
	}
	places, last, err := s.places(m)
	defer func() {
		for _, p := range places {
			if p.head != nil {
				p.head.Close()
			}
		}
	}()
	if err != nil {
		return Result{}, err
	}
	slices.SortStableFunc(places, func(a, b place) int { return -cmp.Compare(a.last, b.last) })
	f := &search{store: s, matcher: m, result: Result{Last: last}}
	defer f.closeFile()
	for i := range places {
		p := &places[i]
		if f.isFull() && p.last < f.found[0].at {
			break
		}
		if ctx.Err() != nil || !f.look(ctx, p) {
			f.cutAt(p.last)
			break
		}
	}
	return f.finish(), nil
}

// place is a block, or a head as long as it was when the search began.
type place struct {
	summary
	service string
	block   *block
	head    *os.File
	size    int64
}

// places are those that can hold what is asked for.
func (s *Store) places(m *matcher) (out []place, last uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, sv := range s.services {
		if len(m.services) > 0 && !m.services[name] {
			continue
		}
		for _, g := range sv.segments {
			for _, k := range g.blocks {
				if m.mayBeIn(&k.summary) || k.bad.Load() && m.after == 0 && m.inTime(&k.summary) {
					out = append(out, place{summary: k.summary, service: name, block: k})
				}
			}
		}
		if h := sv.head; h != nil && h.lines > 0 && m.mayBeIn(&h.summary) {
			f, err := os.Open(h.f.Name()) // stays readable when it becomes a block meanwhile
			if err != nil {
				return out, 0, errors.Join(errors.New("read the head of logs"), err)
			}
			out = append(out, place{summary: h.summary, service: name, head: f, size: h.size})
		}
	}
	return out, s.next - 1, nil
}

// hit is a line that was found.
type hit struct {
	at  int64
	seq uint64
	Entry
}

func (h *hit) before(at int64, seq uint64) bool { return h.at < at || h.at == at && h.seq < seq }

// hits is a heap with the oldest on top.
type hits []hit

func (h hits) Len() int           { return len(h) }
func (h hits) Less(i, j int) bool { return h[i].before(h[j].at, h[j].seq) }
func (h hits) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *hits) Push(x any)        { *h = append(*h, x.(hit)) }
func (h *hits) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// search is one search under way.
type search struct {
	store   *Store
	matcher *matcher
	content content
	lines   []span
	found   hits
	more    bool // something was found that has no room
	result  Result
	file    *os.File // the segment that was read last
}

func (f *search) isFull() bool { return len(f.found) >= f.matcher.limit }

func (f *search) closeFile() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
}

// look searches a place, and tells whether it came to its end.
func (f *search) look(ctx context.Context, p *place) bool {
	if p.head != nil {
		b, err := readAt(p.head, 0, int(p.size))
		if err != nil {
			f.unread(p)
			return true
		}
		f.content.readHead(b)
		return f.match(ctx, p)
	}
	k := p.block
	if k.bad.Load() {
		f.unread(p)
		return true
	}
	if f.file == nil || f.file.Name() != k.path {
		f.closeFile()
		file, err := os.Open(k.path)
		if errors.Is(err, os.ErrNotExist) {
			return true // its time has come meanwhile
		}
		if err != nil {
			f.unread(p)
			return true
		}
		f.file = file
	}
	if len(f.matcher.keys) > 0 {
		x, err := k.filter(f.file)
		if err == nil && !x.mayHold(f.matcher.keys) {
			f.result.Skipped++
			return true
		} // a damaged filter skips nothing
	}
	f.result.Read++
	if err := k.read(f.file, f.store.decoder, &f.content); err != nil {
		if !k.bad.Swap(true) {
			f.store.mu.Lock()
			f.store.stats.Damaged++
			f.store.mu.Unlock()
		}
		f.unread(p)
		return true
	}
	return f.match(ctx, p)
}

func (f *search) unread(p *place) {
	f.result.Unread = append(f.result.Unread, Unread{p.service, time.UnixMicro(p.first).UTC(), time.UnixMicro(p.last).UTC()})
}

// match looks through what was read, the newest first.
func (f *search) match(ctx context.Context, p *place) bool {
	c, m := &f.content, f.matcher
	done := false
	f.lines, done = m.lines(ctx, c, f.lines[:0])
	for _, x := range slices.Backward(f.lines) {
		at, seq := c.at[x.line], c.seq[x.line]
		if f.isFull() {
			f.more = true
			if f.found[0].before(at, seq) {
				heap.Pop(&f.found)
			} else {
				continue
			}
		}
		text := string(c.text[x.from:x.to])
		heap.Push(&f.found, hit{at, seq, Entry{Service: p.service, Replica: c.replica[x.line], Time: time.UnixMicro(at).UTC(), Level: c.level[x.line], Trace: traceOf(text), Text: text, Seq: seq}})
	}
	return done
}

// cutAt says that from a time backwards not everything was looked at; what was found there comes again with the next question.
func (f *search) cutAt(t int64) {
	f.found = slices.DeleteFunc(f.found, func(h hit) bool { return h.at <= t })
	heap.Init(&f.found)
	f.more = false
	f.result.Unsearched = time.UnixMicro(t).UTC()
	f.result.Next = Cursor{Time: t + 1}
}

func (f *search) finish() Result {
	r := f.result
	slices.SortFunc(f.found, func(a, b hit) int { return cmp.Or(-cmp.Compare(a.at, b.at), -cmp.Compare(a.seq, b.seq)) })
	r.Entries = make([]Entry, len(f.found))
	for i := range f.found {
		r.Entries[i] = f.found[i].Entry
	}
	if n := len(f.found); r.Next == (Cursor{}) && n > 0 && (f.more || n == f.matcher.limit) {
		r.Next = Cursor{f.found[n-1].at, f.found[n-1].seq}
	}
	return r
}
