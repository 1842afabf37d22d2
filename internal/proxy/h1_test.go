package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/wardtest/need"
)

func TestBodiesOfAllSizesPassBothWays(t *testing.T) {
	w := front(t, setup{}, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(r.ContentLength))
		}
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
	})
	c := client(t)
	for _, size := range []int{0, 1, 100, 8 << 10, 16 << 10, 17 << 10, 100 << 10, 3 << 20} {
		for _, chunked := range []bool{false, true} {
			want := strings.Repeat("0123456789abcdef", size/16+1)[:size]
			var body io.Reader = strings.NewReader(want)
			if chunked {
				body = io.MultiReader(body)
			}
			resp, err := c.Post(w.url+"/echo", "text/plain", body)
			if err != nil {
				t.Fatalf("%d bytes, chunked %v: %v", size, chunked, err)
			}
			got := readAll(t, resp.Body)
			_ = resp.Body.Close()
			if got != want || resp.StatusCode != 200 {
				t.Fatalf("%d bytes, chunked %v: got %d with %d bytes", size, chunked, resp.StatusCode, len(got))
			}
			if r := w.record(); r.In != int64(size) || r.Out != int64(size) || r.Status != 200 || r.Err != nil {
				t.Errorf("%d bytes, chunked %v: record %+v", size, chunked, r)
			}
		}
	}
}

func TestConnectionsAreReused(t *testing.T) {
	var conns atomic.Int32
	w := start(t, raw(t, func(c net.Conn, r *bufio.Reader) {
		conns.Add(1)
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
		}
	}), setup{})
	c := client(t)
	for range 20 {
		resp, err := c.Get(w.url + "/")
		if err != nil {
			t.Fatal(err)
		}
		_ = readAll(t, resp.Body)
		_ = resp.Body.Close()
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d upstream connections, want 1", n)
	}
}

func TestPlainRequestsDoNotAllocate(t *testing.T) {
	w := start(t, raw(t, func(c net.Conn, _ *bufio.Reader) {
		buf := make([]byte, 4096)
		answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			_, _ = c.Write(answer)
		}
	}), setup{})
	e := proxy.New(proxy.Config{Decide: func(context.Context, *proxy.Request) proxy.Verdict {
		return proxy.Verdict{Allow: true, Upstream: w.up}
	}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := ln.Accept(); err == nil {
			e.ServeConn(context.Background(), c, proxy.ConnInfo{AllowH1: true})
		}
	}()
	c := dial(t, ln.Addr().String())
	request, buf := []byte("GET /a/b?c HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"), make([]byte, 4096)
	n := testing.AllocsPerRun(500, func() {
		_, _ = c.Write(request)
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	})
	if n >= 1 {
		t.Errorf("%v allocations a request, want 0", n)
	}
	_ = c.Close()
	<-done
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	w := front(t, setup{}, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path+";") })
	c := dial(t, w.addr)
	_, _ = io.WriteString(c, "GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhiGET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	got := readAll(t, c)
	a, b, cc := strings.Index(got, "/a;"), strings.Index(got, "/b;"), strings.Index(got, "/c;")
	if a < 0 || b < a || cc < b {
		t.Errorf("got %q", got)
	}
}

func TestForwardedIsWhatWasMatched(t *testing.T) {
	heads := make(chan string, 1)
	w := start(t, raw(t, func(c net.Conn, r *bufio.Reader) {
		for {
			var head strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				head.WriteString(line)
				if line == "\r\n" {
					break
				}
			}
			heads <- head.String()
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	}), setup{cfg: proxy.Config{Strip: []string{"Txn-Token"}, Edge: true}})
	c := dial(t, w.addr)
	_, _ = io.WriteString(c, "GET http://SHOP.example.:80/%61/b|c%c3%a9?x=%2f HTTP/1.1\r\nhost: shop.Example:80\r\nX-Ward-Caller: evil\r\nx_ward_caller: evil\r\nX.Ward.Caller: evil\r\nX-Ward-New: evil\r\n"+
		"Txn_Token: evil\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nConnection: X-Drop, keep-alive\r\nX-Drop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Authorization: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nAccept: */*\r\nCookie: a=b\r\n\r\n")
	want := "GET /a/b%7Cc%C3%A9?x=%2f HTTP/1.1\r\nHost: shop.example:80\r\nAccept: */*\r\nCookie: a=b\r\n" +
		"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: shop.example:80\r\nX-Ward-Caller: spiffe://test/a\r\n\r\n"
	if d := cmp.Diff(want, <-heads); d != "" {
		t.Error(d)
	}
	w.record()
	if d := cmp.Diff([]string{"GET /a/b%7Cc%C3%A9?x=%2f"}, w.asked); d != "" {
		t.Error(d)
	}
}

func TestDenial(t *testing.T) {
	w := front(t, setup{}, func(w http.ResponseWriter, r *http.Request) { t.Errorf("%s reached the upstream", r.URL) })
	c := client(t)
	for accept, want := range map[string]string{
		"*/*":              "403 Forbidden\na may not call this.\nid: d-1\n",
		"application/json": `{"status":403,"error":"a may not call this.","id":"d-1"}` + "\n",
	} {
		for _, body := range []string{"", "small", strings.Repeat("large", 300_000)} {
			req, err := http.NewRequestWithContext(t.Context(), "POST", w.url+"/denied/x", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept", accept)
			resp, err := c.Do(req)
			if err != nil {
				t.Fatalf("%d bytes: %v", len(body), err)
			}
			got := readAll(t, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != 403 || resp.Header.Get("X-Ward-Denial") != "d-1" || got != want {
				t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, got)
			}
			if r := w.record(); r.Status != 403 {
				t.Errorf("record %+v", r)
			}
		}
	}
}

func TestServerSentEventsPassAtOnce(t *testing.T) {
	next := make(chan struct{})
	w := front(t, setup{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			_, _ = io.WriteString(w, "data: x\n\n")
			w.(http.Flusher).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})
	resp, err := client(t).Get(w.url + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 100)
	for range 3 {
		n, err := resp.Body.Read(buf)
		if err != nil || string(buf[:n]) != "data: x\n\n" {
			t.Fatalf("got %q, %v", buf[:n], err)
		}
		next <- struct{}{}
	}
}

func TestInterimResponsesPass(t *testing.T) {
	w := front(t, setup{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "ok")
	})
	var hints []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, h.Get("Link")))
		return nil
	}})
	req, _ := http.NewRequestWithContext(ctx, "GET", w.url+"/", nil)
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if d := cmp.Diff([]string{"103</a.css>; rel=preload"}, hints); d != "" || readAll(t, resp.Body) != "ok" {
		t.Error(d)
	}
}

func TestExpectContinue(t *testing.T) {
	w := front(t, setup{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	})
	for path, want := range map[string]string{"/yes": "HTTP/1.1 100 ", "/no": "HTTP/1.1 401 ", "/denied": "HTTP/1.1 403 "} {
		c := dial(t, w.addr)
		_, _ = fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", path)
		r := bufio.NewReader(c)
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, want) {
			t.Fatalf("%s: %q, %v", path, line, err)
		}
		if path != "/yes" {
			continue
		}
		_, _ = r.ReadString('\n')
		_, _ = io.WriteString(c, "hello")
		resp, err := http.ReadResponse(r, nil)
		if err != nil || readAll(t, resp.Body) != "hello" {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestTrailersPassBothWays(t *testing.T) {
	w := front(t, setup{}, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Sum")
		_, _ = w.Write(b)
		w.Header().Set("X-Sum", fmt.Sprint(r.Trailer))
	})
	pr, pw := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), "POST", w.url+"/", pr)
	req.Trailer = http.Header{"X-Mine": nil, "X-Ward-Caller": nil}
	go func() {
		_, _ = io.WriteString(pw, "body")
		req.Trailer.Set("X-Mine", "1")
		req.Trailer.Set("X-Ward-Caller", "evil")
		_ = pw.Close()
	}()
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := readAll(t, resp.Body); got != "body" {
		t.Errorf("body %q", got)
	}
	got := resp.Trailer.Get("X-Sum")
	if !strings.Contains(got, "X-Mine:[1]") || strings.Contains(got, "evil") {
		t.Errorf("trailers %q", got)
	}
}

func TestBodylessResponsesKeepTheConnection(t *testing.T) {
	w := front(t, setup{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/304":
			w.WriteHeader(304)
		case "/204":
			w.WriteHeader(204)
		default:
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "hello")
		}
	})
	c := client(t)
	for _, tt := range []struct {
		method, path string
		status       int
		length       int64
	}{{"HEAD", "/", 200, 5}, {"GET", "/304", 304, 0}, {"GET", "/204", 204, 0}, {"GET", "/", 200, 5}} {
		req, _ := http.NewRequestWithContext(t.Context(), tt.method, w.url+tt.path, nil)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = readAll(t, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != tt.status || resp.ContentLength != tt.length {
			t.Errorf("%+v: %d, length %d", tt, resp.StatusCode, resp.ContentLength)
		}
	}
	if n := w.engine.Conns(); n != 1 {
		t.Errorf("%d client connections, want 1", n)
	}
}

func TestHTTP10(t *testing.T) {
	w := front(t, setup{info: proxy.ConnInfo{AllowH1: true, Host: "catalog"}}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host)
		w.(http.Flusher).Flush()
	})
	c := dial(t, w.addr)
	_, _ = io.WriteString(c, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	got := readAll(t, c)
	if !strings.HasSuffix(got, "\r\n\r\ncatalog") || !strings.Contains(got, "Connection: close") || strings.Contains(got, "chunked") {
		t.Errorf("got %q", got)
	}
}

func TestWebSocket(t *testing.T) {
	w := front(t, setup{}, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if c.Write(r.Context(), kind, append([]byte("re:"), b...)) != nil {
				return
			}
		}
	})
	c, _, err := websocket.Dial(t.Context(), w.url+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := c.Write(t.Context(), websocket.MessageText, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		_, b, err := c.Read(t.Context())
		if err != nil || string(b) != fmt.Sprint("re:", i) {
			t.Fatalf("got %q, %v", b, err)
		}
	}
	_ = c.Close(websocket.StatusNormalClosure, "")
	if r := w.record(); r.Status != 101 || r.Verdict.Tag != canon.WebSocket || r.In == 0 || r.Out == 0 {
		t.Errorf("record %+v", r)
	}
	if _, resp, err := websocket.Dial(t.Context(), w.url+"/denied", nil); err == nil || resp.StatusCode != 403 {
		t.Errorf("denied: %v, %v", resp, err)
	}
}

func TestResponseMayComeBeforeTheRequestEnds(t *testing.T) {
	w := front(t, setup{}, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		buf := make([]byte, 10)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				_, _ = w.Write(buf[:n])
				_ = rc.Flush()
			}
			if err != nil {
				return
			}
		}
	})
	pr, pw := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), "POST", w.url+"/", pr)
	go func() { _, _ = io.WriteString(pw, "0") }()
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 10)
	for i := range 5 {
		n, err := resp.Body.Read(buf)
		if err != nil || string(buf[:n]) != fmt.Sprint(i) {
			t.Fatalf("got %q, %v", buf[:n], err)
		}
		if i < 4 {
			_, _ = fmt.Fprint(pw, i+1)
		}
	}
	_ = pw.Close()
	if got := readAll(t, resp.Body); got != "" {
		t.Errorf("rest %q", got)
	}
}

func TestCurl(t *testing.T) {
	curl := need.Program(t, "curl")
	w := front(t, setup{}, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %d", r.Method, len(b))
	})
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{w.url + "/"}, "GET 0"},
		{[]string{"--http2", w.url + "/"}, "GET 0"}, // offers h2c by Upgrade
		{[]string{"--data", strings.Repeat("x", 3000), "-H", "Expect: 100-continue", w.url + "/"}, "POST 3000"},
		{[]string{"-0", w.url + "/"}, "GET 0"},
		{[]string{w.url + "/denied"}, "403 Forbidden\na may not call this.\nid: d-1\n"},
	} {
		out, err := exec.CommandContext(t.Context(), curl, append([]string{"-s", "--max-time", "10"}, tt.args...)...).Output()
		if err != nil || string(out) != tt.want {
			t.Errorf("curl %v: %q, %v", tt.args[:1], out, err)
		}
	}
}
