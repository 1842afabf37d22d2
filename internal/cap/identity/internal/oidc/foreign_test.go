package oidc

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"testing"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/wardhq/ward/internal/wardtest/npm"
)

// TestGoClients signs in as coreos/go-oidc and x/oauth2 do.
func TestGoClients(t *testing.T) {
	w := newWorld(t)
	ctx := gooidc.ClientContext(t.Context(), w.server.Client())
	provider, err := gooidc.NewProvider(ctx, w.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	config := oauth2.Config{ClientID: "app", ClientSecret: appSecret, Endpoint: provider.Endpoint(), RedirectURL: appRedirect, Scopes: []string{gooidc.ScopeOpenID, "email", "profile", gooidc.ScopeOfflineAccess}}
	secret := oauth2.GenerateVerifier()
	to, err := url.Parse(config.AuthCodeURL("st", oauth2.S256ChallengeOption(secret), gooidc.Nonce("no")))
	if err != nil {
		t.Fatal(err)
	}
	l := w.visit(w.browser(), to.RequestURI())
	if l.get("state") != "st" {
		t.Fatalf("%s", l.url)
	}
	got, err := config.Exchange(ctx, l.get("code"), oauth2.VerifierOption(secret))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := got.Extra("id_token").(string)
	id, err := provider.VerifierContext(ctx, &gooidc.Config{ClientID: "app"}).Verify(ctx, raw)
	if err != nil {
		t.Fatal(err)
	}
	if id.Nonce != "no" || id.Subject != "ada" || id.VerifyAccessToken(got.AccessToken) != nil {
		t.Errorf("%+v", id)
	}
	if _, err := provider.VerifierContext(ctx, &gooidc.Config{ClientID: "spa"}).Verify(ctx, raw); err == nil {
		t.Error("another client takes the ID token")
	}
	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(got))
	if err != nil || info.Email != "ada@example.org" || !info.EmailVerified || info.Subject != "ada" {
		t.Errorf("%+v, %v", info, err)
	}
	got.Expiry = time.Now().Add(-time.Hour)
	again, err := config.TokenSource(ctx, got).Token()
	if err != nil || again.RefreshToken == got.RefreshToken || again.AccessToken == got.AccessToken {
		t.Errorf("refresh: %v", err)
	}
	if _, err := config.Exchange(ctx, l.get("code"), oauth2.VerifierOption(secret)); codeOf(err) != "invalid_grant" {
		t.Errorf("replay: %v", err)
	}
	machine := clientcredentials.Config{ClientID: "app", ClientSecret: appSecret, TokenURL: provider.Endpoint().TokenURL, EndpointParams: url.Values{"resource": {"https://api.example"}}}
	if _, err := machine.Token(ctx); err != nil {
		t.Errorf("client credentials: %v", err)
	}
	w.goDevice(ctx, provider)
}

func (w *world) goDevice(ctx context.Context, provider *gooidc.Provider) {
	w.t.Helper()
	config := oauth2.Config{ClientID: "spa", Endpoint: provider.Endpoint(), Scopes: []string{"openid"}}
	begun, err := config.DeviceAuth(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	b := w.browser()
	token := w.visit(b, "/device").csrfOf()
	w.submit(b, "/device", url.Values{"user_code": {begun.UserCode}, "csrf": {token}, "do": {"allow"}})
	begun.Interval = 1 // of seconds: it waits so long before its only poll
	if got, err := config.DeviceAccessToken(ctx, begun); err != nil || got.AccessToken == "" {
		w.t.Errorf("device: %v", err)
	}
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return e.ErrorCode
	}
	return ""
}

// TestNodeClients runs openid-client and oauth4webapi against a provider; testdata/clients.mjs says what is checked.
func TestNodeClients(t *testing.T) {
	w := newWorld(t)
	w.live = true
	plain, err := jobKey().PKCS8()
	if err != nil {
		t.Fatal(err)
	}
	var results map[string]string
	npm.Node(t, "testdata/clients.mjs", map[string]string{
		"issuer": w.server.URL, "secret": appSecret, "jobKey": base64.StdEncoding.EncodeToString(plain.Reveal()),
	}, &results)
	if len(results) < 30 {
		t.Errorf("only %d checks", len(results))
	}
	for name, outcome := range results {
		if outcome != "ok" {
			t.Errorf("%s: %s", name, outcome)
		}
	}
}
