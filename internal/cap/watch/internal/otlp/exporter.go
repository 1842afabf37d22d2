package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/watch/internal/exposition"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// Limits of an exporter.
const (
	maxBatch    = 512  // spans in a request
	maxQueued   = 8192 // spans that wait
	sendTime    = 15 * time.Second
	firstWait   = time.Second
	longestWait = time.Minute
	maxAfter    = 10 * time.Minute // that a collector may ask us to wait
	maxAnswer   = 64 << 10         // bytes
)

// Signal is what an exporter sends; its word ends the URL.
type Signal string

// The signals.
const (
	MetricsSignal Signal = "metrics"
	TracesSignal  Signal = "traces"
)

// Config of an Exporter.
type Config struct {
	Endpoint string // base URL
	Signal   Signal
	Format   Format
	Headers  http.Header
	Origin   Origin
	Client   *http.Client // its redirects aren't followed
	Clock    clock.Clock
	Log      *slog.Logger
}

// Exporter sends one signal to one collector. It is safe for concurrent use.
type Exporter struct {
	c      Config
	url    string
	host   string
	wake   chan struct{}
	away   bool // the last request failed; of Run alone, like partly
	partly bool // the collector's refusal of a part was told

	mu     sync.Mutex
	queue  []batch           // guarded by mu: oldest first
	queued int               // guarded by mu: items in queue
	count  uint64            // guarded by mu: of batches
	totals exposition.Export // guarded by mu
}

// batch is one request's message.
type batch struct {
	number  uint64
	message proto.Message
	items   int
}

// New returns an exporter that sends while Run runs.
func New(c Config) (*Exporter, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("%.100q is no URL of a collector", c.Endpoint)
	}
	client := *c.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the headers are for the endpoint alone
	c.Client = &client
	e := &Exporter{c: c, url: u.JoinPath("v1", string(c.Signal)).String(), host: u.Host, wake: make(chan struct{}, 1)}
	e.totals = exposition.Export{Endpoint: u.Host, Signal: string(c.Signal)}
	return e, nil
}

// Signal is what it sends.
func (e *Exporter) Signal() Signal { return e.c.Signal }

// Totals are what it has sent so far.
func (e *Exporter) Totals() exposition.Export {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.totals
	t.Queued = e.queued
	return t
}

// PutMetrics queues a state, in place of one that still waits: counts are cumulative.
func (e *Exporter) PutMetrics(s *exposition.State, now time.Time) {
	m, points := Metrics(s, e.c.Origin, now)
	e.put(batch{message: m, items: points}, 1)
}

// PutSpans queues spans. Where there is no room for them, the oldest go.
func (e *Exporter) PutSpans(all []telemetry.SpanRecord) {
	for len(all) > 0 {
		n := min(len(all), maxBatch)
		e.put(batch{message: Traces(all[:n], e.c.Origin, e.c.Format), items: n}, maxQueued)
		all = all[n:]
	}
}

// put queues a batch, and drops older ones while there are more than most items, but never the new one.
func (e *Exporter) put(b batch, most int) {
	e.mu.Lock()
	e.count++
	b.number = e.count
	e.queue = append(e.queue, b)
	e.queued += b.items
	for e.queued > most && len(e.queue) > 1 {
		e.queued -= e.queue[0].items
		e.totals.Dropped += uint64(e.queue[0].items)
		e.queue[0] = batch{}
		e.queue = e.queue[1:]
	}
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *Exporter) oldest() (batch, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) == 0 {
		return batch{}, false
	}
	return e.queue[0], true
}

// Run sends what is queued until ctx ends; what waits then is lost.
func (e *Exporter) Run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		b, ok := e.oldest()
		if !ok {
			select {
			case <-e.wake:
			case <-ctx.Done():
			}
			continue
		}
		refused, err := e.send(ctx, b)
		if ctx.Err() != nil {
			return
		}
		e.heard(err)
		var f *failure
		if again := errors.As(err, &f) && f.again; !again {
			failures = 0
			e.settle(b, refused, err)
			continue
		}
		e.mu.Lock()
		e.totals.Failed++
		e.mu.Unlock()
		failures++
		t := time.NewTimer(f.wait(failures))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// settle takes a batch that isn't sent again from the queue, unless it was dropped meanwhile, and counts it.
func (e *Exporter) settle(b batch, refused uint64, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	lost := min(refused, uint64(b.items))
	if err != nil {
		e.totals.Failed++
		lost = uint64(b.items)
	}
	if len(e.queue) > 0 && e.queue[0].number == b.number {
		e.queued -= b.items
		e.queue[0] = batch{}
		e.queue = e.queue[1:]
	} else {
		e.totals.Dropped -= uint64(b.items) // as it was counted when it had to make room
	}
	e.totals.Dropped += lost
	e.totals.Sent += uint64(b.items) - lost
}

// heard says once that a collector doesn't take what it gets, and once that it does again.
func (e *Exporter) heard(err error) {
	if (err != nil) == e.away {
		return
	}
	if e.away = err != nil; e.away {
		e.c.Log.Warn("a collector doesn't take what Ward sends", "endpoint", e.host, "signal", e.c.Signal, "error", err)
	} else {
		e.c.Log.Info("a collector takes what Ward sends again", "endpoint", e.host, "signal", e.c.Signal)
	}
}

// failure is why a collector didn't take a request.
type failure struct {
	again bool          // later it may
	after time.Duration // as it said itself; 0 if it didn't
	err   error
}

// Error implements error.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.err }

// wait is how long to wait after so many failures in a row.
func (f *failure) wait(failures int) time.Duration {
	if f.after > 0 {
		return min(f.after, maxAfter)
	}
	d := min(firstWait<<min(failures-1, 10), longestWait)
	var chance [1]byte
	_, _ = rand.Read(chance[:])                   // it never fails
	return d/2 + d/2*time.Duration(chance[0])/256 // so that many don't come back at once
}

// send posts a batch, and returns how many items the collector refused of those that it took.
func (e *Exporter) send(ctx context.Context, b batch) (refused uint64, err error) {
	ctx, stop := context.WithTimeout(ctx, sendTime)
	defer stop()
	plain, err := marshal(b.message, e.c.Format)
	if err != nil {
		return 0, &failure{err: fmt.Errorf("write %s: %w", e.c.Signal, err)}
	}
	var body bytes.Buffer
	zip := gzip.NewWriter(&body)
	_, _ = zip.Write(plain) // a Buffer takes all
	_ = zip.Close()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, &body)
	if err != nil {
		return 0, &failure{err: fmt.Errorf("send %s: %w", e.c.Signal, err)}
	}
	for name, values := range e.c.Headers {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", e.c.Format.ContentType())
	r.Header.Set("Content-Encoding", "gzip")
	r.Header.Set("User-Agent", "ward")
	answer, err := e.c.Client.Do(r)
	if err != nil {
		return 0, &failure{again: true, err: err}
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	switch code := answer.StatusCode; {
	case code == http.StatusTooManyRequests, code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		return 0, &failure{again: true, after: e.retryAfter(answer.Header.Get("Retry-After")), err: errors.New(answer.Status)}
	case code/100 != 2:
		return 0, &failure{err: errors.New(answer.Status)}
	case err != nil:
		return 0, nil // it has taken it, and the rest of what it said is lost
	}
	refused, why := partial(said, answer.Header.Get("Content-Type"))
	if (refused > 0 || why != "") && !e.partly {
		e.partly = true
		e.c.Log.Warn("a collector refuses a part of what Ward sends", "endpoint", e.host, "signal", e.c.Signal, "refused", refused, "reason", wire.Clip(why))
	}
	return refused, nil
}

// retryAfter is RFC 9110 §10.2.3: seconds, or a date; 0 for none.
func (e *Exporter) retryAfter(field string) time.Duration {
	if n, err := strconv.ParseUint(field, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(field); err == nil {
		return max(0, at.Sub(e.c.Clock.Now()))
	}
	return 0
}
