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
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/console/internal/access"
	"github.com/wardhq/ward/internal/wire"
)

// maxForm bounds what an act sends, in bytes.
const maxForm = 16 << 10

// contentPolicy is the pages' Content-Security-Policy, without where forms may lead.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-ancestors 'none'; " +
	"base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

var (
	errNoPage = fault.New(fault.NotFound, "there is no such page")
	errNobody = fault.New(fault.Refused, "the console needs a session")
	errStale  = fault.New(fault.Refused, "this is a strong act: show first that it is still you")
)

// guarded sets what every answer says to browsers, and refuses paths that others may read otherwise. Forms may lead to the console alone, and to
// where formsTo says (a source list of CSP).
func guarded(next http.Handler, formsTo func() string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy+"; form-action 'self'"+formsTo())
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

// visit is one request of somebody with a session.
type visit struct {
	*http.Request
	Session *access.Session
	Now     time.Time
}

// mayStrongly tells why somebody may not do what only administrators may, and they only soon after they showed who they are.
func (v *visit) mayStrongly() error {
	err := v.may(access.Administrator)
	if err == nil && !v.Session.Fresh(v.Now) {
		err = errStale
	}
	return err
}

// may tells why somebody may not do what is for a role.
func (v *visit) may(least access.Role) error {
	if v.Session.Role < least {
		return fault.New(fault.Refused, "this is for the role "+least.String()+"; yours is "+v.Session.Role.String())
	}
	return nil
}

// view is what a page shows.
type view struct {
	Page   string // the template
	Title  string
	Here   string // the entry of the menu
	Topic  string // whose news bring the page up to date; "" for none
	Status int    // 200 for 0
	Charts bool   // it has some
	Data   any
	Ready  template.HTML // the content, where it was made for everybody
}

// page serves a page to who has a session.
func (d door) page(mux *http.ServeMux, pattern string, f func(*visit) (view, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		isVisit := r.Header.Get(wire.LiveField) == "" // what a page does by itself keeps no session alive
		v := &visit{Request: r, Session: d.who(r, isVisit), Now: d.config.Clock.Now()}
		if v.Session == nil {
			d.fail(w, nil, errNobody)
			return
		}
		out, err := f(v)
		if err != nil {
			d.fail(w, v, err)
			return
		}
		d.show(w, v, out)
	})
}

// act serves a form to who has the role; f returns the page to go on with, and the word for what was done.
func (d door) act(mux *http.ServeMux, pattern string, least access.Role, f func(*visit) (to, done string, err error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		unread := r.ParseForm() // before who may is asked: who is out while it comes slowly is out
		v := &visit{Request: r, Session: d.who(r, true), Now: d.config.Clock.Now()}
		if v.Session == nil {
			d.fail(w, nil, errNobody)
			return
		}
		if err := d.mayAct(v, least, unread); err != nil {
			d.record(r.Context(), v, "console.refused", fault.PublicText(err))
			d.fail(w, v, err)
			return
		}
		if err := d.record(r.Context(), v, "console.act", ""); err != nil {
			d.fail(w, v, fault.Wrap(fault.Unavailable, "the act can't be kept in the ledger, so it isn't done", err))
			return
		}
		to, done, err := f(v)
		if err != nil {
			d.record(r.Context(), v, "console.failed", fault.PublicText(err))
			d.fail(w, v, err)
			return
		}
		if done != "" {
			to += "?done=" + url.QueryEscape(done)
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusSeeOther)
	})
}

// mayAct tells whether a request was meant, and by somebody who may; unread is why its form couldn't be read.
func (c *Console) mayAct(v *visit, least access.Role, unread error) error {
	if !sameOrigin(v.Request) {
		return fault.New(fault.Refused, "another site sent this")
	}
	if unread != nil {
		return fault.Wrap(fault.Invalid, "the form can't be read", unread)
	}
	if !v.Session.Holds(v.PostForm.Get("token")) {
		return fault.New(fault.Refused, "the page is of another session: open it again")
	}
	if least == access.Administrator {
		return v.mayStrongly()
	}
	return v.may(least)
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
	if v.Session.ID != "" {
		e.Detail["person"] = v.Session.ID
	}
	if why != "" {
		e.Detail["why"] = why
	}
	for _, name := range []string{"client", "service", "user", "session", "for", "slow", "sure", "whole"} {
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

// fail answers with an error's public text.
func (d door) fail(w http.ResponseWriter, v *visit, err error) {
	kind := fault.KindOf(err)
	if kind == fault.Internal && !errors.Is(err, context.Canceled) {
		slog.Error("console page failed", "error", err)
	}
	f := failure{Text: fault.PublicText(err), Outside: v == nil, Stale: errors.Is(err, errStale)}
	if errors.Is(err, watch.ErrSpared) {
		f.Text, f.Again = "This closes out addresses of this machine, of a private network, or from where administrators have acted", v.PostForm
	}
	d.show(w, v, view{Page: "failed", Title: "That didn't work", Status: kind.Status(), Data: f})
}

type failure struct {
	Text    string
	Outside bool       // nobody is signed in
	Stale   bool       // it would be done if the person showed again who they are
	Again   url.Values // the form of an answer that needs a second step; nil for none
}

// show writes a page: all of it, or an error.
func (d door) show(w http.ResponseWriter, v *visit, out view) {
	p := frame{view: out, Menu: menu, Now: d.config.Clock.Now()}
	if v != nil {
		p.Session, p.Now, p.Done = v.Session, v.Now, doneText[v.URL.Query().Get("done")]
		p.Operator, p.Administrator = v.Session.Role >= access.Operator, v.Session.Role >= access.Administrator
		p.Leave, p.Prove, p.ByLink = d.leave, proveLink(v), d.links
	}
	if pl := d.config.Plan(); pl != nil {
		p.App, p.People = pl.App, pl.Users.On()
	}
	var b bytes.Buffer
	if err := d.pages[out.Page].ExecuteTemplate(&b, "layout", p); err != nil {
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
