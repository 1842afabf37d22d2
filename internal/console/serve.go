package console

import (
	"bytes"
	"context"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/console/internal/access"
	"github.com/wardhq/ward/internal/wire"
)

// The cookie of a session. With TLS its name binds it to this host alone, as browsers see to (RFC 6265bis, 4.1.3.2).
const (
	plainCookie  = "ward-console"
	secureCookie = "__Host-ward-console"
)

// maxForm bounds what an act sends, in bytes.
const maxForm = 16 << 10

// policy is the pages' Content-Security-Policy.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; " +
	"base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

var (
	errNoPage = fault.New(fault.NotFound, "there is no such page")
	errNobody = fault.New(fault.Refused, "the console needs a session")
)

// guarded sets what every answer says to browsers, and refuses paths that others may read otherwise.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()")
		if strings.Contains(r.URL.Path, "//") || strings.Contains(r.URL.Path, "/.") || strings.Contains(r.URL.Path, "\\") {
			http.Error(w, "there is no such page", http.StatusNotFound)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func cookieName(r *http.Request) string {
	if r.TLS != nil {
		return secureCookie
	}
	return plainCookie
}

// session is that of a request's cookie, or nil. Of two cookies of one name neither counts: another site of the same name may have set one.
func (c *Console) session(r *http.Request, visit bool) *access.Session {
	all := r.CookiesNamed(cookieName(r))
	if len(all) != 1 {
		return nil
	}
	return c.desk.Session(all[0].Value, visit)
}

// enter makes a session of a one-time link.
func (c *Console) enter(w http.ResponseWriter, r *http.Request) {
	cookie, who, err := c.desk.Enter(r.URL.Query().Get("link"))
	if err != nil {
		c.fail(w, nil, err)
		return
	}
	if err := c.config.Record(r.Context(), wire.Event{Kind: "console.entered", Subject: who.Name, Detail: map[string]string{"role": who.Role.String()}}); err != nil {
		c.desk.End(cookie)
		c.fail(w, nil, err)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Value: cookie, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
	// A redirect would belong to whoever's page the link was on, and come without a Strict cookie; this page begins anew.
	w.Header().Set("Refresh", "0; url=/")
	c.show(w, nil, view{Page: "entered", Title: "Signed in"})
}

// visit is one request of somebody with a session.
type visit struct {
	*http.Request
	Session *access.Session
	Cookie  string
	Now     time.Time
}

// view is what a page shows.
type view struct {
	Page   string // the template
	Title  string
	Here   string // the entry of the menu
	Topic  string // whose news bring the page up to date; "" for none
	Status int    // 200 for 0
	Data   any
	Ready  template.HTML // the content, where it was made for everybody
}

// page serves a page to who has a session.
func (c *Console) page(mux *http.ServeMux, pattern string, f func(*visit) (view, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		isVisit := r.Header.Get("X-Ward-Live") == "" // what a page does by itself keeps no session alive
		v := &visit{Request: r, Session: c.session(r, isVisit), Now: c.config.Clock.Now()}
		if v.Session == nil {
			c.fail(w, nil, errNobody)
			return
		}
		out, err := f(v)
		if err != nil {
			c.fail(w, v, err)
			return
		}
		c.show(w, v, out)
	})
}

// act serves a form to who has the role; f returns the page to go on with, and the word for what was done.
func (c *Console) act(mux *http.ServeMux, pattern string, least access.Role, f func(*visit) (to, done string, err error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Request: r, Session: c.session(r, true), Now: c.config.Clock.Now()}
		if v.Session == nil {
			c.fail(w, nil, errNobody)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := c.mayAct(v, least); err != nil {
			c.record(r.Context(), v, "console.refused", fault.PublicText(err))
			c.fail(w, v, err)
			return
		}
		if err := c.record(r.Context(), v, "console.act", ""); err != nil {
			c.fail(w, v, fault.Wrap(fault.Unavailable, "the act can't be kept in the ledger, so it isn't done", err))
			return
		}
		to, done, err := f(v)
		if err != nil {
			c.record(r.Context(), v, "console.failed", fault.PublicText(err))
			c.fail(w, v, err)
			return
		}
		if done != "" {
			to += "?done=" + url.QueryEscape(done)
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusSeeOther)
	})
}

// mayAct tells whether a request was meant, and by somebody who may.
func (c *Console) mayAct(v *visit, least access.Role) error {
	if !sameOrigin(v.Request) {
		return fault.New(fault.Refused, "another site sent this")
	}
	if err := v.ParseForm(); err != nil {
		return fault.Wrap(fault.Invalid, "the form can't be read", err)
	}
	if !v.Session.Holds(v.PostForm.Get("token")) {
		return fault.New(fault.Refused, "the page is of another session: open it again")
	}
	if v.Session.Role < least {
		return fault.New(fault.Refused, "this is for the role "+least.String()+"; yours is "+v.Session.Role.String())
	}
	return nil
}

// sameOrigin tells whether a page of the console sent a request. Browsers say so in Sec-Fetch-Site; older ones in Origin; who says nothing
// isn't believed.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	from, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && from.Host != "" && from.Host == r.Host
}

// record brings what somebody does into the ledger.
func (c *Console) record(ctx context.Context, v *visit, kind, why string) error {
	e := wire.Event{Kind: kind, Subject: v.Session.Name, Object: v.URL.Path, Detail: map[string]string{"role": v.Session.Role.String()}}
	if why != "" {
		e.Detail["why"] = why
	}
	for _, name := range []string{"client", "service", "user", "session"} {
		if s := v.PostForm.Get(name); s != "" {
			e.Detail[name] = wire.Clip(s)
		}
	}
	err := c.config.Record(ctx, e)
	if err != nil {
		slog.Error("act not recorded", "kind", kind, "error", err)
	}
	return err
}

// leave ends the session.
func (c *Console) leave(v *visit) (to, done string, err error) {
	if cookie, err := v.Request.Cookie(cookieName(v.Request)); err == nil {
		c.desk.End(cookie.Value)
	}
	return "/", "", nil
}

// fail answers with an error's public text.
func (c *Console) fail(w http.ResponseWriter, v *visit, err error) {
	kind := fault.KindOf(err)
	if kind == fault.Internal && !errors.Is(err, context.Canceled) {
		slog.Error("console page failed", "error", err)
	}
	c.show(w, v, view{Page: "failed", Title: "That didn't work", Status: kind.Status(), Data: failure{Text: fault.PublicText(err), Outside: v == nil}})
}

type failure struct {
	Text    string
	Outside bool // nobody is signed in
}

// show writes a page: all of it, or an error.
func (c *Console) show(w http.ResponseWriter, v *visit, out view) {
	p := frame{view: out, Menu: menu, Now: c.config.Clock.Now()}
	if v != nil {
		p.Session, p.Now, p.Done = v.Session, v.Now, doneText[v.URL.Query().Get("done")]
		p.Operator, p.Administrator = v.Session.Role >= access.Operator, v.Session.Role >= access.Administrator
	}
	if pl := c.config.Plan(); pl != nil {
		p.App, p.People = pl.App, pl.Users.On()
	}
	var b bytes.Buffer
	if err := c.pages[out.Page].ExecuteTemplate(&b, "layout", p); err != nil {
		slog.Error("console page failed", "page", out.Page, "error", err)
		http.Error(w, "this page failed; the log of control says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if out.Status != 0 {
		w.WriteHeader(out.Status)
	}
	_, _ = w.Write(b.Bytes()) // the reader has gone
}
