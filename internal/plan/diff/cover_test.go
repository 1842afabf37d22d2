package diff

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// allPaths are all paths of at most four segments over a small alphabet, with and
// without a trailing slash. "f" stands for every segment that no pattern names.
func allPaths() []string {
	out := []string{"/"}
	level := []string{""}
	for range 4 {
		var next []string
		for _, p := range level {
			for _, s := range []string{"a", "b", "f"} {
				next = append(next, p+"/"+s)
			}
		}
		for _, p := range next {
			out = append(out, p, p+"/")
		}
		level = next
	}
	return out
}

// matches is a matcher of its own, by segments.
func matches(p, path []string) bool {
	if len(p) == 1 && p[0] == "**" {
		return true
	}
	if len(p) == 0 || len(path) == 0 {
		return len(p) == len(path)
	}
	if p[0] == "*" && path[0] == "" || p[0] != "*" && p[0] != path[0] {
		return false
	}
	return matches(p[1:], path[1:])
}

func randomPattern(r *rand.Rand) string {
	p := ""
	for range r.IntN(4) {
		p += "/" + []string{"a", "b", "*"}[r.IntN(3)]
	}
	switch {
	case r.IntN(3) == 0:
		return p + "/**"
	case p == "" || r.IntN(3) == 0:
		return p + "/"
	}
	return p
}

// Patterns here have at most three segments before the end, so whether one covers
// others shows on paths of four.
func TestCoveredAgreesWithEveryShortPath(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	var split [][]string
	for _, p := range allPaths() {
		split = append(split, strings.Split(p, "/")[1:])
	}
	yes := 0
	for range 20_000 {
		p := parse(randomPattern(r))
		var qs []pattern
		for range r.IntN(6) {
			qs = append(qs, parse(randomPattern(r)))
		}
		want, common := true, false
		for _, path := range split {
			if !matches(p, path) {
				continue
			}
			in := false
			for _, q := range qs {
				in = in || matches(q, path)
			}
			want = want && in
			common = common || in
		}
		if got := covered(p, qs); got != want {
			t.Fatalf("%q covered by %q: %v, want %v", p, qs, got, want)
		}
		var got bool
		for _, q := range qs {
			got = got || overlaps(p, q)
		}
		if got != common {
			t.Fatalf("%q overlaps %q: %v, want %v", p, qs, got, common)
		}
		if want {
			yes++
		}
	}
	if yes < 1000 {
		t.Errorf("only %d of 20,000 are covered: the patterns no longer test it", yes)
	}
}

func TestCoveredKnowsTheAlgebra(t *testing.T) {
	for _, tt := range []struct {
		p    string
		qs   string
		want bool
	}{
		{"/books/{id}", "/books/**", true},
		{"/books/{id}", "/books/{other}", true},
		{"/books/**", "/books /books/ /books/{x}/**", true},
		{"/books/**", "/books /books/{x}/**", false},
		{"/books/**", "/books/ /books/{x}/**", false},
		{"/**", "/ /{x}/**", true},
		{"/{x}/a", "/b/a /c/a", false},
		{"/a/{x}/c", "/a/b/** /a/{y}/c", true},
		{"/a/", "/a/{x}", false},
		{"/a", "", false},
	} {
		var qs []pattern
		for _, q := range strings.Fields(tt.qs) {
			qs = append(qs, parse(q))
		}
		if got := covered(parse(tt.p), qs); got != tt.want {
			t.Errorf("%s covered by %s: %v", tt.p, tt.qs, got)
		}
	}
}
