package h1_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/h1"
)

// readRequest parses the first request of src, and its body.
func readRequest(src io.Reader, lim h1.Limits) (q h1.Request, body string, trailers []h1.Field, err error) {
	r := h1.NewReader(src, lim, new(h1.Buffers))
	for {
		ok, err := r.Request(&q)
		if err != nil {
			return q, "", nil, err
		}
		if ok {
			break
		}
		if err := r.Fill(); err != nil {
			return q, "", nil, err
		}
	}
	b := r.Body(q.Body, nil)
	all, err := io.ReadAll(&b)
	return q, string(all), b.Trailers(), err
}

func readResponse(src io.Reader, method string) (p h1.Response, body string, err error) {
	r := h1.NewReader(src, h1.Limits{}, new(h1.Buffers))
	for {
		ok, err := r.Response(&p, method)
		if err != nil {
			return p, "", err
		}
		if ok {
			break
		}
		if err := r.Fill(); err != nil {
			return p, "", err
		}
	}
	b := r.Body(p.Body, nil)
	all, err := io.ReadAll(&b)
	return p, string(all), err
}

func TestRequest(t *testing.T) {
	type want struct {
		Line, Host, Body, Upgrade string
		Close, Continue           bool
		Nominated, Trailers       []string
	}
	tests := []struct {
		name, in string
		want     want
	}{
		{"plain", "GET /a?b HTTP/1.1\r\nHost: x\r\nA:  b \t\r\n\r\n", want{Line: "GET /a?b", Host: "x"}},
		{"length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcd", want{Line: "POST /", Host: "x", Body: "abc"}},
		{"length zero", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\nabcd", want{Line: "POST /", Host: "x"}},
		{
			"chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\nGET",
			want{Line: "POST /", Host: "x", Body: "abc0123456789", Trailers: []string{"X-T"}},
		},
		{"HTTP/1.0 closes", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", want{Line: "GET /", Close: true}},
		{"close", "GET / HTTP/1.1\r\nHost: x\r\nConnection: a, Close,,TE\r\n\r\n", want{Line: "GET /", Host: "x", Close: true, Nominated: []string{"a"}}},
		{"upgrade", "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", want{Line: "GET /", Host: "x", Upgrade: "websocket"}},
		{"upgrade that Connection doesn't name", "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", want{Line: "GET /", Host: "x"}},
		{"expect", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\na", want{Line: "POST /", Host: "x", Body: "a", Continue: true}},
	}
	for _, tt := range tests {
		for kind, src := range map[string]io.Reader{
			"at once": strings.NewReader(tt.in), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.in)),
		} {
			t.Run(tt.name+" "+kind, func(t *testing.T) {
				q, body, trailers, err := readRequest(src, h1.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				got := want{Line: q.Method + " " + q.Target, Host: q.Host, Body: body, Upgrade: q.Upgrade, Close: q.Close, Continue: q.Continue}
				got.Nominated = append(got.Nominated, q.Nominated...)
				for _, f := range trailers {
					got.Trailers = append(got.Trailers, f.Name)
				}
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Error(d)
				}
			})
		}
	}
}

func TestLimits(t *testing.T) {
	lim := h1.Limits{HeadBytes: 2000, LineBytes: 1000, Fields: 10}
	tests := []struct {
		name, in string
		err      error
	}{
		{"many fields", "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("a: b\r\n", 10) + "\r\n", h1.ErrFieldCount},
		{"long line", "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 1000) + "\r\n\r\n", h1.ErrLineBytes},
		{"endless line", "GET /" + strings.Repeat("a", 100000), h1.ErrLineBytes},
		{"large head", "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: "+strings.Repeat("a", 900)+"\r\n", 3) + "\r\n", h1.ErrHeadBytes},
		{"large trailers", "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("A: "+strings.Repeat("a", 900)+"\r\n", 3) + "\r\n", h1.ErrHeadBytes},
		{"long extension", "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0;" + strings.Repeat("a", 5000), h1.ErrChunk},
		{"many extensions", "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\na\r\n", 17), h1.ErrChunk},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, _, err := readRequest(strings.NewReader(tt.in), lim); !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
		})
	}
	if got := h1.ErrHeadBytes.Status(); got != 431 {
		t.Errorf("status %d, want 431", got)
	}
}

func TestResponse(t *testing.T) {
	const chunked = "Transfer-Encoding: chunked\r\n"
	tests := []struct {
		name, method, in, body string
		err                    error
	}{
		{"length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", "ab", nil},
		{"no reason", "GET", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nab", "ab", nil},
		{"chunked", "GET", "HTTP/1.1 200 OK\r\n" + chunked + "\r\n1\r\na\r\n0\r\n\r\n", "a", nil},
		{"until close", "GET", "HTTP/1.0 200 OK\r\n\r\nabc", "abc", nil},
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "", nil},
		{"HEAD chunked", "HEAD", "HTTP/1.1 200 OK\r\n" + chunked + "\r\n", "", nil},
		{"no content", "GET", "HTTP/1.1 204 No Content\r\n\r\nabc", "", nil},
		{"not modified", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "", nil},
		{"interim", "GET", "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", "", nil},
		{"equal lengths", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", "ab", nil},

		{"cut length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "ab", io.ErrUnexpectedEOF},
		{"cut chunk", "GET", "HTTP/1.1 200 OK\r\n" + chunked + "\r\n1\r\na\r\n", "a", io.ErrUnexpectedEOF},
		{"different lengths", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab", "", h1.ErrLength},
		{"both framings", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + chunked + "\r\n", "", h1.ErrBothFramings},
		{"other coding", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "", h1.ErrCoding},
		{"chunked in 1.0", "GET", "HTTP/1.0 200 OK\r\n" + chunked + "\r\n", "", h1.ErrCodingOn10},
		{"chunked 204", "GET", "HTTP/1.1 204 No\r\n" + chunked + "\r\n", "", h1.ErrCoding},
		{"bare LF", "GET", "HTTP/1.1 200 OK\nA: b\n\n", "", h1.ErrBareLF},
		{"bare CR", "GET", "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", "", h1.ErrFieldValue},
		{"fold", "GET", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "", h1.ErrFold},
		{"other version", "GET", "HTTP/2.0 200 OK\r\n\r\n", "", h1.ErrStatusLine},
		{"small status", "GET", "HTTP/1.1 099 OK\r\n\r\n", "", h1.ErrStatusLine},
		{"large status", "GET", "HTTP/1.1 600 OK\r\n\r\n", "", h1.ErrStatusLine},
		{"long status", "GET", "HTTP/1.1 2000 OK\r\n\r\n", "", h1.ErrStatusLine},
		{"empty line", "GET", "\r\n", "", h1.ErrStatusLine},
		{"not HTTP", "GET", "SSH-2.0-OpenSSH\r\n\r\n", "", h1.ErrStatusLine},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, body, err := readResponse(strings.NewReader(tt.in), tt.method)
			if body != tt.body || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("body %q, error %v; want %q, %v", body, err, tt.body, tt.err)
			}
		})
	}
}

func TestHeadsSurviveTheirBodies(t *testing.T) {
	fields := strings.Repeat("Filler: "+strings.Repeat("f", 400)+"\r\n", 20)
	in := "POST /first HTTP/1.1\r\nHost: x\r\n" + fields + "Transfer-Encoding: chunked\r\n\r\n" +
		strings.Repeat("3\r\nabc\r\n", 20000) + "0\r\nT: end\r\n\r\n" + "GET /second HTTP/1.1\r\nHost: y\r\n\r\n"
	r := h1.NewReader(strings.NewReader(in), h1.Limits{}, new(h1.Buffers))
	var q h1.Request
	next := func() {
		t.Helper()
		for {
			if ok, err := r.Request(&q); err != nil {
				t.Fatal(err)
			} else if ok {
				return
			}
			if err := r.Fill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	next()
	b := r.Body(q.Body, nil)
	n, err := io.Copy(io.Discard, struct{ io.Reader }{&b})
	if err != nil || n != 60000 || !b.Done() {
		t.Fatalf("body of %d bytes, %v", n, err)
	}
	if q.Target != "/first" || q.Host != "x" || b.Trailers()[0].Value != "end" {
		t.Errorf("the head changed: %+v", q)
	}
	r.Next()
	if next(); q.Target != "/second" || q.Host != "y" {
		t.Errorf("second request is %+v", q)
	}
}

func TestParsingDoesNotAllocate(t *testing.T) {
	in := []byte("GET /a HTTP/1.1\r\nHost: x\r\nUser-Agent: u\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n")
	src := bytes.NewReader(in)
	r := h1.NewReader(src, h1.Limits{}, new(h1.Buffers))
	var q h1.Request
	n := testing.AllocsPerRun(100, func() {
		src.Reset(in)
		r.Next()
		if err := r.Fill(); err != nil {
			t.Fatal(err)
		}
		if ok, err := r.Request(&q); !ok || err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestPutChunk(t *testing.T) {
	for _, n := range []int{1, 15, 16, 4096, 65536} {
		buf := make([]byte, h1.ChunkPrefix+n+h1.ChunkSuffix)
		copy(buf[h1.ChunkPrefix:], bytes.Repeat([]byte("x"), n))
		got, err := io.ReadAll(httputil.NewChunkedReader(io.MultiReader(bytes.NewReader(h1.PutChunk(buf, n)), strings.NewReader("0\r\n\r\n"))))
		if err != nil || len(got) != n {
			t.Errorf("%d bytes come out as %d, %v", n, len(got), err)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	in := []byte("GET /api/items/42 HTTP/1.1\r\nHost: catalog:8080\r\nUser-Agent: wrk/4.1.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nX-Request-Id: 0123456789abcdef\r\n\r\n")
	src := bytes.NewReader(in)
	r := h1.NewReader(src, h1.Limits{}, new(h1.Buffers))
	var q h1.Request
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(in)
		r.Next()
		_ = r.Fill()
		if ok, err := r.Request(&q); !ok || err != nil {
			b.Fatal(err)
		}
	}
}

// What is accepted must mean the same to net/http, and must not depend on how the
// bytes were cut into reads.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("GET /a?b HTTP/1.1\r\nHost: x\r\nA:  b \t\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a\r\nabc\r\n0\r\nX: 1\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		q, body, _, err := readRequest(bytes.NewReader(in), h1.Limits{})
		q2, body2, _, err2 := readRequest(iotest.OneByteReader(bytes.NewReader(in)), h1.Limits{})
		if body != body2 || (err == nil) != (err2 == nil) || err == nil && !cmp.Equal(q, q2) {
			t.Fatalf("reads change the meaning: %+v %q %v; %+v %q %v", q, body, err, q2, body2, err2)
		}
		if err != nil {
			return
		}
		for _, fd := range q.Fields {
			if !h1.ValidField(fd.Name, fd.Value) {
				t.Fatalf("invalid field %+v", fd)
			}
		}
		std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(in)))
		if err != nil {
			return // stricter in some, such as the form of the target
		}
		all, err := io.ReadAll(std.Body)
		if err != nil || std.Method != q.Method || std.RequestURI != q.Target || string(all) != body {
			t.Fatalf("net/http reads %s %s %q %v; we %s %s %q", std.Method, std.RequestURI, all, err, q.Method, q.Target, body)
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"))
	f.Add([]byte("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.0 404 No\r\n\r\nab"))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, body, err := readResponse(bytes.NewReader(in), "GET")
		p2, body2, err2 := readResponse(iotest.OneByteReader(bytes.NewReader(in)), "GET")
		if body != body2 || (err == nil) != (err2 == nil) || err == nil && !cmp.Equal(p, p2) {
			t.Fatalf("reads change the meaning: %+v %q %v; %+v %q %v", p, body, err, p2, body2, err2)
		}
		if err != nil || p.Status < 200 {
			return
		}
		std, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), nil)
		if err != nil {
			return
		}
		all, err := io.ReadAll(std.Body)
		if err != nil || std.StatusCode != p.Status || string(all) != body {
			t.Fatalf("net/http reads %d %q %v; we %d %q", std.StatusCode, all, err, p.Status, body)
		}
	})
}

func FuzzChunked(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\n"))
	f.Add([]byte("A;x=y\r\n0123456789\r\n1\r\nz\r\n0\r\nT: v\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		head := "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
		_, body, _, err := readRequest(io.MultiReader(strings.NewReader(head), bytes.NewReader(in)), h1.Limits{})
		if err != nil {
			return
		}
		std, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(in)))
		if err != nil || string(std) != body {
			t.Fatalf("net/http decodes %q, %v; we %q", std, err, body)
		}
	})
}
