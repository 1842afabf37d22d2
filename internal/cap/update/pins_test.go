package update

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/update/internal/forge"
	"github.com/wardhq/ward/internal/cap/update/internal/pins"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// day is a clock that tests move.
type day struct{ time.Time }

func (d *day) Now() time.Time { return d.Time }

// tags says what tags stand for, and counts the questions.
type tags struct {
	mu    sync.Mutex
	said  map[string]string
	asked []string
}

func (p *tags) Pin(_ context.Context, name, tag string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, name+" "+tag)
	if d := p.said[name+" "+tag]; d != "" {
		return d, nil
	}
	return "", errors.New("it is private")
}

// nothing is a scanner that finds nothing.
type nothing struct{}

func (nothing) Look(context.Context, string) ([]finding.Package, []finding.Finding, error) {
	return nil, nil, nil
}

// eager is a forge that merges whatever it is asked to.
type eager struct {
	open     []forge.Request
	proposed []forge.Proposal
	merged   []string
}

func (e *eager) List(context.Context, string) ([]forge.Request, error) { return e.open, nil }

func (e *eager) Propose(_ context.Context, p forge.Proposal) (forge.Request, error) {
	e.proposed = append(e.proposed, p)
	return forge.Request{Number: 1, Branch: p.Branch, URL: "https://forge.example/1"}, nil
}

func (e *eager) Merge(_ context.Context, r forge.Request, _ string) error {
	e.merged = append(e.merged, r.Branch)
	return nil
}

func gitIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := exec.Command(need.Program(t, "git"), append([]string{"-C", dir, "-c", "user.name=Ada", "-c", "user.email=ada@example.com"}, args...)...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

var (
	first, second         = "sha256:" + strings.Repeat("1", 64), "sha256:" + strings.Repeat("2", 64)
	firstSHA, secondSHA   = strings.Repeat("1", 40), strings.Repeat("2", 40)
	dockerfile, workflow  = "Dockerfile", ".github/workflows/ci.yml"
	imagePins, actionPins = "ward/update/pins-images", "ward/update/pins-actions"
)

// pinned is a repository whose pins are asked of tags.
func pinned(t *testing.T) (Request, *tags, *day) {
	t.Helper()
	dir := t.TempDir()
	gitIn(t, dir, "init", "-q", "-b", "main")
	for name, text := range map[string]string{
		dockerfile:             "FROM node:20 AS a\r\nFROM private.example/x:1\nFROM node:20\nFROM go:1@" + first + "\nFROM $NONE\n",
		workflow:               "jobs:\n  a:\n    steps:\n    - uses: a/b@v4\n    - uses: a/c@" + firstSHA + " # v1\n    - uses: a/d@" + firstSHA + "\n",
		"testdata/compose.yml": "services: {a: {image: skipped:1}}\n",
	} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	gitIn(t, dir, "add", ".")
	gitIn(t, dir, "commit", "-q", "-m", "first")
	p := &tags{said: map[string]string{"node 20": first, "go 1": first, "a/b v4": firstSHA, "a/c v1": firstSHA}}
	now := &day{time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	return Request{
		Dir: dir, Scanner: nothing{}, SeenLog: filepath.Join(t.TempDir(), "seen"), Scratch: t.TempDir(), Pins: true, Clock: now,
		Skip:    func(name string) bool { return name == "testdata" },
		sources: sources{set: true, pinners: map[pins.Kind]registry.Pinner{pins.Image: p, pins.Action: p}},
	}, p, now
}

func runPins(t *testing.T, r Request) *Report {
	t.Helper()
	report, err := Run(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func heldFor(r *Report, reason string) (names []string) {
	for _, h := range r.Held {
		if strings.Contains(h.Reason, reason) {
			names = append(names, strings.TrimSpace(h.Name+" "+h.Path))
		}
	}
	return names
}

func TestPinsAreProposedOnceTheirTagsStoodStill(t *testing.T) {
	r, p, now := pinned(t)
	report := runPins(t, r)
	if len(report.Proposals) != 0 {
		t.Fatalf("what was first seen now is proposed: %+v", report.Proposals)
	}
	if diff := cmp.Diff([]string{"a/b@v4 " + workflow, "node:20 " + dockerfile}, heldFor(report, "taken from 2026-05-04 12:00:00")); diff != "" {
		t.Error(diff)
	}
	if got := heldFor(report, "it is private"); !slices.Equal(got, []string{"private.example/x:1 " + dockerfile}) {
		t.Errorf("held because it can't be asked: %q", got)
	}
	if got := heldFor(report, "nothing says to which tag"); !slices.Equal(got, []string{"a/d " + workflow}) {
		t.Errorf("held because nobody knows its tag: %q", got)
	}
	if got := heldFor(report, "depends on a variable"); len(got)+len(heldFor(report, "nobody says here")) != 1 {
		t.Errorf("held because of its variable: %q", got)
	}
	slices.Sort(p.asked)
	if diff := cmp.Diff([]string{"a/b v4", "a/c v1", "go 1", "node 20", "private.example/x 1"}, p.asked); diff != "" {
		t.Errorf("questions: %s", diff)
	}

	// Two tags move two days later: they wait anew, the others are taken a day after that.
	now.Time = now.AddDate(0, 0, 2)
	p.said["go 1"], p.said["a/c v1"] = second, secondSHA
	runPins(t, r)
	now.Time = now.AddDate(0, 0, 1)
	report = runPins(t, r)
	if len(report.Proposals) != 2 || report.Proposals[0].Branch != imagePins || report.Proposals[1].Branch != actionPins {
		t.Fatalf("proposals: %+v", report.Proposals)
	}
	if diff := cmp.Diff([]string{"a/c@v1 " + workflow, "go:1 " + dockerfile}, heldFor(report, "first seen to stand for this on 2026-05-03")); diff != "" {
		t.Error(diff)
	}
	want := "FROM node:20@" + first + " AS a\r\nFROM private.example/x:1\nFROM node:20@" + first + "\nFROM go:1@" + first + "\nFROM $NONE\n"
	if diff := cmp.Diff(want, gitIn(t, r.Dir, "show", imagePins+":"+dockerfile)); diff != "" {
		t.Error(diff)
	}
	if got := gitIn(t, r.Dir, "diff", "--name-only", "main", imagePins); got != dockerfile+"\n" {
		t.Errorf("the branch changes %q", got)
	}
	if body := report.Proposals[0].Body; !strings.Contains(body, "Nothing was built") || !strings.Contains(body, "`node`, `20`: not pinned → "+first+"; first seen 2026-05-01; in Dockerfile:1, Dockerfile:3\n") {
		t.Errorf("body: %s", body)
	}

	now.Time = now.AddDate(0, 0, 2)
	runPins(t, r)
	want = "jobs:\n  a:\n    steps:\n    - uses: a/b@" + firstSHA + " # v4\n    - uses: a/c@" + secondSHA + " # v1\n    - uses: a/d@" + firstSHA + "\n"
	if diff := cmp.Diff(want, gitIn(t, r.Dir, "show", actionPins+":"+workflow)); diff != "" {
		t.Error(diff)
	}
	if got := gitIn(t, r.Dir, "status", "--short"); got != "" {
		t.Errorf("the work tree changed: %s", got)
	}
}

// old is a repository with pins that waited for long enough.
func old(t *testing.T) (Request, *eager) {
	t.Helper()
	r, _, now := pinned(t)
	runPins(t, r)
	now.Time = now.AddDate(0, 0, 3)
	remote := t.TempDir()
	gitIn(t, remote, "init", "-q", "--bare")
	gitIn(t, r.Dir, "remote", "add", "origin", remote)
	e := &eager{}
	r.Forge, r.Remote = e, "origin"
	return r, e
}

func TestPinsAreNeverMergedByThemselves(t *testing.T) {
	r, e := old(t)
	r.Policy = model.Update{Merge: "minor"}
	report := runPins(t, r)
	if len(e.proposed) != 2 || len(e.merged) != 0 || report.Proposals[0].Merged || report.Proposals[0].URL == "" {
		t.Errorf("proposed %d, merged %q", len(e.proposed), e.merged)
	}
	// Not even if somebody took them for something that was tried.
	u := &run{Request: r}
	tried := Proposal{Changes: []Change{{Risk: 2}}, Tests: 1}
	if !u.mayMerge(&tried) {
		t.Fatal("a patch that was tried isn't merged, so this test shows nothing")
	}
	if tried.Untried = true; u.mayMerge(&tried) {
		t.Error("what nobody tried is merged")
	}
}

func TestPinsCountAmongOpenProposals(t *testing.T) {
	r, e := old(t)
	r.Policy.Limit = 1
	e.open = []forge.Request{{Branch: actionPins}}
	report := runPins(t, r)
	if len(report.Proposals) != 1 || report.Proposals[0].Branch != actionPins || len(heldFor(report, "as many proposals")) != 1 {
		t.Errorf("%+v", report)
	}
}

func TestPinsAreOnlyPlannedWhereNothingElseIsWanted(t *testing.T) {
	r, _ := old(t)
	r.Forge, r.Plan = nil, true
	report := runPins(t, r)
	if len(report.Proposals) != 0 || len(report.Planned) != 2 || report.Planned[0].Risk != "not tried" || len(report.Planned[0].Changes) != 2 {
		t.Errorf("%+v", report)
	}
	if got := gitIn(t, r.Dir, "branch", "--list", "ward/*"); got != "" {
		t.Errorf("there are branches: %s", got)
	}
}

func TestPinsThatAreIgnoredOrNotWantedStay(t *testing.T) {
	r, _ := old(t)
	r.Forge = nil
	r.Policy.Ignore = []model.Ignore{{Package: "node", Reason: "later", Until: "2026-05-04"}}
	report := runPins(t, r)
	if got := heldFor(report, "ignored until 2026-05-04: later"); len(got) != 1 || len(report.Proposals) != 1 {
		t.Errorf("held %q, proposals %+v", got, report.Proposals)
	}
	r.Policy.Ignore, r.Only = nil, []string{"node"}
	if report = runPins(t, r); len(report.Proposals) != 1 || report.Proposals[0].Branch != imagePins {
		t.Errorf("%+v", report.Proposals)
	}
	if r.Pins = false; len(runPins(t, r).Proposals) != 0 {
		t.Error("pins are changed that nobody asked for")
	}
}

func TestSomebodysCommitOnThePinsBranchStays(t *testing.T) {
	r, _ := old(t)
	r.Forge = nil
	gitIn(t, r.Dir, "branch", imagePins)
	report := runPins(t, r)
	if p := report.Proposals[0]; p.Branch != "" || !strings.Contains(p.Note, "Ada") {
		t.Errorf("%+v", p)
	}
}
