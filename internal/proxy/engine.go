package proxy

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/wardhq/ward/internal/base/h1"
	"github.com/wardhq/ward/internal/proxy/internal/pace"
)

// Engine serves connections. It is safe for use by several goroutines.
type Engine struct {
	cfg     Config
	lim     Limits
	codec   h1.Limits
	drop    *dropList // of requests
	unsaid  *dropList // of responses; nil for none
	said    func([]h1.Field) []h1.Field
	log     *slog.Logger
	buffers h1.Buffers
	blocks  sync.Pool // of *[blockSize]byte, for bodies
	h2      *http2.Server
	h2base  *http.Server // tells the connections of h2 to drain

	draining atomic.Bool // set under mu

	mu    sync.Mutex // guards what follows
	conns map[*serving]struct{}
	wg    sync.WaitGroup // one for each of conns
}

// New returns an Engine that needs no start; Shutdown ends it.
func New(cfg Config) *Engine {
	e := &Engine{cfg: cfg, lim: cfg.Limits.orDefault(), log: cfg.Log, conns: map[*serving]struct{}{}}
	if e.log == nil {
		e.log = slog.Default()
	}
	if e.cfg.Slow == nil {
		e.cfg.Slow = func(*Conn, bool) {}
	}
	if e.cfg.Done == nil {
		e.cfg.Done = func(*Record) {}
	}
	e.codec = h1.Limits{HeadBytes: e.lim.HeadBytes, Fields: e.lim.Fields}
	e.drop = newDropList(cfg.Strip, cfg.Edge)
	if !cfg.Edge {
		// What a service says in Ward's name is a lie; what the agent says, the gateway passes on.
		e.unsaid = newDropList(nil, false)
	}
	e.said = e.cleanSaid // once, for it allocates
	e.startH2()
	return e
}

// The states of a serving, which Shutdown and its goroutine agree on.
const (
	stateActive int32 = iota // a request is being read or served
	stateIdle                // between requests: Shutdown may close it
	stateClosed              // Shutdown has closed it
)

// serving is one client connection and all that its requests need, so that a
// request costs no allocation. It belongs to the goroutine of ServeConn.
type serving struct {
	link
	e       *Engine
	conn    Conn
	address string // client IP, if the Engine needs it
	rd      *h1.Reader
	state   atomic.Int32

	head    h1.Request
	body    h1.Body
	resp    h1.Response
	answers h1.Body // of resp
	req     Request
	verdict Verdict
	rec     Record
	out     []byte       // head being written
	spare   []h1.Field   // room for the response's trailers
	fields  Mask         // for the response's heads and trailers; nil for none
	paced   *pace.Pace   // of bodies; nil until one is awaited
	untaken pace.Untaken // of HTTP/2, bodies that services don't take now
	early   []byte       // what prefetch got, with room for the framing of a chunk
	whole   []byte       // the request's body, if it was read to be signed
	sent    bool         // the final head is on its way to the client
	lingers bool         // the client may still be sending when we close
}

// ServeConn serves one connection until it ends, and closes it. Cancelling ctx
// breaks it off at once; Shutdown lets its requests finish.
func (e *Engine) ServeConn(ctx context.Context, nc net.Conn, info ConnInfo) {
	s := &serving{e: e, link: link{Conn: nc}, conn: Conn{ConnInfo: info, Remote: nc.RemoteAddr()}}
	if e.cfg.Edge {
		s.address = addressOf(s.conn.Remote)
	}
	if !e.enter(s) {
		_ = nc.Close()
		return
	}
	defer e.leave(s)
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	if h2, err := e.handshake(ctx, s); err != nil || h2 {
		if err == nil {
			e.serveH2(ctx, s, nc)
		}
		return
	}
	s.rd = h1.NewReader(&s.link, e.codec, &e.buffers)
	defer s.rd.Release()
	s.strictRead(time.Now(), e.lim.Head)
	if info.AllowH2 && !info.TLS && s.sawPreface() {
		prefix := bytes.Clone(s.rd.Buffered())
		_ = nc.SetReadDeadline(time.Time{})
		e.serveH2(ctx, s, &prefixConn{Conn: nc, prefix: prefix})
		return
	}
	s.serveH1(ctx)
}

// handshake completes TLS, if nc is, and tells whether HTTP/2 was agreed on.
func (e *Engine) handshake(ctx context.Context, s *serving) (bool, error) {
	t, ok := s.Conn.(tlsConn)
	if !ok {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.lim.Head)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return false, err
	}
	return s.conn.AllowH2 && t.ConnectionState().NegotiatedProtocol == "h2", nil
}

const preface = http2.ClientPreface

// sawPreface reads until it knows whether the client speaks HTTP/2.
func (s *serving) sawPreface() bool {
	for {
		got := s.rd.Buffered()
		if n := min(len(got), len(preface)); string(got[:n]) != preface[:n] {
			return false
		} else if n == len(preface) {
			return true
		}
		if err := s.rd.Fill(); err != nil {
			return false // the HTTP/1 loop meets the same error
		}
	}
}

// prefixConn gives back what was read to look at it.
type prefixConn struct {
	net.Conn
	prefix []byte
}

func (c *prefixConn) Read(p []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(p, c.prefix)
		c.prefix = c.prefix[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

func (e *Engine) enter(s *serving) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.draining.Load() || len(e.conns) >= e.lim.Conns {
		return false
	}
	e.conns[s] = struct{}{}
	e.wg.Add(1)
	return true
}

func (e *Engine) leave(s *serving) {
	e.mu.Lock()
	delete(e.conns, s)
	e.mu.Unlock()
	e.wg.Done()
}

// Conns is the number of connections being served.
func (e *Engine) Conns() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.conns)
}

// Shutdown refuses new connections, lets requests in flight finish ("Connection:
// close", GOAWAY), closes the rest, and returns when all have ended. When ctx ends
// first, it breaks off what is left and returns the cause.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	e.draining.Store(true)
	for s := range e.conns {
		if s.state.CompareAndSwap(stateIdle, stateClosed) {
			_ = s.Close()
		}
	}
	e.mu.Unlock()
	// It has no listener and no connections of its own: this only sends GOAWAY.
	_ = e.h2base.Shutdown(ctx)
	done := make(chan struct{})
	go func() {
		e.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	e.mu.Lock()
	for s := range e.conns {
		_ = s.Close()
	}
	e.mu.Unlock()
	<-done
	return context.Cause(ctx)
}

// await waits for the first byte of the next request.
func (s *serving) await(first bool) error {
	if len(s.rd.Buffered()) > 0 {
		return nil
	}
	if !first { // the first wait has the deadline of a head
		s.armRead(time.Now(), s.e.lim.Idle)
	}
	s.state.Store(stateIdle)
	if s.e.draining.Load() && s.state.CompareAndSwap(stateIdle, stateClosed) {
		return net.ErrClosed
	}
	err := s.rd.Fill()
	if !s.state.CompareAndSwap(stateIdle, stateActive) {
		return net.ErrClosed
	}
	return err
}

// serveH1 serves the requests of an HTTP/1 connection, one after the other.
func (s *serving) serveH1(ctx context.Context) {
	for first := true; ; first = false {
		s.rd.Next()
		if s.await(first) != nil || !s.one(ctx) {
			break
		}
	}
	if s.lingers {
		s.linger()
	}
}

// linger lets the client read our last response although it still sends: to close
// at once would reset the connection and lose the response (RFC 9112 §9.6).
func (s *serving) linger() {
	s.closeWrite()
	s.strictRead(time.Now(), 2*time.Second)
	block := s.e.block()
	defer s.e.blocks.Put(block)
	for n := 0; n < 16<<20; {
		m, err := s.Conn.Read(block[:])
		if err != nil {
			return
		}
		n += m
	}
}

// blockSize is the unit in which bodies are copied.
const blockSize = 32 << 10

func (e *Engine) block() *[blockSize]byte {
	if b, ok := e.blocks.Get().(*[blockSize]byte); ok {
		return b
	}
	return new([blockSize]byte)
}

// errorStatus is the HTTP status for an upstream that couldn't be used.
func errorStatus(err error) (status int, public string) {
	switch {
	case errors.Is(err, errSlowBody):
		return http.StatusRequestTimeout, slowBody
	case errors.Is(err, ErrBusy):
		return http.StatusServiceUnavailable, "The service is busy."
	case errors.Is(err, errSilent), errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout, "The service did not answer in time."
	case errors.Is(err, ErrDial), errors.Is(err, ErrClosed):
		return http.StatusBadGateway, "The service is not reachable."
	}
	return http.StatusBadGateway, "The service broke off or sent a malformed response."
}
