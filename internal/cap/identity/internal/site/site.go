// Package site is what people see of their accounts: sign-in with its second factors, registration, recovery, and the
// account's own pages.
//
// Guarantee: what is done takes a POST from our own origin with a token bound to the browser; the order of steps is
// computed by package account from what was proven, never from an address; an answer for somebody unknown has the
// status, text and work of one for somebody known; nothing is changed on the word of a session that is older than it
// may be; the browser is sent to no origin but those that package account allows. Not guaranteed: limits on the rate of
// requests as such, which is the gateway's.
package site

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/password"
	"github.com/wardhq/ward/internal/cap/identity/internal/pow"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/cap/identity/internal/upstream"
	"github.com/wardhq/ward/internal/wire"
)

// The cookies of the pages' origin. Those of sessions, devices and browsers are 256 random bits.
const (
	sessionCookie = "__Host-ward-id"
	boundCookie   = "__Host-ward-csrf"
	deviceCookie  = "__Host-ward-device"
	flowCookie    = "__Host-ward-flow"
)

const maxBody = 64 << 10 // bytes of a form

// Config of a Site. Upstreams may be nil.
type Config struct {
	Accounts  *account.Service
	Pages     func() *page.Pages
	Visitor   func(*http.Request) wire.Visitor
	Upstreams *upstream.Service        // OpenID providers that people may sign in with
	Work      func(wire.Visitor) int64 // difficulty of the proof of work; nil: pow.Easy
	Log       *slog.Logger
}

// Site serves the pages. It is safe for concurrent use.
type Site struct {
	*account.Service
	c       Config
	protect *http.CrossOriginProtection
}

// New returns a Site.
func New(c Config) *Site {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Work == nil {
		c.Work = func(wire.Visitor) int64 { return pow.Easy }
	}
	return &Site{Service: c.Accounts, c: c, protect: http.NewCrossOriginProtection()}
}

// Routes adds the pages' handlers.
func (s *Site) Routes(mux *http.ServeMux) {
	mux.Handle("GET /assets/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.c.Pages().Assets().ServeHTTP(w, r) }))
	both := func(path string, h func(*visit) error) {
		mux.HandleFunc("GET "+path, s.handle(h))
		mux.HandleFunc("POST "+path, s.handle(h))
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, page.PathAccount, http.StatusSeeOther)
	})
	mux.HandleFunc("GET /continue", s.handle((*visit).depart))
	both(page.PathSignIn, (*visit).signIn)
	mux.HandleFunc("GET /sign-in/with/{provider}", s.handle((*visit).upstream))
	mux.HandleFunc("GET "+upstream.CallbackPath("{provider}"), s.handle((*visit).fromUpstream))
	both(page.PathFactor, (*visit).choose)
	both(page.PathRecovery, (*visit).recoveryCode)
	both(page.PathRegister, (*visit).register)
	both(page.PathForgot, (*visit).forgot)
	both("/reset", (*visit).reset)
	both("/invite", (*visit).invite)
	both("/first", (*visit).first)
	both("/was-it-you", (*visit).wasItYou)
	both("/stop-recovery", (*visit).stopRecovery)
	both(page.PathLost, (*visit).lost)
	both(page.PathSignOut, (*visit).signOut)
	mux.HandleFunc("GET /signed-out", s.handle(func(v *visit) error { return v.page(page.SignedOut{Frame: v.frame()}) }))
	self := func(path string, h func(*visit) error) { both(path, func(v *visit) error { return v.signedIn(h) }) }
	self(page.PathAccount, (*visit).account)
	self(page.PathProfile, (*visit).profile)
	self("/account/profile/verify", (*visit).newAddress)
	self(page.PathFactors, (*visit).factors)
	self("/account/factors/remove", (*visit).removeFactor)
	self("/account/password", (*visit).changePassword)
	self(page.PathPasskey, (*visit).addPasskey)
	self(page.PathTOTP, (*visit).addTOTP)
	self(page.PathPhone, (*visit).addPhone)
	self(page.PathCodes, (*visit).recoveryCodes)
	self(page.PathSessions, (*visit).sessions)
	self(page.PathActivity, (*visit).activity)
	self(page.PathData, (*visit).data)
	self(page.PathDelete, (*visit).delete)
}

// visit is one request.
type visit struct {
	*Site
	w       http.ResponseWriter
	r       *http.Request
	ctx     context.Context
	in      account.Browser
	session *account.Seen // nil without
	user    *signin.Session
	csrf    string
}

func cookie(r *http.Request, name string) string {
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

func (s *Site) browser(r *http.Request) account.Browser {
	return account.Browser{Session: cookie(r, sessionCookie), Bound: cookie(r, boundCookie), Device: cookie(r, deviceCookie), Visitor: s.c.Visitor(r)}
}

// Session is that of the browser's cookie; nil without one.
func (s *Site) Session(r *http.Request) (*signin.Session, error) {
	v, err := s.Service.Session(r.Context(), cookie(r, sessionCookie))
	if err != nil || v == nil {
		return nil, err
	}
	return &v.Session, nil
}

// End ends a session and takes its cookie from the browser.
func (s *Site) End(ctx context.Context, w http.ResponseWriter, sessionID string) error {
	drop(w, sessionCookie)
	return s.EndByID(ctx, sessionID)
}

func put(w http.ResponseWriter, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(life / time.Second), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

func drop(w http.ResponseWriter, name string) {
	http.SetCookie(w, &http.Cookie{Name: name, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// handle prepares a visit: who it is, and for a POST that the form is ours.
func (s *Site) handle(h func(*visit) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Site: s, w: w, r: r, ctx: r.Context(), in: s.browser(r)}
		if err := v.prepare(h); err != nil {
			v.fail(err)
		}
	}
}

func (v *visit) prepare(h func(*visit) error) error {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxBody)
	if account.HashToken(v.in.Bound) == nil {
		v.in.Bound, _ = account.NewToken()
		put(v.w, boundCookie, v.in.Bound, 0)
	}
	session, err := v.Service.Session(v.ctx, v.in.Session)
	if err != nil {
		return err
	}
	key := v.in.Bound
	if session != nil {
		v.session, v.user, key = session, &session.Session, v.in.Session
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte("csrf"))
	v.csrf = base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	if v.r.Method == http.MethodPost {
		if err := v.genuine(); err != nil {
			return err
		}
	}
	return h(v)
}

var errForged = fault.New(fault.Refused, "the form is too old, or didn't come from this site")

// genuine checks that a form is ours, from our page, in this browser.
func (v *visit) genuine() error {
	if err := v.protect.Check(v.r); err != nil {
		return fault.Wrap(fault.Refused, errForged.Public, err)
	}
	if o := v.r.Header.Get("Origin"); o != "" && o != v.Origin {
		return errForged
	}
	if err := v.r.ParseForm(); err != nil {
		return fault.Wrap(fault.Invalid, "the form can't be read", err)
	}
	if !hmac.Equal([]byte(v.r.PostForm.Get("csrf")), []byte(v.csrf)) {
		return errForged
	}
	return nil
}

func (v *visit) posted() bool                 { return v.r.Method == http.MethodPost }
func (v *visit) form(name string) string      { return v.r.PostForm.Get(name) }
func (v *visit) secret(n string) secret.Bytes { return secret.New([]byte(v.form(n))) }

// frame is what every page has; problems are those of the form.
func (v *visit) frame(problems ...page.Problem) page.Frame {
	f := page.Frame{CSRF: v.csrf, Problems: problems}
	if v.user != nil {
		f.Account = v.user.Person.Email
	}
	switch n := page.Key("notice." + v.r.URL.Query().Get("done")); n {
	case page.NoticeSaved, page.NoticeSent, page.NoticePassword, page.NoticeVerified, page.NoticeAdded, page.NoticeRemoved, page.NoticeSessionOver:
		f.Notice = n
	}
	return f
}

// plain is the frame of a page that isn't the account's.
func (v *visit) plain(problems ...page.Problem) page.Frame {
	f := v.frame(problems...)
	f.Account = ""
	return f
}

func problem(field string, text page.Key) page.Problem { return page.Problem{Field: field, Text: text} }

// page answers with a page; one with problems is 422.
func (v *visit) page(p page.View, problems ...page.Problem) error {
	status := http.StatusOK
	if len(problems) > 0 {
		status = http.StatusUnprocessableEntity
	}
	return v.c.Pages().Render(v.w, v.r, status, p)
}

func (v *visit) redirect(path string) error {
	http.Redirect(v.w, v.r, path, http.StatusSeeOther)
	return nil
}

// limited answers that there were too many tries.
func (v *visit) limited(after time.Duration) error {
	return v.c.Pages().Render(v.w, v.r, http.StatusTooManyRequests, page.Limited{Frame: v.plain(), After: after})
}

// fail answers with an error's page. What went wrong inside is in the log under a reference.
func (v *visit) fail(err error) {
	var busy *password.BusyError
	if errors.As(err, &busy) {
		_ = v.limited(busy.RetryAfter) // the browser is gone
		return
	}
	p := page.Error{Frame: v.plain(), What: page.ErrorGeneral}
	kind := fault.KindOf(err)
	switch kind {
	case fault.NotFound, fault.Conflict:
		p.What, p.Text = page.ErrorExpired, fault.PublicText(err)
	case fault.Refused, fault.Invalid, fault.Exhausted, fault.Unsupported:
		p.What, p.Text = page.ErrorRefused, fault.PublicText(err)
	default:
		var b [6]byte
		rand.Read(b[:])
		p.Reference = hex.EncodeToString(b[:])
		v.c.Log.ErrorContext(v.ctx, "page can't be served", "path", v.r.URL.Path, "reference", p.Reference, "error", err)
	}
	if err := v.c.Pages().Render(v.w, v.r, kind.Status(), p); err != nil {
		v.c.Log.DebugContext(v.ctx, "error page wasn't sent", "error", err)
	}
}

// depart sends a browser that the gateway sent here back to it, through a sign-in if it needs one.
func (v *visit) depart() error {
	id := v.r.URL.Query().Get("flow")
	q, err := v.Arrival(v.ctx, id)
	if err != nil {
		return err
	}
	if q.Satisfied(v.user, v.Now()) {
		to, err := v.Depart(v.ctx, id, v.user)
		if err != nil {
			return err
		}
		v.w.Header().Set("Cache-Control", "no-store")
		v.w.Header().Set("Referrer-Policy", "no-referrer")
		return v.redirect(to)
	}
	path, err := v.Begin(v.ctx, q)
	if err != nil {
		return err
	}
	return v.redirect(path)
}

func (v *visit) locale() string {
	if c := cookie(v.r, page.LanguageCookie); c != "" && len(c) <= 8 {
		return c
	}
	if a := v.r.Header.Get("Accept-Language"); len(a) >= 2 && a[:2] == "de" {
		return "de"
	}
	return "en"
}

func withFlow(path, id string) string { return path + "?flow=" + url.QueryEscape(id) }
