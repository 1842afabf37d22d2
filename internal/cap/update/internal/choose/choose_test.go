package choose

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/cap/update/internal/seen"
	"github.com/wardhq/ward/internal/finding"
)

func day(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }

// part has releases "version@day", seen on that day; "!" after it retracts, "?" deprecates.
func part(ecosystem, name, version string, releases ...string) Part {
	p := Part{Package: finding.Package{Ecosystem: ecosystem, Name: name, Version: version, Direct: true, Location: finding.Location{Path: "go.mod"}}, Since: map[string]seen.Since{}}
	for _, r := range releases {
		v, when, _ := strings.Cut(r, "@")
		var n int
		_, _ = fmt.Sscanf(when, "%d", &n)
		x := registry.Release{Version: v, Published: day(n)}
		if strings.HasSuffix(when, "!") {
			x.Retracted = "bad"
		}
		if strings.HasSuffix(when, "?") {
			x.Deprecated = "old"
		}
		p.Releases = append(p.Releases, x)
		p.Since[v] = seen.Since{Time: day(n)}
	}
	return p
}

func (p Part) with(id string, fixed ...string) Part {
	p.Findings = append(p.Findings, finding.Finding{ID: id, Kind: finding.Dependency, Tool: "ward", Fixed: fixed})
	return p
}

func (p Part) asked(asks ...Ask) Part {
	p.Direct, p.Asks = false, asks
	return p
}

// told is a choice in short: "risk: name from>to how [mends]", then "held name: reason".
func told(c Choice) []string {
	out := []string{}
	for _, g := range c.Groups {
		s := g.Risk.String() + ":"
		for _, ch := range g.Changes {
			s += fmt.Sprintf(" %s %s>%s %s%v", ch.Name, ch.From, ch.To, ch.How, ch.Mends)
			if ch.Waived {
				s += " waived"
			}
		}
		out = append(out, s)
	}
	for _, h := range c.Held {
		out = append(out, fmt.Sprintf("held %s: %s", h.Name, h.Reason))
	}
	return out
}

func TestSmallestSafeChangeIsChosen(t *testing.T) {
	for name, c := range map[string]struct {
		part Part
		want string
	}{
		"lowest fixed version":                   {part(Go, "m", "v1.0.0", "v1.0.0@1", "v1.0.1@2", "v1.0.2@3", "v1.1.0@4").with("A", "1.0.1"), "security patch: m v1.0.0>v1.0.1 raise[A]"},
		"lowest that clears all":                 {part(Go, "m", "v1.0.0", "v1.0.0@1", "v1.0.1@2", "v1.0.2@3").with("A", "1.0.1").with("B", "1.0.2"), "security patch: m v1.0.0>v1.0.2 raise[A B]"},
		"the fix itself wasn't released":         {part(Go, "m", "v1.0.0", "v1.0.0@1", "v1.0.2@3").with("A", "1.0.1"), "security patch: m v1.0.0>v1.0.2 raise[A]"},
		"not into another affected line":         {part(Go, "m", "v1.0.0", "v1.0.0@1", "v1.5.1@2", "v1.6.2@3").with("A", "1.4.9", "1.6.2"), "minor: m v1.0.0>v1.6.2 raise[A]"},
		"not the retracted":                      {part(Go, "m", "v1.0.0", "v1.0.0@1", "v1.0.1@2!", "v1.0.2@3").with("A", "1.0.1"), "security patch: m v1.0.0>v1.0.2 raise[A]"},
		"not the deprecated":                     {part(NPM, "m", "1.0.0", "1.0.0@1", "1.0.1@2?", "1.0.2@3").with("A", "1.0.1"), "security patch: m 1.0.0>1.0.2 raise[A]"},
		"deprecated as the one in use":           {part(NPM, "m", "1.0.0", "1.0.0@1?", "1.0.1@2?").with("A", "1.0.1"), "security patch: m 1.0.0>1.0.1 raise[A]"},
		"no pre-release":                         {part(Go, "m", "v1.0.0", "v1.0.0@1", "v1.0.1-rc.1@2").with("A", "1.0.1-rc.1"), "held m: v1.0.1-rc.1 would clear it, but it is a pre-release"},
		"a pre-release after one":                {part(Go, "m", "v1.0.0-rc.1", "v1.0.0-rc.1@1", "v1.0.0-rc.2@2").with("A", "1.0.0-rc.2"), "security patch: m v1.0.0-rc.1>v1.0.0-rc.2 raise[A]"},
		"a release after a pseudo-version":       {part(Go, "m", "v0.0.0-20250101000000-0123456789ab", "v0.0.0-20250101000000-0123456789ab@1", "v0.1.0-rc.1@2", "v0.1.0@2").with("A", "0.1.0"), "minor: m v0.0.0-20250101000000-0123456789ab>v0.1.0 raise[A]"},
		"never one released before":              {part(NPM, "m", "1.0.0", "1.0.0@5", "1.0.1@4").with("A", "1.0.1"), "held m: 1.0.1 would clear it, but it was released before the version in use"},
		"unknown date of the version in use":     {part(NPM, "m", "1.0.0", "1.0.1@4").with("A", "1.0.1"), "held m: it isn't known when the version in use was released"},
		"no leap where a smaller step clears":    {part(NPM, "m", "1.0.0", "1.0.0@1", "2.0.0@2", "1.9.0@3").with("A", "1.9.0", "2.0.0"), "minor: m 1.0.0>1.9.0 raise[A]"},
		"a leap where nothing else does":         {part(NPM, "m", "1.0.0", "1.0.0@1", "1.9.0@2", "2.0.0@2").with("A", "2.0.0"), "major: m 1.0.0>2.0.0 raise[A]"},
		"npm's minor below 1 is a leap":          {part(NPM, "m", "0.1.0", "0.1.0@1", "0.2.0@2").with("A", "0.2.0"), "major: m 0.1.0>0.2.0 raise[A]"},
		"a version that can't be ordered":        {part(NPM, "m", "next", "1.0.0@1").with("A", "1.0.0"), `held m: its version "next" can't be ordered`},
		"nobody knows a fix":                     {part(NPM, "m", "1.0.0", "1.0.0@1", "1.0.1@2").with("A"), "held m: no version that clears it is known"},
		"another ecosystem":                      {part("PyPI", "m", "1.0.0", "1.0.0@1").with("A", "1.0.1"), "held m: updates of PyPI aren't made yet: by hand, to 1.0.1: raise m"},
		"the standard library":                   {part(Go, "stdlib", "1.24.0").with("A", "1.24.1"), "held stdlib: the standard library comes with Go itself: raise the toolchain"},
		"young, and nobody knows its powers":     {part(Go, "m", "v1.0.0", "v1.0.0@1", "v1.0.1@19").with("A", "1.0.1"), "held m: v1.0.1 would clear it, but it hasn't been there for 3 days, and what it can do isn't known"},
		"young, and no advisory names it":        {part(Go, "m", "v1.0.0", "v1.0.0@1", "v1.0.2@19").with("A", "1.0.1"), "held m: v1.0.2 would clear it, but it hasn't been there for 3 days"},
		"an older one before the young":          {part(Go, "m", "v1.0.0", "v1.0.0@1", "v1.0.1@19", "v1.0.2@10").with("A", "1.0.1"), "security patch: m v1.0.0>v1.0.2 raise[A]"},
		"from the future":                        {part(Go, "m", "v1.0.0", "v1.0.0@1", "v1.0.1@30").with("A", "1.0.1"), "held m: v1.0.1 would clear it, but it hasn't been there for 3 days; when it came isn't known"},
		"transitive, within the range":           {part(NPM, "m", "1.0.0", "1.0.0@1", "1.0.1@2").with("A", "1.0.1").asked(Ask{"p", "1.0.0", "^1.0.0"}), "security patch: m 1.0.0>1.0.1 lock[A]"},
		"transitive, parent unknown: overridden": {part(NPM, "m", "1.0.0", "1.0.0@1", "1.0.1@2").with("A", "1.0.1").asked(Ask{"p", "1.0.0", "1.0.0"}), "security patch: m 1.0.0>1.0.1 override[A]"},
		"transitive, asked for by address":       {part(NPM, "m", "1.0.0", "1.0.0@1", "1.0.1@2").with("A", "1.0.1").asked(Ask{"p", "1.0.0", "git+ssh://x"}), `held m: p asks for "git+ssh://x", which is no range of versions`},
		"transitive, nobody asks":                {part(NPM, "m", "1.0.0", "1.0.0@1", "1.0.1@2").with("A", "1.0.1").asked(), "held m: it isn't known who asks for it"},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff([]string{c.want}, told(Choose([]Part{c.part}, Policy{Now: day(20)}))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSecurityFixSkipsTheWaitOnlyUnderBothConditions(t *testing.T) {
	young := part(Go, "m", "v1.0.0", "v1.0.0@1", "v1.0.1@19")
	const taken = "security patch: m v1.0.0>v1.0.1 raise[A] waived"
	const held = "held m: v1.0.1 would clear it, but it hasn't been there for 3 days"
	nothing := func(string, string, string, string) ([]string, error) { return nil, nil }
	other, unsure := young.with("A", "1.0.1"), young.with("A", "1.0.1")
	other.Findings[0].Tool = "publisher"
	unsure.Findings[0].Unsure = "the version can't be ordered"
	for name, c := range map[string]struct {
		part  Part
		grown func(string, string, string, string) ([]string, error)
		want  string
	}{
		"named, and not grown": {young.with("A", "1.0.1"), nothing, taken},
		"not named":            {young.with("A", "1.0.0-fix"), nothing, held},
		"grown":                {young.with("A", "1.0.1"), func(string, string, string, string) ([]string, error) { return []string{"opens connections"}, nil }, held + ", and it can do more than the version in use: opens connections"},
		"nobody knows":         {young.with("A", "1.0.1"), func(string, string, string, string) ([]string, error) { return nil, errors.New("gone") }, held + ", and what it can do isn't known: gone"},
		"its publisher's word": {other, nothing, held},
		"unsure":               {unsure, nothing, held},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff([]string{c.want}, told(Choose([]Part{c.part}, Policy{Now: day(20), Grown: c.grown}))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParentIsRaisedBeforeItIsOverridden(t *testing.T) {
	parent := part(NPM, "p", "1.0.0", "1.0.0@1", "1.1.0@2", "1.2.0@3", "2.0.0@4")
	for i, asks := range []string{"1.0.0", "1.0.0", "~1.0.1", "1.0.1"} {
		parent.Releases[i].Requires = map[string]string{"m": asks}
	}
	child := part(NPM, "m", "1.0.0", "1.0.0@1", "1.0.1@2").with("A", "1.0.1").asked(Ask{"p", "1.0.0", "1.0.0"})
	got := Choose([]Part{parent, child}, Policy{Now: day(20)})
	if d := cmp.Diff([]string{"minor: p 1.0.0>1.2.0 raise[A]"}, told(got)); d != "" {
		t.Error(d)
	}
	if got.Groups[0].Changes[0].For != "m" {
		t.Errorf("%+v", got)
	}
	parent.Releases = parent.Releases[:2]
	if d := cmp.Diff([]string{"security patch: m 1.0.0>1.0.1 override[A]"}, told(Choose([]Part{parent, child}, Policy{Now: day(20)}))); d != "" {
		t.Error(d)
	}
}

func TestWhatIsntUpdatedHasACommand(t *testing.T) {
	for file, want := range map[string]string{
		"Cargo.lock":     "by hand, to 1.0.1: cargo update --precise 1.0.1 m@1.0.0",
		"a/Gemfile.lock": "by hand, to 1.0.1: bundle lock --update m --conservative",
		"composer.lock":  "by hand, to 1.0.1: composer update m --with m:1.0.1 --no-install --no-scripts --no-plugins",
	} {
		p := part("x", "m", "1.0.0").with("A", "1.0.1")
		p.Location.Path = file
		if got := byHand(&p); got != want {
			t.Errorf("%s: %s", file, got)
		}
	}
	several := part("x", "m", "1.0.0").with("A", "1.0.1", "2.0.1")
	several.Location.Path = "uv.lock"
	if got := byHand(&several); got != "by hand, to 1.0.1 or 2.0.1: uv lock --upgrade-package m==VERSION" {
		t.Error(got)
	}
	for _, evil := range []string{"m; rm -rf /", "$(x)", "-x", "a\nb", "`x`"} {
		p := part("x", evil, "1.0.0").with("A", "1.0.1")
		p.Location.Path = "uv.lock"
		if got := byHand(&p); got != "raise it by hand" {
			t.Error(got)
		}
	}
}

// TestAParentIsRaisedFarEnough: as express is, which asks for weak parts by exact versions, and for others that do the same.
func TestAParentIsRaisedFarEnough(t *testing.T) {
	requires := func(p Part, all ...map[string]string) Part {
		for i := range all {
			p.Releases[i].Requires = all[i]
		}
		return p
	}
	weak := part(NPM, "m", "1.0.0", "1.0.0@1", "1.0.1@2", "1.2.0@3").with("A", "1.0.1")
	weak = weak.asked(Ask{"app", "1.0.0", "1.0.0"}, Ask{"mid", "1.0.0", "1.0.0"})
	mid := part(NPM, "mid", "1.0.0", "1.0.0@1", "1.1.0@4")
	mid.Direct, mid.Asks = false, []Ask{{"app", "1.0.0", "1.0.0"}}
	mid = requires(mid, map[string]string{"m": "1.0.0"}, map[string]string{"m": "1.2.0"})
	app := part(NPM, "app", "1.0.0", "1.0.0@1", "1.1.0@5", "1.2.0@6")
	app.Asks = []Ask{{Range: "^1.0.0"}}
	exact := requires(app, map[string]string{"m": "1.0.0", "mid": "1.0.0"}, map[string]string{"m": "1.2.0", "mid": "1.0.0"}, map[string]string{"m": "1.2.0", "mid": "1.1.0"})
	for name, c := range map[string]struct {
		change func(app, mid, weak *Part)
		want   string
	}{
		"past the lowest mended version": {nil, "minor: app 1.0.0>1.2.0 raise[A]"},
		"one between, within what is asked for": {func(app, mid, weak *Part) {
			mid.Asks[0].Range, weak.Asks = "^1.0.0", weak.Asks[1:]
		}, "minor: mid 1.0.0>1.1.0 lock[A]"},
		"who asks isn't known": {func(_, mid, _ *Part) { mid.Name = "other" }, "security patch: m 1.0.0>1.0.1 override[A]"},
		"nobody goes further":  {func(app, _, _ *Part) { app.Releases = app.Releases[:2] }, "security patch: m 1.0.0>1.0.1 override[A]"},
		"too young":            {func(app, _, _ *Part) { app.Since["1.2.0"] = seen.Since{Time: day(19)} }, "security patch: m 1.0.0>1.0.1 override[A]"},
		"a circle":             {func(_, mid, _ *Part) { mid.Asks = []Ask{{"mid", "1.0.0", "1.0.0"}} }, "security patch: m 1.0.0>1.0.1 override[A]"},
	} {
		t.Run(name, func(t *testing.T) {
			a, m, w := exact, mid, weak
			a.Releases, a.Since, m.Asks, w.Asks = slices.Clone(a.Releases), maps.Clone(a.Since), slices.Clone(m.Asks), slices.Clone(w.Asks)
			if c.change != nil {
				c.change(&a, &m, &w)
			}
			if d := cmp.Diff([]string{c.want}, told(Choose([]Part{a, m, w}, Policy{Now: day(20)}))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestGroupsIgnoreAndLimit(t *testing.T) {
	parts := []Part{
		part(Go, "a", "v1.0.0", "v1.0.0@1", "v1.0.1@2").with("A", "1.0.1"),
		part(Go, "b", "v1.0.0", "v1.0.0@1", "v1.0.1@2").with("B", "1.0.1"),
		part(Go, "c", "v1.0.0", "v1.0.0@1", "v1.0.1@2", "v1.0.2@19"),
		part(Go, "d", "v1.0.0", "v1.0.0@1", "v1.3.0@2", "v2.0.0+incompatible@3"),
		part(Go, "e", "v1.0.0", "v1.0.0@1", "v1.0.1@19"),
		part(Go, "f", "v1.0.0", "v1.0.0@1", "v1.0.1@2"),
		part(Go, "g", "v1.0.0", "v1.0.0@1", "v1.0.1@2"),
	}
	p := Policy{Now: day(20), All: true, Ignore: []Ignore{{"f", "we patched it", time.Time{}}, {"g", "for a while", day(19)}}}
	want := []string{
		"security patch: a v1.0.0>v1.0.1 raise[A] b v1.0.0>v1.0.1 raise[B]",
		"patch: c v1.0.0>v1.0.1 raise[] g v1.0.0>v1.0.1 raise[]",
		"minor: d v1.0.0>v1.3.0 raise[]",
		"held e: v1.0.1: it hasn't been there for 3 days",
		"held f: ignored: we patched it",
	}
	if d := cmp.Diff(want, told(Choose(parts, p))); d != "" {
		t.Error(d)
	}
	p.Limit, p.Open = 3, 2
	got := told(Choose(parts, p))
	if d := cmp.Diff(append(want[:1:1], "held e: v1.0.1: it hasn't been there for 3 days", "held f: ignored: we patched it",
		"held c: enough proposals are open already (update: limit)", "held g: enough proposals are open already (update: limit)", "held d: enough proposals are open already (update: limit)"), got); d != "" {
		t.Error(d)
	}
	p.Limit, p.Major = 0, true
	if got := told(Choose(parts[3:4], p)); len(got) != 1 || got[0] != "major: d v1.0.0>v2.0.0+incompatible raise[]" {
		t.Error(got)
	}
	for i := range parts[:2] {
		parts[i].Findings[0].Suppressed = &finding.Suppression{By: "vex"}
	}
	if got := Choose(parts[:2], Policy{Now: day(20)}); len(got.Groups)+len(got.Held) != 0 {
		t.Errorf("%+v", got)
	}
}
