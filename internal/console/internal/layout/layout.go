// Package layout lays out a graph of services in layers, from left to right, as Sugiyama, Tagawa and Toda do (1981): layers by longest path,
// order by neighbours' means, straight places by a few sweeps.
//
// Guarantee: equal graphs give equal pictures; nodes don't overlap; every node and edge is in it, cycles too. The work grows with nodes times
// layers plus edges times sweeps. Not guaranteed: the fewest crossings.
package layout

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Node is one box.
type Node struct {
	ID   string
	Last bool // it stands in the last layer
}

// Edge is an arrow. A weak one doesn't shape the layers.
type Edge struct {
	From, To string
	Weak     bool
}

// Sizes are those of boxes and of the space between them, in the picture's units.
type Sizes struct{ Width, Height, Across, Down float64 }

// Point is a place.
type Point struct{ X, Y float64 }

// Picture is where everything is.
type Picture struct {
	Nodes         map[string]Point // centres
	Paths         []Path           // of the edges, in their order; empty where an end is missing
	Width, Height float64
}

// Path is an edge's way: for the d of an SVG path, and where its label goes.
type Path struct {
	D     string
	Label Point
}

// sweeps are how often order and places are made better.
const sweeps = 8

// place is a node, or a point through which a long edge goes.
type place struct {
	layer    int
	y        float64
	real     bool
	id       string
	from, to []*place
}

type drawing struct {
	sizes  Sizes
	nodes  map[string]*place
	order  []string
	layers [][]*place
	chains [][]*place // of each edge: the places that it goes through, by layer; nil for a loop within a layer
}

// Lay lays out a graph. Edges with an end that is no node, or with one end twice, have no path.
func Lay(nodes []Node, edges []Edge, sizes Sizes) Picture {
	d := &drawing{sizes: sizes, nodes: map[string]*place{}}
	for _, n := range nodes {
		if d.nodes[n.ID] == nil {
			d.nodes[n.ID] = &place{real: true, id: n.ID}
			d.order = append(d.order, n.ID)
		}
	}
	d.rank(nodes, edges)
	d.chain(edges)
	for i := range sweeps {
		d.sort(i%2 == 0)
	}
	d.settle()
	return d.picture(edges)
}

// rank gives each node its layer: the longest way of strong edges to it, less those that close a cycle.
func (d *drawing) rank(nodes []Node, edges []Edge) {
	next, shaped := map[string][]string{}, map[string]bool{}
	for _, e := range edges {
		if !e.Weak && e.From != e.To && d.nodes[e.From] != nil && d.nodes[e.To] != nil {
			next[e.From] = append(next[e.From], e.To)
			shaped[e.From], shaped[e.To] = true, true
		}
	}
	const unseen, open, done = 0, 1, 2
	state := map[string]int{}
	var sorted []string // in reverse
	var visit func(string)
	visit = func(id string) {
		state[id] = open
		next[id] = slices.DeleteFunc(next[id], func(to string) bool {
			if state[to] == unseen {
				visit(to)
			}
			return state[to] == open // closes a cycle
		})
		state[id] = done
		sorted = append(sorted, id)
	}
	for _, id := range d.order {
		if state[id] == unseen {
			visit(id)
		}
	}
	last := 0
	for _, id := range slices.Backward(sorted) {
		from := d.nodes[id]
		for _, to := range next[id] {
			d.nodes[to].layer = max(d.nodes[to].layer, from.layer+1)
		}
		last = max(last, from.layer)
	}
	for _, e := range edges { // what only weak edges lead to stands behind where they come from
		a, b := d.nodes[e.From], d.nodes[e.To]
		if e.Weak && a != nil && b != nil && a != b && !shaped[e.To] {
			b.layer = max(b.layer, a.layer+1)
		}
	}
	for _, n := range nodes {
		if n.Last {
			d.nodes[n.ID].layer = max(last, 1)
		}
	}
	for _, p := range d.nodes {
		last = max(last, p.layer)
	}
	d.layers = make([][]*place, last+1)
	for _, id := range d.order {
		p := d.nodes[id]
		d.layers[p.layer] = append(d.layers[p.layer], p)
	}
}

// chain gives long edges a place in each layer that they cross.
func (d *drawing) chain(edges []Edge) {
	d.chains = make([][]*place, len(edges))
	for i, e := range edges {
		a, b := d.nodes[e.From], d.nodes[e.To]
		if a == nil || b == nil || a.layer == b.layer {
			continue
		}
		if a.layer > b.layer {
			a, b = b, a
		}
		chain := []*place{a}
		for layer := a.layer + 1; layer < b.layer; layer++ {
			p := &place{layer: layer}
			d.layers[layer] = append(d.layers[layer], p)
			chain = append(chain, p)
		}
		chain = append(chain, b)
		for k := range len(chain) - 1 {
			chain[k].to = append(chain[k].to, chain[k+1])
			chain[k+1].from = append(chain[k+1].from, chain[k])
		}
		d.chains[i] = chain
	}
	for _, layer := range d.layers {
		d.stack(layer)
	}
}

// sort orders each layer by the means of its neighbours in the one before, or after.
func (d *drawing) sort(forward bool) {
	for k := range d.layers {
		if !forward {
			k = len(d.layers) - 1 - k
		}
		layer := d.layers[k]
		want := make(map[*place]float64, len(layer))
		for _, p := range layer {
			side := p.from
			if !forward {
				side = p.to
			}
			want[p] = mean(side, p.y)
		}
		slices.SortStableFunc(layer, func(a, b *place) int { return cmp.Compare(want[a], want[b]) })
		d.stack(layer)
	}
}

// mean is that of places, or a value where there are none.
func mean(of []*place, otherwise float64) float64 {
	if len(of) == 0 {
		return otherwise
	}
	sum := 0.0
	for _, p := range of {
		sum += p.y
	}
	return sum / float64(len(of))
}

// gap is how far the centres of neighbours in a layer are apart at least.
func (d *drawing) gap(a, b *place) float64 {
	half := func(p *place) float64 {
		if p.real {
			return (d.sizes.Height + d.sizes.Down) / 2
		}
		return d.sizes.Down / 2
	}
	return half(a) + half(b)
}

// stack puts a layer around the middle line in its order.
func (d *drawing) stack(layer []*place) {
	y := 0.0
	for i, p := range layer {
		if i > 0 {
			y += d.gap(layer[i-1], p)
		}
		p.y = y
	}
	for _, p := range layer {
		p.y -= y / 2
	}
}

// settle draws places towards their neighbours, and keeps order and gaps.
func (d *drawing) settle() {
	for i := range 2 * sweeps {
		for k := range d.layers {
			if i%2 == 1 {
				k = len(d.layers) - 1 - k
			}
			layer := d.layers[k]
			if len(layer) == 0 {
				continue
			}
			down, up := make([]float64, len(layer)), make([]float64, len(layer))
			for j, p := range layer {
				down[j] = mean(append(slices.Clone(p.from), p.to...), p.y)
			}
			copy(up, down)
			for j := 1; j < len(layer); j++ {
				down[j] = max(down[j], down[j-1]+d.gap(layer[j-1], layer[j]))
			}
			for j := len(layer) - 2; j >= 0; j-- {
				up[j] = min(up[j], up[j+1]-d.gap(layer[j], layer[j+1]))
			}
			for j, p := range layer {
				p.y = (down[j] + up[j]) / 2 // each keeps the gaps, and so does their mean
			}
		}
	}
}

func (d *drawing) picture(edges []Edge) Picture {
	top, bottom := math.Inf(1), math.Inf(-1)
	for _, layer := range d.layers {
		for _, p := range layer {
			top, bottom = min(top, p.y), max(bottom, p.y)
		}
	}
	margin := d.sizes.Height/2 + d.sizes.Down
	out := Picture{Nodes: map[string]Point{}, Paths: make([]Path, len(edges)), Width: 2*margin + d.sizes.Width, Height: 2 * margin}
	if len(d.nodes) == 0 {
		return out
	}
	out.Width = 2*margin + float64(len(d.layers))*d.sizes.Width + float64(len(d.layers)-1)*d.sizes.Across
	out.Height = bottom - top + 2*margin
	at := func(p *place) Point {
		return Point{margin + d.sizes.Width/2 + float64(p.layer)*(d.sizes.Width+d.sizes.Across), p.y - top + margin}
	}
	for id, p := range d.nodes {
		out.Nodes[id] = at(p)
	}
	leave, arrive := d.ports(edges)
	for i, e := range edges {
		a, b := d.nodes[e.From], d.nodes[e.To]
		switch {
		case a == nil || b == nil || a == b:
		case d.chains[i] == nil:
			from, to := at(a), at(b)
			x, bulge := from.X+d.sizes.Width/2, d.sizes.Across/2
			from.Y, to.Y = from.Y+leave[i], to.Y+arrive[i]
			out.Paths[i] = Path{fmt.Sprintf("M%.0f %.0fC%.0f %.0f %.0f %.0f %.0f %.0f", x, from.Y, x+bulge, from.Y, x+bulge, to.Y, x, to.Y), Point{x + bulge*0.75, (from.Y + to.Y) / 2}}
		default:
			var points []Point
			side := d.sizes.Width / 2
			for _, p := range d.chains[i] {
				c := at(p)
				if p.real {
					points = append(points, c)
				} else { // straight through the column
					points = append(points, Point{c.X - side, c.Y}, Point{c.X + side, c.Y})
				}
			}
			if a.layer > b.layer { // against the stream
				slices.Reverse(points)
				side = -side
			}
			first, last := &points[0], &points[len(points)-1]
			first.X, first.Y, last.X, last.Y = first.X+side, first.Y+leave[i], last.X-side, last.Y+arrive[i]
			out.Paths[i] = smooth(points, e.Weak)
		}
	}
	return out
}

// ports spreads the ends of edges over the side of a box, in the order of where they come from and go to.
func (d *drawing) ports(edges []Edge) (leave, arrive []float64) {
	leave, arrive = make([]float64, len(edges)), make([]float64, len(edges))
	type end struct {
		other float64
		y     *float64
	}
	type side struct {
		id    string
		right bool
	}
	sides := map[side][]end{}
	for i, e := range edges {
		a, b := d.nodes[e.From], d.nodes[e.To]
		if a == nil || b == nil || a == b {
			continue
		}
		near, far := b, a // the places next to each end
		if c := d.chains[i]; c != nil {
			near, far = c[1], c[len(c)-2]
			if a.layer > b.layer {
				near, far = far, near
			}
		}
		sides[side{e.From, a.layer <= b.layer}] = append(sides[side{e.From, a.layer <= b.layer}], end{near.y, &leave[i]})
		sides[side{e.To, a.layer >= b.layer}] = append(sides[side{e.To, a.layer >= b.layer}], end{far.y, &arrive[i]})
	}
	for _, ends := range sides {
		slices.SortStableFunc(ends, func(a, b end) int { return cmp.Compare(a.other, b.other) })
		step := min(d.sizes.Height*0.7/float64(len(ends)), 12)
		for i := range ends {
			*ends[i].y = (float64(i) - float64(len(ends)-1)/2) * step
		}
	}
	return leave, arrive
}

// smooth goes through points with level tangents. The label of a weak edge stands nearer to its end: it mostly goes beside a strong one.
func smooth(points []Point, weak bool) Path {
	var b strings.Builder
	fmt.Fprintf(&b, "M%.0f %.0f", points[0].X, points[0].Y)
	for i := 1; i < len(points); i++ {
		p, q := points[i-1], points[i]
		half := (q.X - p.X) / 2
		fmt.Fprintf(&b, "C%.0f %.0f %.0f %.0f %.0f %.0f", p.X+half, p.Y, q.X-half, q.Y, q.X, q.Y)
	}
	t := 0.5
	if weak {
		t = 0.72
	}
	k := (len(points) - 1) / 4 * 2 // between columns, near the middle
	p, q := points[k], points[k+1]
	return Path{b.String(), Point{p.X + (q.X-p.X)*(1.5*t*(1-t)+t*t*t), p.Y + (q.Y-p.Y)*(3-2*t)*t*t}}
}
