package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/sdk/seal/envelope"
)

const (
	rsaBits    = 3072
	coordinate = 32 // bytes of a P-256 coordinate or scalar
)

// Signed is a signature and what verifies it.
type Signed struct {
	Signature []byte // as in a JWS: for ES256 r ‖ s (RFC 7518 §3.4)
	KeyID     string
	Algorithm Purpose
}

// Sign signs a message.
func (r *Ring) Sign(ctx context.Context, c Caller, name string, message []byte) (Signed, error) {
	var out Signed
	err := r.use(ctx, c, name, OpSign, func(_ context.Context, k *key, t *tally) error {
		m, err := t.version.material()
		if err != nil {
			return err
		}
		out = Signed{KeyID: t.version.id.String(), Algorithm: k.purpose}
		out.Signature, err = m.signer.sign(message)
		t.done++
		return err
	})
	if err != nil {
		return Signed{}, err
	}
	return out, nil
}

// Verify says whether a signature is of the message by the version with that ID.
func (r *Ring) Verify(ctx context.Context, c Caller, name string, message []byte, s Signed) (bool, error) {
	id, err := envelope.ParseKeyID(s.KeyID)
	if err != nil {
		return false, fault.Wrap(fault.Invalid, "the key_id isn't one that came with a signature", err)
	}
	valid := false
	err = r.use(ctx, c, name, OpVerify, func(_ context.Context, k *key, t *tally) error {
		valid = false
		t.done++
		v, err := k.version(id)
		if err != nil {
			return nil // a version that isn't, or no more
		}
		public, err := x509.ParsePKIXPublicKey(v.public)
		if err != nil {
			return fmt.Errorf("read public key: %w", err)
		}
		valid = verify(public, message, s.Signature)
		return nil
	})
	return valid && err == nil, err
}

// Public is the key set that verifies what the key signs, now and next (RFC 7517), read anew. It isn't counted.
func (r *Ring) Public(ctx context.Context, name string) (json.RawMessage, error) {
	if _, err := r.ready(ctx, name, OpSign); err != nil {
		return nil, err
	}
	k, err := r.fetch(ctx, name) // a replica may have published the next one
	if err != nil {
		return nil, err
	}
	set := struct {
		Keys []map[string]string `json:"keys"`
	}{[]map[string]string{}}
	for _, v := range slices.Backward(k.versions) {
		if k.retired(v) != nil {
			continue
		}
		jwk, err := publicJWK(v.public)
		if err != nil {
			return nil, err
		}
		jwk["use"], jwk["alg"], jwk["kid"] = "sig", string(k.purpose), v.id.String()
		set.Keys = append(set.Keys, jwk)
	}
	return json.Marshal(set)
}

// signer is a private signing key.
type signer struct{ crypto.Signer }

// Format hides the private key from every verb.
func (signer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

func generateSigner(p Purpose) ([]byte, error) {
	var private any
	var err error
	switch p {
	case ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case RS256:
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	default:
		err = fmt.Errorf("%s doesn't sign", p)
	}
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(private)
}

// readSigner reads a private key of the purpose's kind; its errors show none of it.
func readSigner(p Purpose, pkcs8 []byte) (signer, error) {
	private, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return signer{}, errors.New("it isn't a private key in PKCS #8")
	}
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		if p == ES256 && k.Curve == elliptic.P256() {
			return signer{k}, nil
		}
	case ed25519.PrivateKey:
		if p == EdDSA {
			return signer{k}, nil
		}
	case *rsa.PrivateKey:
		if p == RS256 && k.N.BitLen() >= 2048 && k.N.BitLen() <= 4096 {
			return signer{k}, nil
		}
	}
	return signer{}, errors.New("it is a private key for something else")
}

func (s signer) public() ([]byte, error) { return x509.MarshalPKIXPublicKey(s.Public()) }

func (s signer) sign(message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	switch k := s.Signer.(type) {
	case *ecdsa.PrivateKey:
		r, t, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		out := make([]byte, 2*coordinate)
		r.FillBytes(out[:coordinate])
		t.FillBytes(out[coordinate:])
		return out, nil
	case ed25519.PrivateKey:
		return ed25519.Sign(k, message), nil
	case *rsa.PrivateKey:
		return rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:])
	}
	return nil, errors.New("sign: there is no private key")
}

func verify(public any, message, signature []byte) bool {
	sum := sha256.Sum256(message)
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if len(signature) != 2*coordinate {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:coordinate]), new(big.Int).SetBytes(signature[coordinate:])
		return ecdsa.Verify(k, sum[:], r, s)
	case ed25519.PublicKey:
		return ed25519.Verify(k, message, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], signature) == nil
	}
	return false
}

// publicJWK is a PKIX public key as a JWK (RFC 7518 §6, RFC 8037 §2).
func publicJWK(pkix []byte) (map[string]string, error) {
	public, err := x509.ParsePKIXPublicKey(pkix)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			return nil, fmt.Errorf("read public key: %w", err)
		}
		return map[string]string{"kty": "EC", "crv": "P-256", "x": b64(point[1 : 1+coordinate]), "y": b64(point[1+coordinate:])}, nil
	case ed25519.PublicKey:
		return map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(k)}, nil
	case *rsa.PublicKey:
		return map[string]string{"kty": "RSA", "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}, nil
	}
	return nil, errors.New("read public key: it is none of ours")
}
