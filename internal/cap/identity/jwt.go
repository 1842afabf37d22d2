package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/pki"
	"github.com/wardhq/ward/internal/wire"
)

// Lives around JWT-SVIDs.
const (
	jwtLife    = 5 * time.Minute
	jwtKeyLife = 24 * time.Hour
	// jwtKeyNotice is how long a new key is in the bundle before it signs.
	jwtKeyNotice = time.Hour
	// maxJWTKeys bounds the bundle, whatever the clock does.
	maxJWTKeys = 4
)

// jwtKey signs JWT-SVIDs (SPIFFE JWT-SVID §2: ES256 here).
type jwtKey struct {
	key  *ecdsa.PrivateKey
	id   string
	from time.Time // when it begins to sign
}

func newJWTKey(from time.Time) (*jwtKey, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return jwtKeyOf(k, from), nil
}

func jwtKeyOf(k *ecdsa.PrivateKey, from time.Time) *jwtKey {
	point, _ := k.PublicKey.Bytes() // a P-256 key always encodes
	sum := sha256.Sum256(point)
	return &jwtKey{key: k, id: b64(sum[:12]), from: from}
}

// rotateJWT publishes a new key before the newest one has signed for jwtKeyLife, and takes old ones
// away when nothing that they signed is valid; a.mu is held. What can't be saved is tried again
// later: the keys at hand go on serving.
func (a *Authority) rotateJWT(now time.Time) {
	keys := a.jwt
	if now.After(keys[0].from.Add(jwtKeyLife-jwtKeyNotice)) || keys[0].from.After(now.Add(jwtKeyLife)) {
		k, err := newJWTKey(now.Add(jwtKeyNotice))
		if err != nil {
			slog.Error("rotate JWT key", "error", err)
			return
		}
		keys = append([]*jwtKey{k}, keys...)
	}
	for n := len(keys); n > 1 && (n > maxJWTKeys || now.After(keys[n-2].from.Add(jwtLife+pki.Leeway))); n-- {
		keys = keys[:n-1]
	}
	if len(keys) == len(a.jwt) && keys[0] == a.jwt[0] {
		return
	}
	old := a.jwt
	a.jwt = keys
	a.sequence++
	if err := a.save(); err != nil {
		slog.Error("rotate JWT key", "error", err)
		a.jwt = old
		a.sequence--
	}
}

// signingJWTKey is the newest key whose time has come; a.mu is held.
func (a *Authority) signingJWTKey(now time.Time) *jwtKey {
	for _, k := range a.jwt {
		if !now.Before(k.from) {
			return k
		}
	}
	return a.jwt[len(a.jwt)-1] // the clock was set back
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
	if _, err := a.ownID(r.ID); err != nil {
		return wire.JWTReply{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.config.Clock.Now()
	a.rotateJWT(now)
	k := a.signingJWTKey(now)
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
