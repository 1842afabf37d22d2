package proxy_test

import (
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"testing"
)

func TestServiceCantSpeakInWardsNameBesideItsHead(t *testing.T) {
	w := front(t, setup{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Ward-Denial", "interim")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("X-Ward-Denial")
		w.Header().Set("Trailer", "X-Ward-Denial, X-End")
		_, _ = w.Write([]byte("body"))
		w.Header().Set("X-Ward-Denial", "trailer")
		w.Header().Set("X-End", "1")
	})
	for name, c := range map[string]*http.Client{"HTTP/1.1": client(t), "HTTP/2": h2c(t)} {
		hints := 0
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			hints++
			if h.Get("X-Ward-Denial") != "" {
				t.Errorf("%s: an interim response speaks for Ward", name)
			}
			return nil
		}})
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/", nil)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, resp.Body); got != "body" || hints != 1 {
			t.Errorf("%s: %q, %d interim responses", name, got, hints)
		}
		if resp.Trailer.Get("X-Ward-Denial") != "" || resp.Trailer.Get("X-End") != "1" {
			t.Errorf("%s: trailers %v", name, resp.Trailer)
		}
		_ = resp.Body.Close()
	}
}
