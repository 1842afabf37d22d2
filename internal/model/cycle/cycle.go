// Package cycle finds circles in a directed graph, for showing them to people.
//
// It guarantees one shortest circle through the first node of each group of nodes
// that reach each other, in time linear in nodes and edges. Edges from a node to
// itself don't count.
package cycle

import "slices"

// Find returns the circles of a graph whose node i has edges to out[i]: each a
// list of nodes, of which the last has an edge to the first.
func Find(out [][]int) [][]int {
	g := graph(out)
	var circles [][]int
	for _, group := range g.components() {
		circles = append(circles, g.shortest(group))
	}
	return circles
}

type graph [][]int

// components is the groups of at least two nodes that reach each other
// (Tarjan's strongly connected components, without recursion), each in ascending order, in the order of their first node.
func (g graph) components() [][]int {
	type frame struct{ v, next int }
	n := len(g)
	index, low, on := make([]int, n), make([]int, n), make([]bool, n)
	var stack []int
	var groups [][]int
	count := 0
	for root := range n {
		if index[root] != 0 {
			continue
		}
		work := []frame{{root, 0}}
		for len(work) > 0 {
			f := &work[len(work)-1]
			if f.next == 0 {
				count++
				index[f.v], low[f.v], on[f.v] = count, count, true
				stack = append(stack, f.v)
			}
			if f.next < len(g[f.v]) {
				w := g[f.v][f.next]
				f.next++
				if index[w] == 0 {
					work = append(work, frame{w, 0})
				} else if on[w] {
					low[f.v] = min(low[f.v], index[w])
				}
				continue
			}
			v := f.v
			work = work[:len(work)-1]
			if len(work) > 0 {
				u := work[len(work)-1].v
				low[u] = min(low[u], low[v])
			}
			if low[v] == index[v] {
				i := len(stack) - 1
				for stack[i] != v {
					i--
				}
				group := slices.Clone(stack[i:])
				stack = stack[:i]
				for _, w := range group {
					on[w] = false
				}
				if len(group) > 1 {
					slices.Sort(group)
					groups = append(groups, group)
				}
			}
		}
	}
	slices.SortFunc(groups, func(a, b []int) int { return a[0] - b[0] })
	return groups
}

// shortest is a shortest circle through the group's first node.
func (g graph) shortest(group []int) []int {
	in := make(map[int]bool, len(group))
	for _, v := range group {
		in[v] = true
	}
	start := group[0]
	from := map[int]int{}
	queue := []int{start}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		for _, w := range g[v] {
			if w == start {
				path := []int{v}
				for v != start {
					v = from[v]
					path = append(path, v)
				}
				slices.Reverse(path)
				return path
			}
			if _, seen := from[w]; in[w] && !seen {
				from[w] = v
				queue = append(queue, w)
			}
		}
	}
	return group
}
