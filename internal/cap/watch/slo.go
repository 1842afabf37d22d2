package watch

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/cap/watch/internal/detect"
	"github.com/wardhq/ward/internal/cap/watch/internal/slo"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/telemetry"
)

// Steps of what promises are judged by: the last six hours, and the last 30 days.
const (
	shortStep  = 5 * time.Minute
	shortSpan  = 6 * time.Hour
	longStep   = 6 * time.Hour
	longSpan   = 30 * 24 * time.Hour
	judgeEvery = 30 * time.Second
)

// SLO is how a promise stands.
type SLO = slo.State

// judged is what promises came to a moment ago.
type judged struct {
	mu  sync.Mutex
	at  time.Time // guarded by mu
	all []SLO     // guarded by mu
}

// SLOs are the promises of all routes of the plan's services that were asked for within 30 days, the worst first; as they were at most half a
// minute ago.
func (w *Watch) SLOs() ([]SLO, error) {
	w.judged.mu.Lock()
	defer w.judged.mu.Unlock()
	now := w.clock.Now()
	if age := now.Sub(w.judged.at); w.judged.all != nil && age >= 0 && age < judgeEvery {
		return w.judged.all, nil
	}
	routes := map[route]*windows{}
	if err := w.gather(routes, now, shortStep, shortSpan); err != nil {
		return nil, err
	}
	if err := w.gather(routes, now, longStep, longSpan); err != nil {
		return nil, err
	}
	w.mu.Lock()
	promised := w.known.promised
	w.mu.Unlock()
	all := make([]SLO, 0, len(routes))
	for r, x := range routes {
		all = append(all, slo.Judge(r.target, r.route, promised[r.target], x.judge()))
	}
	slo.Sort(all)
	w.judged.at, w.judged.all = now, all
	return all, nil
}

// promises are what the model promises of each service.
func promises(s *model.SLO, services map[string]bool) map[string]slo.Objective {
	out := map[string]slo.Objective{}
	for name := range services {
		o := s.Of(model.ServiceName(name))
		out[name] = slo.Objective{Availability: o.Availability, P99: time.Duration(o.P99) * time.Millisecond}
	}
	return out
}

// route is what is promised.
type route struct{ target, route string }

// windows is what history tells of a route, by step.
type windows struct {
	short       [shortSpan / shortStep]step
	long        [longSpan / longStep]slo.Counts
	first, late int // the first step of long, and of short, with a request, counted from 1; 0 for none
}

type step struct {
	slo.Counts
	p99, weight float64 // seconds times requests, and requests
}

// gather adds what history has of each route. What agents count is of the services; the gateway's part is what it couldn't bring to them.
func (w *Watch) gather(routes map[route]*windows, now time.Time, by, span time.Duration) error {
	w.mu.Lock()
	services := w.known.services
	w.mu.Unlock()
	of := func(name string) (measure string, r route, verdict string, ok bool) {
		f := strings.SplitN(name, separator, 6)
		if len(f) != 6 || !services[f[3]] || f[5] == telemetry.Undeclared || f[5] == "tcp" {
			return "", route{}, "", false
		}
		failed := f[4] == telemetry.Failed.String()
		ok = failed && f[0] == Requests || f[1] == "agent" && f[4] == telemetry.Allowed.String() && (f[0] == Requests || f[0] == Errors || f[0] == P99)
		return f[0], route{f[3], f[5]}, f[4], ok
	}
	found, err := w.history.Query(now.Add(-span), now, by, func(name string) bool {
		_, _, _, ok := of(name)
		return ok
	})
	if err != nil {
		return fmt.Errorf("judge promises: %w", err)
	}
	requests := map[string][]float64{} // of the series of a P99, which comes before them by name
	for i := range found.Rows {
		if f := strings.SplitN(found.Rows[i].Series, separator, 2); f[0] == Requests {
			requests[f[1]] = found.Rows[i].Values
		}
	}
	for i := range found.Rows {
		row := &found.Rows[i]
		measure, r, verdict, _ := of(row.Series)
		x := routes[r]
		if x == nil {
			x = &windows{}
			routes[r] = x
		}
		asked := requests[row.Series[len(measure)+1:]]
		for j, v := range row.Values {
			if math.IsNaN(v) {
				continue
			}
			switch {
			case measure != P99:
				total, failed := v*by.Seconds(), 0.0
				if measure == Errors {
					total, failed = 0, total
				} else if verdict == telemetry.Failed.String() {
					failed = total
				}
				x.add(by, j, total, failed)
			case by == shortStep && j < len(asked) && asked[j] > 0:
				x.short[j].p99 += v * asked[j]
				x.short[j].weight += asked[j]
			}
		}
	}
	return nil
}

func (x *windows) add(by time.Duration, j int, total, failed float64) {
	if by == shortStep {
		x.short[j].Add(total, failed)
		if total > 0 && (x.late == 0 || j < x.late-1) {
			x.late = j + 1
		}
		return
	}
	x.long[j].Add(total, failed)
	if total > 0 && (x.first == 0 || j < x.first-1) {
		x.first = j + 1
	}
}

// judge sums up windows that end now.
func (x *windows) judge() slo.Windows {
	var out slo.Windows
	for i := range x.short {
		age, c := time.Duration(len(x.short)-i)*shortStep, &x.short[i]
		for _, of := range []struct {
			counts *slo.Counts
			long   time.Duration
		}{{&out.M5, 5 * time.Minute}, {&out.M30, 30 * time.Minute}, {&out.H1, time.Hour}, {&out.H6, 6 * time.Hour}} {
			if age <= of.long {
				of.counts.Add(c.Total, c.Failed)
			}
		}
	}
	for i := range x.long {
		out.D30.Add(x.long[i].Total, x.long[i].Failed)
		if time.Duration(len(x.long)-i)*longStep <= 3*24*time.Hour {
			out.D3.Add(x.long[i].Total, x.long[i].Failed)
		}
	}
	if x.first > 0 {
		out.Over = time.Duration(len(x.long)-x.first+1) * longStep
	}
	if x.first == len(x.long) && x.late > 0 {
		out.Over = time.Duration(len(x.short)-x.late+1) * shortStep
	}
	out.P99H1, out.P99M5 = mean(x.short[len(x.short)-12:]), mean(x.short[len(x.short)-1:])
	return out
}

// mean is the mean p99 of some steps, by requests.
func mean(all []step) time.Duration {
	var sum, weight float64
	for i := range all {
		sum, weight = sum+all[i].p99, weight+all[i].weight
	}
	if weight == 0 {
		return 0
	}
	return time.Duration(sum / weight * float64(time.Second))
}

// promises are signs of promises that are being broken.
func (f *Findings) promises(now time.Time) (out []detect.Signal, known bool) {
	all, err := f.config.Watch.SLOs()
	if err != nil {
		return nil, false // history says so itself
	}
	for i := range all {
		s := &all[i]
		severity := finding.Medium
		switch s.Alert {
		case slo.None:
			continue
		case slo.Page:
			severity = finding.High
		}
		out = append(out, detect.Signal{Rule: "error-budget", Severity: severity, Subject: s.Target, Object: s.Route, Service: s.Target, Record: -1, Time: now, Lasts: lasts, What: s.What})
	}
	return out, true
}
