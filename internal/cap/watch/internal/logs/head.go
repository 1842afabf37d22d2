package logs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A head is a file of records: length and CRC of what follows, 32 bits each; then lines. A line is its time and its number as differences to the
// line before, which are varints (the first of a record to 0), its level as a byte, its replica and the length of its text as varints, and its text.
const recordHeader = 8

const headPrefix = "head-" // and the number of its first line, in hex

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// summary is what a search must know of lines before it reads them.
type summary struct {
	first, last       int64 // least and greatest time, µs
	firstSeq, lastSeq uint64
	lines             int
	levels            uint16 // 1<<level of each
}

func (m *summary) add(at int64, seq uint64, l Level) {
	if m.lines == 0 {
		m.first, m.last, m.firstSeq = at, at, seq
	}
	m.first, m.last, m.lastSeq = min(m.first, at), max(m.last, at), seq
	m.levels |= 1 << l
	m.lines++
}

func (m *summary) merge(n *summary) {
	if m.lines == 0 {
		*m = *n
		return
	}
	m.first, m.last, m.lastSeq = min(m.first, n.first), max(m.last, n.last), n.lastSeq
	m.levels |= n.levels
	m.lines += n.lines
}

// head is the file that lines of a service go into.
type head struct {
	summary
	f    *os.File
	size int64
	torn bool // at its end, and nothing tells that yet
}

// record is lines of one service on their way into its head.
type record struct {
	summary
	of      *service
	payload []byte
	at      int64 // of the line before
	seq     uint64
}

func (r *record) add(l *Line, seq uint64) {
	text, level := l.Text[:min(len(l.Text), MaxLine)], l.Level
	if strings.IndexByte(text, '\n') >= 0 {
		text = strings.ReplaceAll(text, "\n", " ")
	}
	if level != Gap {
		level = recognise(text)
	}
	if r.payload == nil {
		r.payload = make([]byte, recordHeader, 4096)
	}
	at := l.Time.UnixMicro()
	b := binary.AppendVarint(r.payload, at-r.at)
	b = append(binary.AppendUvarint(b, seq-r.seq), byte(level))
	b = binary.AppendUvarint(b, uint64(max(0, l.Replica)))
	r.payload = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	r.at, r.seq = at, seq
	r.summary.add(at, seq, level)
}

// write writes a record to its head, which becomes a block when it is full; then the record is empty. It needs mu.
func (s *Store) write(r *record, now time.Time) error {
	defer func() { *r = record{of: r.of} }()
	sv := r.of
	if r.lines == 0 {
		return nil
	}
	if sv.head != nil && sv.head.size >= maxHead {
		return errors.New("keep logs: the lines before can't be made a block")
	}
	if sv.head == nil {
		f, err := os.OpenFile(filepath.Join(sv.dir, fmt.Sprintf("%s%016x", headPrefix, r.firstSeq)), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return fmt.Errorf("keep logs: %w", err)
		}
		sv.head = &head{f: f}
	}
	h := sv.head
	binary.LittleEndian.PutUint32(r.payload, uint32(len(r.payload)-recordHeader))
	binary.LittleEndian.PutUint32(r.payload[4:], checksum(r.payload[recordHeader:]))
	if _, err := h.f.WriteAt(r.payload, h.size); err != nil {
		return errors.Join(fmt.Errorf("keep logs: %w", err), h.f.Truncate(h.size))
	}
	h.size += int64(len(r.payload))
	h.merge(&r.summary)
	s.stats.Lines += uint64(r.lines)
	if h.size < blockSize && h.first > now.Add(-day).UnixMicro() {
		return nil
	}
	if err := s.seal(sv); err != nil {
		return err
	}
	return s.evict()
}

// drop removes the head.
func (v *service) drop() error {
	path := v.head.f.Name()
	err := errors.Join(v.head.f.Close(), os.Remove(path))
	v.head = nil
	if err != nil {
		return fmt.Errorf("remove the head of logs: %w", err)
	}
	return nil
}

// seal makes a block of a service's head. It needs mu.
func (s *Store) seal(sv *service) error {
	h := sv.head
	raw, err := readAt(h.f, 0, int(h.size))
	if err != nil {
		return fmt.Errorf("read the head of logs: %w", err)
	}
	if s.encoder == nil {
		s.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return fmt.Errorf("compress logs: %w", err)
		}
	}
	b := newBuilder(h.lines)
	if n := eachLine(raw, b.add); n != len(raw) {
		return errors.New("compress logs: the head isn't what was written to it")
	}
	if err := sv.put(b.encode(s.encoder), s.limits.Bytes/parts); err != nil {
		return err
	}
	return sv.drop()
}

// put writes a block to the newest segment, or to a new one, and through a power cut.
func (v *service) put(b []byte, most int64) error {
	k, err := parseHeader(b[:headerLen])
	if err != nil {
		return err
	}
	var g *segment
	if n := len(v.segments); n > 0 {
		if last := v.segments[n-1]; !last.broken && last.size+int64(len(b)) <= most && k.last-last.first() < day.Microseconds() {
			g = last
		}
	}
	fresh := g == nil
	if fresh {
		g = &segment{path: filepath.Join(v.dir, fmt.Sprintf("%016x%s", k.firstSeq, segmentSuffix))}
	}
	f, err := os.OpenFile(g.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("keep a block of logs: %w", err)
	}
	_, err = f.WriteAt(b, g.size)
	if err = errors.Join(err, f.Sync()); err != nil {
		err = errors.Join(err, f.Truncate(g.size))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("keep a block of logs: %w", err)
	}
	k.path, k.offset, k.service = g.path, g.size, v.name
	g.blocks = append(slices.Clip(g.blocks), k)
	g.size += int64(len(b))
	if fresh {
		v.segments = append(slices.Clip(v.segments), g)
	}
	return nil
}

// eachLine calls f with the lines of a head, as far as it is whole, and returns how far that is.
func eachLine(b []byte, f func(at int64, seq uint64, level Level, replica int, text []byte)) (good int) {
	for {
		rest := b[good:]
		if len(rest) < recordHeader {
			return good
		}
		n := int64(binary.LittleEndian.Uint32(rest))
		if n == 0 || n > int64(len(rest)-recordHeader) || checksum(rest[recordHeader:recordHeader+n]) != binary.LittleEndian.Uint32(rest[4:]) {
			return good
		}
		r := reader{b: rest[recordHeader : recordHeader+n]}
		var at int64
		var seq uint64
		for len(r.b) > 0 {
			at, seq = at+r.varint(), seq+r.uvarint()
			level, replica := Level(r.byte()), int(r.uvarint())
			text := r.bytes(r.uvarint())
			if r.bad || level > Gap {
				return good // a CRC that fits was never written over this
			}
			f(at, seq, level, replica, text)
		}
		good += recordHeader + int(n)
	}
}

// reader reads numbers until something is bad; then all are 0.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.skip(n)
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.skip(n)
	return v
}

func (r *reader) skip(n int) {
	if n <= 0 {
		r.b, r.bad = nil, true
		return
	}
	r.b = r.b[n:]
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}
