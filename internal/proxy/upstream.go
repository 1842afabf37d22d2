package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/wardhq/ward/internal/base/h1"
)

// Protocol is what an upstream speaks.
type Protocol uint8

// The protocols. The zero value is the usual service.
const (
	H1   Protocol = iota // HTTP/1.1, whatever the client speaks
	H2                   // HTTP/2 with prior knowledge only
	Both                 // what the client speaks
)

// UpstreamConfig describes one destination. Only Dial has no default.
type UpstreamConfig struct {
	// Dial opens a connection, TLS included; its context ends with DialTimeout.
	Dial        func(context.Context) (net.Conn, error)
	Protocol    Protocol
	DialTimeout time.Duration // 5 s
	IdleTimeout time.Duration // after which a connection without request is closed; 1 min
	// MaxConcurrent bounds the requests in flight, and so the HTTP/1.1 connections;
	// 1,024. As many again wait for at most DialTimeout; more are refused with 503.
	MaxConcurrent int
	// CloseAfterBody ends an HTTP/1.1 connection after a request with a body. A server that leaves a body unread takes
	// it for the next request, which nobody decided on; "Connection: close" keeps it from reading on.
	CloseAfterBody bool
}

// Upstream is a pool of connections to one destination, safe for use by several
// goroutines and Engines. Close it after the last.
type Upstream struct {
	cfg UpstreamConfig
	h1t *http.Transport  // for HTTP/2 clients of an HTTP/1.1 service
	h2t *http2.Transport // for HTTP/2 services

	mu      sync.Mutex // guards what follows
	active  int
	waiting []chan struct{} // each is closed when its turn comes
	idle    []*upConn       // the last used is the last
	sweep   *time.Timer     // runs while idle isn't empty
	closed  bool
}

// Errors of an upstream, as they reach Record.Err. ErrGone is a client's that had said all of its request, and left before the answer, or in the
// middle of it.
var (
	ErrBusy        = errors.New("too many requests wait for the upstream, or connections are open")
	ErrClosed      = errors.New("the upstream is closed")
	ErrDial        = errors.New("dial upstream")
	ErrGone        = errors.New("the client went away")
	errSilent      = errors.New("the upstream sent nothing in time")
	errUpgraded    = errors.New("the upstream switched protocols unasked")
	errNotUpgraded = errors.New("the upstream answered a WebSocket's handshake with a page")
	errInterim     = errors.New("the upstream sent too many interim responses")
)

// NewUpstream returns an empty pool.
func NewUpstream(cfg UpstreamConfig) *Upstream {
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = 5 * time.Second
	}
	if cfg.IdleTimeout <= 0 {
		cfg.IdleTimeout = time.Minute
	}
	if cfg.MaxConcurrent <= 0 {
		cfg.MaxConcurrent = 1024
	}
	u := &Upstream{cfg: cfg}
	u.transports()
	return u
}

// Close closes the connections that serve no request; the others follow when their
// request ends.
func (u *Upstream) Close() {
	u.mu.Lock()
	idle := u.idle
	u.idle, u.closed = nil, true
	if u.sweep != nil {
		u.sweep.Stop()
	}
	u.mu.Unlock()
	for _, c := range idle {
		c.discard()
	}
	u.h1t.CloseIdleConnections()
	u.h2t.CloseIdleConnections()
}

// dial opens a connection within DialTimeout.
func (u *Upstream) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, u.cfg.DialTimeout)
	defer cancel()
	c, err := u.cfg.Dial(ctx)
	if err != nil {
		return nil, errors.Join(ErrDial, err)
	}
	return c, nil
}

// enter takes one of the places for requests in flight, and, if wanted, an idle
// connection, nil if there is none. Each enter needs a leave.
func (u *Upstream) enter(ctx context.Context, reuse bool) (*upConn, error) {
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		return nil, ErrClosed
	}
	if u.active < u.cfg.MaxConcurrent {
		u.active++
		c := u.popIdle(reuse)
		u.mu.Unlock()
		return c, nil
	}
	if len(u.waiting) >= u.cfg.MaxConcurrent {
		u.mu.Unlock()
		return nil, ErrBusy
	}
	turn := make(chan struct{})
	u.waiting = append(u.waiting, turn)
	u.mu.Unlock()
	return u.await(ctx, turn, reuse)
}

func (u *Upstream) await(ctx context.Context, turn chan struct{}, reuse bool) (*upConn, error) {
	t := time.NewTimer(u.cfg.DialTimeout)
	defer t.Stop()
	err := ErrBusy
	select {
	case <-turn:
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.popIdle(reuse), nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-t.C:
	}
	u.mu.Lock()
	for i, w := range u.waiting {
		if w == turn {
			u.waiting = append(u.waiting[:i], u.waiting[i+1:]...)
			u.mu.Unlock()
			return nil, err
		}
	}
	u.mu.Unlock()
	u.leave(nil) // the turn came at the same moment: pass it on
	return nil, err
}

// popIdle needs mu.
func (u *Upstream) popIdle(reuse bool) *upConn {
	if !reuse || len(u.idle) == 0 {
		return nil
	}
	c := u.idle[len(u.idle)-1]
	u.idle[len(u.idle)-1] = nil
	u.idle = u.idle[:len(u.idle)-1]
	return c
}

// leave gives the place back, and keeps c, if not nil, for the next request.
func (u *Upstream) leave(c *upConn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if c != nil {
		if u.closed {
			defer c.discard()
		} else {
			u.idle = append(u.idle, c)
			if len(u.idle) == 1 {
				u.armSweep()
			}
		}
	}
	if len(u.waiting) > 0 {
		close(u.waiting[0])
		u.waiting = u.waiting[1:]
		return
	}
	u.active--
}

// armSweep needs mu.
func (u *Upstream) armSweep() {
	if u.sweep == nil {
		u.sweep = time.AfterFunc(u.cfg.IdleTimeout, u.closeStale)
		return
	}
	u.sweep.Reset(u.cfg.IdleTimeout)
}

func (u *Upstream) closeStale() {
	u.mu.Lock()
	before := time.Now().Add(-u.cfg.IdleTimeout)
	n := 0
	for n < len(u.idle) && !u.idle[n].since.After(before) {
		n++
	}
	stale := append([]*upConn(nil), u.idle[:n]...)
	u.idle = append(u.idle[:0], u.idle[n:]...)
	if len(u.idle) > 0 && !u.closed {
		u.armSweep()
	}
	u.mu.Unlock()
	for _, c := range stale {
		c.discard()
	}
}

// connect is enter and, if there is no usable idle connection, dial.
func (u *Upstream) connect(ctx context.Context, e *Engine, reuse bool, now time.Time) (*upConn, error) {
	c, err := u.enter(ctx, reuse)
	if err != nil {
		return nil, err
	}
	for c != nil {
		idle := now.Sub(c.since)
		if idle < u.cfg.IdleTimeout && (idle < trustIdle || !c.stirred()) {
			c.reused = true
			return c, nil
		}
		c.discard()
		u.mu.Lock()
		c = u.popIdle(true)
		u.mu.Unlock()
	}
	nc, err := u.dial(ctx)
	if err != nil {
		u.leave(nil)
		return nil, err
	}
	c = &upConn{link: link{Conn: nc}}
	c.rd = h1.NewReader(c, e.codec, &e.buffers)
	return c, nil
}

// trustIdle is how long an idle connection is taken without a look whether its
// server closed it or sent something unasked, such as a 408.
const trustIdle = 50 * time.Millisecond

// Tick is how often a wait for the upstream is broken off to look at the client: a Record tells of an ErrGone at most so much late.
const Tick = 400 * time.Millisecond

// upConn is one HTTP/1.1 connection to an upstream. It belongs to one request at a
// time.
type upConn struct {
	link
	rd     *h1.Reader
	since  time.Time // idle since
	reused bool

	client  *link         // who waits; looked at every Tick
	wait    time.Duration // how long a read may take
	patient func() bool   // the clock doesn't run yet: the request is still on its way
	quiet   func() error  // called when a read has waited for a pause; nil for nothing
}

// Read waits at most c.wait, and not for a client who has gone.
func (c *upConn) Read(p []byte) (int, error) {
	var waited time.Duration
	if c.quiet != nil {
		c.strictRead(time.Now(), pause)
	}
	for {
		n, err := c.Conn.Read(p)
		if n > 0 || err == nil || !isTimeout(err) {
			return n, err
		}
		if c.quiet != nil && c.quiet() != nil {
			return 0, ErrGone
		}
		waited += Tick
		switch {
		case c.client != nil && c.client.gone():
			return 0, ErrGone
		case c.patient != nil && c.patient():
			waited = 0
		case waited > c.wait:
			return 0, errSilent
		}
		c.strictRead(time.Now(), Tick)
	}
}

// begin readies c for a request.
func (c *upConn) begin(now time.Time, client *link, lim *Limits) {
	c.client, c.wait, c.patient = client, lim.ResponseStart, nil
	if left := c.readBy.Sub(now); left < Tick/2 || left > Tick {
		c.strictRead(now, Tick)
	}
	c.armWrite(now, lim.BodyIdle)
}

func (c *upConn) discard() {
	_ = c.Close()
	if c.rd != nil {
		c.rd.Release()
		c.rd = nil
	}
}
