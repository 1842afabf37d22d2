package series

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"
)

func byNumber(a, b *block) int {
	switch {
	case a.rolled == b.rolled:
		return cmp.Compare(a.from, b.from)
	case a.rolled:
		return 1
	}
	return -1
}

// with is a copy of sorted blocks with one more.
func with(blocks []*block, more *block) []*block {
	i, _ := slices.BinarySearchFunc(blocks, more, byNumber)
	return slices.Insert(slices.Clone(blocks), i, more)
}

// split parts blocks that are sorted by number.
func split(blocks []*block) (raw, rolled []*block) {
	i, _ := slices.BinarySearchFunc(blocks, true, func(b *block, _ bool) int {
		if b.rolled {
			return 0
		}
		return -1
	})
	return blocks[:i], blocks[i:]
}

// covering is the rolled block that raw was made part of, or nil.
func covering(rolled []*block, raw *block) *block {
	for i := len(rolled) - 1; i >= 0; i-- {
		if rolled[i].from <= raw.from && raw.from <= rolled[i].to {
			return rolled[i]
		}
	}
	return nil
}

func (s *Store) known() []*block {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.blocks
}

// Compact rolls up the days that are over and deletes what is older than the Limits say. It is for the owner to call, about once an hour; what
// one call can't do the next one does. Queries don't wait for it but while files are deleted; Append does. It believes the clock: one that is
// ahead by Raw deletes all samples.
func (s *Store) Compact(now time.Time) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	t := now.UnixMilli()
	if s.log.closed || t <= 0 {
		return nil
	}
	err := s.roll(t)
	raw, rolled := split(s.known())
	var old []*block
	for _, b := range raw {
		if b.last < t-s.limits.Raw.Milliseconds() && (b.bad.Load() || covering(rolled, b) != nil) {
			old = append(old, b)
		}
	}
	for _, b := range rolled {
		if b.last < t-s.limits.Rolled.Milliseconds() {
			old = append(old, b)
		}
	}
	if err = errors.Join(err, s.remove(old...), s.evict(0, t)); err != nil {
		return fmt.Errorf("compact history: %w", err)
	}
	return nil
}

// evict deletes the oldest blocks until there is room for more bytes. What lies in the future was written by a wrong clock, and goes first.
func (s *Store) evict(more, now int64) error {
	blocks := slices.Clone(s.known())
	total := more + s.log.at
	for _, b := range blocks {
		total += b.size
	}
	if total <= s.limits.Disk {
		return nil
	}
	slices.SortFunc(blocks, func(a, b *block) int {
		return cmp.Or(-boolCompare(a.first > now+day, b.first > now+day), cmp.Compare(a.last, b.last), byNumber(a, b))
	})
	var gone []*block
	for _, b := range blocks {
		if total <= s.limits.Disk || more == 0 && len(gone) == len(blocks)-1 {
			break
		}
		gone = append(gone, b)
		total -= b.size
	}
	s.count(func(c *Stats) { c.Evicted += uint64(len(gone)) })
	return s.remove(gone...)
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// roll makes blocks of hours of the raw blocks whose day is over.
func (s *Store) roll(now int64) error {
	for {
		group := s.group(now)
		if len(group) == 0 {
			return nil
		}
		h := hours{by: map[name][]cell{}, limit: 4 * s.limits.Series}
		for i, b := range group {
			fits, err := h.take(s.dir, b)
			if err != nil && !isDamage(err) {
				return err
			}
			if err != nil {
				b.bad.Store(true)
			}
			if err != nil || !fits {
				group = group[:i]
				break
			}
		}
		if len(group) == 0 {
			continue // the first one is damaged, and no longer in the next group
		}
		b, made := h.block()
		made.from, made.to = group[0].from, group[len(group)-1].to
		if err := s.evict(made.size, now); err != nil {
			return err
		}
		if err := s.writeFile(made.file(), b); err != nil {
			return err
		}
		s.mu.Lock()
		s.blocks = with(s.blocks, made)
		s.mu.Unlock()
	}
}

func isDamage(err error) bool { return errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist) }

// group is the next blocks to roll up together: of one day, which is over, with numbers that follow each other.
func (s *Store) group(now int64) (out []*block) {
	raw, rolled := split(s.known())
	dayOf := func(b *block) int64 { return hourOf(b.last) / 24 }
	for _, b := range raw {
		n := len(out)
		switch {
		case b.bad.Load() || covering(rolled, b) != nil:
			if n > 0 {
				return out
			}
		case n > 0 && (dayOf(b) != dayOf(out[0]) || b.from != out[n-1].from+1):
			return out
		default:
			out = append(out, b)
		}
	}
	if len(out) > 0 && dayOf(out[0]) == hourOf(now)/24 {
		return nil
	}
	return out
}

// cell is an hour of a series.
type cell struct {
	hour  int64
	sum   float64
	total int64 // of a counter
	min   int64
	max   int64
	n     int64
}

// hours are what blocks roll up to.
type hours struct {
	by    map[name][]cell
	limit int // series
	rows  []int64
	room  room
}

// take adds a raw block. If it doesn't fit beside those before, nothing is added.
func (h *hours) take(dir string, b *block) (fits bool, err error) {
	o, err := b.open(dir, &h.room)
	if err != nil {
		return false, err
	}
	defer o.close()
	names, err := readNames(o.names, len(o.ends))
	if err != nil {
		return false, err
	}
	of := make([]int64, len(o.times))
	rows := slices.Clone(h.rows)
	for i, t := range o.times {
		of[i] = hourOf(t)
		rows = append(rows, of[i])
	}
	slices.Sort(rows)
	if rows = slices.Compact(rows); len(h.by) > 0 && (len(h.by)+len(names) > h.limit && h.more(names) > h.limit || len(rows) > maxRows) {
		return false, nil
	}
	if err := o.load(0, len(names)-1); err != nil {
		return false, err
	}
	values := [][]int64{make([]int64, len(o.times))}
	for i := range names { // all of them once before the first is taken: a damaged block adds nothing
		if err := o.columns(i, values); err != nil {
			return false, err
		}
	}
	h.rows = rows
	for i, n := range names {
		_ = o.columns(i, values)
		h.by[n] = rollUp(h.by[n], of, values[0])
	}
	return true, nil
}

// more is how many series there were with these.
func (h *hours) more(names []name) int {
	n := len(h.by)
	for _, x := range names {
		if _, ok := h.by[x]; !ok {
			n++
		}
	}
	return n
}

func rollUp(cells []cell, of, values []int64) []cell {
	if cells == nil {
		cells = make([]cell, 0, 24)
	}
	at := -1
	for i, v := range values {
		if v == absent {
			continue
		}
		if at < 0 || cells[at].hour != of[i] {
			if at = slices.IndexFunc(cells, func(c cell) bool { return c.hour == of[i] }); at < 0 {
				at = len(cells)
				cells = append(cells, cell{hour: of[i], min: v, max: v})
			}
		}
		c := &cells[at]
		c.total += v
		c.sum += float64(v)
		c.min, c.max = min(c.min, v), max(c.max, v)
		c.n++
	}
	return cells
}

// block encodes the hours.
func (h *hours) block() ([]byte, *block) {
	times, place := make([]int64, len(h.rows)), make(map[int64]int, len(h.rows))
	for i, x := range h.rows {
		times[i], place[x] = (x+1)*hour, i
	}
	w := newBuilder(true, times[0]-hour, times)
	names := slices.SortedFunc(maps.Keys(h.by), func(a, b name) int { return cmp.Compare(a.series, b.series) })
	var before string
	for _, n := range names {
		if n.series == before {
			continue // two kinds of one name: a program that changed its mind; the first is kept
		}
		before = n.series
		columns := make([][]int64, n.columns(true))
		for i := range columns {
			columns[i] = slices.Repeat([]int64{absent}, len(times))
		}
		for _, c := range h.by[n] {
			at := place[c.hour]
			if n.kind == Counter {
				columns[0][at] = c.total
				continue
			}
			columns[least][at], columns[greatest][at] = c.min, c.max
			columns[mean][at], columns[number][at] = int64(c.sum/float64(c.n)), c.n
		}
		w.add(n, columns...)
	}
	b := w.bytes()
	return b, &block{rolled: true, first: times[0] - hour + 1, last: times[len(times)-1], size: int64(len(b))}
}
