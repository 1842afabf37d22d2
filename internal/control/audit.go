package control

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/ledger/anchor"
	"github.com/wardhq/ward/internal/ledger/check"
	"github.com/wardhq/ward/internal/ledger/search"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// openLedger opens the ledger, and what goes with it.
func (k *Control) openLedger() (err error) {
	dir := filepath.Join(k.config.Dir, ledgerFolder)
	if k.ledger, err = ledger.Open(dir, k.config.TrustDomain+"/ledger", k.config.Key); err != nil {
		return err
	}
	k.search = search.New(k.ledger)
	k.checks = check.New(check.Config{Dir: dir, Key: k.ledger.VerifierKey(), Clock: k.config.Clock, Changed: k.checked})
	k.anchors, err = anchor.Open(anchor.Config{
		Dir: filepath.Join(k.config.Dir, watchFolder, "anchors"), Ledger: dir, Transport: egressTransport(), Clock: k.config.Clock, Failed: k.anchored,
	})
	return err
}

// anchored notes that an anchor fails, that it contradicts the ledger, or that it works again.
func (k *Control) anchored(s anchor.State) {
	e := wire.Event{Kind: "anchor.works", Subject: "control", Object: s.To}
	if s.Error != "" {
		e.Kind, e.Detail = "anchor.failed", map[string]string{"error": s.Error}
	}
	if s.Contradicted {
		e.Kind = "ledger.contradicted"
	}
	k.note(e)
}

// checked notes that the ledger doesn't verify, or that it does again.
func (k *Control) checked(s check.State) {
	e := wire.Event{Kind: "ledger.whole", Subject: "control"}
	if s.Problem != "" {
		e.Kind, e.Detail = "ledger.damaged", map[string]string{"problem": s.Problem}
	}
	k.note(e)
}

// ledgerForAdmin tells how the ledger is, and takes what became of anchors in files, which the supervisor writes.
func (k *Control) ledgerForAdmin(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/audit", k.serveAudit)
	wire.Handle(mux, "GET /v1/ledger", func(context.Context, none) (ledger.Status, error) { return k.ledger.Status(), nil })
	wire.Handle(mux, "GET /v1/anchors", func(context.Context, none) ([]anchor.State, error) { return k.anchors.States(), nil })
	wire.Handle(mux, "GET /v1/anchors/files", func(context.Context, none) ([]anchor.State, error) { return k.anchors.Due(anchor.File), nil })
	wire.Handle(mux, "POST /v1/anchors/file", func(_ context.Context, r anchor.Report) (none, error) {
		k.anchors.Done(r.State, tlog.Tree{N: r.Records, Hash: r.Root}, r.Err())
		return none{}, nil
	})
}

// keepLedger tells the ledger how much a plan wants kept, and where its checkpoints go.
func (k *Control) keepLedger(p *plan.Plan) {
	l := &p.Watch.Ledger
	k.ledger.SetKeep(ledger.Keep{Bytes: l.Budget, Days: l.Days})
	k.anchors.SetTargets(p.Watch.Anchor)
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

// serveAudit writes the records that a query wants as JSON lines; follow=1 goes on as they come.
func (k *Control) serveAudit(w http.ResponseWriter, r *http.Request) {
	q, err := search.ParseQuery(r.URL.Query())
	follow := r.URL.Query().Get("follow") == "1"
	if err == nil && follow && (q.Newest || q.Limit > 0) {
		err = fault.New(fault.Invalid, "what goes on has no newest record and no limit")
	}
	if err != nil {
		wire.WriteError(w, err)
		return
	}
	enc := json.NewEncoder(w)
	for {
		size, changed := k.ledger.Size()
		next := size
		err := k.search.Search(r.Context(), q, func(rec ledger.Record) bool {
			next = max(next, rec.Index+1)
			return enc.Encode(rec) == nil
		})
		if err != nil {
			if r.Context().Err() == nil {
				slog.Error("read ledger", "error", err)
			}
			panic(http.ErrAbortHandler) // nobody must take a part for all
		}
		if !follow {
			return
		}
		q.From = max(q.From, next)
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// ledgerEvery is how often the ledger's indexes are looked after.
const ledgerEvery = 10 * time.Second

// runLedger looks after what lies beside the ledger, after its anchors, and whether it is whole, until ctx ends.
func (k *Control) runLedger(ctx context.Context) {
	var beside sync.WaitGroup
	beside.Go(func() { k.anchors.Run(ctx) })
	beside.Go(func() { k.checks.Run(ctx) })
	defer beside.Wait()
	t := time.NewTicker(ledgerEvery)
	defer t.Stop()
	for {
		if err := k.search.Refresh(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("index ledger", "error", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}
