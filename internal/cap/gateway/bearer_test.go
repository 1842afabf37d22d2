package gateway

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/jose"
)

// access makes an access token; change may spoil it.
func (e *edge) access(change func(map[string]any)) string {
	e.t.Helper()
	now := time.Now().Unix()
	c := map[string]any{"iss": "https://id.localhost:8443", "aud": origin, "sub": "u1", "jti": "j1", "sid": "sid-a", "client_id": "app", "iat": now, "exp": now + 300, "groups": []string{"staff"}, "mfa_time": now}
	typ := "at+jwt"
	if change != nil {
		change(c)
	}
	if s, ok := c["typ"].(string); ok {
		typ = s
		delete(c, "typ")
	}
	s, err := e.key.Sign(typ, c)
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

func TestBearerTokensCountOnlyIfTheyAreOurs(t *testing.T) {
	e := newEdge(t)
	with := func(name string, v any) func(map[string]any) { return func(c map[string]any) { c[name] = v } }
	none := strings.Join([]string{"eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0", strings.Split(e.access(nil), ".")[1], ""}, ".")
	for name, tt := range map[string]struct {
		token string
		want  int
	}{
		"ours":                {e.access(nil), 200},
		"another audience":    {e.access(with("aud", "https://other.example")), 401},
		"of the trust domain": {e.access(with("aud", "shop.internal")), 401},
		"another issuer":      {e.access(with("iss", "https://evil.example")), 401},
		"ended":               {e.access(with("exp", time.Now().Unix()-60)), 401},
		"an ID token":         {e.access(with("typ", "JWT")), 401},
		"a transaction token": {e.access(with("typ", "txntoken+jwt")), 401},
		"no signature":        {none, 401},
		"no subject":          {e.access(func(c map[string]any) { delete(c, "sub") }), 401},
		"bound to a key":      {e.access(with("cnf", map[string]string{"jkt": "x"})), 401},
		"bound to a cert":     {e.access(with("cnf", map[string]string{"x5t#S256": "x"})), 401},
		"nonsense":            {"nonsense", 401},
	} {
		a := e.ask("localhost", "GET", "/admin/x", "Authorization", "Bearer "+tt.token)
		if a.StatusCode != tt.want {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
		if tt.want == 401 && !strings.Contains(a.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Errorf("%s: %s", name, a.Header.Get("WWW-Authenticate"))
		}
		if tt.want == 200 && (e.txn(a).Person.ID != "u1" || a.sent.Get("Authorization") != "") {
			t.Errorf("%s: %v", name, a.sent)
		}
	}
	for _, gone := range []string{"j1", "sid-a"} {
		e.tell(gone)
		if a := e.ask("localhost", "GET", "/admin/x", "Authorization", "Bearer "+e.access(nil)); a.StatusCode != 401 {
			t.Errorf("after %s ended: %d", gone, a.StatusCode)
		}
	}
}

func TestBoundTokensNeedProof(t *testing.T) {
	e := newEdge(t)
	key, err := jose.GenerateKey(jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	token := e.access(func(c map[string]any) { c["cnf"] = map[string]string{"jkt": key.Public().Thumbprint()} })
	proof := func(change func(map[string]any)) string {
		t.Helper()
		c := map[string]any{"htm": "GET", "htu": origin + "/admin/x", "iat": time.Now().Unix(), "jti": fmt.Sprint(time.Now().UnixNano()), "ath": hashOf(token)}
		if change != nil {
			change(c)
		}
		s, err := key.SignWithKey("dpop+jwt", c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	once := proof(nil)
	for _, tt := range []struct {
		name, scheme, proof string
		want                int
	}{
		{"a proof", "DPoP", once, 200},
		{"the same again", "DPoP", once, 401},
		{"as a bearer", "Bearer", proof(nil), 401},
		{"without proof", "DPoP", "", 401},
		{"of another method", "DPoP", proof(func(c map[string]any) { c["htm"] = "POST" }), 401},
		{"of another place", "DPoP", proof(func(c map[string]any) { c["htu"] = origin + "/own/x" }), 401},
		{"of another token", "DPoP", proof(func(c map[string]any) { c["ath"] = "x" }), 401},
		{"old", "DPoP", proof(func(c map[string]any) { c["iat"] = time.Now().Unix() - 600 }), 401},
		{"another proof", "DPoP", proof(nil), 200},
	} {
		fields := []string{"Authorization", tt.scheme + " " + token}
		if tt.proof != "" {
			fields = append(fields, "DPoP", tt.proof)
		}
		if a := e.ask("localhost", "GET", "/admin/x", fields...); a.StatusCode != tt.want {
			t.Errorf("%s: %d %s", tt.name, a.StatusCode, a.body)
		}
	}
}

// A token that is bound to a certificate counts on a connection that shows it, and on no other.
func TestCertificateBoundTokensNeedTheCertificate(t *testing.T) {
	e := newEdge(t)
	cert, err := e.g.config.Self.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.Leaf.Raw)
	token := e.access(func(c map[string]any) {
		c["cnf"] = map[string]string{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}
	})
	with := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", Certificates: []tls.Certificate{*cert}}
	if a := e.askWith(with, "GET", "/own/x", "Authorization", "Bearer "+token); a.StatusCode != 200 {
		t.Errorf("with it: %d %s", a.StatusCode, a.body)
	}
	if a := e.ask("localhost", "GET", "/own/x", "Authorization", "Bearer "+token); a.StatusCode != 401 {
		t.Errorf("without: %d", a.StatusCode)
	}
}

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
