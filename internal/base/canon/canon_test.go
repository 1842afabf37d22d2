package canon_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/canon"
)

var longest = "/" + strings.Repeat("a", 8<<10-1)

var paths = []struct {
	name, raw, want string
	err             error
}{
	{"root", "/", "/", nil},
	{"plain is kept", "/a/b-c_d.e~f/1", "/a/b-c_d.e~f/1", nil},
	{"trailing slash is kept", "/a/", "/a/", nil},
	{"sub-delims are kept", "/a!$&'()*+,=:@", "/a!$&'()*+,=:@", nil},
	{"unreserved is decoded", "/%61%2d%5F%2e%7Ex", "/a-_.~x", nil},
	{"sub-delims are decoded", "/%21%24%26%2B%40", "/!$&+@", nil},
	{"hex becomes upper case", "/%c3%a9", "/%C3%A9", nil},
	{"sloppy raw bytes are encoded", `/a|b{c}"d"[e]`, "/a%7Cb%7Bc%7D%22d%22%5Be%5D", nil},
	{"escaped space stays", "/a%20b", "/a%20b", nil},
	{"escaped question mark stays", "/a%3fb", "/a%3Fb", nil},
	{"escaped hash stays", "/a%23b", "/a%23b", nil},
	{"percent stays escaped", "/100%25", "/100%25", nil},
	{"percent before a non-escape", "/100%25-x", "/100%25-x", nil},
	{"matrix parameters stay raw", "/a;v=1/b", "/a;v=1/b", nil},
	{"an escaped semicolon stays escaped", "/a%3bv", "/a%3Bv", nil},
	{"three dots are a name", "/.../x", "/.../x", nil},
	{"a dot file is a name", "/.well-known/x", "/.well-known/x", nil},
	{"longest", longest, longest, nil},

	{"empty", "", "", canon.ErrTarget},
	{"relative", "a/b", "", canon.ErrTarget},
	{"too long", longest + "a", "", canon.ErrTargetLong},
	{"too long when encoded", "/" + strings.Repeat("|", 4000), "", canon.ErrTargetLong},
	{"query", "/a?b", "", canon.ErrByte},
	{"fragment", "/a#b", "", canon.ErrByte},
	{"space", "/a b", "", canon.ErrByte},
	{"tab", "/a\tb", "", canon.ErrByte},
	{"NUL", "/a\x00", "", canon.ErrByte},
	{"CR LF", "/a\r\nX: y", "", canon.ErrByte},
	{"DEL", "/a\x7f", "", canon.ErrByte},
	{"raw UTF-8", "/é", "", canon.ErrByte},
	{"backslash", `/a\b`, "", canon.ErrByte},
	{"backslash dots", `/a\..\b`, "", canon.ErrByte},
	{"escaped slash", "/a%2fb", "", canon.ErrEscapedByte},
	{"escaped slash, upper", "/a%2Fb", "", canon.ErrEscapedByte},
	{"escaped backslash", "/a%5cb", "", canon.ErrEscapedByte},
	{"escaped NUL", "/a%00", "", canon.ErrEscapedByte},
	{"escaped CR LF", "/a%0d%0a", "", canon.ErrEscapedByte},
	{"escaped DEL", "/a%7f", "", canon.ErrEscapedByte},
	{"escaped C1 control", "/a%c2%85", "", canon.ErrEscapedByte},
	{"half an escape", "/a%2", "", canon.ErrEscape},
	{"a lone percent", "/a%", "", canon.ErrEscape},
	{"no hex", "/a%zz", "", canon.ErrEscape},
	{"IIS escape", "/a%u002f", "", canon.ErrEscape},
	{"double escape of a slash", "/a%252fb", "", canon.ErrDoubleEscape},
	{"double escape of dots", "/%252e%252e/b", "", canon.ErrDoubleEscape},
	{"double escape in disguise", "/%25%32%65", "", canon.ErrDoubleEscape},
	{"overlong slash", "/a%c0%afb", "", canon.ErrUTF8},
	{"overlong dot", "/%c0%ae%c0%ae/", "", canon.ErrUTF8},
	{"Latin-1", "/caf%e9", "", canon.ErrUTF8},
	{"surrogate", "/%ed%a0%80", "", canon.ErrUTF8},
	{"parent", "/a/../b", "", canon.ErrDotSegment},
	{"parent at end", "/a/..", "", canon.ErrDotSegment},
	{"parent first", "/../a", "", canon.ErrDotSegment},
	{"self", "/a/./b", "", canon.ErrDotSegment},
	{"self at end", "/a/.", "", canon.ErrDotSegment},
	{"escaped parent", "/a/%2e%2e/b", "", canon.ErrDotSegment},
	{"half escaped parent", "/a/.%2E/b", "", canon.ErrDotSegment},
	{"parent with parameters", "/a/..;/b", "", canon.ErrDotSegment},
	{"parent with named parameters", "/a/..;x=y/b", "", canon.ErrDotSegment},
	{"parent with escaped parameters", "/a/..%3b/b", "", canon.ErrDotSegment},
	{"parameters only", "/a/;x/b", "", canon.ErrParamsSegment},
	{"empty segment", "/a//b", "", canon.ErrEmptySegment},
	{"empty first segment", "//a", "", canon.ErrEmptySegment},
	{"empty last segment", "/a//", "", canon.ErrEmptySegment},
	{"empty after escapes", "/%61//b", "", canon.ErrEmptySegment},
}

func TestPath(t *testing.T) {
	for _, tt := range paths {
		t.Run(tt.name, func(t *testing.T) {
			got, err := canon.Path(tt.raw)
			if got != tt.want || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("Path(%q) = %q, %v; want %q, %v", tt.raw, got, err, tt.want, tt.err)
			}
		})
	}
}

func TestHost(t *testing.T) {
	tests := []struct {
		name, raw, host, port string
		err                   error
	}{
		{"name", "catalog", "catalog", "", nil},
		{"name and port", "catalog:8080", "catalog", "8080", nil},
		{"upper case", "Shop.Example.COM", "shop.example.com", "", nil},
		{"trailing dot", "shop.example.:443", "shop.example", "443", nil},
		{"IPv4", "127.0.0.1:80", "127.0.0.1", "80", nil},
		{"IPv6", "[::1]:80", "[::1]", "80", nil},
		{"IPv6 has one form", "[0:0:0:0:0:0:0:1]", "[::1]", "", nil},
		{"underscore", "my_svc", "my_svc", "", nil},

		{"empty", "", "", "", canon.ErrHost},
		{"dot", ".", "", "", canon.ErrHost},
		{"two trailing dots", "a..", "", "", canon.ErrHost},
		{"empty label", "a..b", "", "", canon.ErrHost},
		{"leading dot", ".a", "", "", canon.ErrHost},
		{"user info", "a@b", "", "", canon.ErrHost},
		{"path", "a/b", "", "", canon.ErrHost},
		{"list", "a,b", "", "", canon.ErrHost},
		{"space", "a b", "", "", canon.ErrHost},
		{"escape", "%61", "", "", canon.ErrHost},
		{"raw UTF-8", "é", "", "", canon.ErrHost},
		{"long label", strings.Repeat("a", 64), "", "", canon.ErrHost},
		{"long name", strings.Repeat("a.", 127) + "a", "", "", canon.ErrHost},
		{"short IPv4", "127.1", "", "", canon.ErrHost},
		{"decimal IPv4", "2130706433", "", "", canon.ErrHost},
		{"hex IPv4", "0x7f.0x1", "", "", canon.ErrHost},
		{"octal IPv4", "0177.0.0.1", "", "", canon.ErrHost},
		{"IPv6 without brackets", "::1", "", "", canon.ErrPort},
		{"IPv6 zone", "[fe80::1%25eth0]", "", "", canon.ErrHost},
		{"IPv4 in brackets", "[127.0.0.1]", "", "", canon.ErrHost},
		{"open bracket", "[::1", "", "", canon.ErrHost},
		{"text after bracket", "[::1]x", "", "", canon.ErrPort},
		{"empty port", "a:", "", "", canon.ErrPort},
		{"port zero", "a:0", "", "", canon.ErrPort},
		{"port with zero", "a:080", "", "", canon.ErrPort},
		{"port too large", "a:65536", "", "", canon.ErrPort},
		{"port with sign", "a:+80", "", "", canon.ErrPort},
		{"two ports", "a:80:81", "", "", canon.ErrPort},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host, port, err := canon.Host(tt.raw)
			if host != tt.host || port != tt.port || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("Host(%q) = %q, %q, %v; want %q, %q, %v", tt.raw, host, port, err, tt.host, tt.port, tt.err)
			}
		})
	}
}

func TestNew(t *testing.T) {
	type r = canon.Request
	tests := []struct {
		name, method, host, target string
		want                       canon.Request
		err                        error
	}{
		{"origin form", "GET", "a:1", "/x?y=1", r{Protocol: canon.HTTP, Method: "GET", Host: "a", Port: "1", Path: "/x", Query: "y=1", HasQuery: true}, nil},
		{"empty query", "GET", "a", "/x?", r{Protocol: canon.HTTP, Method: "GET", Host: "a", Path: "/x", HasQuery: true}, nil},
		{"query is kept raw", "GET", "a", "/?%2f..%00//?\\", r{Protocol: canon.HTTP, Method: "GET", Host: "a", Path: "/", Query: "%2f..%00//?\\", HasQuery: true}, nil},
		{"absolute form", "GET", "a:8", "http://A:8/x", r{Protocol: canon.HTTP, Method: "GET", Host: "a", Port: "8", Path: "/x"}, nil},
		{"absolute form without path", "GET", "a", "http://a", r{Protocol: canon.HTTP, Method: "GET", Host: "a", Path: "/"}, nil},
		{"absolute form with query only", "GET", "a", "http://a?q", r{Protocol: canon.HTTP, Method: "GET", Host: "a", Path: "/", Query: "q", HasQuery: true}, nil},
		{"asterisk", "OPTIONS", "a", "*", r{Protocol: canon.HTTP, Method: "OPTIONS", Host: "a", Path: "*"}, nil},
		{"unknown method", "M-SEARCH", "a", "/", r{Protocol: canon.HTTP, Method: "M-SEARCH", Host: "a", Path: "/"}, nil},

		{"asterisk for GET", "GET", "a", "*", r{}, canon.ErrTarget},
		{"other authority", "GET", "a", "http://b/", r{}, canon.ErrAuthority},
		{"other port", "GET", "a", "http://a:80/", r{}, canon.ErrAuthority},
		{"user info", "GET", "a", "http://u@a/", r{}, canon.ErrHost},
		{"other scheme", "GET", "a", "ftp://a/", r{}, canon.ErrTarget},
		{"authority form", "GET", "a", "a:80", r{}, canon.ErrTarget},
		{"absolute OPTIONS without path", "OPTIONS", "a", "http://a", r{}, canon.ErrTarget},
		{"empty target", "GET", "a", "", r{}, canon.ErrTarget},
		{"empty segment after authority", "GET", "a", "http://a//x", r{}, canon.ErrEmptySegment},
		{"fragment", "GET", "a", "/x#y", r{}, canon.ErrByte},
		{"fragment in query", "GET", "a", "/x?y#z", r{}, canon.ErrByte},
		{"space in query", "GET", "a", "/x?y z", r{}, canon.ErrByte},
		{"raw UTF-8 in query", "GET", "a", "/x?é", r{}, canon.ErrByte},
		{"long target", "GET", "a", "/x?" + strings.Repeat("y", 8<<10), r{}, canon.ErrTargetLong},
		{"CONNECT", "CONNECT", "a:1", "a:1", r{}, canon.ErrConnect},
		{"lower-case method", "get", "a", "/", r{}, canon.ErrMethod},
		{"no method", "", "a", "/", r{}, canon.ErrMethod},
		{"method with a space", "GE T", "a", "/", r{}, canon.ErrMethod},
		{"method with a control", "GET\x00", "a", "/", r{}, canon.ErrMethod},
		{"long method", strings.Repeat("A", 33), "a", "/", r{}, canon.ErrMethod},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := canon.New(tt.method, tt.host, tt.target)
			if d := cmp.Diff(tt.want, got); d != "" || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("New: error %v, want %v; diff %s", err, tt.err, d)
			}
		})
	}
}

func TestPlainRequestsDoNotAllocate(t *testing.T) {
	n := testing.AllocsPerRun(100, func() {
		if _, err := canon.New("GET", "catalog.shop:8080", "/api/v1/items/42?full=1"); err != nil {
			t.Fatal(err)
		}
		if _, err := canon.New("GET", "catalog", "/api//x"); err == nil {
			t.Fatal("accepted")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := canon.New("GET", "catalog.shop:8080", "/api/v1/items/42?full=1"); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"/", "/a/b", "/%61;x", "/a|b", "/%25%32%65", "/..;/", "/%c3%a9", "/a%3b", "//", "/a%2541"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := canon.Path(raw)
		if err != nil {
			return
		}
		if q, err := canon.Path(p); err != nil || q != p {
			t.Fatalf("Path(%q) = %q, but Path of that = %q, %v", raw, p, q, err)
		}
		want, err := url.PathUnescape(raw)
		if err != nil {
			t.Fatalf("accepted %q, which net/url refuses: %v", raw, err)
		}
		got, err := url.PathUnescape(p)
		if err != nil || got != want {
			t.Fatalf("Path(%q) = %q decodes to %q, want %q (%v)", raw, p, got, want, err)
		}
		for seg := range strings.SplitSeq(got[1:], "/") {
			name, _, _ := strings.Cut(seg, ";")
			if name == "." || name == ".." || strings.ContainsAny(seg, "\\\x00\r\n") {
				t.Fatalf("Path(%q) = %q holds segment %q", raw, p, seg)
			}
		}
		if strings.Contains(got, "//") || !utf8.ValidString(got) || got[0] != '/' {
			t.Fatalf("Path(%q) = %q", raw, p)
		}
	})
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"a", "a.b.:80", "[::1]:8", "127.0.0.1", "0x7f.1", "A_b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		host, port, err := canon.Host(raw)
		if err != nil {
			return
		}
		again := host
		if port != "" {
			again += ":" + port
		}
		h, p, err := canon.Host(again)
		if err != nil || h != host || p != port {
			t.Fatalf("Host(%q) = %q, %q; again %q, %q, %v", raw, host, port, h, p, err)
		}
		u, err := url.Parse("http://" + again + "/")
		if err != nil || u.Port() != port || u.Hostname() != strings.Trim(host, "[]") {
			t.Fatalf("net/url reads %q as %v, %v", again, u, err)
		}
	})
}

func FuzzNew(f *testing.F) {
	f.Add("GET", "a", "/x?y")
	f.Add("OPTIONS", "a:1", "*")
	f.Add("POST", "a", "http://A/b|c?d")
	f.Fuzz(func(t *testing.T, method, host, target string) {
		r, err := canon.New(method, host, target)
		if err != nil {
			return
		}
		authority := r.Host
		if r.Port != "" {
			authority += ":" + r.Port
		}
		again, err := canon.New(r.Method, authority, r.Target())
		if err != nil || again != r {
			t.Fatalf("New(%q, %q, %q) = %+v; again %+v, %v", method, host, target, r, again, err)
		}
		if r.Path == "*" {
			return
		}
		u, err := url.ParseRequestURI(r.Target())
		if err != nil || u.RawQuery != r.Query {
			t.Fatalf("net/url reads %q as %+v, %v", r.Target(), u, err)
		}
	})
}
