// Package slo judges what is promised of routes: how much of the error budget is left, how fast it is used up, and when somebody must know.
//
// The windows and factors are those of Google's The Site Reliability Workbook, chapter 5, table 5-8: an alert is of a long window, so that a
// blip is none, and of a short one, so that it ends when the trouble does.
// Guarantee: what it says follows from the counts alone. Few requests, or few that failed, are never an alert: one error at night is no page.
// Not guaranteed: that an outage in which nobody asks is seen; that P99 is of all requests: it is the mean of many short p99s, by requests.
package slo

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// An alert needs at least so many requests, and failed ones, in its long window.
const (
	leastRequests = 30
	leastFailed   = 3
)

// Objective is a promise.
type Objective struct {
	Availability float64       `json:"promised_availability"` // per cent of requests that don't fail
	P99          time.Duration `json:"promised_p99"`
}

// Counts are the requests of a window that were allowed, and those of them that failed.
type Counts struct{ Total, Failed float64 }

// Add adds requests.
func (c *Counts) Add(total, failed float64) { c.Total, c.Failed = c.Total+total, c.Failed+failed }

// Windows are what was counted of a route until now.
type Windows struct {
	M5, M30, H1, H6, D3, D30 Counts
	P99H1, P99M5             time.Duration // 0 if nobody asked
	Over                     time.Duration // how much of the 30 days there is
}

// Alert is how urgent something is.
type Alert string

// The alerts, the worst first.
const (
	Page   Alert = "page"   // the month's budget is gone within days
	Ticket Alert = "ticket" // it is gone before the month's end
	Slow   Alert = "slow"   // p99 is above what is promised
	None   Alert = ""
)

func (a Alert) rank() int { return slices.Index([]Alert{Page, Ticket, Slow, None}, a) }

// State is how a promise stands.
type State struct {
	Target string `json:"target"`
	Route  string `json:"route"`
	Objective
	Availability float64       `json:"availability"` // per cent of the requests Over that time that didn't fail
	Over         time.Duration `json:"over"`
	Requests     float64       `json:"requests"`
	Budget       float64       `json:"budget"`  // the share that is left, negative if too much failed
	Burn1h       float64       `json:"burn_1h"` // 1 uses up just the budget
	Burn6h       float64       `json:"burn_6h"`
	Burn3d       float64       `json:"burn_3d"`
	P99          time.Duration `json:"p99"` // of the last hour
	Alert        Alert         `json:"alert,omitempty"`
	What         string        `json:"what,omitempty"` // a sentence to the alert
}

// Judge judges what was counted of a route.
func Judge(target, route string, o Objective, w Windows) State {
	s := State{
		Target: target, Route: route, Objective: o, Availability: 100, Over: w.Over, Requests: w.D30.Total, Budget: 1 - o.burn(w.D30),
		Burn1h: o.burn(w.H1), Burn6h: o.burn(w.H6), Burn3d: o.burn(w.D3), P99: w.P99H1,
	}
	if w.D30.Total > 0 {
		s.Availability = 100 * (1 - w.D30.Failed/w.D30.Total)
	}
	for _, x := range []struct {
		long, short Counts
		factor      float64
		alert       Alert
		of          string
	}{
		{w.H1, w.M5, 14.4, Page, "hour"}, {w.H6, w.M30, 6, Page, "six hours"}, {w.D3, w.H6, 1, Ticket, "three days"},
	} {
		if x.long.Total >= leastRequests && x.long.Failed >= leastFailed && o.burn(x.long) >= x.factor && o.burn(x.short) >= x.factor {
			s.Alert = x.alert
			s.What = fmt.Sprintf("%.0f of %.0f requests for %s at %s failed in the last %s; %g %% are promised not to.", x.long.Failed, x.long.Total, route, target, x.of, o.Availability)
			return s
		}
	}
	if w.H1.Total >= leastRequests && w.P99H1 > o.P99 && w.P99M5 > o.P99 {
		s.Alert = Slow
		s.What = fmt.Sprintf("One of a hundred requests for %s at %s took %s or longer in the last hour; %s are promised.", route, target, w.P99H1.Round(time.Millisecond), o.P99)
	}
	return s
}

// burn is how fast the budget is used up, at most a million times as fast as is promised.
func (o Objective) burn(c Counts) float64 {
	if c.Total <= 0 || c.Failed <= 0 {
		return 0
	}
	return min(c.Failed/c.Total/max(1-o.Availability/100, 1e-9), 1e6)
}

// Sort puts the worst first.
func Sort(all []State) {
	slices.SortFunc(all, func(a, b State) int {
		return cmp.Or(cmp.Compare(a.Alert.rank(), b.Alert.rank()), cmp.Compare(a.Budget, b.Budget), -cmp.Compare(a.P99, b.P99), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Route, b.Route))
	})
}
