package model

import (
	"strings"
	"testing"
)

func TestParseGrant(t *testing.T) {
	for in, want := range map[string]string{
		"any": "any", "tcp": "tcp", "GET /books/**": "GET /books/**", "POST,GET /x": "GET,POST /x", "* /": "* /",
		"ws /live/{id}": "ws /live/{id}", "grpc shop.v1.Payments/Charge": "grpc shop.v1.Payments/Charge", "grpc */*": "grpc */*",
		"GET /a%62/": "GET /ab/", "GET  /x": "GET /x", "GET /ü": "",
		"get /x": "", "GET": "", "/x": "", "GET /a/**/b": "", "GET /a*": "", "GET /a//b": "", "GET /../b": "", "GET /%2f": "", "GET /x?y": "",
		"GET /%2A": "", "CONNECT /": "", "GET,GET /": "", "GET,* /": "", "grpc A": "", "grpc /A/B": "", "grpc */B": "", "grpc a..b/C": "", "": "", " ": "",
	} {
		g, err := ParseGrant(in)
		if want == "" {
			if err == nil {
				t.Errorf("%q is %q", in, g)
			}
			continue
		}
		if err != nil || g.String() != want {
			t.Errorf("%q is %q, %v; want %q", in, g, err, want)
		}
	}
}

func FuzzParseGrant(f *testing.F) {
	for _, s := range []string{"any", "tcp", "GET /a/{id}/**", "GET,POST /a%20b/", "* /", "ws /x", "grpc a.B/C", "grpc */*", "GET /%7euser", "GET /a;b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, err := ParseGrant(s)
		if err != nil {
			return
		}
		again, err := ParseGrant(g.String())
		if err != nil || !again.Equal(g) {
			t.Fatalf("%q is %+v, and %q is %+v (%v)", s, g, g.String(), again, err)
		}
	})
}

func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"/", "/a//b", "/**", "/a/**/b", "/%2A", "/%2e", "/{id}", "/a/", "/%41"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		if again, err := ParsePattern(p); err != nil || again != p {
			t.Fatalf("%q is %q, and that is %q (%v)", s, p, again, err)
		}
		if strings.Count(p, "/") != strings.Count(s, "/") {
			t.Fatalf("%q is %q", s, p)
		}
	})
}

func FuzzParseListen(f *testing.F) {
	f.Add("http://:80")
	f.Fuzz(func(t *testing.T, s string) {
		if l, err := ParseListen(s); err == nil && l.String() != s {
			t.Fatalf("%q is %q", s, l)
		}
	})
}
