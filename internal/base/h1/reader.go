package h1

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// bufferSize holds a usual head and a small body; buffers grow from it.
const bufferSize = 8 << 10

// minRead is the least that a read is asked for.
const minRead = 512

// Buffers hands out the read buffers of many Readers. The zero value is ready,
// and safe for use by several goroutines.
type Buffers struct{ pool sync.Pool }

func (p *Buffers) get() *[bufferSize]byte {
	if b, ok := p.pool.Get().(*[bufferSize]byte); ok {
		return b
	}
	return new([bufferSize]byte)
}

// Reader reads messages from one connection. It belongs to one goroutine.
//
// The head being served stays at the start of the buffer, where its fields point
// to; bytes of its body come and go behind it.
type Reader struct {
	src   io.Reader
	lim   Limits
	pool  *Buffers
	first *[bufferSize]byte // from the pool, if buf is still that
	buf   []byte
	head  int // buf[:head] is the head being served
	scan  int // lines before scan are known to be whole and not empty
	r, w  int // buf[r:w] is unread
}

// NewReader returns a Reader of src. Release gives its buffer back to pool.
func NewReader(src io.Reader, lim Limits, pool *Buffers) *Reader {
	r := &Reader{src: src, lim: lim.orDefault(), pool: pool, first: pool.get()}
	r.buf = r.first[:]
	return r
}

// Release ends the use of the Reader and of everything that points into it.
func (r *Reader) Release() {
	if r.first != nil {
		r.pool.pool.Put(r.first)
	}
	*r = Reader{}
}

// Buffered is what was read and not yet consumed, such as the bytes behind the
// head of an upgrade. It holds until the next call.
func (r *Reader) Buffered() []byte { return r.buf[r.r:r.w] }

// Next forgets the head being served and makes place for the next one.
func (r *Reader) Next() {
	n := copy(r.buf, r.buf[r.r:r.w])
	r.head, r.scan, r.r, r.w = 0, 0, 0, n
}

// Fill reads once more from the source, and grows the buffer for it up to the
// limit of a head. The error is ErrHeadBytes, or the source's.
func (r *Reader) Fill() error {
	if r.r == r.w {
		r.r, r.w = r.head, r.head
	}
	if len(r.buf)-r.w < minRead {
		if err := r.makePlace(); err != nil {
			return err
		}
	}
	for range 100 {
		n, err := r.src.Read(r.buf[r.w:])
		r.w += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

func (r *Reader) makePlace() error {
	if r.r > r.head {
		r.w = r.head + copy(r.buf[r.head:], r.buf[r.r:r.w])
		r.r = r.head
		if len(r.buf)-r.w >= minRead {
			return nil
		}
	}
	if r.w-r.r >= r.lim.HeadBytes {
		return ErrHeadBytes
	}
	// The old buffer isn't given back: the head being served points into it.
	r.first = nil
	next := make([]byte, min(2*len(r.buf), r.head+r.lim.HeadBytes+minRead))
	copy(next, r.buf[:r.w])
	r.buf = next
	return nil
}

// headEnd finds the end of the block of lines that begins at buf[r.r], which is
// behind its empty line; 0 means that more has to be read.
func (r *Reader) headEnd() (int, error) {
	for {
		from := r.r + r.scan
		n := bytes.IndexByte(r.buf[from:r.w], '\n')
		if n < 0 {
			if r.w-from > r.lim.LineBytes {
				return 0, ErrLineBytes
			}
			if r.w-r.r > r.lim.HeadBytes {
				return 0, ErrHeadBytes
			}
			return 0, nil
		}
		if n == 0 || r.buf[from+n-1] != '\r' {
			return 0, ErrBareLF
		}
		if n > r.lim.LineBytes {
			return 0, ErrLineBytes
		}
		r.scan += n + 1
		if r.scan > r.lim.HeadBytes {
			return 0, ErrHeadBytes
		}
		if n == 1 {
			return r.r + r.scan, nil
		}
	}
}

// line cuts the start line off a whole head, without its CR LF.
func line(head []byte) (first, rest []byte) {
	i := bytes.IndexByte(head, '\n')
	return head[:i-1], head[i+1 : len(head)-2]
}

// unexpected is what an end of the source inside a message is.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
