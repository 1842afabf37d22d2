package watch

import (
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/watch/internal/slo"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
)

// traffic is a world in which a minute is counted, reported and sampled at a time.
type traffic struct {
	t       *testing.T
	w       *Watch
	h       *hand
	agent   *telemetry.Meter
	gateway *telemetry.Meter
	label   telemetry.Label
}

// minutes lets time pass, with so many good, failed and unreachable requests in each minute, which take so long.
func (x *traffic) minutes(n, good, failed, unreachable int, took time.Duration) {
	x.t.Helper()
	of := func(m *telemetry.Meter, v telemetry.Verdict, caller string) *telemetry.Series {
		l := x.label
		l.Verdict, l.Caller = v, caller
		return m.Series(l)
	}
	allowed, fails := of(x.agent, telemetry.Allowed, x.label.Caller), of(x.gateway, telemetry.Failed, plan.Outside)
	denied := of(x.agent, telemetry.Denied, x.label.Caller)
	for range n {
		for range good {
			allowed.Count(200, 0, 0, took)
		}
		for range failed {
			allowed.Count(500, 0, 0, took)
		}
		for range unreachable {
			fails.Count(502, 0, 0, took)
		}
		for range 20 {
			denied.Count(403, 0, 0, 0)
		}
		x.h.now = x.h.now.Add(time.Minute)
		for role, m := range map[string]*telemetry.Meter{"agent": x.agent, "gateway": x.gateway} {
			if err := x.w.Take(role, m.Read(role, x.h.now)); err != nil {
				x.t.Fatal(err)
			}
		}
		if err := x.w.sample(); err != nil {
			x.t.Fatal(err)
		}
	}
}

func (x *traffic) state() SLO {
	x.t.Helper()
	all, err := x.w.SLOs()
	if err != nil || len(all) != 1 {
		x.t.Fatalf("%+v %v", all, err)
	}
	return all[0]
}

func (x *traffic) expect(what string, want slo.Alert) SLO {
	x.t.Helper()
	s := x.state()
	if s.Alert != want {
		x.t.Errorf("%s: %q, want %q: %+v", what, s.Alert, want, s)
	}
	return s
}

func TestPromisesAreJudgedOverDays(t *testing.T) {
	w, h, label := shop(t)
	p := &plan.Plan{Services: []plan.Service{{}, {}}}
	p.Services[0].Name, p.Services[1].Name = "web", "catalog"
	g, err := model.ParseGrant("GET /books")
	if err != nil {
		t.Fatal(err)
	}
	p.Rules = []plan.Rule{{Caller: "web", Target: "catalog", Grant: g}, {Caller: plan.Outside, Target: "catalog", Grant: g}}
	w.SetPlan(p)
	h.now = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	x := &traffic{t, w, h, telemetry.NewMeter(h.now), telemetry.NewMeter(h.now), label}

	x.minutes(30, 20, 0, 0, 10*time.Millisecond)
	if s := x.expect("half an hour", slo.None); s.Over < 25*time.Minute || s.Over > 40*time.Minute || s.P99 < 8*time.Millisecond || s.P99 > 12*time.Millisecond || s.Requests < 590 || s.Requests > 610 {
		t.Errorf("%+v", s)
	}
	x.minutes(4*24*60, 20, 0, 0, 10*time.Millisecond)
	x.minutes(1, 19, 1, 0, 10*time.Millisecond)
	x.expect("one error", slo.None)
	x.minutes(60, 20, 0, 0, 10*time.Millisecond)
	x.minutes(5, 2, 18, 0, 10*time.Millisecond)
	if s := x.expect("nine of ten fail for five minutes", slo.Page); s.Burn1h < 14.4 || s.What == "" {
		t.Errorf("%+v", s)
	}
	x.minutes(45, 20, 0, 0, 10*time.Millisecond)
	if s := x.state(); s.Alert == slo.Page {
		t.Errorf("it is over, and still a page: %+v", s)
	}
	x.minutes(4*24*60, 20, 0, 0, 10*time.Millisecond)
	if s := x.expect("days later", slo.None); s.Budget > 0.95 || s.Budget < 0.80 || s.Over < 8*24*time.Hour || s.Over > 9*24*time.Hour {
		t.Errorf("%+v", s)
	}
	x.minutes(10, 0, 0, 20, 10*time.Millisecond)
	x.expect("the gateway can't reach it", slo.Page)
	x.minutes(24*60*3, 20, 0, 0, 10*time.Millisecond)
	x.minutes(70, 20, 0, 0, 3*time.Second)
	if s := x.expect("slow", slo.Slow); s.P99 < 2500*time.Millisecond {
		t.Errorf("%+v", s)
	}
	p.Watch.SLO.Services = append(p.Watch.SLO.Services, model.ServiceSLO{Service: "catalog", Objective: model.Objective{Availability: 90, P99: 5000}})
	w.SetPlan(p)
	h.now = h.now.Add(judgeEvery)
	if s := x.expect("slow, as promised", slo.None); s.Objective != (slo.Objective{Availability: 90, P99: 5 * time.Second}) {
		t.Errorf("%+v", s)
	}
}
