package site

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/model"
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

// Whoever comes with another provider's word proves here, and in this sign-in, that the account is theirs, before it can be linked.
func TestLinkingNeedsAProofOfOurOwn(t *testing.T) {
	w := newWorld(t, store.Config{})
	w.users.SecondFactor = model.SecondFactorOptional
	id := w.person("ada@example.org")
	session := &signin.Session{Person: signin.Person{ID: id}, AuthAt: w.Now(), FactorAt: w.Now(), Methods: []string{signin.Password}, Expires: w.Now().Add(time.Hour)}
	for method, want := range map[string]account.Step{signin.Federal: account.StepPassword, signin.Mail: account.StepPassword, signin.Password: account.StepLink, signin.Passkey: account.StepLink} {
		f := account.Flow{Request: toAccount(), Federal: &account.Upstream{Issuer: "https://idp.example", Subject: "1", Email: "ada@example.org", Verified: true}}
		f.Prove(id, w.Now(), method)
		if step, _, err := w.Next(t.Context(), &f, session); err != nil || step != want {
			t.Errorf("%s: step %d, %v", method, step, err)
		}
		if out, err := w.Finish(t.Context(), &f, account.Browser{}, session); err == nil {
			t.Errorf("%s: it ends without an answer: %+v", method, out)
		}
	}
}

// A code that went to an address which somebody wants to have is no proof of who they are: they may have typed their own.
func TestACodeForANewAddressIsNoSecondFactor(t *testing.T) {
	w := newWorld(t, store.Config{})
	w.users.SecondFactor = model.SecondFactorOptional
	w.person("ada@example.org")
	thief := w.browser() // who has the password
	thief.withPassword("ada@example.org", goodWord).want(t, 200, "/account")
	on := thief.send(thief.get("/account/profile"), "name", "Ada", "email", "mallory@example.net").want(t, 200, "/account/profile/verify")
	code := find(t, codePattern, w.mail.last(t, "mallory@example.net"))
	w.flag = func(f account.Flag) account.Response { return account.Response{StepUp: f.Kind == account.FlagHalf} }
	on = thief.get("/sign-in?"+on.at.RawQuery).want(t, 200, "/sign-in")
	on.has(t, "a…@example.org")
	thief.send(on, "code", code).want(t, 422, "/sign-in")
	s, err := w.Service.Session(t.Context(), thief.cookie(sessionCookie))
	if err != nil || s == nil || !s.FactorAt.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
}
