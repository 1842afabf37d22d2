package jose

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Claims are the registered claims (RFC 7519 §4.1) and access to all others. What is missing is zero.
type Claims struct {
	Issuer    string
	Subject   string
	Audience  []string
	Expires   time.Time
	NotBefore time.Time
	IssuedAt  time.Time
	ID        string // jti

	all members
}

// Get decodes the claim of exactly that name as encoding/json does; found is false when it is missing.
func (c Claims) Get(name string, into any) (found bool, err error) {
	raw, ok := c.all[name]
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return true, fmt.Errorf("read claim %s: %w", name, err)
	}
	return true, nil
}

func claimsOf(m members) (Claims, error) {
	c := Claims{all: m}
	for _, f := range []struct {
		name string
		into *string
		max  int
	}{{"iss", &c.Issuer, MaxToken}, {"sub", &c.Subject, MaxToken}, {"jti", &c.ID, maxName}} {
		var err error
		if *f.into, err = m.text(f.name, f.max); err != nil {
			return Claims{}, fmt.Errorf("read claims: %w", err)
		}
	}
	for _, f := range []struct {
		name string
		into *time.Time
	}{{"exp", &c.Expires}, {"nbf", &c.NotBefore}, {"iat", &c.IssuedAt}} {
		var err error
		if *f.into, err = m.date(f.name); err != nil {
			return Claims{}, fmt.Errorf("read claims: %w", err)
		}
	}
	raw, ok := m["aud"]
	if !ok {
		return c, nil
	}
	if raw[0] == '"' {
		raw = slices.Concat([]byte("["), raw, []byte("]"))
	}
	var aud []*string // a pointer shows null, which a string would take for ""
	if raw[0] != '[' || json.Unmarshal(raw, &aud) != nil {
		return Claims{}, errors.New("read claims: aud is not a string or a list of strings")
	}
	for _, a := range aud {
		if a == nil || *a == "" {
			return Claims{}, errors.New("read claims: aud has an empty entry")
		}
		c.Audience = append(c.Audience, *a)
	}
	return c, nil
}

// date is a NumericDate (RFC 7519 §2): seconds, possibly with a fraction, up to the year 9999.
func (m members) date(name string) (time.Time, error) {
	raw, ok := m[name]
	if !ok {
		return time.Time{}, nil
	}
	var seconds float64
	if raw[0] == 'n' || json.Unmarshal(raw, &seconds) != nil || seconds < 0 || seconds > 253402300799 {
		return time.Time{}, fmt.Errorf("%s is not a date", name)
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)), nil
}

// Expect is what a verified token must say. Issuer, Audience and Now are required.
type Expect struct {
	Issuer   string
	Audience []string      // those that mean us: one of them must be in aud
	Type     string        // typ, such as "at+jwt"; empty means that typ is "JWT" or missing
	Now      time.Time     // the time that dates are compared with
	Leeway   time.Duration // for clocks that differ
	MaxAge   time.Duration // if not zero, iat is required and no older
}

// Check returns the claims of a verified token if they are as expected (RFC 7519 §4.1, RFC 8725 §3):
// exp and aud must be there, and neither nbf nor iat may lie ahead.
func (e Expect) Check(t *Token) (Claims, error) {
	c, err := t.Claims()
	if err != nil {
		return Claims{}, err
	}
	if err := e.check(t.Type, c); err != nil {
		return Claims{}, fmt.Errorf("check JWT: %w", err)
	}
	return c, nil
}

func (e Expect) check(typ string, c Claims) error {
	ours := func(aud string) bool { return slices.Contains(e.Audience, aud) }
	switch {
	case e.Issuer == "" || len(e.Audience) == 0 || e.Now.IsZero():
		return errors.New("nothing is expected, so nothing is accepted")
	case !sameType(typ, e.Type):
		return fmt.Errorf("its typ is %.64q instead of %q", typ, e.Type)
	case c.Issuer != e.Issuer:
		return errors.New("it is of another issuer")
	case !slices.ContainsFunc(c.Audience, ours):
		return errors.New("it is for another audience")
	case c.Expires.IsZero():
		return errors.New("it never expires")
	case !e.Now.Before(c.Expires.Add(e.Leeway)):
		return errors.New("it has expired")
	case e.Now.Add(e.Leeway).Before(c.NotBefore):
		return errors.New("it is not valid yet")
	case e.Now.Add(e.Leeway).Before(c.IssuedAt):
		return errors.New("it was issued in the future")
	case e.MaxAge != 0 && c.IssuedAt.IsZero():
		return errors.New("it doesn't say when it was issued")
	case e.MaxAge != 0 && e.Now.After(c.IssuedAt.Add(e.MaxAge+e.Leeway)):
		return errors.New("it is too old")
	}
	return nil
}

// sameType compares media types as RFC 7515 §4.1.9 and RFC 8725 §3.11 do.
func sameType(got, want string) bool {
	short := func(s string) string { return strings.TrimPrefix(strings.ToLower(s), "application/") }
	if want == "" {
		return got == "" || short(got) == "jwt"
	}
	return short(got) == short(want)
}
