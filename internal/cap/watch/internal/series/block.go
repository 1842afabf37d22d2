package series

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
)

// A block is a file that is never changed:
//
//	header  magic, and as 32 bits each: length and CRC of the index, length and CRC of the data, CRC of the header
//	index   a byte 1 if the rows are hours; time of the row before the first (0 if none), how many rows, their times by deltas of deltas;
//	        how many series, how long the data of each; then their names in order, without what they share with the one before
//	data    of each series its columns: a counter's increases; a gauge's values, and in rows of an hour their least, greatest, mean and number
//
// Numbers are varints, times are milliseconds since 1970, and CRCs are Castagnoli's.
const (
	blockMagic = "WSB1"
	headerLen  = 24
	maxBlock   = 128 << 20 // bytes
	maxNames   = 1 << 16   // series in a block
)

// The columns of a rolled gauge.
const (
	least = iota
	greatest
	mean
	number
	rolledColumns
)

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// name is a series in a block.
type name struct {
	series string
	kind   Kind
}

// columns is how many a series of the kind has.
func (n name) columns(rolled bool) int {
	if rolled && n.kind == Gauge {
		return rolledColumns
	}
	return 1
}

// builder makes a block.
type builder struct {
	index, lengths, names, data []byte
	count                       uint64
	before                      string
}

func newBuilder(rolled bool, before int64, times []int64) *builder {
	w := &builder{index: []byte{0}}
	if rolled {
		w.index[0] = 1
	}
	w.index = binary.AppendVarint(w.index, before)
	w.index = binary.AppendUvarint(w.index, uint64(len(times)))
	var last, delta int64
	for _, t := range times {
		w.index = binary.AppendVarint(w.index, t-last-delta)
		last, delta = t, t-last
	}
	return w
}

// add adds a series; names come in ascending order.
func (w *builder) add(n name, columns ...[]int64) {
	shared := 0
	for shared < min(len(n.series), len(w.before)) && n.series[shared] == w.before[shared] {
		shared++
	}
	w.names = append(binary.AppendUvarint(w.names, uint64(shared)), byte(n.kind))
	w.names = append(binary.AppendUvarint(w.names, uint64(len(n.series)-shared)), n.series[shared:]...)
	w.before = n.series
	start := len(w.data)
	for _, c := range columns {
		w.data = appendColumn(w.data, c)
	}
	w.lengths = binary.AppendUvarint(w.lengths, uint64(len(w.data)-start))
	w.count++
}

func (w *builder) bytes() []byte {
	index := slices.Concat(binary.AppendUvarint(w.index, w.count), w.lengths, w.names)
	b := make([]byte, 0, headerLen+len(index)+len(w.data))
	b = append(b, blockMagic...)
	for _, x := range [...]uint32{uint32(len(index)), checksum(index), uint32(len(w.data)), checksum(w.data)} {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	b = binary.LittleEndian.AppendUint32(b, checksum(b))
	return append(append(b, index...), w.data...)
}

// index is a block's.
type index struct {
	rolled bool
	before int64
	times  []int64
	ends   []int // of the data of each series
	names  []byte
}

// readIndex decodes an index to data of the given length.
func readIndex(b []byte, data int) (x index, err error) {
	d := decoder{b: b}
	x.rolled = d.byte() == 1
	x.before = d.varint()
	rows := d.length(maxRows)
	var last, delta int64
	for range rows {
		delta += d.varint()
		last += delta
		x.times = append(x.times, last)
	}
	count := d.length(min(maxNames, len(b)))
	x.ends = make([]int, 0, count)
	end := 0
	for range count {
		end += d.length(data - end)
		x.ends = append(x.ends, end)
	}
	x.names = d.b
	if d.bad || end != data || len(x.times) == 0 || !slices.IsSorted(x.times) || x.times[0] <= 0 {
		return index{}, errDamaged
	}
	return x, nil
}

// readNames decodes the names of an index with count series.
func readNames(b []byte, count int) ([]name, error) {
	d := decoder{b: b}
	out := make([]name, 0, count)
	before := ""
	for range count {
		shared := d.length(len(before))
		kind := Kind(d.byte())
		rest := d.take(d.length(MaxName - shared))
		if d.bad || kind != Counter && kind != Gauge {
			return nil, errDamaged
		}
		n := name{before[:shared] + string(rest), kind}
		if n.series <= before {
			return nil, errDamaged
		}
		before, out = n.series, append(out, n)
	}
	if len(d.b) > 0 {
		return nil, errDamaged
	}
	return out, nil
}

// decoder reads numbers; after the first that isn't one, it is bad and gives zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.skip(n)
	return v
}

// length is a number from 0 to most.
func (d *decoder) length(most int) int {
	v := d.uvarint()
	if most < 0 || v > uint64(most) {
		d.skip(0)
		return 0
	}
	return int(v)
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.skip(0)
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.skip(0)
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) skip(n int) {
	if n <= 0 {
		d.bad, d.b = true, nil
		return
	}
	d.b = d.b[n:]
}

// block is what is known of a block's file. Its name says which samples it holds: <raw or day>-<from>-<to>-<first>-<last>.
type block struct {
	rolled      bool
	from, to    uint64 // numbers of the heads it was made of; the same if raw
	first, last int64  // ms: the time that it covers
	size        int64
	checked     atomic.Bool // its data's CRC was right
	bad         atomic.Bool
}

func (b *block) file() string {
	kind := "raw"
	if b.rolled {
		kind = "day"
	}
	return fmt.Sprintf("%s-%d-%d-%d-%d", kind, b.from, b.to, b.first, b.last)
}

// blockOf reads a file's name; nil if it is no block's.
func blockOf(file string) *block {
	b := &block{}
	kind, rest, _ := strings.Cut(file, "-")
	b.rolled = kind == "day"
	if _, err := fmt.Sscanf(rest, "%d-%d-%d-%d", &b.from, &b.to, &b.first, &b.last); err != nil || b.file() != file || b.from > b.to || b.first < 0 || b.first > b.last {
		return nil
	}
	return b
}

// opened is a block that is being read.
type opened struct {
	index
	f    *os.File
	at   int64  // where the data begin in the file
	data []byte // from from on
	from int
	room *room
}

// room is memory that one block after the other is read into.
type room struct{ index, data []byte }

// grow makes b n bytes long; what was in it is lost.
func grow(b *[]byte, n int) []byte {
	if cap(*b) < n {
		*b = make([]byte, n+n/8)
	}
	return (*b)[:n]
}

// open reads a block's index, and the first time all of it. What comes of it is in r, and good until r is used again.
func (b *block) open(dir string, r *room) (*opened, error) {
	f, err := os.Open(filepath.Join(dir, b.file()))
	if err != nil {
		return nil, err
	}
	o := &opened{f: f, room: r}
	if err := o.read(b); err != nil {
		f.Close()
		return nil, err
	}
	return o, nil
}

func (o *opened) read(b *block) error {
	var h [headerLen]byte
	if _, err := io.ReadFull(o.f, h[:]); err != nil {
		return short(err)
	}
	field := func(i int) uint32 { return binary.LittleEndian.Uint32(h[4*i:]) }
	indexLen, dataLen := int64(field(1)), int64(field(3))
	o.at = headerLen + indexLen
	if string(h[:4]) != blockMagic || field(5) != checksum(h[:20]) || b.size > maxBlock || o.at+dataLen != b.size {
		return errDamaged
	}
	read := indexLen
	if !b.checked.Load() {
		read += dataLen
	}
	all := grow(&o.room.index, int(read))
	if _, err := io.ReadFull(o.f, all); err != nil {
		return short(err)
	}
	if checksum(all[:indexLen]) != field(2) || read > indexLen && checksum(all[indexLen:]) != field(4) {
		return errDamaged
	}
	var err error
	if o.index, err = readIndex(all[:indexLen], int(dataLen)); err != nil {
		return err
	}
	if o.rolled != b.rolled {
		return errDamaged
	}
	o.data = all[indexLen:]
	b.checked.Store(true)
	return nil
}

func short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errDamaged
	}
	return err
}

// load brings the data of the series from lo to hi, both included.
func (o *opened) load(lo, hi int) error {
	if len(o.data) > 0 || len(o.ends) == 0 {
		return nil
	}
	o.from = o.start(lo)
	o.data = grow(&o.room.data, o.ends[hi]-o.from)
	_, err := o.f.ReadAt(o.data, o.at+int64(o.from))
	return short(err)
}

func (o *opened) start(i int) int {
	if i == 0 {
		return 0
	}
	return o.ends[i-1]
}

// columns decodes the columns of a series that is loaded, as many as into has.
func (o *opened) columns(i int, into [][]int64) (err error) {
	b := o.data[o.start(i)-o.from:] // decoding is faster with bytes behind it
	rest := len(b) - (o.ends[i] - o.start(i))
	for _, c := range into {
		if b, err = readColumn(b, c); err != nil {
			return err
		}
	}
	if len(b) != rest {
		return errDamaged
	}
	return nil
}

func (o *opened) close() { o.f.Close() }
