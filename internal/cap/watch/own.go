package watch

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/cap/watch/internal/exposition"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/telemetry"
)

// queues are those of a report that there are, each once: a process that was taken over makes no more labels.
func queues(all []telemetry.Queue) (out []telemetry.Queue) {
	for _, name := range []string{telemetry.QueueAllowed, telemetry.QueueRing, telemetry.QueueSpool} {
		if i := slices.IndexFunc(all, func(q telemetry.Queue) bool { return q.Name == name }); i >= 0 {
			out = append(out, telemetry.Queue{Name: name, Length: max(0, all[i].Length)})
		}
	}
	return out
}

// own is how Ward itself does.
func (w *Watch) own(exports []exposition.Export, b Build) exposition.Own {
	o := exposition.Own{
		Findings: map[string]int{}, Answers: map[string]int{"block": 0, "slow": 0, "quarantine": 0}, Ages: map[string]time.Duration{}, Calls: uint64(max(0, b.Dropped)),
	}
	for s := finding.Low; s <= finding.Critical; s++ {
		o.Findings[s.String()] = 0
	}
	if b.Findings != nil {
		b.Findings.count(&o)
	}
	waiting := 0
	if b.Notifier != nil {
		for _, s := range b.Notifier.Status() {
			waiting += s.Waiting
			o.Notifications += uint64(max(0, s.Lost))
		}
	}
	queued := 0
	for i := range exports {
		queued += exports[i].Queued
	}
	o.Queues = []exposition.Queue{{Name: "export", Length: int64(queued)}, {Name: "notifications", Length: int64(waiting)}}
	w.mu.Lock()
	defer w.mu.Unlock()
	o.Lines = w.linesLost
	now := w.clock.Now()
	for _, source := range []string{"gateway", "agent", "supervisor"} {
		o.Ages[source] = now.Sub(w.start) // until it reports
	}
	for source, all := range w.sources {
		o.Ages[source] = now.Sub(all[len(all)-1].Time)
	}
	if !w.usedAt.IsZero() {
		o.Ages["supervisor"] = now.Sub(w.usedAt)
	}
	return o
}

// count counts what is open and not silenced, and what is done about it.
func (f *Findings) count(o *exposition.Own) {
	for _, x := range f.inbox.Open() {
		if x.Silenced.IsZero() {
			o.Findings[x.Severity.String()]++
		}
	}
	all, _ := f.inbox.Restrictions()
	for i := range all.All {
		switch r := &all.All[i]; {
		case r.Service != "":
			o.Answers["quarantine"]++
		case r.Slow:
			o.Answers["slow"]++
		default:
			o.Answers["block"]++
		}
	}
}

// Drop is what was lost of one kind since the part of Ward that counts it began.
type Drop struct {
	What  string `json:"what"` // in words, more than one
	Count uint64 `json:"count"`
}

// Dropped sums up what was lost, for people.
func Dropped(all []Drop) string {
	sum, kinds := uint64(0), make([]string, len(all))
	for i, d := range all {
		sum += d.Count
		kinds[i] = fmt.Sprintf("%d %s", d.Count, d.What)
	}
	return fmt.Sprintf("%d dropped for want of room: %s", sum, strings.Join(kinds, ", "))
}

// Drops are all kinds of which something was lost.
func (w *Watch) Drops(b Build) (out []Drop) {
	s := w.state(b)
	var records, apps, exports uint64
	for i := range s.Snapshots {
		records += s.Snapshots[i].Lost
		for j := range s.Snapshots[i].Apps {
			apps += s.Snapshots[i].Apps[j].Lost
		}
	}
	for i := range s.AppsLost {
		apps += s.AppsLost[i].Lost
	}
	for i := range s.Exports {
		exports += s.Exports[i].Dropped
	}
	for _, d := range []Drop{
		{"records of requests", records},
		{"spans", s.SpansLost},
		{"spans of services", apps},
		{"lines", s.Own.Lines},
		{"allowed calls of the audit trail", s.Own.Calls},
		{"notifications", s.Own.Notifications},
		{"items for collectors", exports},
	} {
		if d.Count > 0 {
			out = append(out, d)
		}
	}
	return out
}
