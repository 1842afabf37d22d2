package diff

import (
	"slices"
	"strings"
)

// pattern is a path pattern by segments: a literal, one for any single segment,
// or rest, last only, for zero or more.
type pattern []string

const (
	one  = "*"
	rest = "**"
	// fresh stands for a segment that no pattern names. What holds for it
	// holds for every segment that a wildcard may take, because a literal never matches
	// it and the set of segments is without end.
	fresh = "\x00"
)

func parse(p string) pattern {
	segs := strings.Split(strings.TrimPrefix(p, "/"), "/")
	for i, s := range segs {
		if strings.HasPrefix(s, "{") {
			segs[i] = one
		}
	}
	return segs
}

// everything is the pattern of "any", which has even what is no path.
func everything() pattern { return pattern{rest} }

// covered says whether every path of p is a path of one of qs, exactly. The
// work is bounded by the number of segments of all.
//
// It walks p with one symbol a step and keeps what remains of each q
// (Brzozowski's derivatives): for a wildcard of p the symbol is fresh.
func covered(p pattern, qs []pattern) bool {
	for first := true; ; first = false {
		if len(qs) == 0 {
			return false
		}
		// A lone "**" that remains of a q takes whatever p still has.
		if slices.ContainsFunc(qs, func(q pattern) bool { return len(q) == 1 && q[0] == rest }) {
			return true
		}
		if len(p) == 0 {
			return slices.ContainsFunc(qs, accepts)
		}
		if p[0] == rest {
			// Zero segments (but a whole path has at least one), the empty
			// segment of a trailing slash, or a segment and the same again.
			if !first && !slices.ContainsFunc(qs, accepts) {
				return false
			}
			if !slices.ContainsFunc(step(qs, ""), accepts) {
				return false
			}
			qs = step(qs, fresh)
			continue
		}
		symbol := p[0]
		if symbol == one {
			symbol = fresh
		}
		p, qs = p[1:], step(qs, symbol)
	}
}

// accepts says whether q has the empty rest of a path.
func accepts(q pattern) bool { return len(q) == 0 || len(q) == 1 && q[0] == rest }

// step is what remains of each q after one segment.
func step(qs []pattern, symbol string) []pattern {
	var out []pattern
	for _, q := range qs {
		switch {
		case len(q) == 0:
		case q[0] == rest:
			out = append(out, q)
		case q[0] == one && symbol != "", q[0] == symbol:
			out = append(out, q[1:])
		}
	}
	return out
}

// overlaps says whether p and q have a path in common.
func overlaps(p, q pattern) bool {
	switch {
	case len(p) == 0:
		return accepts(q)
	case len(q) == 0:
		return accepts(p)
	case p[0] == rest, q[0] == rest:
		return true // "**" takes all that the other still wants
	case p[0] == q[0],
		p[0] == one && q[0] != "", q[0] == one && p[0] != "":
		return overlaps(p[1:], q[1:])
	}
	return false
}
