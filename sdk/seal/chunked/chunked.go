// Package chunked is C2SP's chunked encryption in its instance Cobblestone-256 (https://c2sp.org/chunked-encryption:
// HKDF-SHA-512 and AES-256-GCM): large messages as a stream in constant memory, with authenticated random access.
//
// Guarantee: every byte that a reader hands out was written under the same key and context, at the same place; a
// stream that was cut, extended, reordered or spliced ends in ErrDecrypt and never in io.EOF; the ciphertext commits to its key.
// Not guaranteed: that the bytes before a cut are the whole message. Wait for io.EOF before you act on them; a ReaderAt has checked the
// end before it gives anything. Lengths aren't hidden. GODEBUG=fips140=only doesn't work here: it refuses nonces with a counter.
package chunked

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Sizes in bytes.
const (
	KeySize   = 32       // of the input key
	ChunkSize = 16 << 10 // of plaintext in every chunk but the last, which is shorter
	Prefix    = saltSize + commitmentSize
	tagSize   = 16

	saltSize       = 24
	commitmentSize = 32
	nonceSize      = 12
	sealedChunk    = ChunkSize + tagSize
	maxChunks      = 1 << 38
	batch          = 4 // chunks that are read or written in one call
)

// ErrDecrypt says that a stream can't be decrypted, and never why.
var ErrDecrypt = errors.New("can't be decrypted")

var errTooLong = errors.New("encrypt stream: longer than 2^38 chunks")

// chunks seals and opens the chunks of one message.
type chunks struct {
	aead cipher.AEAD
	base [nonceSize]byte
}

// derive makes the message's key, base nonce and commitment.
func derive(key, salt, context []byte) (*chunks, []byte, error) {
	if len(key) != KeySize {
		return nil, nil, fmt.Errorf("chunked encryption: the key has %d bytes instead of %d", len(key), KeySize)
	}
	info := "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00" + string(salt) + string(context)
	out, err := hkdf.Expand(sha512.New, key, info, KeySize+nonceSize+commitmentSize)
	if err != nil {
		return nil, nil, fmt.Errorf("chunked encryption: %w", err)
	}
	block, err := aes.NewCipher(out[:KeySize])
	if err != nil {
		return nil, nil, fmt.Errorf("chunked encryption: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, nil, fmt.Errorf("chunked encryption: %w", err)
	}
	return &chunks{aead, [nonceSize]byte(out[KeySize:])}, out[KeySize+nonceSize:], nil
}

// open derives from a message's prefix and compares the commitment.
func open(prefix, key, context []byte) (*chunks, error) {
	c, commitment, err := derive(key, prefix[:saltSize], context)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(commitment, prefix[saltSize:]) != 1 {
		return nil, ErrDecrypt
	}
	return c, nil
}

// nonce of chunk n, written to buf: a caller's own, so that it isn't allocated for every chunk.
func (c *chunks) nonce(buf *[nonceSize]byte, n uint64) []byte {
	*buf = c.base
	low := buf[nonceSize-8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^n)
	return buf[:]
}

// PlaintextSize is how long the message in a ciphertext of size bytes is, or ErrDecrypt when no message is that long.
func PlaintextSize(size int64) (int64, error) {
	body := size - Prefix
	if body < tagSize || body%sealedChunk < tagSize || body/sealedChunk >= maxChunks {
		return 0, ErrDecrypt
	}
	return body/sealedChunk*ChunkSize + body%sealedChunk - tagSize, nil
}

// A Writer encrypts what is written to it. It isn't for concurrent use.
type Writer struct {
	w     io.Writer
	c     *chunks
	n     uint64 // the next chunk's number
	nbuf  [nonceSize]byte
	plain []byte // less than a chunk
	out   []byte
	err   error
}

// NewWriter starts a message under a key of 32 uniformly random bytes, bound to context. Without Close the message is cut and will be
// refused. Close doesn't close w.
func NewWriter(w io.Writer, key, context []byte) (*Writer, error) {
	out := make([]byte, saltSize, Prefix+batch*sealedChunk)
	_, _ = rand.Read(out) // never returns an error (crypto/rand)
	c, commitment, err := derive(key, out, context)
	if err != nil {
		return nil, err
	}
	return &Writer{w: w, c: c, plain: make([]byte, 0, ChunkSize), out: append(out, commitment...)}, nil
}

// Write implements io.Writer. After an error every call returns it.
func (w *Writer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 && w.err == nil {
		chunk, n := p, min(ChunkSize-len(w.plain), len(p))
		if n < ChunkSize {
			w.plain = append(w.plain, p[:n]...)
			chunk = w.plain
		}
		if len(chunk) >= ChunkSize {
			w.seal(chunk[:ChunkSize])
			w.plain = w.plain[:0]
		}
		p, written = p[n:], written+n
	}
	return written, w.err
}

// Close ends the message; it needs to be called once, and its error checked.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	w.seal(w.plain)
	w.flush()
	clear(w.plain[:cap(w.plain)])
	if w.err != nil {
		return w.err
	}
	w.err = errors.New("encrypt stream: it is closed")
	return nil
}

func (w *Writer) seal(chunk []byte) {
	if w.n >= maxChunks {
		w.err = errTooLong
		return
	}
	w.out = w.c.aead.Seal(w.out, w.c.nonce(&w.nbuf, w.n), chunk, nil)
	w.n++
	if len(w.out) >= batch*sealedChunk {
		w.flush()
	}
}

func (w *Writer) flush() {
	if w.err != nil {
		return
	}
	if _, err := w.w.Write(w.out); err != nil {
		w.err = fmt.Errorf("write encrypted stream: %w", err)
	}
	w.out = w.out[:0]
}
