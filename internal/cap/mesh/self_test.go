package mesh

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/wire"
)

// TestOneServiceCantTakeTheKeysFromTheOthers: one whose instances ask for more than anybody answers keeps itself waiting, and nobody else.
func TestOneServiceCantTakeTheKeysFromTheOthers(t *testing.T) {
	var served sync.WaitGroup
	came, stuck := make(chan struct{}, 5*maxSelf), make(chan struct{})
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/greedy") {
			came <- struct{}{}
			<-stuck
		}
	})}
	served.Go(func() { _ = server.Serve(control) })
	m := New(Config{Record: func(wire.Event) {}, Self: &Self{
		Dial:   func(ctx context.Context) (net.Conn, error) { return loopback(control.Addr().String()).Dial(ctx, 0) },
		Target: func(service, _, path string) (string, bool) { return "/" + service + path, true },
	}})
	listen := func(service string) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served.Go(func() { m.serveSelf(service, ln) })
		t.Cleanup(func() { ln.Close() })
		return ln.Addr().String()
	}
	t.Cleanup(served.Wait)
	t.Cleanup(func() { close(stuck); _ = server.Close() })
	for range 5 { // instances
		at := listen("greedy")
		for range maxSelf {
			c, err := loopback(at).Dial(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if _, err := io.WriteString(c, "GET /v1/me HTTP/1.1\r\nHost: ward\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 5 * maxSelf / 2 {
		<-came
	}
	resp, err := (&http.Client{Timeout: 3 * time.Second}).Get("http://" + listen("modest") + "/v1/me")
	if err != nil {
		t.Fatalf("another service: %v", err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusOK {
		t.Errorf("another service: %s", resp.Status)
	}
}
