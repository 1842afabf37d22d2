package watch

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch/internal/series"
	"github.com/wardhq/ward/internal/telemetry"
)

// SampleEvery is how often history takes a sample.
const SampleEvery = 15 * time.Second

// Measures of history.
const (
	Requests = "requests" // a second
	Errors   = "errors"   // answers 5xx, a second
	P99      = "p99"      // seconds, of the quarter of a minute before
	CPU      = "cpu"      // processors in use
	Memory   = "memory"   // bytes
)

// Run takes samples until ctx ends, and looks after what is kept.
func (w *Watch) Run(ctx context.Context) {
	t := time.NewTicker(SampleEvery)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if err := w.sample(); err != nil {
			slog.Error("history isn't kept", "error", err)
		}
		if n%int(time.Hour/SampleEvery) == 0 {
			if err := w.history.Compact(w.clock.Now()); err != nil {
				slog.Error("history isn't cleared up", "error", err)
			}
			if err := w.logs.Compact(w.clock.Now()); err != nil {
				slog.Error("logs aren't cleared up", "error", err)
			}
		}
	}
}

// sample keeps what is counted now.
func (w *Watch) sample() error {
	now := w.clock.Now()
	var points []series.Point
	w.mu.Lock()
	for source, all := range w.sources {
		last := &all[len(all)-1]
		if now.Sub(last.Time) > silent {
			continue
		}
		earlier := since(all, SampleEvery)
		before := bySeries(earlier)
		for i := range last.Samples {
			x := &last.Samples[i]
			if x.Requests() == 0 {
				continue
			}
			of := func(measure string) string { return seriesName(measure, source, &x.Label) }
			zero, failedZero, took := last.Start, last.Start, x.Took
			if b := before[x.Label]; b == nil {
				zero, failedZero = earlier.Time, earlier.Time // what is new was 0 until then
			} else {
				if took = took.Minus(b.Took); b.Classes[5] == 0 {
					failedZero = earlier.Time
				}
			}
			points = append(points, series.Point{Series: of(Requests), Kind: series.Counter, Value: float64(x.Requests()), Zero: zero})
			if x.Classes[5] > 0 {
				points = append(points, series.Point{Series: of(Errors), Kind: series.Counter, Value: float64(x.Classes[5]), Zero: failedZero})
			}
			if took.Count() > 0 && x.Verdict == telemetry.Allowed {
				points = append(points, series.Point{Series: of(P99), Kind: series.Gauge, Value: took.Quantile(0.99).Seconds()})
			}
		}
	}
	if now.Sub(w.usedAt) <= silent {
		for i := range w.uses {
			p := &w.uses[i]
			l := telemetry.Label{Target: p.Service, Route: strconv.Itoa(p.Replica)}
			points = append(points,
				series.Point{Series: seriesName(CPU, "", &l), Kind: series.Counter, Value: float64(p.CPU / time.Millisecond), Zero: p.Start},
				series.Point{Series: seriesName(Memory, "", &l), Kind: series.Gauge, Value: float64(p.Memory)})
		}
	}
	w.mu.Unlock()
	return w.history.Append(now, points)
}

func bySeries(s telemetry.Snapshot) map[telemetry.Label]*telemetry.Sample {
	out := make(map[telemetry.Label]*telemetry.Sample, len(s.Samples))
	for i := range s.Samples {
		out[s.Samples[i].Label] = &s.Samples[i]
	}
	return out
}

// separator stands between the words of a series' name; no grant holds one.
const separator = "\t"

// seriesName is how a series is called in history. A route that is too long is cut; then two may share one.
func seriesName(measure, source string, l *telemetry.Label) string {
	head := strings.Join([]string{measure, source, l.Caller, l.Target, l.Verdict.String(), ""}, separator)
	return head + l.Route[:min(len(l.Route), max(0, series.MaxName-len(head)))]
}

// History is what was measured of one series.
type History struct {
	telemetry.Label
	Source  string     `json:"source,omitempty"`
	Measure string     `json:"measure"`
	Values  []*float64 `json:"values"` // by window; null where nothing is known
}

// HistoryQuery asks for history.
type HistoryQuery struct {
	Measure string        `json:"measure"`           // one of the constants
	Service string        `json:"service,omitempty"` // only what it called, or what called it
	Since   time.Duration `json:"since"`
	Step    time.Duration `json:"step"`
	Until   time.Time     `json:"until,omitzero"` // zero: now
}

// maxWindows bounds an answer.
const maxWindows = 2000

// History returns what was measured until now, or until a time, in windows of a step, by name.
func (w *Watch) History(q HistoryQuery) ([]History, error) {
	if all := []string{Requests, Errors, P99, CPU, Memory}; !slices.Contains(all, q.Measure) {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("%.40q is no measure; there are %s", q.Measure, strings.Join(all, ", ")))
	}
	if q.Step < SampleEvery || q.Since < q.Step || q.Since/q.Step > maxWindows {
		return nil, fault.New(fault.Invalid, "history is asked for in at most 2,000 steps of 15 s or longer")
	}
	now := w.clock.Now()
	if !q.Until.IsZero() && q.Until.Before(now) {
		now = q.Until
	}
	now = now.Truncate(q.Step)
	found, err := w.history.Query(now.Add(-q.Since), now, q.Step, func(name string) bool {
		f := strings.SplitN(name, separator, 6)
		return len(f) == 6 && f[0] == q.Measure && (q.Service == "" || f[2] == q.Service || f[3] == q.Service)
	})
	if err != nil {
		return nil, err
	}
	out := make([]History, 0, len(found.Rows))
	for _, row := range found.Rows {
		f := strings.SplitN(row.Series, separator, 6)
		h := History{Measure: f[0], Source: f[1], Label: telemetry.Label{Caller: f[2], Target: f[3], Route: f[5]}, Values: make([]*float64, len(row.Values))}
		if err := h.Verdict.UnmarshalText([]byte(f[4])); err != nil {
			continue // no name of ours
		}
		for i, v := range row.Values {
			if math.IsNaN(v) {
				continue
			}
			if f[0] == CPU {
				v /= 1000 // milliseconds a second
			}
			h.Values[i] = &v
		}
		out = append(out, h)
	}
	return out, nil
}
