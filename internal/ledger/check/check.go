// Package check reads a ledger whole again from time to time, while it is open, and remembers what it found.
//
// Guarantee: once a day, soon after the start, and when somebody asks, every record is hashed again and compared with the signed checkpoint
// (ledger.Verify); what doesn't match is told once, and stays in the State until a whole reading finds nothing. Not guaranteed: that
// what is changed is found before the next reading.
package check

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/ledger"
)

// Times.
const (
	first = time.Minute // after the start, when there is less to do
	every = 24 * time.Hour
)

// State is what is known.
type State struct {
	Records int64         `json:"records"`           // under the checkpoint that the last reading began with
	Checked time.Time     `json:"checked,omitzero"`  // when that ended; zero: none has
	Took    time.Duration `json:"took,omitempty"`    //
	Problem string        `json:"problem,omitempty"` // why the ledger doesn't verify, or couldn't be read
	Running bool          `json:"running,omitempty"`
}

// Config is what a Keeper needs.
type Config struct {
	Dir   string // the ledger's
	Key   string // the ledger's verifier key; "" takes the one beside it
	Clock clock.Clock
	// Changed is told of a problem the first time, and when it is gone.
	Changed func(State)
}

// Keeper checks a ledger. It is safe for concurrent use.
type Keeper struct {
	config Config
	asked  chan struct{}

	mu    sync.Mutex
	state State // guarded by mu
}

// New returns a Keeper that has checked nothing yet.
func New(c Config) *Keeper { return &Keeper{config: c, asked: make(chan struct{}, 1)} }

// State is what the last reading found.
func (k *Keeper) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

// Ask has the ledger read soon; it doesn't wait. While it is read anyway, it is read once more.
func (k *Keeper) Ask() {
	select {
	case k.asked <- struct{}{}:
	default:
	}
}

// Run reads the ledger when it is due, until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	t := time.NewTimer(first)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-k.asked:
		case <-ctx.Done():
			return
		}
		k.Check(ctx)
		t.Reset(every)
	}
}

// Check reads the ledger now.
func (k *Keeper) Check(ctx context.Context) {
	k.set(func(s *State) { s.Running = true })
	began := k.config.Clock.Now()
	r, err := ledger.VerifyContext(ctx, k.config.Dir, k.config.Key)
	if ctx.Err() != nil {
		k.set(func(s *State) { s.Running = false })
		return
	}
	now := k.config.Clock.Now()
	found := State{Records: r.Records, Checked: now.UTC(), Took: now.Sub(began)}
	if err != nil {
		found.Problem = "the ledger can't be read"
		if errors.Is(err, fs.ErrNotExist) {
			found.Problem = "a file of the ledger is missing"
		}
		if fault.KindOf(err) == fault.Refused {
			found.Problem = fault.PublicText(err)
		}
		slog.Error("ledger doesn't verify", "error", err)
	}
	was := k.State().Problem
	k.set(func(s *State) { *s = found })
	if was != found.Problem && k.config.Changed != nil {
		k.config.Changed(found)
	}
}

func (k *Keeper) set(f func(*State)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(&k.state)
}
