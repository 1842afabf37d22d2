package wire

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// Person is somebody who signed in, as control knows them. Times are seconds since 1970; 0 is never.
type Person struct {
	ID       string   `json:"id"`
	Email    string   `json:"email,omitempty"`
	Name     string   `json:"name,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	Roles    []string `json:"roles,omitempty"`
	FactorAt int64    `json:"factor_at,omitempty"` // when a second factor (or a verified passkey) was shown
}

// Visitor is where a request comes from, as the gateway saw it.
type Visitor struct {
	IP          string `json:"ip"`
	UserAgent   string `json:"user_agent,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"` // of the TLS client hello
}

// Session is one sign-in of a person in one browser. Ending it ends whatever came from it: sessions at
// every host, tokens, calls under way.
type Session struct {
	ID          string `json:"id"` // sid; not secret
	Person      Person `json:"person"`
	Expires     int64  `json:"expires"` // seconds since 1970, whatever happens
	Fingerprint string `json:"fingerprint,omitempty"`
}

// SignInBegin asks where to send a browser that has to sign in, or to show a second factor.
type SignInBegin struct {
	Origin string `json:"origin"` // scheme and authority that it comes from and returns to
	Return string `json:"return"` // path and query there
	// FactorAge: the second factor must be at most so many seconds old; 0 asks for none beyond what sign-in itself does.
	FactorAge int64 `json:"factor_age,omitempty"`
	// Interrupted: the request had a body or effect; it isn't sent again, and the person is told so.
	Interrupted bool    `json:"interrupted,omitempty"`
	Session     string  `json:"session,omitempty"` // the ID of the session that it has
	Visitor     Visitor `json:"visitor"`
}

// SignInBegun is the answer. Flow goes into a cookie of the origin, so that nobody else's browser can finish.
type SignInBegun struct {
	Location string `json:"location"`
	Flow     string `json:"flow"`
}

// SignInFinish brings what the browser came back with.
type SignInFinish struct {
	Origin  string  `json:"origin"`
	Flow    string  `json:"flow"` // the cookie
	Code    string  `json:"code"` // single use, of the query
	Visitor Visitor `json:"visitor"`
}

// SignInFinished is the new session at the origin. Cookie is its secret.
type SignInFinished struct {
	Cookie  string  `json:"cookie"`
	Session Session `json:"session"`
	Return  string  `json:"return"`
}

// SessionQuery asks for the session of a cookie.
type SessionQuery struct {
	Origin string `json:"origin"`
	Cookie string `json:"cookie"`
}

// SessionEnd ends a session at the wish of its person.
type SessionEnd struct {
	Session string  `json:"session"`
	Origin  string  `json:"origin"`
	Visitor Visitor `json:"visitor"`
}

// SessionEnded is where the browser goes next.
type SessionEnded struct {
	Location string `json:"location"`
}

// SessionsSeen says which sessions had requests since the last time, and from where if that changed.
type SessionsSeen struct {
	Sessions []string           `json:"sessions"`
	Moved    map[string]Visitor `json:"moved,omitempty"`
}

// UserState is what gateway and agents need to know of people to decide without control.
type UserState struct {
	Sequence  uint64          `json:"sequence"`
	Issuer    string          `json:"issuer"`     // of access tokens
	TokenKeys json.RawMessage `json:"token_keys"` // JWKS that verifies them
	TxnKeys   json.RawMessage `json:"txn_keys"`   // JWKS that verifies transaction tokens
	// Foreign are other authorities whose tokens count.
	Foreign []ForeignIssuer `json:"foreign,omitempty"`
	// Ended are the IDs of sessions and tokens that were ended before their time, as long as something of
	// them could still be valid.
	Ended []string `json:"ended,omitempty"`
	// Renewed are sessions whose person has other rights than a moment ago: what is remembered of them is to be asked again.
	Renewed []string `json:"renewed,omitempty"`
}

// ForeignIssuer is an authority that ward.yaml declares, with its keys as control fetched them.
type ForeignIssuer struct {
	Issuer   string          `json:"issuer"`
	Audience string          `json:"audience"`
	Keys     json.RawMessage `json:"keys"` // JWKS
}

// BeginSignIn begins a sign-in (gateway only).
func (c *Client) BeginSignIn(ctx context.Context, r SignInBegin) (SignInBegun, error) {
	var out SignInBegun
	return out, c.Call(ctx, http.MethodPost, "/v1/sign-in/begin", r, &out)
}

// FinishSignIn ends one (gateway only).
func (c *Client) FinishSignIn(ctx context.Context, r SignInFinish) (SignInFinished, error) {
	var out SignInFinished
	return out, c.Call(ctx, http.MethodPost, "/v1/sign-in/finish", r, &out)
}

// Session returns a cookie's session; fault.NotFound for one that isn't, or no more (gateway only).
func (c *Client) Session(ctx context.Context, q SessionQuery) (Session, error) {
	var out Session
	return out, c.Call(ctx, http.MethodPost, "/v1/session", q, &out)
}

// EndSession ends one (gateway only).
func (c *Client) EndSession(ctx context.Context, r SessionEnd) (SessionEnded, error) {
	var out SessionEnded
	return out, c.Call(ctx, http.MethodPost, "/v1/session/end", r, &out)
}

// SeeSessions tells of use (gateway only).
func (c *Client) SeeSessions(ctx context.Context, s SessionsSeen) error {
	return c.Call(ctx, http.MethodPost, "/v1/sessions/seen", s, nil)
}

// PublishKey publishes the public key (JWK) that the gateway signs transaction tokens with, and returns when control
// has it (gateway only).
func (c *Client) PublishKey(ctx context.Context, jwk json.RawMessage) error {
	return c.Call(ctx, http.MethodPost, "/v1/txn-key", jwk, nil)
}

// UserState returns the state of people; with have (a sequence number) it waits for a newer one, or returns the same
// after a while.
func (c *Client) UserState(ctx context.Context, have string) (UserState, error) {
	var out UserState
	return out, c.Call(ctx, http.MethodGet, "/v1/users/state?have="+url.QueryEscape(have), nil, &out)
}
