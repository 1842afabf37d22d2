package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/proxy"
)

// tcp serves one connection at layer 4 and returns the client's end of it.
func tcp(t *testing.T, addr string, lim proxy.Limits, allow bool) (net.Conn, chan proxy.Record) {
	t.Helper()
	records := make(chan proxy.Record, 1)
	e := proxy.New(proxy.Config{Limits: lim, Done: func(r *proxy.Record) {
		if r.Request.Protocol != canon.TCP {
			t.Errorf("protocol %v", r.Request.Protocol)
		}
		records <- *r
	}})
	up := proxy.NewUpstream(proxy.UpstreamConfig{Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		e.ServeTCP(context.Background(), c, proxy.ConnInfo{}, proxy.Verdict{Allow: allow, Upstream: up})
	})
	c := dial(t, ln.Addr().String())
	t.Cleanup(func() { _ = c.Close(); _ = ln.Close(); wg.Wait(); up.Close() })
	return c, records
}

func TestTCPPassesHalfCloseAndCounts(t *testing.T) {
	addr := raw(t, func(c net.Conn, r *bufio.Reader) {
		b, _ := io.ReadAll(r)
		_, _ = io.WriteString(c, strings.ToUpper(string(b))+"!")
	})
	c, records := tcp(t, addr, proxy.Limits{}, true)
	want := strings.Repeat("abc", 500_000)
	go func() {
		_, _ = io.WriteString(c, want)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	if got := readAll(t, c); got != strings.ToUpper(want)+"!" {
		t.Errorf("%d bytes", len(got))
	}
	if r := <-records; r.In != 1_500_000 || r.Out != 1_500_001 || r.Status != 200 {
		t.Errorf("record %+v", r)
	}
}

func TestTCPDenialAndSilence(t *testing.T) {
	addr := raw(t, func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) })
	c, records := tcp(t, addr, proxy.Limits{}, false)
	if got := readAll(t, c); got != "" {
		t.Errorf("got %q", got)
	}
	if r := <-records; r.Status != 403 {
		t.Errorf("record %+v", r)
	}
	c, records = tcp(t, addr, proxy.Limits{Idle: 100 * time.Millisecond}, true)
	_, _ = io.WriteString(c, "x")
	_, _ = io.ReadAll(c) // ends because both are silent
	if r := <-records; r.In != 1 {
		t.Errorf("record %+v", r)
	}
}

func TestAConnectionThatIsOneTooManyIsToldOf(t *testing.T) {
	records := make(chan proxy.Record, 2)
	e := proxy.New(proxy.Config{Done: func(r *proxy.Record) { records <- *r }})
	if err := e.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, other := net.Pipe()
	defer other.Close()
	e.ServeTCP(t.Context(), c, proxy.ConnInfo{}, proxy.Verdict{Allow: true, Tag: "tag"})
	e.Join(t.Context(), c, c, proxy.ConnInfo{}, proxy.Tunnel{Tag: "tag"})
	if len(records) != 2 {
		t.Fatalf("%d records", len(records))
	}
	for range 2 {
		if r := <-records; r.Verdict.Tag != "tag" || !errors.Is(r.Err, proxy.ErrBusy) || r.Request.Protocol != canon.TCP {
			t.Errorf("record %+v", r)
		}
	}
}
