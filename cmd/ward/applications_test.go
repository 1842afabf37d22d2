package main

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wardtest"
)

// TestAnApplicationsSpansAreInItsTrace: a service in its sandbox sends spans of its own, of the trace that it is asked in and of another one.
func TestAnApplicationsSpansAreInItsTrace(t *testing.T) {
	t.Parallel()
	model := strings.ReplaceAll(twoServices, "GET /lie, ", "GET /lie, GET /span, ") + "secrets: {api-token: {generate: key}}\n"
	w := wardtest.Start(t, strings.Replace(model, "env: {NAME: web", "secrets: {api-token: env API_TOKEN}\n    env: {NAME: web", 1), nil)
	const mine, other = "4bf92f3577b34da6a3ce929d0e0e4736", "5bf92f3577b34da6a3ce929d0e0e4736"
	ask := func(trace, path string) string {
		r, err := http.NewRequest(http.MethodGet, w.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Traceparent", "00-"+trace+"-00f067aa0ba902b7-00")
		resp, err := wardtest.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	// web had a part in mine. In other it has none: only the gateway refused something.
	ask(other, "/nowhere")
	for _, path := range []string{"/span", "/span?of=" + other} {
		wardtest.Eventually(t, "spans are taken", func() bool { return strings.Contains(ask(mine, path), `"otlp":"200 OK {}"`) })
	}
	ask(mine, "/call?pass=Traceparent&url=http://catalog:8080/admin") // makes it of interest
	read := func(trace string) (apps, hops []telemetry.SpanRecord) {
		var all []telemetry.SpanRecord
		_, out, _ := say("traces", trace, "--json", "-f", w.File)
		if json.Unmarshal([]byte(out), &all) != nil {
			return nil, nil
		}
		for _, s := range all {
			if s.App != nil {
				apps = append(apps, s)
			} else {
				hops = append(hops, s)
			}
		}
		return apps, hops
	}
	var apps []telemetry.SpanRecord
	wardtest.Eventually(t, "the span is shown", func() bool { apps, _ = read(mine); return len(apps) > 0 })
	if a := apps[0].App; len(apps) != 1 || a.Service != "web" || a.Name != "look up" || strings.Contains(a.Attributes[0].Value, "4111 1111") ||
		!regexp.MustCompile(`^token=\*{10,}$`).MatchString(a.Attributes[1].Value) {
		t.Errorf("%+v", apps)
	}
	if _, out, _ := say("traces", mine, "-f", w.File); !regexp.MustCompile(`(?m)^  web: look up +internal `).MatchString(out) {
		t.Error(out)
	}
	wardtest.Eventually(t, "the hop of the foreign trace is shown", func() bool { _, hops := read(other); return len(hops) > 0 })
	if apps, _ := read(other); len(apps) != 0 {
		t.Errorf("a foreign trace: %+v", apps)
	}
	wardtest.Eventually(t, "spans are counted", func() bool {
		_, metrics, _ := say("metrics", "-f", w.File)
		return strings.Contains(metrics, "\n"+`ward_application_spans_total{source="agent",service="web"} 2`)
	})
}
