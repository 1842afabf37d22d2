package credential

import (
	"bytes"
	"math"
	"path"
	"strings"
)

// entropy is Shannon's, in bits per character, by the text's own frequencies.
func entropy(s string) float64 {
	var counts [256]int
	for i := range len(s) {
		counts[s[i]]++
	}
	bits := 0.0
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(s))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}

// isExample knows what stands in for a credential: placeholders, and values that documentation has published.
func isExample(s string) bool {
	lower := strings.ToLower(s)
	for _, w := range [...]string{
		"example", "placeholder", "changeme", "change_me", "change-me", "redacted", "dummy", "yourtoken", "your_", "your-", "yourpassword", "yourkey",
		"<your", "insert", "replace", "xxxx", "****", "....", "${", "{{", "$(",
		"%(", "<%", "#{", "_here", "tokenhere", "keyhere", "mysecret", "my-secret", "my_secret", "supersecret",
	} {
		if strings.Contains(lower, w) {
			return true
		}
	}
	for _, w := range [...]string{"0000000", "1234567890", "0123456789", "abcdefghij", "qwerty", "deadbeef"} {
		if 3*len(w) >= len(s) && strings.Contains(lower, w) {
			return true
		}
	}
	switch strings.Trim(lower, "<>[]") {
	case "password", "passwd", "pass", "secret", "token", "guest", "changeit", "user:password", "pwd":
		return true
	}
	for _, w := range [...]string{
		"Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq", // Azurite's account, which is everybody's
		"4eC39HqLyjWDarjtT1zdp7dc",                                       // Stripe's documentation
		"SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",                    // jwt.io
		"TJVA95OrM7E2cBab30RMHrHDcEfxjoYZgeFONFh7HgQ",                    // jwt.io
		"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",                    // RFC 7515, RFC 7519
		"QWxhZGRpbjpvcGVuIHNlc2FtZQ",                                     // RFC 7617
	} {
		if strings.Contains(s, w) {
			return true
		}
	}
	if len(s) > 1 && strings.Contains("{}<>[]", s[:1]+s[len(s)-1:]) {
		return true
	}
	return len(s) > 0 && strings.Count(s, s[:1]) == len(s)
}

// looksRandom tells values that a machine drew from names, versions, paths and words.
func looksRandom(s string) bool {
	digits, letters, others, runs := 0, 0, 0, 0
	last := byte(0)
	for i := range len(s) {
		c := s[i]
		kind := byte('o')
		switch {
		case c >= '0' && c <= '9':
			digits, kind = digits+1, '0'
		case c >= 'a' && c <= 'z':
			letters, kind = letters+1, 'a'
		case c >= 'A' && c <= 'Z':
			letters, kind = letters+1, 'A'
		default:
			others++
		}
		if kind != last {
			runs++
		}
		last = kind
	}
	// Words change their kind of characters every five or six characters, random ones every two or three.
	return digits >= 2 && letters >= 2 && others*6 <= len(s) && runs*4 >= len(s)
}

// harmless tells names that speak of a credential and hold none: from the keyword at start to the value at end.
func harmless(src []byte, start, end int) bool {
	for n := 0; start > 0 && n < maxBack && (isWord(src[start-1]) || src[start-1] == '-' || src[start-1] == '.'); n++ {
		start--
	}
	name := strings.ToLower(strings.TrimRight(string(src[start:end]), " \t\r\n\"'`=:>,|?+\\."))
	for _, w := range [...]string{"public", "csrf", "xsrf", "hash", "checksum", "digest", "fingerprint", "url", "uri", "path", "file", "name", "type", "length", "size", "count", "limit", "version", "expir", "pattern", "regex", "label", "title", "field", "header", "endpoint", "alias", "column", "cursor", "page", "tostore", "sync", "design", "max_token"} {
		if strings.Contains(name, w) {
			return true
		}
	}
	return strings.HasSuffix(name, "id") || strings.HasSuffix(name, "ids")
}

// dull files are full of what looks random and isn't secret: tests and their data, lock files, and what programs wrote.
func dull(name string, src []byte) bool {
	lower := strings.ToLower(name)
	for dir := range strings.SplitSeq(path.Dir(lower), "/") {
		switch dir {
		case "test", "tests", "testdata", "__tests__", "spec", "specs", "fixtures", "fixture", "mock", "mocks", "__mocks__", "vendor", "third_party", "dist", "example", "examples":
			return true
		}
	}
	base := path.Base(lower)
	for _, end := range [...]string{
		".lock", "-lock.json", "-lock.yaml", ".lockb", "go.sum", "go.mod", "npm-shrinkwrap.json", ".min.js", ".min.css", ".map", ".svg", ".ipynb", ".pem", ".crt", ".snap",
		".po", ".html", ".css",
	} {
		if strings.HasSuffix(base, end) {
			return true
		}
	}
	stem := strings.TrimSuffix(base, path.Ext(base))
	if strings.HasSuffix(stem, "_test") || strings.HasSuffix(stem, ".test") || strings.HasSuffix(stem, ".spec") || strings.HasPrefix(stem, "test_") {
		return true
	}
	lines := bytes.Count(src, []byte("\n")) + 1
	return len(src)/lines > 500 || bytes.Contains(src[:min(len(src), 1000)], []byte("DO NOT EDIT"))
}
