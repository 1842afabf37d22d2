package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/wire"
)

// BenchmarkIdentify is whose a request is: by a token that is verified, by one that is known, by a cookie that is known.
func BenchmarkIdentify(b *testing.B) {
	key, err := jose.GenerateKey(jose.ES256)
	if err != nil {
		b.Fatal(err)
	}
	keys, err := jose.NewKeySet(key.Public())
	if err != nil {
		b.Fatal(err)
	}
	published, err := keys.MarshalJSON()
	if err != nil {
		b.Fatal(err)
	}
	p := newPeople(nil, clock.System{})
	if err := p.set(&wire.UserState{Issuer: "https://id.localhost:8443", TokenKeys: published, TxnKeys: json.RawMessage(`{"keys":[]}`)}, nil); err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	token, err := key.Sign("at+jwt", map[string]any{
		"iss": "https://id.localhost:8443", "aud": origin, "sub": "u1", "jti": "j1", "sid": "s1", "client_id": "app", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"scope": "openid email", "email": "ada@example.org", "name": "Ada", "groups": []string{"staff"}, "acr": "urn:ward:acr:2",
	})
	if err != nil {
		b.Fatal(err)
	}
	r := &proxy.Request{}
	b.Run("token verified", func(b *testing.B) {
		for b.Loop() {
			clear(p.tokens)
			if id := p.byToken(r, origin, false, token); id.person == nil {
				b.Fatal(id)
			}
		}
	})
	b.Run("token known", func(b *testing.B) {
		for b.Loop() {
			if id := p.byToken(r, origin, false, token); id.person == nil {
				b.Fatal(id)
			}
		}
	})
	p.keep(sha256.Sum256([]byte(origin+" secret")), origin, wire.Session{ID: "s1", Person: wire.Person{ID: "u1"}, Expires: now.Add(time.Hour).Unix()})
	b.Run("session known", func(b *testing.B) {
		for b.Loop() {
			if s, err := p.session(context.Background(), origin, "secret"); err != nil || s == nil {
				b.Fatal(s, err)
			}
		}
	})
}
