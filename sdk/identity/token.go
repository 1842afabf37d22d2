package identity

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Limits of what is read, in bytes.
const (
	maxToken = 16 << 10
	maxKeys  = 64 << 10
)

// leeway is how far clocks may differ.
const leeway = 10 * time.Second

// Errors of Verify.
var (
	ErrToken = errors.New("not a transaction token of this trust domain")
	ErrOver  = errors.New("the transaction token is over")
)

type header struct {
	Alg  string          `json:"alg"`
	Typ  string          `json:"typ"`
	Kid  string          `json:"kid"`
	Crit json.RawMessage `json:"crit"`
}

type claims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	Txn      string `json:"txn"`
	Subject  string `json:"sub"`
	Session  string `json:"sid"`
	Person   struct {
		Email    string   `json:"email"`
		Name     string   `json:"name"`
		Groups   []string `json:"groups"`
		Roles    []string `json:"roles"`
		FactorAt int64    `json:"mfa_time"`
	} `json:"tctx"`
	Request struct {
		IP string `json:"req_ip"`
	} `json:"rctx"`
}

// Verify reads a token. The user is nil for a request of nobody.
func (v *Verifier) Verify(ctx context.Context, token string) (*User, error) {
	head, rest, ok := strings.Cut(token, ".")
	body, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || len(token) > maxToken || strings.Contains(signature, ".") {
		return nil, ErrToken
	}
	var h header
	if err := decode(head, &h); err != nil || h.Alg != "EdDSA" || !strings.EqualFold(h.Typ, "txntoken+jwt") || h.Kid == "" || h.Crit != nil {
		return nil, ErrToken
	}
	key, err := v.keys.find(ctx, h.Kid)
	if err != nil {
		return nil, err
	}
	sig, err := base64.RawURLEncoding.Strict().DecodeString(signature)
	if err != nil || !ed25519.Verify(key, []byte(head+"."+body), sig) {
		return nil, ErrToken
	}
	var c claims
	if err := decode(body, &c); err != nil || c.Audience != v.config.TrustDomain || c.Issuer != "spiffe://"+v.config.TrustDomain+"/ward/gateway" || c.Txn == "" {
		return nil, ErrToken
	}
	now := v.config.Now()
	if c.Expires == 0 || now.After(time.Unix(c.Expires, 0).Add(leeway)) || now.Add(leeway).Before(time.Unix(c.IssuedAt, 0)) {
		return nil, ErrOver
	}
	if c.Subject == "" {
		return nil, nil
	}
	u := &User{
		ID: c.Subject, Email: c.Person.Email, Name: c.Person.Name, Groups: c.Person.Groups, Roles: c.Person.Roles,
		Session: c.Session, Txn: c.Txn, IP: c.Request.IP,
	}
	if c.Person.FactorAt > 0 {
		u.FactorAt = time.Unix(c.Person.FactorAt, 0)
	}
	return u, nil
}

func decode(part string, into any) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return ErrToken
	}
	return nil
}

// keys fetches the gateway's keys, at most once a second.
type keys struct {
	url    string
	client *http.Client

	mu      sync.Mutex
	known   map[string]ed25519.PublicKey // guarded by mu
	fetched time.Time                    // guarded by mu
}

func (k *keys) find(ctx context.Context, kid string) (ed25519.PublicKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key := k.known[kid]; key != nil {
		return key, nil
	}
	if time.Since(k.fetched) < time.Second {
		return nil, ErrToken
	}
	known, err := k.fetch(ctx)
	if err != nil {
		return nil, fmt.Errorf("fetch keys of transaction tokens: %w", err)
	}
	k.known, k.fetched = known, time.Now()
	if key := known[kid]; key != nil {
		return key, nil
	}
	return nil, ErrToken
}

func (k *keys) fetch(ctx context.Context) (map[string]ed25519.PublicKey, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := k.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	var set struct {
		Keys []struct{ Kty, Crv, Kid, X string } `json:"keys"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxKeys)).Decode(&set); err != nil {
		return nil, err
	}
	known := map[string]ed25519.PublicKey{}
	for _, j := range set.Keys {
		x, err := base64.RawURLEncoding.Strict().DecodeString(j.X)
		if j.Kty == "OKP" && j.Crv == "Ed25519" && err == nil && len(x) == ed25519.PublicKeySize && j.Kid != "" {
			known[j.Kid] = x
		}
	}
	return known, nil
}
