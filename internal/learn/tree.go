package learn

import (
	"maps"
	"slices"
	"strings"
)

// minSiblings is how many different values under one parent make a parameter of them.
const minSiblings = 3

// tree is the paths that were seen, by segments.
type tree struct {
	methods  map[string]bool // that end here
	children map[string]*tree
}

// route is a pattern with its methods.
type route struct {
	pattern string
	methods []string
}

// segments are those of a path, with ids as {id}. The last is "" for a path that ends with a slash.
func segments(path string) []string {
	segs := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, s := range segs {
		if isID(s) {
			segs[i] = "{id}"
		}
	}
	return segs
}

// Generalise is a path with its ids as {id}: what is recorded of a call, so that no id or token lands in the ledger.
func Generalise(path string) string { return "/" + strings.Join(segments(path), "/") }

// isID tells a value that was made by a machine: a number, a UUID, a hash, a token; and what a pattern can't say.
func isID(s string) bool {
	if strings.ContainsAny(s, "*{}") {
		return true
	}
	const digits, hex = "0123456789", "0123456789abcdefABCDEF"
	bare := strings.ReplaceAll(s, "-", "")
	hasDigit := strings.ContainsAny(s, digits)
	switch {
	case s == "":
		return false
	case strings.Trim(s, digits) == "":
		return true
	case len(s) == 36 && strings.Count(s, "-") == 4 && strings.Trim(bare, hex) == "":
		return true
	case len(s) >= 8 && hasDigit && strings.Trim(s, hex) == "":
		return true
	case len(s) >= 20 && hasDigit && strings.Trim(s, "-_.~=0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" && !strings.Contains(s, "."):
		return true
	}
	return false
}

func (t *tree) add(segs []string, method string) {
	if len(segs) == 0 {
		if t.methods == nil {
			t.methods = map[string]bool{}
		}
		t.methods[method] = true
		return
	}
	if t.children == nil {
		t.children = map[string]*tree{}
	}
	next := t.children[segs[0]]
	if next == nil {
		next = &tree{}
		t.children[segs[0]] = next
	}
	next.add(segs[1:], method)
}

// merge makes one {name} of siblings that have the same routes below them, where there are enough; never of
// first segments, which name parts of an API. said hears of each place.
func (t *tree) merge(at []string, said func(where string, values []string)) {
	for name, c := range t.children {
		c.merge(append(slices.Clone(at), name), said)
	}
	if len(at) == 0 {
		return
	}
	alike := map[string][]string{}
	for name, c := range t.children {
		if name != "" && name != "{id}" && name != "{name}" {
			alike[c.shape()] = append(alike[c.shape()], name)
		}
	}
	for _, shape := range slices.Sorted(maps.Keys(alike)) {
		names := alike[shape]
		if len(names) < minSiblings || t.children["{name}"] != nil {
			continue
		}
		t.children["{name}"] = t.children[names[0]]
		for _, n := range names {
			delete(t.children, n)
		}
		said("/"+strings.Join(append(slices.Clone(at), "{name}"), "/"), names)
	}
	// Where a name may stand, an id may: two wildcards of one place would be one in the policy anyway.
	if id, name := t.children["{id}"], t.children["{name}"]; id != nil && name != nil && id.shape() == name.shape() {
		delete(t.children, "{id}")
	}
}

// shape is equal for trees with the same routes.
func (t *tree) shape() string {
	var b strings.Builder
	for _, m := range slices.Sorted(maps.Keys(t.methods)) {
		b.WriteString(m + ",")
	}
	for _, name := range slices.Sorted(maps.Keys(t.children)) {
		b.WriteString("(" + name + " " + t.children[name].shape() + ")")
	}
	return b.String()
}

func (t *tree) routes(at []string) []route {
	var out []route
	if len(t.methods) > 0 {
		out = append(out, route{"/" + strings.Join(at, "/"), list(t.methods)})
	}
	for _, name := range slices.Sorted(maps.Keys(t.children)) {
		out = append(out, t.children[name].routes(append(slices.Clone(at), name))...)
	}
	return out
}

// wide is the routes as "**" below each first segment.
func (t *tree) wide() []route {
	if len(t.children) > maxRoutes {
		all := map[string]bool{}
		t.collect(all)
		return []route{{"/**", list(all)}}
	}
	var out []route
	for _, name := range slices.Sorted(maps.Keys(t.children)) {
		all := map[string]bool{}
		t.children[name].collect(all)
		pattern := "/" + name + "/**"
		if name == "" {
			pattern = "/"
		}
		out = append(out, route{pattern, list(all)})
	}
	return out
}

func (t *tree) collect(into map[string]bool) {
	maps.Copy(into, t.methods)
	for _, c := range t.children {
		c.collect(into)
	}
}

// list sorts methods. HEAD goes without saying where GET is granted (RFC 9110 §9.3.2).
func list(methods map[string]bool) []string {
	out := slices.Sorted(maps.Keys(methods))
	if methods["GET"] {
		out = slices.DeleteFunc(out, func(m string) bool { return m == "HEAD" })
	}
	return out
}
