package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"unsafe"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/proxy"
)

// Decide may use the memory of what it has set again after Done. HTTP/2's compression remembers the fields of earlier requests.
func TestWhatWasSetIsNotReadAfterDone(t *testing.T) {
	for _, protocol := range []proxy.Protocol{proxy.H1, proxy.H2} {
		seen := make(chan string, 1)
		up := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Get("X-Place") }))
		up.Config.Protocols = new(http.Protocols)
		up.Config.Protocols.SetHTTP1(true)
		up.Config.Protocols.SetUnencryptedHTTP2(true)
		up.Start()
		defer up.Close()
		var room [8]byte // of all requests, which come one after the other
		n := 0
		w := start(t, up.Listener.Addr().String(), setup{protocol: protocol, decide: func(_ *proxy.Request, v *proxy.Verdict) {
			n++
			copy(room[:], fmt.Sprintf("%08d", n))
			v.Set = []proxy.Header{{Name: "X-Place", Value: unsafe.String(&room[0], len(room))}}
			v.Tag = canon.HTTP
		}})
		c := h2c(t)
		for i := 1; i <= 2000; i++ {
			resp, err := c.Get(w.url)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			w.record()
			if got, want := <-seen, fmt.Sprintf("%08d", i); got != want {
				t.Fatalf("protocol %v: request %s came as %s", protocol, want, got)
			}
		}
	}
}
