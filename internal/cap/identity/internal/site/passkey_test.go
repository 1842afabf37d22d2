package site

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/store"
)

// withPasskey is somebody whose second factor is a passkey.
func (w *world) withPasskey(email string) (*token, string) {
	w.t.Helper()
	id := w.person(email)
	b := w.browser()
	on := b.send(b.withPassword(email, goodWord), "factor", "passkey")
	k := newToken(id)
	b.send(on, "label", "My key", "credential", k.make(w.t, on)).want(w.t, 200, "/account")
	return k, id
}

func TestAPasskeyAloneIsTwoFactors(t *testing.T) {
	w := newWorld(t, store.Config{})
	k, id := w.withPasskey("ada@example.org")
	b := w.browser()
	on := b.get("/sign-in")
	b.send(on, "credential", k.answer(t, on)).want(t, 200, "/account")
	s, err := w.Service.Session(t.Context(), b.cookie(sessionCookie))
	if err != nil || s == nil || s.Person.ID != id || s.ACR() != signin.ACRTwo || !s.Has(signin.Passkey) || !s.Has(signin.User) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestAPasskeyAnswersAStepUp(t *testing.T) {
	w := newWorld(t, store.Config{})
	k, _ := w.withPasskey("ada@example.org")
	b := w.browser()
	on := b.get("/sign-in")
	b.send(on, "credential", k.answer(t, on)).want(t, 200, "/account")
	w.sleep(freshFor + time.Second)
	on = b.get("/account/factors/recovery-codes").want(t, 200, "/sign-in")
	b.send(on, "credential", k.answer(t, on)).want(t, 200, "/account/factors/recovery-codes")
}

func TestBadPasskeysAreRefused(t *testing.T) {
	for name, bad := range map[string]struct {
		change func(k *token)
		flag   account.FlagKind
	}{
		"without user verification": {func(k *token) { k.auth.Options.UserNotVerified = true }, account.FlagWrongFactor},
		"without user presence":     {func(k *token) { k.auth.Options.UserNotPresent = true }, account.FlagWrongFactor},
		"for another origin":        {func(k *token) { k.rp.Origin = "https://id.example.com.evil.example" }, account.FlagWrongFactor},
		"for a sibling origin":      {func(k *token) { k.rp.Origin = "https://shop.example.com" }, account.FlagWrongFactor},
		"for http":                  {func(k *token) { k.rp.Origin = "http://id.example.com" }, account.FlagWrongFactor},
		"for another relying party": {func(k *token) { k.rp.ID = "example.com" }, account.FlagWrongFactor},
		"another key":               {func(k *token) { k.cred.Key = newCredential().Key }, account.FlagWrongFactor},
		"an unknown credential":     {func(k *token) { k.cred.ID = []byte(strings.Repeat("x", 32)) }, account.FlagWrongFactor},
		"another person's handle":   {func(k *token) { k.auth.Options.UserHandle = []byte("somebody") }, account.FlagWrongFactor},
		"no handle":                 {func(k *token) { k.auth.Options.UserHandle = nil }, account.FlagWrongFactor},
		"a copy's counter":          {func(k *token) { k.cred.Counter = 2 }, account.FlagClone},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, store.Config{})
			k, _ := w.withPasskey("ada@example.org")
			k.cred.Counter = 10
			b := w.browser()
			on := b.get("/sign-in")
			b.send(on, "credential", k.answer(t, on)).want(t, 200, "/account")
			var flags []account.FlagKind
			w.flag = func(f account.Flag) account.Response { flags = append(flags, f.Kind); return account.Response{} }
			good := *k
			bad.change(k)
			b = w.browser()
			on = b.get("/sign-in")
			on = b.send(on, "credential", k.answer(t, on)).want(t, 422, "/sign-in")
			if b.cookie(sessionCookie) != "" || len(flags) != 1 || flags[0] != bad.flag {
				t.Errorf("session %t, flags %v", b.cookie(sessionCookie) != "", flags)
			}
			b.send(on, "credential", good.answer(t, on)).want(t, 200, "/account")
		})
	}
}

func TestAnAnswerOfAPasskeyWorksOnceAndInItsSignIn(t *testing.T) {
	w := newWorld(t, store.Config{})
	k, _ := w.withPasskey("ada@example.org")
	b, other := w.browser(), w.browser()
	on := b.get("/sign-in")
	answer := k.answer(t, on)
	theirs := other.get("/sign-in")
	other.send(theirs, "credential", answer).want(t, 422, "/sign-in")
	b.send(on, "credential", answer).want(t, 200, "/account")
	again := b.do("POST", on.at.String(), url.Values{"csrf": {find(t, `name="csrf" value="([^"]+)"`, on.body)}, "credential": {answer}})
	if again.status < 400 {
		t.Errorf("again in the same sign-in: %d", again.status)
	}
	b = w.browser()
	on = b.get("/sign-in")
	b.send(on, "credential", answer).want(t, 422, "/sign-in")
}

func TestAPasskeyIsMadeForWhoAskedAndOnce(t *testing.T) {
	w := newWorld(t, store.Config{})
	b, app, _ := w.enrolled("ada@example.org")
	_ = app
	on := b.get("/account/factors/passkey").want(t, 200, "/account/factors/passkey")
	k := newToken("")
	answer := k.make(t, on)
	b.send(on, "label", "Key", "credential", answer).want(t, 200, "/account/factors").has(t, "Key")
	on = b.get("/account/factors/passkey")
	b.send(on, "label", "Key", "credential", answer).want(t, 422, "/account/factors/passkey")
	k.auth.Options.UserNotVerified = true
	k.cred = newCredential()
	on = b.get("/account/factors/passkey")
	b.send(on, "label", "Key", "credential", k.make(t, on)).want(t, 422, "/account/factors/passkey")
}

func TestADisabledPersonsPasskeyIsRefused(t *testing.T) {
	w := newWorld(t, store.Config{})
	k, id := w.withPasskey("ada@example.org")
	if err := w.SetDisabled(t.Context(), id, true); err != nil {
		t.Fatal(err)
	}
	b := w.browser()
	on := b.get("/sign-in")
	b.send(on, "credential", k.answer(t, on)).want(t, 422, "/sign-in")
}

// Two answers at the same count, looked at at the same time: one of them is a copy's. And an answer that came twice counts once.
func TestOfTwoAnswersAtOneCountOneIsACopys(t *testing.T) {
	w := newWorld(t, store.Config{})
	k, _ := w.withPasskey("ada@example.org")
	k.cred.Counter = 10
	bound, _ := account.NewToken()
	in := account.Browser{Bound: bound}
	answered := func() (once, twice *account.Flow) {
		t.Helper()
		f := account.Flow{Request: toAccount()}
		stored, err := w.NewFlow(t.Context(), f.Bind(in))
		if err != nil {
			t.Fatal(err)
		}
		mine := *k
		said := mine.answer(t, answer{body: fmt.Sprintf("data-options=%q", strings.ReplaceAll(stored.Options, `"`, "&#34;"))})
		again := *stored
		for _, f := range []*account.Flow{stored, &again} {
			who, err := w.VerifyPasskey(t.Context(), f, said)
			if err != nil {
				t.Fatal(err)
			}
			f.Prove(who, w.Now(), signin.Passkey)
			f.ProveFactor(w.Now())
		}
		return stored, &again
	}
	original, replay := answered()
	theirs, saved := answered()
	if _, err := w.Finish(t.Context(), original, in, nil); err != nil {
		t.Fatal(err)
	}
	if out, err := w.Finish(t.Context(), replay, in, nil); !errors.Is(err, account.ErrStale) || out.Cookie != "" {
		t.Errorf("the answer again: %v", err)
	}
	if out, err := w.Finish(t.Context(), theirs, in, nil); !errors.Is(err, account.ErrClone) || out.Cookie != "" {
		t.Errorf("the copy: %v", err)
	}
	if err := w.SaveFlow(t.Context(), saved); !errors.Is(err, account.ErrClone) {
		t.Errorf("the copy's proof is kept: %v", err)
	}
}
