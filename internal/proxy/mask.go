package proxy

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/h1"
)

// Masks clean one response. They are for one goroutine at a time.
type Masks interface {
	// Fields is for what stands in heads and trailers, each text apart; never nil.
	Fields() Mask
	// Body is for the body, by its Content-Type and Content-Encoding, and for a tunnel, which has neither. Nil lets it pass as it is.
	Body(kind, coding string) Mask
}

// Mask cleans a stream: other bytes come out, but as many, and nothing is held back for longer than a pause.
type Mask interface {
	// Mask takes the next chunk, and appends to dst what may go on. While nothing is held back, dst may be chunk[:0].
	Mask(dst, chunk []byte) []byte
	// Pause appends what needn't be held back while nothing comes, and Flush the rest, at the end.
	Pause(dst []byte) []byte
	Flush(dst []byte) []byte
}

// pause is the silence after which what was held back goes on.
const pause = 100 * time.Millisecond

// clean masks a text in place, if m isn't nil.
func clean(m Mask, text []byte) {
	if m != nil {
		m.Flush(m.Mask(text[:0], text))
	}
}

// cleaned masks a text, if m isn't nil.
func cleaned(m Mask, text string) string {
	if m == nil || text == "" {
		return text
	}
	b := []byte(text)
	clean(m, b)
	return string(b)
}

// cleanValues masks the values of a field.
func cleanValues(m Mask, values []string) []string {
	if m == nil {
		return values
	}
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = cleaned(m, v)
	}
	return out
}

// clean masks what came of a body, in a buffer with room for framing.
func (r *relay) clean(chunk []byte, end bool) (buf []byte, n int) {
	r.masked = r.mask.Mask(r.masked[:h1.ChunkPrefix], chunk)
	if end {
		r.masked = r.mask.Flush(r.masked)
	}
	return r.framed()
}

func (r *relay) framed() (buf []byte, n int) {
	n = len(r.masked) - h1.ChunkPrefix
	return append(r.masked, make([]byte, h1.ChunkSuffix)...), n
}

// quiet passes on what was held back while nothing comes.
func (r *relay) quiet() error {
	r.masked = r.mask.Pause(r.masked[:h1.ChunkPrefix])
	buf, n := r.framed()
	if n == 0 {
		return nil
	}
	return r.pass(buf, n, false)
}

// runMasked is run with a response's trailers masked, and its body, if it is to be. It is apart so that only who needs it pays for
// the closures.
func (x *exchange) runMasked(r relay) (relay, error) {
	r.trailers = x.cleanTrailersOf
	if r.mask = x.bodyMask(); r.mask != nil {
		block := x.e.block()
		defer x.e.blocks.Put(block)
		r.masked = block[:h1.ChunkPrefix]
		x.c.quiet = r.quiet
		defer func() { x.c.quiet = nil }()
	}
	err := r.run()
	return r, err
}

// bodyMask is the mask of the response's body; nil for none.
func (s *serving) bodyMask() Mask {
	if s.verdict.Masks == nil {
		return nil
	}
	var kind, coding string
	for i := range s.resp.Fields {
		f := &s.resp.Fields[i]
		switch {
		case h1.EqualFold(f.Name, "content-type"):
			kind = f.Value
		case h1.EqualFold(f.Name, "content-encoding") && !h1.EqualFold(f.Value, "identity"):
			coding = f.Value
		}
	}
	return s.verdict.Masks.Body(kind, coding)
}

// cleanTrailersOf is said, and then masks.
func (s *serving) cleanTrailersOf(ts []h1.Field) []h1.Field {
	ts = s.e.said(ts)
	for i := range ts {
		ts[i].Value = cleaned(s.fields, ts[i].Value)
	}
	return ts
}

// maskedConn is the upstream's side of a tunnel, whose bytes come masked. It has one reader.
type maskedConn struct {
	net.Conn
	mask     Mask
	ready    []byte // to be read
	err      error  // behind ready
	deadline time.Time
	held     bool // something came since the last pause
	block    []byte
}

// newMaskedConn takes what was read ahead.
func newMaskedConn(c net.Conn, m Mask, ahead []byte) *maskedConn {
	return &maskedConn{Conn: c, mask: m, ready: m.Mask(nil, ahead), held: len(ahead) > 0, block: make([]byte, blockSize)}
}

// SetDeadline implements net.Conn.
func (c *maskedConn) SetDeadline(t time.Time) error {
	c.deadline = t
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *maskedConn) SetReadDeadline(t time.Time) error {
	c.deadline = t
	return c.Conn.SetReadDeadline(t)
}

// CloseWrite ends what goes to the upstream.
func (c *maskedConn) CloseWrite() error {
	(&link{Conn: c.Conn}).closeWrite()
	return nil
}

// Read implements net.Conn.
func (c *maskedConn) Read(p []byte) (int, error) {
	for len(c.ready) == 0 && c.err == nil {
		if c.held {
			_ = c.Conn.SetReadDeadline(time.Now().Add(pause)) // an error shows in the read
		}
		n, err := c.Conn.Read(c.block)
		c.ready = c.mask.Mask(c.ready[:0], c.block[:n])
		switch {
		case n > 0:
			c.held = true
		case err != nil && isTimeout(err) && c.held:
			c.ready, c.held, err = c.mask.Pause(c.ready), false, nil
			_ = c.Conn.SetReadDeadline(c.deadline)
		case err != nil && isTimeout(err):
			return 0, err // of the tunnel, which goes on
		}
		if err != nil && !isTimeout(err) {
			c.ready, c.err = c.mask.Flush(c.ready), err
		}
	}
	if len(c.ready) == 0 {
		return 0, c.err
	}
	n := copy(p, c.ready)
	c.ready = c.ready[:copy(c.ready, c.ready[n:])]
	return n, nil
}

// maskedWriter masks a response of HTTP/2. Its owner calls stop before it leaves the response.
type maskedWriter struct {
	mask  Mask
	flush func() error // nil: nobody waits for pieces

	mu    sync.Mutex
	to    http.ResponseWriter // guarded by mu; nil once stopped
	out   []byte              // guarded by mu
	timer *time.Timer         // guarded by mu
	err   error               // guarded by mu
}

// masked is nil if the body passes as it is.
func (x *stream) masked(resp *http.Response) *maskedWriter {
	if x.verdict.Masks == nil {
		return nil
	}
	coding := strings.Join(slices.DeleteFunc(slices.Clone(resp.Header["Content-Encoding"]), func(c string) bool { return h1.EqualFold(c, "identity") }), ", ")
	if c := resp.Header.Get("Grpc-Encoding"); c != "" && c != "identity" {
		coding = c // of each message
	}
	m := x.verdict.Masks.Body(resp.Header.Get("Content-Type"), coding)
	if m == nil {
		return nil
	}
	return &maskedWriter{mask: m, to: x.w}
}

// Write takes a piece of the body.
func (w *maskedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = w.mask.Mask(w.out[:0], b)
	w.send()
	if w.flush != nil && w.timer == nil {
		w.timer = time.AfterFunc(pause, w.quiet)
	} else if w.flush != nil {
		w.timer.Reset(pause)
	}
	return len(b), w.err
}

// send needs mu.
func (w *maskedWriter) send() {
	if w.err == nil && len(w.out) > 0 {
		_, w.err = w.to.Write(w.out)
		if w.err == nil && w.flush != nil {
			w.err = w.flush()
		}
	}
}

func (w *maskedWriter) quiet() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.to != nil {
		w.out = w.mask.Pause(w.out[:0])
		w.send()
	}
}

// end writes the rest.
func (w *maskedWriter) end() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = w.mask.Flush(w.out[:0])
	w.send()
	return w.err
}

func (w *maskedWriter) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to = nil
	if w.timer != nil {
		w.timer.Stop()
	}
}
