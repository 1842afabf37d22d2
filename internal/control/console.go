package control

import (
	"net/http"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/console"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// openConsole puts together what the console shows.
func (k *Control) openConsole() (err error) {
	k.console, err = console.New(console.Config{
		Clock: k.config.Clock, Traffic: k.watch, Kept: k.watch, Inbox: k.found, Standing: k.found, Records: k.search, Report: k.report,
		Ledger: k.ledger, Checks: k.checks, Anchors: k.anchors.States, People: k.durable(k.users.Admin()), SignedIn: k.users.Session,
		Layers: k.config.Layers, Drops: func() []watch.Drop { return k.watch.Drops(k.build()) },
		Plan:   k.planInForce,
		Record: k.recordNow,
	})
	return err
}

// consoleForAdmin gives links, and serves the console to who has come in by one. Whoever reaches this socket may do everything anyhow; who comes
// through 'ward console' reaches nothing but the pages.
func (k *Control) consoleForAdmin(mux *http.ServeMux) {
	wire.Handle(mux, "POST /v1/console", k.console.Invite)
	mux.Handle(wire.ConsolePath+"/", http.StripPrefix(wire.ConsolePath, k.console.Handler()))
}

func (k *Control) planInForce() *plan.Plan {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state.Plan
}

// pages are those that the gateway shows to people: sign-in, and at its own host the console.
func (k *Control) pages() http.Handler {
	signIn, console := k.durable(k.users.Pages()), k.console.Outside()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := canon.Host(r.Host) // as the gateway reads it
		if p := k.planInForce(); err == nil && p != nil && p.Watch.Console.On() && host == p.Watch.Console.Host {
			console.ServeHTTP(w, r)
			return
		}
		signIn.ServeHTTP(w, r)
	})
}
