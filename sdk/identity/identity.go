// Package identity tells a service guarded by Ward who is calling and for whom, and passes the user on to the services that it
// calls itself.
//
// Guarantee: a User comes from a transaction token (draft-ietf-oauth-transaction-tokens) that was verified here: signed by
// one of the gateway's published keys, for this trust domain, and not over. Ward's agent has checked the same before; this is a layer
// of the service's own. It uses the standard library alone.
package identity

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
)

// User is the person whose request this is.
type User struct {
	ID       string // the same for ever
	Email    string
	Name     string
	Groups   []string
	Roles    []string
	FactorAt time.Time // when a second factor was shown; zero: never
	Session  string    // the sign-in that it belongs to
	Txn      string    // this transaction, for logs
	IP       string    // of the client
}

// In tells whether the user is in a group.
func (u *User) In(group string) bool { return contains(u.Groups, group) }

// Has tells whether the user has a role.
func (u *User) Has(role string) bool { return contains(u.Roles, role) }

func contains(all []string, s string) bool {
	for _, x := range all {
		if x == s {
			return true
		}
	}
	return false
}

// Config says what to verify.
type Config struct {
	TrustDomain string // of the application: <app>.internal unless ward.yaml says otherwise
	// KeysURL is where the keys are; "" for http://ward/.well-known/jwks.json, which every guarded service can reach.
	KeysURL string
	Client  *http.Client     // nil for one with a timeout of five seconds
	Now     func() time.Time // nil for time.Now
}

// Verifier verifies transaction tokens. It is safe for concurrent use.
type Verifier struct {
	config Config
	keys   keys
}

// New returns a Verifier. It fetches keys when it first needs them.
func New(c Config) (*Verifier, error) {
	if c.TrustDomain == "" {
		return nil, errors.New("identity: the trust domain is missing")
	}
	if c.KeysURL == "" {
		c.KeysURL = "http://ward/.well-known/jwks.json"
	}
	if c.Client == nil {
		c.Client = &http.Client{Timeout: 5 * time.Second}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Verifier{config: c, keys: keys{url: c.KeysURL, client: c.Client}}, nil
}

// Header is the field that carries the token.
const Header = "Txn-Token"

type contextKey struct{}

// call is what a request's context holds.
type call struct {
	user   *User
	token  string
	trace  [2]string
	caller string
}

// Optional puts the user into the context of requests that have one, and refuses with 401 those whose token isn't valid.
func (v *Verifier) Optional(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{caller: r.Header.Get("X-Ward-Caller"), trace: [2]string{r.Header.Get("Traceparent"), r.Header.Get("Tracestate")}}
		switch tokens := r.Header.Values(Header); {
		case len(tokens) == 1:
			u, err := v.Verify(r.Context(), tokens[0])
			if err != nil {
				http.Error(w, "the transaction token isn't valid", http.StatusUnauthorized)
				return
			}
			c.user, c.token = u, tokens[0]
		case len(tokens) > 1:
			http.Error(w, "more than one transaction token", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, c)))
	})
}

// Required is Optional that refuses requests without a user with 401.
func (v *Verifier) Required(next http.Handler) http.Handler {
	return v.Optional(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if UserOf(r.Context()) == nil {
			http.Error(w, "no user is signed in", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// UserOf is the user of a request's context, nil for none.
func UserOf(ctx context.Context) *User {
	if c, ok := ctx.Value(contextKey{}).(*call); ok {
		return c.user
	}
	return nil
}

// CallerOf is the SPIFFE ID of the service, or of the gateway, that called, as the agent says it; "" outside of a request.
func CallerOf(ctx context.Context) string {
	if c, ok := ctx.Value(contextKey{}).(*call); ok {
		return c.caller
	}
	return ""
}

// Transport passes the user and the trace of a request's context on to the services that are called in it, and to nobody
// else: names with a dot, and addresses, get nothing.
func Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return transport{base}
}

type transport struct{ base http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	c, ok := r.Context().Value(contextKey{}).(*call)
	if !ok || c.token == "" || strings.ContainsAny(r.URL.Hostname(), ".:") {
		return t.base.RoundTrip(r)
	}
	out := r.Clone(r.Context())
	out.Header.Set(Header, c.token)
	for i, name := range []string{"Traceparent", "Tracestate"} {
		if c.trace[i] != "" && out.Header.Get(name) == "" {
			out.Header.Set(name, c.trace[i])
		}
	}
	return t.base.RoundTrip(out)
}
