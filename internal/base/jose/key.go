package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wardhq/ward/internal/base/secret"
)

// Key is a private signing key for ES256, RS256 or EdDSA. It prints its id only, and is safe for
// concurrent use.
type Key struct {
	signer crypto.Signer
	public JWK
}

// GenerateKey makes a key; one of RS256 has 2048 bits.
func GenerateKey(alg Alg) (*Key, error) {
	var s crypto.Signer
	var err error
	switch alg {
	case ES256:
		s, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EdDSA:
		_, s, err = ed25519.GenerateKey(rand.Reader)
	case RS256:
		s, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		err = fmt.Errorf("alg %.32q: %w", alg, ErrUnsupported)
	}
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	return keyOf(s)
}

// ParseKey reads a key in PKCS #8 (DER): P-256, Ed25519, or RSA of 2048 to 4096 bits. Its errors never
// hold any of it.
func ParseKey(pkcs8 secret.Bytes) (*Key, error) {
	if len(pkcs8.Reveal()) > MaxKey {
		return nil, fmt.Errorf("read signing key: more than %d bytes", MaxKey)
	}
	k, err := x509.ParsePKCS8PrivateKey(pkcs8.Reveal())
	if err != nil {
		return nil, errors.New("read signing key: it is not PKCS #8")
	}
	s, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("read signing key: %w", ErrUnsupported)
	}
	return keyOf(s)
}

func keyOf(s crypto.Signer) (*Key, error) {
	k := &Key{signer: s}
	switch p := s.Public().(type) {
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return nil, fmt.Errorf("use signing key of another curve: %w", ErrUnsupported)
		}
		k.public = JWK{Alg: ES256, public: p}
	case ed25519.PublicKey:
		k.public = JWK{Alg: EdDSA, public: p}
	case *rsa.PublicKey:
		if err := checkRSA(p); err != nil {
			return nil, fmt.Errorf("use signing key: %w", err)
		}
		k.public = JWK{Alg: RS256, public: p}
	default:
		return nil, fmt.Errorf("use signing key: %w", ErrUnsupported)
	}
	k.public.ID = k.public.Thumbprint()
	return k, nil
}

// PKCS8 is the private key in DER, to be sealed.
func (k *Key) PKCS8() (secret.Bytes, error) {
	b, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("write signing key: %w", err)
	}
	return secret.New(b), nil
}

// Public is the public key; its kid is the key's id.
func (k *Key) Public() JWK { return k.public }

// ID is the key's thumbprint (RFC 7638).
func (k *Key) ID() string { return k.public.ID }

// Alg is the algorithm that the key signs with.
func (k *Key) Alg() Alg { return k.public.Alg }

// Format hides the private key from every verb.
func (k *Key) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "key %s", k.ID()) }

type header struct {
	Alg Alg             `json:"alg"`
	Typ string          `json:"typ"`
	Kid string          `json:"kid,omitempty"`
	JWK json.RawMessage `json:"jwk,omitempty"`
}

// Sign makes a JWT of claims, which must become a JSON object. Its header is alg, typ and kid.
func (k *Key) Sign(typ string, claims any) (string, error) {
	return k.sign(header{Alg: k.Alg(), Typ: typ, Kid: k.ID()}, claims)
}

// SignWithKey is Sign with the public key in the header instead of its kid, as DPoP proofs are
// (RFC 9449 §4.2).
func (k *Key) SignWithKey(typ string, claims any) (string, error) {
	return k.sign(header{Alg: k.Alg(), Typ: typ, JWK: k.public.essential()}, claims)
}

func (k *Key) sign(h header, claims any) (string, error) {
	head, err := json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("sign JWT: %w", err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("sign JWT: %w", err)
	}
	if body[0] != '{' {
		return "", errors.New("sign JWT: the claims are not an object")
	}
	signed := encode(head) + "." + encode(body)
	sig, err := k.signature(signed)
	if err != nil {
		return "", fmt.Errorf("sign JWT: %w", err)
	}
	token := signed + "." + encode(sig)
	if len(token) > MaxToken {
		return "", fmt.Errorf("sign JWT: it has more than %d bytes", MaxToken)
	}
	return token, nil
}

func (k *Key) signature(signed string) ([]byte, error) {
	sum := sha256.Sum256([]byte(signed))
	switch s := k.signer.(type) {
	case *ecdsa.PrivateKey:
		x, y, err := ecdsa.Sign(rand.Reader, s, sum[:])
		if err != nil {
			return nil, err
		}
		sig := make([]byte, 64) // R, S (RFC 7518 §3.4)
		x.FillBytes(sig[:32])
		y.FillBytes(sig[32:])
		return sig, nil
	case ed25519.PrivateKey:
		return ed25519.Sign(s, []byte(signed)), nil
	case *rsa.PrivateKey:
		return rsa.SignPKCS1v15(rand.Reader, s, crypto.SHA256, sum[:])
	}
	return nil, ErrUnsupported
}
