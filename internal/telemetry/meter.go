// Package telemetry counts what passes through the gateway and the agents, and remembers each request for a moment.
//
// Guarantee: on a request's way nothing blocks and nothing is allocated: counters are atomics that were found when the plan came, a request
// leaves one record of fixed size in a ring, and a full ring loses the record and counts the loss. How many series there can be follows from
// the plan, never from what comes. Paths, addresses, users and bodies aren't in it. Not guaranteed: that counts survive the process; who
// reads sees them begin anew (Snapshot.Start).
package telemetry

import (
	"sync"
	"time"
)

// Meter holds the series of one process, and the ring of its requests. It is safe for concurrent use.
type Meter struct {
	Ring  *Ring
	start time.Time
	mu    sync.Mutex
	by    map[Label]*Series // guarded by mu
	all   []*Series         // guarded by mu: by number
}

// ringBits make room for 16,384 requests between two drains (2 MB).
const ringBits = 14

// NewMeter returns an empty Meter.
func NewMeter(now time.Time) *Meter {
	return &Meter{Ring: NewRing(ringBits), start: now, by: map[Label]*Series{}}
}

// Series returns the series of a label, the same for the same label for as long as the process lives. Who asks bounds the labels.
func (m *Meter) Series(l Label) *Series {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.by[l]
	if s == nil {
		s = &Series{Label: l, number: uint32(len(m.all))}
		m.by[l] = s
		m.all = append(m.all, s)
	}
	return s
}

// Snapshot is what a process has counted since its start.
type Snapshot struct {
	Source  string    `json:"source"` // which process
	Start   time.Time `json:"start"`
	Time    time.Time `json:"time"`
	Samples Samples   `json:"samples"`
	// Lost counts records that the ring had no room for.
	Lost uint64 `json:"lost,omitempty"`
	// Apps counts spans that services sent, by service.
	Apps AppCounts `json:"apps,omitempty"`
	// Queues are what waits in the process.
	Queues []Queue `json:"queues,omitempty"`
}

// Queue is how much waits somewhere: one of the names below.
type Queue struct {
	Name   string `json:"name"`
	Length int64  `json:"length"`
}

// The queues of gateway and agents.
const (
	QueueRing    = "ring"    // the most requests that the ring has held since the report before
	QueueSpool   = "spool"   // events that control hasn't got yet
	QueueAllowed = "allowed" // groups of allowed calls for the ledger
)

// Read returns all series that counted something or have requests under way, and those of refusals from the start: who watches for the first
// refusal sees it only as a step up from 0.
func (m *Meter) Read(source string, now time.Time) Snapshot {
	m.mu.Lock()
	all := m.all[:len(m.all):len(m.all)]
	m.mu.Unlock()
	out := Snapshot{Source: source, Start: m.start, Time: now, Lost: m.Ring.Lost(), Samples: make(Samples, 0, len(all))}
	for _, s := range all {
		if x := s.Read(); x.Requests() > 0 || x.Open != 0 || x.Verdict == Denied {
			out.Samples = append(out.Samples, x)
		}
	}
	return out
}

// Label is that of a series by its number, as records have it; zero for none.
func (m *Meter) Label(number uint32) Label {
	m.mu.Lock()
	defer m.mu.Unlock()
	if int(number) >= len(m.all) {
		return Label{}
	}
	return m.all[number].Label
}
