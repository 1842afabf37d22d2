package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/cap/identity/internal/client"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
)

// request is an authorization request that was checked.
type request struct {
	Client    string   `json:"client"`
	Redirect  string   `json:"redirect"`
	State     string   `json:"state,omitempty"`
	Mode      string   `json:"mode,omitempty"` // "form_post", or "" for query
	Nonce     string   `json:"nonce,omitempty"`
	Challenge string   `json:"challenge,omitempty"`
	JKT       string   `json:"jkt,omitempty"`
	Scope     []string `json:"scope,omitempty"`
	Resources []string `json:"resources,omitempty"`
	Prompt    []string `json:"prompt,omitempty"`
	MaxAge    int64    `json:"max_age"` // seconds; -1: not asked
	Second    bool     `json:"second,omitempty"`
	Hint      string   `json:"hint,omitempty"`
	Subject   string   `json:"subject,omitempty"` // of id_token_hint: the only person it may be
	Since     int64    `json:"since"`             // microseconds since 1970
}

func (q *request) prompts(what string) bool { return slices.Contains(q.Prompt, what) }

// signIn is what the request asks of the session.
func (q *request) signIn(title, resume string) signin.Request {
	s := signin.Request{
		Client: title, Hint: q.Hint, Resume: resume, MaxAge: -1, FactorAge: -1, Since: time.UnixMicro(q.Since),
		Fresh: q.prompts("login") || q.MaxAge == 0, Choose: q.prompts("select_account"),
	}
	if q.MaxAge > 0 {
		s.MaxAge = time.Duration(q.MaxAge) * time.Second
	}
	if q.Second {
		s.FactorAge = 0
	}
	return s
}

// s256Form is what a PKCE challenge looks like (RFC 7636 §4.2).
func s256Form(s string) bool {
	return len(s) == 43 && !strings.ContainsFunc(s, func(r rune) bool { return !isBase64URL(r) })
}

func isBase64URL(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

// parseRequest checks the parameters of an authorization request of a known client, whose redirect URI was checked.
func (p *Provider) parseRequest(c *client.Client, form url.Values, now time.Time) (*request, error) {
	q := &request{
		Client: c.Name, Redirect: form.Get("redirect_uri"), State: form.Get("state"), Nonce: form.Get("nonce"), Challenge: form.Get("code_challenge"),
		JKT: form.Get("dpop_jkt"), Resources: form["resource"], Prompt: fields(form.Get("prompt")), MaxAge: -1, Hint: form.Get("login_hint"), Since: now.UnixMicro(),
	}
	for _, name := range []string{"request", "registration"} {
		if form.Has(name) {
			return nil, refuse(name+"_not_supported", "that parameter isn't supported")
		}
	}
	if form.Get("response_mode") == "form_post" {
		q.Mode = "form_post"
	}
	switch mode := form.Get("response_mode"); {
	case form.Get("response_type") == "":
		return nil, refuse(invalidRequest, "response_type is missing")
	case form.Get("response_type") != "code":
		return nil, refuse(unsupportedType, "only response_type=code is supported")
	case mode != "" && mode != "query" && mode != "form_post":
		return nil, refuse(invalidRequest, "that response_mode isn't supported")
	case !c.Allows("authorization_code"):
		return nil, refuse(unauthorizedClient, "this client may not use authorization codes")
	case len(q.State) > maxText || len(q.Nonce) > maxText || len(q.Hint) > maxText || len(q.JKT) > 128:
		return nil, refuse(invalidRequest, "a parameter is too long")
	}
	if err := q.checkPKCE(c, form); err != nil {
		return nil, err
	}
	if err := q.checkPrompt(form); err != nil {
		return nil, err
	}
	var err error
	if q.Scope, err = scopeFor(c, form.Get("scope")); err != nil {
		return nil, err
	}
	if _, err := p.audience(c, q.Resources, slices.Contains(q.Scope, "openid")); err != nil {
		return nil, err
	}
	if hint := form.Get("id_token_hint"); hint != "" {
		h, err := p.readHint(hint)
		if err != nil || h.client != c.Name {
			return nil, refuse(invalidRequest, "id_token_hint isn't an ID token of ours for this client")
		}
		q.Subject = h.person
	}
	return q, nil
}

func (q *request) checkPKCE(c *client.Client, form url.Values) error {
	switch {
	case q.Challenge == "" && form.Get("code_challenge_method") != "":
		return refuse(invalidRequest, "code_challenge is missing")
	case q.Challenge == "" && !c.NonceOnly:
		return refuse(invalidRequest, "code_challenge is required, with code_challenge_method=S256")
	case q.Challenge == "" && q.Nonce == "":
		return refuse(invalidRequest, "without code_challenge, nonce is required")
	case q.Challenge != "" && (form.Get("code_challenge_method") != "S256" || !s256Form(q.Challenge)):
		return refuse(invalidRequest, "code_challenge_method must be S256")
	}
	return nil
}

func (q *request) checkPrompt(form url.Values) error {
	for _, one := range q.Prompt {
		if !slices.Contains([]string{"none", "login", "consent", "select_account"}, one) {
			return refuse(invalidRequest, "that prompt isn't supported")
		}
	}
	if q.prompts("none") && len(q.Prompt) > 1 {
		return refuse(invalidRequest, "prompt=none can't be combined")
	}
	if age := form.Get("max_age"); age != "" {
		n, err := strconv.ParseUint(age, 10, 31)
		if err != nil {
			return refuse(invalidRequest, "max_age must be a number of seconds")
		}
		q.MaxAge = int64(n)
	}
	// acr_values are in the order of preference; the first that we know counts.
	for _, acr := range fields(form.Get("acr_values")) {
		if acr == signin.ACROne || acr == signin.ACRTwo {
			q.Second = acr == signin.ACRTwo
			break
		}
	}
	return nil
}

// checkRedirect finds the client of an authorization request, and that it may be answered where it says. Until then
// nothing may be redirected.
func (p *Provider) checkRedirect(ctx context.Context, form url.Values) (*client.Client, error) {
	id := form.Get("client_id")
	if id == "" || len(id) > maxText || len(form["client_id"]) > 1 || len(form["redirect_uri"]) > 1 {
		return nil, refuse(invalidRequest, "The application isn't known here.")
	}
	c, err := p.Clients.Find(ctx, id)
	if fault.KindOf(err) == fault.NotFound {
		return nil, refuse(invalidRequest, "The application isn't known here.")
	}
	if err != nil {
		return nil, err
	}
	if !c.RedirectsTo(form.Get("redirect_uri")) {
		return nil, refuse(invalidRequest, "The application asked to return to an address that isn't registered for it.")
	}
	return c, nil
}

// push takes an authorization request ahead (RFC 9126).
func (p *Provider) push(ctx context.Context, c *call) (any, error) {
	if c.form.Has("request_uri") {
		return nil, refuse(invalidRequest, "request_uri can't be pushed")
	}
	if id := c.get("client_id"); id != "" && id != c.client.Name {
		return nil, refuse(invalidRequest, "client_id is another than the one that authenticated")
	}
	if !c.client.RedirectsTo(c.get("redirect_uri")) {
		return nil, refuse(invalidRequest, "redirect_uri isn't registered")
	}
	q, err := p.parseRequest(c.client, c.form, c.now)
	if err != nil {
		return nil, err
	}
	if c.client.Method() != client.Identity {
		jkt, err := p.proof(ctx, c.r, c.header, "")
		if err != nil {
			return nil, err
		}
		if jkt != "" && q.JKT != "" && q.JKT != jkt {
			return nil, refuse(invalidProof, "dpop_jkt is another key than the proof's")
		}
		q.JKT = max(q.JKT, jkt) // the one that is there
	}
	id, err := p.keepRequest(ctx, q, "push "+c.client.Name, pushedLife)
	if err != nil {
		return nil, err
	}
	return status{http.StatusCreated, map[string]any{"request_uri": pushedPrefix + id, "expires_in": int64(pushedLife / time.Second)}}, nil
}

// authorize is the authorization endpoint (RFC 6749 §3.1).
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) error {
	var form url.Values
	var bad error
	switch r.Method {
	case http.MethodGet:
		if len(r.URL.RawQuery) > maxBody {
			return refuse(invalidRequest, "The request is too long.")
		}
		form, bad = parameters(r.URL.RawQuery)
	case http.MethodPost:
		form, bad = body(w, r)
	default:
		w.Header().Set("Allow", "GET, POST")
		return &refusal{code: invalidRequest, text: "Use GET or POST.", status: http.StatusMethodNotAllowed}
	}
	if bad != nil && form == nil {
		return bad
	}
	if uri, ok := strings.CutPrefix(form.Get("request_uri"), pushedPrefix); ok {
		q, err := p.takeRequest(r.Context(), uri, "push "+form.Get("client_id"))
		if err != nil {
			return err
		}
		if q == nil {
			return refuse(invalidRequest, "The request has expired, or was used. Go back to the application and try again.")
		}
		c, err := p.checkRedirect(r.Context(), url.Values{"client_id": {q.Client}, "redirect_uri": {q.Redirect}}) // it may have changed
		if err != nil {
			return err
		}
		return p.advance(w, r, &visit{q: q, c: c})
	}
	c, err := p.checkRedirect(r.Context(), form)
	if err != nil {
		return err
	}
	q := &request{Client: c.Name, Redirect: form.Get("redirect_uri"), State: form.Get("state")}
	if form.Get("response_mode") == "form_post" {
		q.Mode = "form_post"
	}
	v := &visit{q: q, c: c}
	if bad == nil && form.Has("request_uri") {
		bad = refuse("request_uri_not_supported", "only request_uri of pushed requests are supported")
	}
	if bad != nil {
		return p.answerError(w, r, v, bad)
	}
	parsed, err := p.parseRequest(c, form, p.Clock.Now())
	if err != nil {
		return p.answerError(w, r, v, err)
	}
	v.q = parsed
	return p.advance(w, r, v)
}

// hint is what an ID token of ours says.
type hint struct{ person, session, client string }

var errHint = errors.New("it isn't an ID token of ours")

// readHint reads an ID token that comes back as a hint; it may have expired.
func (p *Provider) readHint(token string) (hint, error) {
	t, err := jose.Parse(token)
	if err != nil || t.Verify(p.keys.Public(), jose.ES256, jose.RS256) != nil || t.Type != "JWT" {
		return hint{}, errHint
	}
	c, err := t.Claims()
	if err != nil || c.Issuer != p.Issuer || c.Subject == "" || len(c.Audience) != 1 {
		return hint{}, errHint
	}
	h := hint{person: c.Subject, client: c.Audience[0]}
	if _, err := c.Get("sid", &h.session); err != nil {
		return hint{}, errHint
	}
	return h, nil
}
