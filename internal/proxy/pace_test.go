package proxy_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/wardhq/ward/internal/proxy"
)

// trickle writes a byte whenever the last one has been taken, until the other side is closed.
func trickle(c io.Writer) {
	for range time.Tick(5 * time.Millisecond) {
		if _, err := c.Write([]byte("a")); err != nil {
			return
		}
	}
}

// TestSlowBodiesAreCut although something comes all the time: no pause is as long as Limits.BodyIdle.
func TestSlowBodiesAreCut(t *testing.T) {
	slow := make(chan bool, 100)
	cfg := proxy.Config{Limits: proxy.Limits{Rate: 10_000, Grace: 100 * time.Millisecond}, Slow: func(_ *proxy.Conn, s bool) { slow <- s }}
	sign := func(r *proxy.Request, v *proxy.Verdict) {
		if r.Path == "/signed" {
			v.Sign = func([]byte) []proxy.Header { return nil }
		}
	}
	w := front(t, setup{cfg: cfg, decide: sign}, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	told := func(t *testing.T) {
		t.Helper()
		for _, want := range []bool{true, false} {
			select {
			case got := <-slow:
				if got != want {
					t.Errorf("slow is %v, want %v", got, want)
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("slow isn't told to be %v", want)
			}
		}
	}
	for name, head := range map[string]string{
		"of a known length":         "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
		"in chunks":                 "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n",
		"in chunks, but the length": "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1",
		"that is signed":            "POST /signed HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
	} {
		t.Run("HTTP/1 "+name, func(t *testing.T) {
			c := dial(t, w.addr)
			_, _ = io.WriteString(c, head)
			if !strings.HasSuffix(head, "1") {
				go trickle(c)
			}
			b, err := io.ReadAll(c)
			if !strings.HasPrefix(string(b), "HTTP/1.1 408 ") {
				t.Errorf("got %q %v", b, err)
			}
			told(t)
		})
	}
	for _, path := range []string{"/", "/signed"} {
		t.Run("HTTP/2 "+path, func(t *testing.T) {
			r, pw := io.Pipe()
			go trickle(pw)
			defer r.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			q, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+path, r)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := h2c(t).Do(q)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			if path == "/signed" && (resp == nil || resp.StatusCode != http.StatusRequestTimeout) || path == "/" && resp != nil && resp.StatusCode == http.StatusOK && err == nil {
				t.Errorf("%+v %v", resp, err)
			}
			told(t)
		})
	}
}

// TestWhatIsNoSlowBodyGoesOn: a service that takes its time, before and after it has the body, and a gRPC stream.
func TestWhatIsNoSlowBodyGoesOn(t *testing.T) {
	const grace, size = 400 * time.Millisecond, 16 << 20
	cfg := proxy.Config{Limits: proxy.Limits{Rate: 1000, Grace: grace}, Slow: func(*proxy.Conn, bool) { t.Error("somebody is slow") }}
	late := func(w http.ResponseWriter, r *http.Request) {
		<-time.After(2 * grace) // meanwhile the client can't bring more
		if n, err := io.Copy(io.Discard, r.Body); n != size || err != nil {
			t.Errorf("%d bytes came: %v", n, err)
		}
		<-time.After(2 * grace)
	}
	h1 := front(t, setup{cfg: cfg}, late)
	for name, c := range map[string]*http.Client{"HTTP/1": client(t), "HTTP/2": h2c(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp, err := c.Post(h1.url, "", bytes.NewReader(make([]byte, size)))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Error(resp.Status)
			}
		})
	}
	t.Run("gRPC", func(t *testing.T) {
		t.Parallel()
		w := start(t, echoServer(t), setup{cfg: cfg, protocol: proxy.H2})
		stream := openEcho(t.Context(), t, grpcClient(t, w.addr))
		<-time.After(2 * grace) // nobody says anything
		got := &structpb.Value{}
		if err := stream.SendMsg(structpb.NewStringValue("late")); err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(got); err != nil || got.GetStringValue() != "late" {
			t.Errorf("%q %v", got, err)
		}
	})
}

// TestAnAnswerThatNobodyTakesIsCut, so that it doesn't hold its service for ever.
func TestAnAnswerThatNobodyTakesIsCut(t *testing.T) {
	w := front(t, setup{cfg: proxy.Config{Limits: proxy.Limits{BodyIdle: 100 * time.Millisecond}}}, func(w http.ResponseWriter, _ *http.Request) {
		for range 1000 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	c := dial(t, w.addr)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if r := w.record(); r.Err == nil || r.Out == 64_000<<10 {
		t.Errorf("HTTP/1: %+v", r)
	}
	resp, err := h2c(t).Get(w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if r := w.record(); r.Err == nil || r.Out == 64_000<<10 {
		t.Errorf("HTTP/2: %+v", r)
	}
}

// TestABodyThatWaitsForAnotherIsntSlow: on one connection of HTTP/2 a service that doesn't take one body keeps the client from bringing others.
func TestABodyThatWaitsForAnotherIsntSlow(t *testing.T) {
	const grace, size = 400 * time.Millisecond, 16 << 20
	cfg := proxy.Config{Limits: proxy.Limits{Rate: 1000, Grace: grace}, Slow: func(*proxy.Conn, bool) { t.Error("somebody is slow") }}
	stuck, free := make(chan struct{}), make(chan struct{})
	w := front(t, setup{cfg: cfg}, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/first" {
			close(stuck)
			<-free
		}
		if n, err := io.Copy(io.Discard, r.Body); n != size || err != nil {
			t.Errorf("%s: %d bytes came: %v", r.URL.Path, n, err)
		}
	})
	c := h2c(t)
	done := make(chan error)
	post := func(path string) {
		resp, err := c.Post(w.url+path, "", bytes.NewReader(make([]byte, size)))
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", path, resp.Status)
			}
		}
		done <- err
	}
	go post("/first")
	<-stuck
	<-time.After(grace / 2) // it fills what there is room for
	go post("/second")
	<-time.After(3 * grace)
	close(free)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
