package upstream

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/wardhq/ward/internal/base/fault"
)

// claims are what is read of ID tokens and userinfo.
type claims struct {
	Subject  string          `json:"sub"`
	Party    string          `json:"azp"`
	Email    string          `json:"email"`
	Verified json.RawMessage `json:"email_verified"`
	// Owner is Entra's, which has no email_verified: the domain's owner stands for the address.
	Owner json.RawMessage `json:"xms_edov"`
	Name  string          `json:"name"`
}

const (
	maxSubject = 255 // OpenID Connect Core 1.0 §2
	maxEmail   = 254 // RFC 5321, as corrected
	maxName    = 200
	entra      = "https://login.microsoftonline.com/"
)

// exchange trades the code for an ID token, and believes it if everything fits.
func (s *Service) exchange(ctx context.Context, r *remote, m *metadata, p *pending, code string) (Result, error) {
	ctx = oidc.ClientContext(ctx, s.client)
	token, err := s.oauth(r, m).Exchange(ctx, code, oauth2.VerifierOption(p.Verifier))
	if err != nil {
		if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok && e.Response != nil && e.Response.StatusCode < 500 {
			return Result{}, refused(fmt.Errorf("exchange code: the provider says %.100q", e.ErrorCode)) // its body may hold anything
		}
		return Result{}, fault.Wrap(fault.Unavailable, "the provider doesn't answer; try again, or sign in another way", fmt.Errorf("exchange code: %w", withoutBody(err)))
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return Result{}, refused(errors.New("the provider's answer has no ID token"))
	}
	id, err := m.provider.Verifier(&oidc.Config{ClientID: r.ClientID, Now: s.config.Clock.Now}).Verify(ctx, raw)
	if err != nil {
		return Result{}, refused(fmt.Errorf("verify ID token: %w", err))
	}
	c, err := check(id, p, r, token.AccessToken)
	if err != nil {
		return Result{}, refused(fmt.Errorf("verify ID token: %w", err))
	}
	if c.Email == "" && m.provider.UserInfoEndpoint() != "" {
		if err := userinfo(ctx, m, token, c); err != nil {
			return Result{}, refused(err)
		}
	}
	out := Result{Provider: r.Name, Issuer: r.Issuer, Subject: c.Subject, Flow: p.Flow}
	if address(c.Email) {
		out.Email = c.Email
		out.Verified = c.verified(r.Issuer)
	}
	if len(c.Name) <= maxName && !strings.ContainsFunc(c.Name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		out.Name = c.Name
	}
	return out, nil
}

// check does what go-oidc leaves to its callers (OpenID Connect Core 1.0 §3.1.3.7).
func check(id *oidc.IDToken, p *pending, r *remote, accessToken string) (*claims, error) {
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(p.Nonce)) != 1 {
		return nil, errors.New("it has another nonce")
	}
	var c claims
	if err := id.Claims(&c); err != nil {
		return nil, err
	}
	switch {
	case c.Party != "" && c.Party != r.ClientID, len(id.Audience) > 1 && c.Party == "":
		return nil, errors.New("it is for another party")
	case c.Subject == "" || len(c.Subject) > maxSubject:
		return nil, errors.New("it names nobody")
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(accessToken); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

// userinfo fills in what the ID token lacks. Its subject must be the same (OpenID Connect Core 1.0 §5.3.2).
func userinfo(ctx context.Context, m *metadata, token *oauth2.Token, c *claims) error {
	u, err := m.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return fmt.Errorf("ask for userinfo: %w", withoutBody(err))
	}
	var more claims
	if err := u.Claims(&more); err != nil {
		return fmt.Errorf("read userinfo: %w", err)
	}
	if more.Subject != c.Subject {
		return errors.New("userinfo is about somebody else")
	}
	c.Email, c.Verified, c.Owner = more.Email, more.Verified, more.Owner
	if c.Name == "" {
		c.Name = more.Name
	}
	return nil
}

// verified tells whether an issuer stands for the mail address. Entra has no email_verified.
func (c *claims) verified(issuer string) bool {
	return isTrue(c.Verified) || c.Verified == nil && strings.HasPrefix(issuer, entra) && isTrue(c.Owner)
}

// withoutBody keeps what a provider sent out of errors and logs.
func withoutBody(err error) error {
	text := err.Error()
	if first, _, cut := strings.Cut(text, "\n"); cut || len(text) > 200 {
		return errors.New(first[:min(len(first), 200)])
	}
	return err
}

// isTrue takes true, and "true" as Cognito writes it, and 1 and "1" as Entra does.
func isTrue(raw json.RawMessage) bool {
	switch string(raw) {
	case `true`, `"true"`, `1`, `"1"`:
		return true
	}
	return false
}

// address tells whether it looks like one mail address and nothing else.
func address(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return len(s) <= maxEmail && at > 0 && at < len(s)-1 && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r) || strings.ContainsRune(" <>,;:\\\"()[]", r)
	})
}
