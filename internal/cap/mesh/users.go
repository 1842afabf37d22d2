package mesh

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/txn"
)

// users knows which user's requests are under way at which service. A token counts for a service's call only while
// a request that brought it to that very service is being answered there.
type users struct {
	clock clock.Clock

	mu     sync.Mutex
	keys   *jose.KeySet            // guarded by mu: the gateways' published keys
	ended  map[string]time.Time    // guarded by mu: sessions that were ended, until their last token has
	live   map[liveKey]*live       // guarded by mu: by transaction
	traces map[liveKey]*live       // guarded by mu: by trace ID
	known  map[string]*txn.Context // guarded by mu: verified tokens, at most maxKnown
}

type liveKey struct{ service, id string }

// live is a transaction at one service.
type live struct {
	key      liveKey
	context  *txn.Context
	requests int // that brought it and haven't been answered
}

// maxKnown bounds the tokens whose verification is remembered.
const maxKnown = 8192

func newUsers(c clock.Clock) *users {
	return &users{clock: c, ended: map[string]time.Time{}, live: map[liveKey]*live{}, traces: map[liveKey]*live{}, known: map[string]*txn.Context{}}
}

// SetUsers takes the keys that verify transaction tokens and the sessions that have ended, which ends their requests' calls.
func (m *Mesh) SetUsers(keys *jose.KeySet, ended []string) {
	u := m.users
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.clock.Now()
	u.keys = keys
	for sid, until := range u.ended {
		if now.After(until) {
			delete(u.ended, sid)
		}
	}
	for _, sid := range ended {
		u.ended[sid] = now.Add(2 * txn.Life)
	}
	clear(u.known) // a key may be gone
}

// Why a request comes without the user that it names.
const (
	notLive   = "the transaction isn't under way at the caller"
	notSigned = "not a valid transaction token"
	isEnded   = "the session has ended"
)

// context is the user of a request. Where it names one that doesn't count, the context is nil and refused says why.
func (u *users) context(s *state, l *link, r *proxy.Request) (c *txn.Context, refused string) {
	token, n := r.Get(txn.Header)
	trusted := l.via == "ingress" // the gateway, or the agent of the caller's host, which has looked itself
	switch {
	case n > 1:
		return nil, notSigned
	case n == 0 && trusted:
		return nil, ""
	case n == 0:
		return u.byTrace(l.caller, traceOf(r)), ""
	}
	now := u.clock.Now()
	u.mu.Lock()
	c, keys := u.known[token], u.keys
	u.mu.Unlock()
	if c == nil || now.After(c.Expires) {
		if keys == nil {
			return nil, notSigned
		}
		var err error
		if c, err = txn.Check(strings.Clone(token), keys, GatewayID(s.plan.TrustDomain), s.plan.TrustDomain, now); err != nil {
			return nil, notSigned
		}
		u.remember(c)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, over := u.ended[c.Session]; over && c.Session != "" {
		return nil, isEnded
	}
	if at := u.live[liveKey{l.caller, c.ID}]; !trusted && (at == nil || at.context.Token != token) {
		return nil, notLive
	}
	return c, ""
}

// remember keeps a verified token; when there are too many, all are forgotten.
func (u *users) remember(c *txn.Context) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.known) >= maxKnown {
		clear(u.known)
	}
	u.known[c.Token] = c
}

// byTrace is the user of the one transaction that is under way at a service in a trace.
func (u *users) byTrace(service, trace string) *txn.Context {
	if trace == "" {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	at := u.traces[liveKey{service, trace}]
	if at == nil || at.context == nil || u.clock.Now().After(at.context.Expires) {
		return nil
	}
	if _, over := u.ended[at.context.Session]; over && at.context.Session != "" {
		return nil
	}
	return at.context
}

// enter notes that a transaction is under way at a service; what comes back is to be left.
func (u *users) enter(service string, c *txn.Context, trace string) *visit {
	u.mu.Lock()
	defer u.mu.Unlock()
	v := &visit{users: u, at: u.count(u.live, liveKey{service, c.ID}, c)}
	if trace != "" {
		v.trace = u.count(u.traces, liveKey{service, strings.Clone(trace)}, c)
		if v.trace.context != nil && v.trace.context.ID != c.ID {
			v.trace.context = nil // two users in one trace: nobody can tell whose call it is
		}
	}
	return v
}

// count needs u.mu.
func (u *users) count(in map[liveKey]*live, k liveKey, c *txn.Context) *live {
	at := in[k]
	if at == nil {
		at = &live{key: k, context: c}
		in[k] = at
	}
	at.requests++
	return at
}

// visit is one request of a transaction at a service.
type visit struct {
	users     *users
	at, trace *live
}

func (v *visit) leave() {
	u := v.users
	u.mu.Lock()
	defer u.mu.Unlock()
	for in, at := range map[*map[liveKey]*live]*live{&u.live: v.at, &u.traces: v.trace} {
		if at == nil {
			continue
		}
		if at.requests--; at.requests == 0 {
			delete(*in, at.key)
		}
	}
}

// traceOf is the trace ID of a request, "" for none.
func traceOf(r *proxy.Request) string { return telemetry.TraceOf(r.Get(telemetry.TraceParent)) }

// policyContext is what the tables may ask about; nil for nobody.
func policyContext(c *txn.Context, now time.Time) *policy.Context {
	if c == nil {
		return nil
	}
	pc := c.Context
	pc.Now = now.Unix()
	return &pc
}

// tell are the fields by which a service learns who is calling and for whom. A service may believe them: only the
// agent can set them.
func tell(base []proxy.Header, c *txn.Context) []proxy.Header {
	if c == nil {
		return base
	}
	out := append(base[:len(base):len(base)], proxy.Header{Name: txn.Header, Value: c.Token})
	p := c.Person
	if p == nil {
		return out
	}
	add := func(name, value string) {
		if value != "" {
			out = append(out, proxy.Header{Name: name, Value: headerSafe(value)})
		}
	}
	add("X-Ward-User", p.ID)
	add("X-Ward-User-Email", p.Email)
	add("X-Ward-User-Name", c.Name)
	add("X-Ward-User-Groups", strings.Join(p.Groups, ","))
	add("X-Ward-User-Roles", strings.Join(p.Roles, ","))
	if p.FactorAt > 0 {
		add("X-Ward-User-Factor-Time", strconv.FormatInt(p.FactorAt, 10))
	}
	return out
}

// headerSafe keeps what a field can hold as it is, and writes the rest in percent-encoding (RFC 8187 §3.2.1's set).
func headerSafe(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '%' }) {
		return s
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// misused notes that a service used a token that doesn't count for it: a sign that it was taken over.
func (m *Mesh) misused(l *link, why string) {
	if l.caller == plan.Outside {
		why = "from the gateway: " + why
	}
	m.note(denied{caller: l.caller, target: l.target, port: l.port, method: "*", token: why, end: "outbound"})
}
