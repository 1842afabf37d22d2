package watch

import (
	"math"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
)

type hand struct{ now time.Time }

func (h *hand) Now() time.Time { return h.now }

// shop is a Watch of two services, and of one that nobody calls.
func shop(t *testing.T) (*Watch, *hand, telemetry.Label) {
	t.Helper()
	g, err := model.ParseGrant("GET /books")
	if err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{Services: []plan.Service{{Service: model.Service{Name: "web"}}, {Service: model.Service{Name: "catalog"}}, {Service: model.Service{Name: "lonely"}}}, Rules: []plan.Rule{{Caller: "web", Target: "catalog", Grant: g}}}
	h := &hand{time.Unix(1_000_000, 0)}
	w, err := Open(t.TempDir(), h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
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
		if err := w.Take("agent", m.Read("gateway", h.now)); err == nil {
			t.Errorf("%s: an invented series is taken", name)
		}
		m.Series(label).Count(200, 0, 0, 0)
		if err := w.Take("agent", m.Read("gateway", h.now)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, s := range w.Snapshots() {
		if s.Source != "agent" || len(s.Samples) != 1 || s.Samples[0].Label != label {
			t.Errorf("%+v", s)
		}
	}
	other := telemetry.Label{Caller: "catalog", Target: "web", Route: label.Route} // of names that the plan has, but no such rule
	if w.Take("agent", telemetry.Snapshot{Samples: []telemetry.Sample{{Label: other}}}) == nil {
		t.Error("names are put together as no rule has them")
	}
	if err := w.Take("agent", telemetry.Snapshot{Samples: []telemetry.Sample{{Label: label}, {Label: label}}}); err != nil || len(w.Snapshots()[0].Samples) != 1 {
		t.Errorf("one series came twice: %v %+v", err, w.Snapshots())
	}
	long := telemetry.Snapshot{Samples: []telemetry.Sample{{Label: label, Took: telemetry.Durations{Counts: make([]uint64, telemetry.Buckets+1)}}}}
	if w.Take("agent", long) == nil {
		t.Error("too many buckets are taken")
	}
	for i := range maxSources + 10 {
		err := w.Take(string(rune('a'+i%26))+string(rune('a'+i/26)), telemetry.Snapshot{})
		if i > maxSources && err == nil {
			t.Fatal("too many processes report")
		}
	}
}

func TestTracesAreWholeAndBounded(t *testing.T) {
	w, h, label := shop(t)
	one := telemetry.TraceID{0: 1}
	record := telemetry.SpanRecord{Trace: one, ID: telemetry.SpanID{1}, Label: label, Start: h.now.UnixNano(), Took: 2 * time.Second, Status: 502, Source: "somebody"}
	if told, err := w.TakeSpans("agent", []telemetry.SpanRecord{record}, []telemetry.TraceID{one}); err != nil || len(told) != 1 || told[0] != one {
		t.Fatalf("%v %v", told, err)
	}
	outside := record
	outside.ID, outside.Label = telemetry.SpanID{2}, telemetry.Label{Caller: plan.Outside, Target: "web", Route: telemetry.Undeclared, Verdict: telemetry.Denied}
	invented := record
	invented.Label.Route = "GET /invented"
	if told, err := w.TakeSpans("gateway", []telemetry.SpanRecord{outside, record, invented}, nil); err != nil || len(told) != 1 {
		t.Fatalf("%v %v", told, err)
	}
	all, err := w.Trace(one)
	if err != nil || len(all) != 2 || all[0].Source != "agent" || all[1].Source != "gateway" {
		t.Errorf("the gateway tells of the outside alone: %+v %v", all, err)
	}
	for name, q := range map[string]TraceQuery{"all": {}, "of web": {Service: "web"}, "refused": {Refused: true}, "failed": {Failed: true}, "slow": {Slower: time.Second}} {
		if got, err := w.Traces(q); err != nil || len(got) != 1 {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	for name, q := range map[string]TraceQuery{"of nobody": {Service: "nobody"}, "slower": {Slower: time.Minute}, "a failed one of catalog that was slower": {Failed: true, Slower: time.Hour}} {
		if got, err := w.Traces(q); err != nil || len(got) != 0 {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	h.now = h.now.Add(wantedFor + time.Second)
	if told, err := w.TakeSpans("agent", nil, nil); err != nil || len(told) != 0 {
		t.Errorf("still wanted: %v %v", told, err)
	}
	var many []telemetry.TraceID
	for i := range maxWanted + 100 {
		many = append(many, telemetry.TraceID{byte(i), byte(i >> 8), 1})
	}
	if told, err := w.TakeSpans("agent", nil, many); err != nil || len(told) != maxWanted {
		t.Errorf("%d are wanted, %v", len(told), err)
	}
	if _, err := w.TakeSpans("agent", make([]telemetry.SpanRecord, maxReported+1), nil); err == nil {
		t.Error("too many spans are taken")
	}
	if _, err := w.Trace(telemetry.TraceID{9}); err == nil {
		t.Error("a trace that isn't there")
	}
}

func TestSpansOfImpossibleTimesAreLeftOut(t *testing.T) {
	w, h, label := shop(t)
	now := h.now.UnixNano()
	for name, x := range map[string]telemetry.SpanRecord{
		"begins at the beginning": {Start: math.MinInt64}, "begins at the end": {Start: math.MaxInt64}, "took less than nothing": {Start: now, Took: -1},
		"took for ever": {Start: now, Took: math.MaxInt64}, "ends later": {Start: now, Took: time.Hour}, "is of another year": {Start: now - int64(400*24*time.Hour)},
	} {
		x.Label, x.Trace = label, telemetry.TraceID{1}
		if _, err := w.TakeSpans("agent", []telemetry.SpanRecord{x}, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := w.Trace(x.Trace); err == nil {
			t.Errorf("one that %s is kept: %+v", name, got)
		}
	}
}

func TestHistoryIsOfWhatWasCounted(t *testing.T) {
	w, h, label := shop(t)
	m := telemetry.NewMeter(h.now)
	s := m.Series(label)
	used := time.Duration(0)
	for i := range 120 { // ten minutes
		h.now = h.now.Add(Every)
		for range 10 {
			s.Count(200, 0, 0, 20*time.Millisecond)
		}
		if i%2 == 0 {
			s.Count(503, 0, 0, 20*time.Millisecond)
		}
		used += Every / 4
		if err := w.Take("agent", m.Read("agent", h.now)); err != nil {
			t.Fatal(err)
		}
		if err := w.TakeProcesses([]Process{{Service: "catalog", CPU: used, Memory: 50 << 20, Start: h.now.Add(-time.Hour)}}); err != nil {
			t.Fatal(err)
		}
		if i%3 == 2 {
			if err := w.sample(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for measure, want := range map[string]float64{Requests: 2.1, Errors: 0.1, P99: 0.02, CPU: 0.25, Memory: 50 << 20} {
		all, err := w.History(HistoryQuery{Measure: measure, Service: "catalog", Since: 5 * time.Minute, Step: time.Minute})
		if err != nil || len(all) != 1 || len(all[0].Values) != 5 {
			t.Fatalf("%s: %+v %v", measure, all, err)
		}
		if measure == Requests && (all[0].Label != label || all[0].Source != "agent") {
			t.Errorf("%+v", all[0])
		}
		for _, v := range all[0].Values[1:4] {
			if v == nil || *v < want*0.8 || *v > want*1.2 {
				t.Errorf("%s: %v, want %v", measure, v, want)
			}
		}
	}
	if none, err := w.History(HistoryQuery{Measure: Requests, Service: "mailer", Since: time.Hour, Step: time.Minute}); err != nil || len(none) != 0 {
		t.Errorf("%+v %v", none, err)
	}
	for _, q := range []HistoryQuery{
		{},
		{Measure: CPU, Since: time.Hour, Step: time.Second},
		{Measure: CPU, Since: 10_000 * time.Hour, Step: time.Minute},
		{Measure: CPU, Since: time.Second, Step: time.Minute},
		{Measure: "speed", Since: time.Hour, Step: time.Minute},
	} {
		if _, err := w.History(q); err == nil {
			t.Errorf("%+v is answered", q)
		}
	}
}

func TestTheFirstRefusalAfterHoursIsInHistory(t *testing.T) {
	w, h, label := shop(t)
	m := telemetry.NewMeter(h.now)
	m.Series(label).Count(200, 0, 0, time.Millisecond)
	for i := range 3 * 720 { // three hours
		h.now = h.now.Add(Every)
		if i == 3*720-30 {
			m.Series(telemetry.Label{Caller: "web", Target: "catalog", Route: telemetry.Undeclared}).Count(403, 0, 0, 0)
		}
		if err := w.Take("agent", m.Read("agent", h.now)); err != nil {
			t.Fatal(err)
		}
		if i%3 == 2 {
			if err := w.sample(); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := w.History(HistoryQuery{Measure: Requests, Since: 10 * time.Minute, Step: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].Verdict != telemetry.Denied {
			continue
		}
		total := 0.0
		for _, v := range all[i].Values {
			if v != nil {
				total += *v * 60
			}
		}
		if total < 0.9 || total > 1.1 {
			t.Errorf("%v refusals", total)
		}
		return
	}
	t.Error("the refusal is missing")
}

func TestAFloodOfSpansIsCutDown(t *testing.T) {
	w, h, label := shop(t)
	flood := make([]telemetry.SpanRecord, maxReported)
	for i := range flood {
		flood[i] = telemetry.SpanRecord{Trace: telemetry.TraceID{byte(i), byte(i >> 8)}, ID: telemetry.SpanID{1}, Label: label, Start: h.now.UnixNano()}
	}
	for range 10 {
		if _, err := w.TakeSpans("agent", flood, nil); err != nil {
			t.Fatal(err)
		}
		h.now = h.now.Add(200 * time.Millisecond)
	}
	if kept := 10*maxReported - int(w.spansLost); kept < maxReported || kept > maxReported+2*spanRate {
		t.Errorf("%d spans are kept of a flood of two seconds", kept)
	}
	var ids []telemetry.TraceID
	for i := range maxReported {
		ids = append(ids, telemetry.TraceID{byte(i), byte(i >> 8), 9})
	}
	if _, err := w.TakeSpans("gateway", nil, ids); err != nil {
		t.Fatal(err)
	}
	if told, err := w.TakeSpans("agent", nil, []telemetry.TraceID{{7, 7, 7}}); err != nil || len(told) != maxWanted+1 {
		t.Errorf("who floods takes the room of others: %d, %v", len(told), err)
	}
}

func TestLoadIsOfTheTimeBetweenReports(t *testing.T) {
	w, h, _ := shop(t)
	began := h.now.Add(-10 * time.Second)
	report := func(cpu time.Duration, start time.Time) []Running {
		if err := w.TakeProcesses([]Process{{Service: "web", CPU: cpu, Memory: 5, Start: start}, {Service: "nobody", CPU: time.Hour}}); err != nil {
			t.Fatal(err)
		}
		all := w.Running()
		h.now = h.now.Add(Every)
		return all
	}
	for i, c := range []struct {
		cpu   time.Duration
		start time.Time
		want  float64
	}{{2 * time.Second, began, 0.2}, {12 * time.Second, began, 2}, {12 * time.Second, began, 0}, {time.Second, h.now.Add(13 * time.Second), 0.5}} {
		if all := report(c.cpu, c.start); len(all) != 1 || all[0].Load != c.want || all[0].Memory != 5 {
			t.Errorf("%d: %+v, want %v", i, all, c.want)
		}
	}
	if h.now = h.now.Add(silent); len(w.Running()) != 0 {
		t.Error("a silent supervisor's processes are shown")
	}
}
