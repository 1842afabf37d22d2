package jose

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestDPoPProofsAreForOneRequest(t *testing.T) {
	k := newKey(t, ES256)
	want := DPoPRequest{
		Method: "POST", URL: "https://id.example/token?a=b", AccessToken: "at",
		Nonces: []string{"n2", "n1"}, Now: noon, Window: time.Minute,
	}
	good := func() object {
		return object{"jti": "j1", "htm": "POST", "htu": "https://id.example/token", "iat": noon.Unix(), "ath": hash("at"), "nonce": "n1"}
	}
	proof, err := k.SignWithKey("dpop+jwt", good())
	if err != nil {
		t.Fatal(err)
	}
	got, err := CheckDPoP(proof, want)
	if err != nil || got.Thumbprint != k.ID() || got.ID != "j1" || !got.IssuedAt.Equal(noon) {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, c := range []struct {
		name, claim string
		value       any // nil takes the claim away
		why         string
	}{
		{"other method", "htm", "GET", "another method"},
		{"method in small letters", "htm", "post", "another method"},
		{"no method", "htm", nil, "another method"},
		{"other path", "htu", "https://id.example/token2", "another URL"},
		{"other host", "htu", "https://id.example.evil/token", "another URL"},
		{"other scheme", "htu", "http://id.example/token", "another URL"},
		{"other port", "htu", "https://id.example:8443/token", "another URL"},
		{"encoded slash", "htu", "https://id.example/%2Ftoken", "another URL"},
		{"user in the URL", "htu", "https://a@id.example/token", "no user"},
		{"relative URL", "htu", "/token", "with a host"},
		{"no URL", "htu", nil, "with a host"},
		{"old", "iat", noon.Unix() - 61, "too far"},
		{"of the future", "iat", noon.Unix() + 61, "too far"},
		{"no iat", "iat", nil, "no iat"},
		{"no jti", "jti", nil, "no jti"},
		{"long jti", "jti", fmt.Sprintf("%0257d", 0), "jti"},
		{"other token", "ath", hash("at2"), "another access token"},
		{"no token", "ath", nil, "another access token"},
		{"other nonce", "nonce", "n3", "nonce"},
		{"no nonce", "nonce", nil, "nonce"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := good()
			if o[c.claim] = c.value; c.value == nil {
				delete(o, c.claim)
			}
			s, err := k.SignWithKey("dpop+jwt", o)
			if err != nil {
				t.Fatal(err)
			}
			_, err = CheckDPoP(s, want)
			refused(t, err, c.why)
			if (c.claim == "nonce") != errors.Is(err, ErrNonce) {
				t.Errorf("ErrNonce is wrong for %v", err)
			}
		})
	}
	o := good()
	delete(o, "nonce")
	without, err := k.SignWithKey("dpop+jwt", o)
	if err != nil {
		t.Fatal(err)
	}
	empty := want
	empty.Nonces = []string{""}
	_, err = CheckDPoP(without, empty)
	refused(t, err, "nonce")
	_, err = CheckDPoP(proof, DPoPRequest{})
	refused(t, err, "nothing is accepted")
}

func TestDPoPProofsBringTheirOwnPublicKey(t *testing.T) {
	k, other := newKey(t, ES256), newKey(t, ES256)
	claims := fmt.Sprintf(`{"jti":"j","htm":"GET","htu":"https://a/","iat":%d}`, noon.Unix())
	want := DPoPRequest{Method: "GET", URL: "https://a", Now: noon, Window: time.Minute}
	jwk := string(mustJSON(t, k.Public()))
	private := `{"d":"AAAA",` + jwk[1:]
	for _, c := range []struct{ name, header, why string }{
		{"as it should be", `{"alg":"ES256","typ":"dpop+jwt","jwk":` + jwk + `}`, ""},
		{"with a kid beside", `{"alg":"ES256","typ":"dpop+jwt","kid":"x","jwk":` + jwk + `}`, ""},
		{"other type", `{"alg":"ES256","typ":"JWT","jwk":` + jwk + `}`, "typ"},
		{"no type", `{"alg":"ES256","jwk":` + jwk + `}`, "typ"},
		{"no key", `{"alg":"ES256","typ":"dpop+jwt","kid":"` + k.ID() + `"}`, "no jwk"},
		{"private key", `{"alg":"ES256","typ":"dpop+jwt","jwk":` + private + `}`, "private"},
		{"symmetric key", `{"alg":"ES256","typ":"dpop+jwt","jwk":{"kty":"oct","k":"AAAA"}}`, "not supported"},
		{"symmetric alg", `{"alg":"HS256","typ":"dpop+jwt","jwk":` + jwk + `}`, "not supported"},
		{"another's key", `{"alg":"ES256","typ":"dpop+jwt","jwk":` + string(mustJSON(t, other.Public())) + `}`, "signature is wrong"},
		{"key of another type", `{"alg":"ES256","typ":"dpop+jwt","jwk":` + string(mustJSON(t, newKey(t, EdDSA).Public())) + `}`, "no key"},
		{"key is a text", `{"alg":"ES256","typ":"dpop+jwt","jwk":"x"}`, "not a JSON object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := CheckDPoP(forge(t, k, c.header, claims), want); c.why != "" {
				refused(t, err, c.why)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEqualURLsAreOne(t *testing.T) {
	for in, want := range map[string]string{
		"https://a":                     "https://a/",
		"HTTPS://A.Example:443/x":       "https://a.example/x",
		"http://a:80/":                  "http://a/",
		"http://a:443/":                 "http://a:443/",
		"https://a:/x":                  "https://a/x",
		"https://a/x/../y/./z?q#f":      "https://a/y/z",
		"https://a/../../x":             "https://a/x",
		"https://a/%7euser/%2f%c3%a9":   "https://a/~user/%2F%C3%A9",
		"https://a/x/%2e%2E/y":          "https://a/y",
		"https://a//x":                  "https://a//x",
		"https://a/x/":                  "https://a/x/",
		"https://[::1]:443/x":           "https://[::1]/x",
		"https://a/x;y=1,2!$&'()*+:@=z": "https://a/x;y=1,2!$&'()*+:@=z",
	} {
		if got, err := normalURL(in); err != nil || got != want {
			t.Errorf("%s became %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "a", "mailto:a@b", "https:a", "https:///x", "ftp://a/", "https://a/%zz", "https://u@a/", "https://a:x/"} {
		if got, err := normalURL(in); err == nil {
			t.Errorf("%q became %q", in, got)
		}
	}
}

func FuzzCheckDPoP(f *testing.F) {
	k := newKey(f, ES256)
	s, err := k.SignWithKey("dpop+jwt", object{"jti": "j", "htm": "GET", "htu": "https://a/%7e/../b", "iat": noon.Unix()})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s, "https://a/b")
	f.Fuzz(func(t *testing.T, proof, at string) {
		p, err := CheckDPoP(proof, DPoPRequest{Method: "GET", URL: at, Now: noon, Window: time.Minute})
		if err == nil && (p.Thumbprint == "" || p.ID == "") {
			t.Errorf("%q proves nothing", proof)
		}
		if u, err := normalURL(at); err == nil {
			if again, err := normalURL(u); err != nil || again != u {
				t.Errorf("%q became %q, and that %q: %v", at, u, again, err)
			}
		}
	})
}
