package chunked

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// A Reader decrypts a stream from its beginning to its end. It isn't for concurrent use.
type Reader struct {
	r      io.Reader
	c      *chunks
	n      uint64 // the next chunk's number
	nbuf   [nonceSize]byte
	buf    []byte // of a batch
	sealed []byte // read, not yet opened
	plain  []byte // opened, not yet handed out
	ended  bool   // r is
	err    error
}

// NewReader reads the prefix of a message and checks that it was made under the key and context.
func NewReader(r io.Reader, key, context []byte) (*Reader, error) {
	prefix := make([]byte, Prefix)
	if _, err := io.ReadFull(r, prefix); err != nil {
		return nil, cut(err)
	}
	c, err := open(prefix, key, context)
	if err != nil {
		return nil, err
	}
	return &Reader{r: r, c: c, buf: make([]byte, batch*sealedChunk)}, nil
}

// cut is the error for a stream that ended too early, or couldn't be read.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrDecrypt
	}
	return fmt.Errorf("read encrypted stream: %w", err)
}

// Read implements io.Reader: io.EOF comes after the last byte of a whole message only.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.fill(); err != nil {
		return 0, err
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

// WriteTo implements io.WriterTo, which spares io.Copy a copy.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if err := r.fill(); errors.Is(err, io.EOF) {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.Write(r.plain)
		total += int64(n)
		r.plain = r.plain[n:]
		if err != nil {
			return total, err
		}
	}
}

// fill opens the next chunk when none is left. At the end and after an error it returns the same for ever.
func (r *Reader) fill() error {
	for len(r.plain) == 0 && r.err == nil {
		if len(r.sealed) == 0 && !r.ended {
			n, err := io.ReadFull(r.r, r.buf)
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				r.err = cut(err)
				break
			}
			r.sealed, r.ended = r.buf[:n], err != nil
		}
		r.err = r.next()
	}
	if len(r.plain) > 0 {
		return nil
	}
	return r.err
}

// next opens one chunk in place; io.EOF says that it was the last.
func (r *Reader) next() error {
	chunk := r.sealed[:min(sealedChunk, len(r.sealed))]
	if r.n >= maxChunks || len(chunk) < tagSize {
		return ErrDecrypt
	}
	plain, err := r.c.aead.Open(chunk[:0], r.c.nonce(&r.nbuf, r.n), chunk, nil)
	if err != nil {
		return ErrDecrypt
	}
	r.plain, r.sealed = plain, r.sealed[len(chunk):]
	r.n++
	if len(chunk) < sealedChunk {
		return io.EOF
	}
	return nil
}

// A ReaderAt decrypts any part of a message. It may be used concurrently if what it reads may be.
type ReaderAt struct {
	r    io.ReaderAt
	c    *chunks
	size int64
	bufs sync.Pool // of *[sealedChunk]byte
}

// NewReaderAt reads a message whose ciphertext has size bytes. It opens the prefix and the last chunk, so that the
// message's length is authentic from the start.
func NewReaderAt(r io.ReaderAt, size int64, key, context []byte) (*ReaderAt, error) {
	plain, err := PlaintextSize(size)
	if err != nil {
		return nil, err
	}
	prefix := make([]byte, Prefix)
	if err := readFullAt(r, prefix, 0); err != nil {
		return nil, err
	}
	c, err := open(prefix, key, context)
	if err != nil {
		return nil, err
	}
	a := &ReaderAt{r: r, c: c, size: plain, bufs: sync.Pool{New: func() any { return new([sealedChunk]byte) }}}
	buf := a.bufs.Get().(*[sealedChunk]byte)
	defer a.bufs.Put(buf)
	if _, err := a.chunk(buf, plain/ChunkSize); err != nil {
		return nil, err
	}
	return a, nil
}

// Size of the message in bytes.
func (a *ReaderAt) Size() int64 { return a.size }

// ReadAt implements io.ReaderAt.
func (a *ReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read encrypted stream: negative offset")
	}
	buf := a.bufs.Get().(*[sealedChunk]byte)
	defer a.bufs.Put(buf)
	read := 0
	for read < len(p) && off < a.size {
		plain, err := a.chunk(buf, off/ChunkSize)
		if err != nil {
			return read, err
		}
		n := copy(p[read:], plain[off%ChunkSize:])
		read, off = read+n, off+int64(n)
	}
	if read < len(p) {
		return read, io.EOF
	}
	return read, nil
}

// chunk opens chunk k in buf.
func (a *ReaderAt) chunk(buf *[sealedChunk]byte, k int64) ([]byte, error) {
	sealed := buf[:min(ChunkSize, a.size-k*ChunkSize)+tagSize]
	if err := readFullAt(a.r, sealed, Prefix+k*sealedChunk); err != nil {
		return nil, err
	}
	var nonce [nonceSize]byte
	plain, err := a.c.aead.Open(sealed[:0], a.c.nonce(&nonce, uint64(k)), sealed, nil)
	if err != nil {
		return nil, ErrDecrypt
	}
	return plain, nil
}

// readFullAt forgives the io.EOF that an io.ReaderAt may return together with all bytes.
func readFullAt(r io.ReaderAt, p []byte, off int64) error {
	if n, err := r.ReadAt(p, off); n < len(p) {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return cut(err)
	}
	return nil
}
