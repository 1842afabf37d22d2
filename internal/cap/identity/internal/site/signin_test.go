package site

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/store"
)

// totp is RFC 6238 once more, so that the tests don't trust ours.
func totp(key []byte, now time.Time) string {
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(now.Unix()/30))
	mac := hmac.New(sha1.New, key)
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[19]&15:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1_000_000)
}

func TestPasswordAndAuthenticatorThroughBeginToResume(t *testing.T) {
	w := newWorld(t, store.Config{})
	_, a, id := w.enrolled("ada@example.org")
	b := w.browser()
	path, err := w.Begin(t.Context(), signin.Request{Client: "Notes", MaxAge: -1, FactorAge: -1, Resume: "/oauth/resume?id=7"})
	if err != nil {
		t.Fatal(err)
	}
	on := b.send(b.get(path).want(t, 200, "/sign-in"), "identifier", "ADA@example.org")
	on = b.send(on, "password", goodWord)
	done := b.send(on, "code", a.code()).want(t, 200, "/oauth/resume")
	if done.at.RawQuery != "id=7" || done.body != "resumed" {
		t.Errorf("resumed at %s", done.at)
	}
	s, err := w.Service.Session(t.Context(), b.cookie(sessionCookie))
	if err != nil || s == nil {
		t.Fatal("no session", err)
	}
	if s.Person.ID != id || s.ACR() != signin.ACRTwo || !s.Has(signin.Password) || !s.Has(signin.OTP) || !s.Has(signin.Several) {
		t.Errorf("a session of %+v", s.Session)
	}
}
