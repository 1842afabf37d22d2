package advisory

import (
	"bytes"
	"compress/gzip"
	"testing"
)

func FuzzParseEPSS(f *testing.F) {
	f.Add([]byte("#model_version:v2025.03.14\ncve,epss,percentile\nCVE-2021-44228,0.94358,0.99957\n"))
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte("CVE-1,0.5,0.5\n")) //nolint:errcheck // a buffer takes all
	z.Close()                          //nolint:errcheck // likewise
	f.Add(packed.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseEPSS(b)
		if (err == nil) != (len(m) > 0) {
			t.Errorf("%d values, error %v", len(m), err)
		}
		for cve, p := range m {
			if p < 0 || p > 1 || p != p {
				t.Errorf("%s has probability %v", cve, p)
			}
		}
	})
}

func FuzzParseKEV(f *testing.F) {
	f.Add([]byte(`{"catalogVersion":"2026.05.01","vulnerabilities":[{"cveID":"CVE-2021-44228"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ParseKEV(b); (err == nil) != (len(m) > 0) {
			t.Errorf("%d values, error %v", len(m), err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if key, err := ParseKey(b); err == nil && len(key) != 32 {
			t.Errorf("a key of %d bytes", len(key))
		}
	})
}
