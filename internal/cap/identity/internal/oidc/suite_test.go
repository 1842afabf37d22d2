package oidc

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/cap/identity/internal/client"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/model"
)

// These tests do what modules of the OpenID Foundation's suite do; docs/openid-tests.md maps them.

func TestRequestsThatMustSucceed(t *testing.T) {
	long := strings.Repeat("n", 384)
	for name, change := range map[string][]string{
		"display=page":              {"display", "page"},
		"display=popup":             {"display", "popup"},
		"an unknown parameter":      {"extra", "foobar"},
		"ui_locales":                {"ui_locales", "se"},
		"claims_locales":            {"claims_locales", "se"},
		"login_hint":                {"login_hint", "buffy@id.example"},
		"acr_values":                {"acr_values", signin.ACROne + " " + signin.ACRTwo},
		"unknown acr_values":        {"acr_values", "1 2"},
		"no nonce":                  {"nonce", ""},
		"no state":                  {"state", ""},
		"a nonce of 64 characters":  {"nonce", long[:64]},
		"a nonce of 384 characters": {"nonce", long},
		"a long state":              {"state", long + long + long},
		"another order of scopes":   {"scope", "email openid"},
		"essential claims":          {"claims", `{"userinfo":{"name":{"essential":true}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l := w.visit(w.browser(), w.ask("app", change...))
			want := url.Values{"state": {"st"}, "nonce": {"no"}, "scope": {"openid email"}}
			want.Set(change[0], change[1])
			if l.get("code") == "" || l.get("state") != want.Get("state") || l.url.Query().Has("state") != (want.Get("state") != "") {
				t.Fatalf("%d %s", l.status, l.url)
			}
			r := w.call(pathToken, "app", codeForm(l.get("code"), appRedirect))
			c := w.claims(r.text("id_token"), jose.ES256)
			if nonce, _ := c["nonce"].(string); nonce != want.Get("nonce") {
				t.Errorf("nonce %q", nonce)
			}
			if r.text("scope") != want.Get("scope") || c["email"] != "ada@example.org" {
				t.Errorf("%v %v", r.body, c)
			}
		})
	}
}

// TestAuthTime: a second sign-in that max_age or prompt asks for is a later one; one that nothing asks for is the same.
func TestAuthTime(t *testing.T) {
	for name, c := range map[string]struct {
		change []string
		later  bool
	}{
		"max_age=1 after two seconds": {[]string{"max_age", "1"}, true},
		"max_age=10000":               {[]string{"max_age", "10000"}, false},
		"prompt=login":                {[]string{"prompt", "login"}, true},
		"prompt=none":                 {[]string{"prompt", "none"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			first := w.claims(w.signIn().text("id_token"), jose.ES256)
			w.pass(2 * time.Second)
			second := w.claims(w.call(pathToken, "app", codeForm(w.code("app", c.change...), appRedirect)).text("id_token"), jose.ES256)
			a, _ := first["auth_time"].(float64)
			b, _ := second["auth_time"].(float64)
			if a == 0 || (b > a) != c.later || first["sub"] != second["sub"] {
				t.Errorf("%v, then %v", first, second)
			}
		})
	}
}

func TestCodeReuseAfterHalfAMinute(t *testing.T) {
	w := newWorld(t)
	form := codeForm(w.code("app"), appRedirect)
	r := w.call(pathToken, "app", form)
	w.pass(30 * time.Second)
	if again := w.call(pathToken, "app", form); again.outcome() != "invalid_grant" {
		t.Errorf("%v", again.body)
	}
	if got := w.userinfo("GET", "Bearer", r.text("access_token"), nil); got.status != http.StatusUnauthorized {
		t.Errorf("the access token lives on: %d", got.status)
	}
}

// TestRequestObjectsDontMoveTheRedirect: the error goes to the registered address, never to the one inside.
func TestRequestObjectsDontMoveTheRedirect(t *testing.T) {
	w := newWorld(t)
	const inside = "eyJhbGciOiJub25lIn0.eyJyZWRpcmVjdF91cmkiOiJodHRwczovL2V2aWwuZXhhbXBsZS8ifQ." // {"redirect_uri":"https://evil.example/"}
	if l := w.visit(w.browser(), w.ask("app", "request", inside)); l.url.Host != "app.example" || l.get("error") != "request_not_supported" {
		t.Errorf("%s", l.url)
	}
}

func TestIDTokensAreNeverUnsigned(t *testing.T) {
	w := newWorld(t)
	parsed, err := jose.Parse(w.signIn().text("id_token"))
	if err != nil || parsed.KeyID == "" || parsed.Alg != jose.ES256 {
		t.Errorf("%+v, %v", parsed, err)
	}
}

// TestDiscovery: what is named is https and ours, and what OpenID Connect Discovery §3 requires is there.
func TestDiscovery(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		req, err := http.NewRequest(http.MethodGet, w.server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := w.do(req)
		if r.status != http.StatusOK || r.text("issuer") != w.server.URL {
			t.Fatalf("%s: %d %v", path, r.status, r.body)
		}
		for _, name := range []string{
			"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "end_session_endpoint", "pushed_authorization_request_endpoint",
			"introspection_endpoint", "revocation_endpoint", "device_authorization_endpoint",
		} {
			if !strings.HasPrefix(r.text(name), w.server.URL+"/") {
				t.Errorf("%s is %q", name, r.text(name))
			}
		}
		for name, want := range map[string]string{
			"response_types_supported": "code", "subject_types_supported": "public", "scopes_supported": "openid", "claims_supported": "sub",
			"id_token_signing_alg_values_supported": "RS256", "code_challenge_methods_supported": "S256", "grant_types_supported": "authorization_code",
			"token_endpoint_auth_methods_supported": "private_key_jwt", "dpop_signing_alg_values_supported": "ES256",
		} {
			if list, _ := r.body[name].([]any); !slices.Contains(list, any(want)) || slices.Contains(list, any("none")) != (name == "token_endpoint_auth_methods_supported") {
				t.Errorf("%s is %v", name, r.body[name])
			}
		}
		for name, want := range map[string]bool{
			"authorization_response_iss_parameter_supported": true, "backchannel_logout_supported": true, "backchannel_logout_session_supported": true,
			"claims_parameter_supported": false, "request_parameter_supported": false, "request_uri_parameter_supported": false,
		} {
			if r.body[name] != want {
				t.Errorf("%s is %v", name, r.body[name])
			}
		}
	}
}

// TestLogoutVariants: with nothing that shows whose wish it is, the person is asked; only a registered address is gone to.
func TestLogoutVariants(t *testing.T) {
	foreign := func(w *world, token string) string {
		s, err := jobKey().Sign("JWT", w.claims(token, jose.ES256))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	unsigned := func(_ *world, token string) string {
		return "eyJhbGciOiJub25lIn0." + strings.Split(token, ".")[1] + "."
	}
	const bye = "https://app.example/bye"
	for name, c := range map[string]struct {
		query url.Values
		hint  func(*world, string) string
		to    string // where it leads; "" for a page of ours
		asks  bool   // before it signs out
		bad   bool   // nothing happens
	}{
		"no parameters":        {asks: true},
		"only a state":         {query: url.Values{"state": {"x"}}, asks: true},
		"no state":             {query: url.Values{"post_logout_redirect_uri": {bye}}, hint: keep, to: bye},
		"no address":           {hint: keep},
		"no hint":              {query: url.Values{"post_logout_redirect_uri": {bye}}, bad: true},
		"a query added":        {query: url.Values{"post_logout_redirect_uri": {bye + "?foo=bar"}}, hint: keep, bad: true},
		"an unregistered one":  {query: url.Values{"post_logout_redirect_uri": {"https://evil.example/"}}, hint: keep, bad: true},
		"another's signature":  {query: url.Values{"post_logout_redirect_uri": {bye}}, hint: foreign, bad: true},
		"alg none":             {query: url.Values{"post_logout_redirect_uri": {bye}}, hint: unsigned, bad: true},
		"alg none, no address": {hint: unsigned, asks: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.signIn()
			query := maps.Clone(c.query)
			if c.hint != nil {
				query = withValue(query, "id_token_hint", c.hint(w, r.text("id_token")))
			}
			l := w.visit(w.browser(), pathLogout+"?"+query.Encode())
			if c.asks {
				if len(w.accounts.sessions) != 1 {
					t.Error("signed out unasked")
				}
				l = w.submit(w.browser(), l.url.RequestURI(), url.Values{"do": {"sign-out"}, "csrf": {l.csrfOf()}})
			}
			if l.outside != (c.to != "") || l.outside && l.url.String() != c.to || c.bad != (l.status == http.StatusBadRequest) {
				t.Errorf("%d %s", l.status, l.url)
			}
			if signedOut := len(w.accounts.sessions) == 0; signedOut == c.bad {
				t.Errorf("signed out: %v", signedOut)
			}
			if got := w.visit(w.browser(), w.ask("app", "prompt", "none")).get("error"); (got == "login_required") == c.bad {
				t.Errorf("afterwards prompt=none gives %q", got)
			}
		})
	}
}

func keep(_ *world, token string) string { return token }

// strict is a client as FAPI 2.0 wants it: private_key_jwt, pushed requests, DPoP.
type strict struct {
	*world
	key proofKey
}

func newStrict(t *testing.T) *strict {
	t.Helper()
	s := &strict{newWorld(t), newProofKey(t)}
	specs := clients(t, jobKey())
	one := specs[4]
	one.Client = model.Client{
		Name: "strict", Title: "The Strict", DPoP: true, Redirects: []string{"https://strict.example/cb"}, Grants: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"openid", "email"},
	}
	two := one
	two.Name = "other"
	if err := s.p.Clients.Declare([]client.Spec{one, two}); err != nil {
		t.Fatal(err)
	}
	return s
}

// signed adds the client's assertion, changed.
func (s *strict) signed(form url.Values, change map[string]any) url.Values {
	s.t.Helper()
	claims := map[string]any{"iss": "strict", "sub": "strict"}
	maps.Copy(claims, change)
	a := s.assertion(claims)
	out := withValue(form, "client_assertion", a.Get("client_assertion"))
	out.Set("client_assertion_type", assertionType)
	return out
}

func (s *strict) request() url.Values {
	return url.Values{
		"response_type": {"code"}, "client_id": {"strict"}, "redirect_uri": {"https://strict.example/cb"}, "scope": {"openid email"}, "state": {"st"}, "nonce": {"no"},
		"code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"},
	}
}

func (s *strict) proofAt(k proofKey, path string, more ...string) []string {
	return []string{"DPoP", k.proof("POST", s.server.URL+path, s.clock().Now(), more...)}
}

// pushed pushes a request and goes on with it as a browser does.
func (s *strict) pushed(form url.Values, more string, header ...string) landing {
	s.t.Helper()
	r := s.call(pathPushed, "job", s.signed(form, nil), header...)
	if r.status != http.StatusCreated {
		s.t.Fatalf("push: %d %v", r.status, r.body)
	}
	return s.visit(s.browser(), pathAuthorize+"?client_id=strict"+more+"&request_uri="+url.QueryEscape(r.text("request_uri")))
}

func (s *strict) codeForm(l landing) url.Values {
	return codeForm(l.get("code"), "https://strict.example/cb")
}

func TestFAPIRequests(t *testing.T) {
	s := newStrict(t)
	for name, c := range map[string]struct {
		change []string
		beside string // in the address of the authorization endpoint
	}{
		"as it should be":          {},
		"no state":                 {change: []string{"state", ""}},
		"no nonce":                 {change: []string{"nonce", ""}},
		"a nonce of 64 characters": {change: []string{"nonce", strings.Repeat("n", 64)}},
		"another state beside":     {beside: "&state=evil"},
		"another nonce beside":     {beside: "&nonce=evil"},
		"only a state beside":      {change: []string{"state", ""}, beside: "&state=evil"},
	} {
		t.Run(name, func(t *testing.T) {
			form := s.request()
			for i := 0; i < len(c.change); i += 2 {
				form.Set(c.change[i], c.change[i+1])
			}
			l := s.pushed(form, c.beside, s.proofAt(s.key, pathPushed)...)
			if l.get("code") == "" || l.get("state") != form.Get("state") || l.get("iss") != s.server.URL {
				t.Fatalf("%d %s", l.status, l.url)
			}
			r := s.call(pathToken, "job", s.signed(s.codeForm(l), nil), s.proofAt(s.key, pathToken)...)
			if nonce, _ := s.claims(r.text("id_token"), jose.ES256)["nonce"].(string); r.text("token_type") != "DPoP" || nonce != form.Get("nonce") {
				t.Errorf("%v", r.body)
			}
		})
	}
}

func TestFAPIPushesThatAreRefused(t *testing.T) {
	s := newStrict(t)
	own := newProofKey(t).key.Public().Thumbprint()
	for name, c := range map[string]struct {
		name, value string
		header      []string
		want        string
	}{
		"no redirect":          {"redirect_uri", "", nil, "invalid_request"},
		"an unregistered one":  {"redirect_uri", "https://evil.example/cb", nil, "invalid_request"},
		"code id_token":        {"response_type", "code id_token", nil, "unsupported_response_type"},
		"token":                {"response_type", "token", nil, "unsupported_response_type"},
		"plain":                {"code_challenge_method", "plain", nil, "invalid_request"},
		"no challenge":         {"code_challenge", "", nil, "invalid_request"},
		"a request_uri":        {"request_uri", pushedPrefix + "x", nil, "invalid_request"},
		"dpop_jkt of another":  {"dpop_jkt", own, s.proofAt(s.key, pathPushed), "invalid_dpop_proof"},
		"a proof of elsewhere": {"state", "st", s.proofAt(s.key, pathToken), "invalid_dpop_proof"},
		"a request object":     {"request", "e30.e30.", nil, "request_not_supported"},
	} {
		t.Run(name, func(t *testing.T) {
			form := s.request()
			form.Set(c.name, c.value)
			if r := s.call(pathPushed, "job", s.signed(form, nil), c.header...); r.outcome() != c.want || r.status != http.StatusBadRequest {
				t.Errorf("%d %v", r.status, r.body)
			}
		})
	}
	req, err := http.NewRequest(http.MethodGet, s.server.URL+pathPushed, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := s.do(req); r.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", r.status)
	}
}

func TestFAPIAssertions(t *testing.T) {
	s := newStrict(t)
	now := s.clock().Now()
	for name, c := range map[string]struct {
		change map[string]any
		want   string
	}{
		"nbf in eight seconds":     {map[string]any{"nbf": now.Add(8 * time.Second).Unix(), "iat": now.Add(8 * time.Second).Unix()}, "ok"},
		"nbf in two minutes":       {map[string]any{"nbf": now.Add(2 * time.Minute).Unix(), "iat": now.Add(2 * time.Minute).Unix(), "exp": now.Add(3 * time.Minute).Unix()}, "invalid_client"},
		"ended five minutes ago":   {map[string]any{"exp": now.Add(-5 * time.Minute).Unix()}, "invalid_client"},
		"no sub":                   {map[string]any{"sub": ""}, "invalid_client"},
		"for another server":       {map[string]any{"aud": "https://evil.example"}, "invalid_client"},
		"for another server, too":  {map[string]any{"aud": []string{s.server.URL, "https://evil.example"}}, "invalid_client"},
		"of another client":        {map[string]any{"iss": "other", "sub": "other"}, "invalid_client"},
		"signed by another's name": {map[string]any{"sub": "other"}, "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			if r := s.call(pathPushed, "job", s.signed(s.request(), c.change)); r.outcome() != c.want {
				t.Errorf("%d %v", r.status, r.body)
			}
		})
	}
	if r := s.call(pathPushed, "job", s.request()); r.outcome() != "invalid_client" {
		t.Errorf("without an assertion: %v", r.body)
	}
}

func TestFAPITokens(t *testing.T) {
	for name, c := range map[string]struct {
		push  func(s *strict, other proofKey) (url.Values, []string)
		token func(s *strict, other proofKey, l landing) (url.Values, []string)
		want  string
	}{
		"a proof of ten seconds ago": {token: func(s *strict, _ proofKey, l landing) (url.Values, []string) {
			return s.codeForm(l), []string{"DPoP", s.key.proof("POST", s.server.URL+pathToken, s.clock().Now().Add(-10*time.Second))}
		}, want: "ok"},
		"a proof of in ten seconds": {token: func(s *strict, _ proofKey, l landing) (url.Values, []string) {
			return s.codeForm(l), []string{"DPoP", s.key.proof("POST", s.server.URL+pathToken, s.clock().Now().Add(10*time.Second))}
		}, want: "ok"},
		"a proof with nbf and exp": {token: func(s *strict, _ proofKey, l landing) (url.Values, []string) {
			now := s.clock().Now()
			proof, err := s.key.key.SignWithKey("dpop+jwt", map[string]any{
				"htm": "POST", "htu": s.server.URL + pathToken, "jti": rand22(), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix(),
			})
			if err != nil {
				t.Fatal(err)
			}
			return s.codeForm(l), []string{"DPoP", proof}
		}, want: "ok"},
		"no proof": {token: func(s *strict, _ proofKey, l landing) (url.Values, []string) {
			return s.codeForm(l), nil
		}, want: "invalid_dpop_proof"},
		"another key than at the push": {token: func(s *strict, other proofKey, l landing) (url.Values, []string) {
			return s.codeForm(l), s.proofAt(other, pathToken)
		}, want: "invalid_grant"},
		"another key than dpop_jkt": {
			push: func(s *strict, other proofKey) (url.Values, []string) {
				return withValue(s.request(), "dpop_jkt", other.key.Public().Thumbprint()), nil
			}, want: "invalid_grant",
		},
		"the key of dpop_jkt": {
			push: func(s *strict, _ proofKey) (url.Values, []string) {
				return withValue(s.request(), "dpop_jkt", s.key.key.Public().Thumbprint()), nil
			}, want: "ok",
		},
		"no verifier": {token: func(s *strict, _ proofKey, l landing) (url.Values, []string) {
			return withValue(s.codeForm(l), "code_verifier", ""), s.proofAt(s.key, pathToken)
		}, want: "invalid_grant"},
		"another verifier": {token: func(s *strict, _ proofKey, l landing) (url.Values, []string) {
			return withValue(s.codeForm(l), "code_verifier", strings.Repeat("v", 43)), s.proofAt(s.key, pathToken)
		}, want: "invalid_grant"},
		"another client_id": {token: func(s *strict, _ proofKey, l landing) (url.Values, []string) {
			return withValue(s.codeForm(l), "client_id", "other"), s.proofAt(s.key, pathToken)
		}, want: "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			s, other := newStrict(t), newProofKey(t)
			form, header := s.request(), s.proofAt(s.key, pathPushed)
			if c.push != nil {
				form, header = c.push(s, other)
			}
			l := s.pushed(form, "", header...)
			send, proof := s.codeForm(l), s.proofAt(s.key, pathToken)
			if c.token != nil {
				send, proof = c.token(s, other, l)
			}
			if r := s.call(pathToken, "job", s.signed(send, nil), proof...); r.outcome() != c.want {
				t.Errorf("%d %v", r.status, r.body)
			}
		})
	}
}

func TestFAPIRefreshIsBoundToItsClient(t *testing.T) {
	s := newStrict(t)
	l := s.pushed(s.request(), "", s.proofAt(s.key, pathPushed)...)
	r := s.call(pathToken, "job", s.signed(s.codeForm(l), nil), s.proofAt(s.key, pathToken)...)
	form := refreshForm(r.text("refresh_token"))
	if got := s.call(pathToken, "job", s.signed(form, map[string]any{"iss": "other", "sub": "other"}), s.proofAt(s.key, pathToken)...); got.outcome() != "invalid_grant" {
		t.Errorf("another client: %v", got.body)
	}
	if got := s.call(pathToken, "job", s.signed(form, nil)); got.outcome() != "invalid_dpop_proof" {
		t.Errorf("without a proof: %v", got.body)
	}
	if got := s.call(pathToken, "job", s.signed(form, nil), s.proofAt(s.key, pathToken)...); got.outcome() != "ok" || got.text("token_type") != "DPoP" {
		t.Errorf("%v", got.body)
	}
}
