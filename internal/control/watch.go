package control

import (
	"context"
	"net/http"
	"time"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// reports takes what a role has counted.
func (k *Control) reports(mux *http.ServeMux, role string) {
	wire.Handle(mux, "POST /v1/telemetry", func(_ context.Context, s telemetry.Snapshot) (none, error) { return none{}, k.watch.Take(role, s) })
}

// watched is what the administrator may look at.
func (k *Control) watched(mux *http.ServeMux) {
	wire.Handle(mux, "GET /v1/edges", func(_ context.Context, w wire.Window) ([]watch.Edge, error) {
		return k.watch.Edges(time.Duration(w.Seconds) * time.Second), nil
	})
}
