// Package scan finds what is weak in a team's code, dependencies, images, configuration and ward.yaml, and puts it in the order in which
// it endangers this system.
//
// Guarantee: what can't be read is a problem of the report, and makes it fail; parts of an ecosystem without advisories are an error, never "nothing
// found"; suppressed findings stay in every report with their reason. It needs no network: advisories come from an index that was built
// before. Not guaranteed: that what isn't found isn't there.
package scan

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/scan/internal/distro"
	"github.com/wardhq/ward/internal/cap/scan/internal/gobox"
	"github.com/wardhq/ward/internal/cap/scan/internal/rank"
	"github.com/wardhq/ward/internal/cap/scan/internal/report"
	"github.com/wardhq/ward/internal/cap/scan/internal/tree"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// Report is the outcome of a scan.
type Report = report.Report

// Archive says where a distribution's security archive is, and which keys sign it.
type Archive = distro.Options

// Request says what to look at.
type Request struct {
	Dir  string // the folder, absolute
	Name string // the same, as the user wrote it
	// Model is ward.yaml, nil where there is none; Said is what reading it said, File its path in the tree.
	Model *model.Model
	Said  model.Problems
	File  string
	// DB is the index of advisories.
	DB string
	// MaxAge is how old its advisories may be; 0 for what the model says, or a week.
	MaxAge time.Duration
	// Analyser starts this program so that it calls AnalyseCalls with the arguments that follow; empty: whether code is called isn't asked.
	Analyser []string
	// Sandbox runs what loads Go code, and Cache is a folder for what it builds; without either it runs outside of any sandbox, which the report notes.
	Sandbox Sandbox
	Cache   string
	// Parts are the kinds of scan to make, by name; empty for all of Parts().
	Parts []string
	// Images are container images: archives, folders with an OCI layout, or names in a registry.
	Images []string
	// Archive is a distribution's signed security archive, whose suites are those of the images' releases; zero for none.
	Archive Archive
	// With are other analysers that are run, by name: the user's own programs, outside of any sandbox.
	With []string
	// NoHistory leaves git's history alone.
	NoHistory bool
	// SARIF are logs of other analysers, VEX are OpenVEX documents, SBOM are bills of materials whose parts count too: files.
	SARIF, VEX, SBOM []string
	// Baseline are the fingerprints of findings that were there before, Since says where.
	Baseline map[string]bool
	Since    string
	// Past are the commits that were there before: what history has had since one of them isn't new.
	Past map[string]bool
	// Known are the fingerprints of the secrets that the running application has; nil if none runs.
	Known *leak.Fingerprints
	Now   time.Time
	// Progress is told what is looked at now; it may be nil.
	Progress func(string)
}

// Sandbox runs a job with nothing but what it says, and without any network.
type Sandbox = gobox.Sandbox

// Job is what a Sandbox runs.
type Job = gobox.Job

// part is one kind of scan. It returns how many files it looked at.
type part struct {
	name string
	run  func(*scanner, context.Context) (files int, err error)
}

func parts() []part {
	return []part{
		{"dependencies", (*scanner).dependencies},
		{"code", (*scanner).code},
		{"secrets", (*scanner).secrets},
		{"configuration", (*scanner).configuration},
		{"model", (*scanner).model},
		{"images", (*scanner).images},
	}
}

// Parts are the names of all kinds of scan.
func Parts() []string {
	var out []string
	for _, p := range parts() {
		out = append(out, p.name)
	}
	return out
}

// scanner is one scan under way.
type scanner struct {
	Request
	tree fs.FS
	out  Report
	box  *gobox.Box
	open bool // box was asked for
}

// Run scans a folder. The report is ranked, and says whether it fails.
func Run(ctx context.Context, r Request) (*Report, error) {
	root, err := os.OpenRoot(r.Dir)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "scan "+r.Name, err)
	}
	defer root.Close()
	s := &scanner{Request: r, tree: tree.Of(root.FS()), out: Report{Target: r.Name, At: r.Now, Findings: []finding.Finding{}, Problems: []finding.Problem{}}}
	defer s.closeBox()
	if r.Model != nil {
		s.out.App = r.Model.App
	}
	for _, name := range r.Parts {
		if !slices.Contains(Parts(), name) {
			return nil, fault.New(fault.Usage, fmt.Sprintf("there is no scan of %q; one of %s", name, strings.Join(Parts(), ", ")))
		}
	}
	for _, p := range parts() {
		if len(r.Parts) > 0 && !slices.Contains(r.Parts, p.name) || p.name == "images" && len(r.Images) == 0 {
			continue
		}
		if r.Progress != nil {
			r.Progress(p.name)
		}
		began := time.Now()
		files, err := p.run(s, ctx)
		if err != nil {
			return nil, err
		}
		s.out.Looked = append(s.out.Looked, report.Section{Name: p.name, Files: files, Millis: float64(time.Since(began).Microseconds()) / 1000})
	}
	if err := s.others(); err != nil {
		return nil, err
	}
	if err := s.finish(); err != nil {
		return nil, err
	}
	return &s.out, nil
}

// finish suppresses, ranks and judges.
func (s *scanner) finish() error {
	if err := s.vex(); err != nil {
		return err
	}
	var policy model.Scan
	if s.Model != nil {
		policy = s.Model.Scan
	}
	rules := s.ignores(policy.Ignore)
	ignore(s.out.Findings, rules, s.Now)
	for i := range s.out.Findings {
		if f := &s.out.Findings[i]; f.Suppressed == nil && (s.Baseline[f.Fingerprint()] || s.Past[f.Location.Commit]) {
			f.Suppressed = &finding.Suppression{By: "baseline", Reason: "it was there in " + s.Since}
		}
	}
	s.system().Rank(s.out.Findings)
	remind(s.out.Findings, rules, s.Now)
	judge(&s.out, policy.Fail)
	return nil
}

func (s *scanner) system() *rank.System {
	if s.Model == nil {
		return rank.Of(nil, ".", "")
	}
	return rank.Of(plan.Build(s.Model), s.base(), s.Now.UTC().Format(time.DateOnly))
}

// judge decides whether the report fails: by the worst rating, or because something couldn't be looked at.
func judge(r *Report, fail string) {
	lowest := map[string]int{"": rank.High, "low": rank.Low, "medium": rank.Medium, "high": rank.High, "critical": rank.Critical, "never": 101}[fail]
	n := 0
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Suppressed == nil && f.Priority >= lowest {
			n++
		}
	}
	switch {
	case r.Blind != "":
		r.Fails, r.FailsBy = true, "fails: "+r.Blind
	case n > 0:
		r.Fails, r.FailsBy = true, fmt.Sprintf("fails: %d of them %s or worse (scan: fail)", n, rank.Rating(lowest))
	case len(r.Problems) > 0 && fail != "never":
		r.Fails, r.FailsBy = true, "fails: nobody knows what is in the places that could not be looked at; mend them, or name them under scan: skip"
	}
}

// note says what couldn't be told, although nothing fails by it.
func (s *scanner) note(path, reason string) {
	s.out.Notes = append(s.out.Notes, finding.Problem{Path: path, Reason: reason})
}

// problem notes something that couldn't be looked at.
func (s *scanner) problem(path, reason string) {
	s.out.Problems = append(s.out.Problems, finding.Problem{Path: path, Reason: reason})
}
