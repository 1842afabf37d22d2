package series

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The log is the file head: records of length and CRC, 32 bits each, and
//
//	opening  a byte 0, the head's number, the time of the last row before it, how many series, and of each: kind, name, last value and its time
//	row      a byte 1, its time, how many points, and of each: how far its series' number is from the one after the point before; a series
//	         that is new (its number is that of none yet) tells kind and name; a gauge's change; a counter's increase, doubled, and one more
//	         if its value isn't the last and the increase together: then its value
//
// A number is a varint. A series' number is its place in order of appearance.
const (
	logName   = "head"
	opening   = 0
	row       = 1
	maxRecord = 16 << 20
	maxLog    = 256 << 20
)

// column is a live series.
type column struct {
	name
	number int
	last   int64   // as Append was given it
	at     int64   // ms of last
	from   int     // the row of values[0]
	values []int64 // a counter's increases, a gauge's values; from is the row after the last if there are none
}

// head is what isn't in a block yet.
type head struct {
	seq    uint64 // the number of the block that it will be
	before int64  // ms: the row before the first
	times  []int64
	order  []*column
	by     map[string]*column
	bytes  int64 // of the log
}

// last is the time of the last row; 0 if there never was one.
func (h *head) last() int64 {
	if n := len(h.times); n > 0 {
		return h.times[n-1]
	}
	return h.before
}

// next is the head after a block was made of h: it knows the series of h that had samples, so that counters go on.
func (h *head) next() head {
	n := head{seq: h.seq + 1, before: h.last(), by: make(map[string]*column, len(h.order))}
	for _, c := range h.order {
		if len(h.times) > 0 && len(c.values) == 0 {
			continue
		}
		kept := &column{name: c.name, number: len(n.order), last: c.last, at: c.at}
		n.order = append(n.order, kept)
		n.by[c.series] = kept
	}
	return n
}

// add adds a value in the last row.
func (h *head) add(c *column, value, last int64) {
	at := len(h.times) - 1
	if len(c.values) == 0 {
		c.from = at
	}
	for c.from+len(c.values) < at {
		c.values = append(c.values, absent)
	}
	c.values = append(c.values, value)
	c.last, c.at = last, h.times[at]
}

// copy writes a series' rows to into, which has a place for each.
func (h *head) copy(c *column, into []int64) {
	for i := range into {
		into[i] = absent
	}
	if len(c.values) > 0 {
		copy(into[c.from:], c.values)
	}
}

// register makes a series live.
func (h *head) register(n name) *column {
	n.series = strings.Clone(n.series) // the caller's may be part of something large
	c := &column{name: n, number: len(h.order)}
	h.order = append(h.order, c)
	h.by[n.series] = c
	return c
}

// forget undoes register for all series from number n on.
func (h *head) forget(n int) {
	for _, c := range h.order[n:] {
		delete(h.by, c.series)
	}
	h.order = h.order[:n]
}

// encode makes the block of h.
func (h *head) encode() []byte {
	w := newBuilder(false, h.before, h.times)
	sorted := slices.Clone(h.order)
	slices.SortFunc(sorted, func(a, b *column) int { return strings.Compare(a.series, b.series) })
	rows := make([]int64, len(h.times))
	for _, c := range sorted {
		if len(c.values) == 0 {
			continue
		}
		h.copy(c, rows)
		w.add(c.name, rows)
	}
	return w.bytes()
}

// opening is the record that a log begins with.
func (h *head) opening() []byte {
	b := append(make([]byte, recordHeader), opening)
	b = binary.AppendVarint(binary.AppendUvarint(b, h.seq), h.before)
	b = binary.AppendUvarint(b, uint64(len(h.order)))
	for _, c := range h.order {
		b = binary.AppendVarint(appendName(b, c.name), c.last)
		b = binary.AppendVarint(b, c.at)
	}
	return seal(b)
}

func appendName(b []byte, n name) []byte {
	return append(binary.AppendUvarint(append(b, byte(n.kind)), uint64(len(n.series))), n.series...)
}

// recordHeader is the room for a record's length and CRC.
const recordHeader = 8

// seal fills in a record's header.
func seal(b []byte) []byte {
	binary.LittleEndian.PutUint32(b, uint32(len(b)-recordHeader))
	binary.LittleEndian.PutUint32(b[4:], checksum(b[recordHeader:]))
	return b
}

// replay reads a log as far as it is whole; good is where that ends. A head of number 0 means that not even the opening is.
func replay(b []byte, limit int) (h head, good int) {
	h.by = map[string]*column{}
	for len(b)-good >= recordHeader {
		n := int(binary.LittleEndian.Uint32(b[good:]))
		if n > maxRecord || n > len(b)-good-recordHeader {
			break
		}
		record := b[good+recordHeader:][:n]
		if checksum(record) != binary.LittleEndian.Uint32(b[good+4:]) || !h.apply(record, limit) {
			break
		}
		good += recordHeader + n
	}
	return h, good
}

// apply reads one record, and says whether it was one. After a false h is of no more use than its rows before.
func (h *head) apply(record []byte, limit int) bool {
	d := decoder{b: record}
	switch t := d.byte(); {
	case t == opening && h.seq == 0:
		h.seq, h.before = d.uvarint(), d.varint()
		for range d.length(min(limit, len(record))) {
			n := d.name()
			last, at := d.varint(), d.varint()
			if d.bad || h.by[n.series] != nil {
				h.seq = 0
				return false
			}
			c := h.register(n)
			c.last, c.at = last, at
		}
		if d.bad || len(d.b) > 0 {
			h.seq = 0
		}
		return h.seq > 0
	case t == row && h.seq > 0 && len(h.times) < maxRows:
		known := len(h.order)
		at, moves := d.row(h, limit)
		if d.bad || at <= h.last() {
			h.forget(known)
			return false
		}
		h.times = append(h.times, at)
		for _, m := range moves {
			h.add(m.c, m.value, m.last)
		}
		return true
	}
	return false
}

func (d *decoder) name() name {
	kind := Kind(d.byte())
	n := name{string(d.take(d.length(MaxName))), kind}
	if n.series == "" || kind != Counter && kind != Gauge {
		d.skip(0)
	}
	return n
}

// move is what a sample does to a series.
type move struct {
	c           *column
	value, last int64 // for its row; as it was given
}

// row reads a row's record behind its first byte, and makes new series live.
func (d *decoder) row(h *head, limit int) (at int64, moves []move) {
	at = d.varint()
	count := d.length(min(limit, len(d.b)))
	moves = make([]move, 0, count)
	seen := make([]bool, limit)
	next := 0
	for range count {
		number := next + int(d.varint())
		if number == len(h.order) && number < limit {
			n := d.name()
			if d.bad || h.by[n.series] != nil {
				d.skip(0)
				return 0, nil
			}
			h.register(n)
		}
		if d.bad || number < 0 || number >= len(h.order) || seen[number] {
			d.skip(0)
			return 0, nil
		}
		seen[number] = true
		m := move{c: h.order[number]}
		if m.c.kind == Gauge {
			m.last = m.c.last + d.varint()
			m.value = m.last
		} else {
			u := d.uvarint()
			m.value = int64(u >> 1)
			m.last = m.c.last + m.value
			if u&1 == 1 {
				m.last = d.varint()
			}
		}
		if m.value == absent {
			d.skip(0)
		}
		moves, next = append(moves, m), number+1
	}
	if len(d.b) > 0 {
		d.skip(0)
	}
	return at, moves
}

// logFile is the log that is being written.
type logFile struct {
	f      *os.File // nil if it has still to be begun
	at     int64    // where the next record goes
	synced time.Time
	closed bool
}

// resume reads the log. What a crash left behind its last whole record is cut; if a block was made of it already, only its counters' last
// values are of use.
func (s *Store) resume() error {
	path := filepath.Join(s.dir, logName)
	b, err := readBounded(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var newest uint64
	for _, b := range s.blocks {
		newest = max(newest, b.to)
	}
	h, good := replay(b, mostSeries)
	s.stats.Cut = int64(len(b) - good)
	s.head = h
	switch {
	case h.seq == 0:
		s.head = head{seq: newest + 1, by: map[string]*column{}}
		return nil // begun with the first sample
	case h.seq <= newest:
		h.seq = newest
		s.head = h.next()
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Truncate(int64(good)); err != nil {
		return errors.Join(err, f.Close())
	}
	s.log.f, s.log.at, s.head.bytes = f, int64(good), int64(good)
	return nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxLog))
}

// begin starts the head's log.
func (s *Store) begin() error {
	b := s.head.opening()
	if err := s.writeFile(logName, b); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(s.dir, logName), os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	s.log.f, s.log.at = f, int64(len(b))
	s.mu.Lock()
	s.head.bytes = s.log.at
	s.mu.Unlock()
	return nil
}

// counterBound is what a float64 counts exactly.
const counterBound = 1 << 53

// gaugeUnit is what a gauge is kept in.
const gaugeUnit = 1e6

// gaugeBound in units fits an int64.
const gaugeBound = 9e12

// stored is a point's value as it is kept, and whether it can be.
func (p *Point) stored() (int64, bool) {
	switch {
	case p.Kind == Counter && p.Value >= 0 && p.Value <= counterBound:
		return int64(p.Value), true
	case p.Kind == Gauge && math.Abs(p.Value) <= gaugeBound:
		return int64(math.Round(p.Value * gaugeUnit)), true
	}
	return 0, false // NaN too
}
