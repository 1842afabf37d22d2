// Package detect finds attacks and trouble in what Ward sees: the model first (whatever it doesn't declare was refused, and is the truest
// sign), then what requests look like, then what is far from habit.
//
// Guarantee: it decides by its input and the given time alone, keeps a bounded amount of it, and forgets: a flood of clients, services or
// names pushes out the ones that were quiet longest. Not guaranteed: that an attacker who is slow enough, from addresses enough, is seen; nor
// that a signal is an attack. Its memory doesn't outlive its process.
package detect

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// Others is the object of what a subject does with many.
const Others = "others"

// Signal is one sign, of which findings are made: signals with one Rule, Subject and Object are one finding.
type Signal struct {
	Rule     string
	Severity finding.Severity // Unknown: the rule's
	Subject  string           // who: a service, a person, a client's network, or a part of Ward
	Object   string           // to whom or what; may be empty
	Client   netip.Prefix     // of the outside, if it is known
	Service  string           // that an answer may be about, if any
	Person   string           // as Service
	Probed   string           // the service that 'ward attack' makes do it; no answer is about that
	Held     bool             // the answer of the rule is for a person to give
	Lasts    time.Duration    // without another such signal within this it is over; 0 for what just happened
	What     string           // what happened, in a sentence
	Evidence string           // one example, as it was seen
	Record   int64            // of the ledger that shows it, -1 for none
	Trace    string           // of the request that it is about, "" if that isn't known
	Call     *Call            // that ward.yaml could allow, if any
	Count    int64            // how often; 0 is once
	Time     time.Time
}

// Call is what a line of ward.yaml would have to allow.
type Call struct {
	Caller string `json:"caller"`
	Target string `json:"target"`
	Port   int    `json:"port,omitempty"`
	Method string `json:"method"`
	Path   string `json:"path"`
}

// Detector looks for signs. It is for one goroutine at a time.
type Detector struct {
	clients   table[netip.Prefix, client]
	scan      spread
	exits     table[string, times]
	usual     table[string, habit]
	places    table[string, place]
	exposed   map[string]bool      // services with a route to the outside
	sensitive map[string]bool      // services that hold what mustn't be lost
	known     map[string]bool      // services of the plan
	probed    map[string]time.Time // services, when an attack on them was last made by 'ward attack'
	dialed    map[string]time.Time // services, when their sandbox last named an address past Ward
	traps     bool                 // canaries are laid
	trap      func(service string) string
}

// Sizes of the tables, in entries.
const (
	maxClients  = 8192
	maxServices = 1024
	maxHabits   = 4096
	maxPlaces   = 4096
)

// New returns a Detector that knows no plan yet; trap is the host that a service's canary names.
func New(trap func(service string) string) *Detector {
	return &Detector{
		trap: trap, probed: map[string]time.Time{}, dialed: map[string]time.Time{}, clients: table[netip.Prefix, client]{most: maxClients}, exits: table[string, times]{most: maxServices},
		usual: table[string, habit]{most: maxHabits}, places: table[string, place]{most: maxPlaces},
	}
}

// SetPlan tells what is declared.
func (d *Detector) SetPlan(p *plan.Plan) {
	d.traps = !p.Watch.NoCanaries
	d.exposed, d.sensitive, d.known = map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i := range p.Services {
		s := &p.Services[i]
		d.known[string(s.Name)] = true
		d.exposed[string(s.Name)] = len(s.Expose) > 0
		d.sensitive[string(s.Name)] = s.Sensitivity >= model.High
	}
}

// RuleOf is a rule by its name; the zero Rule for one that isn't.
func RuleOf(name string) Rule {
	all := Rules()
	if i := slices.IndexFunc(all, func(r Rule) bool { return r.Name == name }); i >= 0 {
		return all[i]
	}
	return Rule{}
}

// Rating is a signal's severity, or its rule's.
func (s *Signal) Rating() finding.Severity { return cmp.Or(s.Severity, RuleOf(s.Rule).Severity) }

// table keeps the most recently used entries.
type table[K comparable, V any] struct {
	most int
	all  map[K]*aged[V]
}

type aged[V any] struct {
	used time.Time
	v    V
}

// get is the entry of k, made if there is none; the one that was quiet longest goes when there is no room.
func (t *table[K, V]) get(k K, now time.Time) *V {
	e := t.all[k]
	if e == nil {
		if t.all == nil {
			t.all = map[K]*aged[V]{}
		}
		if len(t.all) >= t.most {
			t.shrink()
		}
		e = &aged[V]{}
		t.all[k] = e
	}
	e.used = now
	return &e.v
}

// shrink lets go of the quieter eighth, so that a flood costs one pass for many entries.
func (t *table[K, V]) shrink() {
	used := make([]time.Time, 0, len(t.all))
	for _, e := range t.all {
		used = append(used, e.used)
	}
	slices.SortFunc(used, time.Time.Compare)
	limit := used[len(used)/8]
	for k, e := range t.all {
		if !e.used.After(limit) {
			delete(t.all, k)
		}
	}
}

// times are the last times of something, at most 32.
type times []time.Time

// add adds one and tells how many there were in the last span.
func (t *times) add(now time.Time, n int, span time.Duration) int {
	for range min(n, 32) {
		*t = append(*t, now)
	}
	if over := len(*t) - 32; over > 0 {
		*t = slices.Delete(*t, 0, over)
	}
	first, _ := slices.BinarySearchFunc(*t, now.Add(-span), time.Time.Compare)
	return len(*t) - first
}
