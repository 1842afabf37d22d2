package jose

import (
	"crypto"
	"encoding/json"
	"testing"

	peer "github.com/go-jose/go-jose/v4"

	"github.com/wardhq/ward/internal/base/secret"
)

var peerAlgs = []peer.SignatureAlgorithm{peer.ES256, peer.RS256, peer.EdDSA, peer.PS256}

func TestGoJoseAcceptsWhatWeSign(t *testing.T) {
	for _, alg := range algs {
		k := newKey(t, alg)
		var jwk peer.JSONWebKey
		if err := json.Unmarshal(mustJSON(t, k.Public()), &jwk); err != nil {
			t.Fatal(err)
		}
		thumb, err := jwk.Thumbprint(crypto.SHA256)
		if err != nil || encode(thumb) != k.ID() {
			t.Errorf("%s: thumbprint %s, ours %s: %v", alg, encode(thumb), k.ID(), err)
		}
		for _, s := range []func(string, any) (string, error){k.Sign, k.SignWithKey} {
			tok, err := s("JWT", object{"sub": "u1"})
			if err != nil {
				t.Fatal(err)
			}
			jws, err := peer.ParseSignedCompact(tok, peerAlgs)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := jws.Verify(jwk); err != nil || string(body) != `{"sub":"u1"}` {
				t.Errorf("%s: %s, %v", alg, body, err)
			}
		}
	}
}

func TestWeAcceptWhatGoJoseSigns(t *testing.T) {
	for _, alg := range append(algs, PS256) {
		own := alg
		if alg == PS256 {
			own = RS256
		}
		k := newKey(t, own)
		s, err := peer.NewSigner(peer.SigningKey{Algorithm: peer.SignatureAlgorithm(alg), Key: peer.JSONWebKey{Key: k.signer, KeyID: "k1"}}, (&peer.SignerOptions{}).WithType("JWT"))
		if err != nil {
			t.Fatal(err)
		}
		jws, err := s.Sign([]byte(`{"sub":"u1"}`))
		if err != nil {
			t.Fatal(err)
		}
		tok, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		set, err := json.Marshal(peer.JSONWebKeySet{Keys: []peer.JSONWebKey{{Key: k.signer.Public(), KeyID: "k1", Algorithm: string(alg), Use: "sig"}}})
		if err != nil {
			t.Fatal(err)
		}
		keys, err := ParseKeySet(set)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(tok, keys, alg); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

// FuzzParseLikeGoJose: what we accept as signed, go-jose accepts too. The other way round it needn't.
func FuzzParseLikeGoJose(f *testing.F) {
	k, err := ParseKey(secret.New(fixedKey(f)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sign(f, k, "JWT", object{"sub": "u1"}))
	f.Fuzz(func(t *testing.T, s string) {
		if verify(s, k.Public(), EdDSA) != nil {
			return
		}
		jws, err := peer.ParseSignedCompact(s, peerAlgs)
		if err != nil {
			t.Fatalf("we accept %q, go-jose says %v", s, err)
		}
		if _, err := jws.Verify(k.signer.Public()); err != nil {
			t.Fatalf("we verify %q, go-jose says %v", s, err)
		}
	})
}

// fixedKey is an Ed25519 key of zeros in PKCS #8, so that a fuzzing corpus stays valid.
func fixedKey(t testing.TB) []byte {
	t.Helper()
	head, err := decode("MC4CAQAwBQYDK2VwBCIEIA")
	if err != nil {
		t.Fatal(err)
	}
	return append(head, make([]byte, 32)...)
}
