package logs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// A segment is a file of blocks of one service. A block is
//
//	header  magic, CRC of the rest of the header; lengths of filter, columns and text, of the latter two also when decompressed; CRC of the
//	        filter, and of columns and text; how many lines, their levels: 32 bits each; least and greatest time, first and last number: 64
//	filter  see filter
//	columns of each line, in Zstandard: time and number as in a head, level, replica
//	text    the lines with their ends, in Zstandard
const (
	blockMagic    = 0x31424c57 // "WLB1"
	headerLen     = 11*4 + 4*8
	maxPart       = 16 << 20 // bytes of columns or text, and of what they are decompressed to
	segmentSuffix = ".logs"
)

var errDamaged = errors.New("a block of logs is damaged")

// block is where lines lie.
type block struct {
	summary
	service string
	path    string
	offset  int64

	filterLen, columnsLen, textLen int
	columnsRaw, textRaw            int
	filterCRC, bodyCRC             uint32
	bad                            atomic.Bool // it can't be read
}

func (k *block) size() int64 { return int64(headerLen + k.filterLen + k.columnsLen + k.textLen) }

// segment is a file of blocks. What it holds is replaced and never changed, so that a search can go on with what it has.
type segment struct {
	path   string
	size   int64
	blocks []*block
	broken bool // nothing is appended behind what can't be read
}

func (g *segment) first() int64 { return g.blocks[0].first }

func (g *segment) last() int64 {
	var t int64
	for _, k := range g.blocks {
		t = max(t, k.last)
	}
	return t
}

// builder makes a block.
type builder struct {
	summary
	columns, text []byte
	at            int64
	seq           uint64
}

func newBuilder(lines int) *builder {
	return &builder{columns: make([]byte, 0, lines*8), text: make([]byte, 0, blockSize+MaxLine)}
}

func (w *builder) add(at int64, seq uint64, level Level, replica int, text []byte) {
	b := binary.AppendUvarint(binary.AppendVarint(w.columns, at-w.at), seq-w.seq)
	w.columns = binary.AppendUvarint(append(b, byte(level)), uint64(replica))
	w.text = append(append(w.text, text...), '\n')
	w.at, w.seq = at, seq
	w.summary.add(at, seq, level)
}

func (w *builder) encode(e *zstd.Encoder) []byte {
	b := make([]byte, headerLen, headerLen+len(w.text)/4)
	b = append(b, newFilter(w.text)...)
	filterEnd := len(b)
	b = e.EncodeAll(w.columns, b)
	columnsEnd := len(b)
	b = e.EncodeAll(w.text, b)
	for i, v := range []uint32{
		blockMagic, 0, uint32(filterEnd - headerLen), uint32(columnsEnd - filterEnd), uint32(len(b) - columnsEnd), uint32(len(w.columns)), uint32(len(w.text)),
		checksum(b[headerLen:filterEnd]), checksum(b[filterEnd:]), uint32(w.lines), uint32(w.levels),
	} {
		binary.LittleEndian.PutUint32(b[4*i:], v)
	}
	for i, v := range []uint64{uint64(w.first), uint64(w.last), w.firstSeq, w.lastSeq} {
		binary.LittleEndian.PutUint64(b[44+8*i:], v)
	}
	binary.LittleEndian.PutUint32(b[4:], checksum(b[8:headerLen]))
	return b
}

func parseHeader(b []byte) (*block, error) {
	if len(b) < headerLen {
		return nil, errDamaged
	}
	n := func(i int) int { return int(binary.LittleEndian.Uint32(b[4*i:])) }
	t := func(i int) uint64 { return binary.LittleEndian.Uint64(b[44+8*i:]) }
	k := &block{
		summary:   summary{first: int64(t(0)), last: int64(t(1)), firstSeq: t(2), lastSeq: t(3), lines: n(9), levels: uint16(n(10))},
		filterLen: n(2), columnsLen: n(3), textLen: n(4), columnsRaw: n(5), textRaw: n(6), filterCRC: uint32(n(7)), bodyCRC: uint32(n(8)),
	}
	if n(0) != blockMagic || uint32(n(1)) != checksum(b[8:headerLen]) || !isFilterLen(k.filterLen) || k.lines == 0 || k.lines > k.textRaw ||
		max(k.columnsLen, k.textLen, k.columnsRaw, k.textRaw) > maxPart {
		return nil, errDamaged
	}
	return k, nil
}

// filter reads the block's filter.
func (k *block) filter(f io.ReaderAt) (filter, error) {
	b, err := readAt(f, k.offset+headerLen, k.filterLen)
	if err != nil || checksum(b) != k.filterCRC {
		return nil, errors.Join(errDamaged, err)
	}
	return b, nil
}

// content is a block's lines.
type content struct {
	at       []int64
	seq      []uint64
	level    []Level
	replica  []int
	text     []byte // lines with their ends
	lower    []byte // the same in lower case; nil until it is asked for
	packed   []byte
	columns  []byte
	isFolded bool
}

// read reads a block into c, whose memory it uses again.
func (k *block) read(f io.ReaderAt, d *zstd.Decoder, c *content) error {
	n := k.columnsLen + k.textLen
	if cap(c.packed) < n {
		c.packed = make([]byte, n)
	}
	b := c.packed[:n]
	if _, err := f.ReadAt(b, k.offset+headerLen+int64(k.filterLen)); err != nil {
		return errors.Join(errDamaged, err)
	}
	if checksum(b) != k.bodyCRC {
		return errDamaged
	}
	var err error
	if c.columns, err = d.DecodeAll(b[:k.columnsLen], c.columns[:0]); err != nil {
		return errors.Join(errDamaged, err)
	}
	if c.text, err = d.DecodeAll(b[k.columnsLen:], c.text[:0]); err != nil {
		return errors.Join(errDamaged, err)
	}
	if len(c.text) != k.textRaw || len(c.text) == 0 || c.text[len(c.text)-1] != '\n' || bytes.Count(c.text, []byte{'\n'}) != k.lines {
		return errDamaged
	}
	c.reset()
	r := reader{b: c.columns}
	var at int64
	var seq uint64
	for range k.lines {
		at, seq = at+r.varint(), seq+r.uvarint()
		c.at, c.seq = append(c.at, at), append(c.seq, seq)
		c.level = append(c.level, Level(r.byte()))
		c.replica = append(c.replica, int(r.uvarint()))
	}
	if r.bad || len(r.b) > 0 {
		return errDamaged
	}
	return nil
}

func (c *content) reset() {
	c.at, c.seq, c.level, c.replica, c.isFolded = c.at[:0], c.seq[:0], c.level[:0], c.replica[:0], false
}

// readHead reads a head, as far as it was written when the search began.
func (c *content) readHead(b []byte) {
	c.reset()
	c.text = c.text[:0]
	eachLine(b, func(at int64, seq uint64, level Level, replica int, text []byte) {
		c.at, c.seq, c.level, c.replica = append(c.at, at), append(c.seq, seq), append(c.level, level), append(c.replica, replica)
		c.text = append(append(c.text, text...), '\n')
	})
}

// folded is the text in lower case, byte for byte: only ASCII is folded.
func (c *content) folded() []byte {
	if !c.isFolded {
		c.lower, c.isFolded = fold(c.lower[:0], c.text), true
	}
	return c.lower
}

func readAt(f io.ReaderAt, at int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := f.ReadAt(b, at); err != nil {
		return nil, fmt.Errorf("read logs: %w", err)
	}
	return b, nil
}

// openSegment finds the blocks of a file by their headers. What a crash has torn off is cut; what is damaged is a block that is known to be bad,
// and what lies behind it can't be found.
func openSegment(name, path string) (*segment, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	g := &segment{path: path}
	for g.size < st.Size() {
		left := st.Size() - g.size
		b, err := readAt(f, g.size, int(min(headerLen, left)))
		if err != nil {
			return nil, err
		}
		k, err := parseHeader(b)
		if left < headerLen || err == nil && k.size() > left {
			if err := f.Truncate(g.size); err != nil {
				return nil, fmt.Errorf("cut torn logs: %w", err)
			}
			break
		}
		if err != nil {
			k = &block{summary: summary{last: st.ModTime().UnixMicro(), lines: 1, levels: 1<<Gap | 1<<(Gap+1) - 1, lastSeq: 0}}
			if n := len(g.blocks); n > 0 {
				k.summary.first = g.blocks[n-1].last
			}
			k.bad.Store(true)
			g.broken = true
		}
		k.service, k.path, k.offset = name, path, g.size
		g.blocks = append(g.blocks, k)
		if g.broken {
			g.size = st.Size()
			break
		}
		g.size += k.size()
	}
	return g, nil
}
