package oidc

import (
	"encoding/json"

	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
)

// Names of grants and token types (RFC 8628 §3.4, RFC 8693 §2.1 and §3, draft-ietf-oauth-transaction-tokens).
const (
	grantDevice   = "urn:ietf:params:oauth:grant-type:device_code"
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccess    = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT       = "urn:ietf:params:oauth:token-type:jwt"
	typeTxn       = "urn:ietf:params:oauth:token-type:txn_token"
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	pushedPrefix  = "urn:ietf:params:oauth:request_uri:"
)

// metadata describes the provider (OpenID Connect Discovery §3, RFC 8414 §2).
func (p *Provider) metadata() any {
	methods := []string{"none", "client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth"}
	algs := []string{"ES256", "EdDSA", "PS256", "RS256"}
	at := func(path string) string { return p.Issuer + path }
	return map[string]any{
		"issuer":                                                   p.Issuer,
		"authorization_endpoint":                                   at(pathAuthorize),
		"token_endpoint":                                           at(pathToken),
		"userinfo_endpoint":                                        at(pathUserinfo),
		"jwks_uri":                                                 at(pathKeys),
		"pushed_authorization_request_endpoint":                    at(pathPushed),
		"introspection_endpoint":                                   at(pathIntrospect),
		"revocation_endpoint":                                      at(pathRevoke),
		"device_authorization_endpoint":                            at(pathDevices),
		"end_session_endpoint":                                     at(pathLogout),
		"response_types_supported":                                 []string{"code"},
		"response_modes_supported":                                 []string{"query", "form_post"},
		"grant_types_supported":                                    []string{"authorization_code", "refresh_token", "client_credentials", grantDevice, grantExchange},
		"subject_types_supported":                                  []string{"public"},
		"id_token_signing_alg_values_supported":                    []string{"ES256", "RS256"},
		"token_endpoint_auth_methods_supported":                    methods,
		"token_endpoint_auth_signing_alg_values_supported":         algs,
		"introspection_endpoint_auth_methods_supported":            methods[1:],
		"introspection_endpoint_auth_signing_alg_values_supported": algs,
		"revocation_endpoint_auth_methods_supported":               methods,
		"revocation_endpoint_auth_signing_alg_values_supported":    algs,
		"dpop_signing_alg_values_supported":                        algs,
		"code_challenge_methods_supported":                         []string{"S256"},
		"scopes_supported":                                         []string{"openid", "profile", "email", "groups", "roles", "offline_access"},
		"claims_supported": []string{
			"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash",
			"name", "email", "email_verified", "locale", "updated_at", "groups", "roles",
		},
		"acr_values_supported":                           []string{signin.ACROne, signin.ACRTwo},
		"prompt_values_supported":                        []string{"none", "login", "consent", "select_account"},
		"ui_locales_supported":                           []string{"en", "de"},
		"authorization_response_iss_parameter_supported": true,
		"tls_client_certificate_bound_access_tokens":     true,
		"backchannel_logout_supported":                   true,
		"backchannel_logout_session_supported":           true,
		"claims_parameter_supported":                     false,
		"request_parameter_supported":                    false,
		"request_uri_parameter_supported":                false,
		"require_pushed_authorization_requests":          false,
	}
}

func (p *Provider) jwks() any { return p.keys.Public() }

// Keys is the set that verifies our tokens.
func (p *Provider) Keys() *jose.KeySet { return p.keys.Public() }

// JWKS is the set as it is published.
func (p *Provider) JWKS() json.RawMessage {
	b, err := json.Marshal(p.keys.Public())
	if err != nil {
		panic(err) // public keys that were parsed
	}
	return b
}
