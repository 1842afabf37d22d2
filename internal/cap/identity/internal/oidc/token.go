package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/identity/internal/client"
	"github.com/wardhq/ward/internal/cap/identity/internal/grant"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/store"
)

// tokens is the answer of the token endpoint (RFC 6749 §5.1).
type tokens struct {
	Access   string `json:"access_token"`
	Type     string `json:"token_type"`
	Expires  int64  `json:"expires_in,omitempty"` // seconds
	Refresh  string `json:"refresh_token,omitempty"`
	ID       string `json:"id_token,omitempty"`
	Scope    string `json:"scope,omitempty"`
	IssuedAs string `json:"issued_token_type,omitempty"`
}

// token is the token endpoint.
func (p *Provider) token(ctx context.Context, c *call) (any, error) {
	for _, g := range []struct {
		name, word string
		do         func(context.Context, *call, binding) (*tokens, error)
	}{
		{"authorization_code", "authorization_code", p.exchangeCode},
		{"refresh_token", "refresh_token", p.refresh},
		{"client_credentials", "client_credentials", p.clientCredentials},
		{grantDevice, "device_code", p.deviceCode},
		{grantExchange, "token_exchange", p.exchange},
	} {
		if g.name != c.get("grant_type") {
			continue
		}
		if !c.client.Allows(g.word) {
			return nil, refuse(unauthorizedClient, "this client may not use that grant")
		}
		bound, err := p.bind(ctx, c)
		if err != nil {
			return nil, err
		}
		return g.do(ctx, c, bound)
	}
	if c.get("grant_type") == "" {
		return nil, refuse(invalidRequest, "grant_type is missing")
	}
	return nil, refuse(unsupportedGrant, "there is no such grant")
}

// issued records a token.
func (p *Provider) issued(c *call, a *access) {
	p.record("token.issued", a.Client, a.Subject, map[string]string{"grant": c.get("grant_type"), "scope": a.Scope, "audience": join(a.Audience), "jti": a.ID})
}

// audience is whom a token is for: what was asked for, or the client's only audience. The provider itself is added for
// OpenID's userinfo, and stands alone if there is nothing else.
func (p *Provider) audience(c *client.Client, asked []string, openid bool) ([]string, error) {
	for _, a := range asked {
		if !slices.Contains(c.Audiences, a) {
			return nil, refuse(invalidTarget, "this client may not ask for that resource")
		}
	}
	out := slices.Clone(asked)
	if len(asked) == 0 {
		if len(c.Audiences) > 1 && !openid {
			return nil, refuse(invalidTarget, "say which resource: this client has several")
		}
		if len(c.Audiences) == 1 {
			out = slices.Clone(c.Audiences)
		}
	}
	if openid || len(out) == 0 {
		out = append(out, p.Issuer)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// aboutPeople are the scopes that make no sense without a person, and aren't given unasked.
func aboutPeople(scope string) bool {
	return slices.Contains([]string{"openid", "profile", "email", "groups", "roles", "offline_access"}, scope)
}

// scopeFor reads a scope, of which the client must have all; if there is none, it is all that isn't about people.
func scopeFor(c *client.Client, asked string) ([]string, error) {
	if asked == "" {
		return slices.DeleteFunc(slices.Clone(c.Scopes), aboutPeople), nil
	}
	var out []string
	for _, s := range fields(asked) {
		if !slices.Contains(c.Scopes, s) {
			return nil, refuse(invalidScope, "this client may not ask for that scope")
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out, nil
}

// narrowed is the part of a scope that is asked for, all if nothing is (RFC 6749 §6).
func narrowed(from []string, asked string) ([]string, error) {
	if asked == "" {
		return from, nil
	}
	var out []string
	for _, s := range fields(asked) {
		if !slices.Contains(from, s) {
			return nil, refuse(invalidScope, "that is more than was granted")
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out, nil
}

// resources narrows the resources of a grant (RFC 8707 §2.2).
func resources(from, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return from, nil
	}
	for _, a := range asked {
		if !slices.Contains(from, a) {
			return nil, refuse(invalidTarget, "that resource wasn't granted")
		}
	}
	return asked, nil
}

// clientCredentials gives a client a token of its own (RFC 6749 §4.4).
func (p *Provider) clientCredentials(ctx context.Context, c *call, bound binding) (*tokens, error) {
	scope, err := scopeFor(c.client, c.get("scope"))
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(scope, aboutPeople) {
		return nil, refuse(invalidScope, "that scope needs a person")
	}
	aud, err := p.audience(c.client, c.form["resource"], false)
	if err != nil {
		return nil, err
	}
	a := p.issue(c, aud, scope, bound)
	signed, err := p.signAccess(ctx, a)
	if err != nil {
		return nil, err
	}
	p.issued(c, a)
	return &tokens{Access: signed, Type: bound.scheme(), Expires: a.Expires - a.IssuedAt, Scope: a.Scope}, nil
}

// verifierForm is what a PKCE verifier looks like (RFC 7636 §4.1).
func verifierForm(s string) bool {
	return len(s) >= 43 && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool { return !isBase64URL(r) && r != '.' && r != '~' })
}

func sameText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// readCode reads a code that was issued to this client; one that was used before ends what came from it.
func (p *Provider) readCode(ctx context.Context, c *call) (*grant.Authorization, error) {
	bad := refuse(invalidGrant, "the code isn't valid, was used, or has expired")
	code, err := p.grants.Code(ctx, c.get("code"))
	if err != nil {
		return nil, err
	}
	switch {
	case code == nil:
		return nil, bad
	case code.Client != c.client.Name:
		p.Flag(ctx, FlagClient, map[string]string{"client": c.client.Name, "of": code.Client, "person": code.Person, "what": "code"})
		return nil, bad
	case code.Grant != "":
		p.Flag(ctx, FlagCode, map[string]string{"client": code.Client, "person": code.Person, "session": code.Session})
		if err := p.grants.End(ctx, code.Grant); err != nil {
			return nil, err
		}
		return nil, bad
	case !c.now.Before(code.Expires):
		return nil, bad
	}
	return &code.Authorization, nil
}

// checkCode holds what the client sends against what it asked for.
func (p *Provider) checkCode(ctx context.Context, c *call, a *grant.Authorization, bound binding) error {
	detail := map[string]string{"client": a.Client, "person": a.Person, "session": a.Session}
	flag, problem := "", error(nil)
	verifier := c.get("code_verifier")
	sum := sha256.Sum256([]byte(verifier))
	switch {
	case c.get("redirect_uri") != a.Redirect:
		problem = refuse(invalidGrant, "redirect_uri is another than in the authorization request")
	case a.Challenge == "" && verifier != "":
		flag, problem = FlagPKCE, refuse(invalidGrant, "the authorization request had no code_challenge")
	case a.Challenge != "" && !(verifierForm(verifier) && sameText(base64.RawURLEncoding.EncodeToString(sum[:]), a.Challenge)):
		flag, problem = FlagPKCE, refuse(invalidGrant, "code_verifier doesn't match")
	case a.JKT != "" && a.JKT != bound.JKT:
		flag, problem = FlagDPoP, refuse(invalidGrant, "the code is bound to another key")
	default:
		return nil
	}
	if flag != "" {
		p.Flag(ctx, flag, detail)
	}
	// It is in wrong hands, or its client is broken: in both cases it is over.
	if err := p.grants.BurnCode(ctx, c.get("code")); err != nil {
		return err
	}
	return problem
}

// exchangeCode exchanges an authorization code (RFC 6749 §4.1.3, RFC 7636 §4.6).
func (p *Provider) exchangeCode(ctx context.Context, c *call, bound binding) (*tokens, error) {
	if c.get("code") == "" {
		return nil, refuse(invalidRequest, "code is missing")
	}
	a, err := p.readCode(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := p.checkCode(ctx, c, a, bound); err != nil {
		return nil, err
	}
	out, err := p.begin(ctx, c, a, bound, func(ctx context.Context, tx *store.Tx, id string) (bool, error) {
		return grant.UseCode(ctx, tx, c.get("code"), id)
	})
	if errors.Is(err, errUsed) { // by another request at the same time
		if _, replay := p.readCode(ctx, c); replay != nil {
			return nil, replay
		}
	}
	return out, err
}

var errUsed = errors.New("it was used before")

// begin makes a grant of an authorization, with its first tokens. use marks what it comes from as used, in the same
// transaction, and says whether it wasn't before.
func (p *Provider) begin(ctx context.Context, c *call, a *grant.Authorization, bound binding, use func(context.Context, *store.Tx, string) (bool, error)) (*tokens, error) {
	session, err := p.Accounts.SessionByID(ctx, a.Session)
	if err != nil {
		return nil, err
	}
	if !alive(session, c.now) {
		return nil, refuse(invalidGrant, "the session has ended")
	}
	asked, err := resources(a.Resources, c.form["resource"])
	if err != nil {
		return nil, err
	}
	aud, err := p.audience(c.client, asked, slices.Contains(a.Scope, "openid"))
	if err != nil {
		return nil, err
	}
	if a.JKT == "" && c.client.Public {
		a.JKT = bound.JKT // a public client's refresh token is bound like its access token (RFC 9449 §5)
	}
	at := p.issue(c, aud, a.Scope, bound)
	at.of(&session.Person, a, a.Scope)
	g := grant.New{Authorization: a, JTI: at.ID, Expires: session.Expires}
	if c.client.Allows("refresh_token") {
		g.Refresh = grant.Random()
	}
	first, err := p.grants.Begin(ctx, g, use)
	if err != nil {
		return nil, err
	}
	if !first {
		return nil, errUsed
	}
	out, err := p.grantTokens(ctx, c, a, &session.Person, at)
	if err != nil {
		return nil, err
	}
	out.Refresh = g.Refresh
	return out, nil
}

// grantTokens signs what a grant gives.
func (p *Provider) grantTokens(ctx context.Context, c *call, a *grant.Authorization, person *signin.Person, at *access) (*tokens, error) {
	signed, err := p.signAccess(ctx, at)
	if err != nil {
		return nil, err
	}
	out := &tokens{Access: signed, Type: "Bearer", Expires: at.Expires - at.IssuedAt, Scope: at.Scope}
	if at.Bound != nil {
		out.Type = at.Bound.scheme()
	}
	if slices.Contains(a.Scope, "openid") {
		if out.ID, err = p.idToken(ctx, c, a, person, signed); err != nil {
			return nil, err
		}
	}
	p.issued(c, at)
	return out, nil
}
