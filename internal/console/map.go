package console

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/console/internal/layout"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
)

// What the map looks at.
const (
	window    = 30 * time.Second // of rates now
	refusals  = 15 * time.Minute // how long a refusal stays on the map
	pastStep  = time.Minute
	pastSteps = 5                // of rates at a time before
	quarters  = 48               // of a day, which the strip shows
	perStrip  = 30 * time.Minute // each of those
	stripStep = 5 * time.Minute
	manyEdges = 40 // above which edges have no labels
)

// boxes are the map's sizes.
var boxes = layout.Sizes{Width: 148, Height: 46, Across: 116, Down: 26}

// picture is the map, and its table.
type picture struct {
	At            time.Time // zero: now
	Width, Height int
	Boxes         []box
	Arrows        []arrow
	Rows          []flow
	Labels        bool // arrows have labels
	Refused       int  // arrows with refusals
}

// box is a party of the map.
type box struct {
	ID, Kind    string // kind: service, external, outside, ward, nowhere
	X, Y        int    // upper left
	Rate        float64
	P99         time.Duration
	Quarantined bool
	Findings    int
	Worst       finding.Severity
}

// arrow is what goes from one party to another.
type arrow struct {
	From, To string
	State    string // busy, quiet, unused, refused
	D        string
	X, Y     int
	Weight   int // of the line, 1 to 4
	Rate     float64
	P99      time.Duration
	Errors   float64
}

// flow is one route of an edge: a row of the table.
type flow struct {
	telemetry.Label
	Rate, Errors float64
	P99          time.Duration
	Lately       float64 // how many were refused in the last quarter of an hour
	Line         int     // of ward.yaml; 0 where none declares it
	Unused       bool    // nothing has come, as long as anybody counted
}

// IsRefusal tells whether Ward refused what went this way.
func (f flow) IsRefusal() bool {
	return f.Verdict == telemetry.Denied || f.Verdict == telemetry.Limited
}

// draw makes the map of now (zero), or of a time before.
func (c *Console) draw(at time.Time) (*picture, error) {
	p := c.config.Plan()
	if p == nil {
		return &picture{At: at}, nil
	}
	flows, err := c.flows(p, at)
	if err != nil {
		return nil, err
	}
	out := &picture{At: at, Rows: flows}
	out.place(p, flows, c.laid.lay)
	return out, nil
}

// drawn is the last layout: rates change all the time, who may call whom seldom.
type drawn struct {
	mu      sync.Mutex
	nodes   []layout.Node  // guarded by mu
	edges   []layout.Edge  // guarded by mu
	picture layout.Picture // guarded by mu
}

func (d *drawn) lay(nodes []layout.Node, edges []layout.Edge) layout.Picture {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.nodes, nodes) || !slices.Equal(d.edges, edges) {
		d.nodes, d.edges, d.picture = nodes, edges, layout.Lay(nodes, edges, boxes)
	}
	return d.picture
}

// flows are all routes of the plan with what goes over them, and what was refused besides.
func (c *Console) flows(p *plan.Plan, at time.Time) ([]flow, error) {
	all := map[telemetry.Label]*flow{}
	for i := range p.Rules {
		r := &p.Rules[i]
		l := telemetry.Label{Caller: r.Caller, Target: r.Target, Route: r.Grant.String(), Verdict: telemetry.Allowed}
		if all[l] == nil {
			all[l] = &flow{Label: l, Line: r.Pos.Line, Unused: true}
		}
	}
	get := func(l telemetry.Label) *flow {
		if all[l] == nil {
			all[l] = &flow{Label: l}
		}
		return all[l]
	}
	var err error
	if at.IsZero() {
		c.flowsNow(get)
		err = c.history(refusals, time.Time{}, watch.Requests, func(h *watch.History, v float64) {
			if h.Verdict == telemetry.Denied || h.Verdict == telemetry.Limited {
				get(h.Label).Lately += v * pastStep.Seconds()
			}
		})
	} else {
		err = c.flowsAt(at, get)
	}
	if err != nil {
		return nil, err
	}
	out := make([]flow, 0, len(all))
	for _, f := range all {
		if f.Verdict != telemetry.Allowed && f.Rate == 0 && f.Lately < 0.5 {
			continue // long ago
		}
		f.Lately = math.Round(f.Lately)
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b flow) int {
		return cmp.Or(cmp.Compare(a.Verdict.Rank(), b.Verdict.Rank()), cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Route, b.Route))
	})
	return out, nil
}

// counted tells whether a series is one to look at: gateway and agents count what comes from outside both, and the agent's is nearer to the service.
func counted(source string, l *telemetry.Label) bool {
	return source != "gateway" || l.Verdict != telemetry.Allowed || l.Target == plan.Self
}

func (c *Console) flowsNow(get func(telemetry.Label) *flow) {
	for _, e := range c.config.Traffic.Edges(window) {
		if !counted(e.Source, &e.Label) {
			continue
		}
		f := get(e.Label)
		f.Unused = false
		if total := f.Rate + e.Rate; total > 0 {
			f.Errors = (f.Errors*f.Rate + e.Errors*e.Rate) / total
		}
		f.Rate, f.P99 = f.Rate+e.Rate, max(f.P99, e.P99)
	}
}

func (c *Console) flowsAt(at time.Time, get func(telemetry.Label) *flow) error {
	since := pastSteps * pastStep
	err := c.history(since, at, watch.Requests, func(h *watch.History, v float64) {
		f := get(h.Label)
		f.Rate, f.Unused = f.Rate+v/pastSteps, false
		if f.IsRefusal() {
			f.Lately += v * pastStep.Seconds()
		}
	})
	if err != nil {
		return err
	}
	err = c.history(since, at, watch.Errors, func(h *watch.History, v float64) {
		if f := get(h.Label); f.Rate > 0 {
			f.Errors += v / pastSteps / f.Rate
		}
	})
	if err != nil {
		return err
	}
	return c.history(since, at, watch.P99, func(h *watch.History, v float64) {
		f := get(h.Label)
		f.P99 = max(f.P99, time.Duration(v*float64(time.Second)))
	})
}

// history calls f with each value that is known of a measure of edges.
func (c *Console) history(since time.Duration, until time.Time, measure string, f func(h *watch.History, v float64)) error {
	all, err := c.config.Traffic.History(watch.HistoryQuery{Measure: measure, Since: since, Step: pastStep, Until: until})
	if err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	for i := range all {
		if !counted(all[i].Source, &all[i].Label) {
			continue
		}
		for _, v := range all[i].Values {
			if v != nil {
				f(&all[i], *v)
			}
		}
	}
	return nil
}

// ends are the two parties of an arrow; what was refused has arrows of its own.
type ends struct {
	from, to string
	refused  bool
}

// place lays out the parties, and draws the arrows.
func (x *picture) place(p *plan.Plan, flows []flow, lay func([]layout.Node, []layout.Edge) layout.Picture) {
	merged := map[ends]*arrow{}
	var order []ends
	parties := map[string]bool{}
	for i := range flows {
		f := &flows[i]
		if f.Caller == f.Target {
			continue // no way between two
		}
		k := ends{f.Caller, f.Target, f.IsRefusal()}
		a := merged[k]
		if a == nil {
			a = &arrow{From: f.Caller, To: f.Target, State: "unused"}
			merged[k] = a
			order = append(order, k)
		}
		a.add(f)
		parties[f.Caller], parties[f.Target] = true, true
	}
	x.boxes(p, parties)
	nodes := make([]layout.Node, len(x.Boxes))
	for i := range x.Boxes {
		nodes[i] = layout.Node{ID: x.Boxes[i].ID, Last: x.Boxes[i].Kind == "external"}
	}
	slices.SortFunc(order, func(a, b ends) int {
		return cmp.Or(strings.Compare(a.from, b.from), strings.Compare(a.to, b.to), cmp.Compare(flag(a.refused), flag(b.refused)))
	})
	edges := make([]layout.Edge, len(order))
	for i, k := range order {
		edges[i] = layout.Edge{From: k.from, To: k.to, Weak: k.refused}
	}
	laid := lay(nodes, edges)
	x.Width, x.Height = int(math.Ceil(laid.Width)), int(math.Ceil(laid.Height))
	incoming := map[string]*box{}
	for i := range x.Boxes {
		b := &x.Boxes[i]
		at := laid.Nodes[b.ID]
		b.X, b.Y = int(at.X-boxes.Width/2), int(at.Y-boxes.Height/2)
		incoming[b.ID] = b
	}
	x.Labels = len(order) <= manyEdges
	for i, k := range order {
		a := merged[k]
		a.D, a.X, a.Y = laid.Paths[i].D, int(laid.Paths[i].Label.X), int(laid.Paths[i].Label.Y)
		if k.refused {
			x.Refused++
		} else if b := incoming[k.to]; b != nil {
			b.Rate, b.P99 = b.Rate+a.Rate, max(b.P99, a.P99)
		}
		x.Arrows = append(x.Arrows, *a)
	}
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// add brings a route into its arrow.
func (a *arrow) add(f *flow) {
	if total := a.Rate + f.Rate; total > 0 {
		a.Errors = (a.Errors*a.Rate + f.Errors*f.Rate) / total
	}
	a.Rate, a.P99 = a.Rate+f.Rate, max(a.P99, f.P99)
	switch {
	case f.IsRefusal():
		a.State = "refused"
	case a.Rate > 0:
		a.State = "busy"
	case !f.Unused:
		a.State = "quiet"
	}
	a.Weight = 1
	if a.Rate > 0 {
		a.Weight = 1 + min(max(int(math.Log10(a.Rate)+1), 0), 3)
	}
}

// boxes are the parties in the order of the file: the outside first, externals last.
func (x *picture) boxes(p *plan.Plan, parties map[string]bool) {
	if parties[plan.Outside] {
		x.Boxes = append(x.Boxes, box{ID: plan.Outside, Kind: "outside"})
	}
	for i := range p.Services {
		x.Boxes = append(x.Boxes, box{ID: string(p.Services[i].Name), Kind: "service"})
	}
	if parties[plan.Self] {
		x.Boxes = append(x.Boxes, box{ID: plan.Self, Kind: "ward"})
	}
	if parties[""] {
		x.Boxes = append(x.Boxes, box{ID: "", Kind: "nowhere"})
	}
	for i := range p.Externals {
		x.Boxes = append(x.Boxes, box{ID: string(p.Externals[i].Name), Kind: "external"})
	}
}

// quarter is what went through in a part of the day.
type quarter struct {
	From, To       time.Time
	Requests       float64
	Refused        float64
	Height, Denied int // of the strip, of 24
	X              int
	Here           bool
}

// strip is the last day in half hours; nil if nothing is known of it.
func (c *Console) strip(now, at time.Time) ([]quarter, error) {
	c.mu.Lock()
	day, dayEnd := c.day, c.dayEnd
	c.mu.Unlock()
	if age := now.Sub(dayEnd); age > time.Minute || age < 0 {
		all, err := c.config.Traffic.History(watch.HistoryQuery{Measure: watch.Requests, Since: quarters * perStrip, Step: stripStep})
		if err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		day = quartersOf(all, now.Truncate(stripStep))
		c.mu.Lock()
		c.day, c.dayEnd = day, now
		c.mu.Unlock()
	}
	out := slices.Clone(day)
	for i := range out {
		out[i].Here = !at.IsZero() && at.After(out[i].From) && !at.After(out[i].To)
	}
	return out, nil
}

// quartersOf sums history up, which ends at a time.
func quartersOf(all []watch.History, end time.Time) []quarter {
	day, each, known := make([]quarter, quarters), int(perStrip/stripStep), false
	for i := range day {
		to := end.Add(-perStrip * time.Duration(quarters-1-i))
		day[i] = quarter{From: to.Add(-perStrip), To: to, X: i * 14}
	}
	for i := range all {
		h := &all[i]
		for k, v := range h.Values {
			if v == nil || k/each >= len(day) || !counted(h.Source, &h.Label) {
				continue
			}
			known = true
			if h.Verdict == telemetry.Denied || h.Verdict == telemetry.Limited {
				day[k/each].Refused += *v * stripStep.Seconds()
			}
			day[k/each].Requests += *v * stripStep.Seconds()
		}
	}
	if !known {
		return nil
	}
	most := 1.0
	for i := range day {
		most = max(most, day[i].Requests)
	}
	for i := range day {
		q := &day[i]
		if q.Requests > 0 {
			q.Height = 2 + int(22*q.Requests/most)
		}
		if q.Refused >= 0.5 {
			q.Denied = max(3, int(24*q.Refused/most))
		}
	}
	return day
}

// mapData is what the page of the map shows.
type mapData struct {
	*picture
	Day            []quarter
	Earlier, Later []step
	Findings       []watch.Finding
}

// step is a link to another time; a zero time is now.
type step struct {
	At   time.Time
	Name string
}

// nowFor is how long the map of now serves everybody who asks.
const nowFor = time.Second

func (c *Console) mapPage(v *visit) (view, error) {
	at, err := moment(v)
	if err != nil {
		return view{}, err
	}
	out := view{Page: "map", Title: "Map", Here: "map"}
	if !at.IsZero() {
		out.Data, err = c.mapData(v.Context(), v.Now, at)
		return out, err
	}
	out.Topic = "map findings"
	c.drawing.Lock() // one draws for all
	defer c.drawing.Unlock()
	if age := v.Now.Sub(c.drawnAt); c.ready == "" || age < 0 || age >= nowFor {
		d, err := c.mapData(v.Context(), v.Now, time.Time{})
		if err != nil {
			return view{}, err
		}
		var b strings.Builder
		if err := c.pages["map"].ExecuteTemplate(&b, "content", frame{view: view{Data: d}, Now: v.Now}); err != nil {
			return view{}, fmt.Errorf("draw the map: %w", err)
		}
		c.ready, c.drawnAt = template.HTML(b.String()), v.Now // the template has escaped what is in it
	}
	out.Ready = c.ready
	return out, nil
}

// mapData is the map of now (zero) or of a time before, with what stands around it. Nothing in it is of one session.
func (c *Console) mapData(ctx context.Context, now, at time.Time) (mapData, error) {
	x, err := c.draw(at)
	if err != nil {
		return mapData{}, err
	}
	found, cut, err := c.openAt(ctx, at)
	if err != nil {
		return mapData{}, err
	}
	d := mapData{picture: x.marked(found, cut), Findings: found[:min(len(found), 5)]}
	if d.Day, err = c.strip(now, at); err != nil {
		return mapData{}, err
	}
	from := at
	if from.IsZero() {
		from = now.Truncate(time.Minute)
	}
	d.Earlier = []step{{from.Add(-24 * time.Hour), "1 day"}, {from.Add(-time.Hour), "1 h"}, {from.Add(-15 * time.Minute), "15 min"}}
	if !at.IsZero() {
		for _, s := range []step{{from.Add(15 * time.Minute), "15 min"}, {from.Add(time.Hour), "1 h"}} {
			if s.At.Before(now) {
				d.Later = append(d.Later, s)
			}
		}
	}
	return d, nil
}

// openAt are the findings that were open at a time, zero for now, and who is in quarantine now: when others were, isn't kept.
func (c *Console) openAt(ctx context.Context, at time.Time) (found []watch.Finding, cut map[string]bool, err error) {
	found, err = c.config.Inbox.List(ctx, watch.FindingQuery{})
	if err != nil || at.IsZero() {
		return found, c.quarantined(), err
	}
	closed, err := c.config.Inbox.List(ctx, watch.FindingQuery{Closed: true})
	found = slices.DeleteFunc(append(found, closed...), func(f watch.Finding) bool { return f.Opened.After(at) || !f.Closed.IsZero() && !f.Closed.After(at) })
	return found, nil, err
}

// marked is the picture with what was found, and who is in quarantine.
func (x *picture) marked(found []watch.Finding, quarantined map[string]bool) *picture {
	out := *x
	out.Boxes = slices.Clone(x.Boxes)
	for i := range out.Boxes {
		b := &out.Boxes[i]
		if b.Kind != "service" {
			continue
		}
		b.Quarantined = quarantined[b.ID]
		for k := range found {
			if f := &found[k]; f.Silenced.IsZero() && f.About(b.ID) {
				b.Findings, b.Worst = b.Findings+1, max(b.Worst, f.Severity)
			}
		}
	}
	return &out
}

func (c *Console) quarantined() map[string]bool {
	out := map[string]bool{}
	all, _ := c.config.Standing.Restrictions()
	for _, r := range all.All {
		if r.Service != "" {
			out[r.Service] = true
		}
	}
	return out
}
