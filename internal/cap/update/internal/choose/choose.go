// Package choose decides which versions to change to: the smallest set of changes that clears findings, or brings things up to date.
//
// Guarantee: equal questions have equal answers; nothing that was retracted, deprecated, is a pre-release, is younger than the waiting time or
// was released before the version in use is ever chosen; a security fix skips the waiting time only if an advisory that its publisher
// didn't write names this very version, and it can do no more than the version in use; what isn't chosen is held, with the reason.
// Not guaranteed: that a change works; the trial tells.
package choose

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/wardhq/ward/internal/cap/update/internal/ordering"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/cap/update/internal/seen"
	"github.com/wardhq/ward/internal/finding"
)

// Wait is how long a release must have been there, if nothing else is said.
const Wait = 72 * time.Hour

// Ecosystems whose versions can be ordered here.
const (
	Go     = "Go"
	NPM    = "npm"
	Crates = "crates.io"
	PyPI   = ordering.PyPI
	// Packagist is Composer's.
	Packagist = ordering.Packagist
)

// Updated tells whether parts of an ecosystem that a file names are updated.
func Updated(ecosystem, file string) bool {
	switch ecosystem {
	case Go, NPM, Crates:
		return true
	case Packagist:
		return path.Base(file) == "composer.lock"
	case PyPI: // pip's own files; lock files of other tools are theirs
		return path.Ext(file) == ".txt"
	}
	return false
}

// Part is one part in use, with what is known of it.
type Part struct {
	finding.Package
	Releases []registry.Release    // from the version in use on, at least, lowest first
	Since    map[string]seen.Since // by version
	Findings []finding.Finding     // of this part at this place
	Asks     []Ask                 // npm: who asks for it, and how
	Closed   string                // why nobody can tell of its releases; "" if somebody could
}

// Ask is one part that asks for another.
type Ask struct {
	Name, Version string // "" for the project itself
	Range         string
}

// Policy says what is wanted.
type Policy struct {
	Now   time.Time
	Wait  time.Duration // 0 for Wait
	All   bool          // bring up to date what has no finding too
	Major bool          // leap to another major version where nothing needs it
	// Limit is how many proposals may be open, Open how many are; 0 for no limit.
	Limit, Open int
	Ignore      []Ignore
	// Grown tells what a version can do that the one in use can't, in words. nil, or an error: nobody knows, and the release waits.
	Grown func(ecosystem, name, from, to string) ([]string, error)
}

// Ignore leaves a part alone.
type Ignore struct {
	Name, Reason string
	Until        time.Time // the end of it; zero for none
}

// How a change is made.
type How string

// The ways, the least intrusive first.
const (
	Lock     How = "lock"     // npm: within what is asked for: the lock file alone
	Raise    How = "raise"    // the manifest asks for the new version
	Override How = "override" // npm: against what its parents ask for; the last resort
	Pin      How = "pin"      // images and actions: what a tag stands for is written beside it
)

// Risk is how much a change may break.
type Risk uint8

// The risks, by semantic versioning (https://semver.org).
const (
	RiskUnknown Risk = iota
	Security         // a patch that clears a finding
	Patch
	Minor
	Major
)

func (r Risk) String() string {
	return [...]string{"unknown", "security patch", "patch", "minor", "major"}[min(int(r), 4)]
}

// MarshalText writes the words.
func (r Risk) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Change is one part's new version.
type Change struct {
	Ecosystem string   `json:"ecosystem"`
	Name      string   `json:"name"`
	From      string   `json:"from"`
	To        string   `json:"to"`
	Path      string   `json:"path"` // of the manifest or lock file
	Direct    bool     `json:"direct,omitempty"`
	Dev       bool     `json:"dev,omitempty"`
	How       How      `json:"how"`
	Risk      Risk     `json:"risk"`
	Mends     []string `json:"mends,omitempty"` // the advisories that it clears
	For       string   `json:"for,omitempty"`   // the part whose finding it clears, if that is another
	Waived    bool     `json:"waived,omitempty"`
	// Since is when it was first seen; Claimed says that this is its publisher's word.
	Since   time.Time `json:"since,omitzero"`
	Claimed bool      `json:"claimed,omitempty"`
}

// Group is what is tried and proposed together.
type Group struct {
	Risk     Risk     `json:"risk"`
	Security bool     `json:"security,omitempty"` // it clears findings
	Changes  []Change `json:"changes"`
}

// Held is what isn't changed.
type Held struct {
	Ecosystem string   `json:"ecosystem"`
	Name      string   `json:"name"`
	Version   string   `json:"version"`
	To        string   `json:"to,omitempty"`
	Path      string   `json:"path"`
	Findings  []string `json:"findings,omitempty"`
	Reason    string   `json:"reason"`
}

// Choice is the outcome: groups in the order in which they should be proposed.
type Choice struct {
	Groups []Group `json:"groups"`
	Held   []Held  `json:"held,omitempty"`
}

// chooser is one choice under way.
type chooser struct {
	Policy
	parts   []Part
	changes []Change
	held    []Held
}

// Choose makes the choice.
func Choose(parts []Part, p Policy) Choice {
	if p.Wait == 0 {
		p.Wait = Wait
	}
	c := &chooser{Policy: p, parts: slices.Clone(parts)}
	slices.SortStableFunc(c.parts, func(a, b Part) int {
		return cmp.Or(strings.Compare(a.Location.Path, b.Location.Path), strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
	})
	for i := range c.parts {
		c.part(&c.parts[i])
	}
	c.changes = merge(c.changes)
	out := Choice{Groups: c.groups(), Held: c.held}
	if p.Limit > 0 {
		out.limit(max(p.Limit-p.Open, 0))
	}
	return out
}

func (c *chooser) hold(p *Part, to, reason string, findings []string) {
	c.held = append(c.held, Held{Ecosystem: p.Ecosystem, Name: p.Name, Version: p.Version, To: to, Path: p.Location.Path, Findings: findings, Reason: reason})
}

// part decides about one part.
func (c *chooser) part(p *Part) {
	var open []finding.Finding
	for _, f := range p.Findings {
		if f.Suppressed == nil {
			open = append(open, f)
		}
	}
	if len(open) == 0 && (!c.All || !p.Direct) {
		return
	}
	all := ids(open)
	if i := slices.IndexFunc(c.Ignore, func(i Ignore) bool { return i.Name == p.Name && (i.Until.IsZero() || c.Now.Before(i.Until)) }); i >= 0 {
		c.hold(p, "", "ignored: "+c.Ignore[i].Reason, all)
		return
	}
	if why := c.unfit(p); why != "" {
		c.hold(p, "", why, all)
		return
	}
	if len(open) == 0 {
		c.refresh(p)
		return
	}
	c.mend(p, open)
}

// unfit says why nothing can be decided about a part.
func (c *chooser) unfit(p *Part) string {
	switch {
	case p.Closed != "":
		return p.Closed
	case !Updated(p.Ecosystem, p.Location.Path):
		return "updates of " + p.Ecosystem + " aren't made yet: " + byHand(p)
	case p.Name == "stdlib" && p.Ecosystem == Go:
		return "the standard library comes with Go itself: raise the toolchain"
	case !ordering.Valid(p.Ecosystem, p.Version):
		return fmt.Sprintf("its version %q can't be ordered", p.Version)
	case current(p) == nil:
		return "it isn't known when the version in use was released"
	}
	return ""
}

func current(p *Part) *registry.Release {
	i := slices.IndexFunc(p.Releases, func(r registry.Release) bool { return ordering.Same(p.Ecosystem, r.Version, p.Version) })
	if i < 0 || p.Releases[i].Published.IsZero() {
		return nil
	}
	return &p.Releases[i]
}

// refuse says why a release is never chosen, apart from its age; "" if it may be.
func refuse(p *Part, r *registry.Release) string {
	now := current(p)
	switch {
	case r.Retracted != "":
		return "it was retracted: " + r.Retracted
	case r.Deprecated != "" && now.Deprecated == "":
		return "it is deprecated: " + r.Deprecated
	case ordering.Pre(p.Ecosystem, r.Version) && (!ordering.Pre(p.Ecosystem, p.Version) || p.Ecosystem == Go && module.IsPseudoVersion("v"+strings.TrimPrefix(p.Version, "v"))):
		return "it is a pre-release"
	case r.Published.IsZero():
		return "nobody says when it was released"
	case r.Published.Before(now.Published):
		return "it was released before the version in use"
	}
	return ""
}

// candidates are the releases above the version in use that may be chosen once they are old enough, lowest first; why tells of the rest.
func candidates(p *Part) (fit []registry.Release, why map[string]string) {
	why = map[string]string{}
	for i := range p.Releases {
		r := &p.Releases[i]
		if ordering.Compare(p.Ecosystem, r.Version, p.Version) <= 0 {
			continue
		}
		if reason := refuse(p, r); reason != "" {
			why[r.Version] = reason
			continue
		}
		fit = append(fit, *r)
	}
	slices.SortStableFunc(fit, func(a, b registry.Release) int { return ordering.Compare(p.Ecosystem, a.Version, b.Version) })
	return fit, why
}

// old says why a release isn't old enough; "" if it is. waived tells that the waiting time was skipped for a security fix.
func (c *chooser) old(p *Part, to string, open []finding.Finding) (why string, waived bool) {
	since := p.Since[to]
	if since.Old(c.Now, c.Wait) {
		return "", false
	}
	young := fmt.Sprintf("it hasn't been there for %s", span(c.Wait))
	if since.Time.IsZero() || since.Time.After(c.Now) {
		return young + "; when it came isn't known", false
	}
	if !slices.ContainsFunc(open, func(f finding.Finding) bool { return names(&f, p.Ecosystem, to) }) {
		return young, false
	}
	if c.Grown == nil {
		return young + ", and what it can do isn't known", false
	}
	grown, err := c.Grown(p.Ecosystem, p.Name, p.Version, to)
	switch {
	case err != nil:
		return fmt.Sprintf("%s, and what it can do isn't known: %v", young, err), false
	case len(grown) > 0:
		return young + ", and it can do more than the version in use: " + strings.Join(grown, ", "), false
	}
	return "", true
}

// names tells whether an independent advisory names this very version as the one that mends it.
func names(f *finding.Finding, ecosystem, to string) bool {
	return (f.Kind == finding.Dependency || f.Kind == finding.Malicious) && f.Tool == "ward" && f.Unsure == "" &&
		slices.ContainsFunc(f.Fixed, func(v string) bool { return ordering.Same(ecosystem, v, to) })
}

func span(d time.Duration) string {
	if d >= 24*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}

// mends tells whether a version has what mends a finding. Versions between two mended lines aren't trusted to be in either.
func mends(f *finding.Finding, ecosystem, v string) bool {
	below, above := "", false
	for _, x := range f.Fixed {
		if !ordering.Valid(ecosystem, x) {
			continue
		}
		if ordering.Compare(ecosystem, x, v) <= 0 {
			if below == "" || ordering.Compare(ecosystem, x, below) > 0 {
				below = x
			}
		} else if ordering.Major(ecosystem, x) == ordering.Major(ecosystem, v) {
			above = true
		}
	}
	return below != "" && (!above || ordering.Same(ecosystem, below, v) || ordering.MajorMinor(ecosystem, below) == ordering.MajorMinor(ecosystem, v))
}

// jump is the risk of a change by its numbers. All but Go take the first number that isn't 0 for the major one.
func jump(ecosystem, from, to string) Risk {
	zero := ecosystem != Go && ordering.Major(ecosystem, from) == "v0"
	minor := ordering.MajorMinor(ecosystem, from)
	switch {
	case ordering.Major(ecosystem, from) != ordering.Major(ecosystem, to):
		return Major
	case minor != ordering.MajorMinor(ecosystem, to):
		if zero {
			return Major
		}
		return Minor
	case zero && minor == "v0.0":
		return Major
	}
	return Patch
}

func ids(all []finding.Finding) []string {
	var out []string
	for _, f := range all {
		if !slices.Contains(out, f.ID) {
			out = append(out, f.ID)
		}
	}
	return out
}
