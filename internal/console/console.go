// Package console is Ward's web console: the map of what passes, findings and what is done about them, traces, logs, the audit trail, people,
// and what protects what.
//
// Guarantee: nothing but the entrance and the style is shown without a session; an act needs the session's token, a request of the console's own
// origin and the role, and is in the ledger before it is done, or isn't done. Whatever services, strangers and logs say is text on every page,
// and the pages' policy allows no inline script or style. Each page works without JavaScript. Not guaranteed: that who holds a one-time link is
// who asked for it.
package console

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/capability"
	"github.com/wardhq/ward/internal/console/internal/access"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/ledger/anchor"
	"github.com/wardhq/ward/internal/ledger/check"
	"github.com/wardhq/ward/internal/ledger/search"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// Traffic is what passes, now and before.
type Traffic interface {
	Edges(window time.Duration) []watch.Edge
	History(q watch.HistoryQuery) ([]watch.History, error)
	Processes() []watch.Process
	SLOs() ([]watch.SLO, error)
	Ends(service string) time.Time
}

// Kept is what is kept of single requests, and of what services print.
type Kept interface {
	Traces(q watch.TraceQuery) ([]watch.Summary, error)
	Trace(id telemetry.TraceID) ([]telemetry.SpanRecord, error)
	Logs(ctx context.Context, q watch.LogQuery) (watch.LogResult, error)
	Spans() uint64 // that were kept since the start
}

// Inbox is what was found, and what may be done with it.
type Inbox interface {
	List(ctx context.Context, q watch.FindingQuery) ([]watch.Finding, error)
	Close(ctx context.Context, number int64, by, note string) (watch.Finding, error)
	Silence(ctx context.Context, s watch.Silence) (watch.Silence, error)
	EndSilence(ctx context.Context, number int64, by string) error
	Restrict(ctx context.Context, r wire.Restriction) (wire.Restriction, error)
	Lift(ctx context.Context, answer, by string) (wire.Restriction, error)
}

// Standing is what is in force.
type Standing interface {
	Restrictions() (wire.Restrictions, <-chan struct{})
	Silences() []watch.Silence
}

// Records is the audit trail.
type Records interface {
	Search(ctx context.Context, q search.Query, f func(ledger.Record) bool) error
}

// Ledger is the file of the audit trail.
type Ledger interface {
	Status() ledger.Status
	Checkpoint() (ledger.Checkpoint, error)
}

// Checks reads the ledger whole again.
type Checks interface {
	State() check.State
	Ask()
}

// Config is what a Console shows, and what it acts on.
type Config struct {
	Clock    clock.Clock
	Traffic  Traffic
	Kept     Kept
	Inbox    Inbox
	Standing Standing
	Records  Records
	Report   func(ctx context.Context, finding int64) (watch.FindingReport, error)
	Ledger   Ledger
	Checks   Checks
	Anchors  func() []anchor.State
	Plan     func() *plan.Plan // nil: none is in force yet
	People   http.Handler      // the administration of users
	Layers   []capability.Capability
	Drops    func() []watch.Drop // what Ward itself had no room for; nil for nothing
	// SignedIn is whose the gateway's cookie is; an error for nobody's.
	SignedIn func(ctx context.Context, q wire.SessionQuery) (wire.Session, error)
	// Record brings an event into the ledger, and returns when it is there.
	Record func(ctx context.Context, e wire.Event) error
}

// Console serves the pages. It is safe for concurrent use.
type Console struct {
	config Config
	desk   *access.Desk
	pages  map[string]*template.Template
	assets map[string]asset
	live   *live

	laid drawn

	drawing sync.Mutex
	ready   template.HTML // guarded by drawing: the map of drawnAt, for everybody
	drawnAt time.Time     // guarded by drawing

	mu     sync.Mutex
	day    []quarter // guarded by mu: the last day
	dayEnd time.Time // guarded by mu
}

// New returns a Console that nobody may enter yet.
func New(c Config) (*Console, error) {
	out := &Console{config: c, desk: access.New(c.Clock), live: newLive()}
	var err error
	if out.assets, err = readAssets(); err != nil {
		return nil, err
	}
	if out.pages, err = readPages(out.assets); err != nil {
		return nil, err
	}
	return out, nil
}

// Invite returns the path of a link that lets a person in once, within a minute. Roles are viewer, operator and administrator.
func (c *Console) Invite(ctx context.Context, q wire.ConsoleAsk) (wire.ConsoleLink, error) {
	token, err := c.desk.Invite(access.Person{Name: q.By, Role: access.RoleOf(q.Role)})
	if err != nil {
		return wire.ConsoleLink{}, err
	}
	err = c.config.Record(ctx, wire.Event{Kind: "console.link", Subject: q.By, Detail: map[string]string{"role": q.Role}})
	if err != nil {
		return wire.ConsoleLink{}, fmt.Errorf("record link: %w", err)
	}
	return wire.ConsoleLink{Path: "/enter?link=" + token, Seconds: int(access.LinkLife / time.Second)}, nil
}
