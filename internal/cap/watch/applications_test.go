package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
)

// said is a span that an agent tells of as a service's.
func said(service string, at time.Time, change func(*telemetry.SpanRecord)) telemetry.SpanRecord {
	r := telemetry.SpanRecord{
		Trace: telemetry.TraceID{1}, ID: telemetry.SpanID{9}, Source: "x", Label: telemetry.Label{Caller: "evil", Target: "evil", Route: "evil"}, Start: at.UnixNano(), Took: 5,
		App: &telemetry.App{Service: service, Name: "work in " + service},
	}
	if change != nil {
		change(&r)
	}
	return r
}

func TestApplicationsSpansAreShownWithTheHops(t *testing.T) {
	w, h, label := shop(t)
	ward := telemetry.SpanRecord{Trace: telemetry.TraceID{1}, ID: telemetry.SpanID{1}, Label: label, Start: h.now.UnixNano(), Took: 10}
	if _, err := w.TakeSpans("agent", []telemetry.SpanRecord{ward, said(label.Target, h.now, nil)}, nil); err != nil {
		t.Fatal(err)
	}
	all, err := w.Trace(telemetry.TraceID{1})
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	want := telemetry.SpanRecord{
		Trace: telemetry.TraceID{1}, ID: telemetry.SpanID{9}, Source: label.Target, Label: appLabel(label.Target), Start: h.now.UnixNano(), Took: 5,
		App: &telemetry.App{Service: label.Target, Name: "work in " + label.Target},
	}
	if d := cmp.Diff(want, all[1]); d != "" {
		t.Error(d)
	}
	// It is no hop: a trace isn't found, and isn't refused, failed or slow, by what an application says.
	found, err := w.Traces(TraceQuery{})
	if err != nil || len(found) != 1 || found[0].Spans != 1 || found[0].Took != 10 {
		t.Error(found, err)
	}
}

func TestWhatAnAgentSaysOfApplicationsIsChecked(t *testing.T) {
	w, h, label := shop(t)
	hop := telemetry.SpanRecord{Trace: telemetry.TraceID{1}, ID: telemetry.SpanID{1}, Label: label, Start: h.now.UnixNano(), Took: 10}
	if _, err := w.TakeSpans("agent", []telemetry.SpanRecord{hop}, nil); err != nil {
		t.Fatal(err)
	}
	me := label.Target
	for name, x := range map[string]struct {
		role string
		span telemetry.SpanRecord
	}{
		"the gateway has none":        {"gateway", said(me, h.now, nil)},
		"a service that isn't there":  {"agent", said("invented", h.now, nil)},
		"a path":                      {"agent", said("../traces", h.now, nil)},
		"the gateway as a service":    {"agent", said(plan.Outside, h.now, nil)},
		"a time to come":              {"agent", said(me, h.now.Add(time.Hour), nil)},
		"a long name":                 {"agent", said(me, h.now, func(r *telemetry.SpanRecord) { r.App.Name = strings.Repeat("n", 129) })},
		"a name for the terminal":     {"agent", said(me, h.now, func(r *telemetry.SpanRecord) { r.App.Name = "\x1b[2J" })},
		"a key of two lines":          {"agent", said(me, h.now, func(r *telemetry.SpanRecord) { r.App.Attributes = []telemetry.Attribute{{Key: "a\nb"}} })},
		"too many attributes":         {"agent", said(me, h.now, func(r *telemetry.SpanRecord) { r.App.Attributes = make([]telemetry.Attribute, 33) })},
		"a kind that isn't":           {"agent", said(me, h.now, func(r *telemetry.SpanRecord) { r.App.Kind = 99 })},
		"of one that had no part":     {"agent", said("lonely", h.now, nil)},
		"of a trace that isn't there": {"agent", said(me, h.now, func(r *telemetry.SpanRecord) { r.Trace = telemetry.TraceID{2} })},
	} {
		if _, err := w.TakeSpans(x.role, []telemetry.SpanRecord{x.span}, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if all, err := w.Trace(telemetry.TraceID{1}); err != nil || len(all) != 1 {
			t.Errorf("%s: %v %v", name, all, err)
		}
	}
	if _, err := w.Trace(telemetry.TraceID{2}); err == nil {
		t.Error("an application's span made a trace")
	}
}

func TestAFloodOfOneServiceLeavesTheOthersRoom(t *testing.T) {
	w, h, label := shop(t)
	flood := func() (all []telemetry.SpanRecord) {
		for range 3000 {
			all = append(all, said(label.Caller, h.now, func(r *telemetry.SpanRecord) {
				r.App.Attributes = []telemetry.Attribute{{Key: "a", Value: strings.Repeat("<", 200)}, {Key: "b", Value: strings.Repeat("\\", 200)}, {Key: "c", Value: strings.Repeat("c", 200)}}
			}))
		}
		return all
	}
	hop := telemetry.SpanRecord{Trace: telemetry.TraceID{1}, ID: telemetry.SpanID{1}, Label: label, Start: h.now.UnixNano(), Took: 10}
	if _, err := w.TakeSpans("agent", []telemetry.SpanRecord{hop, said(label.Target, h.now, nil)}, nil); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		if _, err := w.TakeSpans("agent", flood(), nil); err != nil {
			t.Fatal(err)
		}
		h.now = h.now.Add(time.Minute)
	}
	// At once 2,000, and 50 a second after that.
	if got, want := w.appsLost[label.Caller], uint64(30*3000-2000-29*2000); got != want {
		t.Errorf("%d were lost, not %d", got, want)
	}
	all, err := w.Trace(telemetry.TraceID{1})
	if err != nil || all[0].Start > h.now.UnixNano() {
		t.Fatal(err)
	}
	of := map[string]int{}
	for i := range all {
		of[all[i].Label.Route+all[i].Source]++
	}
	if of[label.Route+"agent"] != 1 || of[label.Target] != 1 || of[label.Caller] == 0 {
		t.Error(of)
	}
	var size int64
	files, err := filepath.Glob(filepath.Join(w.apps.dir, label.Caller, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		size += st.Size()
	}
	if size == 0 || size > appBytes+2<<20 {
		t.Errorf("%d bytes of one service", size)
	}
}

func TestTheLargestSpanIsKept(t *testing.T) {
	for _, worst := range []string{`\`, "<", "\u00e4"} {
		t.Run(worst, func(t *testing.T) { largest(t, worst) })
	}
}

func largest(t *testing.T, worst string) {
	w, h, label := shop(t)
	big := said(label.Target, h.now, func(r *telemetry.SpanRecord) {
		for i := range telemetry.MaxAttributes {
			r.App.Attributes = append(r.App.Attributes, telemetry.Attribute{Key: fmt.Sprintf(`%2d"<`, i), Value: strings.Repeat(worst, 39/len(worst))})
		}
		r.App.Cut = 1 << 40
	})
	if n := big.App.Size(); n > telemetry.MaxApp || n < telemetry.MaxApp-80 {
		t.Fatal("not the largest:", n)
	}
	hop := telemetry.SpanRecord{Trace: telemetry.TraceID{1}, ID: telemetry.SpanID{1}, Label: label, Start: h.now.UnixNano(), Took: 10}
	if _, err := w.TakeSpans("agent", []telemetry.SpanRecord{hop, big}, nil); err != nil {
		t.Fatal(err)
	}
	if all, err := w.Trace(telemetry.TraceID{1}); err != nil || len(all) != 2 || len(all[1].App.Attributes) != telemetry.MaxAttributes {
		t.Error(len(all), err)
	}
}

func TestWhatAServiceSaidGoesWithIt(t *testing.T) {
	w, h, label := shop(t)
	if _, err := w.TakeSpans("agent", []telemetry.SpanRecord{said(label.Target, h.now, nil), said(label.Caller, h.now, nil)}, nil); err != nil {
		t.Fatal(err)
	}
	w.SetPlan(&plan.Plan{Services: []plan.Service{{Service: model.Service{Name: "web"}}}})
	left, err := os.ReadDir(w.apps.dir)
	if err != nil || len(left) != 1 || left[0].Name() != "web" {
		t.Error(left, err)
	}
}

func TestCountsOfApplicationsAreOfThePlan(t *testing.T) {
	w, h, label := shop(t)
	apps := telemetry.AppCounts{{Service: label.Target, Taken: 5, Lost: 2}, {Service: label.Target, Taken: 6}, {Service: "zzz", Taken: 1}}
	for _, role := range []string{"agent", "gateway"} {
		if err := w.Take(role, telemetry.Snapshot{Start: h.now, Apps: slices.Clone(apps)}); err != nil {
			t.Fatal(err)
		}
	}
	var page strings.Builder
	if err := w.Metrics(&page, "", Build{}, func(string) {}); err != nil {
		t.Fatal(err)
	}
	want := `ward_application_spans_lost_total{source="agent",service="` + label.Target + `"} 2`
	if strings.Count(page.String(), "\nward_application_spans_") != 2 || !strings.Contains(page.String(), "\n"+want+"\n") {
		t.Error(page.String())
	}
}
