package jose

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestASignedTokenVerifiesWithItsOwnKeyOnly(t *testing.T) {
	for _, alg := range algs {
		t.Run(string(alg), func(t *testing.T) {
			k, other := newKey(t, alg), newKey(t, alg)
			s := sign(t, k, "JWT", object{"sub": "u1"})
			if err := verify(s, k.Public(), alg); err != nil {
				t.Error(err)
			}
			both, err := NewKeySet(other.Public(), k.Public())
			if err != nil {
				t.Fatal(err)
			}
			if err := verify(s, both, algs...); err != nil {
				t.Error(err)
			}
			foreign := other.Public()
			foreign.ID = k.ID()
			refused(t, verify(s, foreign, alg), "signature is wrong")
			refused(t, verify(s, other.Public(), alg), "no key")
			refused(t, verify(s, k.Public()), "not allowed")
			refused(t, verify(s, JWK{}, alg), "no key")
		})
	}
}

func TestHeaderIsExactlyAlgTypAndKid(t *testing.T) {
	k := newKey(t, ES256)
	head, _, _ := strings.Cut(sign(t, k, "at+jwt", object{}), ".")
	b, err := decode(head)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"alg":"ES256","typ":"at+jwt","kid":"` + k.ID() + `"}`; string(b) != want {
		t.Errorf("header %s, want %s", b, want)
	}
}

func TestPS256IsVerifiedOnly(t *testing.T) {
	k := newKey(t, RS256)
	public := k.Public()
	public.Alg = PS256
	signed := encode([]byte(`{"alg":"PS256"}`)) + "." + encode([]byte(`{}`))
	sum := sha256.Sum256([]byte(signed))
	for salt, good := range map[int]bool{32: true, 20: false} {
		sig, err := rsa.SignPSS(rand.Reader, k.signer.(*rsa.PrivateKey), crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		s := signed + "." + encode(sig)
		if err := verify(s, public, PS256); (err == nil) != good {
			t.Errorf("salt of %d: %v", salt, err)
		}
		refused(t, verify(s, k.Public(), PS256, RS256), "no key") // its alg is RS256
	}
	if _, err := GenerateKey(PS256); err == nil {
		t.Error("made a key for PS256")
	}
}

func TestHostileTokensAreRefused(t *testing.T) {
	k, ed, rs, mine := newKey(t, ES256), newKey(t, EdDSA), newKey(t, RS256), newKey(t, ES256)
	keys, err := NewKeySet(k.Public(), ed.Public(), rs.Public())
	if err != nil {
		t.Fatal(err)
	}
	good := sign(t, k, "JWT", object{"sub": "u1"})
	parts := strings.Split(good, ".")
	last := parts[2][len(parts[2])-1]
	twin := string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", last)+1])
	head := func(format string, a ...any) string {
		return forge(t, k, fmt.Sprintf(format, a...), `{"sub":"u1"}`)
	}
	sig, err := decode(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	longer := encode(slices.Concat(sig[:32], []byte{0}, sig[32:]))
	hs := encode(fmt.Appendf(nil, `{"alg":"HS256","kid":"%s"}`, rs.ID())) + "." + parts[1]
	der, err := x509.MarshalPKIXPublicKey(rs.Public().public)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, der)
	mac.Write([]byte(hs))
	for _, c := range []struct{ name, token, why string }{
		{"none", encode([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", `"none" is not supported`},
		{"none in other letters", head(`{"alg":"nOnE"}`), "not supported"},
		{"no alg", head(`{"kid":"%s"}`, k.ID()), "not supported"},
		{"alg of another type", head(`{"alg":["ES256"]}`), "not a string"},
		{"alg in capitals", head(`{"ALG":"ES256"}`), "not supported"},
		{"RS256 key as HMAC secret", hs + "." + encode(mac.Sum(nil)), `"HS256" is not supported`},
		{"EdDSA's name for ES256's key", head(`{"alg":"EdDSA","kid":"%s"}`, k.ID()), "no key"},
		{"ES256's name for EdDSA's key", forge(t, ed, fmt.Sprintf(`{"alg":"ES256","kid":"%s"}`, ed.ID()), "{}"), "no key"},
		{"ES256's name for RS256's key", forge(t, rs, fmt.Sprintf(`{"alg":"ES256","kid":"%s"}`, rs.ID()), "{}"), "no key"},
		{"ES384", head(`{"alg":"ES384","kid":"%s"}`, k.ID()), "not supported"},
		{"embedded key", forge(t, mine, fmt.Sprintf(`{"alg":"ES256","jwk":%s}`, mustJSON(t, mine.Public())), "{}"), "signature is wrong"},
		{"embedded key with a known kid", forge(t, mine, fmt.Sprintf(`{"alg":"ES256","kid":"%s","jwk":%s}`, k.ID(), mustJSON(t, mine.Public())), "{}"), "signature is wrong"},
		{"jku", forge(t, mine, `{"alg":"ES256","kid":"x","jku":"https://evil.example/jwks"}`, "{}"), "no key"},
		{"kid as a path", head(`{"alg":"ES256","kid":"../../../../dev/null"}`), "no key"},
		{"kid as SQL", head(`{"alg":"ES256","kid":"x' UNION SELECT 'k"}`), "no key"},
		{"kid of a number", head(`{"alg":"ES256","kid":1}`), "not a string"},
		{"kid empty", head(`{"alg":"ES256","kid":""}`), "1 to 256"},
		{"kid long", head(`{"alg":"ES256","kid":"%s"}`, strings.Repeat("k", 257)), "1 to 256"},
		{"crit", head(`{"alg":"ES256","crit":["b64"],"b64":false}`), "critical"},
		{"crit null", head(`{"alg":"ES256","crit":null}`), "critical"},
		{"duplicate name in the header", head(`{"alg":"none","alg":"ES256"}`), "twice"},
		{"duplicate name, escaped", head(`{"alg":"none","\u0061lg":"ES256"}`), "twice"},
		{"duplicate name in the claims", forge(t, k, `{"alg":"ES256"}`, `{"sub":"a","sub":"b"}`), "twice"},
		{"duplicate name deep in the claims", forge(t, k, `{"alg":"ES256"}`, `{"cnf":[{"jkt":"a","jkt":"b"}]}`), "twice"},
		{"deep objects", head(`{"alg":"ES256","x":%s1%s}`, strings.Repeat(`{"a":`, 16), strings.Repeat("}", 16)), "16 deep"},
		{"deep lists", head(`{"alg":"ES256","x":%s%s}`, strings.Repeat("[", 16), strings.Repeat("]", 16)), "16 deep"},
		{"header is a list", head(`[]`), "not a JSON object"},
		{"header has two values", head(`{"alg":"ES256"}{}`), "not JSON"},
		{"header isn't UTF-8", head("{\"alg\":\"ES256\",\"x\":\"\xff\"}"), "not JSON"},
		{"claims aren't an object", forge(t, k, `{"alg":"ES256"}`, `"u1"`), "not a JSON object"},
		{"no claims", forge(t, k, `{"alg":"ES256"}`, ``), "not JSON"},
		{"other claims", parts[0] + "." + encode([]byte(`{"sub":"root"}`)) + "." + parts[2], "signature is wrong"},
		{"no signature", parts[0] + "." + parts[1] + ".", "signature is wrong"},
		{"zero signature", parts[0] + "." + parts[1] + "." + encode(make([]byte, 64)), "signature is wrong"},
		{"short signature", parts[0] + "." + parts[1] + "." + encode(make([]byte, 63)), "signature is wrong"},
		{"signature with other trailing bits", good[:len(good)-1] + twin, "illegal base64"},
		{"signature with a leading zero", parts[0] + "." + parts[1] + "." + longer, "signature is wrong"},
		{"padding", good + "==", "illegal base64"},
		{"line break", good + "\n", "line break"},
		{"space", " " + good, "illegal base64"},
		{"standard alphabet", parts[0] + "." + parts[1] + "." + strings.Repeat("+", 86), "illegal base64"},
		{"two parts", parts[0] + "." + parts[1], "three parts"},
		{"four parts", good + ".x", "three parts"},
		{"five parts as JWE", good + ".x.y", "three parts"},
		{"empty", "", "three parts"},
		{"huge", strings.Repeat("a", MaxToken+1), "more than 16384"},
		{"huge with dots", strings.Repeat(".", 1<<20), "more than 16384"},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, verify(c.token, keys, algs...), c.why) })
	}
	if err := verify(good, keys, algs...); err != nil {
		t.Error("the honest token:", err)
	}
}

// liar answers every question with one key.
type liar struct{ k JWK }

func (l liar) Find(string, Alg) (JWK, bool) { return l.k, true }

func TestAWrongFinderCannotConfuseAlgorithms(t *testing.T) {
	ed := newKey(t, EdDSA)
	refused(t, verify(forge(t, ed, `{"alg":"ES256"}`, "{}"), liar{ed.Public()}, ES256), "not for ES256")
	rs := newKey(t, RS256)
	refused(t, verify(forge(t, rs, `{"alg":"PS256"}`, "{}"), liar{rs.Public()}, PS256), "not for PS256")
}

func TestWithoutKidOnlyALoneKeyServes(t *testing.T) {
	a, b := newKey(t, ES256), newKey(t, ES256)
	s := forge(t, a, `{"alg":"ES256"}`, "{}")
	one, _ := NewKeySet(a.Public(), newKey(t, EdDSA).Public())
	two, _ := NewKeySet(a.Public(), b.Public())
	if err := verify(s, one, ES256); err != nil {
		t.Error(err)
	}
	refused(t, verify(s, two, ES256), "no key")
}

func TestClaimsAreClosedUntilVerified(t *testing.T) {
	k := newKey(t, ES256)
	tok, err := Parse(sign(t, k, "JWT", object{"iss": "i", "sub": "s"}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = tok.Claims()
	refused(t, err, "not verified")
	_, err = Expect{Issuer: "i", Audience: []string{"a"}, Now: noon}.Check(tok)
	refused(t, err, "not verified")
	_ = tok.Verify(newKey(t, ES256).Public(), ES256)
	_, err = tok.Claims()
	refused(t, err, "not verified")
	if i, s := tok.Peek(); i != "i" || s != "s" {
		t.Errorf("peeked %q, %q", i, s)
	}
}

func TestTokensMustSayWhatIsExpected(t *testing.T) {
	k := newKey(t, ES256)
	at := func(d time.Duration) int64 { return noon.Add(d).Unix() }
	good := func() object {
		return object{"iss": "https://id", "aud": []string{"x", "shop"}, "sub": "u1", "exp": at(time.Minute), "iat": at(0), "nbf": at(0), "jti": "j"}
	}
	want := Expect{Issuer: "https://id", Audience: []string{"shop"}, Type: "at+jwt", Now: noon, Leeway: 2 * time.Second, MaxAge: time.Minute}
	check := func(e Expect, typ string, o object) error {
		tok, err := Parse(sign(t, k, typ, o))
		if err != nil {
			t.Fatal(err)
		}
		if err := tok.Verify(k.Public(), ES256); err != nil {
			t.Fatal(err)
		}
		_, err = e.Check(tok)
		return err
	}
	for _, c := range []struct {
		name, typ, claim string
		value            any // nil takes the claim away
		why              string
	}{
		{"as expected", "at+jwt", "jti", "j", ""},
		{"full type in capitals", "Application/AT+JWT", "jti", "j", ""},
		{"audience alone", "at+jwt", "aud", "shop", ""},
		{"fraction", "at+jwt", "iat", float64(at(0)) + .5, ""},
		{"no nbf", "at+jwt", "nbf", nil, ""},
		{"within the leeway", "at+jwt", "exp", at(-time.Second), ""},
		{"issued within the leeway", "at+jwt", "iat", at(2 * time.Second), ""},
		{"other type", "JWT", "jti", "j", "typ"},
		{"other issuer", "at+jwt", "iss", "https://id/", "another issuer"},
		{"no issuer", "at+jwt", "iss", nil, "another issuer"},
		{"issuer list", "at+jwt", "iss", []string{"https://id"}, "not a string"},
		{"other audience", "at+jwt", "aud", "shop2", "another audience"},
		{"audience of other case", "at+jwt", "aud", "Shop", "another audience"},
		{"no audience", "at+jwt", "aud", nil, "another audience"},
		{"empty audience", "at+jwt", "aud", "", "empty"},
		{"null audience", "at+jwt", "aud", []any{nil, "shop"}, "empty"},
		{"number as audience", "at+jwt", "aud", 1, "aud"},
		{"expired", "at+jwt", "exp", at(-2 * time.Second), "expired"},
		{"no expiry", "at+jwt", "exp", nil, "never expires"},
		{"expiry of text", "at+jwt", "exp", "9999999999", "not a date"},
		{"endless expiry", "at+jwt", "exp", 1e300, "not a date"},
		{"negative expiry", "at+jwt", "exp", -1, "not a date"},
		{"not yet", "at+jwt", "nbf", at(3 * time.Second), "not valid yet"},
		{"from the future", "at+jwt", "iat", at(3 * time.Second), "future"},
		{"too old", "at+jwt", "iat", at(-63 * time.Second), "too old"},
		{"age unknown", "at+jwt", "iat", nil, "when it was issued"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := good()
			if o[c.claim] = c.value; c.value == nil {
				delete(o, c.claim)
			}
			if err := check(want, c.typ, o); c.why != "" {
				refused(t, err, c.why)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	for name, e := range map[string]Expect{
		"no issuer":   {Audience: want.Audience, Type: "at+jwt", Now: noon},
		"no audience": {Issuer: want.Issuer, Type: "at+jwt", Now: noon},
		"no time":     {Issuer: want.Issuer, Audience: want.Audience, Type: "at+jwt"},
	} {
		t.Run("expecting "+name, func(t *testing.T) { refused(t, check(e, "at+jwt", good()), "nothing is accepted") })
	}
	t.Run("a type nobody asked for", func(t *testing.T) {
		e := want
		e.Type = ""
		refused(t, check(e, "at+jwt", good()), "typ")
		if err := check(e, "JWT", good()); err != nil {
			t.Error(err)
		}
	})
}

func TestOtherClaimsAreReadByTheirExactName(t *testing.T) {
	k := newKey(t, ES256)
	tok, err := Parse(sign(t, k, "JWT", object{"scope": "a b", "SUB": "root"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := tok.Verify(k.Public(), ES256); err != nil {
		t.Fatal(err)
	}
	c, err := tok.Claims()
	if err != nil || c.Subject != "" {
		t.Fatalf("subject %q, %v", c.Subject, err)
	}
	var scope string
	var number int
	if found, err := c.Get("scope", &scope); !found || err != nil || scope != "a b" {
		t.Errorf("scope %q, %v, %v", scope, found, err)
	}
	if found, err := c.Get("Scope", &scope); found || err != nil {
		t.Errorf("found Scope: %v, %v", found, err)
	}
	if _, err := c.Get("scope", &number); err == nil {
		t.Error("a scope became a number")
	}
}

func FuzzParse(f *testing.F) {
	k := newKey(f, ES256)
	good := sign(f, k, "JWT", object{"iss": "i", "aud": "a", "exp": 1, "x": []any{object{"a": nil}, 1.5, "\\\"é"}})
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := Parse(s)
		if err != nil {
			return
		}
		tok.Peek()
		if err := tok.Verify(k.Public(), algs...); err == nil && tok.signed != good[:strings.LastIndexByte(good, '.')] {
			t.Errorf("forged: %q", s)
		}
		tok.verified = true
		_, _ = tok.Claims()
	})
}

func BenchmarkSign(b *testing.B) {
	for _, alg := range algs {
		k := newKey(b, alg)
		b.Run(string(alg), func(b *testing.B) {
			for b.Loop() {
				sign(b, k, "at+jwt", object{"iss": "https://id.example", "sub": "u1", "aud": "shop", "exp": 1, "iat": 1, "jti": "abcdefgh"})
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range algs {
		k := newKey(b, alg)
		s := sign(b, k, "at+jwt", object{"iss": "https://id.example", "sub": "u1", "aud": "shop", "exp": noon.Unix() + 60, "iat": noon.Unix(), "jti": "abcdefgh"})
		want := Expect{Issuer: "https://id.example", Audience: []string{"shop"}, Type: "at+jwt", Now: noon}
		b.Run(string(alg), func(b *testing.B) {
			for b.Loop() {
				tok, err := Parse(s)
				if err == nil {
					err = tok.Verify(k.Public(), alg)
				}
				if err == nil {
					_, err = want.Check(tok)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
