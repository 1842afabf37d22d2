package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/identity/internal/client"
	"github.com/wardhq/ward/internal/cap/identity/internal/grant"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
)

// browserCookie holds a secret of the browser, that forms and waiting requests are bound to.
const browserCookie = "__Host-ward-oidc"

// visit is a request for authorization on its way through a browser.
type visit struct {
	q       *request
	c       *client.Client
	id      string // of the kept request; "" before
	resumed bool   // it came back from signing in or consent
}

func browserOf(r *http.Request) string {
	c, err := r.Cookie(browserCookie)
	if err != nil || len(c.Value) != 43 {
		return ""
	}
	return c.Value
}

// ensureBrowser returns the browser's secret, a new one if it has none.
func ensureBrowser(w http.ResponseWriter, r *http.Request) string {
	b := browserOf(r)
	if b == "" {
		b = grant.Random()
		http.SetCookie(w, &http.Cookie{Name: browserCookie, Value: b, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
		r.AddCookie(&http.Cookie{Name: browserCookie, Value: b}) // for whoever asks later in this request
	}
	return b
}

// csrf is what a form of this browser for this purpose carries.
func csrf(browser, purpose string) string {
	sum := sha256.Sum256([]byte("ward csrf v1 " + browser + " " + purpose))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// frame is what our pages have in common.
func (p *Provider) frame(w http.ResponseWriter, r *http.Request, purpose string) page.Frame {
	return page.Frame{CSRF: csrf(ensureBrowser(w, r), purpose)}
}

// sameSite tells whether a form was sent from our page in this browser.
func (p *Provider) sameSite(r *http.Request, form url.Values, purpose string) bool {
	site, origin, b := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin"), browserOf(r)
	return (site == "" || site == "same-origin") && (origin == "" || origin == p.Issuer) &&
		b != "" && sameText(form.Get("csrf"), csrf(b, purpose))
}

// pageForm is the query of a GET, or the form of a POST.
func pageForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	switch r.Method {
	case http.MethodGet:
		return parameters(r.URL.RawQuery)
	case http.MethodPost:
		return body(w, r)
	}
	w.Header().Set("Allow", "GET, POST")
	return nil, &refusal{code: invalidRequest, text: "Use GET or POST.", status: http.StatusMethodNotAllowed}
}

// beginSignIn sends the browser to sign in.
func (p *Provider) beginSignIn(w http.ResponseWriter, r *http.Request, q signin.Request) error {
	path, err := p.Accounts.Begin(r.Context(), q)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.Contains(path, `\`) {
		return fmt.Errorf("begin sign-in: %q isn't a path of ours", path)
	}
	redirect(w, path)
	return nil
}

func redirect(w http.ResponseWriter, to string) {
	h := w.Header()
	h.Set("Location", to)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}

// advance brings a visit one step on: to sign-in, to consent, or back to the client.
func (p *Provider) advance(w http.ResponseWriter, r *http.Request, v *visit) error {
	// A form of another site comes without our cookies (SameSite=Lax); the redirect that follows has them.
	if r.Method == http.MethodPost && !v.resumed {
		return p.later(w, r, v)
	}
	session, err := p.Accounts.Session(r)
	if err != nil {
		return err
	}
	now := p.Clock.Now()
	want := v.q.signIn(v.c.Title, "")
	other := session != nil && v.q.Subject != "" && session.Person.ID != v.q.Subject
	if !want.Satisfied(session, now) || other || want.Choose && !v.resumed {
		switch {
		case v.q.prompts("none"):
			return p.answerError(w, r, v, refuse(loginRequired, "the person must sign in"))
		case other && v.resumed:
			return p.answerError(w, r, v, refuse(loginRequired, "another person signed in"))
		}
		if v.id, err = p.keep(w, r, v); err != nil {
			return err
		}
		want.Resume = pathResume + "?request=" + v.id
		return p.beginSignIn(w, r, want)
	}
	ask, err := p.needsConsent(r.Context(), v, session)
	if err != nil {
		return err
	}
	if ask {
		if v.q.prompts("none") {
			return p.answerError(w, r, v, refuse(consentRequired, "the person must consent"))
		}
		if v.id == "" {
			return p.later(w, r, v)
		}
		return p.showConsent(w, r, v, session)
	}
	return p.finish(w, r, v, session)
}

// keep stores the visit for this browser, unless it is stored.
func (p *Provider) keep(w http.ResponseWriter, r *http.Request, v *visit) (string, error) {
	if v.id != "" {
		return v.id, nil
	}
	return p.keepRequest(r.Context(), v.q, ensureBrowser(w, r), requestLife)
}

// later has the browser come again with a GET.
func (p *Provider) later(w http.ResponseWriter, r *http.Request, v *visit) error {
	id, err := p.keep(w, r, v)
	if err != nil {
		return err
	}
	// It hasn't been anywhere yet: select_account still has to be asked.
	if v.q.prompts("select_account") && !v.resumed {
		want := v.q.signIn(v.c.Title, pathResume+"?request="+id)
		if !v.q.prompts("none") {
			return p.beginSignIn(w, r, want)
		}
	}
	redirect(w, pathResume+"?request="+id)
	return nil
}

// resume goes on with a visit, after signing in, or with the answer to the question for consent.
func (p *Provider) resume(w http.ResponseWriter, r *http.Request) error {
	form, err := pageForm(w, r)
	if err != nil {
		return err
	}
	query, err := parameters(r.URL.RawQuery)
	if err != nil {
		return err
	}
	v := &visit{id: query.Get("request"), resumed: true}
	b := browserOf(r)
	if b != "" {
		if v.q, err = p.readRequest(r.Context(), v.id, b); err != nil {
			return err
		}
	}
	if v.q == nil {
		return refuse(invalidRequest, "The request has expired, or was answered, or began in another browser. Go back to the application and try again.")
	}
	if v.c, err = p.checkRedirect(r.Context(), url.Values{"client_id": {v.q.Client}, "redirect_uri": {v.q.Redirect}}); err != nil { // it may have changed
		return err
	}
	if r.Method == http.MethodPost {
		return p.answerConsent(w, r, v, form)
	}
	return p.advance(w, r, v)
}

func (p *Provider) needsConsent(ctx context.Context, v *visit, s *signin.Session) (bool, error) {
	if v.q.prompts("consent") {
		return true, nil
	}
	if !v.c.Consent {
		return false, nil
	}
	had, err := p.grants.Consented(ctx, s.Person.ID, v.c.Name)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(wanted(v.q), func(s string) bool { return !slices.Contains(had, s) }), nil
}

// wanted is what a person consents to: scopes, and the resources that they are for.
func wanted(q *request) []string { return slices.Concat(q.Scope, q.Resources) }

func scopesShown(scope []string) []page.Scope {
	out := make([]page.Scope, 0, len(scope))
	for _, s := range scope {
		out = append(out, page.Scope{Name: s})
	}
	return out
}

func hostOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return u.Host
}

func (p *Provider) showConsent(w http.ResponseWriter, r *http.Request, v *visit, s *signin.Session) error {
	frame := p.frame(w, r, v.id+" "+s.ID)
	frame.FormTo = []string{v.q.Redirect}
	return p.Pages.Render(w, r, http.StatusOK, page.Consent{
		Frame: frame, Client: page.Client{Name: v.c.Title, Host: hostOf(v.q.Redirect)}, Scopes: scopesShown(wanted(v.q)), Who: s.Person.Email,
	})
}

func (p *Provider) answerConsent(w http.ResponseWriter, r *http.Request, v *visit, form url.Values) error {
	session, err := p.Accounts.Session(r)
	if err != nil {
		return err
	}
	want := v.q.signIn("", "")
	if !want.Satisfied(session, p.Clock.Now()) {
		return p.later(w, r, v)
	}
	if !p.sameSite(r, form, v.id+" "+session.ID) {
		return &refusal{code: invalidRequest, text: "The form is too old. Go back to the application and try again.", status: http.StatusForbidden}
	}
	if form.Get("do") != "allow" {
		p.record("consent.denied", session.Person.ID, v.c.Name, map[string]string{"scope": join(v.q.Scope)})
		return p.answerError(w, r, v, refuse(accessDenied, "the person said no"))
	}
	if err := p.grants.Consent(r.Context(), session.Person.ID, v.c.Name, wanted(v.q)); err != nil {
		return err
	}
	p.record("consent.given", session.Person.ID, v.c.Name, map[string]string{"scope": join(v.q.Scope)})
	return p.finish(w, r, v, session)
}

// given is what a session's person gives.
func given(a grant.Authorization, s *signin.Session) grant.Authorization {
	a.Person, a.Session, a.AuthAt, a.ACR, a.AMR = s.Person.ID, s.ID, s.AuthAt.Unix(), s.ACR(), s.Methods
	if !s.FactorAt.IsZero() {
		a.FactorAt = s.FactorAt.Unix()
	}
	return a
}

// finish answers the client with a code, once per kept request.
func (p *Provider) finish(w http.ResponseWriter, r *http.Request, v *visit, s *signin.Session) error {
	if v.id != "" {
		q, err := p.takeRequest(r.Context(), v.id, browserOf(r))
		if err != nil {
			return err
		}
		if q == nil {
			return refuse(invalidRequest, "The request was answered before. Go back to the application.")
		}
	}
	a := given(grant.Authorization{
		Client: v.c.Name, Scope: v.q.Scope, Resources: v.q.Resources, Nonce: v.q.Nonce, JKT: v.q.JKT, Redirect: v.q.Redirect, Challenge: v.q.Challenge,
	}, s)
	code, err := p.grants.KeepCode(r.Context(), &a)
	if err != nil {
		return err
	}
	return p.answer(w, r, v, url.Values{"code": {code}})
}

// answerError tells the client, by way of its registered redirect URI, why not.
func (p *Provider) answerError(w http.ResponseWriter, r *http.Request, v *visit, err error) error {
	known := p.asRefusal(r, err)
	return p.answer(w, r, v, url.Values{"error": {known.code}, "error_description": {known.text}})
}

// answer sends the browser back to the client (RFC 6749 §4.1.2, RFC 9207).
func (p *Provider) answer(w http.ResponseWriter, r *http.Request, v *visit, values url.Values) error {
	values.Set("iss", p.Issuer)
	if v.q.State != "" {
		values.Set("state", v.q.State)
	}
	if v.q.Mode == "form_post" {
		return p.postBack(w, r, v.q.Redirect, values)
	}
	to := v.q.Redirect + map[bool]string{true: "&", false: "?"}[strings.Contains(v.q.Redirect, "?")] + values.Encode()
	if v.resumed && r.Method == http.MethodGet {
		// It may be the end of a form's redirects, which Chromium holds against that form's form-action.
		return p.Pages.Render(w, r, http.StatusOK, page.Continue{URL: to, Host: hostOf(to)})
	}
	redirect(w, to)
	return nil
}

// postPage posts the answer (OAuth 2.0 Form Post Response Mode §2). Its script is a file of ours, and without it there
// is a button.
func postPage() *template.Template {
	return template.Must(template.New("post").Parse(`<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Continue</title></head><body>
<form method="post" action="{{.To}}">{{range .Fields}}<input type="hidden" name="{{.Name}}" value="{{.Value}}">{{end}}<button>Continue</button></form>
<script src="` + pathScript + `"></script></body></html>`))
}

func postScript(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/javascript")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	_, _ = w.Write([]byte("document.forms[0].submit();\n")) // the browser is gone; nobody is left to tell
}

func (p *Provider) postBack(w http.ResponseWriter, _ *http.Request, to string, values url.Values) error {
	type field struct{ Name, Value string }
	var list []field
	for name := range values {
		list = append(list, field{name, values.Get(name)})
	}
	slices.SortFunc(list, func(a, b field) int { return strings.Compare(a.Name, b.Name) })
	u, err := url.Parse(to)
	if err != nil {
		return fmt.Errorf("post back: %w", err)
	}
	source := u.Scheme + "://" + u.Host
	if u.Host == "" {
		source = u.Scheme + ":"
	}
	var b strings.Builder
	// The address was registered and checked: html/template must not weigh the schemes of apps.
	if err := postPage().Execute(&b, map[string]any{"To": template.URL(to), "Fields": list}); err != nil {
		return fmt.Errorf("post back: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; form-action "+source+"; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write([]byte(b.String())) // the browser is gone; nobody is left to tell
	return nil
}
