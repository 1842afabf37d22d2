package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// Keys finds the public key for a token: of that kid ("" when the token names none), for that alg.
type Keys interface {
	Find(kid string, alg Alg) (JWK, bool)
}

// Token is a JWT that was read. It is not for concurrent use before Verify has returned.
type Token struct {
	Alg   Alg
	KeyID string // kid; may be empty
	Type  string // typ; may be empty

	jwk      json.RawMessage // for DPoP alone
	claims   members
	signed   string
	sig      []byte
	verified bool
}

// Parse reads a compact JWT (RFC 7519 §7.2 with RFC 7515 §5.2) of at most 16 KiB, and doesn't verify
// it. Algorithms other than ours, and critical extensions, are refused.
func Parse(s string) (*Token, error) {
	t, err := parse(s)
	if err != nil {
		return nil, fmt.Errorf("read JWT: %w", err)
	}
	return t, nil
}

func parse(s string) (*Token, error) {
	if len(s) > MaxToken {
		return nil, fmt.Errorf("more than %d bytes", MaxToken)
	}
	dot := strings.LastIndexByte(s, '.')
	if dot < 0 || strings.Count(s, ".") != 2 {
		return nil, errors.New("not three parts")
	}
	t := &Token{signed: s[:dot]}
	head, body, _ := strings.Cut(t.signed, ".")
	h, err := part(head)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := t.readHeader(h); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if t.claims, err = part(body); err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	if t.sig, err = decode(s[dot+1:]); err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	return t, nil
}

func part(s string) (members, error) {
	b, err := decode(s)
	if err != nil {
		return nil, err
	}
	return parseObject(b)
}

func (t *Token) readHeader(h members) error {
	if _, ok := h["crit"]; ok {
		return errors.New("it has critical extensions, and we know none")
	}
	alg, err := h.text("alg", maxName)
	if err != nil {
		return err
	}
	switch t.Alg = Alg(alg); t.Alg {
	case ES256, RS256, PS256, EdDSA:
	default:
		return fmt.Errorf("alg %.32q is not supported", alg)
	}
	if t.KeyID, err = h.text("kid", maxName); err != nil {
		return err
	}
	if t.Type, err = h.text("typ", maxName); err != nil {
		return err
	}
	t.jwk = h["jwk"]
	return nil
}

// Verify checks the signature. The token's algorithm must be among allowed and be the key's own.
func (t *Token) Verify(keys Keys, allowed ...Alg) error {
	if !slices.Contains(allowed, t.Alg) {
		return fmt.Errorf("verify JWT: alg %s is not allowed here", t.Alg)
	}
	k, ok := keys.Find(t.KeyID, t.Alg)
	if !ok {
		return fmt.Errorf("verify JWT: no key %.64q for %s", t.KeyID, t.Alg)
	}
	// The finder's word isn't taken for the type of its key.
	if !k.verifies(t.Alg) {
		return fmt.Errorf("verify JWT: the key is not for %s", t.Alg)
	}
	if !k.check(t.Alg, t.signed, t.sig) {
		return errors.New("verify JWT: the signature is wrong")
	}
	t.verified = true
	return nil
}

func (k JWK) check(alg Alg, signed string, sig []byte) bool {
	sum := sha256.Sum256([]byte(signed))
	switch p := k.public.(type) {
	case *ecdsa.PublicKey:
		return len(sig) == 64 && ecdsa.Verify(p, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	case ed25519.PublicKey:
		return ed25519.Verify(p, []byte(signed), sig)
	case *rsa.PublicKey:
		if alg == PS256 {
			return rsa.VerifyPSS(p, crypto.SHA256, sum[:], sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return alg == RS256 && rsa.VerifyPKCS1v15(p, crypto.SHA256, sum[:], sig) == nil
	}
	return false
}

// Claims are the registered claims of a verified token; before Verify has succeeded it is an error.
func (t *Token) Claims() (Claims, error) {
	if !t.verified {
		return Claims{}, errors.New("read claims: the token is not verified")
	}
	return claimsOf(t.claims)
}

// Peek is the token's issuer and subject BEFORE verification, to choose the keys by. Either may be
// empty. Believe neither.
func (t *Token) Peek() (issuer, subject string) {
	issuer, _ = t.claims.text("iss", MaxToken)
	subject, _ = t.claims.text("sub", MaxToken)
	return issuer, subject
}
