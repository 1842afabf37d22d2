package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/client"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
)

// refusal is an error of OAuth: a registered code and a sentence for developers.
type refusal struct {
	code, text string
	status     int // 0: 400
	basic      bool
}

func (r *refusal) Error() string { return r.code + ": " + r.text }

func refuse(code, text string) *refusal { return &refusal{code: code, text: text} }

// The codes (RFC 6749 §4.1.2.1, §5.2; OpenID Connect Core §3.1.2.6; RFC 8628 §3.5; RFC 8707 §2; RFC 9449 §12.2).
const (
	invalidRequest     = "invalid_request"
	invalidClient      = "invalid_client"
	invalidGrant       = "invalid_grant"
	unauthorizedClient = "unauthorized_client"
	unsupportedGrant   = "unsupported_grant_type"
	unsupportedType    = "unsupported_response_type"
	invalidScope       = "invalid_scope"
	invalidTarget      = "invalid_target"
	invalidProof       = "invalid_dpop_proof"
	useNonce           = "use_dpop_nonce"
	accessDenied       = "access_denied"
	loginRequired      = "login_required"
	consentRequired    = "consent_required"
	serverError        = "server_error"
	unavailable        = "temporarily_unavailable"
	pending            = "authorization_pending"
	slowDown           = "slow_down"
	expiredToken       = "expired_token"
)

// call is a request of a client at an endpoint for programs.
type call struct {
	r      *http.Request
	header http.Header // of the answer
	form   url.Values
	client *client.Client
	now    time.Time
}

// get is a parameter; "" when missing. None but those in many stands twice.
func (c *call) get(name string) string { return c.form.Get(name) }

// many are the parameters that may be repeated (RFC 8707 §2, RFC 8693 §2.1).
func many(name string) bool { return name == "resource" || name == "audience" }

// parameters reads a form strictly. Of name=a&name=b somebody else may read the other one.
func parameters(encoded string) (url.Values, error) {
	form, err := url.ParseQuery(encoded)
	if err != nil {
		return nil, refuse(invalidRequest, "the parameters can't be read")
	}
	for name, values := range form {
		if len(values) > 1 && !many(name) {
			return form, refuse(invalidRequest, "a parameter is there twice")
		}
		if len(values) > maxLengthy {
			return form, refuse(invalidRequest, "there are too many values")
		}
		if values[0] == "" { // as if it were omitted (RFC 6749 §3.1)
			delete(form, name)
		}
	}
	return form, nil
}

func body(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, refuse(invalidRequest, "the body must be application/x-www-form-urlencoded")
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, &refusal{code: invalidRequest, text: "the body is too large or was cut off", status: http.StatusRequestEntityTooLarge}
	}
	return parameters(string(b))
}

// api is an endpoint for programs: a form of an authenticated client, answered with JSON.
func (p *Provider) api(h func(context.Context, *call) (any, error)) http.HandlerFunc {
	return p.bounded(p.cors(func(w http.ResponseWriter, r *http.Request) {
		answer, err := func() (any, error) {
			if r.Method != http.MethodPost {
				w.Header().Set("Allow", "POST")
				return nil, &refusal{code: invalidRequest, text: "use POST", status: http.StatusMethodNotAllowed}
			}
			form, err := body(w, r)
			if err != nil {
				return nil, err
			}
			c := &call{r: r, header: w.Header(), form: form, now: p.Clock.Now()}
			if c.client, err = p.authenticate(r.Context(), c); err != nil {
				return nil, err
			}
			return h(r.Context(), c)
		}()
		if err != nil {
			p.writeError(w, r, err)
			return
		}
		p.writeJSON(w, r, answer)
	}))
}

// status wraps an answer that isn't 200.
type status struct {
	code int
	body any
}

func (p *Provider) writeJSON(w http.ResponseWriter, r *http.Request, answer any) {
	code := http.StatusOK
	if s, ok := answer.(status); ok {
		code, answer = s.code, s.body
	}
	b, err := json.Marshal(answer)
	if err != nil {
		p.Log.ErrorContext(r.Context(), "an answer can't be written as JSON", "path", r.URL.Path, "error", err)
		code, b = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(code)
	_, _ = w.Write(b) // the client is gone; nobody is left to tell
}

// asRefusal is what may be said of an error. What isn't the client's fault is logged.
func (p *Provider) asRefusal(r *http.Request, err error) *refusal {
	if known, ok := errors.AsType[*refusal](err); ok {
		return known
	}
	p.Log.ErrorContext(r.Context(), "a request failed", "path", r.URL.Path, "error", err)
	switch fault.KindOf(err) {
	case fault.Exhausted, fault.Unavailable:
		return &refusal{code: unavailable, text: "try again later", status: http.StatusServiceUnavailable}
	}
	return &refusal{code: serverError, text: "internal error", status: http.StatusInternalServerError}
}

func (p *Provider) writeError(w http.ResponseWriter, r *http.Request, err error) {
	known := p.asRefusal(r, err)
	code := known.status
	if code == 0 {
		code = http.StatusBadRequest
	}
	if known.basic {
		w.Header().Set("WWW-Authenticate", `Basic realm="ward"`)
	}
	p.writeJSON(w, r, status{code, map[string]string{"error": known.code, "error_description": known.text}})
}

// bounded refuses what is too much at once, so that memory is bounded and those who came first are served.
func (p *Provider) bounded(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }()
			h(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			p.writeJSON(w, r, status{http.StatusTooManyRequests, map[string]string{"error": unavailable, "error_description": "too many requests at once"}})
		}
	}
}

// public is an endpoint that says the same to everybody.
func (p *Provider) public(h func() any) http.HandlerFunc {
	return p.bounded(p.cors(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			p.writeError(w, r, &refusal{code: invalidRequest, text: "use GET", status: http.StatusMethodNotAllowed})
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=300")
		p.writeJSON(w, r, h())
	}))
}

// cors lets scripts of public clients' origins read the answers. No cookie counts at these endpoints.
func (p *Provider) cors(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if origin != "" {
			w.Header().Add("Vary", "Origin")
			known, err := p.Clients.HasOrigin(r.Context(), origin)
			if err != nil {
				p.writeError(w, r, err)
				return
			}
			if known {
				w.Header().Set("Access-Control-Allow-Origin", origin)
				w.Header().Set("Access-Control-Expose-Headers", "DPoP-Nonce, WWW-Authenticate")
			}
		}
		if r.Method == http.MethodOptions {
			if w.Header().Get("Access-Control-Allow-Origin") != "" {
				w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
				w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP")
				w.Header().Set("Access-Control-Max-Age", "600")
			}
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h(w, r)
	}
}

// browser is an endpoint for people; its errors are pages.
func (p *Provider) browser(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		known := p.asRefusal(r, err)
		view := page.Error{What: page.ErrorRequest, Text: known.text}
		if known.status >= http.StatusInternalServerError {
			view = page.Error{What: page.ErrorGeneral}
		}
		p.complain(r.Context(), "a page wasn't shown", p.Pages.Render(w, r, max(known.status, http.StatusBadRequest), view))
	}
}

func fields(s string) []string {
	var out []string
	for f := range strings.SplitSeq(s, " ") {
		if f != "" {
			out = append(out, f)
		}
	}
	return out
}
