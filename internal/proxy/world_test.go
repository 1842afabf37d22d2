package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/proxy"
)

// world is an engine on a loopback listener, in front of one upstream.
type world struct {
	t       testing.TB
	engine  *proxy.Engine
	up      *proxy.Upstream
	addr    string
	url     string
	log     bytes.Buffer
	mu      sync.Mutex
	records []proxy.Record // strings copied
	asked   []string       // method, path and protocol of every Decide
	done    chan struct{}  // a token for each record
}

type setup struct {
	closeAfterBody bool
	cfg            proxy.Config
	info           proxy.ConnInfo
	protocol       proxy.Protocol
	max            int
	listener       net.Listener
	decide         func(*proxy.Request, *proxy.Verdict)
}

// start proxies to the server at addr; paths under /denied are denied.
func start(t testing.TB, addr string, s setup) *world {
	t.Helper()
	w := &world{t: t, done: make(chan struct{}, 10000)}
	w.up = proxy.NewUpstream(proxy.UpstreamConfig{
		Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
		Protocol: s.protocol, MaxConcurrent: s.max, CloseAfterBody: s.closeAfterBody,
	})
	s.cfg.Decide = func(_ context.Context, r *proxy.Request) proxy.Verdict {
		w.mu.Lock()
		w.asked = append(w.asked, r.Method+" "+strings.Clone(r.Target()))
		w.mu.Unlock()
		v := proxy.Verdict{Allow: true, Upstream: w.up, Set: []proxy.Header{{Name: "X-Ward-Caller", Value: "spiffe://test/a"}}, Tag: r.Protocol}
		if strings.HasPrefix(r.Path, "/denied") {
			v = proxy.Verdict{DenialID: "d-1", Public: "a may not call this."}
		}
		if s.decide != nil {
			s.decide(r, &v)
		}
		return v
	}
	s.cfg.Done = func(r *proxy.Record) {
		c := *r
		v := *r.Verdict
		c.Request, c.Verdict = nil, &v
		w.mu.Lock()
		w.records = append(w.records, c)
		w.mu.Unlock()
		w.done <- struct{}{}
	}
	s.cfg.Log = slog.New(slog.NewTextHandler(&w.log, nil))
	w.engine = proxy.New(s.cfg)
	if s.info == (proxy.ConnInfo{}) {
		s.info = proxy.ConnInfo{AllowH1: true, AllowH2: true}
	}
	ln := s.listener
	if ln == nil {
		var err error
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	w.addr = ln.Addr().String()
	w.url = "http://" + w.addr
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { w.engine.ServeConn(ctx, c, s.info) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		cancel()
		wg.Wait()
		w.up.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		if strings.Contains(w.log.String(), "panic") {
			t.Errorf("log: %s", w.log.String())
		}
	})
	return w
}

// record waits for the next record.
func (w *world) record() proxy.Record {
	w.t.Helper()
	select {
	case <-w.done:
	case <-time.After(10 * time.Second):
		w.t.Fatal("no record")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.records[0]
	w.records = w.records[1:]
	return r
}

// front starts an HTTP/1 server with a handler and a world in front of it.
func front(t *testing.T, s setup, h http.HandlerFunc) *world {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return start(t, srv.Listener.Addr().String(), s)
}

func client(t *testing.T) *http.Client {
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// raw is an upstream that gets whole connections.
func raw(t *testing.T, serve func(net.Conn, *bufio.Reader)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				serve(c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String()
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return string(b)
}
