// Package callgraph tells whether the weak code of a part can run at all: for Go through the call graph of golang.org/x/vuln (govulncheck), from
// source or from a program's symbols; for npm by whether anything names it.
//
// Guarantee: "not called" is only said where the analysis was whole: each doubt (code that doesn't load, C, a stripped program, an advisory that
// names no functions, another version than the one analysed) leaves "unknown". It has no network, runs nothing of the project's code, and loads it in a
// gobox.Box, where there is one.
// Not guaranteed: calls through reflection, linkname, assembly or plugins, of other platforms and build tags, and of tests aren't seen, as
// govulncheck doesn't see them.
package callgraph

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

const (
	stdlib   = "stdlib"
	maxTrace = 64 // frames
)

// Calls are what the analysis of modules and programs said.
type Calls struct {
	// Problems are the modules and programs that couldn't be analysed; what is found in them stays unknown.
	Problems []finding.Problem
	places   map[string]*place
}

// place is one analysed module (by its folder) or program (by its path).
type place struct {
	whole   bool              // nothing was left out: what isn't there isn't called
	modules map[string]string // to versions: those with code in the program, replaced ones under the name of what replaces them
	said    map[string]map[string]verdict
}

// verdict is about one advisory and one module.
type verdict struct {
	reach   finding.Reach
	version string
	trace   []string
}

// Mark sets Called and Trace of the findings about Go modules in the places that were analysed, and leaves all others as they are.
//
// It maps govulncheck's levels so: a weak function that is reached is called. A weak package that is imported, with none of the named functions
// reached, isn't called; where the advisory names no functions it is unknown. A module of which no weak package is imported isn't called.
func (c Calls) Mark(findings []finding.Finding) {
	for i := range findings {
		f := &findings[i]
		if f.Kind != finding.Dependency || f.Package == nil || f.Package.Ecosystem != "Go" {
			continue
		}
		at := c.places[f.Location.Path]
		if at == nil {
			at = c.places[path.Dir(f.Location.Path)]
		}
		if at != nil {
			v := at.judge(f)
			f.Called, f.Trace = v.reach, v.trace
		}
	}
}

// judge joins what was said of the advisories that are one finding: one that is called is enough, and all must be known as not called.
func (p *place) judge(f *finding.Finding) verdict {
	var out verdict
	known, silent := 0, 0
	for _, id := range append([]string{f.ID}, f.Aliases...) {
		v, ok := p.said[id][f.Package.Name]
		switch {
		case ok && v.reach == finding.Called:
			return v
		case ok && v.reach == finding.NotCalled && sameVersion(v.version, f.Package.Version):
			known++
		case ok || strings.HasPrefix(id, "GO-"): // without a word of the analysis the Go team's advisory may hold all the same
			silent++
		}
	}
	_, there := p.modules[f.Package.Name]
	switch {
	case !p.whole:
	case !there:
		out.reach = finding.NotCalled // no code of it is in the program
	case known > 0 && silent == 0:
		out.reach = finding.NotCalled
	}
	return out
}

// sameVersion compares versions of modules ("v1.2.3") and of the standard library ("1.26.3", "go1.26.3").
func sameVersion(a, b string) bool {
	bare := func(s string) string { return strings.TrimPrefix(strings.TrimPrefix(s, "go"), "v") }
	return a != "" && bare(a) == bare(b)
}

// take adds one finding of govulncheck. Several of one advisory come from the module to the functions: what is reached wins, by the shortest way.
func (p *place) take(s *said, named map[string]bool) {
	if len(s.Trace) == 0 {
		return
	}
	sink := s.Trace[0]
	v := verdict{version: sink.Version, reach: finding.NotCalled}
	switch {
	case sink.Function != "":
		v.reach, v.trace = finding.Called, traceOf(s.Trace)
	case sink.Package != "" && !named[s.OSV+" "+sink.Package]:
		v.reach = finding.ReachUnknown
	}
	if p.said[s.OSV] == nil {
		p.said[s.OSV] = map[string]verdict{}
	}
	if old, ok := p.said[s.OSV][sink.Module]; !ok || v.outweighs(old) {
		p.said[s.OSV][sink.Module] = v
	}
}

func (v verdict) outweighs(old verdict) bool {
	if v.reach != old.reach {
		return v.reach == finding.Called || old.reach == finding.NotCalled
	}
	if len(v.trace) != len(old.trace) {
		return len(v.trace) < len(old.trace)
	}
	return slices.Compare(v.trace, old.trace) < 0
}

// traceOf writes frames from the program's code to the weak function, where govulncheck has them the other way round.
func traceOf(frames []frame) []string {
	var out []string
	for i, f := range slices.Backward(frames) {
		name := f.Package + "."
		if f.Receiver != "" {
			name += strings.TrimPrefix(f.Receiver, "*") + "."
		}
		name += f.Function
		if f.Position.Line > 0 && f.Position.Filename != "" && i > 0 {
			name += fmt.Sprintf(" (%s:%d)", f.Position.Filename, f.Position.Line)
		}
		out = append(out, name)
	}
	if len(out) > maxTrace {
		out = append(out[:maxTrace/2], out[len(out)-maxTrace/2:]...)
	}
	return out
}
