package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/cap/identity/internal/client"
	"github.com/wardhq/ward/internal/cap/identity/internal/grant"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
)

// actor is who acts for the subject (RFC 8693 §4.1), the latest outermost.
type actor struct {
	Subject string `json:"sub"`
	Actor   *actor `json:"act,omitempty"`
}

func (a *actor) depth() int {
	n := 0
	for ; a != nil; a = a.Actor {
		n++
	}
	return n
}

// access are the claims of an access token (RFC 9068 §2.2). Times are seconds since 1970.
type access struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience []string `json:"aud"`
	Client   string   `json:"client_id"`
	IssuedAt int64    `json:"iat"`
	Expires  int64    `json:"exp"`
	ID       string   `json:"jti"`
	Scope    string   `json:"scope,omitempty"`
	Session  string   `json:"sid,omitempty"`
	AuthAt   int64    `json:"auth_time,omitempty"`
	FactorAt int64    `json:"mfa_time,omitempty"`
	ACR      string   `json:"acr,omitempty"`
	AMR      []string `json:"amr,omitempty"`
	Email    string   `json:"email,omitempty"`
	Name     string   `json:"name,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	Roles    []string `json:"roles,omitempty"`
	Bound    *binding `json:"cnf,omitempty"`
	Actor    *actor   `json:"act,omitempty"`
}

// issue begins the claims of an access token.
func (p *Provider) issue(c *call, audience, scope []string, bound binding) *access {
	a := &access{
		Issuer: p.Issuer, Subject: c.client.Name, Audience: audience, Client: c.client.Name, Scope: join(scope),
		IssuedAt: c.now.Unix(), Expires: c.now.Add(p.Lives.Access).Unix(), ID: grant.Random()[:22],
	}
	if bound != (binding{}) {
		a.Bound = &bound
	}
	return a
}

// of says which person the token is for.
func (a *access) of(person *signin.Person, from *grant.Authorization, scope []string) {
	a.Subject, a.Session, a.AuthAt, a.FactorAt = person.ID, from.Session, from.AuthAt, from.FactorAt
	a.ACR, a.AMR, a.Groups, a.Roles = from.ACR, from.AMR, person.Groups, person.Roles
	if slices.Contains(scope, "email") && person.Verified {
		a.Email = person.Email
	}
	if slices.Contains(scope, "profile") {
		a.Name = person.Name
	}
}

func (p *Provider) signAccess(ctx context.Context, a *access) (string, error) {
	return p.keys.Sign(ctx, jose.ES256, "at+jwt", a)
}

// identityAlg is what a client's ID and logout tokens are signed with.
func identityAlg(c *client.Client) jose.Alg {
	if c.RS256 {
		return jose.RS256
	}
	return jose.ES256
}

// idToken makes an ID token (OpenID Connect Core §2).
func (p *Provider) idToken(ctx context.Context, c *call, a *grant.Authorization, person *signin.Person, accessToken string) (string, error) {
	sum := sha256.Sum256([]byte(accessToken))
	claims := about(person, a.Scope)
	claims["iss"], claims["aud"], claims["sid"] = p.Issuer, c.client.Name, a.Session
	claims["iat"], claims["exp"], claims["auth_time"] = c.now.Unix(), c.now.Add(p.Lives.ID).Unix(), a.AuthAt
	claims["acr"], claims["at_hash"] = a.ACR, base64.RawURLEncoding.EncodeToString(sum[:16])
	if len(a.AMR) > 0 {
		claims["amr"] = a.AMR
	}
	if a.Nonce != "" {
		claims["nonce"] = a.Nonce
	}
	return p.keys.Sign(ctx, identityAlg(c.client), "JWT", claims)
}

// about are the claims on a person that scopes give (OpenID Connect Core §5.4).
func about(person *signin.Person, scope []string) map[string]any {
	claims := map[string]any{"sub": person.ID}
	for _, s := range scope {
		switch s {
		case "profile":
			claims["name"] = person.Name
			if person.Locale != "" {
				claims["locale"] = person.Locale
			}
			if !person.Updated.IsZero() {
				claims["updated_at"] = person.Updated.Unix()
			}
		case "email":
			claims["email"], claims["email_verified"] = person.Email, person.Verified
		case "groups":
			claims["groups"] = slices.Concat([]string{}, person.Groups)
		case "roles":
			claims["roles"] = slices.Concat([]string{}, person.Roles)
		}
	}
	return claims
}

var errNotOurs = errors.New("the token isn't a valid access token of ours")

// readAccess verifies an access token of ours, and that it hasn't ended. Who may use it is the caller's question.
// An error that isn't errNotOurs is a failure of ours.
func (p *Provider) readAccess(ctx context.Context, token string) (*access, error) {
	t, err := jose.Parse(token)
	if err != nil || t.Verify(p.keys.Public(), jose.ES256) != nil {
		return nil, errNotOurs
	}
	all, err := t.Claims()
	if err != nil {
		return nil, errNotOurs
	}
	std, err := jose.Expect{Issuer: p.Issuer, Audience: all.Audience, Type: "at+jwt", Now: p.Clock.Now()}.Check(t)
	if err != nil {
		return nil, errNotOurs
	}
	a := &access{
		Issuer: std.Issuer, Subject: std.Subject, Audience: std.Audience, ID: std.ID,
		IssuedAt: std.IssuedAt.Unix(), Expires: std.Expires.Unix(),
	}
	for name, into := range map[string]any{
		"client_id": &a.Client, "scope": &a.Scope, "sid": &a.Session, "auth_time": &a.AuthAt, "mfa_time": &a.FactorAt,
		"acr": &a.ACR, "amr": &a.AMR, "cnf": &a.Bound, "act": &a.Actor,
	} {
		if _, err := std.Get(name, into); err != nil {
			return nil, errNotOurs
		}
	}
	over, err := p.grants.HasEnded(ctx, a.ID, a.Session)
	if err != nil {
		return nil, err
	}
	if over {
		return nil, errNotOurs
	}
	if a.Session != "" {
		s, err := p.Accounts.SessionByID(ctx, a.Session)
		if err != nil {
			return nil, err
		}
		if !alive(s, p.Clock.Now()) {
			return nil, errNotOurs
		}
	}
	return a, nil
}

// alive tells whether a session still counts.
func alive(s *signin.Session, now time.Time) bool {
	return s != nil && !s.Person.Disabled && now.Before(s.Expires)
}
