package lexis

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitCommand(t *testing.T) {
	for in, want := range map[string][]string{
		"a b  c":         {"a", "b", "c"},
		`a 'b c' "d e"f`: {"a", "b c", "d ef"},
		`a "" ''`:        {"a", "", ""},
		`a\ b "\"\n"`:    {"a b", `"\n`},
		"a '$HOME'":      {"a", "$HOME"},
		"a|b":            nil, "a $X": nil, `a "$X"`: nil, "a *": nil, "a 'b": nil, `a "b`: nil, `a \`: nil, "": nil, "A=b c": nil, "a # b": nil, "~/x": nil, "a > b": nil,
	} {
		got, err := SplitCommand(in)
		if (err == nil) != (want != nil) || !cmp.Equal(got, want) && want != nil {
			t.Errorf("%q is %q, %v", in, got, err)
		}
	}
}

func TestNearest(t *testing.T) {
	for in, want := range map[string]string{"lisen": "listen", "Listen": "listen", "calsl": "calls", "run": "run", "zzzz": "", "nod": "node", "": ""} {
		if got := Nearest(in, []string{"listen", "calls", "run", "node"}); got != want {
			t.Errorf("%q is nearest to %q, want %q", in, got, want)
		}
	}
}

func TestSmallLanguages(t *testing.T) {
	for name, c := range map[string]struct {
		is        func(string) bool
		good, bad []string
	}{
		"label":         {IsLabel, []string{"a", "a-1", "0"}, []string{"", "-a", "a-", "A", "a.b", "a_b"}},
		"trust domain":  {IsTrustDomain, []string{"a.b", "a_b-1"}, []string{"", "A", "a/b", "spiffe://a"}},
		"host":          {IsHost, []string{"a.b", "A.b", "10.0.0.1", "::1", "1.a"}, []string{"", "a..b", "1.2.3", "a:1", "fe80::1%eth0", "*.a"}},
		"host and port": {IsHostPort, []string{":443", "a:1", "127.0.0.1:65535", "[::1]:1"}, []string{"a", "a:", "a:0", "a:65536", "::1:1", "[a]:1", "a:01"}},
		"address":       {IsAddress, []string{"10.0.0.0/8", "1.2.3.4", "::/0"}, []string{"", "a", "10.0.0.1/8", "1.2.3.4/33"}},
		"date":          {IsDate, []string{"2028-02-29", "2027-12-31", "2000-02-29"}, []string{"2027-02-29", "1900-02-29", "2027-13-01", "2027-1-01", "2027-00-10", "2027-04-31"}},
	} {
		for _, s := range c.good {
			if !c.is(s) {
				t.Errorf("%q is a %s", s, name)
			}
		}
		for _, s := range c.bad {
			if c.is(s) {
				t.Errorf("%q is no %s", s, name)
			}
		}
	}
	for s, want := range map[string]int64{"256MB": 256e6, "1GiB": 1 << 30, "1kB": 1000, "0MB": 0, "1": 0, "1PB": 0, "-1MB": 0, "999999999TiB": 0} {
		if n, ok := Size(s); ok != (want > 0) || ok && n != want {
			t.Errorf("%q is %d, %v", s, n, ok)
		}
	}
	for s, want := range map[string]float64{"0.5": 0.5, "2": 2, "0.25": 0.25, "0": 0, "1e3": 0, "1025": 0, ".5": 0, "1.": 0, "0.125": 0} {
		if n, ok := Cores(s); ok != (want > 0) || ok && n != want {
			t.Errorf("%q is %v, %v", s, n, ok)
		}
	}
	for s, want := range map[string]int{"30s": 30, "2m": 120, "1h": 3600, "0s": 0, "s": 0, "30": 0, "1d": 0} {
		if n, ok := Seconds(s); ok != (want > 0) || ok && n != want {
			t.Errorf("%q is %v, %v", s, n, ok)
		}
	}
}

func FuzzSplitCommand(f *testing.F) {
	f.Add(`a 'b c' "d \" e" f\ g`)
	f.Fuzz(func(t *testing.T, s string) {
		if argv, err := SplitCommand(s); err == nil && (len(argv) == 0 || argv[0] == "") {
			t.Fatalf("%q is %q", s, argv)
		}
	})
}
