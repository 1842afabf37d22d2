package up

import (
	"strings"
	"sync"

	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// flagged is one kind of sign from inside a sandbox.
type flagged struct{ service, kind, what string }

// flags brings signs to the ledger; a service that makes ever new ones fills a count, not the disk, and none but its own: each kind of sign of each
// service has a tally, and a trap's name one that other names don't fill. Safe for concurrent use.
type flags struct {
	record func(wire.Event)

	mu sync.Mutex
	of map[string]map[share]*wire.Tally[flagged] // guarded by mu: by service
}

type share struct {
	kind string
	trap bool
}

// maxSigns bounds the signs of a share that are told apart.
const maxSigns = 128

func newFlags(record func(wire.Event)) *flags {
	return &flags{record: record, of: map[string]map[share]*wire.Tally[flagged]{}}
}

// flag takes the signs of somebody's sandbox.
func (s *Supervisor) flag(whose string) func(sandbox.Flag) {
	return func(f sandbox.Flag) { s.flags.Note(flagged{whose, wire.Clip(f.Kind), wire.Clip(f.Detail)}) }
}

// Note counts a sign, and returns after the first of its kind was recorded.
func (f *flags) Note(x flagged) { f.tally(x).Note(x) }

func (f *flags) tally(x flagged) *wire.Tally[flagged] {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.of[x.service]
	if all == nil {
		all = map[share]*wire.Tally[flagged]{}
		f.of[x.service] = all
	}
	at := share{x.kind, strings.HasPrefix(x.what, plan.CanaryPrefix)}
	if all[at] == nil {
		all[at] = f.newTally()
	}
	return all[at]
}

func (f *flags) newTally() *wire.Tally[flagged] {
	return &wire.Tally[flagged]{
		Prefix: "f-", Most: maxSigns, Record: f.record,
		Rest: func(x flagged) flagged { return flagged{x.service, x.kind, plan.Further} },
		Event: func(x flagged, id string, count int64) wire.Event {
			return wire.Event{Kind: "flag." + x.kind, Subject: x.service, Count: count, Detail: map[string]string{"what": x.what, "id": id}}
		},
	}
}

// Flush records the counts of what repeats.
func (f *flags) Flush() {
	f.mu.Lock()
	var all []*wire.Tally[flagged]
	for _, of := range f.of {
		for _, t := range of {
			all = append(all, t)
		}
	}
	f.mu.Unlock()
	for _, t := range all {
		t.Flush()
	}
}
