package oidc

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/cap/identity/internal/grant"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
)

func TestSignIn(t *testing.T) {
	w := newWorld(t)
	w.accounts.second = true
	l := w.visit(w.browser(), w.ask("app", "scope", "openid profile email groups read"))
	if l.get("state") != "st" || l.get("iss") != w.server.URL || l.get("code") == "" {
		t.Fatalf("came back with %s", l.url)
	}
	r := w.call(pathToken, "app", codeForm(l.get("code"), appRedirect))
	if r.status != http.StatusOK || r.header.Get("Cache-Control") != "no-store" || r.text("token_type") != "Bearer" {
		t.Fatalf("%d %v", r.status, r.body)
	}
	id, at := w.claims(r.text("id_token"), jose.ES256), w.claims(r.text("access_token"), jose.ES256)
	session := id["sid"]
	for _, c := range []map[string]any{id, at} {
		for _, name := range []string{"iat", "exp", "auth_time", "mfa_time", "jti", "at_hash", "sid"} {
			if _, ok := c[name]; !ok && (name != "mfa_time" && name != "jti" && name != "at_hash") {
				t.Errorf("no %s in %v", name, c)
			}
			delete(c, name)
		}
	}
	amr := []any{"pwd", "otp", "mfa"}
	if diff := cmp.Diff(map[string]any{
		"iss": w.server.URL, "sub": "ada", "aud": "app", "nonce": "no", "acr": signin.ACRTwo, "amr": amr, "name": "Ada", "email": "ada@example.org", "email_verified": true, "groups": []any{"staff"},
	}, id); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{
		"iss": w.server.URL, "sub": "ada", "aud": []any{w.server.URL}, "client_id": "app", "scope": "openid profile email groups read", "acr": signin.ACRTwo, "amr": amr,
		"name": "Ada", "email": "ada@example.org", "groups": []any{"staff"}, "roles": []any{"editor"},
	}, at); diff != "" {
		t.Error(diff)
	}
	if session == "" || !w.active(r.text("access_token")) || !w.active(r.text("refresh_token")) {
		t.Error("the tokens aren't active")
	}
}

func TestOldClientHasRS256(t *testing.T) {
	w := newWorld(t)
	l := w.visit(w.browser(), w.ask("old", "code_challenge", "", "code_challenge_method", ""))
	if l.get("tenant") != "1" || l.get("code") == "" {
		t.Fatalf("came back with %s", l.url)
	}
	form := codeForm(l.get("code"), "https://old.example/cb?tenant=1")
	form.Del("code_verifier")
	r := w.call(pathToken, "old", form)
	if c := w.claims(r.text("id_token"), jose.RS256); c["nonce"] != "no" {
		t.Errorf("%v", c)
	}
	w.claims(r.text("access_token"), jose.ES256)
}

// TestNoWayOut is the requests that must not redirect anywhere.
func TestNoWayOut(t *testing.T) {
	w := newWorld(t)
	for name, query := range map[string]string{
		"no client":                           w.ask("app", "client_id", ""),
		"unknown client":                      w.ask("app", "client_id", "evil"),
		"another redirect":                    w.ask("app", "redirect_uri", "https://evil.example/cb"),
		"a longer redirect":                   w.ask("app", "redirect_uri", appRedirect+"/x"),
		"a loopback of a confidential client": w.ask("app", "redirect_uri", "http://127.0.0.1/cb"),
		"no redirect":                         w.ask("app", "redirect_uri", ""),
		"two redirects":                       w.ask("app") + "&redirect_uri=https%3A%2F%2Fevil.example%2F",
		"two clients":                         w.ask("app") + "&client_id=spa",
		"another's redirect":                  w.ask("app", "redirect_uri", "https://spa.example/cb"),
		"a foreign request_uri":               w.ask("app", "redirect_uri", "", "request_uri", "https://evil.example/request"),
		"a made-up request_uri":               pathAuthorize + "?client_id=app&request_uri=" + pushedPrefix + "x",
		"broken escapes":                      pathAuthorize + "?client_id=%zz",
	} {
		t.Run(name, func(t *testing.T) {
			if l := w.visit(w.browser(), query); l.outside || l.status < 400 {
				t.Errorf("%d at %s", l.status, l.url)
			}
		})
	}
}

func TestErrorsGoBack(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct{ query, want string }{
		"no response_type":       {w.ask("app", "response_type", ""), "invalid_request"},
		"implicit":               {w.ask("app", "response_type", "token"), "unsupported_response_type"},
		"hybrid":                 {w.ask("app", "response_type", "code id_token"), "unsupported_response_type"},
		"fragment":               {w.ask("app", "response_mode", "fragment"), "invalid_request"},
		"no challenge":           {w.ask("app", "code_challenge", "", "code_challenge_method", ""), "invalid_request"},
		"plain":                  {w.ask("app", "code_challenge_method", "plain"), "invalid_request"},
		"no method is plain":     {w.ask("app", "code_challenge_method", ""), "invalid_request"},
		"a short challenge":      {w.ask("app", "code_challenge", "abc"), "invalid_request"},
		"public without PKCE":    {w.ask("spa", "code_challenge", "", "code_challenge_method", ""), "invalid_request"},
		"nonce only without one": {w.ask("old", "code_challenge", "", "code_challenge_method", "", "nonce", ""), "invalid_request"},
		"unknown scope":          {w.ask("app", "scope", "openid admin"), "invalid_scope"},
		"unknown resource":       {w.ask("app", "resource", "https://evil.example"), "invalid_target"},
		"a parameter twice":      {w.ask("app") + "&state=b", "invalid_request"},
		"a request object":       {w.ask("app", "request", "e30.e30."), "request_not_supported"},
		"a request by reference": {w.ask("app", "request_uri", "https://app.example/r"), "request_uri_not_supported"},
		"prompt none":            {w.ask("app", "prompt", "none"), "login_required"},
		"none and login":         {w.ask("app", "prompt", "none login"), "invalid_request"},
		"an unknown prompt":      {w.ask("app", "prompt", "create"), "invalid_request"},
		"a negative max_age":     {w.ask("app", "max_age", "-1"), "invalid_request"},
		"a forged hint":          {w.ask("app", "id_token_hint", "e30.e30.e30"), "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			l := w.visit(w.browser(), c.query)
			if !l.outside || l.get("error") != c.want || l.get("iss") != w.server.URL || l.get("code") != "" {
				t.Errorf("%d %s", l.status, l.url)
			}
		})
	}
}

func TestPromptAndMaxAge(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	begun := func(query string) int {
		t.Helper()
		before := len(w.accounts.begun)
		if l := w.visit(b, query); l.get("code") == "" {
			t.Fatalf("%d %s", l.status, l.url)
		}
		return len(w.accounts.begun) - before
	}
	if n := begun(w.ask("app", "login_hint", "ada@example.org")); n != 1 || w.accounts.begun[0].Hint != "ada@example.org" || w.accounts.begun[0].Client != "The App" {
		t.Errorf("began %d times: %+v", n, w.accounts.begun)
	}
	w.pass(time.Minute)
	for _, c := range []struct {
		change []string
		want   int
	}{
		{nil, 0},
		{[]string{"prompt", "none"}, 0},
		{[]string{"max_age", "3600"}, 0},
		{[]string{"prompt", "login"}, 1},
		{[]string{"prompt", "select_account"}, 1},
		{[]string{"max_age", "0"}, 1},
		{[]string{"acr_values", "urn:ward:acr:1 urn:ward:acr:2"}, 0},
		{[]string{"acr_values", "unknown"}, 0},
	} {
		if n := begun(w.ask("app", c.change...)); n != c.want {
			t.Errorf("%v: began %d times instead of %d", c.change, n, c.want)
		}
		w.pass(time.Minute)
	}
	w.pass(time.Hour)
	if n := begun(w.ask("app", "max_age", "60")); n != 1 {
		t.Errorf("an old session is young enough")
	}
	if l := w.visit(b, w.ask("app", "acr_values", signin.ACRTwo, "prompt", "none")); l.get("error") != "login_required" {
		t.Errorf("a second factor wasn't asked: %s", l.url)
	}
	w.accounts.second = true
	if n := begun(w.ask("app", "acr_values", signin.ACRTwo)); n != 1 {
		t.Error("a second factor wasn't asked")
	}
}

// TestPromptLoginIsProven: going to the resume address with the old session doesn't skip the new proof.
func TestPromptLoginIsProven(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	w.visit(b, w.ask("app"))
	w.pass(time.Minute)
	w.accounts.refuse = true
	w.visit(b, w.ask("app", "prompt", "login"))
	resume := w.accounts.begun[len(w.accounts.begun)-1].Resume
	if l := w.visit(b, resume); l.outside {
		t.Errorf("came back with %s", l.url)
	}
}

func TestIDTokenHintNamesThePerson(t *testing.T) {
	w := newWorld(t)
	r := w.signIn()
	if l := w.visit(w.browser(), w.ask("app", "prompt", "none", "id_token_hint", r.text("id_token"))); l.get("code") == "" {
		t.Errorf("%s", l.url)
	}
	if l := w.visit(w.browser(), w.ask("spa", "prompt", "none", "id_token_hint", r.text("id_token"))); l.get("error") != "invalid_request" {
		t.Errorf("another client's hint: %s", l.url)
	}
	if l := w.visit(w.browser(), w.ask("app", "id_token_hint", r.text("access_token"))); l.get("error") != "invalid_request" {
		t.Errorf("an access token as hint: %s", l.url)
	}
}

// TestAnotherBrowserCantGoOn: a waiting request belongs to the browser that made it.
func TestAnotherBrowserCantGoOn(t *testing.T) {
	w := newWorld(t)
	w.accounts.refuse = true
	w.visit(w.browser(), w.ask("app"))
	resume := w.accounts.begun[0].Resume
	w.accounts.refuse = false
	if l := w.visit(w.otherBrowser(), resume); l.outside || l.status != http.StatusBadRequest {
		t.Errorf("another browser: %d %s", l.status, l.url)
	}
	if l := w.visit(w.browser(), resume); l.get("code") == "" {
		t.Errorf("its own browser: %d %s", l.status, l.url)
	}
	if l := w.visit(w.browser(), resume); l.outside {
		t.Errorf("a second code: %s", l.url)
	}
}

func TestConsent(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	l := w.visit(b, w.ask("guest"))
	if l.outside || !strings.Contains(l.body, "A Stranger&#39;s") || !strings.Contains(l.header.Get("Content-Security-Policy"), "form-action 'self' https://guest.example") {
		t.Fatalf("%d %s %s", l.status, l.url, l.body)
	}
	here := l.url.RequestURI()
	token := l.csrfOf()
	for name, form := range map[string]url.Values{
		"no token":        {"do": {"allow"}},
		"a guessed token": {"do": {"allow"}, "csrf": {"x"}},
	} {
		if l := w.submit(b, here, form); l.outside || l.status != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, l.status, l.url)
		}
	}
	for _, header := range [][]string{{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}} {
		if l := w.submit(b, here, url.Values{"do": {"allow"}, "csrf": {token}}, header...); l.outside {
			t.Errorf("%v: %s", header, l.url)
		}
	}
	if l := w.visit(b, w.ask("guest", "prompt", "none")); l.get("error") != "consent_required" {
		t.Errorf("%s", l.url)
	}
	if l := w.submit(b, here, url.Values{"do": {"deny"}, "csrf": {token}}); l.get("error") != "access_denied" {
		t.Errorf("denied: %s", l.url)
	}
	l = w.visit(b, w.ask("guest"))
	if l = w.submit(b, l.url.RequestURI(), url.Values{"do": {"allow"}, "csrf": {l.csrfOf()}}, "Origin", w.server.URL, "Sec-Fetch-Site", "same-origin"); l.get("code") == "" {
		t.Fatalf("allowed: %d %s", l.status, l.url)
	}
	if l := w.visit(b, w.ask("guest")); l.get("code") == "" {
		t.Errorf("asked again: %s", l.url)
	}
	if l := w.visit(b, w.ask("guest", "scope", "openid email write")); l.outside {
		t.Errorf("more was given unasked: %s", l.url)
	}
	if l := w.visit(b, w.ask("guest", "prompt", "consent")); l.outside {
		t.Errorf("prompt=consent: %s", l.url)
	}
	if l := w.visit(b, w.ask("app", "prompt", "consent")); l.outside {
		t.Errorf("prompt=consent of our own client: %s", l.url)
	}
}

func TestFormPost(t *testing.T) {
	w := newWorld(t)
	l := w.visit(w.browser(), w.ask("app", "response_mode", "form_post", "state", `"><script>alert(1)</script>`))
	for _, want := range []string{`action="https://app.example/cb"`, `name="code"`, `name="iss"`, `&#34;&gt;&lt;script&gt;`, `<script src="/authorize/post.js">`} {
		if !strings.Contains(l.body, want) {
			t.Errorf("no %s in %s", want, l.body)
		}
	}
	if csp := l.header.Get("Content-Security-Policy"); csp != "default-src 'none'; script-src 'self'; form-action https://app.example; frame-ancestors 'none'; base-uri 'none'" {
		t.Error(csp)
	}
}

// TestRequestByPost: a cross-site POST has no cookies; the browser is led to a GET first.
func TestRequestByPost(t *testing.T) {
	w := newWorld(t)
	_, query, _ := strings.Cut(w.ask("app"), "?")
	form, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	if l := w.submit(w.browser(), pathAuthorize, form, "Sec-Fetch-Site", "cross-site"); l.get("code") == "" {
		t.Errorf("%d %s %s", l.status, l.url, l.body)
	}
}

func TestCodeMisuse(t *testing.T) {
	type try struct {
		client string
		change map[string]string
		late   time.Duration
		want   string
		flags  []string
	}
	for name, c := range map[string]try{
		"another client":            {client: "old", want: "invalid_grant", flags: []string{FlagClient}},
		"another redirect":          {change: map[string]string{"redirect_uri": "https://app.example/other"}, want: "invalid_grant"},
		"no redirect":               {change: map[string]string{"redirect_uri": ""}, want: "invalid_grant"},
		"another verifier":          {change: map[string]string{"code_verifier": strings.Repeat("a", 43)}, want: "invalid_grant", flags: []string{FlagPKCE}},
		"no verifier":               {change: map[string]string{"code_verifier": ""}, want: "invalid_grant", flags: []string{FlagPKCE}},
		"the challenge as verifier": {change: map[string]string{"code_verifier": challengeOf(verifier)}, want: "invalid_grant", flags: []string{FlagPKCE}},
		"too late":                  {late: time.Minute, want: "invalid_grant"},
		"no code":                   {change: map[string]string{"code": ""}, want: "invalid_request"},
		"a made-up code":            {change: map[string]string{"code": "x"}, want: "invalid_grant"},
		"more than was granted":     {change: map[string]string{"resource": "https://api.example"}, want: "invalid_target"},
		"another grant type":        {change: map[string]string{"grant_type": "password"}, want: "unsupported_grant_type"},
		"no grant type":             {change: map[string]string{"grant_type": ""}, want: "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			form := codeForm(w.code("app"), appRedirect)
			for k, v := range c.change {
				form.Set(k, v)
			}
			w.pass(c.late)
			id := c.client
			if id == "" {
				id = "app"
			}
			if r := w.call(pathToken, id, form); r.outcome() != c.want || r.status != http.StatusBadRequest {
				t.Errorf("%d %v", r.status, r.body)
			}
			if diff := cmp.Diff(c.flags, w.flagged()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestPKCEDowngrade: a verifier for a request that had no challenge means that somebody took the challenge away.
func TestPKCEDowngrade(t *testing.T) {
	w := newWorld(t)
	code := w.code("old", "code_challenge", "", "code_challenge_method", "")
	if r := w.call(pathToken, "old", codeForm(code, "https://old.example/cb?tenant=1")); r.outcome() != "invalid_grant" {
		t.Errorf("%v", r.body)
	}
	if got := w.flagged(); !slices.Equal(got, []string{FlagPKCE}) {
		t.Errorf("flags %v", got)
	}
}

func TestAWrongVerifierBurnsTheCode(t *testing.T) {
	w := newWorld(t)
	form := codeForm(w.code("spa"), "https://spa.example/cb")
	w.call(pathToken, "spa", withValue(form, "code_verifier", strings.Repeat("b", 43)))
	if r := w.call(pathToken, "spa", form); r.outcome() != "invalid_grant" {
		t.Errorf("a second try: %v", r.body)
	}
}

func TestCodeReplayEndsEverything(t *testing.T) {
	w := newWorld(t)
	form := codeForm(w.code("app"), appRedirect)
	r := w.call(pathToken, "app", form)
	second := w.call(pathToken, "app", refreshForm(r.text("refresh_token")))
	w.open() // also across a restart
	if r := w.call(pathToken, "app", form); r.outcome() != "invalid_grant" {
		t.Fatalf("%v", r.body)
	}
	if got := w.flagged(); !slices.Equal(got, []string{FlagCode}) {
		t.Errorf("flags %v", got)
	}
	for _, token := range []string{r.text("access_token"), r.text("refresh_token"), second.text("access_token"), second.text("refresh_token")} {
		if w.active(token) {
			t.Error("a token of the code is still active")
		}
	}
	if r := w.call(pathToken, "app", refreshForm(second.text("refresh_token"))); r.outcome() != "invalid_grant" {
		t.Errorf("refreshed: %v", r.body)
	}
	if len(w.told) != 2 {
		t.Errorf("told of %v", w.told)
	}
}

// TestACodeIsUsedOnce also by requests at the same time.
func TestACodeIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	form := codeForm(w.code("app"), appRedirect)
	var all sync.WaitGroup
	replies := make([]reply, 8)
	for i := range replies {
		all.Go(func() { replies[i] = w.call(pathToken, "app", form) })
	}
	all.Wait()
	n, refresh := 0, ""
	for _, r := range replies {
		if r.outcome() == "ok" {
			n++
			refresh = r.text("refresh_token")
		} else if r.outcome() != "invalid_grant" {
			t.Errorf("%d %v", r.status, r.body)
		}
	}
	if n != 1 || w.active(refresh) {
		t.Errorf("%d of 8 got tokens, which live on: %v", n, w.active(refresh))
	}
}

func TestRefreshRotates(t *testing.T) {
	w := newWorld(t)
	first := w.signIn().text("refresh_token")
	r := w.call(pathToken, "app", refreshForm(first))
	second := r.text("refresh_token")
	if r.status != http.StatusOK || second == "" || second == first || r.text("id_token") == "" {
		t.Fatalf("%d %v", r.status, r.body)
	}
	if c := w.claims(r.text("id_token"), jose.ES256); c["nonce"] != nil || c["sub"] != "ada" {
		t.Errorf("%v", c)
	}
	// The answer was lost: the same successor comes again.
	w.pass(grant.RetryWindow - time.Second)
	w.open()
	if r := w.call(pathToken, "app", refreshForm(first)); r.text("refresh_token") != second {
		t.Fatalf("a retry got %v", r.body)
	}
	third := w.call(pathToken, "app", refreshForm(second)).text("refresh_token")
	if third == "" || len(w.flagged()) > 0 {
		t.Fatal("the successor doesn't work")
	}
	// The one before was used, so its successor is in use: now it is a theft, window or not.
	if r := w.call(pathToken, "app", refreshForm(first)); r.outcome() != "invalid_grant" {
		t.Errorf("%v", r.body)
	}
	if got := w.flagged(); !slices.Equal(got, []string{FlagRefresh}) {
		t.Errorf("flags %v", got)
	}
	if r := w.call(pathToken, "app", refreshForm(third)); r.outcome() != "invalid_grant" || w.active(third) {
		t.Errorf("the family lives on: %v", r.body)
	}
}

func TestRefreshReuseAfterTheWindowEndsTheFamily(t *testing.T) {
	w := newWorld(t)
	r := w.signIn()
	first := r.text("refresh_token")
	next := w.call(pathToken, "app", refreshForm(first))
	w.pass(grant.RetryWindow + time.Second)
	if r := w.call(pathToken, "app", refreshForm(first)); r.outcome() != "invalid_grant" {
		t.Errorf("%v", r.body)
	}
	if r := w.call(pathToken, "app", refreshForm(next.text("refresh_token"))); r.outcome() != "invalid_grant" {
		t.Errorf("the family lives on: %v", r.body)
	}
	if w.active(next.text("access_token")) || w.active(r.text("access_token")) {
		t.Error("its access tokens live on")
	}
	if got := w.flagged(); !slices.Equal(got, []string{FlagRefresh}) {
		t.Errorf("flags %v", got)
	}
}

func TestRefreshMisuse(t *testing.T) {
	w := newWorld(t)
	token := w.signIn().text("refresh_token")
	for name, c := range map[string]struct {
		client string
		form   url.Values
		want   string
	}{
		"another client":      {"old", refreshForm(token), "invalid_grant"},
		"more scope":          {"app", withValue(refreshForm(token), "scope", "openid write"), "invalid_scope"},
		"an unknown resource": {"app", withValue(refreshForm(token), "resource", "https://evil.example"), "invalid_target"},
		"none":                {"app", url.Values{"grant_type": {"refresh_token"}}, "invalid_request"},
		"made up":             {"app", refreshForm("x"), "invalid_grant"},
		"a client without it": {"api", refreshForm(token), "unauthorized_client"},
	} {
		if r := w.call(pathToken, c.client, c.form); r.outcome() != c.want {
			t.Errorf("%s: %d %v", name, r.status, r.body)
		}
	}
	r := w.call(pathToken, "app", withValue(refreshForm(token), "scope", "openid"))
	if c := w.claims(r.text("access_token"), jose.ES256); c["scope"] != "openid" || c["email"] != nil {
		t.Errorf("%v", c)
	}
	if c := w.claims(w.call(pathToken, "app", refreshForm(r.text("refresh_token"))).text("access_token"), jose.ES256); c["scope"] != "openid email" {
		t.Errorf("the narrower scope stuck: %v", c)
	}
}

func TestRefreshEndsWithTheSession(t *testing.T) {
	w := newWorld(t)
	r := w.signIn()
	for id := range w.accounts.sessions {
		w.accounts.drop(id)
	}
	if r := w.call(pathToken, "app", refreshForm(r.text("refresh_token"))); r.outcome() != "invalid_grant" {
		t.Errorf("%v", r.body)
	}
	if w.active(r.text("access_token")) || w.active(r.text("refresh_token")) {
		t.Error("its tokens are active")
	}
}

func TestRefreshExpires(t *testing.T) {
	w := newWorld(t)
	r := w.signIn()
	w.pass(13 * time.Hour) // the session lives for 12
	if r := w.call(pathToken, "app", refreshForm(r.text("refresh_token"))); r.outcome() != "invalid_grant" {
		t.Errorf("%v", r.body)
	}
	if err := w.p.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
}
