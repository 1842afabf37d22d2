package update

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/update/internal/branch"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/cap/update/internal/trial"
	"github.com/wardhq/ward/internal/finding"
)

// TestWhatAChangeBringsInMustBeOldEnoughToo: a release of an hour ago would come in through a part that an old release asks for.
func TestWhatAChangeBringsInMustBeOldEnoughToo(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := map[string]time.Time{"old": now.AddDate(0, -1, 0), "new": now.Add(-time.Hour)}[strings.Split(strings.TrimPrefix(r.URL.Path, "/"), ".")[0]]
		switch {
		case at.IsZero():
			http.NotFound(w, r)
		case strings.HasSuffix(r.URL.Path, "/list"):
			w.Write([]byte("v1.0.0\n"))
		case strings.HasSuffix(r.URL.Path, ".info"):
			w.Write([]byte(`{"Version":"v1.0.0","Time":"` + at.Format(time.RFC3339) + `"}`))
		default:
			w.Write([]byte("module x\n"))
		}
	}))
	defer s.Close()
	part := func(name string) finding.Package {
		return finding.Package{Ecosystem: choose.Go, Name: name, Version: "v1.0.0", Location: finding.Location{Path: "go.mod"}}
	}
	for name, c := range map[string]struct {
		after  finding.Package
		chosen []Change
		wait   int
		want   bool
	}{
		"an old one":               {after: part("old.example/x")},
		"a young one":              {after: part("new.example/x"), want: true},
		"one that nobody knows":    {after: part("away.example/x"), want: true},
		"one that is there":        {after: part("here.example/x")},
		"the change itself":        {after: part("new.example/x"), chosen: []Change{{Ecosystem: choose.Go, Name: "new.example/x", To: "1.0.0"}}},
		"not for as long as asked": {after: part("old.example/x"), wait: 60, want: true},
		"of another ecosystem":     {after: finding.Package{Ecosystem: "PyPI", Name: "x", Version: "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			u := &run{Request: Request{
				SeenLog: filepath.Join(t.TempDir(), "seen"), Clock: clock.Func(func() time.Time { return now }),
				sources: sources{goEnv: registry.GoEnv{Proxy: s.URL}, set: true},
			}, parts: []finding.Package{part("here.example/x")}}
			u.Policy.WaitDays = c.wait
			err := u.young(t.Context(), c.chosen, []finding.Package{c.after})
			if (err != nil) != c.want || err != nil && !strings.Contains(err.Error(), c.after.Name) {
				t.Error(err)
			}
		})
	}
}

// passes is a trial in which everything passes, and what each change brings in is written beside it.
type passes struct{ tried []int }

func (p *passes) Try(_ context.Context, changes []Change) (*trial.Outcome, error) {
	p.tried = append(p.tried, len(changes))
	var lines []string
	for _, ch := range changes {
		lines = append(lines, ch.Name)
	}
	return &trial.Outcome{Passed: changes, Files: map[string][]byte{"lock": []byte(strings.Join(lines, " "))}}, nil
}

// brings is a scanner of such a tree: each part comes with another one, "with-NAME", and "c" and "d" together with a young one.
type brings struct{}

func (brings) Look(_ context.Context, dir string) ([]finding.Package, []finding.Finding, error) {
	b, err := os.ReadFile(filepath.Join(dir, "lock"))
	text := strings.Fields(string(b))
	if slices.Contains(text, "c") && slices.Contains(text, "d") {
		text = append(text, "young-together")
	}
	var out []finding.Package
	for _, name := range text {
		out = append(out, finding.Package{Ecosystem: choose.NPM, Name: "with-" + name, Version: "1.0.0", Location: finding.Location{Path: "lock"}})
	}
	return out, nil, err
}

func TestOfAGroupOnlyWhatBringsInSomethingYoungIsHeld(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		at := now.AddDate(0, -1, 0)
		if strings.Contains(name, "young") {
			at = now.Add(-time.Hour)
		}
		fmt.Fprintf(w, `{"name":%q,"time":{"1.0.0":%q},"versions":{"1.0.0":{}}}`, name, at.Format(time.RFC3339))
	}))
	defer s.Close()
	dir := t.TempDir()
	gitIn(t, dir, "init", "-q")
	gitIn(t, dir, "commit", "-q", "--allow-empty", "-m", "first")
	for name, c := range map[string]struct{ names, passed, held string }{
		"none":           {"a b", "a b", ""},
		"one":            {"a young b", "a b", "young"},
		"two of them":    {"young1 a b young2", "a b", "young1 young2"},
		"only young":     {"young1 young2", "", "young1 young2"},
		"only together":  {"c d", "c", "d"},
		"for its sake":   {"a young:b b", "a", "young b"},
		"alone":          {"young", "", "young"},
		"all but a pair": {"a c d young", "a c", "young d"},
	} {
		t.Run(name, func(t *testing.T) {
			u := &run{Request: Request{
				SeenLog: filepath.Join(t.TempDir(), "seen"), Scratch: t.TempDir(), Clock: clock.Func(func() time.Time { return now }), Scanner: brings{},
				sources: sources{npmEnv: registry.NPMEnv{Registry: s.URL}, set: true},
			}, root: dir, repo: branch.Repo{Dir: dir}, base: strings.TrimSpace(gitIn(t, dir, "rev-parse", "HEAD")), tested: map[project]int{}}
			var g choose.Group
			for word := range strings.FieldsSeq(c.names) {
				name, sake, _ := strings.Cut(word, ":")
				g.Changes = append(g.Changes, Change{Ecosystem: choose.NPM, Name: name, From: "1.0.0", To: "1.0.1", Path: "lock", For: sake})
			}
			p, err := u.group(t.Context(), &passes{}, g)
			if err != nil {
				t.Fatal(err)
			}
			var passed, held []string
			if p != nil {
				for _, ch := range p.Changes {
					passed = append(passed, ch.Name)
				}
			}
			for _, h := range u.report.Held {
				held = append(held, h.Name)
			}
			if got := strings.Join(passed, " "); got != c.passed {
				t.Errorf("passed: %q, not %q", got, c.passed)
			}
			if got := strings.Join(held, " "); got != c.held {
				t.Errorf("held: %q, not %q", got, c.held)
			}
		})
	}
}

// TestALockFileThatCantBeReadHoldsItsParts: the rest of the repository is updated all the same, and nobody is asked about what isn't understood.
func TestALockFileThatCantBeReadHoldsItsParts(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"yarn.lock": "__metadata:\n  version: 8\n", "package.json": "{}", "old/pnpm-lock.yaml": "lockfileVersion: 5.4\n"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u := &run{Request: Request{SeenLog: filepath.Join(t.TempDir(), "seen"), Clock: clock.Func(time.Now), sources: sources{npmEnv: registry.NPMEnv{Registry: "http://127.0.0.1:1"}, set: true}}, root: dir}
	for file, want := range map[string]string{"yarn.lock": "yarn 2", "old/pnpm-lock.yaml": "only 9 says who asks", "absent/yarn.lock": "no such file"} {
		p := finding.Package{Ecosystem: choose.NPM, Name: "a", Version: "1.0.0", Location: finding.Location{Path: file}}
		f := finding.Finding{ID: "A", Kind: finding.Dependency, Tool: "ward", Package: &p, Fixed: []string{"1.0.1"}, Location: p.Location}
		c, err := u.choose(t.Context(), dir, []finding.Package{p}, []finding.Finding{f})
		if err != nil || len(c.Held) != 1 || !strings.Contains(c.Held[0].Reason, want) || len(c.Groups) > 0 {
			t.Errorf("%s: %+v %v", file, c, err)
		}
	}
}

// TestAPartInTwoVersionsIsMetOnce: what is between them would seem to have come after the first contact.
func TestAPartInTwoVersionsIsMetOnce(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"name":"a","time":{"1.0.0":"2026-01-01T00:00:00Z","1.0.1":"2026-01-02T00:00:00Z","1.0.2":"2026-01-03T00:00:00Z"},"versions":{"1.0.0":{},"1.0.1":{},"1.0.2":{}}}`)
	}))
	defer s.Close()
	u := &run{Request: Request{SeenLog: filepath.Join(t.TempDir(), "seen"), Clock: clock.Func(func() time.Time { return now }), sources: sources{npmEnv: registry.NPMEnv{Registry: s.URL}, set: true}}}
	var parts []choose.Part
	for range 8 {
		for _, v := range []string{"1.0.2", "1.0.0"} {
			parts = append(parts, choose.Part{Package: finding.Package{Ecosystem: choose.NPM, Name: "a", Version: v, Location: finding.Location{Path: "package-lock.json"}}})
		}
	}
	if err := u.releases(t.Context(), parts); err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if !p.Since["1.0.1"].Old(now, choose.Wait) {
			t.Errorf("of %s, 1.0.1 is seen since %v", p.Version, p.Since["1.0.1"])
		}
	}
}
