package gateway

import (
	"context"
	"net/http"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/wire"
)

// consoleState says who may use the console.
type consoleState struct {
	rules  []plan.Rule
	router *policy.Router
}

// consoleHost is where the console is, "" if it isn't behind the gateway.
func (s *state) consoleHost() string {
	if !s.plan.Users.On() || !s.plan.Watch.Console.On() {
		return ""
	}
	return s.plan.Watch.Console.Host
}

// serveConsole sends a request of somebody who may to control's console, which finds out by the cookie itself who it is. Access tokens don't
// count: the console is for browsers, in which a person sits.
func (g *Gateway) serveConsole(ctx context.Context, s *state, r *proxy.Request, c *call) proxy.Verdict {
	if g.config.DialPages == nil {
		return g.refuse(r, "", http.StatusMisdirectedRequest, "this is not the host of the application")
	}
	if embedded(r) {
		return g.refuse(r, "", http.StatusForbidden, "another site's page may lead here, and do no more")
	}
	if isOwn(r) {
		return g.serveOwn(ctx, s, r)
	}
	_, live := r.Get(wire.LiveField)
	id := g.people.who(ctx, r, s.origin(r), live == 0 && r.Path != wire.ConsoleEvents)
	if id.token || id.problem != "" {
		return g.refuse(r, "", http.StatusForbidden, "the console takes no access tokens")
	}
	m := s.console.router.Route(&r.Request, &policy.Context{Person: id.person, IP: addressOf(r.Conn.Remote), Now: g.config.Clock.Now().Unix()})
	switch {
	case m.Reason.Asks():
		return g.toSignIn(ctx, s, r, id, asked{&s.console.rules[m.Rule], m.Reason})
	case !m.Allow:
		return g.closed(s.console.router, r, m.Reason)
	}
	c.routed.in = true
	v := proxy.Verdict{Allow: true, Upstream: g.signInPages, Set: showing(r), Drop: []string{"Authorization", "DPoP"}, OwnCookies: true, Respond: strict()}
	if isSafe(r) { // an act may end the session itself, and is to be answered
		c.stay = g.people.enter(right{id.session, id.bearer})
		v.Ends = c.stay.over
	}
	return v
}

// embedded tells whether a page of another origin makes a request, other than by a link that somebody follows (Fetch Metadata). Services are of the
// console's site, so that cookies come along: a page of one that was taken over could take the places of those who listen, and learn from how long
// an answer takes.
func embedded(r *proxy.Request) bool {
	switch site, n := r.Get("Sec-Fetch-Site"); {
	case n == 0, n == 1 && (site == "same-origin" || site == "none"):
		return false
	}
	mode, _ := r.Get("Sec-Fetch-Mode")
	dest, _ := r.Get("Sec-Fetch-Dest")
	return mode != "navigate" || dest != "document"
}
