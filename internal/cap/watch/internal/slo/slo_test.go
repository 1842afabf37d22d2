package slo

import (
	"math"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/model"
)

// usual is what is promised where nothing is said.
func usual() Objective { return Objective{model.UsualAvailability, model.UsualP99 * time.Millisecond} }

func TestAlerts(t *testing.T) {
	for name, c := range map[string]struct {
		w    Windows
		want Alert
	}{
		"nobody asked":                 {Windows{}, None},
		"all is well":                  {Windows{M5: Counts{100, 0}, H1: Counts{1000, 1}, D30: Counts{1e6, 100}}, None},
		"everything fails":             {Windows{M5: Counts{50, 50}, M30: Counts{50, 50}, H1: Counts{600, 50}, H6: Counts{3600, 50}}, Page},
		"it failed, and is over":       {Windows{M5: Counts{50, 0}, M30: Counts{300, 10}, H1: Counts{600, 50}, H6: Counts{3600, 50}}, None},
		"six times too much for hours": {Windows{M5: Counts{50, 2}, M30: Counts{300, 10}, H1: Counts{600, 20}, H6: Counts{3600, 110}}, Page},
		"a little too much for days":   {Windows{H1: Counts{600, 4}, H6: Counts{3600, 20}, D3: Counts{40_000, 220}}, Ticket},
		"one error at night":           {Windows{M5: Counts{1, 1}, M30: Counts{1, 1}, H1: Counts{1, 1}, H6: Counts{6, 1}, D3: Counts{100, 1}}, None},
		"two errors on a quiet day":    {Windows{M5: Counts{2, 2}, M30: Counts{2, 2}, H1: Counts{31, 2}, H6: Counts{31, 2}, D3: Counts{31, 2}}, None},
		"errors among few requests":    {Windows{M5: Counts{5, 5}, M30: Counts{10, 10}, H1: Counts{29, 20}, H6: Counts{29, 20}, D3: Counts{29, 20}}, None},
		"slow":                         {Windows{H1: Counts{600, 0}, P99H1: 2 * time.Second, P99M5: 3 * time.Second}, Slow},
		"slow, and over":               {Windows{H1: Counts{600, 0}, P99H1: 2 * time.Second, P99M5: time.Second}, None},
		"slow for few":                 {Windows{H1: Counts{20, 0}, P99H1: 2 * time.Second, P99M5: 3 * time.Second}, None},
		"slow and failing is failing":  {Windows{M5: Counts{50, 50}, H1: Counts{600, 50}, P99H1: 2 * time.Second, P99M5: 3 * time.Second}, Page},
		"just what is promised":        {Windows{M5: Counts{1000, 5}, H1: Counts{1000, 5}, M30: Counts{1000, 5}, H6: Counts{1000, 4}, D3: Counts{1000, 5}}, None},
	} {
		t.Run(name, func(t *testing.T) {
			s := Judge("web", "GET /", usual(), c.w)
			if s.Alert != c.want || (s.What == "") != (c.want == None) {
				t.Errorf("%q: %+v", s.Alert, s)
			}
		})
	}
}

func TestBudget(t *testing.T) {
	o := Objective{Availability: 99.9, P99: time.Second}
	s := Judge("web", "GET /", o, Windows{D30: Counts{100_000, 25}, H1: Counts{1000, 2}})
	if math.Abs(s.Availability-99.975) > 1e-9 || math.Abs(s.Budget-0.75) > 1e-9 || math.Abs(s.Burn1h-2) > 1e-9 || s.Objective.P99 != time.Second {
		t.Errorf("%+v", s)
	}
	if s := Judge("web", "GET /", Objective{Availability: 100}, Windows{D30: Counts{10, 1}}); math.IsInf(s.Budget, 0) || s.Budget > 0 {
		t.Errorf("where nothing may fail: %+v", s)
	}
	if s := Judge("web", "GET /", o, Windows{}); s.Availability != 100 || s.Budget != 1 {
		t.Errorf("without requests: %+v", s)
	}
}

func TestTheWorstComesFirst(t *testing.T) {
	all := []State{{Route: "well", Budget: 1}, {Route: "slow", Alert: Slow, Budget: 1}, {Route: "spent", Budget: -1}, {Route: "ticket", Alert: Ticket, Budget: 0.5}, {Route: "page", Alert: Page, Budget: 0.9}}
	Sort(all)
	for i, want := range []string{"page", "ticket", "slow", "spent", "well"} {
		if all[i].Route != want {
			t.Errorf("%d is %s, want %s", i, all[i].Route, want)
		}
	}
}
