package main

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/browser"
)

// TestPasskeyAttacksInABrowser: real answers of a browser's authenticator, used as a thief would.
func TestPasskeyAttacksInABrowser(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, peopleModel, nil)
	s := surf(t, w)
	s.asksFirst()
	s.signsUp()
	var sent url.Values
	var tried time.Time
	// attempt opens the sign-in, does something there, and says what the answer to the passkey was and whether somebody is signed in.
	attempt := func(name string, act func(), status int, signedIn bool) {
		t.Helper()
		s.Forget()
		s.Goto(w.URL + "/own/x")
		s.Posts()
		tried = time.Now()
		s.Await(act)
		posts := s.Posts()
		if len(posts) != 1 || !posts[0].Form.Has("credential") || posts[0].Status != status {
			t.Fatalf("%s: sent %+v", name, posts)
		}
		sent = posts[0].Form
		if signedIn {
			s.arrives(w.URL) // it is led on
		}
		s.Goto(w.URL + "/own/x")
		if got := strings.HasPrefix(s.At(), w.URL+"/"); got != signedIn {
			t.Errorf("%s: signed in: %v", name, got)
		}
	}
	press := func() { t.Helper(); s.Click(passkeyButton) }
	attempt("its owner", press, 200, true)
	replayed := sent.Get("credential")
	attempt("the same answer again", func() {
		browser.Ask[any](s.Page, `(answer) => { const f = document.querySelector("form[data-passkey=get]"); f.elements.credential.value = answer; setTimeout(() => f.submit()); }`, replayed)
	}, 422, false)
	s.device.Verify(false)
	attempt("without user verification", func() {
		browser.Ask[any](s.Page, `() => { const { dataset } = document.querySelector("form[data-passkey=get]"); dataset.options = dataset.options.replace(/"userVerification":"required"/, '"userVerification":"discouraged"'); }`)
		press()
	}, 422, false)
	s.device.Verify(true)
	attempt("its owner again", press, 200, true)

	own := s.device.Passkeys()[0]
	if own.SignCount < 3 {
		t.Errorf("the counter stands at %v", own.SignCount)
	}
	own.SignCount = 1
	s.device.Replace(own)
	attempt("a copy", press, 422, false)
	cloned := tried
	flagged := func() (out []ledger.Record) {
		code, lines := runWard(t, w, "", "audit", "--json", "--kind", "flag.passkey-clone")
		if code != 0 {
			t.Fatal(code, lines)
		}
		for line := range strings.Lines(lines) {
			var r ledger.Record
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			out = append(out, r)
		}
		return out
	}
	wardtest.Eventually(t, "the flag in the ledger", func() bool { return len(flagged()) > 0 })
	got := flagged()
	if took := got[0].Time.Sub(cloned); len(got) != 1 || took < 0 || took > mostToFind {
		t.Errorf("%d flags, the first after %s: %+v", len(got), took, got)
	}
}
