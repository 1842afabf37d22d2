package watch

import (
	"cmp"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/telemetry"
)

// Edge is what passed lately between two parties on one route, with one verdict.
type Edge struct {
	telemetry.Label
	Source string        `json:"source"` // who counted: the gateway, or an agent
	Rate   float64       `json:"rate"`   // requests a second
	Errors float64       `json:"errors"` // the share of answers 5xx
	P50    time.Duration `json:"p50"`
	P99    time.Duration `json:"p99"`
	Total  uint64        `json:"total"` // since the process began
	Open   int64         `json:"open"`  // under way
}

// Edges are all edges that ever counted something, with what passed in the last window, which is at most a minute. The busiest come first,
// refused ones before allowed ones.
func (w *Watch) Edges(window time.Duration) []Edge {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, window := w.clock.Now(), min(window, (kept-1)*Every)
	var out []Edge
	for source, all := range w.sources {
		last := all[len(all)-1]
		if now.Sub(last.Time) > silent {
			continue
		}
		first := since(all, window)
		before := bySeries(first)
		for i := range last.Samples {
			if e := edge(source, &last.Samples[i], before[last.Samples[i].Label], last.Time.Sub(first.Time)); e.Total > 0 || e.Open != 0 {
				out = append(out, e)
			}
		}
	}
	slices.SortFunc(out, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(a.Verdict.Rank(), b.Verdict.Rank()), -cmp.Compare(a.Rate, b.Rate), -cmp.Compare(a.Total, b.Total),
			cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Source, b.Source))
	})
	return out
}

// since is the youngest reading that is a window older than the last, or the oldest that there is. A process that has just begun has counted
// from zero.
func since(all []telemetry.Snapshot, window time.Duration) telemetry.Snapshot {
	last := &all[len(all)-1]
	for i := len(all) - 2; i >= 0; i-- {
		if last.Time.Sub(all[i].Time) >= window {
			return all[i]
		}
	}
	if len(all) > 1 && last.Time.Sub(last.Start) > window {
		return all[0]
	}
	return telemetry.Snapshot{Time: last.Start}
}

// edge is the difference between two samples of one series.
func edge(source string, last, first *telemetry.Sample, took time.Duration) Edge {
	e := Edge{Label: last.Label, Source: source, Total: last.Requests(), Open: last.Open}
	d, failed := last.Took, last.Classes[5]
	if first != nil {
		d, failed = d.Minus(first.Took), minus(failed, first.Classes[5])
	}
	n := d.Count()
	if n == 0 || took <= 0 {
		return e
	}
	e.Rate, e.Errors = float64(n)/took.Seconds(), float64(failed)/float64(n)
	e.P50, e.P99 = d.Quantile(0.5), d.Quantile(0.99)
	return e
}

// minus is a-b, or 0: what is read while others count may be an observation apart.
func minus(a, b uint64) uint64 {
	if b > a {
		return 0
	}
	return a - b
}
