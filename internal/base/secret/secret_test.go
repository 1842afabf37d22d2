package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
)

// printed is v by every verb.
func printed(v any) string {
	var out string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		out += fmt.Sprintf(verb, v) // not a constant: a test may print what vet wouldn't
	}
	return out
}

// hidden has a secret in a field where package fmt can't call its methods.
type hidden struct{ s Bytes }

func TestNothingPrintsASecret(t *testing.T) {
	s := New([]byte("hunter2"))
	j, err := json.Marshal(map[string]any{"k": s})
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{
		fmt.Sprint(s), printed(s), printed(struct{ S Bytes }{s}), printed(hidden{s}), printed(&hidden{s}), printed([]hidden{{s}}), string(j), s.LogValue().String(),
	} {
		if bytes.Contains([]byte(got), []byte("hunter2")) || bytes.Contains([]byte(got), []byte("68756e746572")) || bytes.Contains([]byte(got), []byte("104 117")) {
			t.Errorf("printed as %q", got)
		}
	}
}

func TestSealOpensOnlyWithSameKeyAndContext(t *testing.T) {
	key, other := New(bytes.Repeat([]byte{1}, KeySize)), New(bytes.Repeat([]byte{2}, KeySize))
	sealed, err := Seal(key, []byte("root"), "ca")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Open(key, sealed, "ca"); err != nil || string(got) != "root" {
		t.Fatalf("got %q, %v", got, err)
	}
	for name, try := range map[string]func() ([]byte, error){
		"other key":     func() ([]byte, error) { return Open(other, sealed, "ca") },
		"other context": func() ([]byte, error) { return Open(key, sealed, "jwt") },
		"changed bit":   func() ([]byte, error) { s := bytes.Clone(sealed); s[20] ^= 1; return Open(key, s, "ca") },
		"cut":           func() ([]byte, error) { return Open(key, sealed[:8], "ca") },
	} {
		if _, err := try(); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}
