package leak

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTokensAreMasked(t *testing.T) {
	jwt := "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEiLCJleHAiOjF9." + strings.Repeat("s", 43)
	for in, want := range map[string]string{
		"nothing to hide, ghp_short and eyJ.a.b":                          "",
		"token " + jwt + " used":                                          "a signed token",
		`{"auth":"Bearer ` + strings.Repeat("a", 32) + `"}`:               "a bearer token",
		"authorization: bearer " + strings.Repeat("Z9-_.", 8):             "a bearer token",
		"Basic YWRhOnBhc3N3b3Jk":                                          "a password for HTTP",
		"a basic example of nothing":                                      "",
		"key=AKIA" + strings.Repeat("Q", 16):                              "an AWS access key's ID",
		"xAKIA" + strings.Repeat("Q", 16):                                 "",
		"ghp_" + strings.Repeat("a1", 18) + "\t" + "and more":             "a GitHub token",
		"github_pat_" + strings.Repeat("a1", 30):                          "a GitHub token",
		"xoxb-" + strings.Repeat("1", 12) + "-" + strings.Repeat("a", 24): "a Slack token",
		"sk_live_" + strings.Repeat("a", 24):                              "a Stripe key",
		"SG." + strings.Repeat("a", 22) + "." + strings.Repeat("b", 43):   "a SendGrid key",
		"AGE-SECRET-KEY-1" + strings.Repeat("Q", 58):                      "an age key",
	} {
		line, got := []byte(in), ""
		(&Tokens{}).Mask(line, func(kind string) { got += kind })
		if got != want || len(line) != len(in) || (want == "") != (string(line) == in) {
			t.Errorf("%q: %q in %q, want %q", in, got, line, want)
		}
		if again := ""; want != "" {
			(&Tokens{}).Mask(line, func(kind string) { again += kind })
			if again != "" {
				t.Errorf("%q is found in what is masked: %q", again, line)
			}
		}
	}
}

func TestAPrivateKeyIsMaskedOverItsLines(t *testing.T) {
	var m Tokens
	var found []string
	var out []string
	for _, line := range []string{
		"about to print", "-----BEGIN EC PRIVATE KEY-----", "2026-11-22 INFO MHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY", "AwEHoUQDQgAEPR3tU2Fta9ktY+6P9G0cWO+0kETA6SFs38GecTyudlHz6xvCdz8q",
		"-----END EC PRIVATE KEY-----", "that was all", "-----BEGIN PRIVATE KEY----- torn", "a line that isn't of it",
	} {
		b := []byte(line)
		m.Mask(b, func(kind string) { found = append(found, kind) })
		if out = append(out, string(b)); strings.Trim(string(b), "*") == "" {
			out[len(out)-1] = "*"
		}
	}
	if d := cmp.Diff([]string{"about to print", "*", "*", "*", "*", "that was all", "*", "a line that isn't of it"}, out); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{keyKind, keyKind}, found); d != "" {
		t.Error(d)
	}
}

func FuzzTokens(f *testing.F) {
	f.Add([]byte("Bearer aaaaaaaaaaaaaaaaaaaaaaaaaaaa"), []byte("-----BEGIN PRIVATE KEY-----"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var m Tokens
		for _, in := range [][]byte{one, two, one} {
			line, n := bytes.Clone(in), 0
			m.Mask(line, func(string) { n++ })
			for i := range in {
				if line[i] != in[i] && line[i] != '*' {
					t.Fatalf("%q became %q", in, line)
				}
			}
			if len(line) != len(in) {
				t.Fatalf("%q became %q", in, line)
			}
		}
	})
}

func BenchmarkTokens(b *testing.B) {
	line := []byte(`2026-11-22T15:40:00Z INFO request served method=GET path=/books/12 status=200 took=1.2ms caller=web trace=0af7651916cd43dd8448eb211c80319c`)
	var m Tokens
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		m.Mask(line, func(string) { b.Fatal("found") })
	}
}
