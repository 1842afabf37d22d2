package oidc

import (
	"context"
	"slices"

	"github.com/wardhq/ward/internal/cap/identity/internal/grant"
)

func badRefresh() error {
	return refuse(invalidGrant, "the refresh token isn't valid, was used, or has expired")
}

// refresh rotates a refresh token (RFC 6749 §6, RFC 9700 §4.14.2). One that comes again within the retry window gets
// the same successor, unless that was used; later it is a theft, and ends the family.
func (p *Provider) refresh(ctx context.Context, c *call, bound binding) (*tokens, error) {
	if c.get("refresh_token") == "" {
		return nil, refuse(invalidRequest, "refresh_token is missing")
	}
	r, err := p.grants.Read(ctx, c.get("refresh_token"))
	if err != nil {
		return nil, err
	}
	if err := p.checkRefresh(ctx, c, r, bound); err != nil {
		return nil, err
	}
	session, err := p.Accounts.SessionByID(ctx, r.Session)
	if err != nil {
		return nil, err
	}
	if !alive(session, c.now) {
		return nil, refuse(invalidGrant, "the session has ended")
	}
	scope, err := narrowed(r.Scope, c.get("scope"))
	if err != nil {
		return nil, err
	}
	asked, err := resources(r.Resources, c.form["resource"])
	if err != nil {
		return nil, err
	}
	openid := slices.Contains(scope, "openid")
	aud, err := p.audience(c.client, asked, openid)
	if err != nil {
		return nil, err
	}
	at := p.issue(c, aud, scope, bound)
	at.of(&session.Person, &r.Authorization, scope)
	next, outcome, err := p.grants.Rotate(ctx, r, at.ID)
	switch {
	case err != nil:
		return nil, err
	case outcome == grant.Reuse:
		return nil, p.reused(ctx, r)
	case outcome != grant.Done && outcome != grant.Retry:
		return nil, badRefresh()
	}
	a := r.Authorization
	a.Scope, a.Nonce = scope, "" // OpenID Connect Core §12.2: the nonce of the first ID token is enough
	out, err := p.grantTokens(ctx, c, &a, &session.Person, at)
	if err != nil {
		return nil, err
	}
	out.Refresh = next
	return out, nil
}

func (p *Provider) checkRefresh(ctx context.Context, c *call, r *grant.Refresh, bound binding) error {
	if r == nil {
		return badRefresh()
	}
	detail := map[string]string{"client": r.Client, "person": r.Person, "session": r.Session}
	switch {
	case r.Client != c.client.Name:
		detail["client"], detail["of"], detail["what"] = c.client.Name, r.Client, "refresh token"
		p.Flag(ctx, FlagClient, detail)
		return badRefresh()
	case r.Ended || !c.now.Before(r.Expires):
		return badRefresh()
	case r.JKT != "" && c.client.Public && r.JKT != bound.JKT:
		p.Flag(ctx, FlagDPoP, detail)
		return refuse(invalidGrant, "the refresh token is bound to another key")
	case !r.UsedAt.IsZero() && c.now.Sub(r.UsedAt) > grant.RetryWindow:
		return p.reused(ctx, r)
	}
	return nil
}

// reused ends the family of a refresh token that came again too late.
func (p *Provider) reused(ctx context.Context, r *grant.Refresh) error {
	p.Flag(ctx, FlagRefresh, map[string]string{"client": r.Client, "person": r.Person, "session": r.Session})
	if err := p.grants.End(ctx, r.Grant); err != nil {
		return err
	}
	return badRefresh()
}
