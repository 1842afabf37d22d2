package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/wire"
)

// SignIn is control's part of sign-in, as the gateway uses it.
type SignIn interface {
	BeginSignIn(context.Context, wire.SignInBegin) (wire.SignInBegun, error)
	FinishSignIn(context.Context, wire.SignInFinish) (wire.SignInFinished, error)
	Session(context.Context, wire.SessionQuery) (wire.Session, error)
	EndSession(context.Context, wire.SessionEnd) (wire.SessionEnded, error)
	SeeSessions(context.Context, wire.SessionsSeen) error
}

// Names of the gateway's cookies. __Host- binds them to the one origin (RFC 6265bis §4.1.3.2).
const (
	cookiePrefix  = "__Host-ward"
	sessionCookie = wire.SessionCookie
	flowCookie    = "__Host-ward-flow"
)

// maxCached bounds the sessions, and the tokens, that are remembered.
const maxCached = 100_000

// askTimeout is how long control may take to say whose a cookie is.
const askTimeout = 3 * time.Second

// people knows who is signed in: sessions by cookie, and bearer tokens that were verified.
type people struct {
	signIn SignIn
	clock  clock.Clock

	mu       sync.Mutex
	issuers  map[string]issuer       // guarded by mu: whose access tokens count
	ended    map[string]bool         // guarded by mu: sessions and tokens
	sessions map[[32]byte]*session   // guarded by mu: by the hash of cookie and origin
	tokens   map[[32]byte]*bearer    // guarded by mu: by the hash of token and origin
	seen     map[string]bool         // guarded by mu: since the last report
	moved    map[string]wire.Visitor // guarded by mu
	asked    map[[32]byte]*question  // guarded by mu: cookies that control is being asked about
	open     map[right]*stay         // guarded by mu: what is under way
	visits   map[visit][32]byte      // guarded by mu: the key in sessions
	idle     time.Duration           // guarded by mu: a session that wasn't used for so long is asked about again; 0 for never
	proofs   map[string]time.Time    // guarded by mu: jti of DPoP proofs, until they are too old
}

// issuer is an authority of access tokens.
type issuer struct {
	keys     jose.Keys
	audience []string // nil: ours, whose audience is the origin
	typ      string
	own      bool
}

// session is a signed-in browser.
type session struct {
	wire.Session
	person policy.Person
	visit  visit
	used   time.Time // guarded by people.mu
}

// visit is a session at an origin, which has one cookie.
type visit struct{ session, origin string }

// bearer is a verified access token.
type bearer struct {
	id, session string // jti, sid
	person      policy.Person
	name        string
	expires     time.Time
	jkt         string // RFC 9449: the key it is bound to
	x5t         string // RFC 8705: the certificate it is bound to
	scope       string
	program     bool // it is a client's own (RFC 6749 §4.4), nobody's
}

func newPeople(s SignIn, c clock.Clock) *people {
	return &people{
		signIn: s, clock: c, issuers: map[string]issuer{}, ended: map[string]bool{},
		sessions: map[[32]byte]*session{}, tokens: map[[32]byte]*bearer{}, seen: map[string]bool{}, moved: map[string]wire.Visitor{},
		asked: map[[32]byte]*question{}, visits: map[visit][32]byte{}, open: map[right]*stay{}, proofs: map[string]time.Time{},
	}
}

// setIdle takes how long a session lasts without a request.
func (p *people) setIdle(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = d
}

// set takes control's state of people: keys, and what has ended. Without keys no token counts.
func (p *people) set(s *wire.UserState, foreign map[string]issuer) error {
	issuers := map[string]issuer{}
	keys, err := jose.ParseKeySet(s.TokenKeys)
	if err != nil {
		err = fmt.Errorf("take keys of access tokens: %w", err)
	} else {
		issuers[s.Issuer] = issuer{keys: keys, typ: "at+jwt", own: true}
	}
	for name, i := range foreign {
		if name != s.Issuer {
			issuers[name] = i
		}
	}
	ended := make(map[string]bool, len(s.Ended))
	for _, id := range s.Ended {
		ended[id] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.issuers, p.ended = issuers, ended
	clear(p.tokens) // a key may be gone
	renewed := make(map[string]bool, len(s.Renewed))
	for _, id := range s.Renewed {
		renewed[id] = true
	}
	for k, v := range p.sessions {
		if ended[v.ID] || renewed[v.ID] {
			p.drop(k)
		}
	}
	for by, s := range p.open {
		if by.ended(ended) {
			delete(p.open, by)
			close(s.over)
		}
	}
	return err
}

// right is by what a request of a person may be made: a session, and the access token of it that was shown, "" for its cookie.
type right struct{ session, token string }

func (r right) ended(ended map[string]bool) bool { return ended[r.session] || ended[r.token] }

// stay is what is under way by one right.
type stay struct {
	right    right
	over     chan struct{} // closed when the right ends
	requests int           // guarded by people.mu
}

// enter notes that a request is under way; leave it.
func (p *people) enter(by right) *stay {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.open[by]
	if s == nil {
		s = &stay{right: by, over: make(chan struct{})}
		if by.ended(p.ended) { // since it was identified
			close(s.over)
			return s
		}
		p.open[by] = s
	}
	s.requests++
	return s
}

func (p *people) leave(s *stay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.requests--; s.requests == 0 && p.open[s.right] == s {
		delete(p.open, s.right)
	}
}

// identified is who a request is from.
type identified struct {
	person  *policy.Person // nil: nobody
	name    string
	session string
	token   bool   // an access token said so, not a cookie
	bearer  string // its ID
	// problem is why credentials that came don't count: an error of RFC 6750 §3.1, "" for none.
	problem, detail string
	unavailable     bool // control was needed, and didn't answer
	dpop            bool // the token must come with a proof
}

// who finds out whose a request is. Of a request with an access token the cookie doesn't count. What isn't a use by the person doesn't keep their
// session from ending.
func (p *people) who(ctx context.Context, r *proxy.Request, origin string, use bool) identified {
	if auth, n := r.Get("Authorization"); n == 1 {
		if scheme, token, ok := strings.Cut(auth, " "); ok && (strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "DPoP")) {
			return p.byToken(r, origin, strings.EqualFold(scheme, "DPoP"), strings.TrimLeft(token, " "))
		}
	}
	cookies, n := r.Get("Cookie")
	if n != 1 {
		return identified{}
	}
	secret, ok := cookie(cookies, sessionCookie)
	if !ok || crossSite(r, origin) {
		return identified{}
	}
	s, err := p.session(ctx, origin, secret)
	if err != nil {
		return identified{unavailable: true}
	}
	if s == nil {
		return identified{}
	}
	if use {
		p.note(s, visitorOf(r))
	}
	return identified{person: &s.person, name: s.Person.Name, session: s.ID}
}

// session returns a cookie's session, nil for one that isn't; an error if control doesn't answer.
func (p *people) session(ctx context.Context, origin, secret string) (*session, error) {
	key := sha256.Sum256([]byte(origin + " " + secret))
	now := p.clock.Now()
	p.mu.Lock()
	if s := p.sessions[key]; s != nil {
		if s.Expires > now.Unix() && !p.ended[s.ID] && (p.idle == 0 || now.Sub(s.used) < p.idle) {
			p.mu.Unlock()
			return s, nil
		}
		p.drop(key) // control may know more: of use at another origin
	}
	q := p.asked[key]
	first := q == nil
	if first {
		q = &question{answered: make(chan struct{})}
		p.asked[key] = q
	}
	p.mu.Unlock()
	if first {
		p.ask(ctx, key, q, wire.SessionQuery{Origin: origin, Cookie: secret})
	}
	select {
	case <-q.answered:
		return q.session, q.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// question is one to control about a cookie; session and err may be read once it is answered.
type question struct {
	answered chan struct{}
	session  *session
	err      error
}

// ask answers q. Others wait for it too, so that it doesn't end with the first one's request.
func (p *people) ask(ctx context.Context, key [32]byte, q *question, about wire.SessionQuery) {
	defer func() {
		p.mu.Lock()
		delete(p.asked, key)
		p.mu.Unlock()
		close(q.answered)
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	got, err := p.signIn.Session(ctx, about)
	if err == nil {
		q.session = p.keep(key, about.Origin, got)
		return
	}
	if k := fault.KindOf(err); k != fault.NotFound && k != fault.Refused && k != fault.Invalid {
		q.err = fmt.Errorf("ask for session: %w", err)
	}
}

// keep remembers a session by its cookie, in place of the one that it had at that origin before.
func (p *people) keep(key [32]byte, origin string, got wire.Session) *session {
	w := got.Person
	s := &session{
		Session: got, person: policy.Person{ID: w.ID, Email: w.Email, Groups: w.Groups, Roles: w.Roles, FactorAt: w.FactorAt},
		visit: visit{got.ID, origin}, used: p.clock.Now(),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended[got.ID] {
		return nil
	}
	if before, ok := p.visits[s.visit]; ok {
		p.drop(before)
	}
	if len(p.sessions) >= maxCached {
		clear(p.sessions)
		clear(p.visits)
	}
	p.sessions[key], p.visits[s.visit] = s, key
	return s
}

// drop needs p.mu.
func (p *people) drop(key [32]byte) {
	if s := p.sessions[key]; s != nil {
		delete(p.sessions, key)
		delete(p.visits, s.visit)
	}
}

// note counts a session as in use, and notices when its cookie has moved to another program.
func (p *people) note(s *session, v wire.Visitor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[s.ID], s.used = true, p.clock.Now()
	if s.Fingerprint != "" && v.Fingerprint != "" && s.Fingerprint != v.Fingerprint && len(p.moved) < 1000 {
		v.UserAgent = wire.Clip(v.UserAgent)
		p.moved[s.ID] = v
	}
}

// report tells control which sessions were in use; moved ones at once. With all, old proofs are forgotten.
func (p *people) report(ctx context.Context, all bool) {
	now := p.clock.Now()
	p.mu.Lock()
	if all {
		maps.DeleteFunc(p.proofs, func(_ string, until time.Time) bool { return now.After(until) })
	}
	r := wire.SessionsSeen{Moved: p.moved}
	if all {
		for id := range p.seen {
			r.Sessions = append(r.Sessions, id)
		}
	}
	if len(r.Sessions) == 0 && len(r.Moved) == 0 {
		p.mu.Unlock()
		return
	}
	p.moved = map[string]wire.Visitor{}
	if all {
		clear(p.seen)
	}
	p.mu.Unlock()
	if err := p.signIn.SeeSessions(ctx, r); err != nil {
		p.mu.Lock()
		for _, id := range r.Sessions {
			p.seen[id] = true
		}
		p.mu.Unlock()
	}
}

// cookie is the value of the one cookie of a name; ok is false if there is none or more than one.
func cookie(field, name string) (value string, ok bool) {
	for pair := range strings.SplitSeq(field, ";") {
		k, v, has := strings.Cut(strings.Trim(pair, " \t"), "=")
		if !has || k != name {
			continue
		}
		if ok {
			return "", false
		}
		value, ok = v, true
	}
	return value, ok && value != "" && len(value) <= 128
}

// othersCookies is a Cookie field without the gateway's own.
func othersCookies(field string) string {
	var out []string
	for pair := range strings.SplitSeq(field, ";") {
		pair = strings.Trim(pair, " \t")
		if pair != "" && !(len(pair) >= len(cookiePrefix) && strings.EqualFold(pair[:len(cookiePrefix)], cookiePrefix)) {
			out = append(out, pair)
		}
	}
	return strings.Join(out, "; ")
}

// crossSite tells whether a browser sends an effect on behalf of another origin (Fetch Metadata; where that is missing, Origin). A
// WebSocket counts as one: it isn't bound by the same-origin policy.
func crossSite(r *proxy.Request, origin string) bool {
	if isSafe(r) {
		return false
	}
	switch site, n := r.Get("Sec-Fetch-Site"); {
	case n == 1 && (site == "same-origin" || site == "none"):
		return false
	case n > 0:
		return true
	}
	from, n := r.Get("Origin")
	return n > 1 || n == 1 && from != origin
}

// visitorOf says where a request comes from.
func visitorOf(r *proxy.Request) wire.Visitor {
	ua, _ := r.Get("User-Agent")
	v := wire.Visitor{IP: addressOf(r.Conn.Remote), UserAgent: strings.Clone(ua)}
	if c, ok := r.Conn.Peer.(*client); ok {
		v.Fingerprint = c.print()
	}
	return v
}

var errNoKeys = errors.New("control hasn't told who may issue tokens")
