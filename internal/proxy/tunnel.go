package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/base/canon"
)

// ServeTCP joins a connection with the upstream of an allowed verdict, byte for
// byte and with half-close, until both sides have ended or both are silent for
// Limits.Idle; then it closes both. Without splice between plain sockets it costs a
// copy. Done is called once, with Protocol TCP and the address as Host.
func (e *Engine) ServeTCP(ctx context.Context, nc net.Conn, info ConnInfo, v Verdict) {
	s := e.beginTCP(nc, info, v)
	if s == nil {
		return
	}
	defer s.endTCP()
	if !v.Allow || v.Upstream == nil {
		s.rec.Status = denial(&v).status
		return
	}
	if _, err := v.Upstream.enter(ctx, false); err != nil {
		s.rec.Status, _ = errorStatus(err)
		s.rec.Err = err
		return
	}
	defer v.Upstream.leave(nil)
	up, err := v.Upstream.dial(ctx)
	if err != nil {
		s.rec.Status, _ = errorStatus(err)
		s.rec.Err = err
		return
	}
	s.join(ctx, up, e.lim.Idle)
}

// Tunnel is how two connections are joined.
type Tunnel struct {
	Idle time.Duration // how long both may be silent
	Tag  any           // comes back in the Record
}

// Join is ServeTCP between two connections that are there already. When ctx ends, it closes both at once.
func (e *Engine) Join(ctx context.Context, nc, up net.Conn, info ConnInfo, t Tunnel) {
	s := e.beginTCP(nc, info, Verdict{Allow: true, Tag: t.Tag})
	if s == nil {
		up.Close()
		return
	}
	defer s.endTCP()
	s.join(ctx, up, t.Idle)
}

// beginTCP is nil, nc closed and Done called, if nothing begins any more.
func (e *Engine) beginTCP(nc net.Conn, info ConnInfo, v Verdict) *serving {
	s := &serving{e: e, link: link{Conn: nc}, conn: Conn{ConnInfo: info, Remote: nc.RemoteAddr()}, verdict: v}
	s.req = Request{Request: canon.Request{Protocol: canon.TCP}, Conn: &s.conn}
	s.rec = Record{Request: &s.req, Verdict: &s.verdict, Start: time.Now()}
	if !e.enter(s) {
		s.rec.Err = ErrBusy
		e.cfg.Done(s.finished())
		nc.Close()
		return nil
	}
	return s
}

func (s *serving) endTCP() {
	s.e.cfg.Done(s.finished())
	s.e.leave(s)
	s.Conn.Close()
}

func (s *serving) join(ctx context.Context, up net.Conn, idle time.Duration) {
	defer up.Close()
	nc := s.Conn
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	s.rec.Status = http.StatusOK
	t := tunnel{e: s.e, idle: idle}
	s.rec.In, s.rec.Out = t.run(nc, up)
}

// tunnel copies between two connections.
type tunnel struct {
	e    *Engine
	idle time.Duration
	beat atomic.Uint64 // grows when either side has moved bytes
}

// run returns when both directions have ended; the caller closes both.
func (t *tunnel) run(client, server net.Conn) (in, out int64) {
	_ = client.SetDeadline(time.Time{})
	_ = server.SetDeadline(time.Time{})
	done := make(chan int64)
	go func() { done <- t.copy(server, client) }()
	out = t.copy(client, server)
	return <-done, out
}

// copy moves bytes until src ends, and then ends dst's side. Silence of both
// directions for the idle time, seen as two silent halves of it, ends both.
func (t *tunnel) copy(dst, src net.Conn) (n int64) {
	silent := 0
	for {
		beat := t.beat.Load()
		_ = src.SetReadDeadline(time.Now().Add(t.idle / 2))
		m, err := t.stream(dst, src)
		n += m
		if m > 0 {
			t.beat.Add(1)
		}
		switch {
		case err == nil:
			(&link{Conn: dst}).closeWrite()
			return n
		case !isTimeout(err):
			_ = dst.Close()
			_ = src.Close()
			return n
		case m > 0 || t.beat.Load() != beat:
			silent = 0
		default:
			if silent++; silent == 2 {
				_ = dst.Close()
				_ = src.Close()
				return n
			}
		}
	}
}

func (t *tunnel) stream(dst, src net.Conn) (int64, error) {
	if to, ok := dst.(*net.TCPConn); ok {
		switch src.(type) {
		case *net.TCPConn, *net.UnixConn:
			return to.ReadFrom(src) // splice(2)
		}
	}
	block := t.e.block()
	defer t.e.blocks.Put(block)
	return io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, block[:])
}
