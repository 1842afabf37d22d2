package control

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity"
	"github.com/wardhq/ward/internal/wire"
)

// notes counts control's own events on their way to the ledger, so that an answer can wait for those that it is about.
type notes struct {
	mu      sync.Mutex
	noted   int64         // guarded by mu
	ended   int64         // guarded by mu: that are on disk, or were lost, which the log says
	changed chan struct{} // guarded by mu: closed and replaced as events end
}

func newNotes() *notes { return &notes{changed: make(chan struct{})} }

// add is called before an event is queued.
func (n *notes) add() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.noted++
}

// end is called when so many are on disk, or lost.
func (n *notes) end(count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended += int64(count)
	close(n.changed)
	n.changed = make(chan struct{})
}

// notesWait is how long an answer waits at most: a disk that hangs mustn't keep everybody from signing in for ever.
const notesWait = 5 * time.Second

// wait returns when all events noted so far have ended. Those that come later can't be taken for them: an event is noted before it is
// queued, and the queue keeps the order.
func (n *notes) wait(ctx context.Context) {
	n.mu.Lock()
	until := n.noted
	n.mu.Unlock()
	limit := time.NewTimer(notesWait)
	defer limit.Stop()
	for {
		n.mu.Lock()
		done, changed := n.ended >= until, n.changed
		n.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			slog.Error("an answer goes out before its events are on disk")
			return
		case <-ctx.Done():
			return
		}
	}
}

// tellLost says in the ledger how many events aren't in it, as soon as there is room. Until it is said, it counts.
func (k *Control) tellLost() {
	k.telling.Lock()
	defer k.telling.Unlock()
	n := k.lost.Load()
	if n == 0 {
		return
	}
	e := wire.Event{Source: "control", Kind: "ledger.lost", Subject: "control", Count: n, Time: k.config.Clock.Now().UTC()}
	if k.ledger.Append(context.Background(), []wire.Event{e}) == nil {
		k.lost.Add(-n)
	}
}

// errFull is for what would change something that no record could show.
var errFull = fault.New(fault.Unavailable, "the audit trail takes no records, so nothing is changed; is the disk full?")

// durable makes a handler's answers wait until what it noted is on disk: sign-in, factors, sessions, tokens, administration of people. While the
// ledger takes nothing, requests that may change something are refused.
func (k *Control) durable(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if changes(r) && k.lost.Load() > 0 {
			if k.tellLost(); k.lost.Load() > 0 {
				wire.WriteError(w, errFull)
				return
			}
		}
		d := &durableWriter{ResponseWriter: w, wait: sync.OnceFunc(func() { k.notes.wait(r.Context()) })}
		h.ServeHTTP(d, r)
		d.wait() // an answer without a body
	})
}

// accountable brings each request that may change something into the ledger before it is carried out; what the ledger doesn't take isn't done.
func (k *Control) accountable(h http.Handler) http.Handler {
	return k.durable(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if changes(r) {
			if err := k.recordNow(r.Context(), wire.Event{Kind: "admin.request", Subject: "admin", Object: wire.Clip(r.Method + " " + r.URL.Path)}); err != nil {
				wire.WriteError(w, err)
				return
			}
		}
		h.ServeHTTP(w, r)
	}))
}

// recordNow returns when an event of control's is on disk.
func (k *Control) recordNow(ctx context.Context, e wire.Event) error {
	e.Source, e.Time = "control", k.config.Clock.Now().UTC()
	if err := k.ledger.Append(ctx, []wire.Event{e}); err != nil {
		slog.Error("event lost", "kind", e.Kind, "error", err)
		return errFull
	}
	return nil
}

func changes(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions || identity.SignsIn(r)
}

// durableWriter waits before the first byte.
type durableWriter struct {
	http.ResponseWriter
	wait func()
}

// WriteHeader implements http.ResponseWriter.
func (d *durableWriter) WriteHeader(status int) {
	d.wait()
	d.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (d *durableWriter) Write(b []byte) (int, error) {
	d.wait()
	return d.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (d *durableWriter) Unwrap() http.ResponseWriter { return d.ResponseWriter }
