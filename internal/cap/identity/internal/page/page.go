// Package page renders every page that a person sees: sign-in, second factors, registration,
// recovery, consent, the account, and errors, in English and German.
//
// Guarantee: what a caller puts into a view is shown as text and nothing else; every page is
// complete before its first byte is sent, is never cached, can't be framed, runs no script or
// style but ours, and works without JavaScript except for passkeys and proof of work; text on
// the brand's colour has a contrast of at least 4.5:1 whatever the colour. Views hold no state
// and make no decision. Not guaranteed: that a form is genuine; the caller checks its field
// "csrf" and the Origin header, and routes the Paths.
package page

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
)

// The paths that pages link to, below Config.Base. Forms post to the page's own address.
const (
	PathSignIn    = "/sign-in"
	PathRegister  = "/register"
	PathForgot    = "/forgot"
	PathLost      = "/lost-factor"
	PathFactor    = "/factor"        // the choice of a second factor during sign-in
	PathRecovery  = "/recovery-code" // instead of a second factor
	PathSignOut   = "/sign-out"
	PathAccount   = "/account"
	PathProfile   = "/account/profile"
	PathFactors   = "/account/factors"
	PathPasskey   = "/account/factors/passkey"
	PathTOTP      = "/account/factors/totp"
	PathPhone     = "/account/factors/phone"
	PathCodes     = "/account/factors/recovery-codes"
	PathSessions  = "/account/sessions"
	PathActivity  = "/account/activity"
	PathData      = "/account/data"
	PathDelete    = "/account/delete"
	pathAssets    = "/assets/"
	languageQuery = "lang"
	// LanguageCookie holds the language that a person chose, and nothing else.
	LanguageCookie = "ward_language"
)

//go:embed html/*.html
var htmlFiles embed.FS

// Config is what an operator may say about the pages.
type Config struct {
	Name    string                       // the brand, shown on every page; 1 to 60 characters
	Color   string                       // the brand's colour, "#rrggbb"; "" means Ward's own
	Base    string                       // a path before every link: "" or like "/auth"
	Texts   map[string]map[string]string // replaces texts: language → key → text
	Modules map[string][]byte            // further ES modules, served beside ours: "pow.js" for Register.Work
}

// Pages renders. It is safe for concurrent use.
type Pages struct {
	name, base string
	languages  *languages
	templates  map[string]*template.Template // by language
	assets     *assets
}

// New checks the configuration and prepares every page.
func New(c Config) (*Pages, error) {
	if n := len([]rune(c.Name)); n < 1 || n > 60 || strings.ContainsFunc(c.Name, isControl) {
		return nil, fmt.Errorf("prepare pages: the name needs 1 to 60 characters, not %d", n)
	}
	if u, err := url.Parse(c.Base); err != nil || c.Base != "" && (u.Path != c.Base || !strings.HasPrefix(c.Base, "/") || strings.HasPrefix(c.Base, "//") || strings.HasSuffix(c.Base, "/")) {
		return nil, fmt.Errorf("prepare pages: the base %q isn't a path like /auth", c.Base)
	}
	brand, err := newBrand(c.Name, c.Color)
	if err != nil {
		return nil, fmt.Errorf("prepare pages: %w", err)
	}
	p := &Pages{name: c.Name, base: c.Base, templates: map[string]*template.Template{}}
	if p.languages, err = newLanguages(c.Texts); err != nil {
		return nil, fmt.Errorf("prepare pages: %w", err)
	}
	if p.assets, err = newAssets(c.Base+pathAssets, brand, c.Modules); err != nil {
		return nil, fmt.Errorf("prepare pages: %w", err)
	}
	for _, l := range p.languages.all {
		t, err := template.New(l.Code).Funcs(p.functions(l)).ParseFS(htmlFiles, "html/*.html")
		if err != nil {
			return nil, fmt.Errorf("prepare pages: %w", err)
		}
		p.templates[l.Code] = t
	}
	return p, nil
}

// Assets serves the style sheet, the scripts and the icon below Config.Base, under names that
// change with their content.
func (p *Pages) Assets() http.Handler { return p.assets }

// document is what the templates see.
type document struct {
	Frame
	V           View
	Name, Brand string // of the view; of the operator
	Lang        string
	Choices     []choice // of languages
	Path        string   // of the request, for the navigation
}

type choice struct {
	Code, Name, URL string
	Current         bool
}

// Render answers with a page in the reader's language: the one chosen before (cookie), chosen now
// (GET with ?lang=, which sets the cookie), or the best of Accept-Language. A page that can't be
// rendered is an error and becomes a bare 500; nothing of it has been sent.
func (p *Pages) Render(w http.ResponseWriter, r *http.Request, status int, v View) error {
	f := v.frame()
	policy, err := contentPolicy(f.FormTo)
	if err != nil {
		return p.refuse(w, fmt.Errorf("render page %s: %w", v.name(), err))
	}
	refresh, err := special(v)
	if err != nil {
		return p.refuse(w, fmt.Errorf("render page %s: %w", v.name(), err))
	}
	lang, chosen := p.languages.of(r)
	d := document{Frame: f, V: v, Name: v.name(), Brand: p.name, Lang: lang.Code, Path: r.URL.Path, Choices: p.choices(r, lang)}
	var b bytes.Buffer
	if err := p.templates[lang.Code].ExecuteTemplate(&b, v.name(), d); err != nil {
		return p.refuse(w, fmt.Errorf("render page %s: %w", v.name(), err))
	}
	h := w.Header()
	secure(h, policy)
	for k, v := range refresh {
		h.Set(k, v)
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", lang.Code)
	if chosen {
		http.SetCookie(w, &http.Cookie{
			Name: LanguageCookie, Value: lang.Code, Path: "/", MaxAge: 365 * 24 * 3600,
			Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		})
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("send page %s: %w", v.name(), err)
	}
	return nil
}

func (p *Pages) refuse(w http.ResponseWriter, err error) error {
	policy, _ := contentPolicy(nil) // nothing to refuse
	secure(w.Header(), policy)
	http.Error(w, "internal error", http.StatusInternalServerError)
	return err
}

// choices are the languages as links to the same page.
func (p *Pages) choices(r *http.Request, now *language) []choice {
	var out []choice
	for _, l := range p.languages.all {
		q := r.URL.Query()
		q.Set(languageQuery, l.Code)
		out = append(out, choice{Code: l.Code, Name: l.Name, URL: "?" + q.Encode(), Current: l == now})
	}
	return out
}

func isControl(r rune) bool {
	return r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029
}
