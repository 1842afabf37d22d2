package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/jose"
)

func ccForm(more ...string) url.Values {
	v := url.Values{"grant_type": {"client_credentials"}}
	for i := 0; i < len(more); i += 2 {
		v.Add(more[i], more[i+1])
	}
	return v
}

// assertion authenticates the client job.
func (w *world) assertion(change map[string]any) url.Values {
	w.t.Helper()
	now := w.clock().Now()
	claims := map[string]any{"iss": "job", "sub": "job", "aud": w.server.URL, "jti": rand22(), "exp": now.Add(time.Minute).Unix(), "iat": now.Unix()}
	for k, v := range change {
		claims[k] = v
	}
	token, err := jobKey().Sign("JWT", claims)
	if err != nil {
		w.t.Fatal(err)
	}
	return ccForm("client_assertion_type", assertionType, "client_assertion", token)
}

func TestClientAuthentication(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		id     string
		form   url.Values
		header []string
		want   string
		status int
	}{
		"secret in the header":          {id: "app", form: ccForm("resource", "https://api.example"), want: "ok", status: 200},
		"secret in the body":            {form: ccForm("client_id", "app", "client_secret", appSecret, "resource", "https://api.example"), want: "ok", status: 200},
		"wrong secret in the header":    {id: "", form: ccForm(), header: []string{"Authorization", "Basic YXBwOndyb25n"}, want: "invalid_client", status: 401},
		"wrong secret in the body":      {form: ccForm("client_id", "app", "client_secret", "wrong"), want: "invalid_client", status: 401},
		"the hash as secret":            {form: ccForm("client_id", "app", "client_secret", hexHash(appSecret)), want: "invalid_client", status: 401},
		"no secret":                     {form: ccForm("client_id", "app"), want: "invalid_client", status: 401},
		"unknown client":                {form: ccForm("client_id", "evil", "client_secret", "x"), want: "invalid_client", status: 401},
		"nobody":                        {form: ccForm(), want: "invalid_client", status: 401},
		"two ways":                      {id: "app", form: ccForm("client_secret", appSecret), want: "invalid_request", status: 400},
		"two names":                     {id: "app", form: ccForm("client_id", "old"), want: "invalid_request", status: 400},
		"bearer":                        {form: ccForm("client_id", "app"), header: []string{"Authorization", "Bearer x"}, want: "invalid_client", status: 401},
		"a public client with a secret": {form: ccForm("client_id", "spa", "client_secret", "x"), want: "invalid_client", status: 401},
		"a public client by itself":     {form: ccForm("client_id", "spa"), want: "unauthorized_client", status: 400},
		"secret of a key client":        {form: ccForm("client_id", "job", "client_secret", appSecret), want: "invalid_client", status: 401},
		"only the name of a key client": {form: ccForm("client_id", "job"), want: "invalid_client", status: 401},
		"assertion":                     {form: w.assertion(nil), want: "ok", status: 200},
		"assertion for the endpoint":    {form: w.assertion(map[string]any{"aud": w.server.URL + "/token"}), want: "ok", status: 200},
		"assertion for another":         {form: w.assertion(map[string]any{"aud": "https://evil.example"}), want: "invalid_client", status: 401},
		"assertion of another":          {form: withValue(w.assertion(nil), "client_id", "app"), want: "invalid_client", status: 401},
		"assertion of no type":          {form: withValue(w.assertion(nil), "client_assertion_type", "x"), want: "invalid_client", status: 401},
		"assertion and secret":          {form: withValue(w.assertion(nil), "client_secret", "x"), want: "invalid_request", status: 400},
		"a name without a certificate":  {form: ccForm("client_id", "spiffe://shop.internal/cart"), want: "invalid_client", status: 401},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.call(pathToken, c.id, c.form, c.header...)
			if r.outcome() != c.want || r.status != c.status {
				t.Errorf("%d %v", r.status, r.body)
			}
			if basic := r.header.Get("WWW-Authenticate"); (basic != "") != (c.status == 401 && c.header != nil) {
				t.Errorf("WWW-Authenticate %q", basic)
			}
		})
	}
}

func TestAnAssertionCountsOnceAcrossRestarts(t *testing.T) {
	w := newWorld(t)
	form := w.assertion(nil)
	if r := w.call(pathToken, "job", form); r.outcome() != "ok" {
		t.Fatalf("%v", r.body)
	}
	if err := w.p.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.open()
	if r := w.call(pathToken, "job", form); r.outcome() != "invalid_client" {
		t.Errorf("%v", r.body)
	}
	if got := w.flagged(); !slices.Equal(got, []string{FlagJTI}) {
		t.Errorf("flags %v", got)
	}
}

func TestClientCredentials(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		form  url.Values
		want  string
		aud   []any
		scope string
	}{
		"one resource":      {ccForm("resource", "https://api.example", "scope", "read"), "ok", []any{"https://api.example"}, "read"},
		"two resources":     {ccForm("resource", "https://api.example", "resource", "https://deep.example"), "ok", []any{"https://api.example", "https://deep.example"}, "read write"},
		"which of several":  {ccForm(), "invalid_target", nil, ""},
		"an unknown one":    {ccForm("resource", "https://evil.example"), "invalid_target", nil, ""},
		"openid":            {ccForm("resource", "https://api.example", "scope", "openid"), "invalid_scope", nil, ""},
		"an unknown scope":  {ccForm("resource", "https://api.example", "scope", "admin"), "invalid_scope", nil, ""},
		"a parameter twice": {ccForm("resource", "https://api.example", "scope", "read", "scope", "write"), "invalid_request", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.call(pathToken, "app", c.form)
			if r.outcome() != c.want {
				t.Fatalf("%d %v", r.status, r.body)
			}
			if c.want != "ok" {
				return
			}
			claims := w.claims(r.text("access_token"), jose.ES256)
			if diff := cmp.Diff(c.aud, claims["aud"]); diff != "" || claims["scope"] != c.scope || claims["sub"] != "app" || claims["sid"] != nil || r.text("refresh_token") != "" {
				t.Errorf("%s %v", diff, claims)
			}
		})
	}
	if len(w.events) == 0 || w.events[0].Kind != "token.issued" || w.events[0].Subject != "app" {
		t.Errorf("%+v", w.events)
	}
}

func (w *world) svid(id string) *x509.Certificate {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	u, err := url.Parse(id)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), URIs: []*url.URL{u}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func TestAServiceGetsATokenByItsSVID(t *testing.T) {
	w := newWorld(t)
	const cart = "spiffe://shop.internal/cart"
	w.cert = w.svid(cart)
	r := w.call(pathToken, cart, ccForm("client_id", cart))
	if r.outcome() != "ok" {
		t.Fatalf("%d %v", r.status, r.body)
	}
	c := w.claims(r.text("access_token"), jose.ES256)
	cnf, _ := c["cnf"].(map[string]any)
	if diff := cmp.Diff([]any{"https://orders.internal"}, c["aud"]); diff != "" || c["sub"] != cart || c["scope"] != "GET:/orders" || len(cnf) != 1 || cnf["x5t#S256"] == "" {
		t.Errorf("%v", c)
	}
	if r := w.call(pathToken, cart, ccForm("client_id", cart, "resource", "https://payments.internal")); r.outcome() != "invalid_target" {
		t.Errorf("a token for what it may not call: %v", r.body)
	}
	w.cert = w.svid("spiffe://shop.internal/evil")
	if r := w.call(pathToken, cart, ccForm("client_id", cart)); r.outcome() != "invalid_client" {
		t.Errorf("another service's SVID: %v", r.body)
	}
}

func exchangeForm(token string, more ...string) url.Values {
	v := url.Values{"grant_type": {grantExchange}, "subject_token": {token}, "subject_token_type": {typeAccess}}
	for i := 0; i < len(more); i += 2 {
		v.Add(more[i], more[i+1])
	}
	return v
}

func TestTokenExchange(t *testing.T) {
	w := newWorld(t)
	w.config.MintTxn = nil
	r := w.call(pathToken, "app", codeForm(w.code("app", "scope", "openid read write", "resource", "https://api.example"), appRedirect))
	subject := r.text("access_token")
	got := w.call(pathToken, "app", exchangeForm(subject, "audience", "https://deep.example", "scope", "read"))
	if got.outcome() != "ok" || got.text("issued_token_type") != typeAccess {
		t.Fatalf("%d %v", got.status, got.body)
	}
	c := w.claims(got.text("access_token"), jose.ES256)
	if diff := cmp.Diff(map[string]any{"aud": []any{"https://deep.example"}, "scope": "read", "sub": "ada", "client_id": "app", "act": map[string]any{"sub": "app"}},
		map[string]any{"aud": c["aud"], "scope": c["scope"], "sub": c["sub"], "client_id": c["client_id"], "act": c["act"]}); diff != "" {
		t.Error(diff)
	}
	for name, x := range map[string]struct {
		client string
		form   url.Values
		want   string
	}{
		"a client that it isn't for":           {"api", exchangeForm(subject, "audience", "https://deep.example"), "invalid_request"},
		"an audience that it may not":          {"app", exchangeForm(subject, "audience", "https://evil.example"), "invalid_target"},
		"more scope":                           {"app", exchangeForm(got.text("access_token"), "audience", "https://api.example", "scope", "write"), "invalid_scope"},
		"an ID token":                          {"app", exchangeForm(r.text("id_token"), "audience", "https://deep.example"), "invalid_request"},
		"a refresh token":                      {"app", exchangeForm(r.text("refresh_token"), "audience", "https://deep.example"), "invalid_request"},
		"rubbish":                              {"app", exchangeForm("x", "audience", "https://deep.example"), "invalid_request"},
		"an unknown type":                      {"app", withValue(exchangeForm(subject), "subject_token_type", "urn:ietf:params:oauth:token-type:saml2"), "invalid_request"},
		"an actor token":                       {"app", exchangeForm(subject, "actor_token", "x"), "invalid_request"},
		"a transaction token without a minter": {"app", exchangeForm(subject, "requested_token_type", typeTxn), "invalid_request"},
		"a client that may not exchange":       {"spa", exchangeForm(subject), "unauthorized_client"},
	} {
		if r := w.call(pathToken, x.client, x.form); r.outcome() != x.want {
			t.Errorf("%s: %d %v", name, r.status, r.body)
		}
	}
	// It ends with what it comes from.
	if !w.active(got.text("access_token")) {
		t.Fatal("not active")
	}
	w.call(pathRevoke, "app", url.Values{"token": {r.text("refresh_token")}})
	if w.active(got.text("access_token")) {
		t.Error("it outlives its grant")
	}
	if r := w.call(pathToken, "app", exchangeForm(subject, "audience", "https://deep.example")); r.outcome() != "invalid_request" {
		t.Errorf("an ended subject: %v", r.body)
	}
}

func TestExchangeNeverLivesLonger(t *testing.T) {
	w := newWorld(t)
	subject := w.call(pathToken, "app", codeForm(w.code("app"), appRedirect)).text("access_token")
	w.pass(9 * time.Minute)
	got := w.call(pathToken, "app", exchangeForm(subject, "audience", "https://deep.example")).text("access_token")
	if a, b := w.claims(subject, jose.ES256)["exp"], w.claims(got, jose.ES256)["exp"]; a != b {
		t.Errorf("%v after %v", b, a)
	}
	for range maxActors - 1 {
		w.now = w.now.Add(time.Second)
		got = w.call(pathToken, "app", exchangeForm(got, "audience", "https://deep.example")).text("access_token")
	}
	if r := w.call(pathToken, "app", exchangeForm(got, "audience", "https://deep.example")); r.outcome() != "invalid_request" {
		t.Errorf("a chain without end: %v", r.body)
	}
}

func TestTransactionToken(t *testing.T) {
	w := newWorld(t)
	var asked TxnRequest
	w.config.MintTxn = func(_ context.Context, q TxnRequest) (string, error) {
		asked = q
		return "minted", nil
	}
	w.open()
	w.accounts.second = true
	subject := w.signIn().text("access_token")
	r := w.call(pathToken, "app", exchangeForm(subject, "requested_token_type", typeTxn, "scope", "openid"))
	if r.text("access_token") != "minted" || r.text("token_type") != "N_A" || r.text("issued_token_type") != typeTxn {
		t.Errorf("%v", r.body)
	}
	if asked.Person == nil || asked.Person.ID != "ada" || asked.Session == "" || asked.FactorAt.IsZero() || asked.IP != "192.0.2.7" {
		t.Errorf("%+v", asked)
	}
}

func TestDPoP(t *testing.T) {
	w := newWorld(t)
	k, other := newProofKey(t), newProofKey(t)
	at := w.server.URL + pathToken
	redirect := "https://bound.example/cb"
	form := codeForm(w.code("bound"), redirect)
	if r := w.call(pathToken, "bound", form); r.outcome() != "invalid_dpop_proof" {
		t.Fatalf("without a proof: %v", r.body)
	}
	now := w.clock().Now()
	for name, header := range map[string][]string{
		"another URL":     {"DPoP", k.proof("POST", w.server.URL+"/userinfo", now)},
		"another method":  {"DPoP", k.proof("GET", at, now)},
		"an old one":      {"DPoP", k.proof("POST", at, now.Add(-2*time.Minute))},
		"one of tomorrow": {"DPoP", k.proof("POST", at, now.Add(24*time.Hour))},
		"two":             {"DPoP", k.proof("POST", at, now), "DPoP", k.proof("POST", at, now)},
		"rubbish":         {"DPoP", "x"},
	} {
		if r := w.call(pathToken, "bound", form, header...); r.outcome() != "invalid_dpop_proof" {
			t.Errorf("%s: %d %v", name, r.status, r.body)
		}
	}
	proof := k.proof("POST", at, now)
	r := w.call(pathToken, "bound", form, "DPoP", proof)
	if r.outcome() != "ok" || r.text("token_type") != "DPoP" {
		t.Fatalf("%d %v", r.status, r.body)
	}
	w.open()
	if r := w.call(pathToken, "bound", refreshForm(r.text("refresh_token")), "DPoP", proof); r.outcome() != "invalid_dpop_proof" {
		t.Errorf("a proof again, after a restart: %v", r.body)
	}
	if got := w.flagged(); !slices.Equal(got, []string{FlagJTI}) {
		t.Errorf("flags %v", got)
	}
	if r := w.call(pathToken, "bound", refreshForm(r.text("refresh_token")), "DPoP", other.proof("POST", at, now)); r.outcome() != "invalid_grant" {
		t.Errorf("refreshed by another key: %v", r.body)
	}
	if got := w.flagged(); !slices.Equal(got, []string{FlagDPoP}) {
		t.Errorf("flags %v", got)
	}
	if r := w.call(pathToken, "bound", refreshForm(r.text("refresh_token")), "DPoP", k.proof("POST", at, now)); r.outcome() != "ok" {
		t.Errorf("refreshed by its key: %v", r.body)
	}
	w.userinfoWithDPoP(k, other, r.text("access_token"))
}

func (w *world) userinfoWithDPoP(k, other proofKey, token string) {
	w.t.Helper()
	at, now := w.server.URL+pathUserinfo, w.clock().Now()
	hash := challengeOf(token) // the same function as ath
	for name, c := range map[string]struct {
		header []string
		status int
	}{
		"right":             {[]string{"Authorization", "DPoP " + token, "DPoP", k.proof("GET", at, now, "ath", hash)}, 200},
		"as bearer":         {[]string{"Authorization", "Bearer " + token}, 401},
		"without a proof":   {[]string{"Authorization", "DPoP " + token}, 401},
		"another key":       {[]string{"Authorization", "DPoP " + token, "DPoP", other.proof("GET", at, now, "ath", hash)}, 401},
		"for another token": {[]string{"Authorization", "DPoP " + token, "DPoP", k.proof("GET", at, now, "ath", challengeOf("x"))}, 401},
		"for no token":      {[]string{"Authorization", "DPoP " + token, "DPoP", k.proof("GET", at, now)}, 401},
	} {
		req, err := http.NewRequest(http.MethodGet, at, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		for i := 0; i < len(c.header); i += 2 {
			req.Header.Set(c.header[i], c.header[i+1])
		}
		if r := w.do(req); r.status != c.status {
			w.t.Errorf("%s: %d %v", name, r.status, r.body)
		}
	}
}

func TestDPoPNonce(t *testing.T) {
	w := newWorld(t)
	w.config.DPoPNonce = true
	w.open()
	k, at := newProofKey(t), w.server.URL+pathToken
	form := ccForm("resource", "https://api.example")
	r := w.call(pathToken, "app", form, "DPoP", k.proof("POST", at, w.clock().Now()))
	nonce := r.header.Get("DPoP-Nonce")
	if r.outcome() != "use_dpop_nonce" || nonce == "" {
		t.Fatalf("%d %v", r.status, r.body)
	}
	w.pass(2 * time.Minute)
	if r := w.call(pathToken, "app", form, "DPoP", k.proof("POST", at, w.clock().Now(), "nonce", nonce)); r.outcome() != "ok" {
		t.Errorf("%v", r.body)
	}
	w.pass(2 * time.Minute)
	if r := w.call(pathToken, "app", form, "DPoP", k.proof("POST", at, w.clock().Now(), "nonce", nonce)); r.outcome() != "use_dpop_nonce" {
		t.Errorf("an old nonce: %v", r.body)
	}
}

func TestACodeIsBoundToAKey(t *testing.T) {
	w := newWorld(t)
	k, other, at := newProofKey(t), newProofKey(t), w.server.URL+pathToken
	jkt := k.key.Public().Thumbprint()
	form := codeForm(w.code("app", "dpop_jkt", jkt), appRedirect)
	if r := w.call(pathToken, "app", form, "DPoP", other.proof("POST", at, w.clock().Now())); r.outcome() != "invalid_grant" {
		t.Errorf("another key: %v", r.body)
	}
	if got := w.flagged(); !slices.Equal(got, []string{FlagDPoP}) {
		t.Errorf("flags %v", got)
	}
	form = codeForm(w.code("app", "dpop_jkt", jkt), appRedirect)
	if r := w.call(pathToken, "app", form); r.outcome() != "invalid_grant" {
		t.Errorf("no key: %v", r.body)
	}
	form = codeForm(w.code("app", "dpop_jkt", jkt), appRedirect)
	if r := w.call(pathToken, "app", form, "DPoP", k.proof("POST", at, w.clock().Now())); r.outcome() != "ok" {
		t.Errorf("its key: %v", r.body)
	}
}

func TestPushedRequests(t *testing.T) {
	w := newWorld(t)
	_, query, _ := strings.Cut(w.ask("app"), "?")
	form, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		client string
		form   url.Values
		want   string
	}{
		"another redirect": {"app", withValue(form, "redirect_uri", "https://evil.example"), "invalid_request"},
		"another client":   {"app", withValue(form, "client_id", "old"), "invalid_request"},
		"nobody":           {"", form, "invalid_client"},
		"a request_uri":    {"app", withValue(form, "request_uri", pushedPrefix+"x"), "invalid_request"},
		"a bad challenge":  {"app", withValue(form, "code_challenge_method", "plain"), "invalid_request"},
		"an unknown scope": {"app", withValue(form, "scope", "admin"), "invalid_scope"},
	} {
		if r := w.call(pathPushed, c.client, c.form); r.outcome() != c.want {
			t.Errorf("%s: %d %v", name, r.status, r.body)
		}
	}
	push := func() string {
		t.Helper()
		r := w.call(pathPushed, "app", form)
		if r.status != http.StatusCreated || !strings.HasPrefix(r.text("request_uri"), pushedPrefix) {
			t.Fatalf("%d %v", r.status, r.body)
		}
		return url.QueryEscape(r.text("request_uri"))
	}
	uri := push()
	if l := w.visit(w.browser(), pathAuthorize+"?client_id=spa&request_uri="+uri); l.outside {
		t.Errorf("another client used it: %s", l.url)
	}
	// What stands beside a pushed request doesn't count.
	l := w.visit(w.browser(), pathAuthorize+"?client_id=app&redirect_uri=https%3A%2F%2Fevil.example&scope=write&request_uri="+uri)
	if l.url.Host != "app.example" || l.get("code") == "" {
		t.Fatalf("%d %s", l.status, l.url)
	}
	if l := w.visit(w.browser(), pathAuthorize+"?client_id=app&request_uri="+uri); l.outside {
		t.Errorf("used twice: %s", l.url)
	}
	uri = push()
	w.pass(pushedLife)
	if l := w.visit(w.browser(), pathAuthorize+"?client_id=app&request_uri="+uri); l.outside {
		t.Errorf("used too late: %s", l.url)
	}
}

func deviceForm(code string) url.Values {
	return url.Values{"grant_type": {grantDevice}, "device_code": {code}}
}

func TestDevice(t *testing.T) {
	w := newWorld(t)
	begin := w.call(pathDevices, "spa", url.Values{"scope": {"openid email"}})
	if begin.outcome() != "ok" || begin.text("verification_uri") != w.server.URL+"/device" {
		t.Fatalf("%d %v", begin.status, begin.body)
	}
	poll := func() reply { return w.call(pathToken, "spa", deviceForm(begin.text("device_code"))) }
	outcomes := []string{poll().outcome(), poll().outcome()}
	w.pass(6 * time.Second)
	outcomes = append(outcomes, poll().outcome()) // now ten seconds are asked for
	w.pass(16 * time.Second)
	outcomes = append(outcomes, poll().outcome())
	if diff := cmp.Diff([]string{"authorization_pending", "slow_down", "slow_down", "authorization_pending"}, outcomes); diff != "" {
		t.Error(diff)
	}
	b := w.browser()
	l := w.visit(b, "/device?user_code="+begin.text("user_code"))
	if !strings.Contains(l.body, begin.text("user_code")) {
		t.Fatalf("%d %s", l.status, l.body)
	}
	token := l.csrfOf()
	typed := strings.ToLower(strings.Replace(begin.text("user_code"), "-", " ", 1))
	if l := w.submit(b, "/device", url.Values{"user_code": {typed}, "do": {"allow"}}); l.status != http.StatusForbidden {
		t.Errorf("without a token: %d", l.status)
	}
	l = w.submit(b, "/device", url.Values{"user_code": {typed}, "csrf": {token}})
	if !strings.Contains(l.body, "The SPA") || !strings.Contains(l.body, "192.0.2.0/24") {
		t.Errorf("%d %s", l.status, l.body)
	}
	if poll().outcome() == "ok" {
		t.Fatal("it was let in by looking")
	}
	w.submit(b, "/device", url.Values{"user_code": {typed}, "csrf": {token}, "do": {"allow"}})
	if r := w.call(pathToken, "app", deviceForm(begin.text("device_code"))); r.outcome() == "ok" {
		t.Fatal("another client fetched it")
	}
	w.open()
	r := poll()
	if r.outcome() != "ok" || w.claims(r.text("id_token"), jose.ES256)["sub"] != "ada" {
		t.Fatalf("%d %v", r.status, r.body)
	}
	if r := poll(); r.outcome() != "invalid_grant" {
		t.Errorf("fetched twice: %v", r.body)
	}
}

func TestDeviceDeniedAndExpired(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	begin := w.call(pathDevices, "spa", url.Values{"scope": {"openid"}})
	token := w.visit(b, "/device").csrfOf()
	w.submit(b, "/device", url.Values{"user_code": {begin.text("user_code")}, "csrf": {token}, "do": {"deny"}})
	if r := w.call(pathToken, "spa", deviceForm(begin.text("device_code"))); r.outcome() != "access_denied" {
		t.Errorf("%v", r.body)
	}
	begin = w.call(pathDevices, "spa", url.Values{"scope": {"openid"}})
	w.pass(deviceLife)
	if r := w.call(pathToken, "spa", deviceForm(begin.text("device_code"))); r.outcome() != "expired_token" {
		t.Errorf("%v", r.body)
	}
	if r := w.call(pathToken, "spa", deviceForm("x")); r.outcome() != "invalid_grant" {
		t.Errorf("%v", r.body)
	}
	if r := w.call(pathDevices, "app", url.Values{}); r.outcome() != "unauthorized_client" {
		t.Errorf("%v", r.body)
	}
}

func TestUserCodesCantBeGuessed(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	token := w.visit(b, "/device").csrfOf()
	begin := w.call(pathDevices, "spa", url.Values{"scope": {"openid"}})
	for i := range maxTries {
		if l := w.submit(b, "/device", url.Values{"user_code": {"BBBB-BBBB"}, "csrf": {token}}); l.status != http.StatusOK {
			t.Fatalf("try %d: %d", i, l.status)
		}
	}
	l := w.submit(b, "/device", url.Values{"user_code": {begin.text("user_code")}, "csrf": {token}})
	if l.status != http.StatusTooManyRequests || l.header.Get("Retry-After") == "" {
		t.Errorf("%d", l.status)
	}
	w.pass(triesTime)
	if l := w.submit(b, "/device", url.Values{"user_code": {begin.text("user_code")}, "csrf": {token}}); !strings.Contains(l.body, "The SPA") {
		t.Errorf("%d %s", l.status, l.body)
	}
}

func TestTriesAreBounded(t *testing.T) {
	tries, now := newTries(), time.Unix(0, 0)
	for range maxCounted {
		tries.failed(rand.Text(), now)
	}
	if tries.wait("new", now) == 0 {
		t.Error("more are counted than there is room for")
	}
	if tries.wait("new", now.Add(triesTime)) != 0 || len(tries.counts) != 0 {
		t.Error("the old ones stay")
	}
}

func TestBusy(t *testing.T) {
	w := newWorld(t)
	for range maxAtOnce {
		w.p.slots <- struct{}{}
	}
	r := w.call(pathToken, "app", ccForm())
	if r.status != http.StatusTooManyRequests || r.header.Get("Retry-After") == "" {
		t.Errorf("%d %v", r.status, r.body)
	}
	<-w.p.slots
	if r := w.call(pathToken, "app", ccForm("resource", "https://api.example")); r.outcome() != "ok" {
		t.Errorf("%d %v", r.status, r.body)
	}
}

func TestWhatIsNoForm(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		kind, body string
		status     int
	}{
		"JSON":               {"application/json", `{"grant_type":"client_credentials"}`, 400},
		"no type":            {"", "grant_type=client_credentials", 400},
		"broken escapes":     {"application/x-www-form-urlencoded", "grant_type=%zz", 400},
		"semicolons":         {"application/x-www-form-urlencoded", "a=b;grant_type=x", 400},
		"too long":           {"application/x-www-form-urlencoded", "a=" + strings.Repeat("b", maxBody), 413},
		"too many resources": {"application/x-www-form-urlencoded", strings.Repeat("resource=a&", maxLengthy+1), 400},
	} {
		req, err := http.NewRequest(http.MethodPost, w.server.URL+pathToken, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", c.kind)
		if r := w.do(req); r.status != c.status || r.text("error") != "invalid_request" {
			t.Errorf("%s: %d %v", name, r.status, r.body)
		}
	}
	req := httptest.NewRequest(http.MethodGet, "/token?grant_type=client_credentials&client_id=app&client_secret="+appSecret, nil)
	rec := httptest.NewRecorder()
	mux := http.NewServeMux()
	w.p.Routes(mux)
	if mux.ServeHTTP(rec, req); rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", rec.Code)
	}
}
