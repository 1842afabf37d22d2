package jose

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

var (
	algs = []Alg{ES256, EdDSA, RS256}
	noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
)

type object map[string]any

func newKey(t testing.TB, alg Alg) *Key {
	t.Helper()
	k, err := GenerateKey(alg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t testing.TB, k *Key, typ string, claims any) string {
	t.Helper()
	s, err := k.Sign(typ, claims)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// forge signs any header and claims, given as JSON text.
func forge(t testing.TB, k *Key, header, claims string) string {
	t.Helper()
	signed := encode([]byte(header)) + "." + encode([]byte(claims))
	sig, err := k.signature(signed)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encode(sig)
}

func verify(s string, keys Keys, allowed ...Alg) error {
	t, err := Parse(s)
	if err != nil {
		return err
	}
	return t.Verify(keys, allowed...)
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// refused fails the test unless err says why.
func refused(t testing.TB, err error, why string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("got error %v, want one with %q", err, why)
	}
}
