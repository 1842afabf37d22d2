package layout

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var sizes = Sizes{Width: 148, Height: 46, Across: 100, Down: 26}

func TestCallersStandLeftOfWhatTheyCall(t *testing.T) {
	nodes := []Node{{ID: "bank", Last: true}, {ID: "db"}, {ID: "web"}, {ID: "orders"}, {ID: "cart"}}
	p := Lay(nodes, []Edge{{From: "web", To: "orders"}, {From: "web", To: "cart"}, {From: "orders", To: "db"}, {From: "web", To: "db"}, {From: "cart", To: "bank"}}, sizes)
	x := func(id string) float64 { return p.Nodes[id].X }
	if !(x("web") < x("orders") && x("orders") == x("cart") && x("orders") < x("db") && x("db") == x("bank")) {
		t.Errorf("%+v", p.Nodes)
	}
	if p.Paths[3].D == p.Paths[0].D || p.Paths[3].D == "" {
		t.Errorf("the long edge goes %q", p.Paths[3].D)
	}
}

func TestACycleIsCutWhereItCloses(t *testing.T) {
	p := Lay([]Node{{ID: "a"}, {ID: "b"}, {ID: "c"}}, []Edge{{From: "a", To: "b"}, {From: "b", To: "c"}, {From: "c", To: "a"}}, sizes)
	if !(p.Nodes["a"].X < p.Nodes["b"].X && p.Nodes["b"].X < p.Nodes["c"].X) {
		t.Errorf("%+v", p.Nodes)
	}
}

func TestOddGraphs(t *testing.T) {
	for name, c := range map[string]struct {
		nodes []Node
		edges []Edge
		paths int // that can be drawn
	}{
		"nothing":                  {nil, nil, 0},
		"a cycle":                  {[]Node{{ID: "a"}, {ID: "b"}, {ID: "c"}}, []Edge{{From: "a", To: "b"}, {From: "b", To: "c"}, {From: "c", To: "a"}}, 3},
		"an edge to itself":        {[]Node{{ID: "a"}}, []Edge{{From: "a", To: "a"}}, 0},
		"an end that isn't there":  {[]Node{{ID: "a"}}, []Edge{{From: "a", To: "b"}}, 0},
		"only a weak edge":         {[]Node{{ID: "a"}, {ID: "b"}}, []Edge{{From: "a", To: "b", Weak: true}}, 1},
		"weak between neighbours":  {[]Node{{ID: "w"}, {ID: "a"}, {ID: "b"}}, []Edge{{From: "w", To: "a"}, {From: "w", To: "b"}, {From: "a", To: "b", Weak: true}}, 3},
		"weak against the stream":  {[]Node{{ID: "w"}, {ID: "a"}}, []Edge{{From: "w", To: "a"}, {From: "a", To: "w", Weak: true}}, 2},
		"one twice":                {[]Node{{ID: "a"}, {ID: "a"}, {ID: "b"}}, []Edge{{From: "a", To: "b"}, {From: "a", To: "b"}}, 2},
		"only what stands at last": {[]Node{{ID: "x", Last: true}}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := Lay(c.nodes, c.edges, sizes)
			drawn := 0
			for _, path := range p.Paths {
				if path.D != "" {
					drawn++
				}
			}
			if drawn != c.paths || len(p.Paths) != len(c.edges) || p.Width <= 0 || p.Height <= 0 {
				t.Errorf("%d paths: %+v", drawn, p)
			}
			overlaps(t, p)
		})
	}
}

// overlaps complains of boxes that touch, or leave the picture.
func overlaps(t *testing.T, p Picture) {
	t.Helper()
	for a, at := range p.Nodes {
		if at.X < sizes.Width/2 || at.Y < sizes.Height/2 || at.X > p.Width-sizes.Width/2 || at.Y > p.Height-sizes.Height/2 {
			t.Errorf("%s leaves the picture: %+v of %g×%g", a, at, p.Width, p.Height)
		}
		for b, other := range p.Nodes {
			if a < b && max(at.X-other.X, other.X-at.X) < sizes.Width && max(at.Y-other.Y, other.Y-at.Y) < sizes.Height+sizes.Down-0.01 {
				t.Errorf("%s %+v touches %s %+v", a, at, b, other)
			}
		}
	}
}

func TestRandomGraphsAreDrawnTheSameWayTwice(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		var nodes []Node
		var edges []Edge
		n := 1 + r.IntN(30)
		for i := range n {
			nodes = append(nodes, Node{ID: fmt.Sprint(i), Last: r.IntN(8) == 0})
		}
		for range r.IntN(120) {
			edges = append(edges, Edge{From: fmt.Sprint(r.IntN(n)), To: fmt.Sprint(r.IntN(n + 1)), Weak: r.IntN(4) == 0})
		}
		p := Lay(nodes, edges, sizes)
		if diff := cmp.Diff(p, Lay(nodes, edges, sizes)); diff != "" {
			t.Fatal(diff)
		}
		if overlaps(t, p); t.Failed() {
			t.Fatalf("%+v %+v", nodes, edges)
		}
	}
}
