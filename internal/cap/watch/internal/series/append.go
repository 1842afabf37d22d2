package series

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
)

const (
	hour = int64(time.Hour / time.Millisecond)
	day  = 24 * hour
	// syncEvery is how much a power cut may take.
	syncEvery = time.Minute
)

// hourOf is the hour that a row at t ends in or at whose end it is: a row tells of the time before it.
func hourOf(t int64) int64 { return (t - 1) / hour }

// Append keeps one sample of all series at the time now. A point that can't be kept is refused and counted, the others are kept. A sample
// that isn't later than the one before is dropped; so is, after an error, one that couldn't be written: the next one counts what counters
// missed. (An error may also be of an hour that can't be made a block yet, while the sample is kept: Stats.Dropped tells.) If the clock was set
// back by an hour or more, history goes on at the new time beside what is there.
func (s *Store) Append(now time.Time, points []Point) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	t := now.UnixMilli()
	if t <= 0 || s.log.closed {
		return fault.New(fault.Invalid, "history is closed, or the clock shows a time before 1970")
	}
	h := &s.head
	last := h.last()
	back := t <= last-hour
	if t <= last && !back {
		s.count(func(c *Stats) { c.Late += uint64(len(points)) })
		return nil
	}
	var sealed error
	if n := len(h.times); n > 0 && (back || hourOf(t) != hourOf(h.times[0]) || n >= maxRows) {
		if sealed = s.seal(); sealed != nil && (back || n >= maxRows) {
			return s.drop(points, sealed)
		}
	}
	if back { // the head is empty: its log begins anew at the earlier time
		s.mu.Lock()
		h.before = 0
		s.mu.Unlock()
		s.forgetLog()
	}
	if s.log.f == nil {
		if err := s.begin(); err != nil {
			return s.drop(points, err)
		}
	}
	if err := s.write(now, points); err != nil {
		return s.drop(points, err)
	}
	if sealed != nil {
		return fmt.Errorf("seal history: %w", sealed)
	}
	return nil
}

func (s *Store) count(f func(*Stats)) {
	s.mu.Lock()
	f(&s.stats)
	s.mu.Unlock()
}

func (s *Store) drop(points []Point, err error) error {
	s.count(func(c *Stats) { c.Dropped += uint64(len(points)) })
	return fmt.Errorf("append to history: %w", err)
}

// write writes a sample to the log, and only then to memory: the log says no less than memory, ever.
func (s *Store) write(now time.Time, points []Point) error {
	h, t := &s.head, now.UnixMilli()
	s.mu.Lock()
	known := len(h.order)
	moves, record, refused := h.plan(t, points, s.limits.Series)
	s.stats.Refused += refused
	s.mu.Unlock()
	_, err := s.log.f.WriteAt(record, s.log.at)
	if err == nil && (now.Sub(s.log.synced) >= syncEvery || now.Before(s.log.synced)) {
		err = s.log.f.Sync()
		s.log.synced = now
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		h.forget(known) // and the next record is written over this one
		return err
	}
	s.log.at += int64(len(record))
	h.bytes = s.log.at
	h.times = append(h.times, t)
	for _, m := range moves {
		h.add(m.c, m.value, m.last)
	}
	return nil
}

// plan is what a sample does, and its record. Series that are new are live already.
func (h *head) plan(t int64, points []Point, limit int) (moves []move, record []byte, refused uint64) {
	moves = make([]move, 0, len(points))
	b := make([]byte, 0, len(points)*4)
	seen := make([]bool, limit)
	next := 0
	for i := range points {
		p := &points[i]
		last, ok := p.stored()
		c := h.by[p.Series]
		switch {
		case !ok, p.Series == "" || len(p.Series) > MaxName, c == nil && len(h.order) >= limit,
			c != nil && (c.kind != p.Kind || c.number >= limit || seen[c.number]):
			refused++
			continue
		}
		fresh := c == nil
		if fresh {
			c = h.register(name{p.Series, p.Kind})
		}
		seen[c.number] = true
		b = binary.AppendVarint(b, int64(c.number-next))
		if fresh {
			b = appendName(b, c.name)
		}
		m := move{c, last, last}
		if c.kind == Gauge {
			b = binary.AppendVarint(b, last-c.last)
		} else {
			m.value = increase(c, last, p.Zero, t)
			if c.last+m.value == last {
				b = binary.AppendUvarint(b, uint64(m.value)<<1)
			} else {
				b = binary.AppendVarint(binary.AppendUvarint(b, uint64(m.value)<<1|1), last)
			}
		}
		moves, next = append(moves, m), c.number+1
	}
	record = append(make([]byte, recordHeader, recordHeader+20+len(b)), row)
	record = binary.AppendUvarint(binary.AppendVarint(record, t), uint64(len(moves)))
	return moves, seal(append(record, b...)), refused
}

// increase is what a counter counted since its last sample.
func increase(c *column, value int64, zero time.Time, t int64) int64 {
	known := !zero.IsZero()
	switch z := zero.UnixMilli(); {
	case c.at == 0 && known && z > t-hour && z <= t, c.at > 0 && known && z > c.at && z <= t:
		return value
	case c.at == 0:
		return 0
	case value < c.last:
		return value
	}
	return value - c.last
}

// seal makes a block of the head, and begins the next one. After an error the head is as it was, or its log has still to be begun.
func (s *Store) seal() error {
	b := s.head.encode()
	made := &block{from: s.head.seq, to: s.head.seq, first: s.head.times[0], last: s.head.last(), size: int64(len(b))}
	if s.head.before > 0 {
		made.first = max(s.head.before+1, made.first-hour) // its first row tells of the time since
	}
	_ = s.evict(made.size, made.last) // a file that stays is no reason to lose an hour
	if err := s.writeFile(made.file(), b); err != nil {
		return err
	}
	s.mu.Lock()
	s.blocks = with(s.blocks, made)
	s.head = s.head.next()
	s.mu.Unlock()
	s.forgetLog()
	return s.begin()
}

// forgetLog ends the log, so that the next sample begins another.
func (s *Store) forgetLog() {
	if s.log.f != nil {
		_ = s.log.f.Close() // all of it is in a block
		s.log.f = nil
	}
}

// remove deletes blocks. One whose file stays is found again by the next Open.
func (s *Store) remove(gone ...*block) error {
	if len(gone) == 0 {
		return nil
	}
	drop := make(map[*block]bool, len(gone))
	for _, b := range gone {
		drop[b] = true
	}
	s.files.Lock()
	defer s.files.Unlock()
	s.mu.Lock()
	kept := make([]*block, 0, len(s.blocks))
	for _, b := range s.blocks {
		if !drop[b] {
			kept = append(kept, b)
		}
	}
	s.blocks = kept
	s.mu.Unlock()
	var first error
	for _, b := range gone {
		if err := os.Remove(filepath.Join(s.dir, b.file())); err != nil && first == nil && !os.IsNotExist(err) {
			first = err
		}
	}
	return first
}
