package keys

import (
	"crypto/fips140"
	"crypto/x509"
	"slices"
	"testing"

	"github.com/wardhq/ward/internal/wardtest/wycheproof"
)

func TestWycheproofSignatures(t *testing.T) {
	for _, file := range []string{"ecdsa_secp256r1_sha256_p1363_test.json", "ed25519_test.json", "rsa_signature_2048_sha256_test.json", "rsa_signature_3072_sha256_test.json", "rsa_signature_4096_sha256_test.json"} {
		t.Run(file, func(t *testing.T) {
			type group struct {
				PublicKeyDER wycheproof.Hex `json:"publicKeyDer"`
				Tests        []struct {
					ID      int            `json:"tcId"`
					Message wycheproof.Hex `json:"msg"`
					Sig     wycheproof.Hex
					Result  string
					Flags   []string
				}
			}
			valid := 0
			for _, g := range wycheproof.Groups[group](t, file) {
				public, err := x509.ParsePKIXPublicKey(g.PublicKeyDER)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range g.Tests {
					if fips140.Enforced() && slices.Contains(v.Flags, "SmallPublicKey") {
						continue // an exponent of 3, which that mode doesn't know; ours is 65537
					}
					got := verify(public, v.Message, v.Sig)
					if got != (v.Result == "valid") && v.Result != "acceptable" {
						t.Errorf("%d: %v instead of %s", v.ID, got, v.Result)
					}
					if v.Result == "acceptable" && got { // BER and missing parameters, which a strict reader refuses
						t.Errorf("%d: taken, though only acceptable", v.ID)
					}
					if got {
						valid++
					}
				}
			}
			if valid < 5 {
				t.Errorf("only %d signatures hold", valid)
			}
		})
	}
}
