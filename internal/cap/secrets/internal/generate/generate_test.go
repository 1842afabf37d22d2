package generate

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func TestPasswordsAreEvenAndSafe(t *testing.T) {
	seen, counts := map[string]bool{}, map[byte]int{}
	const n = 4000
	for range n {
		v, err := Value(Password, Options{})
		if err != nil {
			t.Fatal(err)
		}
		b := v.Reveal()
		if len(b) != 32 || seen[string(b)] || b[0] == '-' || strings.Trim(string(b), alphabet) != "" {
			t.Fatalf("made %q", b)
		}
		seen[string(b)] = true
		for _, c := range b[1:] {
			counts[c]++
		}
	}
	// 64 characters, each 1,937 times with a deviation of 44: seven of them are never reached by chance.
	for _, c := range []byte(alphabet) {
		if want := n * 31 / 64; counts[c] < want-310 || counts[c] > want+310 {
			t.Errorf("%q came %d times instead of about %d", c, counts[c], want)
		}
	}
}

func TestPasswordLengthHasBounds(t *testing.T) {
	for length, ok := range map[int]bool{-1: false, 1: false, 15: false, 16: true, 1024: true, 1025: false} {
		v, err := Value(Password, Options{Length: length})
		if (err == nil) != ok || ok && len(v.Reveal()) != length {
			t.Errorf("length %d: %v", length, err)
		}
	}
}

func TestKeysAre32FreshBytes(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		v, err := Value(Key, Options{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := base64.StdEncoding.DecodeString(string(v.Reveal()))
		if err != nil || len(b) != 32 || seen[string(b)] {
			t.Fatalf("made %d bytes, %v", len(b), err)
		}
		seen[string(b)] = true
	}
}

func TestCertificateServesItsNamesForAYear(t *testing.T) {
	v, err := Value(Certificate, Options{DNSNames: []string{"orders.internal", "orders"}, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(v.Reveal(), v.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	for _, c := range []struct {
		name string
		host string
		at   time.Time
		ok   bool
	}{
		{"its name now", "orders.internal", noon, true},
		{"its other name", "orders", noon, true},
		{"a clock that is behind", "orders", noon.Add(-time.Minute), true},
		{"the last day", "orders", noon.Add(year - time.Hour), true},
		{"after a year", "orders", noon.Add(year + time.Hour), false},
		{"another name", "billing", noon, false},
	} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: c.host, Roots: roots, CurrentTime: c.at}); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	again, err := Value(Certificate, Options{DNSNames: []string{"orders"}, Now: noon})
	if err != nil || bytes.Equal(again.Reveal(), v.Reveal()) {
		t.Errorf("the same again, %v", err)
	}
}

func TestWhatCannotBeMadeIsRefused(t *testing.T) {
	for _, k := range []Kind{None, "secret", "PASSWORD"} {
		if _, err := Value(k, Options{}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", k, err)
		}
	}
	if _, err := Value(Certificate, Options{Now: noon}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a certificate of nobody: %v", err)
	}
	if Kind("x").Valid() || !None.Valid() || !Certificate.Valid() {
		t.Error("Valid is wrong")
	}
	if v, err := Value(Password, Options{}); err != nil || fmt.Sprint(v) != "[secret]" {
		t.Errorf("prints %v, %v", v, err)
	}
}
