package reach

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
)

// Row is one service in the ranking.
type Row struct {
	Service   string            `json:"service"`
	Outside   bool              `json:"outside"`   // the gateway lets the outside in to it
	Direct    int               `json:"direct"`    // services and externals at hop 1
	Services  int               `json:"services"`  // services at any hop, without itself
	Externals int               `json:"externals"` // externals at any hop
	Highest   model.Sensitivity `json:"highest"`   // of the services reached; unset if none
	Data      []string          `json:"data"`      // classes at any hop, its own too
	Score     int               `json:"score"`     // as in Report
}

// Rank lists every service by score, the worst first; of equals the one that the
// outside reaches, then by name.
func Rank(p *plan.Plan, today string) []Row {
	g := newGraph(p, today)
	closure := g.closure()
	outside := map[string]bool{}
	for i := range p.Rules {
		if r := &p.Rules[i]; r.Caller == plan.Outside && policy.InForce(r, today) {
			outside[r.Target] = true
		}
	}
	rows := make([]Row, 0, len(p.Services))
	for v := range p.Services {
		row := Row{Service: string(p.Services[v].Name), Direct: len(g.next[v]), Data: slices.Clone(p.Services[v].Data)}
		row.Outside = outside[row.Service]
		for w := range closure[v].all {
			if w == v {
				continue
			}
			if g.external(w) {
				row.Externals++
				row.Score += externalWeight
				continue
			}
			s := &p.Services[w]
			row.Services++
			row.Score += Weight(s.Sensitivity)
			row.Highest = max(row.Highest, rank(s.Sensitivity))
			row.Data = append(row.Data, s.Data...)
		}
		slices.Sort(row.Data)
		row.Data = slices.Compact(row.Data)
		if row.Data == nil {
			row.Data = []string{}
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b Row) int {
		if c := cmp.Compare(b.Score, a.Score); c != 0 {
			return c
		}
		if a.Outside != b.Outside {
			if a.Outside {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Service, b.Service)
	})
	return rows
}

// rank is a sensitivity as it compares.
func rank(s model.Sensitivity) model.Sensitivity {
	if s == model.SensitivityUnset {
		return model.Medium
	}
	return s
}

// set is a set of vertices.
type set []uint64

func (s set) add(v int) { s[v/64] |= 1 << (v % 64) }

func (s set) union(o set) {
	for i := range o {
		s[i] |= o[i]
	}
}

// all yields the members in ascending order.
func (s set) all(yield func(int) bool) {
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			if !yield(i*64 + bits.TrailingZeros64(word)) {
				return
			}
		}
	}
}

// closure is for each service all that it reaches, itself included. Services that
// reach each other share one set (Tarjan's strongly connected components, which come
// out with what they reach already done), so the work is one union per edge.
func (g *graph) closure() []set {
	n := len(g.plan.Services)
	t := tarjan{graph: g, words: (n + len(g.plan.Externals) + 63) / 64, number: make([]int, n), low: make([]int, n), sets: make([]set, n)}
	for v := range n {
		if t.number[v] == 0 {
			t.visit(v)
		}
	}
	return t.sets
}

type tarjan struct {
	graph  *graph
	words  int
	count  int
	number []int // order of visit from 1; 0: not yet
	low    []int
	stack  []int
	sets   []set // nil until the component is done
}

func (t *tarjan) visit(v int) {
	t.count++
	t.number[v], t.low[v] = t.count, t.count
	t.stack = append(t.stack, v)
	for _, w := range t.graph.next[v] {
		w := int(w)
		switch {
		case t.graph.external(w):
		case t.number[w] == 0:
			t.visit(w)
			t.low[v] = min(t.low[v], t.low[w])
		case t.sets[w] == nil:
			t.low[v] = min(t.low[v], t.number[w])
		}
	}
	if t.low[v] != t.number[v] {
		return
	}
	i := len(t.stack) - 1
	for t.stack[i] != v {
		i--
	}
	component := t.stack[i:]
	t.stack = t.stack[:i]
	s := make(set, t.words)
	for _, u := range component {
		s.add(u)
		for _, w := range t.graph.next[u] {
			if t.graph.external(int(w)) {
				s.add(int(w))
			} else if o := t.sets[w]; o != nil {
				s.union(o)
			}
		}
	}
	for _, u := range component {
		t.sets[u] = s
	}
}
