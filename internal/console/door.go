package console

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/console/internal/access"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/wire"
)

// The cookie of who came by a link. With TLS its name binds it to this host alone, as browsers see to (RFC 6265bis, 4.1.3.2).
const (
	plainCookie  = "ward-console"
	secureCookie = "__Host-ward-console"
)

// door is a way into the console: all pages are the same behind each, but whose a request is follows from another thing.
type door struct {
	*Console
	// who is whose a request is, nil for nobody's. A visit keeps the session from ending for want of use.
	who   func(r *http.Request, visit bool) *access.Session
	leave string // where a form ends the session
	links bool   // people come by links, so a new one is their proof
}

// Handler serves the console at the root of an origin of its own, to who has a link.
func (c *Console) Handler() http.Handler {
	d := door{Console: c, who: c.byLink, leave: "/leave", links: true}
	mux := d.routes()
	mux.HandleFunc("GET /enter", d.enter)
	d.act(mux, "POST "+d.leave, access.Viewer, c.endLink)
	return compressed(guarded(mux, func() string { return "" }))
}

// Outside serves the console to who signed in behind the gateway, at the host that the plan in force names. Requests must come from the gateway,
// which has found them somebody's who may come in; whose, is found here again.
func (c *Console) Outside() http.Handler {
	d := door{Console: c, who: c.bySignIn, leave: wire.SignOutPath}
	return compressed(guarded(d.routes(), func() string {
		if p := c.config.Plan(); p != nil {
			return " " + p.Origin(p.Users.Host) // where signing out and the second factor lead
		}
		return ""
	}))
}

func (d door) routes() *http.ServeMux {
	mux, c := http.NewServeMux(), d.Console
	mux.HandleFunc("GET /static/", c.static)
	mux.HandleFunc("GET "+wire.ConsoleEvents, d.events)
	d.page(mux, "GET /{$}", c.mapPage)
	d.page(mux, "GET /services/{name}", c.servicePage)
	d.page(mux, "GET /findings", c.findingsPage)
	d.page(mux, "GET /findings/{id}", c.findingPage)
	d.page(mux, "GET /traces", c.tracesPage)
	d.page(mux, "GET /traces/{id}", c.tracePage)
	d.page(mux, "GET /logs", c.logsPage)
	d.page(mux, "GET /audit", c.auditPage)
	d.page(mux, "GET /people", c.peoplePage)
	d.page(mux, "GET /people/{id}", c.personPage)
	d.page(mux, "GET /posture", c.posturePage)
	mux.HandleFunc("GET "+plan.ConsoleProve, d.prove)
	d.act(mux, "POST /findings/{id}/close", access.Operator, c.closeFinding)
	d.act(mux, "POST /findings/{id}/silence", access.Operator, c.silenceFinding)
	d.act(mux, "POST /silences/{id}/end", access.Operator, c.endSilence)
	d.act(mux, "POST /answers/block", access.Operator, c.block)
	d.act(mux, "POST /answers/quarantine", access.Administrator, c.quarantine)
	d.act(mux, "POST /answers/{id}/lift", access.Operator, c.lift)
	d.act(mux, "POST /people/{id}/sessions/end", access.Administrator, c.endSessions)
	d.act(mux, "POST /audit/check", access.Operator, c.checkLedger)
	d.page(mux, "GET /", func(*visit) (view, error) { return view{}, errNoPage })
	return mux
}

func cookieName(r *http.Request) string {
	if r.TLS != nil {
		return secureCookie
	}
	return plainCookie
}

// byLink finds the session of a link's cookie. Of two cookies of one name neither counts: another site of the same name may have set one.
func (c *Console) byLink(r *http.Request, visit bool) *access.Session {
	all := r.CookiesNamed(cookieName(r))
	if len(all) != 1 {
		return nil
	}
	return c.desk.Session(all[0].Value, visit)
}

// endLink ends the session of a link.
func (c *Console) endLink(v *visit) (to, done string, err error) {
	if cookie, err := v.Request.Cookie(cookieName(v.Request)); err == nil {
		c.desk.End(cookie.Value)
	}
	return "/", "", nil
}

// enter makes a session of a one-time link.
func (d door) enter(w http.ResponseWriter, r *http.Request) {
	cookie, who, err := d.desk.Enter(r.URL.Query().Get("link"))
	if err != nil {
		d.fail(w, nil, err)
		return
	}
	if err := d.config.Record(r.Context(), wire.Event{Kind: "console.entered", Subject: who.Name, Detail: map[string]string{"role": who.Role.String()}}); err != nil {
		d.desk.End(cookie)
		d.fail(w, nil, err)
		return
	}
	for _, old := range r.CookiesNamed(cookieName(r)) {
		d.desk.End(old.Value) // the browser forgets it now
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Value: cookie, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
	// A redirect would belong to whoever's page the link was on, and come without a Strict cookie; this page begins anew.
	w.Header().Set("Refresh", "0; url=/")
	d.show(w, nil, view{Page: "entered", Title: "Signed in"})
}

// bySignIn finds whose the gateway's cookie of a request is, and what they may. Control knows best: the gateway isn't believed. That they came is in
// the ledger before they see the first page.
func (c *Console) bySignIn(r *http.Request, _ bool) *access.Session {
	p, cookies := c.config.Plan(), r.CookiesNamed(wire.SessionCookie)
	if p == nil || !p.Watch.Console.On() || len(cookies) != 1 {
		return nil
	}
	s, err := c.config.SignedIn(r.Context(), wire.SessionQuery{Origin: p.Origin(p.Watch.Console.Host), Cookie: cookies[0].Value})
	if err != nil {
		return nil
	}
	x := s.Person
	who := access.Person{Name: x.Email, ID: x.ID, Role: access.RoleIn(&p.Watch.Console, &policy.Person{ID: x.ID, Email: x.Email, Groups: x.Groups, Roles: x.Roles})}
	if since := c.config.Clock.Now().Sub(time.Unix(x.FactorAt, 0)); who.Role == access.Nobody || since >= plan.ConsoleFactor*time.Second {
		return nil
	}
	out, noted := c.desk.Admit(s.ID, who, time.Unix(s.Person.FactorAt, 0))
	if noted {
		return out
	}
	e := wire.Event{Kind: "console.entered", Subject: who.Name, Object: "the console", Detail: map[string]string{
		"role": who.Role.String(), "person": who.ID, "network": wire.Network(r.Header.Get("X-Forwarded-For")),
	}}
	if err := c.config.Record(r.Context(), e); err != nil {
		return nil
	}
	c.desk.Note(s.ID)
	return out
}

// prove is where a strong act sends who has to show again who they are: the gateway lets nobody here without a fresh second factor, and so
// leads there and back.
func (d door) prove(w http.ResponseWriter, r *http.Request) {
	v := &visit{Request: r, Session: d.who(r, true), Now: d.config.Clock.Now()}
	switch {
	case v.Session == nil:
		d.fail(w, nil, errNobody)
	case !v.Session.Fresh(v.Now):
		d.fail(w, v, fault.New(fault.Refused, "a link is good for strong acts for a quarter of an hour"))
	default:
		http.Redirect(w, r, pageOf(r.URL.Query().Get("to")), http.StatusSeeOther)
	}
}

// proveLink is where somebody shows again who they are, "" if they needn't for what the page offers.
func proveLink(v *visit) string {
	if v.Session.Role < access.Administrator || v.Session.Fresh(v.Now) {
		return ""
	}
	back := "/"
	if v.Method == http.MethodGet {
		back = pageOf(v.URL.Path)
	}
	return plan.ConsoleProve + "?" + url.Values{"to": {back}}.Encode()
}

// pageOf is the path of a page of the console, "/" for anything else.
func pageOf(path string) string {
	odd := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '/' && c != '-' && c != '_'
	}
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsFunc(path, odd) {
		return "/"
	}
	return path
}
