// Package access lets people into the console: one-time links, sessions, roles, and the token that every act carries.
//
// Guarantee: a link works once and for a minute; link and cookie are 256 random bits, of which only the hash is kept, in memory alone; a session
// ends after half a day, or an hour in which nobody used it, and with control. How many there are is bounded: the oldest gives way. Not
// guaranteed: who holds a link; whoever asks for it says who it is for.
package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
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
	maxLinks    = 100
	maxSessions = 200
)

// Person is who uses the console.
type Person struct {
	Name string
	Role Role
}

// Session is a person at a browser.
type Session struct {
	Person
	// Token comes with every act: what another site makes the browser send doesn't know it.
	Token string

	began, seen time.Time
}

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
	sessions map[digest]*Session // guarded by mu
}

// New returns a Desk that knows nobody.
func New(c clock.Clock) *Desk {
	return &Desk{clock: c, links: map[digest]link{}, sessions: map[digest]*Session{}}
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
	d.sweep(now)
	cookie = draw()
	d.sessions[sha256.Sum256([]byte(cookie))] = &Session{Person: l.Person, Token: draw(), began: now, seen: now}
	return cookie, l.Person, nil
}

// sweep makes room; d.mu is held.
func (d *Desk) sweep(now time.Time) {
	var oldest digest
	for k, s := range d.sessions {
		if s.over(now) {
			delete(d.sessions, k)
		} else if o := d.sessions[oldest]; o == nil || s.seen.Before(o.seen) {
			oldest = k
		}
	}
	if len(d.sessions) >= maxSessions {
		delete(d.sessions, oldest)
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
