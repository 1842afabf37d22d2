package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

const (
	get   = "GET / HTTP/1.1\r\nHost: x\r\n"
	post  = "POST / HTTP/1.1\r\nHost: x\r\n"
	te    = "Transfer-Encoding: chunked\r\n"
	inner = "GET /inner HTTP/1.1\r\nHost: x\r\n\r\n"
)

func lineOf(s string) string   { return s + "\r\nHost: x\r\n\r\n" }
func chunkOf(s string) string  { return post + te + "\r\n" + s }
func targetOf(s string) string { return lineOf("GET " + s + " HTTP/1.1") }

// ambiguous holds the kinds of request smuggling, response splitting and path
// confusion that proxies are known to pass on.
var ambiguous = map[string]string{
	// Two framings.
	"CL.TE":                 post + "Content-Length: 6\r\n" + te + "\r\n0\r\n\r\nG",
	"TE.CL":                 post + te + "Content-Length: 4\r\n\r\n5c\r\n" + inner,
	"CL.CL":                 post + "Content-Length: 8\r\nContent-Length: 7\r\n\r\n1234567a",
	"equal lengths":         post + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
	"list of lengths":       post + "Content-Length: 1, 1\r\n\r\na",
	"TE twice":              post + te + te + "\r\n0\r\n\r\n",
	"TE in 1.0":             "POST / HTTP/1.0\r\nHost: x\r\n" + te + "\r\n0\r\n\r\n",
	"TE and CL zero":        post + "Content-Length: 0\r\n" + te + "\r\n0\r\n\r\n",
	"CL zero and CL":        post + "Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + inner,
	"underscore TE":         post + "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	"underscore CL":         post + "Content_Length: 5\r\n\r\n",
	"dotted CL":             post + "Content.Length: 5\r\n\r\n",
	"Connection names CL":   post + "Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello",
	"Connection names TE":   post + "Connection: transfer-encoding\r\n" + te + "\r\n0\r\n\r\n",
	"Connection names Host": get + "Connection: Host\r\n\r\n",
	"TRACE with a body":     "TRACE / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na",
	// Obfuscated transfer codings.
	"TE xchunked":           post + "Transfer-Encoding: xchunked\r\n\r\n",
	"TE identity":           post + "Transfer-Encoding: identity\r\n\r\n",
	"TE gzip":               post + "Transfer-Encoding: gzip, chunked\r\n\r\n",
	"TE chunked, identity":  post + "Transfer-Encoding: chunked, identity\r\n\r\n",
	"TE chunked twice":      post + "Transfer-Encoding: chunked, chunked\r\n\r\n",
	"TE with parameter":     post + "Transfer-Encoding: chunked;q=1\r\n\r\n",
	"TE upper case":         post + "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n",
	"TE quoted":             post + "Transfer-Encoding: \"chunked\"\r\n\r\n",
	"TE empty":              post + "Transfer-Encoding:\r\n\r\n",
	"TE vertical tab":       post + "Transfer-Encoding: \x0bchunked\r\n\r\n",
	"TE NUL":                post + "Transfer-Encoding: chunked\x00\r\n\r\n",
	"TE space before colon": post + "Transfer-Encoding : chunked\r\n\r\n",
	"TE tab before colon":   post + "Transfer-Encoding\t: chunked\r\n\r\n",
	"TE leading space":      post + " Transfer-Encoding: chunked\r\n\r\n",
	"TE folded":             post + "Transfer-Encoding:\r\n chunked\r\n\r\n",
	"TE after bare CR":      post + "X: y\rTransfer-Encoding: chunked\r\n\r\n",
	"TE after bare LF":      post + "X: y\nTransfer-Encoding: chunked\r\n\r\n",
	// Odd lengths.
	"CL plus":        post + "Content-Length: +1\r\n\r\na",
	"CL minus":       post + "Content-Length: -1\r\n\r\na",
	"CL hex":         post + "Content-Length: 0x1\r\n\r\na",
	"CL inner space": post + "Content-Length: 1 1\r\n\r\na",
	"CL octal":       post + "Content-Length: 010\r\n\r\n12345678",
	"CL float":       post + "Content-Length: 1.0\r\n\r\na",
	"CL exponent":    post + "Content-Length: 1e1\r\n\r\na",
	"CL underscore":  post + "Content-Length: 1_0\r\n\r\na",
	"CL empty":       post + "Content-Length:\r\n\r\n",
	"CL overflow":    post + "Content-Length: 18446744073709551617\r\n\r\na",
	"CL int64":       post + "Content-Length: 9223372036854775808\r\n\r\na",
	"CL folded":      post + "Content-Length: 1\r\n 0\r\n\r\na",
	// Chunks.
	"chunk size plus":            chunkOf("+1\r\na\r\n0\r\n\r\n"),
	"chunk size minus":           chunkOf("-1\r\na\r\n0\r\n\r\n"),
	"chunk size 0x":              chunkOf("0x1\r\na\r\n0\r\n\r\n"),
	"chunk size space before":    chunkOf(" 1\r\na\r\n0\r\n\r\n"),
	"chunk size space behind":    chunkOf("1 \r\na\r\n0\r\n\r\n"),
	"chunk size space and ext":   chunkOf("1 ;x\r\na\r\n0\r\n\r\n"),
	"chunk size overflow":        chunkOf("10000000000000001\r\na\r\n0\r\n\r\n"),
	"chunk size underscore":      chunkOf("0_1\r\na\r\n0\r\n\r\n"),
	"chunk size none":            chunkOf("\r\na\r\n0\r\n\r\n"),
	"chunk size bare LF":         chunkOf("1\na\r\n0\r\n\r\n"),
	"chunk size bare CR":         chunkOf("1\ra\r\n0\r\n\r\n"),
	"chunk ext bare LF":          chunkOf("1;x\na\r\n0\r\n\r\n"),
	"chunk ext control":          chunkOf("1;\x01\r\na\r\n0\r\n\r\n"),
	"chunk longer than said":     chunkOf("1\r\nab\r\n0\r\n\r\n"),
	"chunk end bare LF":          chunkOf("1\r\na\n0\r\n\r\n"),
	"chunk end missing":          chunkOf("1\r\na0\r\n\r\n"),
	"trailer with CL":            chunkOf("0\r\nContent-Length: 5\r\n\r\n"),
	"trailer with TE":            chunkOf("0\r\nTransfer-Encoding: chunked\r\n\r\n"),
	"trailer with Host":          chunkOf("0\r\nHost: y\r\n\r\n"),
	"trailer folded":             chunkOf("0\r\nA: b\r\n c\r\n\r\n"),
	"trailer bare LF":            chunkOf("0\r\nA: b\n\r\n"),
	"trailer space before colon": chunkOf("0\r\nA : b\r\n\r\n"),
	// Hosts.
	"no Host":           "GET / HTTP/1.1\r\n\r\n",
	"two Hosts":         get + "Host: y\r\n\r\n",
	"two equal Hosts":   get + "Host: x\r\n\r\n",
	"Host list":         "GET / HTTP/1.1\r\nHost: x, y\r\n\r\n",
	"Host with path":    "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n",
	"Host with user":    "GET / HTTP/1.1\r\nHost: x@y\r\n\r\n",
	"Host empty":        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
	"Host two ports":    "GET / HTTP/1.1\r\nHost: x:1:2\r\n\r\n",
	"other authority":   targetOf("http://y/"),
	"user in authority": targetOf("http://x@y/"),
	"1.0 without Host":  "GET / HTTP/1.0\r\n\r\n",
	// Fields.
	"no colon":            get + "Foo\r\n\r\n",
	"empty name":          get + ": x\r\n\r\n",
	"space in a name":     get + "Foo Bar: x\r\n\r\n",
	"control in a name":   get + "Fo\x01o: x\r\n\r\n",
	"UTF-8 in a name":     get + "Foé: x\r\n\r\n",
	"NUL in a value":      get + "Foo: a\x00b\r\n\r\n",
	"DEL in a value":      get + "Foo: a\x7fb\r\n\r\n",
	"folded first":        "GET / HTTP/1.1\r\n Host: x\r\n\r\n",
	"bare LF head":        "GET / HTTP/1.1\nHost: x\n\n",
	"bare LF end":         get + "\n",
	"bad Connection":      get + "Connection: a b\r\n\r\n",
	"two Upgrades":        get + "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n",
	"other Upgrade":       get + "Connection: upgrade\r\nUpgrade: TLS/1.0\r\n\r\n",
	"websocket by POST":   "POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
	"websocket with body": get + "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 40\r\n\r\n" + inner,
	// Request lines.
	"empty line first":    "\r\n" + get + "\r\n",
	"two spaces":          lineOf("GET  / HTTP/1.1"),
	"tab":                 lineOf("GET\t/ HTTP/1.1"),
	"space behind":        lineOf("GET / HTTP/1.1 "),
	"space before":        lineOf(" GET / HTTP/1.1"),
	"space in target":     lineOf("GET /a b HTTP/1.1"),
	"no version":          lineOf("GET /"),
	"lower version":       lineOf("GET / http/1.1"),
	"version 1.10":        lineOf("GET / HTTP/1.10"),
	"version 01.1":        lineOf("GET / HTTP/01.1"),
	"method with colon":   lineOf("GE:T / HTTP/1.1"),
	"lower-case method":   lineOf("get / HTTP/1.1"),
	"control in target":   targetOf("/a\x01"),
	"UTF-8 in target":     targetOf("/é"),
	"CONNECT":             lineOf("CONNECT x:80 HTTP/1.1"),
	"asterisk":            targetOf("*"),
	"authority as path":   targetOf("x:80"),
	"fragment":            targetOf("/a#b"),
	"TLS on a plain port": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
	// Paths.
	"parent":            targetOf("/a/../b"),
	"escaped parent":    targetOf("/a/%2e%2e/b"),
	"parameters parent": targetOf("/a/..;/b"),
	"escaped slash":     targetOf("/a%2fb"),
	"escaped backslash": targetOf("/a%5cb"),
	"backslash":         targetOf(`/a\b`),
	"escaped NUL":       targetOf("/a%00"),
	"escaped CR LF":     targetOf("/a%0d%0aX:y"),
	"double slash":      targetOf("//a"),
	"double escape":     targetOf("/%252e%252e/a"),
	"overlong":          targetOf("/%c0%ae/a"),
	"bad escape":        targetOf("/%zz"),
}

// Each must be refused before anything reaches the upstream.
func TestAmbiguousRequestsAreRefused(t *testing.T) {
	tests := ambiguous
	if len(tests) < 60 {
		t.Fatalf("only %d cases", len(tests))
	}
	w := start(t, raw(t, func(c net.Conn, r *bufio.Reader) {
		b, _ := r.Peek(1)
		t.Errorf("the upstream got %q", b)
	}), setup{})
	for name, in := range tests {
		t.Run(name, func(t *testing.T) {
			c := dial(t, w.addr)
			_, _ = io.WriteString(c, in)
			r := bufio.NewReader(c)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			body := readAll(t, resp.Body)
			if resp.StatusCode != 400 || !resp.Close {
				t.Errorf("%d %q, close %v", resp.StatusCode, body, resp.Close)
			}
			if rest, _ := io.ReadAll(r); len(rest) > 0 {
				t.Errorf("a second response: %q", rest)
			}
			if rec := w.record(); rec.Status != 400 || rec.Err == nil {
				t.Errorf("record %+v", rec)
			}
		})
	}
	t.Logf("%d cases", len(tests))
}

func TestOtherRefusals(t *testing.T) {
	w := start(t, raw(t, func(c net.Conn, r *bufio.Reader) { t.Error("the upstream was reached") }), setup{})
	for name, tt := range map[string]struct {
		in     string
		status int
	}{
		"large head":        {"GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: "+strings.Repeat("b", 8000)+"\r\n", 5) + "\r\n", 431},
		"many fields":       {"GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 200) + "\r\n", 431},
		"HTTP/1.2":          {"GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505},
		"other expectation": {"GET / HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\n\r\n", 417},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, w.addr)
			_, _ = io.WriteString(c, tt.in)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || resp.StatusCode != tt.status {
				t.Errorf("%v, %v; want %d", resp, err, tt.status)
			}
		})
	}
}

// A service that doesn't know Upgrade answers it as a plain GET; a rule for WebSockets opens no pages.
func TestUpgradeOpensNoPage(t *testing.T) {
	for name, tt := range map[string]struct{ answer, want string }{
		"a page":           {"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret", "502"},
		"a part of a page": {"HTTP/1.1 206 Partial Content\r\nContent-Length: 6\r\n\r\nsecret", "502"},
		"a refusal":        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "403"},
	} {
		addr := raw(t, func(c net.Conn, r *bufio.Reader) {
			if _, err := http.ReadRequest(r); err == nil {
				_, _ = io.WriteString(c, tt.answer)
			}
		})
		w := start(t, addr, setup{})
		c := dial(t, w.addr)
		_, _ = io.WriteString(c, "GET /admin HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		body := readAll(t, resp.Body)
		if resp.Status[:3] != tt.want || strings.Contains(body, "secret") {
			t.Errorf("%s: %s %q", name, resp.Status, body)
		}
	}
}
