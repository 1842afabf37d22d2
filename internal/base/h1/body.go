package h1

import (
	"errors"
	"io"
)

// Framing says how the end of a body is found (RFC 9112 §6).
type Framing struct {
	Kind   FramingKind
	Length int64 // bytes, of Kind Length; greater than 0
}

// FramingKind is the kind of a Framing.
type FramingKind uint8

// The kinds of framing.
const (
	None       FramingKind = iota // no body, or an empty one
	Length                        // Content-Length
	Chunked                       // Transfer-Encoding: chunked
	UntilClose                    // to the end of the connection; responses only
)

// maxExtensions bounds the chunk extensions of a body, in bytes: they are dropped,
// so their only use would be to keep us busy.
const maxExtensions = 16 << 10

// direct is the size from which a read goes past the buffer.
const direct = 2 << 10

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd
	chunkTrailers
)

// Body reads the body of the message whose head a Reader parsed last. It ends with
// io.EOF at the end of the body, and never reads past it; io.ErrUnexpectedEOF
// means that the peer stopped in between. A refusal is an Error. It belongs to one
// goroutine.
type Body struct {
	r        *Reader
	kind     FramingKind
	state    chunkState
	left     int64 // bytes of the body, or of the chunk
	extra    int   // bytes of chunk extensions so far
	trailers []Field
	err      error // sticky; io.EOF at the end
}

// Body begins the body of the head that was parsed last. Trailers are appended to
// spare, which may be nil.
func (r *Reader) Body(fr Framing, spare []Field) Body {
	b := Body{r: r, kind: fr.Kind, left: fr.Length, trailers: spare[:0]}
	if fr.Kind == None {
		b.err = io.EOF
	}
	return b
}

// Trailers are the trailer fields, once Read has returned io.EOF.
func (b *Body) Trailers() []Field { return b.trailers }

// Done tells whether the whole body was read.
func (b *Body) Done() bool { return b.err == io.EOF }

// Read reads what is there, and waits only if nothing is: it fills p from several
// small chunks if they were received already.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	var n int
	switch b.kind {
	case Chunked:
		n, b.err = b.readChunked(p)
	case Length:
		n, b.err = b.readLength(p)
	default:
		n, b.err = b.r.read(p)
	}
	if n > 0 && b.err == io.EOF {
		return n, nil // the next Read says so
	}
	return n, b.err
}

// read takes what is buffered, or reads the source: into p if that is large.
func (r *Reader) read(p []byte) (int, error) {
	if r.r == r.w {
		if len(p) >= direct {
			return r.src.Read(p)
		}
		if err := r.Fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.r:r.w])
	r.r += n
	return n, nil
}

func (b *Body) readLength(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.read(p)
	b.left -= int64(n)
	switch {
	case b.left == 0:
		return n, io.EOF
	case err != nil:
		return n, unexpected(err)
	}
	return n, nil
}

func (b *Body) readChunked(p []byte) (total int, err error) {
	for {
		switch b.state {
		case chunkData:
			q := p[total:]
			if int64(len(q)) > b.left {
				q = q[:b.left]
			}
			if len(q) == 0 {
				return total, nil
			}
			n, err := b.r.read(q)
			total += n
			b.left -= int64(n)
			if b.left == 0 {
				b.state = chunkEnd
			}
			if err != nil {
				return total, unexpected(err)
			}
		case chunkTrailers:
			ok, err := b.readTrailers()
			if ok || err != nil {
				return total, err
			}
			if total > 0 {
				return total, nil
			}
			if err := b.r.Fill(); err != nil {
				return total, unexpected(err)
			}
			continue
		default:
			ok, err := b.frameChunk()
			if err != nil {
				return total, err
			}
			if ok {
				continue
			}
			if total > 0 {
				return total, nil
			}
			if err := b.r.Fill(); err != nil {
				return total, unexpected(err)
			}
			continue
		}
		if b.r.r == b.r.w {
			return total, nil // don't wait while there is something to pass on
		}
	}
}

// frameChunk consumes the CR LF behind a chunk, or the size line before one. It
// returns false if more has to be read.
func (b *Body) frameChunk() (bool, error) {
	in := b.r.buf[b.r.r:b.r.w]
	if b.state == chunkEnd {
		if len(in) > 0 && in[0] != '\r' || len(in) > 1 && in[1] != '\n' {
			return false, ErrChunk
		}
		if len(in) < 2 {
			return false, nil
		}
		b.r.r += 2
		b.state = chunkSize
		return true, nil
	}
	size, n, err := parseChunkSize(in)
	if err != nil || n == 0 {
		return false, err
	}
	b.r.r += n
	b.extra += max(0, n-18)
	if b.extra > maxExtensions {
		return false, ErrChunk
	}
	b.left, b.state = size, chunkData
	if size == 0 {
		b.state = chunkTrailers
	}
	return true, nil
}

// maxChunkLine bounds a size line with its extensions.
const maxChunkLine = 4 << 10

// parseChunkSize reads a chunk's size line (RFC 9112 §7.1) and tells its length in
// bytes, 0 if it isn't whole yet. Of extensions it demands only that they begin
// with ";" at once and hold no controls.
func parseChunkSize(in []byte) (size int64, n int, err error) {
	i := 0
	for ; i < len(in); i++ {
		d := unhex(in[i])
		if d < 0 {
			break
		}
		if i == 15 {
			return 0, 0, ErrChunk // 15 digits are less than 2^60
		}
		size = size<<4 | int64(d)
	}
	if i == len(in) {
		return 0, 0, nil
	}
	if i == 0 || in[i] != ';' && in[i] != '\r' {
		return 0, 0, ErrChunk
	}
	for ; i < len(in) && in[i] != '\r'; i++ {
		if class[in[i]]&classValue == 0 || i > maxChunkLine {
			return 0, 0, ErrChunk
		}
	}
	if i+1 >= len(in) {
		return 0, 0, nil
	}
	if in[i+1] != '\n' {
		return 0, 0, ErrChunk
	}
	return size, i + 2, nil
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// readTrailers returns io.EOF once the trailer section is whole and parsed.
func (b *Body) readTrailers() (bool, error) {
	end, err := b.r.headEnd()
	if err != nil || end == 0 {
		return false, err
	}
	block := b.r.buf[b.r.r : end-2]
	// The trailers stay where they are while the message is in use.
	b.r.r, b.r.head, b.r.scan = end, end, 0
	if b.trailers, err = parseFields(b.trailers, block, b.r.lim.Fields); err != nil {
		return false, err
	}
	for _, f := range b.trailers {
		if f.Kind != End {
			return false, ErrTrailer // RFC 9110 §6.5.1
		}
	}
	return true, io.EOF
}

// Refused tells whether err is a refusal of the message by this package.
func Refused(err error) (Error, bool) { return errors.AsType[Error](err) }
