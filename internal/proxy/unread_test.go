package proxy_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/wardhq/ward/internal/proxy"
)

// careless is an HTTP/1.1 server that never reads a body, as handlers of Python's http.server do: it takes the
// bytes for the next request.
func careless(t *testing.T) (addr string, paths func() []string) {
	var mu sync.Mutex
	var seen []string
	addr = raw(t, func(c net.Conn, r *bufio.Reader) {
		for keep := true; keep; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			_, rest, _ := strings.Cut(line, " ")
			path, _, _ := strings.Cut(rest, " ")
			mu.Lock()
			seen = append(seen, path)
			mu.Unlock()
			for line != "\r\n" {
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
				keep = keep && !strings.EqualFold(line, "Connection: close\r\n")
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(path), path)
		}
	})
	return addr, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), seen...)
	}
}

func TestBodyThatAServiceLeavesIsNoRequest(t *testing.T) {
	addr, paths := careless(t)
	w := start(t, addr, setup{closeAfterBody: true, protocol: proxy.H1})
	for name, c := range map[string]*http.Client{"HTTP/1.1": client(t), "HTTP/2": h2c(t)} {
		for i := range 3 {
			resp, err := c.Post(w.url+"/posted", "text/plain", strings.NewReader("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp, err = c.Get(w.url + "/next"); err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, resp.Body); got != "/next" {
				t.Errorf("%s, round %d: the answer to another request came: %q", name, i, got)
			}
			_ = resp.Body.Close()
		}
	}
	for _, p := range paths() {
		if p == "/smuggled" {
			t.Fatal("the service served a request that nobody decided on")
		}
	}
}
