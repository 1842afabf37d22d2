package oidc

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/cap/identity/internal/grant"
)

func TestACodeEndsWithTheSession(t *testing.T) {
	w := newWorld(t)
	form := codeForm(w.code("app"), appRedirect)
	for id := range w.accounts.sessions {
		w.accounts.drop(id)
	}
	if r := w.call(pathToken, "app", form); r.outcome() != "invalid_grant" {
		t.Errorf("%v", r.body)
	}
}

// TestReuseIsNoticedFirst: whatever else is wrong with the request; and once.
func TestReuseIsNoticedFirst(t *testing.T) {
	w := newWorld(t)
	first := w.signIn().text("refresh_token")
	w.call(pathToken, "app", refreshForm(first))
	w.pass(grant.RetryWindow + time.Second)
	for _, want := range [][]string{{FlagRefresh}, nil} {
		if r := w.call(pathToken, "app", withValue(refreshForm(first), "scope", "openid write")); r.outcome() != "invalid_grant" {
			t.Errorf("%v", r.body)
		}
		if got := w.flagged(); !slices.Equal(got, want) {
			t.Errorf("flags %v", got)
		}
	}
}

// TestALogoutTokenIsNoHint: clients hold logout tokens, too.
func TestALogoutTokenIsNoHint(t *testing.T) {
	w := newWorld(t)
	session := w.claims(w.signIn().text("id_token"), jose.ES256)["sid"]
	token, err := w.p.keys.Sign(t.Context(), jose.ES256, "logout+jwt", map[string]any{"iss": w.server.URL, "aud": "app", "sub": "ada", "sid": session})
	if err != nil {
		t.Fatal(err)
	}
	if w.visit(w.browser(), pathLogout+"?id_token_hint="+url.QueryEscape(token)); len(w.accounts.sessions) != 1 {
		t.Error("it ended the session unasked")
	}
}

func TestAnotherBrowserSeesNoConsent(t *testing.T) {
	w := newWorld(t)
	l := w.visit(w.browser(), w.ask("guest"))
	other := w.otherBrowser()
	w.visit(other, w.ask("guest")) // it has a secret and a session of its own
	if l := w.visit(other, l.url.RequestURI()); l.status != 400 {
		t.Errorf("%d %s", l.status, l.url)
	}
}

func TestABoundTokenIsExchangedByItsKey(t *testing.T) {
	w := newWorld(t)
	k, other, at := newProofKey(t), newProofKey(t), w.server.URL+pathToken
	now := w.clock().Now()
	subject := w.call(pathToken, "app", codeForm(w.code("app"), appRedirect), "DPoP", k.proof("POST", at, now)).text("access_token")
	form := exchangeForm(subject, "audience", "https://deep.example")
	if r := w.call(pathToken, "app", form); r.outcome() != "invalid_request" {
		t.Errorf("no key: %v", r.body)
	}
	if r := w.call(pathToken, "app", form, "DPoP", other.proof("POST", at, now)); r.outcome() != "invalid_request" {
		t.Errorf("another key: %v", r.body)
	}
	if r := w.call(pathToken, "app", form, "DPoP", k.proof("POST", at, now)); r.outcome() != "ok" || r.text("token_type") != "DPoP" {
		t.Errorf("its key: %v", r.body)
	}
}

func TestAnUnboundTokenIsNotDPoP(t *testing.T) {
	w := newWorld(t)
	if r := w.userinfo("GET", "DPoP", w.signIn().text("access_token"), nil); r.status != 401 {
		t.Errorf("%d %v", r.status, r.body)
	}
}

func TestAnotherClientsDevice(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	begin := w.call(pathDevices, "spa", url.Values{"scope": {"openid"}})
	token := w.visit(b, "/device").csrfOf()
	w.submit(b, "/device", url.Values{"user_code": {begin.text("user_code")}, "csrf": {token}, "do": {"allow"}})
	if r := w.call(pathToken, "guest", deviceForm(begin.text("device_code"))); r.outcome() != "invalid_grant" {
		t.Errorf("%v", r.body)
	}
}
