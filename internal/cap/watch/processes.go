package watch

import (
	"io"
	"maps"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch/internal/exposition"
	"github.com/wardhq/ward/internal/telemetry"
)

// Process is what a running instance of a service uses.
type Process = exposition.Process

// maxProcesses bounds a report of processes.
const maxProcesses = 10_000

// TakeProcesses takes the supervisor's report of what runs: all of it, each time.
func (w *Watch) TakeProcesses(all []Process) error {
	if len(all) > maxProcesses {
		return fault.New(fault.Exhausted, "too many processes in one report")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now, before := w.clock.Now(), w.uses
	all = slices.DeleteFunc(slices.Clone(all), func(p Process) bool { return !w.known.parties[p.Service] })
	loads := make([]float64, len(all))
	for i := range all {
		x := &all[i]
		cpu, since := x.CPU, x.Start
		for j := range before {
			if b := &before[j]; b.Service == x.Service && b.Replica == x.Replica && b.Start.Equal(x.Start) {
				cpu, since = x.CPU-b.CPU, w.usedAt
			}
		}
		if took := now.Sub(since); took > 0 {
			loads[i] = max(0, cpu.Seconds()/took.Seconds())
		}
	}
	w.uses, w.usedAt, w.loads = all, now, loads
	return nil
}

// Running is a running instance of a service, and what it uses now.
type Running struct {
	Service  string  `json:"service"`
	Replica  int     `json:"replica"`
	Load     float64 `json:"load"`   // processors, since the report before
	Memory   int64   `json:"memory"` // resident, bytes
	Restarts int     `json:"restarts"`
}

// Running are the instances of the last report, unless the supervisor is silent.
func (w *Watch) Running() []Running {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.clock.Now().Sub(w.usedAt) > silent {
		return nil
	}
	var out []Running
	for i := range w.uses {
		x := &w.uses[i]
		out = append(out, Running{x.Service, x.Replica, w.loads[i], x.Memory, x.Restarts})
	}
	return out
}

// ends is when a certificate ends, and how long it was to last.
type ends struct {
	end  time.Time
	life time.Duration
}

// Issued notes when the newest certificate of a service ends.
func (w *Watch) Issued(service string, end time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known.parties[service] {
		w.ends[service] = ends{end, end.Sub(w.clock.Now())}
	}
}

// Ends is when the newest certificate of a service ends; zero if none was issued since control began.
func (w *Watch) Ends(service string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ends[service].end
}

// Processes are those of the last report, unless the supervisor is silent.
func (w *Watch) Processes() []Process {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.clock.Now().Sub(w.usedAt) > silent {
		return nil
	}
	return slices.Clone(w.uses)
}

// Build is what the metrics tell of Ward itself.
type Build struct {
	Version  string
	Records  int64     // in the ledger
	Dropped  int64     // allowed calls that aren't in it, for want of room
	Findings *Findings // nil for none
	Notifier *Notifier // nil for none
}

// Metrics writes everything for Prometheus, in the form that an Accept field asks for, and returns its content type before the first byte is
// written through begin.
func (w *Watch) Metrics(out io.Writer, accept string, b Build, begin func(contentType string)) error {
	s, form := w.state(b), exposition.Negotiate(accept)
	begin(form)
	return exposition.Write(out, s, form)
}

// state is all that metrics tell.
func (w *Watch) state(b Build) *exposition.State {
	s := &exposition.State{Version: b.Version, Events: b.Records, Snapshots: w.Snapshots(), Processes: w.Processes(), Exports: w.collectors.totals(), Start: w.start}
	s.Own = w.own(s.Exports, b)
	w.mu.Lock()
	defer w.mu.Unlock()
	s.SpansLost = w.spansLost
	for _, service := range slices.Sorted(maps.Keys(w.appsLost)) {
		s.AppsLost = append(s.AppsLost, telemetry.AppCount{Service: service, Lost: w.appsLost[service]})
	}
	for _, service := range slices.Sorted(maps.Keys(w.ends)) {
		s.Identities = append(s.Identities, exposition.Identity{Service: service, Ends: w.ends[service].end})
	}
	return s
}
