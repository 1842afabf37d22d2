package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// Paths at every origin of the application that are the gateway's own.
const (
	ownPaths     = "/.ward/"
	callbackPath = "/.ward/callback"
	metadataPath = "/.well-known/oauth-protected-resource" // RFC 9728
)

// Fields that tell the pages and the gateway's own paths what the connection showed.
const (
	printField = "X-Ward-Fingerprint"
	certField  = "X-Ward-Client-Cert"
)

// maxChain bounds the certificates that are passed on: an SVID and its intermediates.
const maxChain = 4

func itoa(n int) string { return strconv.Itoa(n) }

// origin is the scheme and authority of a request, as a browser writes it.
func (s *state) origin(r *proxy.Request) string {
	return s.plan.Origin(r.Host)
}

// showing are the fields about the connection.
func showing(r *proxy.Request) []proxy.Header {
	c, ok := r.Conn.Peer.(*client)
	if !ok {
		return nil
	}
	out := []proxy.Header{{Name: printField, Value: c.print()}}
	if certs := c.certs.Load(); certs != nil {
		var chain []string
		for _, cert := range (*certs)[:min(len(*certs), maxChain)] {
			chain = append(chain, base64.RawURLEncoding.EncodeToString(cert.Raw))
		}
		out = append(out, proxy.Header{Name: certField, Value: strings.Join(chain, ",")})
	}
	return out
}

// asked is what a rule asks of a person.
type asked struct {
	rule   *plan.Rule
	reason policy.Reason
}

// toSignIn answers a request that needs somebody: a browser is led to the pages and back, everybody else is told.
func (g *Gateway) toSignIn(ctx context.Context, s *state, r *proxy.Request, id identified, a asked) proxy.Verdict {
	origin, rule := s.origin(r), a.rule
	age := 0
	if a.reason == policy.NeedsFactor {
		age = rule.Need.MFA
	}
	status, public := http.StatusUnauthorized, "sign in first"
	switch {
	case id.unavailable:
		return g.refuse(r, rule.Target, http.StatusServiceUnavailable, "sign-in isn't available for the moment")
	case a.reason == policy.OtherUser || a.reason == policy.ConditionFailed:
		return g.refuse(r, rule.Target, http.StatusForbidden, "you are signed in, and this isn't open to you")
	case a.reason == policy.NeedsFactor:
		public = "show your second factor first"
	}
	if !isNavigation(r) || id.problem != "" || g.config.SignIn == nil {
		v := g.refuse(r, rule.Target, status, public)
		v.Respond = []proxy.Header{{Name: "WWW-Authenticate", Value: challenge(id, origin, age)}}
		return v
	}
	back, interrupted := local(r.Target()), false
	if !isSafe(r) {
		// What the request would have done isn't done behind the person's back: they come back to the page before.
		back, interrupted = referer(r, origin), true
	}
	v, err := g.begin(ctx, wire.SignInBegin{
		Origin: origin, Return: back, FactorAge: int64(age), Interrupted: interrupted, Session: id.session, Visitor: visitorOf(r),
	})
	if err != nil {
		if k := fault.KindOf(err); k == fault.Exhausted {
			v := g.refuse(r, rule.Target, http.StatusTooManyRequests, fault.PublicText(err))
			v.Respond = []proxy.Header{{Name: "Retry-After", Value: "5"}}
			return v
		}
		g.config.Log.Warn("begin sign-in", "error", err)
		return g.refuse(r, rule.Target, http.StatusServiceUnavailable, "sign-in isn't available for the moment")
	}
	return v
}

// begin sends a browser to the pages.
func (g *Gateway) begin(ctx context.Context, q wire.SignInBegin) (proxy.Verdict, error) {
	if !g.begins.take(q.Visitor.IP, g.config.Clock.Now()) {
		return proxy.Verdict{}, errBegins
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	b, err := g.config.SignIn.BeginSignIn(ctx, q)
	if err != nil {
		return proxy.Verdict{}, err
	}
	return proxy.Verdict{Status: http.StatusSeeOther, Public: "sign in at " + b.Location, Respond: []proxy.Header{
		{Name: "Location", Value: b.Location},
		{Name: "Set-Cookie", Value: flowCookie + "=" + b.Flow + "; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600"},
	}}, nil
}

// isNavigation tells whether a browser asks for a page that it will show.
func isNavigation(r *proxy.Request) bool {
	if mode, n := r.Get("Sec-Fetch-Mode"); n == 1 {
		return mode == "navigate"
	}
	if x, _ := r.Get("X-Requested-With"); x != "" {
		return false
	}
	accept, _ := r.Get("Accept")
	return strings.Contains(accept, "text/html") && r.Method != "OPTIONS"
}

// referer is the path of the page that a request came from, if that is of this origin.
func referer(r *proxy.Request, origin string) string {
	from, n := r.Get("Referer")
	if n != 1 {
		return "/"
	}
	rest, ok := strings.CutPrefix(from, origin)
	if !ok {
		return "/"
	}
	return local(rest)
}

// own serves the gateway's own paths. It stands behind the engine like a service, so that what comes here is canonical.
func (g *Gateway) own() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+callbackPath, g.serveCallback)
	mux.HandleFunc("GET /.ward/sign-in", g.serveSignIn)
	mux.HandleFunc("GET "+wire.SignOutPath, g.serveSignOutPage)
	mux.HandleFunc("POST "+wire.SignOutPath, g.serveSignOut)
	mux.HandleFunc("GET /.ward/user", g.serveUser)
	mux.HandleFunc("GET "+metadataPath, g.serveMetadata)
	return http.MaxBytesHandler(mux, 4096)
}

// at is where a request to the own paths came to.
func (g *Gateway) at(r *http.Request) (origin string, v wire.Visitor, s *state) {
	s = g.state.Load()
	host := r.Host
	if h, _, err := net.SplitHostPort(r.Host); err == nil {
		host = h
	}
	return s.plan.Origin(host), wire.Visitor{IP: r.Header.Get("X-Forwarded-For"), UserAgent: r.UserAgent(), Fingerprint: r.Header.Get(printField)}, s
}

func problem(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, text, status)
}

// serveCallback ends a sign-in: the code of the query and the cookie of this browser together make a session.
func (g *Gateway) serveCallback(w http.ResponseWriter, r *http.Request) {
	origin, visitor, _ := g.at(r)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	flow, ok := cookie(r.Header.Get("Cookie"), flowCookie)
	code := r.URL.Query().Get("code")
	if !ok || code == "" || len(code) > 128 {
		// An old tab, or somebody else's link (login CSRF): nothing happens but a fresh start.
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	done, err := g.config.SignIn.FinishSignIn(r.Context(), wire.SignInFinish{Origin: origin, Flow: flow, Code: code, Visitor: visitor})
	if err != nil {
		if fault.KindOf(err) == fault.Internal || fault.KindOf(err) == fault.Unavailable {
			g.config.Log.Error("finish sign-in", "error", err)
			problem(w, http.StatusServiceUnavailable, "sign-in isn't available for the moment")
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	g.people.keep(sha256.Sum256([]byte(origin+" "+done.Cookie)), origin, done.Session)
	w.Header().Add("Set-Cookie", sessionCookie+"="+done.Cookie+"; Path=/; Secure; HttpOnly; SameSite=Lax")
	w.Header().Add("Set-Cookie", flowCookie+"=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
	http.Redirect(w, r, local(done.Return), http.StatusSeeOther)
}

// maxReturn is how long a target may be that a sign-in returns to.
const maxReturn = 4096

// local is a target on this origin as every browser reads it, "/" for anything else.
func local(to string) string {
	u, err := url.Parse(to)
	odd := func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '\\' }
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || len(to) > maxReturn || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsFunc(to, odd) {
		return "/"
	}
	return to
}

// serveSignIn is for links of an application: /.ward/sign-in?to=/account.
func (g *Gateway) serveSignIn(w http.ResponseWriter, r *http.Request) {
	origin, visitor, _ := g.at(r)
	v, err := g.begin(r.Context(), wire.SignInBegin{Origin: origin, Return: local(r.URL.Query().Get("to")), Visitor: visitor})
	if err != nil {
		if fault.KindOf(err) == fault.Exhausted {
			w.Header().Set("Retry-After", "5")
		}
		problem(w, fault.KindOf(err).Status(), "sign-in isn't available for the moment")
		return
	}
	for _, h := range v.Respond {
		w.Header().Add(h.Name, h.Value)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(v.Status)
}

// serveSignOutPage leads to the page that asks: a GET, which any site can cause, ends nothing.
func (g *Gateway) serveSignOutPage(w http.ResponseWriter, r *http.Request) {
	_, _, s := g.at(r)
	http.Redirect(w, r, s.pages()+"/sign-out", http.StatusSeeOther)
}

// serveSignOut ends the session. Only this origin's own pages can: serveOwn refuses others.
func (g *Gateway) serveSignOut(w http.ResponseWriter, r *http.Request) {
	origin, visitor, s := g.at(r)
	to := s.pages() + "/signed-out"
	if id := r.Header.Get(sessionField); id != "" {
		ended, err := g.config.SignIn.EndSession(r.Context(), wire.SessionEnd{Session: id, Origin: origin, Visitor: visitor})
		if err != nil {
			problem(w, http.StatusServiceUnavailable, "signing out isn't possible for the moment")
			return
		}
		to = ended.Location
	}
	w.Header().Add("Set-Cookie", sessionCookie+"=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// sessionField and userField carry who was identified to the own paths.
const (
	sessionField = "X-Ward-Session"
	userField    = "X-Ward-Person"
)

// serveUser tells a page's own script who is signed in.
func (g *Gateway) serveUser(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	who, err := base64.RawURLEncoding.DecodeString(r.Header.Get(userField))
	if err != nil || len(who) == 0 {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte("{}\n"))
		return
	}
	_, _ = w.Write(who)
}

func personField(id identified) proxy.Header {
	p := id.person
	if p == nil {
		return proxy.Header{}
	}
	b, err := json.Marshal(wire.Person{ID: p.ID, Email: p.Email, Name: id.name, Groups: p.Groups, Roles: p.Roles, FactorAt: p.FactorAt})
	if err != nil {
		return proxy.Header{}
	}
	return proxy.Header{Name: userField, Value: base64.RawURLEncoding.EncodeToString(b)}
}

func (g *Gateway) serveMetadata(w http.ResponseWriter, r *http.Request) {
	origin, _, s := g.at(r)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client has gone
		"resource": origin, "authorization_servers": []string{s.pages()}, "bearer_methods_supported": []string{"header"},
		"dpop_signing_alg_values_supported": []string{"ES256"}, "tls_client_certificate_bound_access_tokens": true, "resource_name": s.plan.App,
	})
}

// pages is the origin of the sign-in pages, which is the issuer too.
func (s *state) pages() string { return s.plan.Origin(s.plan.Users.Host) }

// isOwn tells whether a request is for the gateway itself.
func isOwn(r *proxy.Request) bool {
	return strings.HasPrefix(r.Path, ownPaths) || r.Path == metadataPath
}

// serveOwn sends a request to the own paths.
func (g *Gateway) serveOwn(ctx context.Context, s *state, r *proxy.Request) proxy.Verdict {
	origin := s.origin(r)
	if crossSite(r, origin) {
		return g.refuse(r, "", http.StatusForbidden, "only pages of this origin may ask for that")
	}
	id := g.people.who(ctx, r, origin, true)
	if id.unavailable && !isSafe(r) {
		return g.refuse(r, "", http.StatusServiceUnavailable, "sign-in isn't available for the moment")
	}
	set := append(showing(r), personField(id))
	if !id.token { // a token is for calls; the session that it came from is the person's
		set = append(set, proxy.Header{Name: sessionField, Value: id.session})
	}
	return proxy.Verdict{Allow: true, Upstream: g.ownPages, Set: set, OwnCookies: true, Respond: strict()}
}

// servePages sends a request to the sign-in pages and the OpenID provider, which are control's.
func (g *Gateway) servePages(s *state, r *proxy.Request) proxy.Verdict {
	if g.config.DialPages == nil || !s.plan.Users.On() {
		return g.refuse(r, "", http.StatusMisdirectedRequest, "this is not the host of the application")
	}
	return proxy.Verdict{Allow: true, Upstream: g.signInPages, Set: showing(r), OwnCookies: true, Respond: strict()}
}

// strict keeps browsers on HTTPS (RFC 6797).
func strict() []proxy.Header {
	return []proxy.Header{{Name: "Strict-Transport-Security", Value: "max-age=31536000"}}
}

// admit finishes what an allowed request takes along: who it is for, and what of cookies and Authorization.
func (g *Gateway) admit(s *state, r *proxy.Request, id identified, m policy.Match) (proxy.Verdict, error) {
	v := proxy.Verdict{Allow: true, Upstream: g.pool(s, m.Target, m.Port)}
	if r.Conn.TLS {
		v.Respond = strict() // once HTTPS, always HTTPS; a service may set more
	}
	rule := &s.plan.Rules[m.Rule]
	switch {
	case !s.plan.Users.On() && rule.Need.When == "":
		return v, nil
	case !s.plan.Users.On():
		err := g.carry(&v, r, id, rule) // the agent judges the condition too
		return v, err
	}
	forwarded := map[string]bool{}
	for _, f := range rule.Forward {
		forwarded[f] = true
	}
	if !forwarded["authorization"] {
		v.Drop = append(v.Drop, "Authorization", "DPoP")
	}
	if field, n := r.Get("Cookie"); n > 0 {
		if others := othersCookies(field); forwarded["cookies"] && n == 1 && others != "" {
			v.Set = append(v.Set, proxy.Header{Name: "Cookie", Value: others})
		} else {
			v.Drop = append(v.Drop, "Cookie")
		}
	}
	err := g.carry(&v, r, id, rule)
	return v, err
}

// carry gives the request its transaction token, and has it begin a trace of its own: by that the agent finds the user of calls
// that a service makes without passing the token on, so a client may not choose it.
func (g *Gateway) carry(v *proxy.Verdict, r *proxy.Request, id identified, rule *plan.Rule) error {
	v.Drop = append(v.Drop, telemetry.TraceParent, "Tracestate")
	if id.person == nil && rule.Need.When == "" {
		return nil
	}
	if !g.published.Load() {
		return errNotPublished
	}
	token, err := g.mint(r, id, rule)
	if err != nil {
		return err
	}
	v.Set = append(v.Set, token)
	return nil
}

// tick reports the sessions in use.
func (g *Gateway) tick(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-t.C:
			g.people.report(ctx, n%30 == 29)
		case <-ctx.Done():
			return
		}
	}
}
