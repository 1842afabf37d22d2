package watch

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/cap/watch/internal/spans"
	"github.com/wardhq/ward/internal/telemetry"
)

// Limits of what services say of themselves; of each of them, so that none takes another's.
const (
	maxApps  = 2000 // spans at once
	appRate  = 50   // and in a second, over time
	appBytes = 8 << 20
)

// applications keeps the spans that services sent, those of each apart. It is safe for concurrent use.
type applications struct {
	dir string
	mu  sync.Mutex
	by  map[string]*spans.Store // guarded by mu
}

// setPlan forgets services that aren't in the plan.
func (a *applications) setPlan(services map[string]bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	there, err := os.ReadDir(a.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look at applications' spans: %w", err)
	}
	for _, e := range there {
		if services[e.Name()] {
			continue
		}
		if s := a.by[e.Name()]; s != nil {
			s.Close() // all of it was written
			delete(a.by, e.Name())
		}
		if err := os.RemoveAll(filepath.Join(a.dir, e.Name())); err != nil {
			return fmt.Errorf("remove applications' spans: %w", err)
		}
	}
	return nil
}

// store is a service's. It needs mu.
func (a *applications) store(service string) (*spans.Store, error) {
	s := a.by[service]
	if s == nil {
		var err error
		if s, err = spans.Open(filepath.Join(a.dir, service), spans.Limits{Keep: traceDays * 24 * time.Hour, Bytes: appBytes}); err != nil {
			return nil, err
		}
		a.by[service] = s
	}
	return s, nil
}

// keep keeps spans of services of the plan.
func (a *applications) keep(now time.Time, all []telemetry.SpanRecord) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	by := map[string][]telemetry.SpanRecord{}
	for i := range all {
		by[all[i].App.Service] = append(by[all[i].App.Service], all[i])
	}
	var errs []error
	for _, service := range slices.Sorted(maps.Keys(by)) {
		s, err := a.store(service)
		if err == nil {
			err = s.Append(now, by[service])
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// trace are the spans of a trace that services sent who took part in its hops.
func (a *applications) trace(id telemetry.TraceID, hops []telemetry.SpanRecord) (out []telemetry.SpanRecord, err error) {
	took := map[string]bool{}
	for i := range hops {
		took[hops[i].Label.Caller], took[hops[i].Label.Target] = true, true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, service := range slices.Sorted(maps.Keys(took)) {
		if _, err := os.Stat(filepath.Join(a.dir, service)); service == "" || err != nil {
			continue // it sent none
		}
		s, err := a.store(service)
		if err != nil {
			return nil, err
		}
		all, err := s.Trace(id)
		if err != nil {
			return nil, err
		}
		out = append(out, all...)
	}
	return out, nil
}

// close ends keeping.
func (a *applications) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, s := range a.by {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// takeApp appends the span of an application, if it can be one; of a service that sends too many it is lost, and counted. It needs mu.
func (w *Watch) takeApp(to []telemetry.SpanRecord, x telemetry.SpanRecord, now time.Time) []telemetry.SpanRecord {
	service := x.App.Service
	if !w.known.services[service] || !x.App.IsPlain() || !isPlausible(&x, now) {
		return to
	}
	room := w.room("/"+service, now, maxApps, appRate)
	if room == 0 {
		w.appsLost[service]++
		return to
	}
	w.rooms["/"+service] = roomAt{room - 1, now}
	return append(to, telemetry.SpanRecord{Trace: x.Trace, ID: x.ID, Parent: x.Parent, Source: service, Label: appLabel(service), Start: x.Start, Took: x.Took, App: x.App})
}
