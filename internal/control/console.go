package control

import (
	"context"
	"net/http"

	"github.com/wardhq/ward/internal/console"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// openConsole puts together what the console shows.
func (k *Control) openConsole() (err error) {
	k.console, err = console.New(console.Config{
		Clock: k.config.Clock, Traffic: k.watch, Kept: k.watch, Inbox: k.found, Standing: k.found, Records: k.search, Report: k.report,
		Ledger: k.ledger.Status, Anchors: k.anchors.States, People: k.users.Admin(),
		Layers: k.config.Layers,
		Plan: func() *plan.Plan {
			k.mu.Lock()
			defer k.mu.Unlock()
			return k.state.Plan
		},
		Record: func(ctx context.Context, e wire.Event) error {
			e.Source, e.Time = "control", k.config.Clock.Now().UTC()
			return k.ledger.Append(ctx, []wire.Event{e})
		},
	})
	return err
}

// consoleForAdmin gives links, and serves the console to who has come in by one. Whoever reaches this socket may do everything anyhow; who comes
// through 'ward console' reaches nothing but the pages.
func (k *Control) consoleForAdmin(mux *http.ServeMux) {
	wire.Handle(mux, "POST /v1/console", k.console.Invite)
	mux.Handle(wire.ConsolePath+"/", http.StripPrefix(wire.ConsolePath, k.console.Handler()))
}
