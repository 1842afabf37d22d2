// Package caps is the one ordered list of Ward's capabilities, and tells which of them an attack was on.
//
// Guarantee: each has probes, and no kind of attack from one side belongs to two.
package caps

import (
	"github.com/wardhq/ward/internal/cap/gateway"
	"github.com/wardhq/ward/internal/cap/identity"
	"github.com/wardhq/ward/internal/cap/mesh"
	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/cap/scan"
	"github.com/wardhq/ward/internal/cap/secrets"
	"github.com/wardhq/ward/internal/cap/update"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/capability"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/prove"
)

// All are the capabilities: those of a running application, in the order of a request's way, and then those of what it is built from.
func All() []capability.Capability {
	return append(Running(), scan.Capability(), update.Capability())
}

// Running are those that protect an application while it runs: all but what looks at what it is built from.
func Running() []capability.Capability {
	return []capability.Capability{gateway.Capability(), identity.Capability(), mesh.Capability(), secrets.Capability(), sandbox.Capability(), watch.Capability()}
}

// Held is what attacks on a capability came to.
type Held struct {
	Capability  string `json:"capability"`
	Stops       string `json:"stops"`
	Attempts    int    `json:"attempts"`
	Differences int    `json:"differences"`
}

// Sort sums a report up by capability. What no capability claims comes last, under no name: there is nothing of the kind unless
// somebody forgot it.
func Sort(r *prove.Report) []Held {
	all := All()
	out := make([]Held, len(all), len(all)+1)
	owner := map[prove.Tried]int{}
	for i, c := range all {
		out[i] = Held{Capability: c.Name, Stops: c.Stops}
		for _, p := range c.Probes {
			if p.Test != "" {
				continue // tests make those
			}
			owner[prove.Tried{Outside: p.From == capability.Outside, Kind: p.Kind}] = i
		}
	}
	var rest Held
	at := func(t prove.Tried) *Held {
		if i, ok := owner[t]; ok {
			return &out[i]
		}
		return &rest
	}
	for t, n := range r.Tried {
		at(t).Attempts += n
	}
	for i := range r.Differences {
		d := &r.Differences[i]
		at(prove.Tried{Outside: d.Attacker == plan.Outside, Kind: d.Kind}).Differences++
	}
	if rest.Attempts+rest.Differences > 0 {
		out = append(out, rest)
	}
	return out
}
