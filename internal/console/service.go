package console

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/console/internal/chart"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/reach"
	"github.com/wardhq/ward/internal/wire"
)

// moment is the time that at= names; zero for now.
func moment(v *visit) (time.Time, error) {
	s := v.URL.Query().Get("at")
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(form, s); err == nil && t.Year() > 1970 {
			if !t.Before(v.Now) {
				return time.Time{}, nil
			}
			return t.UTC(), nil
		}
	}
	return time.Time{}, fault.New(fault.Invalid, "at is a time in UTC, such as 2026-01-31T15:04")
}

// spanOf is one of the spans that charts show.
type spanOf struct {
	Name, Text string
	Long, Step time.Duration
	Here       bool
}

// spans are those to choose from.
func spans(chosen string) (all []spanOf, one spanOf) {
	all = []spanOf{
		{Name: "1h", Text: "1 hour", Long: time.Hour, Step: 15 * time.Second},
		{Name: "6h", Text: "6 hours", Long: 6 * time.Hour, Step: 2 * time.Minute},
		{Name: "24h", Text: "1 day", Long: 24 * time.Hour, Step: 6 * time.Minute},
		{Name: "7d", Text: "7 days", Long: 7 * 24 * time.Hour, Step: time.Hour},
		{Name: "60d", Text: "60 days", Long: 60 * 24 * time.Hour, Step: 6 * time.Hour},
	}
	i := max(0, slices.IndexFunc(all, func(s spanOf) bool { return s.Name == chosen }))
	all[i].Here = true
	return all, all[i]
}

// serviceData is what the page of a service shows.
type serviceData struct {
	*plan.Service
	Restriction *wire.Restriction // it is in quarantine
	Charts      []chart.Chart
	Spans       []spanOf
	In, Out     []flow
	Processes   []watch.Process
	Ends        time.Time // of its certificate
	Keys        []string
	Databases   []string
	Reach       *reach.Report
	Findings    []watch.Finding
	SLOs        []watch.SLO
	Layers      []sandbox.Layer
}

func (c *Console) servicePage(v *visit) (view, error) {
	p, name := c.config.Plan(), v.PathValue("name")
	if p == nil {
		return view{}, errNoPage
	}
	i := slices.IndexFunc(p.Services, func(s plan.Service) bool { return string(s.Name) == name })
	if i < 0 {
		if slices.ContainsFunc(p.Externals, func(e model.External) bool { return string(e.Name) == name }) {
			return c.externalPage(v, p, name)
		}
		return view{}, fault.New(fault.NotFound, "the plan in force has no service of this name")
	}
	d := serviceData{Service: &p.Services[i], Ends: c.config.Traffic.Ends(name), Layers: sandbox.Describe(&p.Services[i])}
	standing, _ := c.config.Standing.Restrictions()
	for _, r := range standing.All {
		if r.Service == name {
			d.Restriction = &r
		}
	}
	all, one := spans(v.URL.Query().Get("span"))
	d.Spans = all
	var err error
	if d.Charts, err = c.charts(name, one, v.Now); err != nil {
		return view{}, err
	}
	if d.In, d.Out, err = c.flowsOf(p, name); err != nil {
		return view{}, err
	}
	for _, x := range c.config.Traffic.Processes() {
		if x.Service == name {
			d.Processes = append(d.Processes, x)
		}
	}
	for i := range p.Keys {
		for _, g := range p.Keys[i].Grants {
			if g.Service == name {
				d.Keys = append(d.Keys, fmt.Sprintf("%s: %s", p.Keys[i].Name, strings.Join(g.Uses, ", ")))
			}
		}
	}
	for i := range p.Databases {
		for _, u := range p.Databases[i].Users {
			if string(u.Service) == name {
				d.Databases = append(d.Databases, p.Databases[i].Name)
			}
		}
	}
	if d.Reach, err = reach.Of(p, v.Now.UTC().Format(time.DateOnly), name); err != nil {
		return view{}, err
	}
	if d.Findings, err = c.findingsOf(v, name); err != nil {
		return view{}, err
	}
	slos, err := c.config.Traffic.SLOs()
	if err != nil {
		return view{}, err
	}
	for _, s := range slos {
		if s.Target == name {
			d.SLOs = append(d.SLOs, s)
		}
	}
	return view{Page: "service", Title: name, Here: "map", Topic: "map findings", Charts: true, Data: d}, nil
}

func (c *Console) findingsOf(v *visit, name string) ([]watch.Finding, error) {
	all, err := c.config.Inbox.List(v.Context(), watch.FindingQuery{})
	return slices.DeleteFunc(all, func(f watch.Finding) bool { return !f.About(name) }), err
}

// flowsOf are the routes to and from one party.
func (c *Console) flowsOf(p *plan.Plan, name string) (in, out []flow, err error) {
	all, err := c.flows(p, time.Time{})
	for _, f := range all {
		if f.Target == name {
			in = append(in, f)
		}
		if f.Caller == name {
			out = append(out, f)
		}
	}
	return in, out, err
}

// charts are rates, errors and durations of what a service is asked, and what it uses.
func (c *Console) charts(name string, s spanOf, now time.Time) ([]chart.Chart, error) {
	var out []chart.Chart
	for _, x := range []struct {
		title, measure string
		by             func(h *watch.History) string
		merge          func(a, b float64) float64
		unit           chart.Unit
	}{
		{"Requests a second", watch.Requests, func(h *watch.History) string { return verdictText(h.Verdict).Word }, sum, chart.Unit{Name: "number", Say: number}},
		{"Errors a second (5xx)", watch.Errors, func(*watch.History) string { return "errors" }, sum, chart.Unit{Name: "number", Say: number}},
		{"99 % are answered within", watch.P99, func(*watch.History) string { return "p99" }, largest, chart.Unit{Name: "seconds", Say: seconds}},
		{"Processors in use", watch.CPU, func(*watch.History) string { return "CPU" }, sum, chart.Unit{Name: "number", Say: number}},
		{"Memory", watch.Memory, func(*watch.History) string { return "memory" }, sum, chart.Unit{Name: "bytes", Say: func(v float64) string { return size(int64(v)) }}},
	} {
		all, err := c.config.Traffic.History(watch.HistoryQuery{Measure: x.measure, Service: name, Since: s.Long, Step: s.Step})
		if err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		lines := map[string][]*float64{}
		for i := range all {
			h := &all[i]
			if h.Target != name || !counted(h.Source, &h.Label) {
				continue
			}
			key := x.by(h)
			if lines[key] == nil {
				lines[key] = make([]*float64, len(h.Values))
			}
			for k, v := range h.Values {
				if k < len(lines[key]) {
					lines[key][k] = merged(lines[key][k], v, x.merge)
				}
			}
		}
		var series []chart.Series
		for _, key := range slices.Sorted(maps.Keys(lines)) {
			series = append(series, chart.Series{Name: key, Stroke: strokeOf(key), Values: lines[key]})
		}
		out = append(out, chart.Draw(x.title, series, now.Truncate(s.Step), s.Step, x.unit))
	}
	return out, nil
}

// strokeOf is how a line is drawn: a verdict has the same colour on all pages.
func strokeOf(name string) int {
	switch name {
	case "limited":
		return 3
	case "failed":
		return 4
	case "refused", "errors":
		return 5
	}
	return 1
}

func sum(a, b float64) float64     { return a + b }
func largest(a, b float64) float64 { return max(a, b) }

func merged(a, b *float64, f func(a, b float64) float64) *float64 {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	v := f(*a, *b)
	return &v
}

func number(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func seconds(v float64) string {
	if v == 0 {
		return "0"
	}
	return took(time.Duration(v * float64(time.Second)))
}

// externalData is what the page of an external shows.
type externalData struct {
	Name    string
	Address string
	TLS     string
	In      []flow
}

func (c *Console) externalPage(_ *visit, p *plan.Plan, name string) (view, error) {
	for i := range p.Externals {
		if e := &p.Externals[i]; string(e.Name) == name {
			in, _, err := c.flowsOf(p, name)
			return view{Page: "external", Title: name, Here: "map", Topic: "map", Data: externalData{name, e.Host + ":" + strconv.Itoa(e.Port), e.TLS.String(), in}}, err
		}
	}
	return view{}, errNoPage
}
