package control

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// reports takes what a role has counted.
func (k *Control) reports(mux *http.ServeMux, role string) {
	wire.Handle(mux, "POST /v1/telemetry", func(_ context.Context, s telemetry.Snapshot) (none, error) { return none{}, k.watch.Take(role, s) })
}

// traces takes spans of traces.
func (k *Control) traces(mux *http.ServeMux, role string) {
	wire.Handle(mux, "POST /v1/spans", func(_ context.Context, s wire.Spans) (wire.Wanted, error) {
		wanted, err := k.watch.TakeSpans(role, s.Spans, s.Fresh)
		return wire.Wanted{Traces: wanted}, err
	})
}

// watched is what the supervisor reports, and what the administrator may look at.
func (k *Control) watched(mux *http.ServeMux) {
	wire.Handle(mux, "POST /v1/processes", func(_ context.Context, all []watch.Process) (none, error) { return none{}, k.watch.TakeProcesses(all) })
	wire.Handle(mux, "GET /v1/processes", func(context.Context, none) ([]watch.Running, error) { return k.watch.Running(), nil })
	wire.Handle(mux, "GET /v1/drops", func(context.Context, none) ([]watch.Drop, error) { return k.watch.Drops(k.build()), nil })
	wire.Handle(mux, "POST /v1/logs", func(_ context.Context, all []wire.LogLine) (none, error) { return none{}, k.watch.TakeLogs(all) })
	wire.Handle(mux, "POST /v1/logs/search", k.watch.Logs)
	wire.Handle(mux, "GET /v1/slo", func(context.Context, none) ([]watch.SLO, error) { return k.watch.SLOs() })
	wire.Handle(mux, "GET /v1/edges", func(_ context.Context, w wire.Window) ([]watch.Edge, error) {
		return k.watch.Edges(time.Duration(w.Seconds) * time.Second), nil
	})
	wire.Handle(mux, "POST /v1/history", func(_ context.Context, q watch.HistoryQuery) ([]watch.History, error) { return k.watch.History(q) })
	wire.Handle(mux, "POST /v1/traces", func(_ context.Context, q watch.TraceQuery) ([]watch.Summary, error) { return k.watch.Traces(q) })
	wire.Handle(mux, "POST /v1/trace", func(_ context.Context, q traceQuery) ([]telemetry.SpanRecord, error) { return k.watch.Trace(q.Trace) })
	mux.HandleFunc("GET /v1/metrics", func(w http.ResponseWriter, r *http.Request) {
		err := k.watch.Metrics(w, r.URL.Query().Get("accept"), k.build(), func(kind string) { w.Header().Set("Content-Type", kind) })
		if err != nil {
			slog.Warn("write metrics", "error", err) // the reader has gone
		}
	})
}

// build is what metrics tell of Ward itself.
func (k *Control) build() watch.Build {
	s := k.ledger.Status()
	return watch.Build{Version: version(), Records: s.Records, Dropped: s.Dropped, Findings: k.found, Notifier: k.notifier}
}

// egressTransport is HTTP through the agent: control has no network.
func egressTransport() *http.Transport {
	return &http.Transport{
		DialContext:  dialEgress,
		MaxIdleConns: 16, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 15 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
}

// dialEgress dials through the agent.
func dialEgress(ctx context.Context, _, address string) (net.Conn, error) {
	return wire.DialEgress(ctx, filepath.Join(wire.EgressDir, wire.EgressSocket), address)
}

// notices is what an administrator asks about notifications.
func (k *Control) notices(mux *http.ServeMux) {
	wire.Handle(mux, "GET /v1/notifications", func(context.Context, none) ([]watch.ChannelStatus, error) { return k.notifier.Status(), nil })
	wire.Handle(mux, "POST /v1/notifications/test", func(ctx context.Context, q watch.ChannelQuery) ([]watch.ChannelStatus, error) {
		return k.notifier.Test(ctx, q.To)
	})
}

// traceQuery asks for one trace.
type traceQuery struct {
	Trace telemetry.TraceID `json:"trace"`
}

// version is that of this program, as Go recorded it.
func version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "unknown"
}
