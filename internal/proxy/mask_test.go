package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/proxy"
)

const hidden = "sk_live_4eC39HqLyjWDarjtT1"

var stars = strings.Repeat("*", len(hidden))

// hides masks hidden in everything but what is compressed.
type hides struct{ prints *leak.Fingerprints }

func (h hides) Fields() proxy.Mask { return h.prints.Finder(false, func(leak.Finding) {}) }

func (h hides) Body(_, coding string) proxy.Mask {
	if coding != "" {
		return nil
	}
	return h.Fields()
}

func masked(s setup) setup {
	h := hides{leak.Make([]leak.Secret{{Name: "key", Value: secret.New([]byte(hidden))}})}
	s.decide = func(_ *proxy.Request, v *proxy.Verdict) { v.Masks = h }
	return s
}

// frontH2 is front before a server that speaks HTTP/2 too.
func frontH2(t *testing.T, s setup, h http.HandlerFunc) *world {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return start(t, srv.Listener.Addr().String(), s)
}

func TestResponsesAreMaskedInEveryCut(t *testing.T) {
	want := "a" + stars + "b" + stars
	for name, serve := range map[string]http.HandlerFunc{
		"with a length": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "a", hidden, "b", hidden)
		},
		"in chunks": func(w http.ResponseWriter, _ *http.Request) {
			for _, c := range []byte("a" + hidden + "b" + hidden) {
				_, _ = w.Write([]byte{c})
				_ = http.NewResponseController(w).Flush()
			}
		},
		"with a trailer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Last")
			fmt.Fprint(w, "a", hidden, "b", hidden)
			w.Header().Set("X-Last", "it was "+hidden)
		},
	} {
		h := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Echo", "it is "+hidden+"!")
			w.Header().Add("Set-Cookie", "k="+hidden)
			serve(w, r)
		}
		plain := front(t, masked(setup{}), h)
		h2 := frontH2(t, masked(setup{protocol: proxy.Both}), h)
		for at, c := range map[string]*http.Client{plain.url: client(t), h2.url: h2c(t), plain.url + "/": h2c(t)} {
			resp, err := c.Get(at)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			body := readAll(t, resp.Body)
			if body != want || resp.Header.Get("X-Echo") != "it is "+stars+"!" || resp.Header.Get("Set-Cookie") != "k="+stars {
				t.Errorf("%s, %s: %q, %v", name, resp.Proto, body, resp.Header)
			}
			if got := resp.Trailer.Get("X-Last"); name == "with a trailer" && got != "it was "+stars {
				t.Errorf("%s, %s: trailer %q", name, resp.Proto, got)
			}
		}
	}
}

func TestMaskedStreamsDoNotStall(t *testing.T) {
	next := make(chan struct{})
	h := func(w http.ResponseWriter, r *http.Request) {
		for _, piece := range []string{"data: one\n\n", "no end", "sk_live", strings.TrimPrefix(hidden, "sk_live") + "!"} {
			_, _ = io.WriteString(w, piece)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	}
	plain := front(t, masked(setup{}), h)
	h2 := frontH2(t, masked(setup{protocol: proxy.Both}), h)
	for at, c := range map[string]*http.Client{plain.url: client(t), h2.url: h2c(t), plain.url + "/": h2c(t)} {
		c.Timeout = 10 * time.Second
		resp, err := c.Get(at)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"data: one\n\n", "no end", "sk_live", strings.TrimPrefix(stars, "*******") + "!"} {
			got := make([]byte, len(want))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
				t.Fatalf("%s: %q, %v; want %q", resp.Proto, got, err, want)
			}
			next <- struct{}{}
		}
		if rest := readAll(t, resp.Body); rest != "" {
			t.Errorf("%s: %q", resp.Proto, rest)
		}
	}
}

func TestInterimAndReasonAreMasked(t *testing.T) {
	addr := raw(t, func(c net.Conn, in *bufio.Reader) {
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 103 Hints %s\r\nLink: <%s>\r\n\r\nHTTP/1.1 200 Yes %s\r\nContent-Length: 2\r\nX-A: %s\r\n\r\nok", hidden, hidden, hidden, hidden)
	})
	w := start(t, addr, masked(setup{}))
	c := dial(t, w.addr)
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	got := readAll(t, c)
	if strings.Contains(got, hidden) || strings.Count(got, stars) != 4 || !strings.HasPrefix(got, "HTTP/1.1 103 Hints ***") {
		t.Errorf("%s", got)
	}
}

func TestTunnelsAreMasked(t *testing.T) {
	addr := raw(t, func(c net.Conn, in *bufio.Reader) {
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst %s", hidden[:12])
		_, _ = io.CopyN(c, io.MultiReader(strings.NewReader(hidden[12:]+"! and "), in), int64(len(hidden)-12+6+5))
		time.Sleep(2 * time.Millisecond)
		fmt.Fprint(c, hidden)
	})
	w := start(t, addr, masked(setup{}))
	c := dial(t, w.addr)
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	want := "first " + stars + "! and hello"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(in, got); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	if rest := readAll(t, in); rest != stars {
		t.Errorf("%q", rest)
	}
}

func TestCompressedBodiesPass(t *testing.T) {
	w := front(t, masked(setup{}), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		fmt.Fprint(w, hidden)
	})
	resp, err := client(t).Get(w.url)
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, resp.Body); got != hidden {
		t.Errorf("%q", got)
	}
}

// BenchmarkForward is a small page, HTTP/1.1 on both sides, over loopback.
func BenchmarkForward(b *testing.B) {
	page := bytes.Repeat([]byte(`{"id":"7f3a91c2","name":"Quay"}`), 33)
	for _, how := range []string{"plain", "masked"} {
		b.Run(how, func(b *testing.B) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write(page)
			}))
			defer srv.Close()
			s := setup{}
			if how == "masked" {
				s = masked(s)
			}
			w := start(b, srv.Listener.Addr().String(), s)
			c := &http.Client{Transport: &http.Transport{DisableCompression: true}}
			b.ReportAllocs()
			for b.Loop() {
				resp, err := c.Get(w.url)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				<-w.done
			}
		})
	}
}
