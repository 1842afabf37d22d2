// Package upstream signs people in with other OpenID providers: authorization code with PKCE, nonce and state, and a
// redirect URI for each provider.
//
// Guarantee: an answer is taken once, within ten minutes, in the browser that asked, from the provider that was asked (its own redirect
// URI, RFC 9207's iss, the ID token's iss, aud and azp), and only with a signature by a key of its own: never none, never
// an HMAC. A mail address counts as verified only if the provider says so. No answer is read without limits of time and
// size, no redirect of a provider's back channel is followed, and nothing is stored for who only begins. Not
// guaranteed: that the provider tells the truth; whom its Subject may sign in as is the accounts' affair.
package upstream

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// CookieName is the cookie that binds a sign-in under way to its browser.
const CookieName = "__Host-ward-upstream"

const (
	life        = 10 * time.Minute // of a sign-in under way
	maxCookie   = 3000             // bytes
	maxFlow     = 512
	sealContext = "upstream sign-in under way"
)

// Provider is one that people may sign in with.
type Provider struct {
	Name     string // a DNS label; part of the redirect URI
	Title    string
	Issuer   string // https URL, exactly as the provider writes it
	ClientID string
	Secret   secret.Bytes // may be empty: a public client
	Scopes   []string
}

// Config is what a Service needs.
type Config struct {
	DB     *store.DB
	Key    secret.Bytes // 32 bytes; seals the cookie
	Clock  clock.Clock
	Client *http.Client // the way out; limits of time and size, and no redirects, are put on a copy of it
	Origin string       // https://<id host>, where the redirect URIs are
}

// Service signs people in. Its methods are safe for concurrent use.
type Service struct {
	config Config
	client *http.Client

	mu        sync.Mutex
	providers []*remote // guarded by mu
}

// Open makes a Service without providers.
func Open(ctx context.Context, c Config) (*Service, error) {
	if len(c.Key.Reveal()) != secret.KeySize || c.Client == nil || c.Origin == "" {
		return nil, errors.New("open upstream sign-in: it needs a key of 32 bytes, a client and an origin")
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open upstream sign-in: %w", err)
	}
	if err := c.DB.Migrate(ctx, "upstream", files); err != nil {
		return nil, fmt.Errorf("open upstream sign-in: %w", err)
	}
	return &Service{config: c, client: limited(c.Client)}, nil
}

// Configure sets the providers. What was discovered of one that stays the same is kept.
func (s *Service) Configure(providers []Provider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*remote
	for _, p := range providers {
		r := newRemote(p, s.client, s.config.Clock)
		for _, old := range s.providers {
			if old.Name == p.Name && old.Issuer == p.Issuer {
				r.discovery = old.discovery
			}
		}
		all = append(all, r)
	}
	s.providers = all
}

func (s *Service) remote(name string) (*remote, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.providers {
		if r.Name == name {
			return r, nil
		}
	}
	return nil, fault.New(fault.NotFound, "there is no such provider")
}

// Providers are the buttons, in order.
func (s *Service) Providers() []Provider {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Provider
	for _, r := range s.providers {
		out = append(out, r.Provider)
	}
	return out
}

// CallbackPath is the path of a provider's redirect URI; each has its own, so that one can't answer for another (RFC
// 9700 §4.4.2).
func CallbackPath(provider string) string { return "/sign-in/with/" + provider + "/callback" }

// Begun is where the browser goes, and the cookie that it has to bring back.
type Begun struct {
	Location string
	Cookie   *http.Cookie
}

// pending is a sign-in under way; it is in the cookie, sealed.
type pending struct {
	Provider string `json:"p"`
	Issuer   string `json:"i"`
	Client   string `json:"c"`
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"` // of PKCE
	Flow     string `json:"f"`
	Until    int64  `json:"u"` // microseconds since 1970
}

// Begin begins a sign-in with a provider. Flow is the caller's, and comes back in the Result.
func (s *Service) Begin(ctx context.Context, provider, flow string) (Begun, error) {
	if len(flow) > maxFlow {
		return Begun{}, errors.New("begin upstream sign-in: the flow is too long")
	}
	r, err := s.remote(provider)
	if err != nil {
		return Begun{}, err
	}
	m, err := r.discover(ctx)
	if err != nil {
		return Begun{}, err
	}
	p := pending{
		Provider: r.Name, Issuer: r.Issuer, Client: r.ClientID, State: random(), Nonce: random(), Verifier: oauth2.GenerateVerifier(),
		Flow: flow, Until: s.config.Clock.Now().Add(life).UnixMicro(),
	}
	plain, err := json.Marshal(p)
	if err != nil {
		return Begun{}, fmt.Errorf("begin upstream sign-in: %w", err)
	}
	sealed, err := secret.Seal(s.config.Key, plain, sealContext)
	if err != nil {
		return Begun{}, fmt.Errorf("begin upstream sign-in: %w", err)
	}
	c := s.oauth(r, m)
	return Begun{
		Location: c.AuthCodeURL(p.State, oidc.Nonce(p.Nonce), oauth2.S256ChallengeOption(p.Verifier)),
		Cookie:   cookie(base64.RawURLEncoding.EncodeToString(sealed), int(life.Seconds())),
	}, nil
}

// Spent is the cookie that takes away Begin's.
func Spent() *http.Cookie { return cookie("", -1) }

func cookie(value string, age int) *http.Cookie {
	// Lax, because the provider's answer is a navigation from another site.
	return &http.Cookie{Name: CookieName, Value: value, Path: "/", MaxAge: age, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never returns an error (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}

func (s *Service) oauth(r *remote, m *metadata) *oauth2.Config {
	e := m.provider.Endpoint()
	e.AuthStyle = m.style
	return &oauth2.Config{
		ClientID: r.ClientID, ClientSecret: string(r.Secret.Reveal()), Endpoint: e,
		RedirectURL: s.config.Origin + CallbackPath(r.Name), Scopes: withOpenID(r.Scopes),
	}
}

func withOpenID(scopes []string) []string {
	out := []string{oidc.ScopeOpenID}
	for _, s := range scopes {
		if s != oidc.ScopeOpenID {
			out = append(out, s)
		}
	}
	return out
}

// Result is who somebody is for a provider. Issuer and Subject together name the person for good; a mail address may
// be given to somebody else.
type Result struct {
	Provider, Issuer, Subject string
	Email                     string // "" if there is none
	Verified                  bool   // the provider says that the address is the person's
	Name                      string
	Flow                      string
}

// The answers that people see.
var (
	errAgain  = fault.New(fault.Invalid, "this sign-in is too old, was finished before, or began in another browser; begin again")
	errDenied = fault.New(fault.Refused, "the provider didn't sign you in")
)

// Finish takes what the browser brought back to a provider's CallbackPath: the query, and the cookie's value. Errors
// are faults: Invalid to begin again, Refused when the provider or its answer is at fault, Unavailable.
func (s *Service) Finish(ctx context.Context, provider, query, cookie string) (Result, error) {
	p, r, err := s.pending(provider, cookie)
	if err != nil {
		return Result{}, err
	}
	q, err := single(query)
	if err != nil || subtle.ConstantTimeCompare([]byte(q["state"]), []byte(p.State)) != 1 {
		return Result{}, errAgain
	}
	if err := s.spend(ctx, p.State, p.Until); err != nil {
		return Result{}, err
	}
	m, err := r.discover(ctx)
	if err != nil {
		return Result{}, err
	}
	if iss, has := q["iss"]; iss != r.Issuer && (has || m.issues) {
		return Result{}, refused(fmt.Errorf("the answer is by %.100q", iss)) // RFC 9207 §2.4
	}
	if e, has := q["error"]; has {
		return Result{}, refused(fmt.Errorf("the provider says %.100q", e))
	}
	if q["code"] == "" {
		return Result{}, refused(errors.New("the answer has no code"))
	}
	return s.exchange(ctx, r, m, p, q["code"])
}

// pending opens the cookie.
func (s *Service) pending(provider, cookie string) (*pending, *remote, error) {
	r, err := s.remote(provider)
	if err != nil {
		return nil, nil, err
	}
	if len(cookie) > maxCookie {
		return nil, nil, errAgain
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(cookie)
	if err != nil {
		return nil, nil, errAgain
	}
	plain, err := secret.Open(s.config.Key, sealed, sealContext)
	if err != nil {
		return nil, nil, errAgain
	}
	var p pending
	if err := json.Unmarshal(plain, &p); err != nil {
		return nil, nil, errAgain
	}
	if p.Provider != r.Name || p.Issuer != r.Issuer || p.Client != r.ClientID || s.config.Clock.Now().UnixMicro() >= p.Until {
		return nil, nil, errAgain
	}
	return &p, r, nil
}

// spend makes sure that a state is taken once, also when two come at the same time and across restarts.
func (s *Service) spend(ctx context.Context, state string, until int64) error {
	sum := sha256.Sum256([]byte(state))
	now := s.config.Clock.Now().UnixMicro()
	fresh := int64(0)
	err := s.config.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if _, err := tx.Exec(ctx, `DELETE FROM upstream_used WHERE state IN (SELECT state FROM upstream_used WHERE until < ? LIMIT 100)`, now); err != nil {
			return err
		}
		fresh, err = tx.Exec(ctx, `INSERT INTO upstream_used (state, until) VALUES (?, ?) ON CONFLICT (state) DO NOTHING`, sum[:], until)
		return err
	})
	if err != nil {
		return fmt.Errorf("finish upstream sign-in: %w", err)
	}
	if fresh != 1 {
		return errAgain
	}
	return nil
}

// maxQuery is in bytes; codes of Entra are long.
const maxQuery = 8 << 10

// single reads a query in which nothing stands twice.
func single(query string) (map[string]string, error) {
	if len(query) > maxQuery {
		return nil, errors.New("the query is too long")
	}
	v, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for k, all := range v {
		if len(all) != 1 {
			return nil, errors.New("a parameter stands twice")
		}
		out[k] = strings.ToValidUTF8(all[0], "")
	}
	return out, nil
}

func refused(err error) error { return fault.Wrap(errDenied.Kind, errDenied.Public, err) }
