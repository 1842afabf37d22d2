package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/proxy"
)

func TestAnEarlyRefusalReachesAClientThatStillSends(t *testing.T) {
	w := front(t, setup{}, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	})
	resp, err := client(t).Post(w.url+"/", "text/plain", strings.NewReader(strings.Repeat("x", 800<<10)))
	if err != nil || resp.StatusCode != 413 {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
}

// TestClientCancelClosesTheUpstream: and the record tells of a client that waited in vain, unless it is the client that owed something.
func TestClientCancelClosesTheUpstream(t *testing.T) {
	for name, c := range map[string]struct {
		client func(*testing.T) *http.Client
		body   func(context.Context) io.Reader
		gone   bool
	}{
		"HTTP/1":                       {client, nothing, true},
		"HTTP/1, with a body":          {client, all, true},
		"HTTP/1, in the middle of one": {client, half, false},
		"HTTP/2":                       {h2c, nothing, true},
		"HTTP/2, with a body":          {h2c, all, true},
		"HTTP/2, in the middle of one": {h2c, half, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			started, ended := make(chan struct{}), make(chan struct{})
			w := front(t, setup{}, func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				if !c.gone {
					_, _ = r.Body.Read(make([]byte, 1))
					close(started)
				}
				_, _ = io.Copy(io.Discard, r.Body)
				if c.gone {
					close(started)
					<-r.Context().Done()
				}
			})
			ctx, cancel := context.WithCancel(t.Context())
			req, _ := http.NewRequestWithContext(ctx, http.MethodPut, w.url+"/", c.body(ctx))
			go func() { <-started; cancel() }()
			if _, err := c.client(t).Do(req); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			<-ended
			if r := w.record(); r.Status != 0 || r.Err == nil || errors.Is(r.Err, proxy.ErrGone) != c.gone {
				t.Errorf("record %+v", r)
			}
		})
	}
}

func nothing(context.Context) io.Reader { return nil }

func all(context.Context) io.Reader { return strings.NewReader("all of it") }

// half is a body that doesn't end before ctx.
func half(ctx context.Context) io.Reader {
	r, w := io.Pipe()
	go func() { _, _ = io.WriteString(w, "half of it"); <-ctx.Done(); w.CloseWithError(ctx.Err()) }()
	return r
}

func TestABrokenResponseIsNotTakenForWhole(t *testing.T) {
	for name, resp := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, raw(t, func(c net.Conn, r *bufio.Reader) {
				_, _ = http.ReadRequest(r)
				_, _ = io.WriteString(c, resp)
			}), setup{})
			r, err := client(t).Get(w.url + "/")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			if b, err := io.ReadAll(r.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}

func TestBadUpstreamsAre502(t *testing.T) {
	for name, resp := range map[string]string{
		"nothing":             "",
		"not HTTP":            "SSH-2.0-x\r\n\r\n",
		"both framings":       "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
		"splitting":           "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
		"unasked 101":         "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
		"half a head":         "HTTP/1.1 200 OK\r\nContent-Le",
		"endless interim":     strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 20),
		"space before colon":  "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
		"control in a reason": "HTTP/1.1 200 O\x01K\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, raw(t, func(c net.Conn, r *bufio.Reader) {
				_, _ = http.ReadRequest(r)
				_, _ = io.WriteString(c, resp)
			}), setup{})
			r, err := client(t).Post(w.url+"/", "text/plain", strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			if got := readAll(t, r.Body); r.StatusCode != 502 || strings.Contains(got, "127.0.0.1") {
				t.Errorf("%d %q", r.StatusCode, got)
			}
		})
	}
	w := start(t, "127.0.0.1:1", setup{})
	r, err := client(t).Get(w.url + "/")
	if err != nil || r.StatusCode != 502 {
		t.Errorf("down: %v, %v", r, err)
	}
	_ = r.Body.Close()
}

func TestOnlySafeRequestsAreTriedAgain(t *testing.T) {
	for _, tt := range []struct {
		method, body string
		want         int
	}{{"GET", "", 200}, {"PUT", "", 200}, {"POST", "", 502}, {"PUT", "x", 502}} {
		t.Run(tt.method+tt.body, func(t *testing.T) {
			var n atomic.Int32
			w := start(t, raw(t, func(c net.Conn, r *bufio.Reader) {
				for i := 0; ; i++ {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					if n.Add(1) == 2 {
						return // dies at the second request, after reading it
					}
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			}), setup{})
			c := client(t)
			for _, want := range []int{200, tt.want} {
				req, _ := http.NewRequestWithContext(t.Context(), tt.method, w.url+"/", strings.NewReader(tt.body))
				if n.Load() == 0 {
					req, _ = http.NewRequestWithContext(t.Context(), "GET", w.url+"/", nil)
				}
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = readAll(t, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != want {
					t.Errorf("status %d, want %d", resp.StatusCode, want)
				}
			}
		})
	}
}

func TestUpstreamQueueIsBounded(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{}, 10)
	w := front(t, setup{max: 1}, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
	})
	status := make(chan int, 3)
	var wg sync.WaitGroup
	get := func() {
		wg.Go(func() {
			resp, err := client(t).Get(w.url + "/")
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
			status <- resp.StatusCode
		})
	}
	get()
	<-arrived
	get()
	get() // one of these waits, the other is refused at once
	if got := <-status; got != 503 {
		t.Errorf("status %d, want 503", got)
	}
	close(release)
	wg.Wait()
	if a, b := <-status, <-status; a != 200 || b != 200 {
		t.Errorf("status %d and %d", a, b)
	}
}

func TestSlowHeadsAndBodiesTimeOut(t *testing.T) {
	lim := proxy.Limits{Head: 100 * time.Millisecond, BodyIdle: 100 * time.Millisecond, Idle: 200 * time.Millisecond}
	w := front(t, setup{cfg: proxy.Config{Limits: lim}}, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	for name, tt := range map[string]struct{ send, want string }{
		"nothing":      {"", ""},
		"half a head":  {"GET / HTTP/1.1\r\nHost: x\r\n", "HTTP/1.1 408 "},
		"half a body":  {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", "HTTP/1.1 408 "},
		"half a chunk": {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "HTTP/1.1 408 "},
		"idle":         {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, w.addr)
			_, _ = io.WriteString(c, tt.send)
			got := readAll(t, c)
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestAnUpstreamThatStaysSilentIs504(t *testing.T) {
	hold := make(chan struct{})
	w := start(t, raw(t, func(c net.Conn, r *bufio.Reader) { <-hold }), setup{cfg: proxy.Config{Limits: proxy.Limits{ResponseStart: 100 * time.Millisecond}}})
	t.Cleanup(func() { close(hold) })
	resp, err := client(t).Get(w.url + "/")
	if err != nil || resp.StatusCode != 504 {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
}

func TestShutdownLetsRequestsFinish(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	w := front(t, setup{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(arrived)
			<-release
		}
		_, _ = io.WriteString(w, "done")
	})
	idle := dial(t, w.addr)
	_, _ = io.WriteString(idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(idle), nil); err != nil {
		t.Fatal(err)
	}
	type result struct {
		body string
		err  error
	}
	got := make(chan result)
	go func() {
		resp, err := client(t).Get(w.url + "/slow")
		if err != nil {
			got <- result{"", err}
			return
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		got <- result{string(b), err}
	}()
	<-arrived
	ended := make(chan error)
	go func() { ended <- w.engine.Shutdown(context.Background()) }()
	if _, err := io.ReadAll(idle); err != nil {
		t.Errorf("idle connection: %v", err)
	}
	close(release)
	if r := <-got; r.err != nil || r.body != "done" {
		t.Errorf("request in flight: %+v", r)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAPanicIs500AndNothingElse(t *testing.T) {
	w := front(t, setup{decide: func(r *proxy.Request, v *proxy.Verdict) {
		if r.Path == "/boom" {
			panic("secret detail")
		}
	}}, func(w http.ResponseWriter, r *http.Request) {})
	resp, err := client(t).Get(w.url + "/boom")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := readAll(t, resp.Body); resp.StatusCode != 500 || strings.Contains(got, "secret") || !strings.Contains(got, "internal error") {
		t.Errorf("%d %q", resp.StatusCode, got)
	}
	if r := w.record(); r.Status != 500 || r.Err == nil {
		t.Errorf("record %+v", r)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !strings.Contains(w.log.String(), "secret detail") {
		t.Error("the panic isn't in the log")
	}
	w.log.Reset()
}
