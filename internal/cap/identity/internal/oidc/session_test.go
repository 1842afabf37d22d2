package oidc

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/cap/identity/internal/client"
	"github.com/wardhq/ward/internal/model"
)

func (w *world) userinfo(method, scheme, token string, form url.Values) reply {
	w.t.Helper()
	req, err := http.NewRequest(method, w.server.URL+pathUserinfo, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	if scheme != "" {
		req.Header.Set("Authorization", scheme+" "+token)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return w.do(req)
}

func TestUserinfo(t *testing.T) {
	w := newWorld(t)
	r := w.call(pathToken, "app", codeForm(w.code("app", "scope", "openid profile email groups"), appRedirect))
	want := map[string]any{"sub": "ada", "name": "Ada", "email": "ada@example.org", "email_verified": true, "groups": []any{"staff"}}
	for _, got := range []reply{
		w.userinfo("GET", "Bearer", r.text("access_token"), nil), w.userinfo("POST", "bearer", r.text("access_token"), nil),
		w.userinfo("POST", "", "", url.Values{"access_token": {r.text("access_token")}}),
	} {
		if diff := cmp.Diff(want, got.body); diff != "" {
			t.Error(diff)
		}
	}
	noOpenID := w.call(pathToken, "spa", codeForm(w.code("spa", "scope", "email"), "https://spa.example/cb"))
	job := w.call(pathToken, "job", w.assertion(nil))
	for name, c := range map[string]struct {
		token  string
		status int
	}{
		"an ID token":     {r.text("id_token"), 401},
		"a refresh token": {r.text("refresh_token"), 401},
		"rubbish":         {"x", 401},
		"for another":     {job.text("access_token"), 401},
		"a changed one":   {r.text("access_token")[:len(r.text("access_token"))-4] + "AAAA", 401},
		"without openid":  {noOpenID.text("access_token"), 403},
		"none":            {"", 401},
	} {
		got := w.userinfo("GET", "Bearer", c.token, nil)
		if got.status != c.status || got.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %v", name, got.status, got.body)
		}
	}
	if got := w.userinfo("POST", "Bearer", r.text("access_token"), url.Values{"access_token": {"x"}}); got.outcome() != "invalid_request" {
		t.Errorf("two tokens: %v", got.body)
	}
	w.pass(10 * time.Minute)
	if got := w.userinfo("GET", "Bearer", r.text("access_token"), nil); got.status != 401 {
		t.Errorf("an expired one: %v", got.body)
	}
}

// TestForgedTokens: what isn't signed by our current keys as it should be, is none.
func TestForgedTokens(t *testing.T) {
	w := newWorld(t)
	now := w.clock().Now()
	claims := map[string]any{"iss": w.server.URL, "sub": "ada", "aud": []string{w.server.URL}, "client_id": "app", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": "1", "scope": "openid"}
	own, err := w.p.keys.Sign(t.Context(), jose.ES256, "at+jwt", claims)
	if err != nil {
		t.Fatal(err)
	}
	if !w.active(strings.Clone(own)) {
		t.Fatal("the table's pattern isn't active")
	}
	foreign, err := jobKey().Sign("at+jwt", claims)
	if err != nil {
		t.Fatal(err)
	}
	withKey, err := jobKey().SignWithKey("at+jwt", claims)
	if err != nil {
		t.Fatal(err)
	}
	rsa, err := w.p.keys.Sign(t.Context(), jose.RS256, "at+jwt", claims)
	if err != nil {
		t.Fatal(err)
	}
	asID, err := w.p.keys.Sign(t.Context(), jose.ES256, "JWT", claims)
	if err != nil {
		t.Fatal(err)
	}
	claims["iss"] = "https://evil.example"
	otherIssuer, err := w.p.keys.Sign(t.Context(), jose.ES256, "at+jwt", claims)
	if err != nil {
		t.Fatal(err)
	}
	part := strings.Split(own, ".")
	for name, token := range map[string]string{
		"another key":          foreign,
		"a key in the header":  withKey,
		"RS256 for access":     rsa,
		"the typ of ID tokens": asID,
		"another issuer":       otherIssuer,
		"alg none":             "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + part[1] + ".",
		"alg HS256":            "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9." + part[1] + "." + part[2],
		"no signature":         part[0] + "." + part[1] + ".",
	} {
		if w.active(token) {
			t.Errorf("%s is active", name)
		}
	}
}

func TestIntrospectionIsForTheRightOnes(t *testing.T) {
	w := newWorld(t)
	r := w.call(pathToken, "app", codeForm(w.code("app", "resource", "https://api.example"), appRedirect))
	for _, token := range []string{r.text("access_token"), r.text("refresh_token")} {
		if got := w.call(pathIntrospect, "old", url.Values{"token": {token}}); len(got.body) != 1 || got.body["active"] != false {
			t.Errorf("another client learns %v", got.body)
		}
		if got := w.call(pathIntrospect, "spa", url.Values{"token": {token}}); got.outcome() != "invalid_client" {
			t.Errorf("a public client: %v", got.body)
		}
		if got := w.call(pathIntrospect, "", url.Values{"token": {token}}); got.outcome() != "invalid_client" {
			t.Errorf("nobody: %v", got.body)
		}
	}
	if got := w.call(pathIntrospect, "app", url.Values{"token": {r.text("access_token")}}); got.text("sub") != "ada" || got.text("client_id") != "app" || got.text("token_type") != "Bearer" {
		t.Errorf("%v", got.body)
	}
	if got := w.call(pathIntrospect, "app", url.Values{}); got.outcome() != "invalid_request" {
		t.Errorf("%v", got.body)
	}
}

func TestRevocation(t *testing.T) {
	w := newWorld(t)
	r := w.signIn()
	access, refresh := r.text("access_token"), r.text("refresh_token")
	for _, token := range []string{access, refresh} {
		if got := w.call(pathRevoke, "old", url.Values{"token": {token}}); got.outcome() == "ok" {
			t.Errorf("another client revoked")
		}
	}
	if !w.active(access) || !w.active(refresh) {
		t.Fatal("another client ended a token")
	}
	if got := w.call(pathRevoke, "app", url.Values{"token": {"x"}}); got.outcome() != "ok" {
		t.Errorf("an unknown token: %v", got.body)
	}
	w.call(pathRevoke, "app", url.Values{"token": {access}})
	if w.active(access) || !w.active(refresh) || len(w.told) != 1 {
		t.Errorf("an access token: told %v", w.told)
	}
	next := w.call(pathToken, "app", refreshForm(refresh))
	w.call(pathRevoke, "app", url.Values{"token": {next.text("refresh_token")}})
	w.open()
	if w.active(next.text("access_token")) || w.active(next.text("refresh_token")) {
		t.Error("a refresh token's family lives on")
	}
}

func TestLogout(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	r := w.signIn()
	hint := url.QueryEscape(r.text("id_token"))
	bye := url.QueryEscape("https://app.example/bye")
	for name, query := range map[string]string{
		"an address of somebody else": "?id_token_hint=" + hint + "&post_logout_redirect_uri=" + url.QueryEscape("https://evil.example/"),
		"an address of nobody":        "?post_logout_redirect_uri=" + bye,
		"a redirect address":          "?client_id=app&post_logout_redirect_uri=" + url.QueryEscape(appRedirect),
		"another client's hint":       "?client_id=old&id_token_hint=" + hint + "&post_logout_redirect_uri=" + bye,
		"two addresses":               "?client_id=app&post_logout_redirect_uri=" + bye + "&post_logout_redirect_uri=https%3A%2F%2Fevil.example",
	} {
		if l := w.visit(b, pathLogout+query); l.outside || l.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, l.status, l.url)
		}
	}
	// Without a hint the person is asked.
	l := w.visit(b, pathLogout+"?client_id=app&state=x&post_logout_redirect_uri="+bye)
	if l.outside || !strings.Contains(l.body, "The App") {
		t.Fatalf("%d %s", l.status, l.url)
	}
	if w.submit(b, l.url.RequestURI(), url.Values{"do": {"sign-out"}, "csrf": {"x"}}).outside || !w.active(r.text("access_token")) {
		t.Fatal("signed out without the form's token")
	}
	if l := w.submit(b, l.url.RequestURI(), url.Values{"do": {"sign-out"}, "csrf": {l.csrfOf()}}); l.url.String() != "https://app.example/bye?state=x" {
		t.Errorf("%d %s", l.status, l.url)
	}
	if w.active(r.text("access_token")) || w.active(r.text("refresh_token")) || len(w.accounts.sessions) != 0 {
		t.Error("signed out, but tokens live on")
	}
	// With the hint of this session it is done.
	r = w.signIn()
	if l := w.visit(b, pathLogout+"?id_token_hint="+url.QueryEscape(r.text("id_token"))+"&post_logout_redirect_uri="+bye); l.url.String() != "https://app.example/bye" || len(w.accounts.sessions) != 0 {
		t.Errorf("%d %s", l.status, l.url)
	}
	// With that of an older one the person is asked.
	w.signIn()
	if l := w.visit(b, pathLogout+"?id_token_hint="+url.QueryEscape(r.text("id_token"))); l.outside || len(w.accounts.sessions) != 1 {
		t.Errorf("%d %s", l.status, l.url)
	}
	// A POST of another site comes without cookies, but ends there too.
	r = w.signIn()
	if l := w.submit(b, pathLogout, url.Values{"id_token_hint": {r.text("id_token")}, "post_logout_redirect_uri": {"https://app.example/bye"}}); l.url.String() != "https://app.example/bye" || len(w.accounts.sessions) != 0 {
		t.Errorf("%d %s, %d sessions", l.status, l.url, len(w.accounts.sessions))
	}
}

func TestBackChannelLogout(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var got []string
	fail := 2
	rp := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if fail--; fail >= 0 {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		form, err := url.ParseQuery(string(b))
		if err != nil {
			t.Error(err)
		}
		got = append(got, form.Get("logout_token"))
	}))
	defer rp.Close()
	specs := clients(t, jobKey())
	specs[0].Back = rp.URL + "/logout"
	if err := w.p.Clients.Declare(specs); err != nil {
		t.Fatal(err)
	}
	w.signIn()
	var session string
	for id := range w.accounts.sessions {
		session = id
	}
	w.accounts.drop(session)
	if err := w.p.Ended(t.Context(), []string{session, "unknown"}); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(w.told, session) {
		t.Errorf("told of %v", w.told)
	}
	w.open()
	if err := w.p.Clients.Declare(specs); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if err := w.p.backs.Send(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.pass(5 * time.Second)
	}
	if len(got) != 1 {
		t.Fatalf("%d logout tokens", len(got))
	}
	c := w.claims(got[0], jose.ES256)
	if c["sub"] != "ada" || c["sid"] != session || c["aud"] != "app" || c["nonce"] != nil || c["jti"] == nil || c["exp"] == nil {
		t.Errorf("%v", c)
	}
	if events, err := json.Marshal(c["events"]); err != nil || string(events) != `{"http://schemas.openid.net/event/backchannel-logout":{}}` {
		t.Errorf("%s, %v", events, err)
	}
	parsed, err := jose.Parse(got[0])
	if err != nil || parsed.Type != "logout+jwt" {
		t.Errorf("typ %q, %v", parsed.Type, err)
	}
}

// TestBackChannelGoesNowhereElse: the address counts that the client has when it is sent, and redirects don't.
func TestBackChannelGoesNowhereElse(t *testing.T) {
	w := newWorld(t)
	hits := 0
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	defer inner.Close()
	outer := httptest.NewServer(http.RedirectHandler(inner.URL, http.StatusTemporaryRedirect))
	defer outer.Close()
	specs := clients(t, jobKey())
	end := func() {
		t.Helper()
		w.signIn()
		for id := range w.accounts.sessions {
			w.accounts.drop(id)
			if err := w.p.Ended(t.Context(), []string{id}); err != nil {
				t.Fatal(err)
			}
		}
	}
	specs[0].Back = outer.URL
	if err := w.p.Clients.Declare(specs); err != nil {
		t.Fatal(err)
	}
	end()
	if err := w.p.backs.Send(t.Context()); err != nil || hits != 0 {
		t.Errorf("followed a redirect: %d, %v", hits, err)
	}
	specs[0].Back = inner.URL
	if err := w.p.Clients.Declare(specs); err != nil {
		t.Fatal(err)
	}
	w.pass(5 * time.Second)
	if err := w.p.backs.Send(t.Context()); err != nil || hits != 0 {
		t.Errorf("sent to an address of another time: %d, %v", hits, err)
	}
	end()
	if err := w.p.backs.Send(t.Context()); err != nil || hits != 1 {
		t.Errorf("the right address: %d, %v", hits, err)
	}
}

func TestCORS(t *testing.T) {
	w := newWorld(t)
	if _, err := w.p.Clients.Add(t.Context(), client.Spec{Client: model.Client{Name: "added", Public: true, Redirects: []string{"https://added.example/cb"}}}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", pathKeys, pathToken, pathUserinfo} {
		for origin, want := range map[string]string{
			"https://spa.example": "https://spa.example", "https://added.example": "https://added.example",
			"https://app.example": "", "https://evil.example": "", "null": "", "https://spa.example.evil.example": "",
		} {
			for _, method := range []string{http.MethodOptions, http.MethodGet} {
				req, err := http.NewRequest(method, w.server.URL+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Origin", origin)
				r := w.do(req)
				if got := r.header.Get("Access-Control-Allow-Origin"); got != want || r.header.Get("Access-Control-Allow-Credentials") != "" {
					t.Errorf("%s %s from %s: %q", method, path, origin, got)
				}
			}
		}
	}
	req, err := http.NewRequest(http.MethodGet, w.server.URL+pathAuthorize, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://spa.example")
	resp, err := w.otherBrowser().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("scripts may read the authorization endpoint")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	cancel := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		w.p.Run(ctx)
		close(cancel)
	}()
	stop()
	<-cancel
}

func TestIssuerMustBeAnOrigin(t *testing.T) {
	w := newWorld(t)
	for _, issuer := range []string{"", "http://id.example", "https://id.example/", "https://id.example/path", "https://u@id.example", "https://id.example?x"} {
		c := w.config
		c.Issuer = issuer
		if _, err := Open(t.Context(), c); err == nil {
			t.Errorf("%q is taken", issuer)
		}
	}
}
