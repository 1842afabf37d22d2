package jose

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/secret"
)

func TestKeysSurviveStorage(t *testing.T) {
	for _, alg := range algs {
		k := newKey(t, alg)
		der, err := k.PKCS8()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseKey(der)
		if err != nil {
			t.Fatal(err)
		}
		if back.ID() != k.ID() || back.Alg() != alg {
			t.Errorf("%s: came back as %v %s", alg, back, back.Alg())
		}
		public, err := ParseJWK(mustJSON(t, k.Public()))
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(sign(t, back, "JWT", object{}), public, alg); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(string(mustJSON(t, k.Public())), string(mustJSON(t, public))); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAKeyNeverPrints(t *testing.T) {
	k := newKey(t, EdDSA)
	if got, want := fmt.Sprintf("%v %+v %#v %s", k, k, k, k), strings.Repeat(" key "+k.ID(), 4)[1:]; got != want {
		t.Errorf("printed as %s", got)
	}
}

func TestThumbprintIsThatOfTheRFC(t *testing.T) {
	// RFC 7638 §3.1
	rsaKey := `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`
	// RFC 8037 Appendix A.2, A.3
	okp := `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	for key, want := range map[string]string{rsaKey: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", okp: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"} {
		k, err := ParseJWK([]byte(key))
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Thumbprint(); got != want {
			t.Errorf("thumbprint %s, want %s", got, want)
		}
	}
}

func TestUnfitPublicKeysAreRefused(t *testing.T) {
	with := func(k *Key, name string, value any) []byte {
		var o object
		if err := json.Unmarshal(mustJSON(t, k.Public()), &o); err != nil {
			t.Fatal(err)
		}
		if o[name] = value; value == nil {
			delete(o, name)
		}
		return mustJSON(t, o)
	}
	ec, ed, rs := newKey(t, ES256), newKey(t, EdDSA), newKey(t, RS256)
	n := rs.Public().public.(*rsa.PublicKey).N.Bytes()
	small := n[:128]
	small[127] |= 1
	big := append(append([]byte{1}, make([]byte, 511)...), 1)
	even := append([]byte{}, n...)
	even[len(even)-1] &^= 1
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, _ := p384.PublicKey.Bytes()
	const unsupported = "not supported"
	for _, c := range []struct {
		name string
		key  []byte
		why  string
	}{
		{"symmetric", []byte(`{"kty":"oct","k":"AAAA"}`), unsupported},
		{"no kty", []byte(`{}`), unsupported},
		{"P-384", fmt.Appendf(nil, `{"kty":"EC","crv":"P-384","x":"%s","y":"%s"}`, encode(point[1:49]), encode(point[49:])), unsupported},
		{"other curve's point as P-256", fmt.Appendf(nil, `{"kty":"EC","crv":"P-256","x":"%s","y":"%s"}`, encode(point[1:33]), encode(point[49:81])), "not on P-256"},
		{"point off the curve", with(ec, "y", encode(make([]byte, 32))), "not on P-256"},
		{"point at infinity", fmt.Appendf(nil, `{"kty":"EC","crv":"P-256","x":"%[1]s","y":"%[1]s"}`, encode(make([]byte, 32))), "not on P-256"},
		{"short x", with(ec, "x", encode(make([]byte, 31))), "32 bytes"},
		{"no y", with(ec, "y", nil), "missing"},
		{"EC key as EdDSA", with(ec, "alg", "EdDSA"), unsupported},
		{"RSA key as HS256", with(rs, "alg", "HS256"), unsupported},
		{"X25519", with(ed, "crv", "X25519"), unsupported},
		{"short Ed25519", with(ed, "x", "AAAA"), "32 bytes"},
		{"private EC", with(ec, "d", "AAAA"), "private member d"},
		{"private OKP", with(ed, "d", "AAAA"), "private member d"},
		{"private RSA", with(rs, "qi", "AAAA"), "private member qi"},
		{"for encryption", with(rs, "use", "enc"), unsupported},
		{"operations without verify", with(rs, "key_ops", []string{"encrypt"}), unsupported},
		{"operations of text", with(rs, "key_ops", "verify"), "list of strings"},
		{"RSA of 1024 bits", with(rs, "n", encode(small)), "1024 bits"},
		{"RSA of more than 4096 bits", with(rs, "n", encode(big)), "4097 bits"},
		{"even n", with(rs, "n", encode(even)), "even"},
		{"n with a leading zero", with(rs, "n", encode(append([]byte{0}, n...))), "zero byte"},
		{"e of 3", with(rs, "e", "Aw"), "65537"},
		{"even e", with(rs, "e", "AQAC"), "65537"},
		{"e of 2^32-1", with(rs, "e", "_____w"), "65537"},
		{"e of 5 bytes", with(rs, "e", "AQAAAAE"), "32 bits"},
		{"e empty", with(rs, "e", ""), "1 to"},
		{"kid of a number", with(ec, "kid", 1), "not a string"},
		{"two crv", []byte(`{"kty":"EC","crv":"P-256","crv":"P-384"}`), "twice"},
		{"loose base64", with(ec, "x", encode(make([]byte, 32))+"="), "illegal base64"},
		{"huge", with(ec, "x5c", strings.Repeat("A", MaxKey)), "more than 8192"},
		{"null", []byte("null"), "not a JSON object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseJWK(c.key)
			refused(t, err, c.why)
			if (c.why == unsupported) && !errors.Is(err, ErrUnsupported) {
				t.Error("not ErrUnsupported")
			}
		})
	}
	if _, err := ParseJWK(with(rs, "alg", nil)); err != nil {
		t.Error("RSA without alg:", err)
	}
}

func TestUnfitPrivateKeysAreRefused(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecdhKey, err := newKey(t, ES256).signer.(*ecdsa.PrivateKey).ECDH()
	if err != nil {
		t.Fatal(err)
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]any{"P-384": p384, "RSA of 1024 bits": short} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseKey(secret.New(der)); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = ParseKey(secret.New(ecdhKey.Bytes()))
	refused(t, err, "not PKCS #8")
	_, err = ParseKey(secret.New(make([]byte, MaxKey+1)))
	refused(t, err, "more than")
}

func TestKeySetsLeaveOutWhatTheyDoNotKnow(t *testing.T) {
	ec, rs := newKey(t, ES256), newKey(t, RS256)
	set := func(keys ...string) []byte { return []byte(`{"keys":[` + strings.Join(keys, ",") + `],"x":1}`) }
	a, b := string(mustJSON(t, ec.Public())), string(mustJSON(t, rs.Public()))
	s, err := ParseKeySet(set(a, `{"kty":"oct","k":"AAAA","kid":"h"}`, `{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}`, b))
	if err != nil || s.Len() != 2 {
		t.Fatalf("%d keys, %v", s.Len(), err)
	}
	if _, ok := s.Find("h", ES256); ok {
		t.Error("found a symmetric key")
	}
	if k, ok := s.Find(rs.ID(), RS256); !ok || k.Thumbprint() != rs.ID() {
		t.Error("RS256's key isn't found")
	}
	if _, ok := s.Find(rs.ID(), PS256); ok {
		t.Error("a key of RS256 serves PS256")
	}
	again, err := ParseKeySet(mustJSON(t, s))
	if err != nil || again.Len() != 2 {
		t.Errorf("written and read: %v", err)
	}
	for name, c := range map[string]struct {
		in  []byte
		why string
	}{
		"kid twice":     {set(a, strings.Replace(b, rs.ID(), ec.ID(), 1)), "twice"},
		"malformed key": {set(a, `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`), "key 1"},
		"private key":   {set(strings.Replace(a, `"use"`, `"d":"AA","use"`, 1)), "private"},
		"null key":      {set("null"), "key 0"},
		"too many":      {set(strings.Split(strings.Repeat("{},", 64)+"{}", ",")...), "64 keys"},
		"too long":      {append(set(a), make([]byte, MaxKeySet)...), "65536"},
		"no list":       {[]byte(`{"keys":{}}`), "not a list"},
		"no keys":       {[]byte(`{}`), "not a list"},
		"null":          {[]byte(`{"keys":null}`), "not a list"},
	} {
		_, err := ParseKeySet(c.in)
		if t.Run(name, func(t *testing.T) { refused(t, err, c.why) }); err == nil {
			continue
		}
	}
	if _, err := NewKeySet(JWK{}); err == nil {
		t.Error("a set took a JWK without a key")
	}
}

func FuzzParseJWK(f *testing.F) {
	for _, alg := range algs {
		f.Add(mustJSON(f, newKey(f, alg).Public()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseJWK(b)
		if err != nil {
			return
		}
		again, err := ParseJWK(mustJSON(t, k))
		if err != nil || again.Thumbprint() != k.Thumbprint() || again.ID != k.ID || again.Alg != k.Alg {
			t.Errorf("%s was written as %s: %v", b, mustJSON(t, k), err)
		}
	})
}

func FuzzParseKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"oct"}]}`))
	f.Add(fmt.Appendf(nil, `{"keys":[%s]}`, mustJSON(f, newKey(f, ES256).Public())))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseKeySet(b)
		if err != nil {
			return
		}
		if again, err := ParseKeySet(mustJSON(t, s)); err != nil || again.Len() != s.Len() {
			t.Errorf("%s was written as %s: %v", b, mustJSON(t, s), err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	for _, alg := range algs {
		der, err := newKey(f, alg).PKCS8()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der.Reveal())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := ParseKey(secret.New(b)); err == nil {
			if err := verify(sign(t, k, "JWT", object{}), k.Public(), k.Alg()); err != nil {
				t.Error(err)
			}
		}
	})
}
