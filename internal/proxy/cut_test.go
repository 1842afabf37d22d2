package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/wardhq/ward/internal/proxy"
)

// What streams on behalf of somebody stops when the right to it ends.
func TestRequestsAreCutWhenTheirRightEnds(t *testing.T) {
	for name, proto := range map[string]int{"HTTP/1.1": 1, "HTTP/2": 2} {
		ended := make(chan struct{})
		gone := make(chan struct{})
		w := front(t, setup{decide: func(_ *proxy.Request, v *proxy.Verdict) { v.Ends = ended }}, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			close(gone)
		})
		c := client(t)
		if proto == 2 {
			c = h2c(t)
		}
		resp, err := c.Get(w.url + "/")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		close(ended)
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: the client takes the stream for whole", name)
		}
		<-gone
		w.record()
		_ = resp.Body.Close()
	}
}

func TestTunnelsAreCutWhenTheirRightEnds(t *testing.T) {
	ended := make(chan struct{})
	gone := make(chan struct{})
	addr := raw(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
			_, _ = io.Copy(io.Discard, r)
			close(gone)
		}
	})
	w := start(t, addr, setup{decide: func(_ *proxy.Request, v *proxy.Verdict) { v.Ends = ended }})
	c := dial(t, w.addr)
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(c)
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	close(ended)
	_, _ = io.Copy(io.Discard, r)
	<-gone
}
