// Package mesh carries every call between services, from the gateway to a service, and from a
// service to an external, and lets pass only what both ends allow.
//
// Guarantee: the caller is known from the listener (made inside its namespace) or from its
// verified SVID, never from what it says; each request is decided by the caller's outbound table and
// by the target's inbound table, on the canonical form that is forwarded; a plan is swapped as a
// whole, between two requests. Without a plan nothing passes. Not guaranteed: what lies
// inside plain TCP.
package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// Dialer reaches a port of a service instance from outside its sandbox.
type Dialer interface {
	Dial(ctx context.Context, port int) (net.Conn, error)
}

// Remote reaches services on other hosts.
type Remote interface {
	// Dial opens a connection to a service's port at its own agent, as caller.
	Dial(ctx context.Context, caller, target string, port int) (net.Conn, error)
}

// Config is what a Mesh needs.
type Config struct {
	// ServerTLS is for the ingress: mutual TLS 1.3 with the identities of the
	// services here.
	ServerTLS *tls.Config
	// PeerService turns a verified peer into the name of a caller of the plan: a service, or
	// plan.Outside for the gateway.
	PeerService func(tls.ConnectionState) (string, error)
	// Remote may be nil: then every service is here.
	Remote Remote
	// Record takes an event for the ledger. It returns when the event is kept.
	Record func(wire.Event)
	Log    *slog.Logger
	// Learn, if not nil, is told of calls between services that no rule allows, and may let them pass.
	Learn Learner
	Clock clock.Clock // nil for the system's
	// Accounts logs services in to databases; nil where the plan has none.
	Accounts Accounts
	// Self is what services may ask Ward itself; nil for nothing but the keys of transaction tokens.
	Self *Self
	// Traces takes the spans that a service sends by OTLP over HTTP; nil for nobody.
	Traces func(service string) http.Handler
	// Meter counts requests; nil for one that nobody reads.
	Meter *telemetry.Meter
}

// Learner watches calls while grants are being learnt.
type Learner interface {
	// Learn notes a call that policy denied and tells whether to let it pass.
	Learn(caller, target string, port int, r *canon.Request) bool
}

// Mesh is the data plane of one host. Its methods are safe for concurrent use.
type Mesh struct {
	config  Config
	engine  *proxy.Engine
	denials *wire.Tally[denied]
	echoes  *wire.Tally[echo]
	users   *users
	self    *selfService
	state   atomic.Pointer[state]
	secrets atomic.Pointer[map[string][]byte] // by name; stored with planning held
	calls   sync.Pool                         // of *call
	// sessions are those of databases.
	sessions   sessions
	quarantine quarantine

	planning  sync.Mutex // held while the state is replaced; taken before mu
	mu        sync.Mutex
	instances map[string][]*instance      // guarded by mu: by service
	pools     map[poolKey]*proxy.Upstream // guarded by mu
	turn      atomic.Uint64
	changed   chan struct{} // guarded by mu: closed and replaced when an instance comes
	wg        sync.WaitGroup
}

// state is one plan, ready to decide with.
type state struct {
	plan      *plan.Plan
	set       *policy.Set
	ids       map[string]string // service → SPIFFE ID
	externals map[string]*external
	databases map[databaseKey][]*database
	hits      []atomic.Int64 // by rule
	series    []verdicts     // by rule
}

type poolKey struct {
	caller string // "" for services of this host, which all callers share
	target string
	port   int
}

type instance struct {
	wire.Instance
	dial      Dialer
	listeners []net.Listener
	open      atomic.Int64 // connections that it has opened
}

// maxOpen bounds the connections that one instance may have open to all its upstreams: a
// taken-over service can't use up the agent.
const maxOpen = 1024

// New returns a Mesh that denies all until SetPlan.
func New(c Config) *Mesh {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.Meter == nil {
		c.Meter = telemetry.NewMeter(c.Clock.Now())
	}
	m := &Mesh{
		config: c, calls: sync.Pool{New: func() any { return &call{} }}, instances: map[string][]*instance{}, pools: map[poolKey]*proxy.Upstream{},
		changed: make(chan struct{}), denials: newDenials(c.Record), echoes: newEchoes(c.Record), users: newUsers(c.Clock), sessions: sessions{keys: map[sessionKey][]byte{}},
	}
	m.self = m.newSelf()
	m.engine = proxy.New(proxy.Config{Decide: m.decide, Done: m.done, Log: c.Log})
	return m
}

// SetPlan puts a plan into force for every request from now on.
func (m *Mesh) SetPlan(p *plan.Plan, today string) error {
	set, err := policy.Compile(p, today)
	if err != nil {
		return fmt.Errorf("compile plan: %w", err)
	}
	s := &state{plan: p, set: set, ids: map[string]string{}, externals: map[string]*external{}, hits: make([]atomic.Int64, len(p.Rules)), series: newSeries(m.config.Meter, p)}
	for i := range p.Services {
		s.ids[string(p.Services[i].Name)] = p.Services[i].ID
	}
	s.ids[plan.Outside] = GatewayID(p.TrustDomain)
	for i := range p.Externals {
		x, err := newExternal(p.Externals[i], p.CAs[string(p.Externals[i].Name)])
		if err != nil {
			return err
		}
		s.externals[string(p.Externals[i].Name)] = x
	}
	if s.databases, err = newDatabases(p); err != nil {
		return err
	}
	m.planning.Lock()
	defer m.planning.Unlock()
	if err := m.replace(s); err != nil {
		return err
	}
	m.dropPools(func(string) bool { return true })
	return nil
}

// replace puts a state into force, with the values that secrets have now. It needs planning.
func (m *Mesh) replace(s *state) error {
	var values map[string][]byte
	if now := m.secrets.Load(); now != nil {
		values = *now
	}
	externals := make(map[string]*external, len(s.externals))
	for name, x := range s.externals {
		x, err := x.with(values)
		if err != nil {
			return err
		}
		externals[name] = x
	}
	s.externals = externals
	m.state.Store(s)
	return nil
}

// SetSecrets takes the values of what is added to calls, and of what databases are logged in to with, by name. They count for every
// request from now on.
func (m *Mesh) SetSecrets(values map[string][]byte) {
	m.planning.Lock()
	defer m.planning.Unlock()
	m.secrets.Store(&values)
	s := m.state.Load()
	if s == nil {
		return
	}
	next := *s
	if err := m.replace(&next); err != nil {
		m.config.Log.Error("add new values of secrets", "error", err) // the plan was fine with the old ones: this can't be
		return
	}
	m.dropPools(func(target string) bool { return s.externals[target].showsAnother(next.externals[target]) })
}

// dropPools lets go of connections whose destination may have changed, or what is shown there.
func (m *Mesh) dropPools(changed func(target string) bool) {
	m.mu.Lock()
	var old []*proxy.Upstream
	for k, u := range m.pools {
		if k.caller != "" && changed(k.target) {
			old = append(old, u)
			delete(m.pools, k)
		}
	}
	m.mu.Unlock()
	for _, u := range old {
		u.Close()
	}
}

// GatewayID is the gateway's SPIFFE ID.
func GatewayID(trustDomain string) string { return "spiffe://" + trustDomain + "/ward/gateway" }

// Attach begins to serve a running instance: its listeners, upstreams[i] for the i-th, and calls to it.
func (m *Mesh) Attach(id wire.Instance, upstreams []plan.Upstream, listeners []net.Listener, d Dialer) {
	in := &instance{Instance: id, dial: d, listeners: listeners}
	m.mu.Lock()
	m.instances[id.Service] = append(m.instances[id.Service], in)
	close(m.changed)
	m.changed = make(chan struct{})
	m.mu.Unlock()
	for i, ln := range listeners {
		if i < len(upstreams) {
			m.wg.Go(func() { m.serveUpstream(in, &upstreams[i], ln) })
		}
	}
}

// Detach forgets an instance that has ended.
func (m *Mesh) Detach(id wire.Instance) {
	m.mu.Lock()
	all := m.instances[id.Service]
	var gone *instance
	for i, in := range all {
		if in.Instance == id {
			gone = in
			// A fresh slice: dialInstance may be reading the old one.
			m.instances[id.Service] = append(append([]*instance(nil), all[:i]...), all[i+1:]...)
			break
		}
	}
	m.mu.Unlock()
	if gone == nil {
		return
	}
	for _, ln := range gone.listeners {
		ln.Close()
	}
	if c, ok := gone.dial.(interface{ Close() }); ok {
		c.Close()
	}
}

// Shutdown stops accepting, finishes what has begun until ctx ends, then closes.
func (m *Mesh) Shutdown(ctx context.Context) {
	m.mu.Lock()
	for _, all := range m.instances {
		for _, in := range all {
			for _, ln := range in.listeners {
				ln.Close()
			}
		}
	}
	m.mu.Unlock()
	if err := m.engine.Shutdown(ctx); err != nil {
		m.config.Log.Info("connections that were still open after draining were closed")
	}
	m.FlushDenials()
}

// FlushDenials writes the counts of denials and echoes that repeat; the owner calls it every second or so.
func (m *Mesh) FlushDenials() {
	m.denials.Flush()
	m.echoes.Flush()
}

// Hits returns how often each rule of the plan in force has been used, and sets the counts back.
func (m *Mesh) Hits() (*plan.Plan, []int64) {
	s := m.state.Load()
	if s == nil {
		return nil, nil
	}
	out := make([]int64, len(s.hits))
	for i := range s.hits {
		out[i] = s.hits[i].Swap(0)
	}
	return s.plan, out
}

// link is a connection's two ends: who calls, and what.
type link struct {
	caller   string
	target   string
	port     int
	protocol model.Protocol
	external bool
	via      string        // "listener" or "ingress", for the record
	instance wire.Instance // the caller's, of a listener

	resolved atomic.Pointer[resolved]
}

// resolved is a link under one plan.
type resolved struct {
	state    *state
	out, in  *policy.Table
	toTarget policy.PeerID
	toCaller policy.PeerID
	pool     *proxy.Upstream
	set      []proxy.Header
	series   series
}

func (m *Mesh) resolve(l *link) *resolved {
	s := m.state.Load()
	if r := l.resolved.Load(); r != nil && r.state == s {
		return r
	}
	if s == nil {
		return nil
	}
	r := &resolved{state: s, out: s.set.Outbound(l.caller), in: s.set.Inbound(l.target), series: m.seriesOf(s, l)}
	r.toTarget, r.toCaller = r.out.Peer(l.target), r.in.Peer(l.caller)
	r.set = []proxy.Header{{Name: "X-Ward-Caller", Value: s.ids[l.caller]}}
	if s.has(l.target) {
		r.pool = m.pool(s, l)
	}
	l.resolved.Store(r)
	return r
}

// has tells whether a name is of the plan. A caller at the ingress names its target as it likes, and nothing may be kept for one that
// isn't there.
func (s *state) has(name string) bool {
	_, ok := s.ids[name]
	return ok || s.externals[name] != nil
}

// serveUpstream accepts what a service dials.
func (m *Mesh) serveUpstream(in *instance, u *plan.Upstream, ln net.Listener) {
	defer ln.Close()
	if u.Target == plan.Self {
		if u.Port == plan.TracesPort {
			m.serveTraces(in.Service, ln)
		} else {
			m.serveSelf(in.Service, ln)
		}
		return
	}
	proxy.Accept(ln, func(c net.Conn) {
		if in.open.Add(1) > maxOpen {
			in.open.Add(-1)
			m.note(denied{caller: in.Service, target: u.Target, port: u.TargetPort, method: "*", malformed: "too many open connections", end: "outbound"})
			c.Close()
			return
		}
		l := &link{caller: in.Service, target: u.Target, port: u.TargetPort, protocol: u.Protocol, external: u.External, via: "listener", instance: in.Instance}
		m.wg.Go(func() {
			defer in.open.Add(-1)
			m.serve(c, l)
		})
	})
}

// serve carries one accepted connection.
func (m *Mesh) serve(c net.Conn, l *link) {
	defer m.quarantine.enter(c, l)()
	ctx := context.Background()
	info := proxy.ConnInfo{Peer: l, Host: l.target}
	switch l.protocol {
	case model.HTTP:
		info.AllowH1 = true
	case model.H2C:
		info.AllowH1, info.AllowH2 = true, true
	case model.GRPC:
		info.AllowH2 = true
	default:
		m.serveTCP(ctx, c, l)
		return
	}
	m.engine.ServeConn(ctx, c, info)
}

// pool returns the connections to a link's target.
func (m *Mesh) pool(s *state, l *link) *proxy.Upstream {
	key := poolKey{target: l.target, port: l.port}
	cfg := proxy.UpstreamConfig{IdleTimeout: time.Minute, Protocol: upstreamProtocol(l.protocol)}
	switch {
	case l.external:
		x := s.externals[l.target]
		if x == nil {
			return nil
		}
		key.caller = l.caller
		cfg.Dial = x.dial
	default:
		if m.isRemote(l.target) {
			key.caller = l.caller // each caller shows its own SVID
		} else {
			cfg.CloseAfterBody = true // the agent at the other end of a remote link reads every body
		}
		cfg.Dial = func(ctx context.Context) (net.Conn, error) { return m.dialService(ctx, l.caller, l.target, l.port) }
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.pools[key]; u != nil {
		return u
	}
	u := proxy.NewUpstream(cfg)
	m.pools[key] = u
	return u
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

func (m *Mesh) isRemote(target string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.config.Remote != nil && len(m.instances[target]) == 0
}

var errNoPlan = errors.New("no plan is in force")

// startWait is how long a call waits for an instance that is being started again.
const startWait = 2 * time.Second

// dialService connects to one of the target's instances, in turn; it waits a
// moment for one that restarts.
func (m *Mesh) dialService(ctx context.Context, caller, target string, port int) (net.Conn, error) {
	if m.isRemote(target) {
		return m.config.Remote.Dial(ctx, caller, target, port)
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for {
		m.mu.Lock()
		all, changed := m.instances[target], m.changed
		m.mu.Unlock()
		var last error
		for range all {
			in := all[m.turn.Add(1)%uint64(len(all))]
			c, err := in.dial.Dial(ctx, port)
			if err == nil {
				return c, nil
			}
			last = err
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			if last == nil {
				last = ctx.Err()
			}
			return nil, fmt.Errorf("no instance of %s accepts connections: %w", target, last)
		}
	}
}
