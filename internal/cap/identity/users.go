package identity

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http"
	"path"
	"sync"
	"sync/atomic"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/told"
	"github.com/wardhq/ward/internal/cap/identity/internal/upstream"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// UsersConfig is what Users need.
type UsersConfig struct {
	DB     *store.DB
	Key    secret.Bytes // seals what is secret in DB
	Clock  clock.Clock
	Record func(wire.Event) // takes an event for the ledger; it doesn't wait
	// RecordNow returns when an event is in the ledger.
	RecordNow func(context.Context, wire.Event) error
	// Roots verify the SVIDs that services authenticate with.
	Roots func() (*x509.CertPool, error)
	// MailDir is where mail is written when ward.yaml names no SMTP server.
	MailDir string
	// Egress is the socket of the way out, for mail and for other providers.
	Egress string
	// GeoIP and Breached are files; either may be missing.
	GeoIP, Breached string
	Log             *slog.Logger
}

// Users are the people of an application: their accounts, sessions and tokens. Its methods are safe for concurrent use.
// Without users: in the plan there is nobody, and every question is answered so.
type Users struct {
	config UsersConfig
	board  *told.Board

	changing sync.Mutex // held while a plan is put into force
	parts    atomic.Pointer[parts]
	begun    chan struct{} // closed when parts are there
}

// OpenUsers opens the tables of DB.
func OpenUsers(ctx context.Context, c UsersConfig) (*Users, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	u := &Users{config: c, begun: make(chan struct{})}
	var err error
	u.board, err = told.Open(ctx, told.Config{DB: c.DB, Clock: c.Clock, Issuer: u.issuer, TokenKeys: u.tokenKeys, Foreign: u.foreignIssuers})
	if err != nil {
		return nil, err
	}
	return u, nil
}

func (u *Users) issuer() string {
	if p := u.parts.Load(); p != nil {
		return p.origin
	}
	return ""
}

func (u *Users) tokenKeys() json.RawMessage {
	if p := u.parts.Load(); p != nil {
		return p.provider.JWKS()
	}
	return json.RawMessage(`{"keys":[]}`)
}

func (u *Users) foreignIssuers() []wire.ForeignIssuer {
	p := u.parts.Load()
	if p == nil {
		return nil
	}
	keys := p.foreign.all()
	var out []wire.ForeignIssuer
	for _, x := range p.plan.Load().Users.Issuers {
		if k := keys[x.Issuer]; k != nil {
			out = append(out, wire.ForeignIssuer{Issuer: x.Issuer, Audience: x.Audience, Keys: k})
		}
	}
	return out
}

// SetPlan puts users: of a plan into force; files are what it names, by path. The first one with users: opens the tables; its
// host can't change afterwards.
func (u *Users) SetPlan(ctx context.Context, p *plan.Plan, files map[string][]byte) error {
	u.changing.Lock()
	defer u.changing.Unlock()
	if !p.Users.On() {
		return nil
	}
	now := u.parts.Load()
	if now == nil {
		next, err := u.open(ctx, p, files)
		if err != nil {
			return err
		}
		u.parts.Store(next)
		close(u.begun)
	} else if err := now.apply(p, files); err != nil {
		return err
	}
	u.board.Refresh()
	return nil
}

// Run does the work of the background until ctx ends: mail, logouts, keys, sweeping, counts.
func (u *Users) Run(ctx context.Context) {
	select {
	case <-u.begun:
		u.parts.Load().run(ctx)
	case <-ctx.Done():
	}
}

// State is what gateway and agents are told; it waits for something newer than have.
func (u *Users) State(ctx context.Context, have string, agent bool) (wire.UserState, error) {
	return u.board.Follow(ctx, have, agent)
}

// PublishKey takes the key of a gateway's transaction tokens.
func (u *Users) PublishKey(ctx context.Context, jwk json.RawMessage) error {
	return u.board.Publish(ctx, jwk)
}

// errNobody answers where there is no sign-in.
var errNobody = fault.New(fault.NotFound, "ward.yaml has no users:")

// BeginSignIn and its fellows are the gateway's part; see package wire.
func (u *Users) BeginSignIn(ctx context.Context, q wire.SignInBegin) (wire.SignInBegun, error) {
	if p := u.parts.Load(); p != nil {
		return p.accounts.BeginSignIn(ctx, q)
	}
	return wire.SignInBegun{}, errNobody
}

// FinishSignIn makes a session at the origin.
func (u *Users) FinishSignIn(ctx context.Context, q wire.SignInFinish) (wire.SignInFinished, error) {
	if p := u.parts.Load(); p != nil {
		return p.accounts.FinishSignIn(ctx, q)
	}
	return wire.SignInFinished{}, errNobody
}

// Session is a cookie's.
func (u *Users) Session(ctx context.Context, q wire.SessionQuery) (wire.Session, error) {
	if p := u.parts.Load(); p != nil {
		return p.accounts.GatewaySession(ctx, q)
	}
	return wire.Session{}, errNobody
}

// EndSession ends one at its person's wish.
func (u *Users) EndSession(ctx context.Context, q wire.SessionEnd) (wire.SessionEnded, error) {
	if p := u.parts.Load(); p != nil {
		return p.accounts.EndSession(ctx, q)
	}
	return wire.SessionEnded{}, errNobody
}

// SeeSessions takes notice of use.
func (u *Users) SeeSessions(ctx context.Context, q wire.SessionsSeen) error {
	if p := u.parts.Load(); p != nil {
		return p.accounts.SeeSessions(ctx, q)
	}
	return errNobody
}

// SignsIn tells whether a GET of Pages may sign somebody in: a provider of sign-in sends browsers back so.
func SignsIn(r *http.Request) bool {
	back, _ := path.Match(upstream.CallbackPath("*"), r.URL.Path) // the pattern is a valid one
	return back
}

// Pages serves sign-in, self-service and the OpenID provider.
func (u *Users) Pages() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := u.parts.Load(); p != nil {
			p.pages.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	})
}
