package search

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/wardhq/ward/internal/ledger"
)

// index says of each block of a segment what it may hold.
type index struct {
	first, bytes int64
	blocks       []block
	parties      map[who][]uint64 // by party, the blocks that tell of it, a bit each
	others       []uint64         // blocks with parties beyond maxParties
}

// block is 256 records.
type block struct {
	at         int64 // byte
	start, end int64 // Unix time, ns, of its oldest and newest record
	ids        [bloomWords]uint64
}

// Limits of an index.
const (
	maxParties = 4096      // that are told apart
	maxBlocks  = 1 << 20   // 256 million records
	maxIndex   = 768 << 20 // bytes
	maxName    = ledger.MaxRecord
	magic      = "ward-ledger-index-1\n"
	macSize    = 32
)

// bloomWords make 4,096 bits for the identifiers of a block: of two in each record, one strange one in a hundred is looked for in vain.
const bloomWords = 64

// bits of an identifier, by FNV-1a: equal in every process.
func bits(id string) (out [4]uint64) {
	h := uint64(14695981039346656037)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	for i := range out {
		h = (h ^ h>>29) * 0xbf58476d1ce4e5b9
		out[i] = h >> 52
	}
	return out
}

func (b *block) add(id string) {
	for _, bit := range bits(id) {
		b.ids[bit/64] |= 1 << (bit % 64)
	}
}

func (b *block) mayHave(id string) bool {
	for _, bit := range bits(id) {
		if b.ids[bit/64]&(1<<(bit%64)) == 0 {
			return false
		}
	}
	return true
}

// build reads a segment.
func build(p *ledger.Part) (*index, error) {
	f, err := os.Open(p.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	x := &index{first: p.First, bytes: p.Bytes, parties: map[who][]uint64{}}
	r := bufio.NewReaderSize(io.LimitReader(f, p.Bytes), ledger.MaxRecord+1)
	at := int64(0)
	for n := p.First; n < p.End; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, fmt.Errorf("index record %d: %w", n, err)
		}
		if (n-p.First)%ledger.BlockRecords == 0 {
			x.blocks = append(x.blocks, block{at: at, start: math.MaxInt64, end: math.MinInt64})
		}
		at += int64(len(line))
		x.add(line)
	}
	words := (len(x.blocks) + 63) / 64
	for w, set := range x.parties {
		x.parties[w] = append(set, make([]uint64, words-len(set))...)
	}
	x.others = append(x.others, make([]uint64, words-len(x.others))...)
	return x, nil
}

// add takes a record into the last block.
func (x *index) add(line []byte) {
	n := len(x.blocks) - 1
	b := &x.blocks[n]
	h, plain := readHead(line)
	ids := [2]string{}
	switch {
	case plain && bytes.Contains(line, []byte(`\`)):
		plain = false
	case plain:
		ids = [2]string{value(line, `"id":"`), value(line, `"trace":"`)}
	}
	if !plain {
		var r ledger.Record
		if json.Unmarshal(line, &r) != nil {
			x.others = set(x.others, n) // whoever searches reads it, and says so
			b.start, b.end = math.MinInt64, math.MaxInt64
			return
		}
		h = head{who{r.Kind, r.Subject, r.Object}, r.Time}
		ids = [2]string{r.Detail["id"], r.Detail["trace"]}
	}
	t := nanos(h.time)
	b.start, b.end = min(b.start, t), max(b.end, t)
	for _, id := range ids {
		if id != "" {
			b.add(id)
		}
	}
	if _, known := x.parties[h.who]; !known && len(x.parties) >= maxParties {
		x.others = set(x.others, n)
		return
	}
	x.parties[h.who] = set(x.parties[h.who], n)
}

// value is the first string after a key in a line without escapes; "" for none. It may be another's that is called so too: then an index
// says more than there is.
func value(line []byte, key string) string {
	_, rest, ok := bytes.Cut(line, []byte(key))
	if !ok {
		return ""
	}
	end := bytes.IndexByte(rest, '"')
	return string(rest[:max(end, 0)])
}

// nanos is t in Unix time; what int64 can't hold is put at its ends.
func nanos(t time.Time) int64 {
	switch {
	case t.Year() < 1700:
		return math.MinInt64
	case t.Year() > 2200:
		return math.MaxInt64
	}
	return t.UnixNano()
}

func set(bits []uint64, n int) []uint64 {
	for len(bits) <= n/64 {
		bits = append(bits, 0)
	}
	bits[n/64] |= 1 << (n % 64)
	return bits
}

// wanted are the blocks that may hold what a query wants.
func (x *index) wanted(q *Query) []bool {
	found := append([]uint64(nil), x.others...)
	for w, blocks := range x.parties {
		if q.matchWho(w) {
			for i := range blocks {
				found[i] |= blocks[i]
			}
		}
	}
	since, until := int64(math.MinInt64), int64(math.MaxInt64)
	if !q.Since.IsZero() {
		since = nanos(q.Since)
	}
	if !q.Until.IsZero() {
		until = nanos(q.Until)
	}
	out := make([]bool, len(x.blocks))
	for i := range x.blocks {
		b := &x.blocks[i]
		last := x.first + int64(i+1)*ledger.BlockRecords - 1
		out[i] = found[i/64]&(1<<(i%64)) != 0 && b.end >= since && b.start <= until && last >= q.From && (q.ID == "" || b.mayHave(q.ID))
	}
	return out
}

// marshal writes an index, sealed.
func (x *index) marshal(mac func([]byte) []byte) []byte {
	b := []byte(magic)
	b = binary.AppendVarint(binary.AppendVarint(b, x.first), x.bytes)
	b = binary.AppendUvarint(b, uint64(len(x.blocks)))
	for i := range x.blocks {
		k := &x.blocks[i]
		b = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(b, k.at), k.start), k.end)
		for _, w := range k.ids {
			b = binary.LittleEndian.AppendUint64(b, w)
		}
	}
	words := func(set []uint64) {
		for _, w := range set {
			b = binary.LittleEndian.AppendUint64(b, w)
		}
	}
	words(x.others)
	b = binary.AppendUvarint(b, uint64(len(x.parties)))
	for w, set := range x.parties {
		for _, s := range []string{w.kind, w.subject, w.object} {
			b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
		}
		words(set)
	}
	return append(b, mac(b)...)
}

var errIndex = errors.New("not an index of this segment")

// parse reads an index of a segment; one that another wrote, or that is of another state of the segment, is an error.
func parse(b []byte, p *ledger.Part, mac func([]byte) []byte) (*index, error) {
	if len(b) < len(magic)+macSize || string(b[:len(magic)]) != magic {
		return nil, errIndex
	}
	body := b[:len(b)-macSize]
	if !hmac.Equal(mac(body), b[len(body):]) {
		return nil, errIndex
	}
	r := reader{b: body[len(magic):]}
	x := &index{first: r.int(), bytes: r.int(), parties: map[who][]uint64{}}
	if x.first != p.First || x.bytes != p.Bytes {
		return nil, errIndex
	}
	x.blocks = make([]block, r.count(maxBlocks, 3+8*bloomWords))
	for i := range x.blocks {
		k := &x.blocks[i]
		k.at, k.start, k.end = r.int(), r.int(), r.int()
		copy(k.ids[:], r.words(bloomWords))
	}
	words := (len(x.blocks) + 63) / 64
	x.others = r.words(words)
	for range r.count(maxParties, 3) {
		w := who{r.text(), r.text(), r.text()}
		x.parties[w] = r.words(words)
	}
	if r.bad || len(r.b) > 0 || int64(len(x.blocks)) != (p.End-p.First+ledger.BlockRecords-1)/ledger.BlockRecords {
		return nil, errIndex
	}
	return x, nil
}

// reader takes an index apart; after a failure it returns zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() { r.b, r.bad = nil, true }

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count is a number of things of at least so many bytes each.
func (r *reader) count(most, size int) int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > uint64(most) || v*uint64(size) > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *reader) words(n int) []uint64 {
	out := make([]uint64, n)
	if len(r.b) < 8*n {
		r.fail()
		return out
	}
	for i := range out {
		out[i] = binary.LittleEndian.Uint64(r.b[8*i:])
	}
	r.b = r.b[8*n:]
	return out
}

func (r *reader) text() string {
	n := r.count(maxName, 1)
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}
