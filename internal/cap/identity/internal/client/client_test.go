package client

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/store"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func open(t *testing.T) *Registry {
	t.Helper()
	c := clock.Func(func() time.Time { return noon })
	db, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "db"), Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r, err := Open(t.Context(), Config{
		DB: db, Clock: c,
		ServiceID: func(n model.ServiceName) string { return "spiffe://shop.internal/" + string(n) },
		Service: func(id string) (ServiceRights, bool) {
			return ServiceRights{Title: "cart", Audiences: []string{"orders"}, Own: []string{"cart"}}, id == "spiffe://shop.internal/cart"
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func spa(name string, redirects ...string) Spec {
	return Spec{Client: model.Client{Name: name, Public: true, Redirects: redirects, Grants: []string{"authorization_code"}}}
}

// TestRedirects is a table of known tricks: only the first few may pass.
func TestRedirects(t *testing.T) {
	c := Client{Client: model.Client{Public: true, Redirects: []string{
		"https://app.example/cb", "https://app.example/q?a=1", "http://127.0.0.1/cb", "http://[::1]:80/cb", "http://localhost/cb", "com.example.app:/cb",
	}}}
	for _, uri := range []string{
		"https://app.example/cb", "https://app.example/q?a=1", "http://127.0.0.1/cb", "http://127.0.0.1:49152/cb", "http://[::1]:5/cb", "http://[::1]/cb",
		"http://localhost/cb", "com.example.app:/cb",
	} {
		if !c.RedirectsTo(uri) {
			t.Errorf("%s is refused", uri)
		}
	}
	for _, uri := range []string{
		"", "https://app.example", "https://app.example/", "https://app.example/cb/", "https://app.example/cb?", "https://app.example/cb?x=1", "https://app.example/cb#", "https://app.example/cb#x",
		"https://app.example/CB", "HTTPS://app.example/cb", "https://APP.example/cb", "https://app.example:443/cb", "https://app.example:8443/cb", "http://app.example/cb",
		"https://app.example.evil.example/cb", "https://evil.example/https://app.example/cb", "https://app.example@evil.example/cb", "https://evil.example#@app.example/cb", "https://app.example\\@evil.example/cb",
		"https://app.example%2f@evil.example/cb", "https://app.example%00.evil.example/cb", "https://app.example/cb/../evil", "https://app.example/%63b", "https://app.example/cb%0d%0aLocation:evil", "//app.example/cb", "/cb",
		"https:app.example/cb", "https:/app.example/cb", "https:///app.example/cb", " https://app.example/cb", "https://app.example/cb ", "https://app.example/cb\n", "https://app.example./cb", "https://app.example/q?a=1&b=2", "https://app.example/q?a=2", "https://app.example/q",
		"javascript:alert(1)", "data:text/html,x", "http://127.0.0.1:49152", "http://127.0.0.1:49152/cb?x", "http://127.0.0.1:49152/cb#x", "http://127.0.0.1:/cb", "http://127.0.0.1:999999/cb", "http://127.0.0.1:80@evil.example/cb", "http://127.0.0.1@evil.example/cb",
		"http://127.0.0.1.evil.example/cb", "http://127.0.0.1evil/cb", "http://127.0.0.2/cb", "http://127.1/cb", "http://2130706433/cb", "http://0.0.0.0/cb", "https://127.0.0.1/cb", "http://[::1]evil/cb", "http://[::1%25lo]/cb", "http://localhost:8080/cb", "http://[::ffff:127.0.0.1]/cb",
		"com.example.app:/cb2", "com.example.app://cb", "com.example.evil:/cb", "http://127.0.0.1:+80/cb", "http://127.0.0.1:0x50/cb", "http://127.0.0.1:80:80/cb",
	} {
		if c.RedirectsTo(uri) {
			t.Errorf("%q is taken", uri)
		}
	}
	confidential := Client{Client: model.Client{Redirects: []string{"http://127.0.0.1/cb"}}}
	if confidential.RedirectsTo("http://127.0.0.1:5/cb") {
		t.Error("a confidential client isn't a native one, but has any port")
	}
}

// FuzzRedirects: whatever is taken leads, as net/url reads it, where a registered one leads, but for the port.
func FuzzRedirects(f *testing.F) {
	f.Add("http://127.0.0.1:49152/cb")
	f.Add("https://app.example/cb")
	c := Client{Client: model.Client{Public: true, Redirects: []string{"https://app.example/cb", "http://127.0.0.1/cb?a=1"}}}
	f.Fuzz(func(t *testing.T, uri string) {
		if !c.RedirectsTo(uri) {
			return
		}
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatalf("%q: %v", uri, err)
		}
		if s := u.Scheme + " " + u.Hostname() + " " + u.RequestURI() + u.Fragment; u.User != nil || s != "https app.example /cb" && s != "http 127.0.0.1 /cb?a=1" {
			t.Fatalf("%q leads to %s", uri, s)
		}
	})
}

func TestDeclaredWins(t *testing.T) {
	r := open(t)
	if _, err := r.Add(t.Context(), spa("web", "https://added.example/cb")); err != nil {
		t.Fatal(err)
	}
	if c, err := r.Find(t.Context(), "web"); err != nil || c.From != Added {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := r.Declare([]Spec{spa("web", "https://declared.example/cb")}); err != nil {
		t.Fatal(err)
	}
	if c, err := r.Find(t.Context(), "web"); err != nil || c.From != Declared || c.RedirectsTo("https://added.example/cb") {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := r.Add(t.Context(), spa("web", "https://x.example/")); fault.KindOf(err) != fault.Conflict {
		t.Errorf("added over a declared one: %v", err)
	}
	list, err := r.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range list {
		got = append(got, fmt.Sprint(l.Name, l.From, l.Shadowed))
	}
	if diff := cmp.Diff([]string{"web1 false", "web2 true"}, got); diff != "" {
		t.Error(diff)
	}
	if err := r.Declare(nil); err != nil {
		t.Fatal(err)
	}
	if c, err := r.Find(t.Context(), "web"); err != nil || c.From != Added {
		t.Errorf("after the declaration is gone: %+v, %v", c, err)
	}
}

func TestAWrongDeclarationChangesNothing(t *testing.T) {
	r := open(t)
	if err := r.Declare([]Spec{spa("web", "https://a.example/")}); err != nil {
		t.Fatal(err)
	}
	if err := r.Declare([]Spec{spa("other", "https://a.example/"), spa("bad", "javascript:alert(1)")}); err == nil {
		t.Fatal("taken")
	}
	if _, err := r.Find(t.Context(), "web"); err != nil {
		t.Error(err)
	}
	if _, err := r.Find(t.Context(), "other"); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
}

func TestAddGivesASecretOnce(t *testing.T) {
	r := open(t)
	made, err := r.Add(t.Context(), Spec{Client: model.Client{Name: "job", Grants: []string{"client_credentials"}}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Find(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	if !c.CheckSecret(string(made.Reveal())) || c.CheckSecret(string(made.Reveal())+"x") || c.CheckSecret("") || c.CheckSecret(c.SecretHash) {
		t.Error("the secret isn't the one")
	}
	if _, err := r.Add(t.Context(), Spec{Client: model.Client{Name: "job"}}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("added twice: %v", err)
	}
	if err := r.Remove(t.Context(), "job"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Find(t.Context(), "job"); fault.KindOf(err) != fault.NotFound {
		t.Error("it is still there")
	}
	if err := r.Remove(t.Context(), "job"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("removed twice: %v", err)
	}
}

func TestASecretsHashIsNeeded(t *testing.T) {
	for _, c := range []*Client{{}, {Client: model.Client{SecretHash: "zz"}}, {Client: model.Client{Public: true}}} {
		if c.CheckSecret("") {
			t.Errorf("%+v takes the empty secret", c)
		}
	}
	sum := sha256.Sum256(nil)
	if c := (&Client{SPIFFE: "spiffe://a/b", Client: model.Client{SecretHash: hex.EncodeToString(sum[:])}}); c.CheckSecret("") {
		t.Error("a client with an SVID takes a secret")
	}
}

func TestServicesAreClients(t *testing.T) {
	r := open(t)
	c, err := r.Find(t.Context(), "spiffe://shop.internal/cart")
	if err != nil {
		t.Fatal(err)
	}
	if c.Method() != Identity || !c.Allows("client_credentials") || c.Allows("authorization_code") || !c.Is("cart") || c.Is("orders") {
		t.Errorf("%+v", c)
	}
	if _, err := r.Find(t.Context(), "spiffe://shop.internal/evil"); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	svid := func(uris ...string) *x509.Certificate {
		cert := &x509.Certificate{}
		for _, s := range uris {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			cert.URIs = append(cert.URIs, u)
		}
		return cert
	}
	if !c.CheckCertificate(svid("spiffe://shop.internal/cart")) {
		t.Error("its own SVID is refused")
	}
	for _, cert := range []*x509.Certificate{nil, svid(), svid("spiffe://shop.internal/orders"), svid("spiffe://shop.internal/cart", "spiffe://shop.internal/orders"), svid("spiffe://evil.internal/cart")} {
		if c.CheckCertificate(cert) {
			t.Errorf("%v is taken", cert)
		}
	}
}

func TestWhatCantBeAdded(t *testing.T) {
	r := open(t)
	key, err := jose.GenerateKey(jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := json.Marshal(map[string]any{"keys": []any{key.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]Spec{
		"no name":                        spa(""),
		"a service's name":               spa("spiffe://shop.internal/x", "https://a.example/"),
		"a name with a space":            spa("a b", "https://a.example/"),
		"no redirect":                    spa("a"),
		"public with a secret":           {Client: model.Client{Name: "a", Public: true, SecretHash: strings.Repeat("a", 64)}},
		"public with client_credentials": {Client: model.Client{Name: "a", Public: true, Grants: []string{"client_credentials"}}},
		"public without PKCE":            {Client: model.Client{Name: "a", Public: true, NonceOnly: true}},
		"two ways":                       {Client: model.Client{Name: "a", SecretHash: strings.Repeat("a", 64)}, JWKS: jwks},
		"a broken hash":                  {Client: model.Client{Name: "a", SecretHash: "abc"}},
		"an unknown grant":               {Client: model.Client{Name: "a", Grants: []string{"password"}}},
		"a scope with a quote":           {Client: model.Client{Name: "a", Scopes: []string{`a"b`}}},
		"plain http":                     spa("a", "http://app.example/cb"),
		"a fragment":                     spa("a", "https://app.example/cb#x"),
		"a wildcard":                     spa("a", "https://*.example/cb"),
		"a user":                         spa("a", "https://u@app.example/cb"),
		"a quote":                        spa("a", `https://app.example/"`),
		"script":                         spa("a", "javascript:alert(1)"),
		"a back channel inside":          {Client: model.Client{Name: "a", Back: "http://169.254.169.254/latest"}},
		"a back channel to a file":       {Client: model.Client{Name: "a", Back: "file:///etc/passwd"}},
		"a JWKS without keys":            {Client: model.Client{Name: "a"}, JWKS: json.RawMessage(`{"keys":[]}`)},
		"a JWKS that isn't":              {Client: model.Client{Name: "a"}, JWKS: json.RawMessage(`[]`)},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := r.Add(t.Context(), s); fault.KindOf(err) != fault.Invalid {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestOrigins(t *testing.T) {
	r := open(t)
	if err := r.Declare([]Spec{spa("web", "https://app.example/cb"), {Client: model.Client{Name: "server", SecretHash: strings.Repeat("a", 64), Redirects: []string{"https://server.example/cb"}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Add(t.Context(), spa("added", "https://added.example:8443/cb", "com.example.app:/cb")); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{
		"https://app.example": true, "https://added.example:8443": true,
		"https://server.example": false, "https://added.example": false, "null": false, "": false, "https://evil.example": false, "http://app.example": false,
	}
	check := func() {
		t.Helper()
		for origin, want := range want {
			if got, err := r.HasOrigin(t.Context(), origin); err != nil || got != want {
				t.Errorf("%s: %v, %v", origin, got, err)
			}
		}
	}
	check()
	if err := r.Remove(t.Context(), "added"); err != nil {
		t.Fatal(err)
	}
	want["https://added.example:8443"] = false
	check()
}

func TestAssertions(t *testing.T) {
	key, err := jose.GenerateKey(jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	other, err := jose.GenerateKey(jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	set, err := jose.NewKeySet(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{Client: model.Client{Name: "job"}, Keys: set}
	right := map[string]any{"iss": "job", "sub": "job", "aud": "https://id.example", "jti": "1", "exp": noon.Add(time.Minute).Unix(), "iat": noon.Unix()}
	cases := map[string]struct {
		change map[string]any
		key    *jose.Key
		typ    string
		ok     bool
	}{
		"right":                  {ok: true},
		"a typ of its own":       {typ: "client-authentication+jwt", ok: true},
		"the token endpoint":     {change: map[string]any{"aud": "https://id.example/token"}, ok: true},
		"one audience in a list": {change: map[string]any{"aud": []string{"https://id.example"}}, ok: true},
		"another key":            {key: other},
		"another subject":        {change: map[string]any{"sub": "else"}},
		"another issuer":         {change: map[string]any{"iss": "else"}},
		"another audience":       {change: map[string]any{"aud": "https://evil.example"}},
		"several audiences":      {change: map[string]any{"aud": []string{"https://id.example", "https://evil.example"}}},
		"no jti":                 {change: map[string]any{"jti": nil}},
		"no exp":                 {change: map[string]any{"exp": nil}},
		"expired":                {change: map[string]any{"exp": noon.Add(-2 * time.Minute).Unix()}},
		"valid for a year":       {change: map[string]any{"exp": noon.Add(24 * 365 * time.Hour).Unix()}},
		"an access token":        {typ: "at+jwt"},
		"a DPoP proof":           {typ: "dpop+jwt"},
	}
	for name, x := range cases {
		t.Run(name, func(t *testing.T) {
			claims := map[string]any{}
			for k, v := range right {
				claims[k] = v
			}
			for k, v := range x.change {
				if claims[k] = v; v == nil {
					delete(claims, k)
				}
			}
			signer, typ := key, "JWT"
			if x.key != nil {
				signer = x.key
			}
			if x.typ != "" {
				typ = x.typ
			}
			token, err := signer.Sign(typ, claims)
			if err != nil {
				t.Fatal(err)
			}
			jti, expires, err := c.CheckAssertion(token, []string{"https://id.example", "https://id.example/token"}, noon)
			if (err == nil) != x.ok {
				t.Fatalf("error %v", err)
			}
			if x.ok && (jti != "1" || expires.Before(noon.Add(time.Minute))) {
				t.Errorf("jti %q until %s", jti, expires)
			}
		})
	}
}

func TestFindSurvivesARestart(t *testing.T) {
	r := open(t)
	if _, err := r.Add(t.Context(), spa("web", "https://app.example/cb")); err != nil {
		t.Fatal(err)
	}
	again, err := Open(context.Background(), r.Config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Find(t.Context(), "web"); err != nil {
		t.Error(err)
	}
}
