package control

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// keepLedger tells the ledger how much a plan wants kept.
func (k *Control) keepLedger(p *plan.Plan) {
	l := &p.Watch.Ledger
	k.ledger.SetKeep(ledger.Keep{Bytes: l.Budget, Days: l.Days})
}

// allowedCalls takes the calls that were allowed, where the plan wants them kept. Nobody waits for the disk.
func (k *Control) allowedCalls(mux *http.ServeMux, role string) {
	wire.Handle(mux, "POST /v1/allowed", func(_ context.Context, events []wire.Event) (none, error) {
		k.mu.Lock()
		wanted := k.state.Plan != nil && len(k.state.Plan.Watch.Ledger.Allowed) > 0
		k.mu.Unlock()
		if !wanted {
			return none{}, fault.New(fault.Refused, "the plan in force doesn't keep allowed calls")
		}
		for i := range events {
			if e := &events[i]; !maySay(role, e) || e.Kind != "request.allowed" && e.Kind != "ledger.lost" {
				return none{}, fault.New(fault.Refused, "events that aren't this process's to tell")
			}
		}
		return none{}, k.ledger.Later(events)
	})
}

// serveAudit writes records as JSON lines; follow=1 goes on as they come.
func (k *Control) serveAudit(w http.ResponseWriter, r *http.Request) {
	from, _ := strconv.ParseInt(r.URL.Query().Get("from"), 10, 64) // absent: from the start
	enc := json.NewEncoder(w)
	flusher, _ := w.(http.Flusher)
	for {
		_, changed := k.ledger.Size()
		err := k.ledger.Read(from, func(rec ledger.Record) bool {
			from = rec.Index + 1
			return enc.Encode(rec) == nil
		})
		if err != nil {
			slog.Error("read ledger", "error", err)
			return
		}
		if r.URL.Query().Get("follow") != "1" {
			return
		}
		if flusher != nil {
			flusher.Flush()
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}
