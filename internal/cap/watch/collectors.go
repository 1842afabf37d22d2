package watch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch/internal/exposition"
	"github.com/wardhq/ward/internal/cap/watch/internal/otlp"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
)

// ExportEvery is how often collectors get metrics.
const ExportEvery = 15 * time.Second

// Way is how control reaches collectors and those whom it tells, and what it calls itself there.
type Way struct {
	Client  *http.Client
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Version string // of Ward
}

// collectors are the exporters of the plan in force. The zero value has none.
type collectors struct {
	mu      sync.Mutex
	all     map[string]*otlp.Exporter // guarded by mu: by everything that they were made of
	changed chan struct{}             // guarded by mu: closed and replaced when all changes; nil before the first look
}

// SetCollectors puts the collectors of a plan into force; files are those that it names. A collector that stays keeps what waits for it. An error
// is fault.Invalid, and then nothing has changed.
func (w *Watch) SetCollectors(p *plan.Plan, files map[string][]byte, way Way) error {
	c := &w.collectors
	c.mu.Lock()
	defer c.mu.Unlock()
	next := map[string]*otlp.Exporter{}
	for i := range p.Watch.OTLP {
		o := &p.Watch.OTLP[i]
		headers, err := otlp.ParseHeaders(files[o.HeadersFile])
		if err != nil {
			return fault.Wrap(fault.Invalid, fmt.Sprintf("watch: otlp: %s: %v", o.HeadersFile, err), err)
		}
		config := otlp.Config{
			Endpoint: o.Endpoint, Format: otlp.Protobuf, Headers: headers, Client: way.Client, Clock: w.clock, Log: slog.Default(),
			Origin: otlp.Origin{Namespace: p.TrustDomain, Version: way.Version},
		}
		if o.JSON {
			config.Format = otlp.JSON
		}
		for _, s := range signals(o) {
			config.Signal = s
			key := fmt.Sprint(config.Endpoint, " ", s, " ", config.Format, " ", config.Origin, " ", sha256.Sum256(files[o.HeadersFile]))
			if next[key] = c.all[key]; next[key] == nil {
				if next[key], err = otlp.New(config); err != nil {
					return fault.Wrap(fault.Invalid, "watch: otlp: "+err.Error(), err)
				}
			}
		}
	}
	c.all = next
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
	return nil
}

func signals(o *model.OTLP) (out []otlp.Signal) {
	if !o.NoMetrics {
		out = append(out, otlp.MetricsSignal)
	}
	if !o.NoTraces {
		out = append(out, otlp.TracesSignal)
	}
	return out
}

// now are the exporters in force, and what is closed when they are others.
func (c *collectors) now() ([]*otlp.Exporter, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	out := make([]*otlp.Exporter, 0, len(c.all))
	for _, e := range c.all {
		out = append(out, e)
	}
	return out, c.changed
}

// spans sends spans that are kept.
func (c *collectors) spans(all []telemetry.SpanRecord) {
	exporters, _ := c.now()
	for _, e := range exporters {
		if e.Signal() == otlp.TracesSignal {
			e.PutSpans(all)
		}
	}
}

// totals are what went to collectors, by host and signal: two collectors may be at one host.
func (c *collectors) totals() []exposition.Export {
	exporters, _ := c.now()
	by := map[[2]string]exposition.Export{}
	for _, e := range exporters {
		t := e.Totals()
		sum := by[[2]string{t.Endpoint, t.Signal}]
		t.Sent, t.Dropped, t.Failed, t.Queued = t.Sent+sum.Sent, t.Dropped+sum.Dropped, t.Failed+sum.Failed, t.Queued+sum.Queued
		by[[2]string{t.Endpoint, t.Signal}] = t
	}
	return slices.SortedFunc(maps.Values(by), func(a, b exposition.Export) int {
		return cmp.Or(strings.Compare(a.Endpoint, b.Endpoint), strings.Compare(a.Signal, b.Signal))
	})
}

// Export sends to the plan's collectors until ctx ends: metrics at once, and every 15 s, traces as they are kept.
func (w *Watch) Export(ctx context.Context, b func() Build) {
	t := time.NewTicker(ExportEvery)
	defer t.Stop()
	var owned sync.WaitGroup
	defer owned.Wait()
	running := map[*otlp.Exporter]context.CancelFunc{}
	for {
		all, changed := w.collectors.now()
		stays := map[*otlp.Exporter]bool{}
		for _, e := range all {
			if stays[e] = true; running[e] == nil {
				run, stop := context.WithCancel(ctx)
				running[e] = stop
				owned.Go(func() { e.Run(run) })
			}
		}
		for e, stop := range running {
			if !stays[e] {
				stop()
				delete(running, e)
			}
		}
		w.exportMetrics(all, b)
		select {
		case <-t.C:
		case <-changed:
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			return
		}
	}
}

func (w *Watch) exportMetrics(all []*otlp.Exporter, b func() Build) {
	var s *exposition.State
	for _, e := range all {
		if e.Signal() != otlp.MetricsSignal {
			continue
		}
		if s == nil {
			s = w.state(b())
		}
		e.PutMetrics(s, w.clock.Now())
	}
}
