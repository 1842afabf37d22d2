package watch

import (
	"context"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/watch/internal/notify"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// ChannelStatus is how somebody is whom findings are told.
type ChannelStatus = notify.Status

// ChannelQuery names channels by their kind; "" for all.
type ChannelQuery struct {
	To string `json:"to,omitempty"`
}

// NotifierConfig is what a Notifier needs.
type NotifierConfig struct {
	DB       *store.DB
	Clock    clock.Clock
	Findings *Findings
	Watch    *Watch
	Record   func(wire.Event) // takes what was told to the ledger; must not block
	Way      Way
}

// Notifier tells people what was found, and a dead-man's switch that Ward lives. Its methods are safe for concurrent use.
type Notifier struct{ *notify.Notifier }

// OpenNotifier reads what waits to be told. Nothing is until SetPlan and Run.
func OpenNotifier(ctx context.Context, c NotifierConfig) (*Notifier, error) {
	n, err := notify.Open(ctx, notify.Config{
		DB: c.DB, Clock: c.Clock, Record: c.Record, Open: c.Findings.inbox.Open, Answers: func() []wire.Restriction { all, _ := c.Findings.Restrictions(); return all.All }, Alive: c.Watch.alive, Way: notify.Way{Transport: c.Way.Client.Transport, Dial: c.Way.Dial},
	})
	if err != nil {
		return nil, err
	}
	return &Notifier{n}, nil
}

// SetPlan puts into force whom a plan names; files are those that it names. An error is fault.Invalid, and then nothing has changed.
func (n *Notifier) SetPlan(p *plan.Plan, files map[string][]byte) error {
	console := ""
	if p.Watch.Console.On() {
		console = p.Origin(p.Watch.Console.Host)
	}
	return n.Notifier.SetPlan(p.App, console, &p.Watch, files)
}

// alive tells whether gateway and agent report. That control does is what asking shows.
func (w *Watch) alive() bool {
	roles := map[string]bool{}
	for _, s := range w.Snapshots() {
		roles[s.Source] = true
	}
	return roles["gateway"] && roles["agent"]
}
