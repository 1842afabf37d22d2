package model

import (
	"slices"
	"strings"
)

// advise warns of what is allowed but unwise.
func (p *parser) advise() {
	used := map[string]bool{}
	for i := range p.m.Services {
		for _, c := range p.m.Services[i].Calls {
			used[c.Target] = true
		}
	}
	for _, o := range p.m.Observe {
		used[o.To] = true
	}
	for i := range p.m.Services {
		s := &p.m.Services[i]
		if !used[string(s.Name)] && len(s.Expose) == 0 && len(s.Calls) == 0 && len(s.Listen) > 0 {
			p.warnf(s.Pos, "grant someone a call to it, expose a route, or remove it", "nobody calls service %s, and nothing exposes it", s.Name)
		}
		for _, c := range s.Calls {
			p.adviseCall(s, c)
		}
		p.adviseExpose(s)
		p.adviseEnv(s)
		p.adviseFiles(s)
	}
	for _, x := range p.m.Externals {
		if !used[string(x.Name)] {
			p.warnf(x.Pos, "grant someone a call to it, or remove it", "nobody calls external %s", x.Name)
		}
	}
	p.adviseCycles()
}

func (p *parser) adviseCall(s *Service, c Call) {
	for _, g := range c.Grants {
		switch {
		case g.Kind == GrantAny:
		case g.Kind == GrantHTTP && g.Pattern == "/**":
		case g.Kind == GrantWS && g.Pattern == "/**":
		case g.Kind == GrantGRPC && g.Pattern == "/*/*":
		default:
			continue
		}
		p.warnf(g.Pos, "name what it needs; `ward learn` finds out which calls are made", "%q from %s to %s is broad", g.String(), s.Name, c.Target)
	}
}

func (p *parser) adviseExpose(s *Service) {
	for _, x := range s.Expose {
		if s.Sensitivity >= High {
			p.warnf(x.Pos, "put a less sensitive service in front of it", "service %s has sensitivity %s, and is exposed to anyone", s.Name, s.Sensitivity)
		}
		for _, g := range x.Routes {
			if g.Kind == GrantHTTP && g.Pattern == "/**" && slices.Contains(g.Methods, "*") {
				p.warnf(g.Pos, "name methods and paths: what isn't named stays closed", "every route of %s, with every method, is open to anyone", s.Name)
			}
		}
	}
}

func (p *parser) adviseEnv(s *Service) {
	for _, v := range s.Env {
		if SecretLooking(v.Name, v.Value) {
			p.warnf(v.Pos, "anyone who may read the file may read it; keep it out of version control", "%s looks like a secret, and its value stands in the file", v.Name)
		}
	}
}

// SecretLooking says that an environment variable looks like a secret that is
// written out: by its name, or by a password inside of a URL.
func SecretLooking(name, value string) bool {
	if value == "" || only(value, "0123456789smhd.") || value == "true" || value == "false" {
		return false
	}
	if _, rest, ok := strings.Cut(value, "://"); ok {
		authority, _, _ := strings.Cut(rest, "/")
		if at := strings.LastIndexByte(authority, '@'); at > 0 {
			_, pass, has := strings.Cut(authority[:at], ":")
			return has && pass != ""
		}
		return false
	}
	parts := strings.Split(strings.ToUpper(name), "_")
	last := parts[len(parts)-1]
	if slices.Contains([]string{"FILE", "PATH", "DIR", "ID", "NAME", "TTL", "LENGTH", "TYPE", "HEADER", "HOST", "USER"}, last) || slices.Contains(parts, "PUBLIC") {
		return false
	}
	for _, part := range parts {
		for _, w := range []string{"PASSWORD", "PASSWD", "SECRET", "TOKEN", "APIKEY", "PASSPHRASE"} {
			if strings.HasSuffix(part, w) {
				return true
			}
		}
		if part == "KEY" || part == "CREDENTIALS" || part == "PASS" {
			return true
		}
	}
	return false
}

func (p *parser) adviseFiles(s *Service) {
	for _, f := range slices.Concat(s.Files.Read, s.Files.Write) {
		switch strings.TrimRight(f.Path, "/") {
		case "", "/etc", "/home", "/root", "/proc", "/sys", "/dev", "/var", "/run", "/usr":
			p.warnf(f.Pos, "name the files that it needs", "%q opens much of the machine to %s", f.Path, s.Name)
		}
	}
}

// adviseCycles shows one cycle for each group of services that can reach each
// other (Tarjan's strongly connected components, without recursion).
func (p *parser) adviseCycles() {
	g := newCallGraph(p.m.Services)
	for _, group := range g.components() {
		path := g.cycle(group)
		names := make([]string, 0, len(path)+1)
		for i, v := range path {
			if i == 8 && len(path) > 10 {
				names = append(names, "…")
				break
			}
			names = append(names, string(p.m.Services[v].Name))
		}
		names = append(names, string(p.m.Services[path[0]].Name))
		p.warnf(g.at[[2]int{path[0], path[1%len(path)]}], "each of them can be taken over through the others; a queue or an event breaks the circle", "services call each other in a circle: %s", strings.Join(names, " → "))
	}
}

type callGraph struct {
	out [][]int
	at  map[[2]int]Pos
}

func newCallGraph(services []Service) *callGraph {
	index := make(map[string]int, len(services))
	for i := range services {
		index[string(services[i].Name)] = i
	}
	g := &callGraph{out: make([][]int, len(services)), at: map[[2]int]Pos{}}
	for i := range services {
		for _, c := range services[i].Calls {
			j, ok := index[c.Target]
			if _, dup := g.at[[2]int{i, j}]; ok && !dup {
				g.out[i] = append(g.out[i], j)
				g.at[[2]int{i, j}] = c.Pos
			}
		}
	}
	return g
}

// components is the groups of at least two services that reach each other, each
// in ascending order, in the order of their first service.
func (g *callGraph) components() [][]int {
	type frame struct{ v, next int }
	n := len(g.out)
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
			if f.next < len(g.out[f.v]) {
				w := g.out[f.v][f.next]
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

// cycle is a shortest circle through the group's first service.
func (g *callGraph) cycle(group []int) []int {
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
		for _, w := range g.out[v] {
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
