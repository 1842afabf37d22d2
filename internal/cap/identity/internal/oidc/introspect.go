package oidc

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/cap/identity/internal/client"
)

// introspection is RFC 7662 §2.2.
type introspection struct {
	Active bool `json:"active"`
	*access
	Type string `json:"token_type,omitempty"`
}

// introspect says what a token is, to a client that authenticated and that the token was issued to or is for. To
// everybody else there is no such token.
func (p *Provider) introspect(ctx context.Context, c *call) (any, error) {
	if c.client.Method() == client.None {
		return nil, badClient(c.r)
	}
	token := c.get("token")
	if token == "" {
		return nil, refuse(invalidRequest, "token is missing")
	}
	a, err := p.readAccess(ctx, token)
	if err == nil {
		if a.Client != c.client.Name && !slices.ContainsFunc(a.Audience, c.client.Is) {
			return introspection{}, nil
		}
		kind := "Bearer"
		if a.Bound != nil {
			kind = a.Bound.scheme()
		}
		return introspection{Active: true, access: a, Type: kind}, nil
	}
	if !errors.Is(err, errNotOurs) {
		return nil, err
	}
	r, err := p.grants.Read(ctx, token)
	if err != nil {
		return nil, err
	}
	if r == nil || r.Client != c.client.Name || r.Ended || !r.UsedAt.IsZero() || !c.now.Before(r.Expires) {
		return introspection{}, nil
	}
	session, err := p.Accounts.SessionByID(ctx, r.Session)
	if err != nil {
		return nil, err
	}
	if !alive(session, c.now) {
		return introspection{}, nil
	}
	return map[string]any{
		"active": true, "iss": p.Issuer, "sub": r.Person, "client_id": r.Client, "scope": join(r.Scope),
		"exp": r.Expires.Unix(), "sid": r.Session,
	}, nil
}

// revoke ends a token (RFC 7009): a refresh token with all that came from it, an access token alone.
func (p *Provider) revoke(ctx context.Context, c *call) (any, error) {
	token := c.get("token")
	if token == "" {
		return nil, refuse(invalidRequest, "token is missing")
	}
	other := refuse(invalidRequest, "this client may not revoke that token")
	r, err := p.grants.Read(ctx, token)
	if err != nil {
		return nil, err
	}
	if r != nil {
		if r.Client != c.client.Name {
			return nil, other
		}
		if err := p.grants.End(ctx, r.Grant); err != nil {
			return nil, err
		}
		p.record("token.revoked", r.Client, r.Person, map[string]string{"session": r.Session, "type": "refresh_token"})
		return struct{}{}, nil
	}
	a, err := p.readAccess(ctx, token)
	if errors.Is(err, errNotOurs) {
		return struct{}{}, nil // it is as good as revoked (RFC 7009 §2.2)
	}
	if err != nil {
		return nil, err
	}
	if a.Client != c.client.Name {
		return nil, other
	}
	if err := p.grants.EndToken(ctx, a.ID, time.Unix(a.Expires, 0)); err != nil {
		return nil, err
	}
	p.record("token.revoked", a.Client, a.Subject, map[string]string{"jti": a.ID, "type": "access_token"})
	return struct{}{}, nil
}
