package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const domain = "shop.internal"

var now = time.Unix(1_700_000_000, 0)

// gateway signs tokens and publishes its key.
type gateway struct {
	key ed25519.PrivateKey
	url string
}

func newGateway(t testing.TB) *gateway {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{
			map[string]string{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": base64.RawURLEncoding.EncodeToString(pub), "use": "sig", "alg": "EdDSA"},
			map[string]string{"kty": "EC", "kid": "k2"},
		}})
	}))
	t.Cleanup(s.Close)
	return &gateway{key, s.URL}
}

func (g *gateway) sign(head, claims map[string]any) string {
	b64 := func(v any) string {
		b, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := b64(head) + "." + b64(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(g.key, []byte(signed)))
}

func goodHead() map[string]any {
	return map[string]any{"alg": "EdDSA", "typ": "txntoken+jwt", "kid": "k1"}
}

func goodClaims() map[string]any {
	return map[string]any{
		"iss": "spiffe://shop.internal/ward/gateway", "aud": domain, "iat": now.Unix(), "exp": now.Unix() + 300, "txn": "t1", "sub": "u1", "sid": "s1",
		"tctx": map[string]any{"email": "a@example.com", "groups": []string{"staff"}, "mfa_time": now.Unix()}, "rctx": map[string]any{"req_ip": "192.0.2.1"},
	}
}

func (g *gateway) verifier(t testing.TB) *Verifier {
	t.Helper()
	v, err := New(Config{TrustDomain: domain, KeysURL: g.url, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerifiedTokensGiveTheUser(t *testing.T) {
	g := newGateway(t)
	u, err := g.verifier(t).Verify(t.Context(), g.sign(goodHead(), goodClaims()))
	if err != nil || u.ID != "u1" || u.Email != "a@example.com" || !u.In("staff") || u.In("root") || u.Has("admin") || !u.FactorAt.Equal(now) || u.Session != "s1" || u.Txn != "t1" || u.IP != "192.0.2.1" {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestOtherTokensAreRefused(t *testing.T) {
	g, rogue := newGateway(t), newGateway(t)
	v := g.verifier(t)
	head := func(k string, x any) string { h := goodHead(); h[k] = x; return g.sign(h, goodClaims()) }
	claim := func(k string, x any) string { c := goodClaims(); c[k] = x; return g.sign(goodHead(), c) }
	good := g.sign(goodHead(), goodClaims())
	for name, token := range map[string]string{
		"nothing": "", "two parts": "a.b", "four parts": good + ".x", "long": strings.Repeat("a", maxToken) + "." + good,
		"no algorithm": head("alg", "none"), "HMAC": head("alg", "HS256"), "access token": head("typ", "at+jwt"), "no key": head("kid", ""),
		"unknown key": head("kid", "k9"), "another type of key": head("kid", "k2"), "critical": head("crit", []string{"x"}),
		"another audience": claim("aud", "other.internal"), "another issuer": claim("iss", "spiffe://shop.internal/svc/web"), "no transaction": claim("txn", ""),
		"over": claim("exp", now.Unix()-11), "no end": claim("exp", 0), "from the future": claim("iat", now.Unix()+11),
		"another signer": rogue.sign(goodHead(), goodClaims()), "changed": strings.Replace(good, ".", ".e", 1),
	} {
		if u, err := v.Verify(t.Context(), token); err == nil {
			t.Errorf("%s: %+v", name, u)
		}
	}
	if _, err := v.Verify(t.Context(), claim("exp", now.Unix()-11)); !errors.Is(err, ErrOver) {
		t.Error(err)
	}
}

func TestMiddlewareRefusesAndTransportPassesOn(t *testing.T) {
	g := newGateway(t)
	v := g.verifier(t)
	token := g.sign(goodHead(), goodClaims())
	var sent http.Header
	client := &http.Client{Transport: Transport(roundTrip(func(r *http.Request) (*http.Response, error) {
		sent = r.Header
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
	}))}
	h := func(to string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if UserOf(r.Context()).ID != "u1" || CallerOf(r.Context()) != "spiffe://shop.internal/svc/web" {
				t.Errorf("%+v", UserOf(r.Context()))
			}
			out, _ := http.NewRequestWithContext(r.Context(), "GET", to, nil)
			if _, err := client.Do(out); err != nil {
				t.Error(err)
			}
		})
	}
	for to, passes := range map[string]bool{"http://orders:8080/x": true, "https://api.example.com/x": false, "http://127.0.0.1/x": false, "http://[::1]/x": false} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set(Header, token)
		r.Header.Set("X-Ward-Caller", "spiffe://shop.internal/svc/web")
		r.Header.Set("Traceparent", "00-1-2-00")
		v.Required(h(to)).ServeHTTP(httptest.NewRecorder(), r)
		if got := sent.Get(Header) == token && sent.Get("Traceparent") == "00-1-2-00"; got != passes || !passes && sent.Get(Header) != "" {
			t.Errorf("%s: %v", to, sent)
		}
	}
	never := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("reached") })
	for name, tokens := range map[string][]string{"none": nil, "bad": {"x"}, "two": {token, token}} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header[Header] = tokens
		w := httptest.NewRecorder()
		v.Required(never).ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func FuzzVerify(f *testing.F) {
	g := newGateway(f)
	v := g.verifier(f)
	f.Add(g.sign(goodHead(), goodClaims()))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) { _, _ = v.Verify(t.Context(), token) })
}
