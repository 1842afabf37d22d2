package watch

import (
	"testing"
	"time"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
)

type hand struct{ now time.Time }

func (h *hand) Now() time.Time { return h.now }

// shop is a Watch of two services.
func shop(t *testing.T) (*Watch, *hand, telemetry.Label) {
	t.Helper()
	g, err := model.ParseGrant("GET /books")
	if err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{Services: []plan.Service{{Service: model.Service{Name: "web"}}, {Service: model.Service{Name: "catalog"}}}, Rules: []plan.Rule{{Caller: "web", Target: "catalog", Grant: g}}}
	h := &hand{time.Unix(1_000_000, 0)}
	w := New(h)
	w.SetPlan(p)
	return w, h, telemetry.Label{Caller: "web", Target: "catalog", Route: "GET /books", Verdict: telemetry.Allowed}
}

func TestRatesAreOfTheWindow(t *testing.T) {
	w, h, label := shop(t)
	m := telemetry.NewMeter(h.now)
	s := m.Series(label)
	denied := m.Series(telemetry.Label{Caller: "web", Target: "catalog", Route: telemetry.Undeclared})
	for i := range 40 { // 200 s; in the last 30 s twice as many, and half of them fail
		h.now = h.now.Add(Every)
		n := 50
		if i >= 34 {
			n = 100
		}
		for k := range n {
			status := 200
			if i >= 34 && k%2 == 0 {
				status = 502
			}
			s.Count(status, 0, 0, 10*time.Millisecond)
		}
		if i == 3 {
			denied.Count(403, 0, 0, 0)
		}
		if err := w.Take("agent", m.Read("agent", h.now)); err != nil {
			t.Fatal(err)
		}
	}
	all := w.Edges(30 * time.Second)
	if len(all) != 2 || all[0].Verdict != telemetry.Denied || all[0].Total != 1 || all[0].Rate != 0 {
		t.Fatalf("what was refused isn't first: %+v", all)
	}
	e := all[1]
	if e.Rate != 20 || e.Errors != 0.5 || e.P99 < 8*time.Millisecond || e.P99 > 12*time.Millisecond || e.Total != 34*50+6*100 {
		t.Errorf("%+v", e)
	}
	if minute := w.Edges(time.Minute)[1]; minute.Rate != 15 {
		t.Errorf("a minute: %+v", minute)
	}
	if long := w.Edges(time.Hour)[1]; long.Rate != 15 {
		t.Errorf("no more than a minute is kept: %+v", long)
	}
	h.now = h.now.Add(silent + time.Second)
	if len(w.Edges(time.Minute)) != 0 || len(w.Snapshots()) != 0 {
		t.Error("who is silent is still shown")
	}
}

func TestAProcessThatBeginsAnewCountsFromZero(t *testing.T) {
	w, h, label := shop(t)
	for range 2 {
		m := telemetry.NewMeter(h.now)
		h.now = h.now.Add(Every)
		for range 10 {
			m.Series(label).Count(200, 0, 0, time.Millisecond)
		}
		if err := w.Take("agent", m.Read("agent", h.now)); err != nil {
			t.Fatal(err)
		}
	}
	if e := w.Edges(time.Minute); len(e) != 1 || e[0].Rate != 2 || e[0].Total != 10 {
		t.Errorf("%+v", e)
	}
}

func TestAReportCannotInventSeries(t *testing.T) {
	w, h, label := shop(t)
	for name, bad := range map[string]telemetry.Label{
		"caller":  {Caller: "nobody", Target: "catalog", Route: "GET /books"},
		"target":  {Caller: "web", Target: "nobody", Route: "GET /books"},
		"route":   {Caller: "web", Target: "catalog", Route: "GET /invented"},
		"verdict": {Caller: "web", Target: "catalog", Route: "GET /books", Verdict: 17},
	} {
		m := telemetry.NewMeter(h.now)
		m.Series(bad).Count(200, 0, 0, 0)
		if err := w.Take("gateway", m.Read("agent", h.now)); err == nil {
			t.Errorf("%s: an invented series is taken", name)
		}
		m.Series(label).Count(200, 0, 0, 0)
		if err := w.Take("gateway", m.Read("agent", h.now)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, s := range w.Snapshots() {
		if s.Source != "gateway" || len(s.Samples) != 1 || s.Samples[0].Label != label {
			t.Errorf("%+v", s)
		}
	}
	long := telemetry.Snapshot{Samples: []telemetry.Sample{{Label: label, Took: telemetry.Durations{Counts: make([]uint64, telemetry.Buckets+1)}}}}
	if w.Take("gateway", long) == nil {
		t.Error("too many buckets are taken")
	}
	for i := range maxSources + 10 {
		err := w.Take(string(rune('a'+i%26))+string(rune('a'+i/26)), telemetry.Snapshot{})
		if i > maxSources && err == nil {
			t.Fatal("too many processes report")
		}
	}
}
