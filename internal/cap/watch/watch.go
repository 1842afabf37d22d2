// Package watch sees what passes through gateway and agents: what is asked of whom, how often, how fast, and what was refused.
//
// Guarantee: what it holds is bounded by the plan in force: a report that names what the plan doesn't have is refused, so that a gateway or an
// agent that was taken over can lie about its own counts, but make no more of them; traces and history stay within budgets of their own. Not
// guaranteed: that what a process reports is true.
package watch

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch/internal/logs"
	"github.com/wardhq/ward/internal/cap/watch/internal/series"
	"github.com/wardhq/ward/internal/cap/watch/internal/slo"
	"github.com/wardhq/ward/internal/cap/watch/internal/spans"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
)

// Every is how often gateway and agents report.
const Every = 5 * time.Second

// Limits of what is held: the last minute of at most so many processes.
const (
	maxSources = 256
	kept       = 13 // snapshots of each: a minute and the one before
	silent     = 3 * Every
)

// Watch gathers reports. It is safe for concurrent use.
type Watch struct {
	clock      clock.Clock
	start      time.Time
	collectors collectors // have their own lock

	mu        sync.Mutex
	known     names                                      // guarded by mu
	uses      []Process                                  // guarded by mu
	usedAt    time.Time                                  // guarded by mu: when uses came
	loads     []float64                                  // guarded by mu: processors that each of uses has used since the report before
	ends      map[string]ends                            // guarded by mu: of certificates, by service
	skew      map[string]time.Duration                   // guarded by mu: of processes' clocks
	externals map[string]bool                            // guarded by mu: of the plan
	wanted    map[string]map[telemetry.TraceID]time.Time // guarded by mu: by process, traces of interest to it, until when
	rooms     map[string]roomAt                          // guarded by mu: by process
	spansLost uint64                                     // guarded by mu: that came in too quick a succession
	linesLost uint64                                     // guarded by mu: that services printed
	appsLost  map[string]uint64                          // guarded by mu: of spans that services sent, by service
	spans     *spans.Store
	flagged   *spans.Store // of traces that a finding is about
	apps      applications
	history   *series.Store
	logs      *logs.Store
	judged    judged                          // has its own lock
	searching chan struct{}                   // holds a place for each search of logs
	sources   map[string][]telemetry.Snapshot // guarded by mu: oldest first
}

// names are what a report may tell of: parties of the plan, and its rules, without verdict.
type names struct {
	parties  map[string]bool
	services map[string]bool
	promised map[string]slo.Objective // of each service
	rules    map[telemetry.Label]bool
}

// Open returns a Watch that keeps traces and history in a folder, and refuses all reports until SetPlan.
func Open(dir string, c clock.Clock) (*Watch, error) {
	if c == nil {
		c = clock.System{}
	}
	s, err := spans.Open(filepath.Join(dir, "traces"), spans.Limits{Keep: traceDays * 24 * time.Hour, Bytes: traceBytes})
	if err != nil {
		return nil, err
	}
	g, err := spans.Open(filepath.Join(dir, "flagged"), spans.Limits{Keep: flaggedDays * 24 * time.Hour, Bytes: flaggedBytes})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	h, err := series.Open(filepath.Join(dir, "history"), series.Defaults())
	if err != nil {
		return nil, errors.Join(err, s.Close(), g.Close())
	}
	l, err := logs.Open(filepath.Join(dir, "logs"), logs.Defaults())
	if err != nil {
		return nil, errors.Join(err, s.Close(), g.Close(), h.Close())
	}
	return &Watch{
		clock: c, start: c.Now(), spans: s, flagged: g, history: h, logs: l, apps: applications{dir: filepath.Join(dir, "applications"), by: map[string]*spans.Store{}},
		searching: make(chan struct{}, searchesAtOne), sources: map[string][]telemetry.Snapshot{}, ends: map[string]ends{}, skew: map[string]time.Duration{},
		wanted: map[string]map[telemetry.TraceID]time.Time{}, rooms: map[string]roomAt{}, appsLost: map[string]uint64{},
	}, nil
}

// Close ends keeping.
func (w *Watch) Close() error {
	return errors.Join(w.spans.Close(), w.flagged.Close(), w.apps.close(), w.history.Close(), w.logs.Close())
}

// SetPlan puts a plan into force; what was counted under the one before is still shown while it lasts.
func (w *Watch) SetPlan(p *plan.Plan) {
	n := names{services: map[string]bool{}, parties: map[string]bool{"": true, plan.Outside: true, plan.Self: true}, rules: map[telemetry.Label]bool{{Caller: plan.Outside, Target: plan.Self, Route: SignIn}: true}}
	for i := range p.Services {
		name := string(p.Services[i].Name)
		n.parties[name], n.services[name] = true, true
	}
	n.promised = promises(&p.Watch.SLO, n.services)
	externals := map[string]bool{}
	for i := range p.Externals {
		n.parties[string(p.Externals[i].Name)], externals[string(p.Externals[i].Name)] = true, true
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		n.rules[telemetry.Label{Caller: r.Caller, Target: r.Target, Route: r.Grant.String()}] = true
	}
	if err := w.apps.setPlan(n.services); err != nil {
		slog.Error("spans of services that are gone stay", "error", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known, w.externals = n, externals
	for service := range w.ends {
		if !n.parties[service] {
			delete(w.ends, service)
		}
	}
}

// SignIn is the route of Ward's own pages at the gateway.
const SignIn = "sign-in"

// Take takes a process's report; role is who it is, as its socket tells. A series under names of an older plan is left out; so a report is
// refused only where all of it is strange, or where it can't be one.
func (w *Watch) Take(role string, s telemetry.Snapshot) error {
	s.Source = role
	said := s.Time
	s.Time = w.clock.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.skew[role] = said.Sub(s.Time)
	s.Queues = queues(s.Queues)
	whole, seen := len(s.Samples), map[telemetry.Label]bool{}
	s.Samples = slices.Clip(slices.DeleteFunc(s.Samples, func(x telemetry.Sample) bool {
		bad := !w.known.hasLabel(&x.Label) || len(x.Took.Counts) > telemetry.Buckets || role == "gateway" && x.Caller != plan.Outside
		twice := seen[x.Label] // of two with one name Prometheus takes none, and nothing else of the page
		if !bad {
			seen[x.Label] = true
		}
		return bad || twice
	}))
	last := ""
	s.Apps = slices.Clip(slices.DeleteFunc(s.Apps, func(x telemetry.AppCount) bool {
		bad := role == "gateway" || !w.known.services[x.Service] || x.Service <= last // in order, each once
		if !bad {
			last = x.Service
		}
		return bad
	}))
	if whole > 0 && len(s.Samples) == 0 {
		return fault.New(fault.Refused, fmt.Sprintf("none of the report's %d series is of the plan in force", whole))
	}
	all := w.sources[role]
	if all == nil && len(w.sources) >= maxSources {
		return fault.New(fault.Exhausted, "too many processes report")
	}
	if n := len(all); n > 0 && !all[n-1].Start.Equal(s.Start) {
		all = nil // it began anew, and so do its counts
	}
	if len(all) >= kept {
		all = append(all[:0:0], all[len(all)-kept+1:]...)
	}
	w.sources[role] = append(all, s)
	return nil
}

func (n *names) hasLabel(l *telemetry.Label) bool {
	rule := *l
	rule.Verdict = telemetry.Denied
	return n.parties[l.Caller] && n.parties[l.Target] && (l.Route == telemetry.Undeclared || n.rules[rule]) && l.Verdict <= telemetry.Failed
}

// Snapshots returns the last report of each process that isn't silent, in the order of their names.
func (w *Watch) Snapshots() []telemetry.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []telemetry.Snapshot
	for _, all := range w.sources {
		if last := all[len(all)-1]; w.clock.Now().Sub(last.Time) <= silent {
			out = append(out, last)
		}
	}
	slices.SortFunc(out, func(a, b telemetry.Snapshot) int { return strings.Compare(a.Source, b.Source) })
	return out
}
