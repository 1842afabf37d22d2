package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// allowedRounds is after how many rounds of report allowed calls go to control: with the ledger's own wait, within a second.
const allowedRounds = 2

// allowed counts the calls that were allowed, where the plan wants them in the ledger: by series and class of answer, each with the trace of
// one of them. It costs a request nothing: what it counts are the records that telemetry leaves behind. While control is away it
// counts on; what the ring lost is said.
type allowed struct {
	process string // "agent" or "gateway"
	meter   *telemetry.Meter

	on       atomic.Bool // whether anything is wanted
	mu       sync.Mutex
	services []string // guarded by mu; model.AllServices for every one

	// What follows is of the goroutine that reports.
	source  string
	seq     uint64
	counts  map[group]*counted
	pending []wire.Event // that control may or may not have; sent again as they are
	lost    uint64       // of the ring, up to the last time
}

// group are calls that are counted as one.
type group struct {
	series uint32
	class  uint16 // of status
}

type counted struct {
	n     int64
	trace telemetry.TraceID
}

func newAllowed(process string, m *telemetry.Meter) *allowed {
	b := make([]byte, 6)
	_, _ = rand.Read(b) // never returns an error (crypto/rand)
	return &allowed{process: process, meter: m, source: process + "-" + hex.EncodeToString(b), counts: map[group]*counted{}}
}

// set takes what a plan wants.
func (a *allowed) set(p *plan.Plan) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.services = p.Watch.Ledger.Allowed
	a.on.Store(len(a.services) > 0)
}

func (a *allowed) wanted() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.services
}

// see counts a record.
func (a *allowed) see(r *telemetry.Record) {
	if !a.on.Load() {
		return
	}
	g := group{r.Series, r.Status / 100}
	c := a.counts[g]
	if c == nil { // as many as there are series and classes, at most
		c = &counted{}
		a.counts[g] = c
	}
	c.n++
	c.trace = r.Trace
}

// waiting is how many groups control hasn't got yet.
func (a *allowed) waiting() int64 { return int64(len(a.counts) + len(a.pending)) }

// send brings what was counted to control.
func (a *allowed) send(ctx context.Context, c *wire.Client, now time.Time) error {
	services, lost := a.wanted(), a.meter.Ring.Lost()
	if len(services) == 0 {
		clear(a.counts)
		a.pending, a.lost = nil, lost
		return nil
	}
	if len(a.pending) == 0 {
		a.pending = a.events(services, now.UTC())
		if n := lost - a.lost; n > 0 {
			a.put(wire.Event{Time: now.UTC(), Kind: "ledger.lost", Subject: a.source, Count: int64(n)})
			a.lost = lost
		}
	}
	if len(a.pending) == 0 {
		return nil
	}
	err := c.RecordLater(ctx, a.pending)
	if err == nil {
		a.pending = nil
	}
	return err
}

// events are what was counted since the last time.
func (a *allowed) events(services []string, now time.Time) []wire.Event {
	a.pending = nil
	for g, c := range a.counts {
		l := a.meter.Label(g.series)
		if a.process == "agent" && l.Caller == plan.Outside {
			continue // the gateway tells of those
		}
		if c.n > 0 && (l.Verdict == telemetry.Allowed || l.Verdict == telemetry.Failed) &&
			(slices.Contains(services, model.AllServices) || slices.Contains(services, l.Caller) || slices.Contains(services, l.Target)) {
			detail := map[string]string{"route": l.Route, "status": strconv.Itoa(int(g.class)) + "xx", "trace": c.trace.String()}
			if l.Verdict == telemetry.Failed {
				detail["status"] = "unanswered"
			}
			a.put(wire.Event{Time: now, Kind: "request.allowed", Subject: l.Caller, Object: l.Target, Detail: detail, Count: c.n})
		}
	}
	clear(a.counts)
	return a.pending
}

func (a *allowed) put(e wire.Event) {
	a.seq++
	e.Source, e.Seq = a.source, a.seq
	a.pending = append(a.pending, e)
}
