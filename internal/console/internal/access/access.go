// Package access lets people into the console: by one-time links, or because they signed in behind the gateway; their roles, and the token that
// every act carries.
//
// Guarantee: a link works once and for a minute; link and cookie are 256 random bits, of which only the hash is kept, in memory alone; a session
// ends after half a day, or an hour in which nobody used it, and with control. How many there are is bounded: the oldest gives way. Not
// guaranteed: who holds a link; whoever asks for it says who it is for. Of who signed in the caller has to know with each request that they still are.
package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"slices"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
)

// Role is what somebody may do. A greater one may do what lesser ones may.
type Role uint8

// The roles. The zero Role may nothing.
const (
	Nobody        Role = iota
	Viewer             // sees
	Operator           // acts on findings, silences, blocks clients
	Administrator      // people, quarantine
)

// String is the role's name.
func (r Role) String() string {
	return [...]string{"nobody", "viewer", "operator", "administrator"}[min(r, Administrator)]
}

// RoleOf is the role of a name; Nobody for other words.
func RoleOf(name string) Role {
	for r := Viewer; r <= Administrator; r++ {
		if r.String() == name {
			return r
		}
	}
	return Nobody
}

// Limits of a Desk.
const (
	LinkLife    = time.Minute
	sessionLife = 12 * time.Hour
	idleLife    = time.Hour
	freshLife   = plan.ConsoleFreshFactor * time.Second
	maxLinks    = 100
	maxSessions = 200
)

// Person is who uses the console.
type Person struct {
	Name string
	Role Role
	ID   string // of who signed in; "" for who came by a link
}

// RoleIn is the greatest role that somebody has by the words of ward.yaml, as the policy reads them.
func RoleIn(c *model.Console, p *policy.Person) Role {
	switch {
	case slices.ContainsFunc(c.Administrator, p.Is):
		return Administrator
	case slices.ContainsFunc(c.Operator, p.Is):
		return Operator
	case slices.ContainsFunc(c.Viewer, p.Is):
		return Viewer
	}
	return Nobody
}

// Session is a person at a browser.
type Session struct {
	Person
	// Token comes with every act: what another site makes the browser send doesn't know it.
	Token string

	began, seen time.Time
	proved      time.Time // when the person last showed more than the session's cookie: the link, or a second factor
	noted       bool      // that a guest came is on record
}

// Fresh tells whether the person showed who they are lately enough for a strong act.
func (s *Session) Fresh(now time.Time) bool { return now.Sub(s.proved) < freshLife }

// Holds tells whether a token is the session's.
func (s *Session) Holds(token string) bool {
	return s.Token != "" && subtle.ConstantTimeCompare([]byte(token), []byte(s.Token)) == 1
}

type digest [sha256.Size]byte

type link struct {
	Person
	ends time.Time
}

// Desk gives links and keeps sessions. It is safe for concurrent use.
type Desk struct {
	clock clock.Clock

	mu       sync.Mutex
	links    map[digest]link     // guarded by mu
	sessions map[digest]*Session // guarded by mu: of who came by a link, by cookie
	guests   map[digest]*Session // guarded by mu: of who signed in, by the sign-in
}

// New returns a Desk that knows nobody.
func New(c clock.Clock) *Desk {
	return &Desk{clock: c, links: map[digest]link{}, sessions: map[digest]*Session{}, guests: map[digest]*Session{}}
}

// draw is 256 random bits as text.
func draw() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Invite returns the secret of a link for one person, once.
func (d *Desk) Invite(p Person) (string, error) {
	if p.Name == "" || p.Role == Nobody || p.Role > Administrator {
		return "", fault.New(fault.Invalid, "a link is for somebody with a role: viewer, operator or administrator")
	}
	now := d.clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, l := range d.links {
		if !now.Before(l.ends) {
			delete(d.links, k)
		}
	}
	if len(d.links) >= maxLinks {
		return "", fault.New(fault.Exhausted, "too many links wait to be used; each is good for a minute")
	}
	token := draw()
	d.links[sha256.Sum256([]byte(token))] = link{p, now.Add(LinkLife)}
	return token, nil
}

// Enter makes a session of a link, which it uses up, and returns the session's cookie.
func (d *Desk) Enter(token string) (cookie string, p Person, err error) {
	now, key := d.clock.Now(), digest(sha256.Sum256([]byte(token)))
	d.mu.Lock()
	defer d.mu.Unlock()
	l, ok := d.links[key]
	delete(d.links, key)
	if !ok || !now.Before(l.ends) {
		return "", Person{}, fault.New(fault.Refused, "this link was used before, or is older than a minute")
	}
	sweep(d.sessions, now)
	cookie = draw()
	d.sessions[sha256.Sum256([]byte(cookie))] = &Session{Person: l.Person, Token: draw(), began: now, seen: now, proved: now}
	return cookie, l.Person, nil
}

// Admit is the session of somebody who is signed in as the caller knows, and showed a second factor when it says; noted tells that Note was
// called of it. It ends as others do, and then begins anew with another token.
func (d *Desk) Admit(signIn string, p Person, proved time.Time) (s *Session, noted bool) {
	now, key := d.clock.Now(), digest(sha256.Sum256([]byte(signIn)))
	d.mu.Lock()
	defer d.mu.Unlock()
	in := d.guests[key]
	if in == nil || in.over(now) || in.ID != p.ID {
		delete(d.guests, key)
		sweep(d.guests, now)
		in = &Session{Token: draw(), began: now}
		d.guests[key] = in
	}
	in.Person, in.proved, in.seen = p, proved, now
	out := *in
	return &out, in.noted
}

// sweep makes room for one more.
func sweep(all map[digest]*Session, now time.Time) {
	var oldest digest
	for k, s := range all {
		if s.over(now) {
			delete(all, k)
		} else if o := all[oldest]; o == nil || s.seen.Before(o.seen) {
			oldest = k
		}
	}
	if len(all) >= maxSessions {
		delete(all, oldest)
	}
}

func (s *Session) over(now time.Time) bool {
	return now.Sub(s.began) >= sessionLife || now.Sub(s.seen) >= idleLife
}

// Session is the one of a cookie, nil if there is none. A visit keeps it from ending for want of use; what a page does by itself is none.
func (d *Desk) Session(cookie string, visit bool) *Session {
	now, key := d.clock.Now(), digest(sha256.Sum256([]byte(cookie)))
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sessions[key]
	if s == nil || s.over(now) {
		delete(d.sessions, key)
		return nil
	}
	if visit {
		s.seen = now
	}
	out := *s
	return &out
}

// End ends a session.
func (d *Desk) End(cookie string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sessions, sha256.Sum256([]byte(cookie)))
}

// Note takes notice that it is on record who came by a sign-in.
func (d *Desk) Note(signIn string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if in := d.guests[sha256.Sum256([]byte(signIn))]; in != nil {
		in.noted = true
	}
}
