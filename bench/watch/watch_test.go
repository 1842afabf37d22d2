// Package watch compares what telemetry costs a request: Ward's own, and the usual parts (Prometheus' middleware, OpenTelemetry's SDK with a span
// that is sampled, slog). All get the same request: a route that is known, a traceparent, 200, 1 KB.
package watch

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/wardhq/ward/internal/telemetry"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func BenchmarkWard(b *testing.B) {
	m := telemetry.NewMeter(time.Now())
	s := m.Series(telemetry.Label{Caller: "web", Target: "catalog", Route: "GET /books", Verdict: telemetry.Allowed})
	tail := telemetry.NewTail(m, "agent")
	c := &telemetry.Call{}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		_ = c.Begin(s, parent, 1)
		c.End(m, s, telemetry.Ended{Status: 200, Out: 1024, Start: start, Took: time.Since(start)})
		if i%1000 == 999 {
			tail.Round(nil, start) // what drains the ring is counted, too
		}
	}
}

// exporter takes spans and does nothing with them.
type exporter struct{}

func (exporter) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (exporter) Shutdown(context.Context) error                             { return nil }

func BenchmarkUsual(b *testing.B) {
	labels := []string{"code", "method"}
	count := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests_total"}, labels)
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "duration_seconds", Buckets: prometheus.DefBuckets}, labels)
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter{}))
	defer func() { _ = provider.Shutdown(context.Background()) }()
	tracer := provider.Tracer("bench")
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	var format propagation.TraceContext
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ctx := format.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, "GET /books", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("http.route", "GET /books"), attribute.String("caller", "web")))
		out := http.Header{}
		format.Inject(ctx, propagation.HeaderCarrier(out))
		w.WriteHeader(200)
		span.SetAttributes(attribute.Int("http.response.status_code", 200))
		span.End()
		log.LogAttrs(ctx, slog.LevelInfo, "request", slog.String("caller", "web"), slog.String("target", "catalog"), slog.String("route", "GET /books"), slog.Int("status", 200), slog.Duration("took", time.Since(start)))
	})
	h := promhttp.InstrumentHandlerCounter(count, promhttp.InstrumentHandlerDuration(took, next))
	r := httptest.NewRequest(http.MethodGet, "/books", nil)
	r.Header.Set("Traceparent", parent)
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(discard{}, r)
	}
}

// discard is a response that nobody reads.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
