package choose

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/wardhq/ward/internal/base/fault"
)

// Range is what an npm package asks for: any of its sets must hold, each with all of its bounds
// (https://github.com/npm/node-semver#range-grammar).
type Range struct{ sets [][]bound }

// bound is "op version", where op is one of < <= > >= =.
type bound struct {
	op      string
	version string // with a leading "v", as golang.org/x/mod/semver writes it
}

// maxRange bounds a range in bytes.
const maxRange = 4096

// ParseRange reads a range. Tags, addresses and aliases are none, and an error.
func ParseRange(s string) (Range, error) {
	if len(s) > maxRange {
		return Range{}, fault.New(fault.Exhausted, "the range of an npm package is too long")
	}
	var r Range
	for set := range strings.SplitSeq(s, "||") {
		bounds, err := parseSet(strings.Join(strings.Fields(set), " "))
		if err != nil {
			return Range{}, err
		}
		r.sets = append(r.sets, bounds)
	}
	return r, nil
}

func parseSet(s string) ([]bound, error) {
	if low, high, ok := strings.Cut(s, " - "); ok {
		a, err := parsePartial(low)
		if err != nil {
			return nil, err
		}
		b, err := parsePartial(high)
		if err != nil {
			return nil, err
		}
		return append(a.comparator(">="), b.comparator("<=")...), nil
	}
	out := []bound{}
	op := ""
	for word := range strings.FieldsSeq(s) {
		rest := strings.TrimLeft(word, "<>=~^")
		if o := word[:len(word)-len(rest)]; o != "" {
			if op != "" {
				return nil, unreadable(s)
			}
			op = o
		}
		if rest == "" {
			continue // ">= 1.2"
		}
		p, err := parsePartial(rest)
		if err != nil {
			return nil, err
		}
		bounds := p.comparator(op)
		if bounds == nil {
			return nil, unreadable(s)
		}
		out, op = append(out, bounds...), ""
	}
	if op != "" {
		return nil, unreadable(s)
	}
	return out, nil
}

func unreadable(s string) error {
	return fault.New(fault.Invalid, fmt.Sprintf("%.80q is no range of versions", s))
}

// partial is a version whose last numbers may be missing: n counts those that are there.
type partial struct {
	numbers [3]uint64
	n       int
	pre     string // with its "-"
}

func parsePartial(s string) (partial, error) {
	var p partial
	core := strings.TrimLeft(s, "v=")
	core, _, _ = strings.Cut(core, "+")
	core, pre, hasPre := strings.Cut(core, "-")
	fields := strings.Split(core, ".")
	if len(fields) > 3 {
		return p, unreadable(s)
	}
	for i, f := range fields {
		if f == "x" || f == "X" || f == "*" {
			break
		}
		n, err := strconv.ParseUint(f, 10, 53) // node's largest exact integer
		if err != nil || len(f) > 1 && f[0] == '0' {
			return p, unreadable(s)
		}
		p.numbers[i], p.n = n, i+1
	}
	if hasPre && p.n == 3 {
		p.pre = "-" + pre
	}
	if !semver.IsValid(p.version()) {
		return p, unreadable(s)
	}
	return p, nil
}

func (p partial) version() string { return version(p.numbers) + p.pre }

func version(n [3]uint64) string { return fmt.Sprintf("v%d.%d.%d", n[0], n[1], n[2]) }

// lowest is a bound below the pre-releases of a version.
func lowest(n [3]uint64) string { return version(n) + "-0" }

// next counts up the i-th number.
func (p partial) next(i int) string {
	n := p.numbers
	n[i]++
	for j := i + 1; j < 3; j++ {
		n[j] = 0
	}
	return lowest(n)
}

// comparator turns an operator and a version into bounds; nil for an operator that there isn't.
func (p partial) comparator(op string) []bound {
	from := bound{">=", p.version()}
	any := p.n == 0
	switch op {
	case "", "=":
		if p.n == 3 {
			return []bound{{"=", p.version()}}
		}
		if any {
			return []bound{{">=", "v0.0.0"}}
		}
		return []bound{from, {"<", p.next(p.n - 1)}}
	case "~", "~>":
		if any {
			return []bound{{">=", "v0.0.0"}}
		}
		return []bound{from, {"<", p.next(min(p.n, 2) - 1)}}
	case "^":
		if any {
			return []bound{{">=", "v0.0.0"}}
		}
		i := 0
		for i < p.n-1 && p.numbers[i] == 0 {
			i++
		}
		return []bound{from, {"<", p.next(i)}}
	case ">=":
		return []bound{from}
	case "<":
		if p.n < 3 {
			return []bound{{"<", lowest(p.numbers)}}
		}
		return []bound{{"<", p.version()}}
	case ">":
		switch {
		case any:
			return []bound{{"<", "v0.0.0-0"}}
		case p.n < 3:
			return []bound{{">=", strings.TrimSuffix(p.next(p.n-1), "-0")}}
		}
		return []bound{{">", p.version()}}
	case "<=":
		switch {
		case any:
			return []bound{{">=", "v0.0.0"}}
		case p.n < 3:
			return []bound{{"<", p.next(p.n - 1)}}
		}
		return []bound{{"<=", p.version()}}
	}
	return nil
}

// Admits tells whether a version, without "v", is in the range. A pre-release is only where the range names one of the same version.
func (r Range) Admits(v string) bool {
	v = "v" + v
	if !semver.IsValid(v) {
		return false
	}
	for _, set := range r.sets {
		if admits(set, v) {
			return true
		}
	}
	return false
}

func admits(set []bound, v string) bool {
	named := semver.Prerelease(v) == ""
	for _, b := range set {
		c := semver.Compare(v, b.version)
		ok := map[string]bool{"<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0, "=": c == 0}[b.op]
		if !ok {
			return false
		}
		if semver.Prerelease(b.version) != "" && triple(b.version) == triple(v) {
			named = true
		}
	}
	return named
}

func triple(v string) string {
	v, _, _ = strings.Cut(semver.Canonical(v), "-")
	return v
}
