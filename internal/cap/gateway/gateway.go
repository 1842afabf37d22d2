// Package gateway is the one way in: TLS, canonical requests, the routes of expose:, and then
// mutual TLS to the agent, which decides again.
//
// Guarantee: a route that no expose: opens is not reachable; what is forwarded is what was decided
// on; X-Forwarded-* say what the gateway saw, whatever the client claims; where users: is in force, who a request is from is
// known from a session or a token that was verified, what is under way for a session is cut when it ends, and cookies
// and Authorization stop here unless the route forwards them; secrets of the application in responses' text, uncompressed,
// become asterisks. It holds its own certificate, the key of its transaction tokens, public keys and secrets' fingerprints, no
// secret of anybody else's but the cookies that pass.
package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/base/pki"
	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/txn"
	"github.com/wardhq/ward/internal/wire"
)

// Config is what a Gateway needs.
type Config struct {
	Self  pki.Source // the gateway's identity
	Clock clock.Clock
	// Certificate is for browsers; nil for Self's.
	Certificate *tls.Certificate
	// Roots are the application's own authorities; nil: clients are asked for no certificate.
	Roots func() (*x509.CertPool, error)
	// DialAgent opens a connection to the agent's ingress.
	DialAgent func(context.Context) (net.Conn, error)
	// Record takes an event for the ledger and returns when it is kept.
	Record func(wire.Event)
	Log    *slog.Logger
	// SignIn is control's part of sign-in, and DialPages reaches its pages; both nil where there is none.
	SignIn    SignIn
	DialPages func(context.Context) (net.Conn, error)
	// Meter counts requests; nil for one that nobody reads.
	Meter *telemetry.Meter
}

// Gateway serves the outside. Its methods are safe for concurrent use.
type Gateway struct {
	config  Config
	engine  *proxy.Engine
	tls     *tls.Config
	state   atomic.Pointer[state]
	refused *wire.Tally[refusal]
	leaks   *wire.Tally[leaked]
	prints  atomic.Pointer[leak.Fingerprints] // nil until control has told them
	clients clients
	begins  begins
	people  *people
	key     *jose.Key // signs transaction tokens
	// published: agents know key.
	published atomic.Bool
	sights    sights
	standing  atomic.Pointer[standing] // nil until control has told it

	ownPages, signInPages *proxy.Upstream
	ownServer             *http.Server

	calls sync.Pool // of *call
	mu    sync.Mutex
	pools map[poolKey]*proxy.Upstream // guarded by mu
	wg    sync.WaitGroup
}

type state struct {
	plan   *plan.Plan
	router *policy.Router
	table  *policy.Table
	ids    map[string]string
	routes routes

	console consoleState
}

type poolKey struct {
	target   string
	port     int
	protocol model.Protocol
}

// New returns a Gateway that refuses all until SetPlan.
func New(c Config) (*Gateway, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Meter == nil {
		c.Meter = telemetry.NewMeter(c.Clock.Now())
	}
	key, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("make gateway: %w", err)
	}
	g := &Gateway{key: key, people: newPeople(c.SignIn, c.Clock), config: c, pools: map[poolKey]*proxy.Upstream{}, refused: newRefusals(c.Record), leaks: newLeaks(c.Record), clients: clients{open: map[netip.Prefix]int{}}}
	g.calls.New = func() any { return &call{} }
	g.engine = proxy.New(proxy.Config{Decide: g.decide, Done: g.done, Edge: true, Cookies: cookiePrefix, Strip: []string{txn.Header}, Log: c.Log, Slow: slowBody, Limits: proxy.Limits{Conns: 20_000, Idle: 75 * time.Second, Rate: bodyRate}})
	g.tls = &tls.Config{
		MinVersion: tls.VersionTLS12, // TLS 1.3 wherever the client can
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c.Certificate != nil {
				return c.Certificate, nil
			}
			return c.Self.Certificate()
		},
		Time: c.Clock.Now,
	}
	g.tls.GetConfigForClient = g.hello
	inside := newPipes()
	g.ownServer = &http.Server{Handler: g.own(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	g.wg.Go(func() { _ = g.ownServer.Serve(inside) }) // ends with Shutdown
	g.ownPages = proxy.NewUpstream(proxy.UpstreamConfig{Dial: inside.dial})
	if c.DialPages != nil {
		g.signInPages = proxy.NewUpstream(proxy.UpstreamConfig{Dial: c.DialPages, CloseAfterBody: true})
	}
	return g, nil
}

// Run reports the use of sessions to control until ctx ends.
func (g *Gateway) Run(ctx context.Context) {
	if g.config.SignIn != nil {
		g.tick(ctx)
	}
}

// SetPlan puts a plan into force for every request from now on.
func (g *Gateway) SetPlan(p *plan.Plan, today string) error {
	set, err := policy.Compile(p, today)
	if err != nil {
		return fmt.Errorf("compile plan: %w", err)
	}
	own := p.Console()
	console, err := policy.Compile(own, today)
	if err != nil {
		return fmt.Errorf("compile plan of the console: %w", err)
	}
	s := &state{plan: p, console: consoleState{own.Rules, console.Exposed()}, router: set.Exposed(), table: set.Outbound(plan.Outside), ids: map[string]string{}, routes: newRoutes(g.config.Meter, p)}
	for i := range p.Services {
		s.ids[string(p.Services[i].Name)] = p.Services[i].ID
	}
	g.people.setIdle(time.Duration(p.Users.Idle) * time.Second)
	g.state.Store(s)
	return nil
}

// ServeHTTPS accepts the outside until ln is closed.
func (g *Gateway) ServeHTTPS(ln net.Listener) {
	proxy.Accept(ln, func(c net.Conn) {
		leave, ok := g.clients.enter(c.RemoteAddr())
		if !ok {
			c.Close()
			return
		}
		g.wg.Go(func() {
			defer leave()
			who := &client{from: clientOf(c.RemoteAddr()), since: g.config.Clock.Now(), conn: c, clock: &g.sights.clock}
			t := tls.Server(&edgeConn{c, who}, g.tls)
			g.sights.connected(who)
			g.engine.ServeConn(context.Background(), t, proxy.ConnInfo{Peer: who, AllowH1: true, AllowH2: true, TLS: true})
			g.sights.gone(who)
		})
	})
}

// ServeRedirect answers plain HTTP with the way to HTTPS, until ctx ends.
func (g *Gateway) ServeRedirect(ctx context.Context, ln net.Listener) {
	s := &http.Server{
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			st := g.state.Load()
			req, err := canon.New(r.Method, r.Host, r.RequestURI)
			if err != nil || st == nil {
				http.Error(w, "bad request", http.StatusBadRequest)
				return
			}
			host := st.plan.Gateway.Host // the model's, not what the client says
			switch own := req.Host != "" && (req.Host == st.plan.Users.Host || req.Host == st.consoleHost()); {
			case own:
				host = req.Host
			case !st.isHost(req.Host):
				http.Error(w, "bad request", http.StatusBadRequest)
				return
			}
			w.Header().Set("Location", st.plan.Origin(host)+req.Target())
			w.WriteHeader(http.StatusPermanentRedirect)
		}),
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(ln); err != nil && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		g.config.Log.Error("serve redirects", "error", err)
	}
}

// isHost tells whether a request is for this gateway. On a loopback listener localhost and its addresses
// count too.
func (s *state) isHost(h string) bool {
	if strings.EqualFold(h, s.plan.Gateway.Host) {
		return true
	}
	host, _, err := net.SplitHostPort(s.plan.Gateway.Listen)
	if err != nil {
		return false
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		return false
	}
	if h == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(h, "[]"))
	return err == nil && ip.IsLoopback()
}

// judge routes and decides a request from outside, and notes in c where it led.
func (g *Gateway) judge(ctx context.Context, s *state, r *proxy.Request, c *call) proxy.Verdict {
	users := s.plan.Users.On()
	switch {
	case users && r.Host == s.plan.Users.Host:
		c.routed.own = signInPages
		return g.servePages(s, r)
	case users && r.Host == s.consoleHost():
		c.routed.own = consolePages
		return g.serveConsole(ctx, s, r, c)
	case !s.isHost(r.Host):
		return g.refuse(r, "", http.StatusMisdirectedRequest, "this is not the host of the application")
	case users && isOwn(r):
		c.routed.own = signInPages
		return g.serveOwn(ctx, s, r)
	}
	var id identified
	now := policy.Context{IP: addressOf(r.Conn.Remote), Now: g.config.Clock.Now().Unix()}
	if users {
		id = g.people.who(ctx, r, s.origin(r), true)
		now.Person = id.person
	}
	m := s.router.Route(&r.Request, &now)
	c.routed.rule = m.Rule
	if m.Reason.Asks() {
		return g.toSignIn(ctx, s, r, id, asked{&s.plan.Rules[m.Rule], m.Reason})
	}
	if !m.Allow {
		return g.closed(s.router, r, m.Reason)
	}
	v, err := g.admit(s, r, id, m)
	if err != nil {
		g.config.Log.Error("admit request", "error", err)
		return proxy.Verdict{Status: fault.KindOf(err).Status(), Public: fault.PublicText(err)}
	}
	if id.session != "" {
		c.stay = g.people.enter(right{id.session, id.bearer})
		v.Ends = c.stay.over
	}
	if v.Allow {
		v.Masks = g.masksFor(s, r, m)
	}
	return v
}

// closed answers for a route that isn't open.
func (g *Gateway) closed(router *policy.Router, r *proxy.Request, reason policy.Reason) proxy.Verdict {
	switch reason {
	case policy.NoMethod:
		v := g.refuse(r, "", http.StatusMethodNotAllowed, "the route has no such method")
		v.Respond = []proxy.Header{{Name: "Allow", Value: strings.Join(router.Methods(r.Path), ", ")}}
		return v
	case policy.NoRoute, policy.NoRule, policy.WrongProtocol, policy.UnknownPeer:
		return g.refuse(r, "", http.StatusNotFound, "no such route")
	}
	return g.refuse(r, "", http.StatusForbidden, "not allowed")
}

func (g *Gateway) refuse(r *proxy.Request, target string, status int, public string) proxy.Verdict {
	id := g.refused.Note(refusal{method: wire.Clip(r.Method), path: wire.Clip(r.Path), host: wire.Clip(r.Host), status: status})
	return proxy.Verdict{Status: status, Public: public, DenialID: id}
}

// pool returns the connections to a service's port, each mutual TLS with that service's own identity.
func (g *Gateway) pool(s *state, target string, port int) *proxy.Upstream {
	key := poolKey{target, port, s.protocol(target, port)}
	g.mu.Lock()
	defer g.mu.Unlock()
	if u := g.pools[key]; u != nil {
		return u
	}
	cfg := pki.Client(g.config.Clock, g.config.Self, s.plan.TrustDomain, s.ids[target], pki.TargetName(target, port, s.plan.TrustDomain))
	u := proxy.NewUpstream(proxy.UpstreamConfig{
		Protocol: upstreamProtocol(key.protocol), IdleTimeout: time.Minute,
		Dial: func(ctx context.Context) (net.Conn, error) {
			c, err := g.config.DialAgent(ctx)
			if err != nil {
				return nil, err
			}
			t := tls.Client(c, cfg)
			if err := t.HandshakeContext(ctx); err != nil {
				c.Close()
				return nil, fmt.Errorf("connect to %s: %w", target, err)
			}
			return t, nil
		},
	})
	g.pools[key] = u
	return u
}

func (s *state) protocol(target string, port int) model.Protocol {
	for i := range s.plan.Services {
		if string(s.plan.Services[i].Name) != target {
			continue
		}
		for _, l := range s.plan.Services[i].Listen {
			if l.Port == port {
				return l.Protocol
			}
		}
	}
	return model.ProtocolUnknown
}

func upstreamProtocol(p model.Protocol) proxy.Protocol {
	switch p {
	case model.GRPC:
		return proxy.H2
	case model.H2C:
		return proxy.Both
	}
	return proxy.H1
}

// Shutdown finishes what has begun until ctx ends, then closes.
func (g *Gateway) Shutdown(ctx context.Context) {
	if err := g.engine.Shutdown(ctx); err != nil {
		g.config.Log.Info("connections that were still open after draining were closed")
	}
	g.Flush()
	g.ownServer.Close()
	g.wg.Wait()
}

// Flush writes the counts of refusals and leaks that repeat.
func (g *Gateway) Flush() {
	g.refused.Flush()
	g.leaks.Flush()
}
