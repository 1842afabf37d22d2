// Package oidc is the OAuth 2.1 and OpenID Connect provider: authorization, tokens, devices, exchange, logout.
//
// Guarantee: codes, refresh tokens, device codes, assertions and proofs count once, also across restarts; of what is
// secret only hashes are stored; a state change is durable before it is answered; a refresh token or code that comes
// again ends all that came from it; nobody is redirected to an address that isn't registered; access tokens are
// RFC 9068 JWTs with one client, an audience and an end. Not guaranteed: that an access token of client_credentials
// can be ended by anything but its jti; they live for Lives.Access only.
package oidc

import (
	"context"
	"crypto/x509"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/backchannel"
	"github.com/wardhq/ward/internal/cap/identity/internal/client"
	"github.com/wardhq/ward/internal/cap/identity/internal/grant"
	"github.com/wardhq/ward/internal/cap/identity/internal/keyring"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Accounts knows people and their sessions.
type Accounts interface {
	// Session is the session of the browser that asks; nil without one.
	Session(r *http.Request) (*signin.Session, error)
	// Begin returns the path where to send the browser; it comes back to q.Resume.
	Begin(ctx context.Context, q signin.Request) (path string, err error)
	// Person is somebody; fault.NotFound when they are gone.
	Person(ctx context.Context, id string) (signin.Person, error)
	// SessionByID is a session, with its person as they are now; nil when it has ended.
	SessionByID(ctx context.Context, id string) (*signin.Session, error)
	// End ends a session and takes the browser's cookie away.
	End(ctx context.Context, w http.ResponseWriter, sessionID string) error
}

// Lives are how long things are valid. All are required.
type Lives struct {
	Access, ID time.Duration
	Refresh    time.Duration // without use; the session's end is the limit in any case
	// KeyAhead and KeySign are as in keyring.Lives.
	KeyAhead, KeySign time.Duration
}

// Lives of what is short by nature.
const (
	pushedLife  = 90 * time.Second
	requestLife = time.Hour // for a person to sign in, perhaps to register
	deviceLife  = 15 * time.Minute
	proofWindow = time.Minute
)

// Bounds.
const (
	maxBody    = 64 << 10
	maxAtOnce  = 512 // requests; more get 429
	maxText    = 2048
	maxLengthy = 16 // resources or scopes
)

// TxnRequest asks for a transaction token.
type TxnRequest struct {
	Client   string
	Person   *signin.Person // nil: the client acts for itself
	Session  string
	FactorAt time.Time
	Scope    string
	IP       string
}

// Config is what a Provider needs. What isn't said to be optional is required.
type Config struct {
	Issuer   string // https://host[:port]
	DB       *store.DB
	Seal     secret.Bytes // 32 bytes
	Clock    clock.Clock
	Lives    Lives
	Accounts Accounts
	Clients  *client.Registry
	Pages    *page.Pages
	Log      *slog.Logger
	// DPoPNonce asks for server nonces in DPoP proofs (RFC 9449 §8).
	DPoPNonce bool
	// Certificate is the client certificate of a request, verified against the trust bundle; nil without one. Optional.
	Certificate func(*http.Request) (*x509.Certificate, error)
	// Visitor is where a request comes from.
	Visitor func(*http.Request) wire.Visitor
	// Record takes an event for the ledger. It doesn't wait.
	Record func(wire.Event)
	// Flag takes a red flag.
	Flag func(ctx context.Context, kind string, detail map[string]string)
	// Tell tells gateways and agents of sessions and tokens that ended before their time.
	Tell func(ctx context.Context, ids ...string) error
	// KeysChanged is called when the set of keys has changed. Optional.
	KeysChanged func()
	// MintTxn makes transaction tokens. Optional.
	MintTxn func(ctx context.Context, q TxnRequest) (string, error)
	// Transport carries back-channel logouts. Optional.
	Transport http.RoundTripper
}

// Red flags.
const (
	FlagRefresh = "refresh-reuse"
	FlagCode    = "code-replay"
	FlagJTI     = "jti-replay"
	FlagDPoP    = "dpop-mismatch"
	FlagPKCE    = "pkce-failure"
	FlagClient  = "client-mismatch" // a client showed what was issued to another
)

// Provider is the OpenID provider. Its methods are safe for concurrent use.
type Provider struct {
	Config
	keys   *keyring.Ring
	grants *grant.Store
	backs  *backchannel.Queue
	slots  chan struct{} // one for each request under way
	tries  *tries        // of user codes
}

// Open prepares the tables and the signing keys.
func Open(ctx context.Context, c Config) (*Provider, error) {
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Scheme != "https" || u.Host == "" || c.Issuer != "https://"+u.Host {
		return nil, errors.New("open provider: the issuer must be https://host[:port]")
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open provider: %w", err)
	}
	if err := c.DB.Migrate(ctx, "oidc", files); err != nil {
		return nil, fmt.Errorf("open provider: %w", err)
	}
	p := &Provider{Config: c, slots: make(chan struct{}, maxAtOnce), tries: newTries()}
	if p.keys, err = keyring.Open(ctx, keyring.Config{
		DB: c.DB, Seal: c.Seal, Clock: c.Clock, Changed: c.KeysChanged,
		Lives: keyring.Lives{Ahead: c.Lives.KeyAhead, Sign: c.Lives.KeySign, Keep: max(c.Lives.Access, c.Lives.ID)},
	}); err != nil {
		return nil, fmt.Errorf("open provider: %w", err)
	}
	if p.grants, err = grant.Open(ctx, grant.Config{
		DB: c.DB, Seal: c.Seal, Clock: c.Clock, Access: c.Lives.Access, Refresh: c.Lives.Refresh, Tell: c.Tell,
	}); err != nil {
		return nil, fmt.Errorf("open provider: %w", err)
	}
	if p.backs, err = backchannel.Open(ctx, backchannel.Config{
		DB: c.DB, Clock: c.Clock, Log: c.Log, URI: p.backOf, Token: p.logoutToken, Transport: c.Transport,
		Record: func(n backchannel.Note, sent bool) {
			kind := map[bool]string{true: "logout.sent", false: "logout.undelivered"}[sent]
			p.record(kind, n.Client, n.Person, map[string]string{"session": n.Session})
		},
	}); err != nil {
		return nil, fmt.Errorf("open provider: %w", err)
	}
	return p, nil
}

// The paths of the endpoints.
const (
	pathAuthorize  = "/authorize"
	pathResume     = "/authorize/resume"
	pathScript     = "/authorize/post.js"
	pathPushed     = "/par"
	pathToken      = "/token"
	pathUserinfo   = "/userinfo"
	pathIntrospect = "/introspect"
	pathRevoke     = "/revoke"
	pathDevices    = "/device_authorization"
	pathDevice     = "/device"
	pathLogout     = "/logout"
	pathConfirm    = "/logout/confirm"
	pathKeys       = "/jwks"
)

// Routes adds the endpoints.
func (p *Provider) Routes(mux *http.ServeMux) {
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		mux.HandleFunc(path, p.public(p.metadata))
	}
	mux.HandleFunc(pathKeys, p.public(p.jwks))
	for path, h := range map[string]func(context.Context, *call) (any, error){
		pathToken: p.token, pathPushed: p.push, pathIntrospect: p.introspect, pathRevoke: p.revoke, pathDevices: p.deviceAuthorization,
	} {
		mux.HandleFunc(path, p.api(h))
	}
	mux.HandleFunc(pathUserinfo, p.bounded(p.cors(p.userinfo)))
	for path, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		pathAuthorize: p.authorize, pathResume: p.resume, pathDevice: p.device, pathLogout: p.logout, pathConfirm: p.confirmLogout,
	} {
		mux.HandleFunc(path, p.bounded(p.browser(h)))
	}
	mux.HandleFunc("GET "+pathScript, postScript)
}

// Run does the work of the background until ctx ends: keys, sweeping, logouts.
func (p *Provider) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { p.backs.Run(ctx) })
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for ctx.Err() == nil {
		p.complain(ctx, "keys were not maintained", p.keys.Maintain(ctx))
		p.complain(ctx, "expired rows were not swept", p.sweep(ctx))
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

func (p *Provider) complain(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		p.Log.ErrorContext(ctx, what, "error", err)
	}
}

// record writes an event about a client (who) and what it was about (whom).
func (p *Provider) record(kind, who, whom string, detail map[string]string) {
	p.Record(wire.Event{Time: p.Clock.Now(), Kind: kind, Subject: who, Object: whom, Detail: detail})
}

func join(list []string) string { return strings.Join(list, " ") }
