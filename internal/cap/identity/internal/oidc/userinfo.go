package oidc

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/wardhq/ward/internal/base/fault"
)

// challenge refuses an access token (RFC 6750 §3, RFC 9449 §7.1).
func (p *Provider) challenge(w http.ResponseWriter, r *http.Request, scheme, code, text string) {
	value := scheme + ` realm="ward"`
	if code != "" {
		value += `, error="` + code + `", error_description="` + text + `"`
	}
	if scheme == "DPoP" {
		value += `, algs="ES256 EdDSA PS256 RS256"`
	}
	w.Header().Set("WWW-Authenticate", value)
	body := map[string]string{}
	if code != "" {
		body["error"], body["error_description"] = code, text
	}
	p.writeJSON(w, r, status{http.StatusUnauthorized, body})
}

// presented is the access token that a request brings, in one way only (RFC 6750 §2).
func presented(w http.ResponseWriter, r *http.Request) (scheme, token string, err error) {
	header := r.Header["Authorization"]
	scheme = "Bearer"
	if len(header) == 1 {
		var ok bool
		if token, ok = withoutScheme(header[0], "Bearer"); !ok {
			if token, ok = withoutScheme(header[0], "DPoP"); !ok {
				return "Bearer", "", nil
			}
			scheme = "DPoP"
		}
	}
	if len(header) > 1 || r.URL.Query().Has("access_token") {
		return scheme, "", refuse(invalidRequest, "send one access token, in the Authorization header")
	}
	if r.Method == http.MethodPost && r.Header.Get("Content-Type") != "" {
		form, err := body(w, r)
		if err != nil {
			return scheme, "", err
		}
		if form.Get("access_token") != "" {
			if token != "" {
				return scheme, "", refuse(invalidRequest, "send one access token")
			}
			token = form.Get("access_token")
		}
	}
	return scheme, token, nil
}

// userinfo says who a person is (OpenID Connect Core §5.3).
func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		p.writeError(w, r, &refusal{code: invalidRequest, text: "use GET or POST", status: http.StatusMethodNotAllowed})
		return
	}
	scheme, token, err := presented(w, r)
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	if token == "" {
		p.challenge(w, r, scheme, "", "")
		return
	}
	a, err := p.acceptAccess(r.Context(), r, w.Header(), scheme, token)
	if known, ok := errors.AsType[*refusal](err); ok && known.status == 0 {
		p.challenge(w, r, scheme, known.code, known.text)
		return
	}
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	scope := fields(a.Scope)
	if !slices.Contains(scope, "openid") || a.Session == "" {
		w.Header().Set("WWW-Authenticate", scheme+` realm="ward", error="insufficient_scope", scope="openid"`)
		p.writeJSON(w, r, status{http.StatusForbidden, map[string]string{"error": "insufficient_scope", "error_description": "the token needs the scope openid"}})
		return
	}
	person, err := p.Accounts.Person(r.Context(), a.Subject)
	if fault.KindOf(err) == fault.NotFound || err == nil && person.Disabled {
		p.challenge(w, r, scheme, "invalid_token", "the token has ended")
		return
	}
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	p.writeJSON(w, r, about(&person, scope))
}

// acceptAccess takes an access token that is for us and, if it is bound, comes with its proof. What it refuses about the
// token is a refusal without a status.
func (p *Provider) acceptAccess(ctx context.Context, r *http.Request, answer http.Header, scheme, token string) (*access, error) {
	a, err := p.readAccess(ctx, token)
	if errors.Is(err, errNotOurs) || err == nil && !slices.Contains(a.Audience, p.Issuer) {
		return nil, refuse("invalid_token", "the token isn't valid here")
	}
	if err != nil {
		return nil, err
	}
	bound := binding{}
	if a.Bound != nil {
		bound = *a.Bound
	}
	if (bound.JKT != "") != (scheme == "DPoP") {
		return nil, refuse("invalid_token", "the token's scheme isn't the one that it is bound for")
	}
	if bound.JKT != "" {
		got, err := p.proof(ctx, r, answer, token)
		if err != nil {
			return nil, err
		}
		if !sameText(got, bound.JKT) {
			p.Flag(ctx, FlagDPoP, map[string]string{"client": a.Client, "person": a.Subject, "session": a.Session})
			return nil, refuse("invalid_token", "the token is bound to another key")
		}
	}
	if bound.X5T != "" {
		return nil, refuse("invalid_token", "a token that is bound to a certificate has no person")
	}
	return a, nil
}
