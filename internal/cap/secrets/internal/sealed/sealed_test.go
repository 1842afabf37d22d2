package sealed

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

func identity(t testing.TB) Identity {
	t.Helper()
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func seal(t testing.TB, value string, to ...string) []byte {
	t.Helper()
	f, err := Seal(secret.New([]byte(value)), to...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestOnlyItsRecipientsOpen(t *testing.T) {
	a, b, c := identity(t), identity(t), identity(t)
	file := seal(t, "hunter2\n", a.Recipient(), b.Recipient())
	if bytes.Contains(file, []byte("hunter2")) {
		t.Fatal("the value is in the file")
	}
	for _, id := range []Identity{a, b} {
		if got, err := id.Open(append([]byte("\n"), file...)); err != nil || string(got.Reveal()) != "hunter2\n" {
			t.Errorf("got %q, %v", got.Reveal(), err)
		}
	}
	if _, err := c.Open(file); fault.KindOf(err) != fault.Refused {
		t.Errorf("another identity: %v", err)
	}
}

func TestAgeItselfMayWriteIt(t *testing.T) {
	id := identity(t)
	var file bytes.Buffer
	w, err := age.Encrypt(&file, id.age.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("without armour")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := id.Open(file.Bytes()); err != nil || string(got.Reveal()) != "without armour" {
		t.Errorf("got %q, %v", got.Reveal(), err)
	}
}

func TestEveryByteCounts(t *testing.T) {
	id := identity(t)
	file := seal(t, "hunter2", id.Recipient())
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 1
		if got, err := id.Open(bad); err == nil {
			t.Errorf("byte %d: opened as %q", i, got.Reveal())
		}
		if got, err := id.Open(file[:i]); err == nil && i < len(file)-1 {
			t.Errorf("cut at %d: opened as %q", i, got.Reveal())
		}
	}
}

func TestLimits(t *testing.T) {
	id := identity(t)
	large := strings.Repeat("x", MaxValue)
	if got, err := id.Open(seal(t, large, id.Recipient())); err != nil || len(got.Reveal()) != MaxValue {
		t.Errorf("the largest value: %v", err)
	}
	if _, err := Seal(secret.New([]byte(large+"x")), id.Recipient()); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a larger one: %v", err)
	}
	var file bytes.Buffer
	w, _ := age.Encrypt(&file, id.age.Recipient())
	_, _ = w.Write([]byte(large + "x"))
	_ = w.Close()
	if _, err := id.Open(file.Bytes()); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a larger one that age made: %v", err)
	}
	if _, err := id.Open(make([]byte, MaxFile+1)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a larger file: %v", err)
	}
	for _, to := range [][]string{nil, {""}, {"age1"}, {"someone"}, {id.Text().String()}} {
		if _, err := Seal(secret.New([]byte("x")), to...); fault.KindOf(err) != fault.Invalid {
			t.Errorf("to %q: %v", to, err)
		}
	}
}

func TestIdentityComesBackAndNeverPrints(t *testing.T) {
	id := identity(t)
	again, err := ParseIdentity(id.Text())
	if err != nil || again.Recipient() != id.Recipient() {
		t.Fatalf("%v", err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, id); s != "[secret]" {
			t.Errorf("%s prints %s", verb, s)
		}
	}
}

func FuzzParseIdentity(f *testing.F) {
	id := identity(f)
	f.Add(id.Text().Reveal())
	f.Add([]byte("AGE-SECRET-KEY-1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if id, err := ParseIdentity(secret.New(text)); err == nil && !strings.EqualFold(string(id.Text().Reveal()), string(text)) {
			t.Errorf("%q comes back as another", text)
		}
	})
}

func FuzzOpen(f *testing.F) {
	id, err := ParseIdentity(secret.New([]byte("AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seal(f, "value", id.Recipient()))
	f.Add([]byte("age-encryption.org/v1\n-> X25519 x\n---"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if v, err := id.Open(file); err == nil && len(v.Reveal()) > MaxValue {
			t.Error("over the limit")
		}
	})
}
