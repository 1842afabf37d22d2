package shop

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// verifier is what the toy of a database keeps of its password (RFC 5802 §3).
type verifier struct{ salt, stored, server []byte }

const iterations = 4096 // RFC 7677 §4

func newVerifier(password string) (*verifier, error) {
	salt := []byte(rand.Text())
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("salt password: %w", err)
	}
	stored := sha256.Sum256(hmacOf(salted, "Client Key"))
	return &verifier{salt: salt, stored: stored[:], server: hmacOf(salted, "Server Key")}, nil
}

func hmacOf(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

var errProof = errors.New("password authentication failed")

// check is the server's side of a login (RFC 5802 §5): ask sends the server's first message and returns the client's last one. The
// result is the server's last.
func (v *verifier) check(first string, ask func(string) (string, error)) (string, error) {
	parts := strings.SplitN(first, ",", 3) // the header is two parts: no channel binding, no other identity
	if len(parts) != 3 || parts[0] == "" || parts[0][0] == 'p' {
		return "", errProof
	}
	_, nonce, ok := strings.Cut(parts[2], ",r=")
	if !ok {
		return "", errProof
	}
	nonce += rand.Text()
	challenge := fmt.Sprintf("r=%s,s=%s,i=%d", nonce, base64.StdEncoding.EncodeToString(v.salt), iterations)
	last, err := ask(challenge)
	if err != nil {
		return "", err
	}
	bare, proof64, ok := strings.Cut(last, ",p=")
	proof, err := base64.StdEncoding.DecodeString(proof64)
	header := base64.StdEncoding.EncodeToString([]byte(parts[0] + "," + parts[1] + ","))
	if !ok || err != nil || len(proof) != sha256.Size || bare != "c="+header+",r="+nonce {
		return "", errProof
	}
	text := parts[2] + "," + challenge + "," + bare
	key := make([]byte, sha256.Size)
	subtle.XORBytes(key, proof, hmacOf(v.stored, text))
	if sum := sha256.Sum256(key); !hmac.Equal(sum[:], v.stored) {
		return "", errProof
	}
	return "v=" + base64.StdEncoding.EncodeToString(hmacOf(v.server, text)), nil
}
