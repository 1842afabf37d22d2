package watch

import (
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/watch/internal/otlp"
	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/telemetry"
)

// Limits of what an agent holds of applications' spans.
const (
	heldBytes  = 1 << 20          // of one service
	spanBytes  = 256              // of a span, besides its texts
	heldFor    = 30 * time.Second // until it shows whether Ward keeps the trace
	keptFor    = time.Minute      // after a hop was kept, spans of its services may still come
	maxKept    = 1 << 14          // traces that are kept at once
	maxLeaving = 300              // spans that leave in a round: the report that they go with has room for 8 MB, and must hold the hops too
	readRate   = 1 << 20          // bytes of one service in a second, over time: to read them costs the agent processor time
	readAhead  = 8 * time.Second  // that much of it at once
)

// Intake takes the spans that the services of this host send (OTLP over HTTP), and lets those go on that belong to a trace that Ward keeps, and that
// the service took part in: who names a foreign trace adds nothing to it. It is safe for concurrent use.
type Intake struct {
	clock  clock.Clock
	prints atomic.Pointer[leak.Fingerprints] // nil until control has told them

	mu   sync.Mutex
	by   map[string]*sender              // guarded by mu: by service
	kept map[telemetry.TraceID]*keptHops // guarded by mu
}

// sender is one service. Its budget is its own.
type sender struct {
	turn chan struct{} // of who decodes: one request at a time

	held  []heldSpan // oldest first
	bytes int        // of held
	fresh bool       // held has spans that weren't looked at
	free  time.Time  // when what was read is paid for
	count telemetry.AppCount
}

type heldSpan struct {
	telemetry.SpanRecord
	came time.Time
}

// keptHops are the services that took part in a trace that is kept.
type keptHops struct {
	services map[string]bool
	until    time.Time
}

// NewIntake returns one that holds nothing.
func NewIntake(c clock.Clock) *Intake {
	return &Intake{clock: c, by: map[string]*sender{}, kept: map[telemetry.TraceID]*keptHops{}}
}

// SetFingerprints tells what no span may show. Before that none are taken.
func (in *Intake) SetFingerprints(f *leak.Fingerprints) { in.prints.Store(f) }

// sender is that of a service, which the agent knows from the listener. It needs mu.
func (in *Intake) sender(service string) *sender {
	s := in.by[service]
	if s == nil {
		s = &sender{turn: make(chan struct{}, 1), count: telemetry.AppCount{Service: service}}
		in.by[service] = s
	}
	return s
}

// Handler takes OTLP over HTTP (opentelemetry.io/docs/specs/otlp) from one service: traces alone.
func (in *Intake) Handler(service string) http.Handler {
	in.mu.Lock()
	s := in.sender(service)
	in.mu.Unlock()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.turn <- struct{}{}:
			defer func() { <-s.turn }()
		case <-r.Context().Done():
			return
		}
		if status, err := in.traces(w, r, s); err != nil {
			in.mu.Lock()
			s.count.Refused++
			in.mu.Unlock()
			w.Header().Set("Retry-After", "5") // where it is one that may be sent again
			http.Error(w, err.Error(), status)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Ward takes traces, at POST /v1/traces, and no metrics or logs", http.StatusNotFound)
	})
	return mux
}

// traces takes a request, or says why not.
func (in *Intake) traces(w http.ResponseWriter, r *http.Request, s *sender) (status int, err error) {
	format := otlp.Unknown
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind {
	case otlp.Protobuf.ContentType():
		format = otlp.Protobuf
	case otlp.JSON.ContentType():
		format = otlp.JSON
	default:
		return http.StatusUnsupportedMediaType, errors.New("spans come as application/x-protobuf or application/json")
	}
	prints := in.prints.Load()
	if prints == nil {
		return http.StatusServiceUnavailable, errors.New("it isn't known yet what no span may show")
	}
	if !in.mayRead(s) {
		return http.StatusTooManyRequests, errors.New("more than 1 MB of spans in a second, over time")
	}
	b, status, err := body(w, r)
	in.pay(s, len(b))
	if err != nil {
		return status, err
	}
	all, refused, err := otlp.DecodeTraces(b, format, prints)
	if err != nil {
		return http.StatusBadRequest, err
	}
	in.take(s.count.Service, all)
	w.Header().Set("Content-Type", format.ContentType())
	_, _ = w.Write(otlp.Answer(refused, format)) // the service has gone
	return http.StatusOK, nil
}

// mayRead tells whether a service has sent little enough of late.
func (in *Intake) mayRead(s *sender) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return s.free.Sub(in.clock.Now()) <= readAhead
}

// pay notes that bytes of a service were read.
func (in *Intake) pay(s *sender, bytes int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if now := in.clock.Now(); s.free.Before(now) {
		s.free = now
	}
	s.free = s.free.Add(time.Duration(bytes) * time.Second / readRate)
}

// body reads a request's, at most otlp.MaxRequest bytes before and after it is unpacked.
func body(w http.ResponseWriter, r *http.Request) (b []byte, status int, err error) {
	var in io.Reader = http.MaxBytesReader(w, r.Body, otlp.MaxRequest)
	switch coding := strings.ToLower(r.Header.Get("Content-Encoding")); coding {
	case "", "identity":
	case "gzip":
		zip, err := gzip.NewReader(in)
		if err != nil {
			return nil, http.StatusBadRequest, errors.New("the body isn't gzip")
		}
		in = zip
	default:
		return nil, http.StatusUnsupportedMediaType, errors.New("spans come as they are, or in gzip")
	}
	b, err = io.ReadAll(io.LimitReader(in, otlp.MaxRequest+1))
	var large *http.MaxBytesError
	switch {
	case len(b) > otlp.MaxRequest, errors.As(err, &large):
		return b, http.StatusRequestEntityTooLarge, errors.New("a request has at most 4 MB, also when it is unpacked")
	case err != nil:
		return b, http.StatusBadRequest, errors.New("the body can't be read to its end")
	}
	return b, 0, nil
}

// take holds a service's spans. What there is no room for makes the service's oldest go, never another's.
func (in *Intake) take(service string, all []telemetry.SpanRecord) {
	in.mu.Lock()
	defer in.mu.Unlock()
	s, now := in.sender(service), in.clock.Now()
	for i := range all {
		x := all[i]
		s.count.Taken++
		if !isPlausible(&x, now) {
			s.count.Lost++
			continue
		}
		x.App.Service = service
		x.Label = appLabel(service)
		s.held = append(s.held, heldSpan{x, now})
		for s.bytes += spanBytes + x.App.Size(); s.bytes > heldBytes; s.count.Lost++ {
			s.drop()
		}
		s.fresh = true
	}
}

// appLabel is the label of an application's span: it is no hop, and nothing was refused.
func appLabel(service string) telemetry.Label {
	return telemetry.Label{Caller: service, Target: service, Verdict: telemetry.Allowed}
}

// drop takes the oldest of what is held.
func (s *sender) drop() {
	s.bytes -= spanBytes + s.held[0].App.Size()
	s.held[0] = heldSpan{}
	s.held = s.held[1:]
}

// Round notes which of this host's hops are kept, and returns the spans of applications that go with them. What isn't asked for in half a minute is
// let go: its trace isn't kept.
func (in *Intake) Round(hops []telemetry.SpanRecord, now time.Time) (leaving []telemetry.SpanRecord) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for id, k := range in.kept {
		if now.After(k.until) {
			delete(in.kept, id)
		}
	}
	for i := range hops {
		h := &hops[i]
		k := in.kept[h.Trace]
		if k == nil {
			if len(in.kept) >= maxKept {
				continue
			}
			k = &keptHops{services: map[string]bool{}}
			in.kept[h.Trace] = k
		}
		k.services[h.Label.Caller], k.services[h.Label.Target], k.until = true, true, now.Add(keptFor)
	}
	most := max(1, maxLeaving/max(1, len(in.by))) // of each: none takes the others' turn
	for _, service := range slices.Sorted(maps.Keys(in.by)) {
		s := in.by[service]
		for len(s.held) > 0 && now.Sub(s.held[0].came) > heldFor {
			s.drop()
		}
		if s.fresh || len(hops) > 0 {
			leaving = append(leaving, in.leave(s, most)...)
		}
	}
	return leaving
}

// leave are the spans of a service that belong to traces that are kept. It needs mu.
func (in *Intake) leave(s *sender, most int) (out []telemetry.SpanRecord) {
	s.fresh = false
	stays := s.held[:0]
	for i := range s.held {
		x := s.held[i]
		k := in.kept[x.Trace]
		switch {
		case k == nil || !k.services[s.count.Service]:
			stays = append(stays, x)
		case len(out) >= most:
			stays, s.fresh = append(stays, x), true
		default:
			s.bytes -= spanBytes + x.App.Size()
			out = append(out, x.SpanRecord)
		}
	}
	clear(s.held[len(stays):])
	s.held = stays
	return out
}

// Counts are how many spans services sent and how many of them were lost, by the names of services.
func (in *Intake) Counts() (out telemetry.AppCounts) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, service := range slices.Sorted(maps.Keys(in.by)) {
		if c := in.by[service].count; c.Taken+c.Refused > 0 {
			out = append(out, c)
		}
	}
	return out
}
