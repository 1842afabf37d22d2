package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/wire"
)

// jwtKey signs JWT-SVIDs (SPIFFE JWT-SVID §2: ES256 here).
type jwtKey struct {
	key  *ecdsa.PrivateKey
	id   string
	made time.Time
}

func newJWTKey(k *ecdsa.PrivateKey, made time.Time) *jwtKey {
	point, _ := k.PublicKey.Bytes() // a P-256 key always encodes
	sum := sha256.Sum256(point)
	return &jwtKey{key: k, id: b64(sum[:12]), made: made}
}

func (a *Authority) addJWTKey(now time.Time) error {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	a.jwt = append([]*jwtKey{newJWTKey(k, now)}, a.jwt...)
	return nil
}

// rotateJWT makes a new signing key each jwtKeyLife, and keeps the old one in the bundle
// until nothing that it signed is valid; a.mu is held.
func (a *Authority) rotateJWT(now time.Time) error {
	if now.Sub(a.jwt[0].made) < jwtKeyLife {
		return nil
	}
	if err := a.addJWTKey(now); err != nil {
		return fmt.Errorf("rotate JWT key: %w", err)
	}
	// Two keys: the new one, and the one that signed until now.
	a.jwt = a.jwt[:2]
	a.sequence++
	if err := a.save(); err != nil {
		return fmt.Errorf("rotate JWT key: %w", err)
	}
	return nil
}

func (a *Authority) jwks() (json.RawMessage, error) {
	type jwk struct {
		Kty string `json:"kty"`
		Crv string `json:"crv"`
		X   string `json:"x"`
		Y   string `json:"y"`
		Kid string `json:"kid"`
		Use string `json:"use"`
		Alg string `json:"alg"`
	}
	var keys []jwk
	for _, k := range a.jwt {
		p, err := k.key.PublicKey.Bytes() // 0x04, X, Y (SEC 1 §2.3.3)
		if err != nil {
			return nil, fmt.Errorf("encode JWT key: %w", err)
		}
		keys = append(keys, jwk{Kty: "EC", Crv: "P-256", X: b64(p[1:33]), Y: b64(p[33:65]), Kid: k.id, Use: "jwt-svid", Alg: "ES256"})
	}
	return json.Marshal(map[string]any{"keys": keys, "spiffe_sequence": a.sequence, "spiffe_refresh_hint": 60})
}

// SignJWT issues a JWT-SVID for an audience (SPIFFE JWT-SVID §3).
func (a *Authority) SignJWT(r wire.JWTRequest) (wire.JWTReply, error) {
	if len(r.Audience) == 0 || len(r.Audience) > 16 {
		return wire.JWTReply{}, fault.New(fault.Invalid, "a JWT-SVID needs 1 to 16 audiences")
	}
	for _, aud := range r.Audience {
		if aud == "" || len(aud) > 256 {
			return wire.JWTReply{}, fault.New(fault.Invalid, "an audience has 1 to 256 bytes")
		}
	}
	if !strings.HasPrefix(r.ID, "spiffe://"+a.config.TrustDomain+"/") {
		return wire.JWTReply{}, fault.New(fault.Invalid, "not a SPIFFE ID of this trust domain")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.config.Clock.Now()
	if err := a.rotateJWT(now); err != nil {
		return wire.JWTReply{}, err
	}
	k := a.jwt[0]
	header, err := json.Marshal(map[string]string{"alg": "ES256", "kid": k.id, "typ": "JWT"})
	if err != nil {
		return wire.JWTReply{}, fmt.Errorf("sign JWT: %w", err)
	}
	claims, err := json.Marshal(map[string]any{"sub": r.ID, "aud": r.Audience, "exp": now.Add(min(jwtLife, a.config.SVIDLife)).Unix(), "iat": now.Unix()})
	if err != nil {
		return wire.JWTReply{}, fmt.Errorf("sign JWT: %w", err)
	}
	signed := b64(header) + "." + b64(claims)
	sum := sha256.Sum256([]byte(signed))
	x, y, err := ecdsa.Sign(rand.Reader, k.key, sum[:])
	if err != nil {
		return wire.JWTReply{}, fmt.Errorf("sign JWT: %w", err)
	}
	sig := make([]byte, 64) // R || S (RFC 7518 §3.4)
	x.FillBytes(sig[:32])
	y.FillBytes(sig[32:])
	return wire.JWTReply{Token: signed + "." + b64(sig)}, nil
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func pemCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
