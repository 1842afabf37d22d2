// Package signin is what accounts and the OpenID provider say to each other: who is signed in, how well that is known, and
// what a client asks of a sign-in. It holds no logic but the comparison of the two.
package signin

import (
	"slices"
	"time"
)

// Methods of authentication (RFC 8176), as amr says them.
const (
	Password = "pwd"
	OTP      = "otp" // time-based, or a recovery code
	Mail     = "mail"
	SMS      = "sms"
	Passkey  = "hwk" // a passkey; with User, one that verified its user
	User     = "user"
	Federal  = "fed" // an upstream provider's word
	Several  = "mfa"
)

// The classes of acr: one factor, or two.
const (
	ACROne = "urn:ward:acr:1"
	ACRTwo = "urn:ward:acr:2"
)

// Person is somebody with an account.
type Person struct {
	ID       string // opaque, for ever the same, never given to anybody else: sub
	Email    string
	Verified bool // the mail address
	Name     string
	Locale   string
	Groups   []string
	Roles    []string
	Disabled bool
	Updated  time.Time
}

// Session is one sign-in in one browser. Whatever comes from it, tokens too, ends with it.
type Session struct {
	ID       string // sid; not secret
	Person   Person
	AuthAt   time.Time // auth_time: when the person last proved who they are
	FactorAt time.Time // when a second factor was shown; zero: never
	Methods  []string  // amr
	Expires  time.Time
}

// ACR is the class of the session.
func (s *Session) ACR() string {
	if s.FactorAt.IsZero() {
		return ACROne
	}
	return ACRTwo
}

// Request is what a client asks of a sign-in.
type Request struct {
	Client string // its title, for the page; "" for the application itself
	Hint   string // login_hint: a mail address
	// Fresh asks for a new proof even of who is signed in (prompt=login); Choose lets people change the account (prompt=select_account).
	Fresh, Choose bool
	// MaxAge is how old the proof may be, FactorAge the second factor; negative asks for nothing.
	MaxAge, FactorAge time.Duration
	// Since is when the client asked, for Fresh.
	Since time.Time
	// Interrupted: a request with an effect was left aside and isn't sent again; the page says so.
	Interrupted bool
	// Resume is the path and query on the origin of the pages where the browser goes when the session is good enough.
	Resume string
}

// Satisfied tells whether a session is good enough at now.
func (r *Request) Satisfied(s *Session, now time.Time) bool {
	switch {
	case s == nil || s.Person.Disabled || !now.Before(s.Expires):
		return false
	case r.Fresh && s.AuthAt.Before(r.Since):
		return false
	case r.MaxAge >= 0 && now.Sub(s.AuthAt) > r.MaxAge:
		return false
	case r.FactorAge >= 0 && (s.FactorAt.IsZero() || r.FactorAge > 0 && now.Sub(s.FactorAt) > r.FactorAge):
		return false
	}
	return true
}

// Has tells whether a method was used.
func (s *Session) Has(method string) bool { return slices.Contains(s.Methods, method) }
