// Package txn makes and checks transaction tokens (draft-ietf-oauth-transaction-tokens): the user of one request,
// carried inside of the trust domain from the gateway to every service that works for that request.
//
// Guarantee: a token says one user, one transaction, one audience and an end; it is signed by a key
// that control has published for this gateway; what is read from it has been verified. Not guaranteed: that the
// transaction still lives; the agent knows that (package mesh).
package txn

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/plan/policy"
)

// Type is the token's typ, and Header the field that carries it.
const (
	Type   = "txntoken+jwt"
	Header = "Txn-Token"
)

// Life is how long a token is valid; a request that takes longer can make no further calls for its user.
const Life = 5 * time.Minute

// leeway is how far the clocks of two hosts may differ.
const leeway = 10 * time.Second

// Context is what a token says.
type Context struct {
	policy.Context
	ID      string    // txn: this transaction, unique
	Session string    // sid: ends with the session; "" for none
	Name    string    // of the person, for services
	Expires time.Time // exp
	Token   string    // as it was signed
}

// claims are the token's own.
type claims struct {
	Issuer   string   `json:"iss"`
	Audience string   `json:"aud"`
	IssuedAt int64    `json:"iat"`
	Expires  int64    `json:"exp"`
	ID       string   `json:"txn"`
	Subject  string   `json:"sub,omitempty"`
	Scope    string   `json:"scope"`
	Session  string   `json:"sid,omitempty"`
	Person   person   `json:"tctx"`
	Request  reqwhere `json:"rctx"`
}

type person struct {
	Email    string   `json:"email,omitempty"`
	Name     string   `json:"name,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	Roles    []string `json:"roles,omitempty"`
	FactorAt int64    `json:"mfa_time,omitempty"`
}

type reqwhere struct {
	IP string `json:"req_ip,omitempty"`
}

// Minter makes tokens. It is safe for concurrent use.
type Minter struct {
	Key         *jose.Key
	Issuer      string // the gateway's SPIFFE ID
	TrustDomain string
	Clock       clock.Clock
}

// Mint makes the token of one request, whose purpose scope says: "GET /orders/{id}". c.ID, c.Expires and c.Token are set.
func (m *Minter) Mint(c *Context, scope string) error {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return fmt.Errorf("mint transaction token: %w", err)
	}
	now := m.Clock.Now()
	c.ID, c.Expires = base64.RawURLEncoding.EncodeToString(id[:]), now.Add(Life).Truncate(time.Second)
	out := claims{
		Issuer: m.Issuer, Audience: m.TrustDomain, IssuedAt: now.Unix(), Expires: c.Expires.Unix(), ID: c.ID, Scope: scope,
		Session: c.Session, Request: reqwhere{IP: c.IP},
	}
	if p := c.Person; p != nil {
		out.Subject = p.ID
		out.Person = person{Email: p.Email, Name: c.Name, Groups: p.Groups, Roles: p.Roles, FactorAt: p.FactorAt}
	}
	var err error
	if c.Token, err = m.Key.Sign(Type, out); err != nil {
		return fmt.Errorf("mint transaction token: %w", err)
	}
	return nil
}

// Check verifies a token of the trust domain that issuer signed with one of keys.
func Check(token string, keys jose.Keys, issuer, trustDomain string, now time.Time) (*Context, error) {
	t, err := jose.Parse(token)
	if err != nil {
		return nil, fmt.Errorf("check transaction token: %w", err)
	}
	if err := t.Verify(keys, jose.EdDSA); err != nil {
		return nil, fmt.Errorf("check transaction token: %w", err)
	}
	std, err := jose.Expect{Issuer: issuer, Audience: []string{trustDomain}, Type: Type, Now: now, Leeway: leeway, MaxAge: Life}.Check(t)
	if err != nil {
		return nil, fmt.Errorf("check transaction token: %w", err)
	}
	c := &Context{Expires: std.Expires, Token: token, Context: policy.Context{}}
	var p person
	var where reqwhere
	for name, into := range map[string]any{"txn": &c.ID, "sid": &c.Session, "tctx": &p, "rctx": &where} {
		if _, err := std.Get(name, into); err != nil {
			return nil, fmt.Errorf("check transaction token: %s: %w", name, err)
		}
	}
	if c.ID == "" {
		return nil, errors.New("check transaction token: no txn")
	}
	c.IP, c.Name = where.IP, p.Name
	if std.Subject != "" {
		c.Person = &policy.Person{ID: std.Subject, Email: p.Email, Groups: p.Groups, Roles: p.Roles, FactorAt: p.FactorAt}
	}
	return c, nil
}
