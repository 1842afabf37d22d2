package watch

import (
	"maps"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wardtest/npm"
)

// TestOpenTelemetrysOwnClientIsUnderstood: both of its exporters for JavaScript, with and without gzip, each span alone and in batches.
func TestOpenTelemetrysOwnClientIsUnderstood(t *testing.T) {
	in := NewIntake(clock.System{})
	in.SetFingerprints(leak.Make(nil))
	s := httptest.NewServer(in.Handler("web"))
	defer s.Close()
	const parent = "00f067aa0ba902b7"
	var told map[string]int
	npm.Node(t, "testdata/otel.mjs", map[string]string{"endpoint": s.URL, "trace": itsTrace, "parent": parent}, &told)
	all := in.Round([]telemetry.SpanRecord{hop(itsTrace, "GATEWAY", "web")}, time.Now())
	seen := map[string]int{}
	for i := range all {
		x := &all[i]
		seen[x.App.Name]++
		want := &telemetry.App{Service: "web", Name: x.App.Name, Kind: telemetry.KindClient, Failed: true, Message: "failed", Attributes: []telemetry.Attribute{
			{Key: "exception.type", Value: "TypeError"},
			{Key: "exception.message", Value: "no such table"},
			{Key: "db.system", Value: "postgresql"},
			{Key: "n", Value: "7"},
			{Key: "list", Value: "[a, b]"},
			{Key: "on", Value: "true"},
			{Key: "f", Value: "0.5"},
		}}
		if d := cmp.Diff(want, x.App); d != "" || x.Parent.String() != parent || x.Trace.String() != itsTrace || time.Since(time.Unix(0, x.Start)) > time.Minute {
			t.Errorf("%+v %s", x, d)
		}
	}
	if d := cmp.Diff(map[string]int{"proto none": 2, "http none": 2, "proto gzip": 2, "http gzip": 2}, seen); d != "" {
		t.Error(d)
	}
	for _, name := range slices.Sorted(maps.Keys(told)) {
		if told[name] != 2 {
			t.Errorf("%s was told %d", name, told[name])
		}
	}
}
