package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/base/h1"
)

// maxSigned bounds the body of a request that is signed, in bytes: it is gathered.
const maxSigned = 1 << 20

var errSigned = errors.New("the body is larger than what can be signed")

func tooLarge() answer {
	return answer{status: http.StatusRequestEntityTooLarge, public: "This request is signed for the service, and so its body may have at most 1 MiB."}
}

// sign reads the body, and sets what signs it. Unless ok, the client has its answer.
func (s *serving) sign(body *h1.Body) (keep, ok bool) {
	framing := s.head.Body
	if framing.Kind == h1.Length && framing.Length > maxSigned {
		s.rec.Err = errSigned
		return s.refuse(tooLarge(), body), false
	}
	if s.head.Continue && !body.Done() {
		if err := s.write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return false, false
		}
	}
	s.head.Continue = false
	var all []byte
	for !body.Done() {
		s.armRead(time.Now(), s.e.lim.BodyIdle)
		all = slices.Grow(all, small)
		n, err := body.Read(all[len(all):cap(all)])
		all = all[:len(all)+n]
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return s.badBody(err), false
		case len(all) > maxSigned:
			s.rec.Err = errSigned
			return s.refuse(tooLarge(), body), false
		}
	}
	s.rec.In = int64(len(all))
	s.verdict.Set = append(slices.Clip(s.verdict.Set), s.verdict.Sign(all)...)
	s.whole, s.head.Body = all, h1.Framing{}
	switch {
	case len(all) > 0:
		s.head.Body = h1.Framing{Kind: h1.Length, Length: int64(len(all))}
	case framing.Kind != h1.None:
		s.verdict.Set = append(s.verdict.Set, Header{Name: "Content-Length", Value: "0"})
	}
	return true, true
}

// sign is the same for HTTP/2.
func (x *stream) sign() (ok bool) {
	control := http.NewResponseController(x.w)
	_ = control.SetReadDeadline(time.Now().Add(x.e.lim.BodyIdle)) // an error shows in the read
	all, err := io.ReadAll(io.LimitReader(x.r.Body, maxSigned+1))
	_ = control.SetReadDeadline(time.Time{})
	switch {
	case err != nil:
		x.rec.Err = err
		x.answer(answer{status: http.StatusRequestTimeout, public: slowBody})
		return false
	case len(all) > maxSigned:
		x.rec.Err = errSigned
		x.answer(tooLarge())
		return false
	}
	x.verdict.Set = append(slices.Clip(x.verdict.Set), x.verdict.Sign(all)...)
	x.r.Body, x.r.ContentLength, x.r.Trailer = io.NopCloser(bytes.NewReader(all)), int64(len(all)), nil
	return true
}
