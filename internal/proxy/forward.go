package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/base/h1"
)

// small is how much of a message goes out in one write with its head.
const small = 16 << 10

// maxInterim bounds the interim responses to one request.
const maxInterim = 16

// upload is a request body on its way while the response is awaited.
type upload struct {
	read atomic.Bool // the client has sent all of it
	stop atomic.Bool // nobody wants the rest of it
	done chan struct{}
	// What follows is valid once done is closed.
	n      int64
	err    error
	broken bool // err is the client's
}

// forward sends the request upstream and the response back.
func (s *serving) forward(ctx context.Context, body *h1.Body) bool {
	if s.verdict.Sign != nil {
		if keep, ok := s.sign(body); !ok {
			return keep
		}
	}
	if s.head.Body.Kind == h1.Chunked && len(s.rd.Buffered()) > 0 {
		block := s.e.block()
		defer s.e.blocks.Put(block)
		if err := s.prefetch(body, block[:]); err != nil {
			return s.badBody(err)
		}
	}
	up, now := s.verdict.Upstream, s.rec.Start
	for reuse := true; ; reuse = false {
		c, err := up.connect(ctx, s.e, reuse, now)
		if err != nil {
			return s.fail(err, body)
		}
		if !c.reused || s.early != nil {
			now = time.Now() // there was a wait
		}
		c.begin(now, &s.link, &s.e.lim)
		x := exchange{serving: s, c: c, body: body, bodyless: s.head.Body.Kind == h1.None}
		keep, again, err := x.run()
		if again {
			continue
		}
		if err != nil && s.rec.Err == nil {
			s.rec.Err = err
		}
		return keep
	}
}

// prefetch decodes what has come of a chunked body, so that a malformed one is
// refused before the upstream hears of it, and a short one needs no goroutine.
func (s *serving) prefetch(body *h1.Body, block []byte) error {
	s.armRead(time.Now(), s.e.lim.BodyIdle)
	room := block[h1.ChunkPrefix:small]
	n := 0
	for n < len(room) && !body.Done() && (n == 0 || len(s.rd.Buffered()) > 0) {
		m, err := body.Read(room[n:])
		n += m
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	s.early = block[:h1.ChunkPrefix+n+h1.ChunkSuffix]
	s.rec.In = int64(n)
	return nil
}

const slowBody = "The body did not arrive in time."

var errSlowBody = errors.New("the client brings its body too slowly")

// badBody answers a request whose body can't be read, if anybody is there.
func (s *serving) badBody(err error) bool {
	s.rec.Err = err
	s.lingers = true
	switch {
	case refusalStatus(err) != 0:
		s.answer(answer{status: http.StatusBadRequest, public: publicOf(err)}, false)
	case isTimeout(err):
		s.answer(answer{status: http.StatusRequestTimeout, public: slowBody}, false)
	}
	return false
}

// fail answers for an upstream that can't be used.
func (s *serving) fail(err error, body *h1.Body) bool {
	s.rec.Err = err
	if errors.Is(err, ErrGone) {
		return false
	}
	status, public := errorStatus(err)
	return s.refuse(answer{status: status, public: public, set: s.verdict.Respond}, body)
}

// exchange is one request on one upstream connection.
type exchange struct {
	*serving
	c        *upConn // nil once given back
	body     *h1.Body
	bodyless bool
	u        *upload // nil if all was sent at once
}

// giveBack ends the use of the connection; whole tells that it stands at the start
// of its next response.
func (x *exchange) giveBack(whole bool) {
	c := x.c
	if c == nil {
		return
	}
	x.c = nil
	if whole && len(c.rd.Buffered()) == 0 {
		c.rd.Next()
		c.since, c.client, c.patient = time.Now(), nil, nil
		x.verdict.Upstream.leave(c)
		return
	}
	c.discard()
	x.verdict.Upstream.leave(nil)
}

// run asks for another try if that is sure to do no harm: nothing of the response
// came, the connection was an old one, and the request is idempotent and has no
// body.
func (x *exchange) run() (keep, again bool, err error) {
	defer x.giveBack(false) // if it wasn't, also when something panics
	if err = x.send(); err == nil {
		err = x.responseStart()
	}
	if err != nil {
		if x.mayRetry(err) {
			return false, true, nil
		}
		return x.abandon(err), false, err
	}
	if x.resp.Status == http.StatusSwitchingProtocols {
		return false, false, x.upgrade()
	}
	keep, whole, err := x.relayResponse()
	if x.u != nil {
		if sent := x.join(); !sent {
			whole = false
		}
		if !x.u.read.Load() {
			keep, x.lingers = false, true
		}
	}
	if err == nil {
		x.giveBack(whole)
	}
	return keep, false, err
}

func (x *exchange) mayRetry(err error) bool {
	return x.c.reused && x.bodyless && idempotent(x.head.Method) && !x.sent &&
		x.resp.Status == 0 && len(x.c.rd.Buffered()) == 0 &&
		!errors.Is(err, ErrGone) && !errors.Is(err, errSilent)
}

// abandon answers for an exchange that brought no response.
func (x *exchange) abandon(err error) bool {
	if x.u != nil {
		x.join()
		if x.u.broken {
			return x.badBody(x.u.err)
		}
	}
	return x.fail(err, x.body)
}

func idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// send writes head and body. A body that isn't here yet goes on its way in a
// goroutine that x.u stands for.
func (x *exchange) send() error {
	s, c := x.serving, x.c
	s.resp.Status = 0
	s.out = s.requestHead(s.out[:0])
	chunked := s.head.Body.Kind == h1.Chunked
	if n := len(s.early) - h1.ChunkPrefix - h1.ChunkSuffix; n > 0 {
		s.out = append(s.out, h1.PutChunk(s.early, n)...)
	}
	if n := s.head.Body.Length; s.head.Body.Kind == h1.Length && s.whole == nil && n <= small && int64(len(s.rd.Buffered())) >= n {
		at := len(s.out)
		s.out = append(s.out, s.rd.Buffered()[:n]...)
		for at < len(s.out) {
			m, err := x.body.Read(s.out[at:])
			if err != nil {
				return err
			}
			at += m
		}
		s.rec.In = n
	}
	if x.body.Done() && chunked {
		s.out = h1.AppendLastChunk(s.out, s.cleanTrailers(x.body.Trailers()))
	}
	_, err := c.Write(s.out)
	if err == nil && len(s.whole) > 0 {
		_, err = c.Write(s.whole)
	}
	if x.body.Done() {
		if err != nil && !x.bodyless {
			return nil // the answer, such as a 413, may be there all the same
		}
		return err
	}
	if err != nil {
		return err
	}
	u := &upload{done: make(chan struct{})}
	x.u = u
	c.patient = func() bool { return !u.read.Load() }
	r := &relay{e: s.e, from: &s.link, to: &c.link, body: x.body, chunked: chunked, trailers: s.cleanTrailers, upload: u}
	go func() {
		defer close(u.done)
		u.err = r.run()
		u.n, u.broken = r.n, r.broken
		if u.broken {
			// The upstream must not take what came for all.
			_ = c.Close()
		}
	}()
	return nil
}

// join waits for an upload, which it breaks off if the client hasn't sent all of
// it, and tells whether the upstream got it all.
func (x *exchange) join() bool {
	if x.u.read.Load() {
		t := time.NewTimer(lastWrite)
		select {
		case <-x.u.done:
		case <-t.C:
		}
		t.Stop()
	} else {
		x.u.stop.Store(true)
		_ = x.SetReadDeadline(time.Unix(1, 0))
	}
	forced := false
	select {
	case <-x.u.done:
	default:
		forced = true
		_ = x.c.SetWriteDeadline(time.Unix(1, 0))
		<-x.u.done
	}
	x.readBy = time.Time{}
	x.rec.In += x.u.n
	if x.u.err != nil && !isTimeout(x.u.err) && x.rec.Err == nil {
		x.rec.Err = x.u.err
	}
	return x.u.err == nil && !forced
}

// lastWrite is how long an upstream that has answered may take for the last bytes
// of the request.
const lastWrite = 100 * time.Millisecond

// responseStart reads up to the head of the final response, or of a 101.
func (x *exchange) responseStart() error {
	s, c := x.serving, x.c
	if s.verdict.Masks != nil {
		s.fields = s.verdict.Masks.Fields()
	}
	for range maxInterim {
		for {
			ok, err := c.rd.Response(&s.resp, s.head.Method)
			if err != nil {
				return err
			}
			if ok {
				break
			}
			if err := c.rd.Fill(); err != nil {
				return err
			}
		}
		switch {
		case s.resp.Status >= 200 && s.resp.Status < 300 && s.req.Protocol == canon.WebSocket:
			return errNotUpgraded // it was decided as a WebSocket, and this is a page
		case s.resp.Status >= 200:
			return nil
		case s.resp.Status == http.StatusSwitchingProtocols:
			if s.req.Protocol != canon.WebSocket || !h1.EqualFold(s.resp.Upgrade, "websocket") {
				return errUpgraded
			}
			return nil
		}
		if s.head.Minor == 1 && (s.resp.Status != http.StatusContinue || s.head.Continue) {
			s.out = s.responseHead(s.out[:0], h1.Framing{}, true)
			if err := s.write(s.out); err != nil {
				return ErrGone
			}
		}
		s.resp.Status = 0
		c.rd.Next()
	}
	return errInterim
}

// relayResponse passes the response on. Whole tells that the upstream's connection
// is at the start of its next response.
func (x *exchange) relayResponse() (keep, whole bool, err error) {
	s, c, u := x.serving, x.c, x.u
	in := s.resp.Body
	out := in
	keep = s.reusable() && (u == nil || u.read.Load())
	if in.Kind == h1.UntilClose {
		out.Kind = h1.Chunked // so that a client can tell an end from a break
	}
	if s.head.Minor == 0 && out.Kind == h1.Chunked {
		out.Kind, keep = h1.UntilClose, false
	}
	s.out = s.responseHead(s.out[:0], out, keep)
	s.sent = true
	s.rec.Status = s.resp.Status
	c.wait = s.e.lim.BodyIdle
	s.answers = c.rd.Body(in, s.spare)
	body := &s.answers
	if body.Done() {
		err = s.write(s.out)
	} else {
		r := relay{e: s.e, to: &s.link, body: body, chunked: out.Kind == h1.Chunked, out: s.out, buffered: c.rd, trailers: s.e.said}
		if s.verdict.Masks != nil {
			r, err = x.runMasked(r)
		} else {
			err = r.run()
		}
		s.out, s.rec.Out = r.out, r.n
		s.spare = body.Trailers()[:0]
	}
	if err != nil {
		return false, false, err
	}
	return keep, !s.resp.Close && !s.lastOnConn(), nil
}

// upgrade answers 101 and joins both sides.
func (x *exchange) upgrade() error {
	s, c := x.serving, x.c
	s.out = s.responseHead(s.out[:0], h1.Framing{}, true)
	s.sent = true
	s.rec.Status = http.StatusSwitchingProtocols
	server, ahead := c.Conn, c.rd.Buffered()
	if m := s.bodyMask(); m != nil {
		server, ahead = newMaskedConn(c.Conn, m, ahead), nil
	}
	if err := s.write(append(s.out, ahead...)); err != nil {
		return ErrGone
	}
	if early := s.rd.Buffered(); len(early) > 0 {
		if _, err := c.Write(early); err != nil {
			return err
		}
	}
	t := tunnel{e: s.e, idle: s.e.lim.Idle}
	s.rec.In, s.rec.Out = t.run(s.Conn, server)
	return nil
}
