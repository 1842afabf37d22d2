package otp

import (
	"bytes"
	"context"
	"encoding/base32"
	"fmt"
	"image/png"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wardtest/need"
)

var rfcKey = secret.New([]byte("12345678901234567890"))

func TestTOTPOfRFC6238(t *testing.T) { // appendix B, SHA-1, the last six of eight digits
	for at, code := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		if step, ok := VerifyTOTP(rfcKey, code, time.Unix(at, 0), 0); !ok || step != at/30 {
			t.Errorf("%d: %v %v", at, step, ok)
		}
	}
}

func TestTOTPOfOathtool(t *testing.T) {
	tool := need.Program(t, "oathtool")
	for i := range 20 {
		key, now := NewSecret(), time.Unix(1_700_000_000+int64(i)*777, 0)
		cmd := exec.CommandContext(context.Background(), tool, "--totp", "--base32", "--now", now.UTC().Format("2006-01-02 15:04:05 UTC"), "-")
		cmd.Stdin = strings.NewReader(base32.StdEncoding.EncodeToString(key.Reveal()))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if _, ok := VerifyTOTP(key, strings.TrimSpace(string(out)), now, 0); !ok {
			t.Errorf("oathtool's code %s is refused at %v", out, now)
		}
	}
}

func TestTOTPWindowAndReplay(t *testing.T) {
	const step = 1111111109 / 30
	code := "081804" // of that step
	at := func(s int64) time.Time { return time.Unix(s*30+29, 0) }
	for _, c := range []struct {
		name string
		code string
		now  time.Time
		last int64
		ok   bool
	}{
		{"in time", code, at(step), 0, true},
		{"with a space", "081 804", at(step), 0, true},
		{"a step late", code, at(step + 1), 0, true},
		{"a step early", code, at(step - 1), 0, true},
		{"two steps late", code, at(step + 2), 0, false},
		{"two steps early", code, at(step - 2), 0, false},
		{"after an older one", code, at(step), step - 1, true},
		{"again", code, at(step), step, false},
		{"after a newer one", code, at(step), step + 1, false},
		{"again a step late", code, at(step + 1), step, false},
		{"empty", "", at(step), 0, false},
		{"five digits", "81804", at(step), 0, false},
		{"seven digits", "0818040", at(step), 0, false},
		{"other digits of Unicode", "٠٨١٨٠٤", at(step), 0, false},
		{"huge", strings.Repeat("0", 1<<20), at(step), 0, false},
		{"before 1970", code, time.Unix(-100, 0), 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := VerifyTOTP(rfcKey, c.code, c.now, c.last)
			if ok != c.ok || ok && got != step {
				t.Errorf("got %v %v", got, ok)
			}
		})
	}
	if _, ok := VerifyTOTP(secret.Bytes{}, hotp(secret.Bytes{}, step), at(step), 0); ok {
		t.Error("a user without a secret has a valid code")
	}
}

func TestEnrolmentIsReadByAScanner(t *testing.T) {
	key := NewSecret()
	e, err := Enrol(key, "Shop & Söhne: Berlin", "anna+x@example.org")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(string(e.URI.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	typed := base32.StdEncoding.EncodeToString(key.Reveal())
	if q := u.Query(); u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Shop & Söhne  Berlin:anna+x@example.org" || q.Get("secret") != typed || q.Get("issuer") != "Shop & Söhne  Berlin" || strings.Contains(u.RawQuery, "+") {
		t.Errorf("URI %s", e.URI.Reveal())
	}
	if strings.ReplaceAll(string(e.Key.Reveal()), " ", "") != typed {
		t.Errorf("key to type: %s", e.Key.Reveal())
	}
	if _, err := png.Decode(bytes.NewReader(e.PNG.Reveal())); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", e, e, e), typed) {
		t.Error("an enrolment prints its secret")
	}
	t.Run("zbarimg", func(t *testing.T) {
		scanner, file := need.Program(t, "zbarimg"), filepath.Join(t.TempDir(), "qr.png")
		if err := os.WriteFile(file, e.PNG.Reveal(), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), scanner, "-q", "--raw", file).Output()
		if err != nil || strings.TrimSpace(string(out)) != string(e.URI.Reveal()) {
			t.Errorf("scanned %q, %v", out, err)
		}
	})
	for name, bad := range map[string][2]string{"no issuer": {"", "a"}, "no account": {"a", ""}, "too long": {"a", strings.Repeat("x", 400)}} {
		if _, err := Enrol(key, bad[0], bad[1]); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestSentCode(t *testing.T) {
	key, now := secret.New(bytes.Repeat([]byte{7}, 32)), time.Unix(1_700_000_000, 0)
	to := Target{Purpose: SignIn, User: "u1", Address: "anna@example.org"}
	code, sent, err := NewSent(key, to, 6, now.Add(10*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	right := string(code.Reveal())
	if len(right) != 6 || strings.Trim(right, "0123456789") != "" || bytes.Contains(sent.MAC, code.Reveal()) {
		t.Fatalf("code %q", right)
	}
	wrong := "000000"
	if right == wrong {
		wrong = "000001"
	}
	for _, c := range []struct {
		name string
		key  secret.Bytes
		to   Target
		code string
		at   time.Time
		ok   bool
	}{
		{"right", key, to, right, now, true},
		{"right with a space", key, to, right[:3] + " " + right[3:], now, true},
		{"last moment", key, to, right, now.Add(10*time.Minute - 1), true},
		{"expired", key, to, right, now.Add(10 * time.Minute), false},
		{"clock set back by a day", key, to, right, now.Add(-24 * time.Hour), false},
		{"wrong", key, to, wrong, now, false},
		{"empty", key, to, "", now, false},
		{"another user's", key, Target{SignIn, "u2", to.Address}, right, now, false},
		{"another purpose", key, Target{ResetPassword, "u1", to.Address}, right, now, false},
		{"another address", key, Target{SignIn, "u1", "eve@example.org"}, right, now, false},
		{"parts moved", key, Target{SignIn, "u1a", "nna@example.org"}, right, now, false},
		{"another key", secret.New(bytes.Repeat([]byte{8}, 32)), to, right, now, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			next, ok := sent.Verify(c.key, c.to, c.code, c.at)
			if ok != c.ok {
				t.Fatalf("got %v", ok)
			}
			if ok {
				if _, again := next.Verify(c.key, c.to, c.code, c.at); again {
					t.Error("accepted twice")
				}
			}
		})
	}
	t.Run("five attempts", func(t *testing.T) {
		s, ok := sent, false
		for range 5 {
			if s, ok = s.Verify(key, to, wrong, now); ok {
				t.Fatal("a wrong code is taken")
			}
		}
		if _, ok = s.Verify(key, to, right, now); ok {
			t.Error("the right code is taken after five wrong ones")
		}
	})
	t.Run("zero", func(t *testing.T) {
		if _, ok := (Sent{}).Verify(key, to, "", now); ok {
			t.Error("nothing sent, and accepted")
		}
	})
	for _, digits := range []int{0, 5, 9} {
		if _, _, err := NewSent(key, to, digits, now); err == nil {
			t.Errorf("%d digits", digits)
		}
	}
	if _, _, err := NewSent(secret.Bytes{}, to, 6, now); err == nil {
		t.Error("no key")
	}
}

func TestSentCodesKeepLeadingZeros(t *testing.T) {
	key := secret.New(make([]byte, 32))
	zero := false
	for range 500 {
		code, _, err := NewSent(key, Target{Purpose: StepUp, User: "u"}, 8, time.Now())
		if err != nil || len(code.Reveal()) != 8 {
			t.Fatalf("%q %v", code.Reveal(), err)
		}
		zero = zero || code.Reveal()[0] == '0'
	}
	if !zero {
		t.Error("no code of 500 begins with 0")
	}
}

func TestRecoveryCodes(t *testing.T) {
	codes, hashes := NewRecovery("u1")
	if len(codes) != 10 || len(hashes) != 10 {
		t.Fatal(len(codes), len(hashes))
	}
	seen := map[string]bool{}
	for i, c := range codes {
		s := string(c.Reveal())
		if seen[s] || len(s) != 19 {
			t.Errorf("code %q", s)
		}
		seen[s] = true
		for _, typed := range []string{s, strings.ToLower(s), strings.ReplaceAll(s, "-", ""), strings.NewReplacer("0", "o", "1", "l").Replace(s), " " + s} {
			if got := FindRecovery(hashes, "u1", typed); got != i {
				t.Errorf("%q is %d", typed, got)
			}
		}
		if FindRecovery(hashes, "u2", s) >= 0 {
			t.Error("works for another user")
		}
		rest := append(append([]RecoveryHash{}, hashes[:i]...), hashes[i+1:]...)
		if FindRecovery(rest, "u1", s) >= 0 {
			t.Error("works after it was deleted")
		}
	}
	for _, typed := range []string{"", "0000-0000-0000-0000", "U000-0000-0000-0000", "0000-0000-0000-000", strings.Repeat("0", 1<<20), "0000-0000-0000-00\n00", "0000000000000000\n"} {
		if FindRecovery(hashes, "u1", typed) >= 0 {
			t.Errorf("%.30q is taken", typed)
		}
	}
	if FindRecovery(nil, "u1", string(codes[0].Reveal())) != -1 {
		t.Error("taken without any stored")
	}
}

func FuzzParseRecovery(f *testing.F) {
	f.Add("0123-4567-89AB-CDEF")
	f.Add("oiL0 0000 0000 0000")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseRecovery("u", s)
		if err != nil {
			return
		}
		if again, err := ParseRecovery("u", strings.ToLower(s)); err != nil || again != h {
			t.Errorf("%q: case matters: %v", s, err)
		}
	})
}

func FuzzVerifyTOTP(f *testing.F) {
	f.Add("081804")
	f.Fuzz(func(t *testing.T, s string) {
		if _, ok := VerifyTOTP(rfcKey, s, time.Unix(1111111109, 0), 1<<40); ok {
			t.Error("a replay is taken")
		}
	})
}
