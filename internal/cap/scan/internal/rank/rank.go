// Package rank puts findings in the order in which they endanger this system, and says why: how bad the weakness is by itself, whether it
// can run, who can come to it, what would be reached from there, and what stands in between.
//
// Guarantee: the same plan and findings give the same order; what isn't known (severity, calls, exposure) counts as dangerous, never as
// harmless; nothing is left out. Not guaranteed: that the numbers mean more than an order.
package rank

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/plan/reach"
)

// The ratings that a priority falls into, by its lowest value.
const (
	Critical = 80
	High     = 60
	Medium   = 35
	Low      = 1
)

// Rating is the word for a priority.
func Rating(priority int) string {
	switch {
	case priority >= Critical:
		return "critical"
	case priority >= High:
		return "high"
	case priority >= Medium:
		return "medium"
	case priority >= Low:
		return "low"
	}
	return "none"
}

// exposure says how near the outside is to a service.
type exposure uint8

const (
	closed   exposure = iota // no chain of rights leads there
	behind                   // only through another service that was taken over
	signedIn                 // by a route that people must sign in for
	anyone                   // by a route for everybody
)

// place is what the plan says of one service.
type place struct {
	name    string
	source  string // folder of its code, from the root of the scan; "." for the whole tree
	expose  exposure
	door    string   // the widest route from outside, in words
	through []string // for behind: the exposed services that lead there
	reaches []string // services at any hop, the most sensitive first
	highest model.Sensitivity
	data    []string
}

// System is the application that findings are ranked for. It is read only, and safe for concurrent use.
type System struct {
	known  bool
	places []place
}

// Of is the system of a plan. Sources are folders relative to base, which is the folder of ward.yaml as seen from the root of the scan ("."
// where that is the same). A nil plan is a system of which nothing is known: everything counts as open.
func Of(p *plan.Plan, base, today string) *System {
	if p == nil {
		return &System{}
	}
	s := &System{known: true}
	outside := map[string]*plan.Rule{}
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.Caller != plan.Outside || !policy.InForce(r, today) {
			continue
		}
		if old := outside[r.Target]; old == nil || open(r) && !open(old) {
			outside[r.Target] = r
		}
	}
	rows := map[string]reach.Row{}
	for _, row := range reach.Rank(p, today) {
		rows[row.Service] = row
	}
	leads := map[string][]string{}
	for i := range p.Services {
		name := string(p.Services[i].Name)
		pl := place{name: name, source: sourceOf(&p.Services[i], base), highest: rows[name].Highest, data: rows[name].Data}
		report, err := reach.Of(p, today, name)
		if err == nil {
			for _, step := range report.Steps {
				if !step.External {
					pl.reaches = append(pl.reaches, step.Name)
					if outside[name] != nil {
						leads[step.Name] = append(leads[step.Name], name)
					}
				}
			}
		}
		pl.highest = max(pl.highest, p.Services[i].Sensitivity)
		if r := outside[name]; r != nil {
			pl.expose, pl.door = signedIn, r.Grant.String()
			if open(r) {
				pl.expose = anyone
			}
		}
		s.places = append(s.places, pl)
	}
	for i := range s.places {
		if pl := &s.places[i]; pl.expose == closed && len(leads[pl.name]) > 0 {
			pl.expose, pl.through = behind, leads[pl.name]
		}
	}
	return s
}

// open tells whether a route asks for nobody in particular.
func open(r *plan.Rule) bool { return !r.Need.Asks() }

func sourceOf(s *plan.Service, base string) string {
	dir := s.Source
	if dir == "" {
		dir = s.Workdir
	}
	return path.Join(base, dir)
}

// ServicesOf names the services whose code holds a file, the most exposed first: those with the longest folder above it.
func (s *System) ServicesOf(file string) []string {
	var out []string
	for _, p := range s.placesOf(file) {
		out = append(out, p.name)
	}
	return out
}

// ServedBy names the services that a file of parts serves: those of ServicesOf, and those below its folder that have no such file of their own or
// nearer by, as in a workspace or a module of many programs. folders are those with such files.
func (s *System) ServedBy(file string, folders map[string]bool) []string {
	out := s.ServicesOf(file)
	dir := path.Dir(file)
	for i := range s.places {
		p := &s.places[i]
		if p.source == dir || !within(dir, p.source) || slices.Contains(out, p.name) {
			continue
		}
		nearer := false
		for f := range folders {
			nearer = nearer || f != dir && within(dir, f) && (within(f, p.source) || within(p.source, f))
		}
		if !nearer {
			out = append(out, p.name)
		}
	}
	return out
}

// within tells whether a path is a folder, or lies below it.
func within(dir, name string) bool {
	return dir == "." || name == dir || strings.HasPrefix(name, dir+"/")
}

func (s *System) placesOf(file string) []*place {
	var out []*place
	best := -1
	for i := range s.places {
		p := &s.places[i]
		if p.source != "." && file != p.source && !strings.HasPrefix(file, p.source+"/") {
			continue
		}
		n := len(p.source)
		if p.source == "." {
			n = 0
		}
		if n > best {
			best, out = n, nil
		}
		if n == best {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b *place) int { return cmp.Compare(b.expose, a.expose) })
	return out
}

// Rank fills Service, Priority, Why of each finding, and sorts them: the most dangerous first; of equals by rule, path and line. Suppressed findings come last.
func (s *System) Rank(findings []finding.Finding) {
	for i := range findings {
		f := &findings[i]
		var at *place
		if all := s.placesOf(f.Location.Path); len(all) > 0 && f.Kind != finding.Model {
			at = all[0]
			f.Service = at.name
		}
		f.Priority = s.priority(f, at)
		f.Why = s.why(f, at)
	}
	slices.SortStableFunc(findings, func(a, b finding.Finding) int {
		return cmp.Or(
			suppressed(&a)-suppressed(&b), cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.ID, b.ID),
			cmp.Compare(a.Location.Path, b.Location.Path), cmp.Compare(a.Location.Line, b.Location.Line), cmp.Compare(a.Fingerprint(), b.Fingerprint()),
		)
	})
}

func suppressed(f *finding.Finding) int {
	if f.Suppressed != nil {
		return 1
	}
	return 0
}

// severe is how bad a finding is by itself, 0 to 60. An unknown severity counts as between medium and high: called, it is high.
func severe(f *finding.Finding) float64 {
	if f.Score > 0 {
		return f.Score * 6
	}
	return map[finding.Severity]float64{finding.SeverityNone: 0, finding.Low: 15, finding.Medium: 33, finding.High: 48, finding.Critical: 57}[f.Severity] +
		map[bool]float64{true: 44}[f.Severity == finding.SeverityUnknown]
}

func (s *System) priority(f *finding.Finding, at *place) int {
	if f.Kind == finding.Malicious {
		return 100 // it isn't weak, it attacks
	}
	v := severe(f) + 10*f.EPSS
	if f.KEV {
		v = max(v, 60) + 15
	}
	switch {
	case f.Called == finding.Called && f.Kind == finding.Secret: // in use by what runs now, not just of the right form
		v += 25
	case f.Kind == finding.Secret && f.Unsure == "": // it works from anywhere, whoever has read it
		v += 15
	case f.Called == finding.Called:
		v += 10
	case f.Called == finding.NotCalled:
		v *= 0.3
	}
	if f.Kind != finding.Model && f.Kind != finding.Secret { // a secret in a repository is known to whoever reads that
		v += s.exposed(at)
	}
	if at != nil {
		v += map[model.Sensitivity]float64{model.Medium: 2, model.High: 5, model.Critical: 9}[at.highest]
		if len(at.data) > 0 {
			v += 3
		}
	}
	if f.Package != nil && f.Package.Dev {
		v *= 0.5 // it runs where the application is built, not where it serves
	}
	if f.Unsure != "" {
		v *= 0.8
	}
	return int(math.Round(min(max(v, 1), 99)))
}

func (s *System) exposed(at *place) float64 {
	if !s.known || at == nil {
		return 6
	}
	return map[exposure]float64{closed: -12, behind: 0, signedIn: 6, anyone: 12}[at.expose]
}

// why is two sentences: who can come to it, and what they would have then.
func (s *System) why(f *finding.Finding, at *place) string {
	first := s.whoComes(f, at)
	if f.Kind == finding.Secret && at == nil {
		return first
	}
	if at == nil {
		return first + " " + called(f)
	}
	second := fmt.Sprintf("From %s an attacker reaches no other service; its sandbox holds the rest back.", at.name)
	if len(at.reaches) > 0 {
		second = fmt.Sprintf("From %s an attacker reaches %s%s, by granted calls alone: sandbox and policy hold back the rest.", at.name, names(at.reaches), classes(at.data))
	} else if len(at.data) > 0 {
		second = fmt.Sprintf("%s holds %s itself, and reaches no other service.", at.name, strings.Join(at.data, ", "))
	}
	return first + " " + second
}

func (s *System) whoComes(f *finding.Finding, at *place) string {
	how := ""
	if f.KEV {
		how = ", and it is exploited in the wild"
	}
	switch {
	case f.Kind == finding.Malicious:
		return "This part was published to do harm: whoever built or installed it must count as taken over."
	case f.Kind == finding.Secret:
		return "Whoever reads the repository has this credential: removing the line doesn't take it back, a new value does."
	case f.Kind == finding.Model:
		return "ward.yaml itself allows more than it needs to."
	case f.Package != nil && f.Package.Dev:
		return "It is there for building and testing only" + how + "."
	case !s.known:
		return "There is no ward.yaml, so it counts as open to everybody" + how + "."
	case at == nil:
		return "It belongs to no service of ward.yaml" + how + "."
	}
	calls := map[finding.Reach]string{finding.Called: "the code calls it", finding.NotCalled: "no code calls it", finding.ReachUnknown: "whether the code calls it isn't known"}[f.Called]
	if f.Kind != finding.Dependency {
		calls = "it is in that service's own files"
	}
	switch at.expose {
	case anyone:
		return fmt.Sprintf("Anybody reaches %s by %s, and %s%s.", at.name, at.door, calls, how)
	case signedIn:
		return fmt.Sprintf("Who is signed in reaches %s by %s, and %s%s.", at.name, at.door, calls, how)
	case behind:
		return fmt.Sprintf("The outside reaches %s only through %s, and %s%s.", at.name, names(at.through), calls, how)
	}
	return fmt.Sprintf("Nothing leads from the outside to %s, and %s%s.", at.name, calls, how)
}

func called(f *finding.Finding) string {
	if f.Kind != finding.Dependency {
		return "Nothing of Ward stands before it."
	}
	return map[finding.Reach]string{
		finding.Called: "The code calls the weak function.", finding.NotCalled: "No code calls the weak function.", finding.ReachUnknown: "Whether the weak function is called isn't known.",
	}[f.Called]
}

// names lists at most three.
func names(all []string) string {
	if len(all) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:3], ", "), len(all)-3)
	}
	return strings.Join(all, ", ")
}

func classes(data []string) string {
	if len(data) == 0 {
		return ""
	}
	return " (" + strings.Join(data, ", ") + ")"
}
