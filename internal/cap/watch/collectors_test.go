package watch

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch/internal/exposition"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
)

// wayOut counts what goes to each URL.
type wayOut struct{ metrics, traces, other atomic.Int64 }

func (o *wayOut) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.URL.String() {
	case "https://a.example/otlp/v1/metrics":
		o.metrics.Add(1)
	case "https://a.example/otlp/v1/traces":
		o.traces.Add(1)
	default:
		o.other.Add(1)
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}, nil
}

func collectorsOf(all ...model.OTLP) *plan.Plan {
	p := &plan.Plan{Services: []plan.Service{{Service: model.Service{Name: "web"}}}}
	p.Watch.OTLP = all
	return p
}

// exporting runs a Watch's exports in a bubble of time of its own.
func exporting(t *testing.T, do func(w *Watch, set func(p *plan.Plan, files map[string][]byte) error, out *wayOut)) {
	synctest.Test(t, func(t *testing.T) {
		w, err := Open(t.TempDir(), clock.System{})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		out := &wayOut{}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { w.Export(ctx, func() Build { return Build{Version: "v1"} }); close(ended) }()
		do(w, func(p *plan.Plan, files map[string][]byte) error {
			w.SetPlan(p)
			err := w.SetCollectors(p, files, Way{Client: &http.Client{Transport: out}})
			synctest.Wait()
			return err
		}, out)
		stop()
		<-ended
	})
}

func TestCollectorsFollowThePlan(t *testing.T) {
	exporting(t, func(w *Watch, set func(*plan.Plan, map[string][]byte) error, out *wayOut) {
		a := model.OTLP{Endpoint: "https://a.example/otlp", HeadersFile: "h"}
		files := map[string][]byte{"h": []byte("Api-Key: x")}
		if err := set(collectorsOf(a), files); err != nil || out.metrics.Load() != 1 {
			t.Fatal("metrics at once:", err, out.metrics.Load())
		}
		time.Sleep(4*ExportEvery + time.Second)
		if n := out.metrics.Load(); n != 5 {
			t.Errorf("%d in a minute", n)
		}
		span := said("web", time.Now(), nil)
		if _, err := w.TakeSpans("agent", []telemetry.SpanRecord{span}, nil); err != nil {
			t.Fatal(err)
		}
		if synctest.Wait(); out.traces.Load() != 1 {
			t.Error("a kept span didn't go")
		}
		// The same one again goes on; beside it another.
		if err := set(collectorsOf(a, model.OTLP{Endpoint: "https://b.example", NoTraces: true, JSON: true}), files); err != nil || out.other.Load() != 1 {
			t.Error(err, out.other.Load())
		}
		want := []exposition.Export{{Endpoint: "a.example", Signal: "metrics"}, {Endpoint: "a.example", Signal: "traces"}, {Endpoint: "b.example", Signal: "metrics"}}
		got := w.collectors.totals()
		for i := range got {
			if got[i].Sent == 0 || got[i].Failed+got[i].Dropped != 0 {
				t.Errorf("%+v", got[i])
			}
			got[i].Sent = 0
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		// Without them nothing goes any more.
		if err := set(collectorsOf(), nil); err != nil {
			t.Fatal(err)
		}
		before := out.metrics.Load() + out.other.Load()
		time.Sleep(time.Hour)
		if n := out.metrics.Load() + out.other.Load(); n != before || len(w.collectors.totals()) != 0 {
			t.Errorf("%d more", n-before)
		}
	})
}

func TestAFileThatHoldsNoHeadersChangesNothing(t *testing.T) {
	exporting(t, func(w *Watch, set func(*plan.Plan, map[string][]byte) error, out *wayOut) {
		a := model.OTLP{Endpoint: "https://a.example/otlp"}
		if err := set(collectorsOf(a), nil); err != nil {
			t.Fatal(err)
		}
		before := w.collectors.totals()
		err := set(collectorsOf(model.OTLP{Endpoint: "https://b.example", HeadersFile: "h"}), map[string][]byte{"h": []byte("s3cret without a colon")})
		if fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "s3cret") {
			t.Error(err)
		}
		if got := w.collectors.totals(); !slices.Equal(got, before) {
			t.Error(got)
		}
	})
}

func TestTwoCollectorsAtOneHostAreOneSeries(t *testing.T) {
	exporting(t, func(w *Watch, set func(*plan.Plan, map[string][]byte) error, _ *wayOut) {
		if err := set(collectorsOf(model.OTLP{Endpoint: "https://a.example/1", NoTraces: true}, model.OTLP{Endpoint: "https://a.example/2", NoTraces: true}), nil); err != nil {
			t.Fatal(err)
		}
		if got := w.collectors.totals(); len(got) != 1 || got[0].Sent < 6 {
			t.Error(got)
		}
	})
}
