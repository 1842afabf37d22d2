package oidc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/grant"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
)

// maxActors bounds the chain of who acts for whom.
const maxActors = 5

// exchange makes a narrower token of another one (RFC 8693), or a transaction token. The one who asks must be whom the
// token was issued to, or whom it is for.
func (p *Provider) exchange(ctx context.Context, c *call, bound binding) (*tokens, error) {
	kind := c.get("requested_token_type")
	switch {
	case c.get("subject_token") == "" || c.get("subject_token_type") == "":
		return nil, refuse(invalidRequest, "subject_token and subject_token_type are required")
	case c.get("subject_token_type") != typeAccess && c.get("subject_token_type") != typeJWT:
		return nil, refuse(invalidRequest, "subject_token_type must be an access token")
	case c.get("actor_token") != "" || c.get("actor_token_type") != "":
		return nil, refuse(invalidRequest, "the actor is the client; actor_token isn't supported")
	case kind != "" && kind != typeAccess && kind != typeJWT && kind != typeTxn:
		return nil, refuse(invalidRequest, "that requested_token_type isn't supported")
	}
	subject, err := p.readAccess(ctx, c.get("subject_token"))
	if errors.Is(err, errNotOurs) {
		return nil, refuse(invalidRequest, "subject_token isn't valid")
	}
	if err != nil {
		return nil, err
	}
	if err := p.mayExchange(ctx, c, subject, bound); err != nil {
		return nil, err
	}
	scope, err := exchangedScope(c, subject)
	if err != nil {
		return nil, err
	}
	person, err := p.personOf(ctx, subject)
	if err != nil {
		return nil, err
	}
	if kind == typeTxn {
		return p.mintTxn(ctx, c, subject, person)
	}
	aud, err := p.audience(c.client, slices.Concat(c.form["resource"], c.form["audience"]), false)
	if err != nil {
		return nil, err
	}
	a := p.issue(c, aud, scope, bound)
	a.Expires = min(a.Expires, subject.Expires)
	a.Actor = &actor{Subject: c.client.Name, Actor: subject.Actor}
	if person != nil {
		a.of(person, &grant.Authorization{Session: subject.Session, AuthAt: subject.AuthAt, FactorAt: subject.FactorAt, ACR: subject.ACR, AMR: subject.AMR}, scope)
	} else {
		a.Subject, a.Session = subject.Subject, subject.Session
	}
	if err := p.grants.Inherit(ctx, subject.ID, a.ID, time.Unix(a.Expires, 0)); err != nil {
		return nil, err
	}
	signed, err := p.signAccess(ctx, a)
	if err != nil {
		return nil, err
	}
	p.issued(c, a)
	return &tokens{Access: signed, Type: bound.scheme(), Expires: a.Expires - c.now.Unix(), Scope: a.Scope, IssuedAs: typeAccess}, nil
}

func (p *Provider) mayExchange(ctx context.Context, c *call, subject *access, bound binding) error {
	detail := map[string]string{"client": c.client.Name, "of": subject.Client, "person": subject.Subject, "what": "subject token"}
	switch {
	case subject.Client != c.client.Name && !slices.ContainsFunc(subject.Audience, c.client.Is):
		p.Flag(ctx, FlagClient, detail)
		return refuse(invalidRequest, "subject_token isn't valid")
	case subject.Client == c.client.Name && subject.Bound != nil && *subject.Bound != bound:
		p.Flag(ctx, FlagDPoP, detail)
		return refuse(invalidRequest, "subject_token is bound to another key")
	case subject.Actor.depth() >= maxActors:
		return refuse(invalidRequest, "subject_token went through too many hands")
	}
	return nil
}

// exchangedScope is never more than the subject's, and never more than the client's.
func exchangedScope(c *call, subject *access) ([]string, error) {
	had := fields(subject.Scope)
	if c.get("scope") == "" {
		return slices.DeleteFunc(had, func(s string) bool { return !slices.Contains(c.client.Scopes, s) }), nil
	}
	scope, err := scopeFor(c.client, c.get("scope"))
	if err != nil {
		return nil, err
	}
	return narrowed(had, join(scope))
}

// personOf is the person that a token is for, as they are now; nil for a client's own token.
func (p *Provider) personOf(ctx context.Context, a *access) (*signin.Person, error) {
	if a.Session == "" {
		return nil, nil
	}
	person, err := p.Accounts.Person(ctx, a.Subject)
	if fault.KindOf(err) == fault.NotFound || err == nil && person.Disabled {
		return nil, refuse(invalidRequest, "subject_token isn't valid")
	}
	if err != nil {
		return nil, err
	}
	return &person, nil
}

func (p *Provider) mintTxn(ctx context.Context, c *call, subject *access, person *signin.Person) (*tokens, error) {
	if p.MintTxn == nil {
		return nil, refuse(invalidRequest, "that requested_token_type isn't supported")
	}
	q := TxnRequest{Client: c.client.Name, Person: person, Session: subject.Session, Scope: c.get("scope"), IP: p.Visitor(c.r).IP}
	if subject.FactorAt > 0 {
		q.FactorAt = time.Unix(subject.FactorAt, 0)
	}
	signed, err := p.MintTxn(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("mint transaction token: %w", err)
	}
	p.record("token.issued", c.client.Name, subject.Subject, map[string]string{"grant": grantExchange, "type": "txn_token"})
	return &tokens{Access: signed, Type: "N_A", IssuedAs: typeTxn}, nil
}
