// Package reach computes the blast radius: what an attacker who has taken over one
// service reaches by the rights of the plan.
//
// It guarantees that hop 1 is exactly what the policy allows the service, and
// that what isn't reported is reachable by no chain of rights. From hop 2 on it
// assumes the worst: that every service reached is taken over too, through the
// routes shown. So it bounds the damage from above. It knows nothing of holes in
// the kernel, in Ward, or in the layers themselves.
package reach

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
)

// Report is the blast radius of one service.
type Report struct {
	Service     string            `json:"service"`
	Sensitivity model.Sensitivity `json:"sensitivity"`
	// Exposed lists the routes by which the outside reaches the service itself.
	Exposed []Route `json:"exposed"`
	Steps   []Step  `json:"steps"` // ascending by hop, then services before externals, then by name
	Files   []File  `json:"files"` // by hop, service, path; hop 0 is the service's own
	Data    []Data  `json:"data"`  // by hop and class
	Score   int     `json:"score"`
}

// Step is one destination, at the least number of hops.
type Step struct {
	Hop         int               `json:"hop"`
	Name        string            `json:"name"`
	External    bool              `json:"external,omitempty"`
	Sensitivity model.Sensitivity `json:"sensitivity"`
	Via         []Via             `json:"via"`    // every way that has this number of hops
	Layers      []string          `json:"layers"` // what stands on the hop, in the order in which it is met
}

// Via is the last hop of a way: the routes by which From reaches the step.
type Via struct {
	From   string  `json:"from"`
	Routes []Route `json:"routes"`
}

// Route is one right in use.
type Route struct {
	Grant model.Grant `json:"grant"`
	Ports []int       `json:"ports"`
	Until string      `json:"until,omitempty"`
	Line  int         `json:"line"`
}

// File is a path that a service may use.
type File struct {
	Hop     int    `json:"hop"`
	Service string `json:"service"`
	Path    string `json:"path"`
	Write   bool   `json:"write"`
}

// Data is a class of data, where it is reached first.
type Data struct {
	Hop      int      `json:"hop"`
	Class    string   `json:"class"`
	Services []string `json:"services"`
}

// Weight is what reaching a service of a sensitivity adds to a score: about three
// of one level weigh as much as one of the next. Unset ranks as medium.
func Weight(s model.Sensitivity) int {
	switch s {
	case model.Low:
		return 1
	case model.High:
		return 10
	case model.Critical:
		return 30
	default:
		return 3
	}
}

// externalWeight is what a way out adds to a score.
const externalWeight = 2

// graph is the plan by numbers: services first, then externals.
type graph struct {
	plan  *plan.Plan
	index map[string]int
	rules [][]int32 // of each service as caller, those in force
	next  [][]int32 // the targets of each service, each once
}

func newGraph(p *plan.Plan, today string) *graph {
	n := len(p.Services)
	g := &graph{plan: p, index: make(map[string]int, n+len(p.Externals)), rules: make([][]int32, n), next: make([][]int32, n)}
	for i := range p.Services {
		g.index[string(p.Services[i].Name)] = i
	}
	for i := range p.Externals {
		g.index[string(p.Externals[i].Name)] = n + i
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		caller, ok := g.index[r.Caller]
		if !ok || caller >= n || !policy.InForce(r, today) {
			continue
		}
		target, ok := g.index[r.Target]
		if !ok || target == caller {
			continue
		}
		g.rules[caller] = append(g.rules[caller], int32(i))
		g.next[caller] = append(g.next[caller], int32(target))
	}
	for i := range g.next {
		slices.Sort(g.next[i])
		g.next[i] = slices.Compact(g.next[i])
	}
	return g
}

func (g *graph) external(v int) bool { return v >= len(g.plan.Services) }

func (g *graph) name(v int) string {
	if g.external(v) {
		return string(g.plan.Externals[v-len(g.plan.Services)].Name)
	}
	return string(g.plan.Services[v].Name)
}

// hops is the distance of everything from start, -1 where there is no way.
func (g *graph) hops(start int) []int {
	dist := make([]int, len(g.plan.Services)+len(g.plan.Externals))
	for i := range dist {
		dist[i] = -1
	}
	dist[start] = 0
	queue := []int{start}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		if g.external(v) {
			continue
		}
		for _, w := range g.next[v] {
			if dist[w] < 0 {
				dist[w] = dist[v] + 1
				queue = append(queue, int(w))
			}
		}
	}
	return dist
}

// Of reports the blast radius of a service on the day today (YYYY-MM-DD). The
// error says that there is no such service.
func Of(p *plan.Plan, today, service string) (*Report, error) {
	g := newGraph(p, today)
	start, ok := g.index[service]
	if !ok || g.external(start) {
		return nil, fmt.Errorf("there is no service %q", service)
	}
	rep := &Report{
		Service: service, Sensitivity: p.Services[start].Sensitivity,
		Exposed: []Route{}, Steps: []Step{}, Files: []File{}, Data: []Data{},
	}
	for i := range p.Rules {
		if r := &p.Rules[i]; r.Caller == plan.Outside && r.Target == service && policy.InForce(r, today) {
			rep.Exposed = append(rep.Exposed, route(r))
		}
	}
	dist := g.hops(start)
	via := g.ways(dist)
	data := map[string]*Data{}
	for v, hop := range dist {
		if hop < 0 {
			continue
		}
		if hop > 0 {
			rep.Steps = append(rep.Steps, g.step(v, hop, via[v]))
		}
		if !g.external(v) {
			rep.loot(&p.Services[v], hop, data)
		}
	}
	rep.finish(data)
	return rep, nil
}

func route(r *plan.Rule) Route {
	return Route{Grant: r.Grant, Ports: r.Ports, Until: r.Until, Line: r.Pos.Line}
}

// ways lists for each destination the rights that reach it in the least hops, by caller.
func (g *graph) ways(dist []int) [][]Via {
	out := make([][]Via, len(dist))
	for v := range g.rules {
		if dist[v] < 0 {
			continue
		}
		for _, i := range g.rules[v] {
			r := &g.plan.Rules[i]
			w := g.index[r.Target]
			if dist[w] != dist[v]+1 {
				continue
			}
			if n := len(out[w]); n == 0 || out[w][n-1].From != r.Caller {
				out[w] = append(out[w], Via{From: r.Caller})
			}
			last := &out[w][len(out[w])-1]
			last.Routes = append(last.Routes, route(r))
		}
	}
	return out
}

func (g *graph) step(v, hop int, via []Via) Step {
	s := Step{Hop: hop, Name: g.name(v), External: g.external(v), Via: via}
	if s.External {
		s.Layers = externalLayers(&g.plan.Externals[v-len(g.plan.Services)])
		return s
	}
	s.Sensitivity = g.plan.Services[v].Sensitivity
	s.Layers = []string{
		"namespace: no way out but Ward's listener",
		"outbound: the caller's own grants",
		"mutual TLS, where the two run on different hosts",
		"inbound: " + s.Name + "'s own list of callers",
	}
	if hop > 1 {
		s.Layers = slices.Insert(s.Layers, 0, "the sandbox of "+froms(via)+", and a hole in it to begin with")
	}
	return s
}

func froms(via []Via) string {
	out := make([]string, 0, len(via))
	for _, v := range via {
		out = append(out, v.From)
	}
	return strings.Join(out, " or ")
}

func externalLayers(e *model.External) []string {
	out := []string{
		"namespace: no way out but Ward's listener",
		"outbound: the caller's own grants",
		"resolver: private, link-local and metadata addresses refused unless named",
	}
	switch e.TLS {
	case model.TLSOriginate:
		out = append(out, "Ward's own verified TLS to "+e.Host)
	case model.TLSPassthrough:
		out = append(out, "TLS server name must be "+e.Host)
	}
	return out
}

// loot adds what a taken-over service holds.
func (r *Report) loot(s *plan.Service, hop int, data map[string]*Data) {
	for _, p := range s.Files.Read {
		r.Files = append(r.Files, File{hop, string(s.Name), p.Path, false})
	}
	for _, p := range s.Files.Write {
		r.Files = append(r.Files, File{hop, string(s.Name), p.Path, true})
	}
	for _, class := range s.Data {
		d := data[class]
		if d == nil || hop < d.Hop {
			d = &Data{Hop: hop, Class: class, Services: sources(d)}
			data[class] = d
		}
		d.Services = append(d.Services, string(s.Name))
	}
	if hop > 0 {
		r.Score += Weight(s.Sensitivity)
	}
}

func sources(d *Data) []string {
	if d == nil {
		return nil
	}
	return d.Services
}

func (r *Report) finish(data map[string]*Data) {
	for _, d := range data {
		slices.Sort(d.Services)
		r.Data = append(r.Data, *d)
	}
	slices.SortFunc(r.Data, func(a, b Data) int { return order(a.Hop-b.Hop, a.Class, b.Class) })
	slices.SortFunc(r.Files, func(a, b File) int { return order(a.Hop-b.Hop, a.Service+"\x00"+a.Path, b.Service+"\x00"+b.Path) })
	slices.SortFunc(r.Steps, func(a, b Step) int {
		if a.Hop == b.Hop && a.External != b.External {
			if a.External {
				return 1
			}
			return -1
		}
		return order(a.Hop-b.Hop, a.Name, b.Name)
	})
	for _, s := range r.Steps {
		if s.External {
			r.Score += externalWeight
		}
	}
}

func order(hops int, a, b string) int {
	if hops != 0 {
		return hops
	}
	return strings.Compare(a, b)
}
