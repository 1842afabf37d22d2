package proxy

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/wardhq/ward/internal/base/h1"
)

// relay copies one body. What came in one read goes out in one write, with the
// head before it and the end behind it if they fit; nothing is held back while it
// waits for more.
type relay struct {
	e        *Engine
	from     *link // set if its read deadline is ours to keep
	to       *link
	body     *h1.Body
	chunked  bool                        // frame the output
	out      []byte                      // to go before the body
	buffered *h1.Reader                  // set to look whether a read would wait
	trailers func([]h1.Field) []h1.Field // filter; may be nil
	upload   *upload                     // set for a request
	mask     Mask                        // set to clean the body
	masked   []byte                      // room for what it lets go on
	n        int64                       // bytes of body passed on
	broken   bool                        // the error is of the source
}

func (r *relay) run() error {
	block := r.e.block()
	defer r.e.blocks.Put(block)
	buf := block[:]
	for {
		if len(r.out) > 0 && (r.buffered == nil || len(r.buffered.Buffered()) == 0) && !r.body.Done() {
			if err := r.write(r.out); err != nil {
				return err
			}
			r.out = r.out[:0]
		}
		if r.from != nil {
			r.from.armRead(time.Now(), r.e.lim.BodyIdle)
		}
		// After arming: who sets stop then sets a deadline that has passed.
		if r.upload != nil && r.upload.stop.Load() {
			return os.ErrDeadlineExceeded
		}
		n, err := r.body.Read(buf[h1.ChunkPrefix : len(buf)-h1.ChunkSuffix])
		if err != nil && !errors.Is(err, io.EOF) {
			r.broken = true
			return err
		}
		r.n += int64(n)
		end := r.body.Done()
		if end && r.upload != nil {
			r.upload.read.Store(true)
		}
		out := buf
		if r.mask != nil {
			out, n = r.clean(buf[h1.ChunkPrefix:h1.ChunkPrefix+n], end)
		}
		if err := r.pass(out, n, end); err != nil || end {
			return err
		}
	}
}

// pass writes the n bytes of body in buf, and the end of the body.
func (r *relay) pass(buf []byte, n int, end bool) error {
	piece := buf[h1.ChunkPrefix : h1.ChunkPrefix+n]
	if r.chunked && n > 0 {
		piece = h1.PutChunk(buf, n)
	}
	if len(r.out) > 0 && len(r.out)+len(piece) > small {
		if err := r.write(r.out); err != nil {
			return err
		}
		r.out = r.out[:0]
	}
	switch {
	case end && r.chunked:
		ts := r.body.Trailers()
		if r.trailers != nil {
			ts = r.trailers(ts)
		}
		r.out = h1.AppendLastChunk(append(r.out, piece...), ts)
	case len(r.out) > 0:
		r.out = append(r.out, piece...)
	default:
		return r.write(piece)
	}
	err := r.write(r.out)
	r.out = r.out[:0]
	return err
}

func (r *relay) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	r.to.armWrite(time.Now(), r.e.lim.BodyIdle)
	_, err := r.to.Write(b)
	return err
}
