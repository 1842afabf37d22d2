package callgraph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/wardtest/need"
)

const childVerb = "calls-in-a-test"

func TestMain(m *testing.M) {
	sandbox.Stage(os.Args, nil)
	if len(os.Args) > 1 && os.Args[1] == childVerb {
		if err := Main(context.Background(), os.Args[2:], os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func analyser(t *testing.T) Analyser {
	need.Program(t, "go")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Analyser{Argv: []string{self, childVerb}}
}

// tree writes files of "name: content" pairs.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// advisories are a database of one module, example.com/weak, by advisory: its packages with their functions; all end with v1.1.0.
type advisories map[string]map[string][]string

func (a advisories) WriteGoVulnDB(_ context.Context, dir string) error {
	at := "2026-01-02T03:04:05Z"
	var vulns, index []map[string]any
	files := map[string]any{"index/db.json": map[string]string{"modified": at}}
	for id, packages := range a {
		var imports []map[string]any
		for p, symbols := range packages {
			imports = append(imports, map[string]any{"path": p, "symbols": symbols})
		}
		vulns = append(vulns, map[string]any{"id": id, "modified": at})
		index = append(index, map[string]any{"id": id, "modified": at, "fixed": "1.1.0"})
		files["ID/"+id+".json"] = map[string]any{
			"schema_version": "1.3.1", "id": id, "modified": at, "published": at, "summary": "weak", "details": "weak",
			"affected": []any{map[string]any{
				"package":            map[string]string{"ecosystem": "Go", "name": "example.com/weak"},
				"ranges":             []any{map[string]any{"type": "SEMVER", "events": []any{map[string]string{"introduced": "0"}, map[string]string{"fixed": "1.1.0"}}}},
				"ecosystem_specific": map[string]any{"imports": imports},
			}},
		}
	}
	files["index/vulns.json"] = vulns
	files["index/modules.json"] = []any{map[string]any{"path": "example.com/weak", "vulns": index}}
	for name, content := range files {
		b, err := json.Marshal(content)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func weak() advisories {
	return advisories{
		"GO-2026-0001": {"example.com/weak": {"Reached"}},
		"GO-2026-0002": {"example.com/weak": {"T.Left"}},
		"GO-2026-0003": {"example.com/weak/data": nil},
		"GO-2026-0004": {"example.com/weak/other": {"F"}},
		"GO-2026-0005": {"example.com/weak": nil},
	}
}

// project is a module that vendors example.com/weak v1.0.0.
func project() map[string]string {
	return map[string]string{
		"go.mod": "module example.com/app\n\ngo 1.24\n\nrequire (\n\texample.com/weak v1.0.0\n\texample.com/unused v1.0.0\n)\n",
		"vendor/modules.txt": "# example.com/unused v1.0.0\n## explicit\n# example.com/weak v1.0.0\n## explicit; go 1.24\n" +
			"example.com/weak\nexample.com/weak/data\n",
		"vendor/example.com/weak/weak.go":   "package weak\n\nvar N int\n\ntype T struct{}\n\n//go:noinline\nfunc (T) Left() { N++ }\n\n//go:noinline\nfunc Reached() { N++; deep() }\n\n//go:noinline\nfunc deep() { N++ }\n",
		"vendor/example.com/weak/data/d.go": "package data\n\nconst C = 1\n",
		"main.go":                           "package main\n\nimport (\n\t\"example.com/weak\"\n\t\"example.com/weak/data\"\n)\n\nfunc main() { run(data.C) }\n\nfunc run(int) {\n\tweak.Reached()\n}\n",
	}
}

func found(file, id, module, version string, aliases ...string) finding.Finding {
	return finding.Finding{
		ID: id, Aliases: aliases, Kind: finding.Dependency, Location: finding.Location{Path: file},
		Package: &finding.Package{Ecosystem: "Go", Name: module, Version: version},
	}
}

// reach is what is known of each advisory of example.com/weak.
func reach(c Calls, file string) map[string]string {
	out := map[string]string{}
	for id := range weak() {
		f := []finding.Finding{found(file, id, "example.com/weak", "v1.0.0")}
		c.Mark(f)
		out[id] = f[0].Called.String()
	}
	return out
}

func TestCallsFromSource(t *testing.T) {
	a := analyser(t)
	dir := tree(t, project())
	c, err := a.Go(t.Context(), dir, weak(), []string{"."})
	if err != nil || len(c.Problems) > 0 {
		t.Fatal(err, c.Problems)
	}
	want := map[string]string{
		"GO-2026-0001": "called", "GO-2026-0002": "not called", "GO-2026-0003": "called", "GO-2026-0004": "not called", "GO-2026-0005": "called", // importing a package runs its init
	}
	if diff := cmp.Diff(want, reach(c, "go.mod")); diff != "" {
		t.Error(diff)
	}
	fs := []finding.Finding{found("go.mod", "GO-2026-0001", "example.com/weak", "v1.0.0")}
	c.Mark(fs)
	trace := []string{"example.com/app.main (main.go:8)", "example.com/app.run (main.go:11)", "example.com/weak.Reached"}
	if diff := cmp.Diff(trace, fs[0].Trace); diff != "" {
		t.Error(diff)
	}
}

func TestWhatWasNotAnalysedStaysUnknown(t *testing.T) {
	a := analyser(t)
	dir := tree(t, project())
	c, err := a.Go(t.Context(), dir, weak(), []string{"."})
	if err != nil || len(c.Problems) > 0 {
		t.Fatal(err, c.Problems)
	}
	for _, test := range []struct {
		name string
		f    finding.Finding
		want finding.Reach
	}{
		{"not called", found("go.mod", "GO-2026-0002", "example.com/weak", "v1.0.0"), finding.NotCalled},
		{"by its alias", found("go.mod", "CVE-2026-1", "example.com/weak", "v1.0.0", "GO-2026-0002"), finding.NotCalled},
		{"one of two is called", found("go.mod", "GO-2026-0002", "example.com/weak", "v1.0.0", "GO-2026-0001"), finding.Called},
		{"one of two is not in the database", found("go.mod", "GO-2026-0002", "example.com/weak", "v1.0.0", "GO-2026-9999"), finding.ReachUnknown},
		{"no advisory of the Go team", found("go.mod", "GHSA-1", "example.com/weak", "v1.0.0"), finding.ReachUnknown},
		{"another version", found("go.mod", "GO-2026-0002", "example.com/weak", "v1.0.1"), finding.ReachUnknown},
		{"no version", found("go.mod", "GO-2026-0002", "example.com/weak", ""), finding.ReachUnknown},
		{"another folder", found("sub/go.mod", "GO-2026-0002", "example.com/weak", "v1.0.0"), finding.ReachUnknown},
		{"a module without code in the program", found("go.mod", "GHSA-2", "example.com/unused", "v1.0.0"), finding.NotCalled},
	} {
		t.Run(test.name, func(t *testing.T) {
			fs := []finding.Finding{test.f}
			c.Mark(fs)
			if fs[0].Called != test.want {
				t.Errorf("%v, want %v", fs[0].Called, test.want)
			}
		})
	}
}

func TestLevelsOfGovulncheck(t *testing.T) {
	const (
		sbom = `{"SBOM":{"modules":[{"path":"example.com/weak","version":"v1.0.0"}]}}`
		osv  = `{"osv":{"id":"GO-1","affected":[{"ecosystem_specific":{"imports":[{"path":"example.com/weak","symbols":["F"]},{"path":"example.com/weak/all"}]}}]}}`
	)
	said := func(frame string) string {
		return `{"finding":{"osv":"GO-1","trace":[{"module":"example.com/weak","version":"v1.0.0"` + frame + `}]}}`
	}
	for _, test := range []struct {
		name   string
		stream []string
		want   finding.Reach
	}{
		{"the module", []string{sbom, osv, said("")}, finding.NotCalled},
		{"a package with functions", []string{sbom, osv, said(""), said(`,"package":"example.com/weak"`)}, finding.NotCalled},
		{"a package without", []string{sbom, osv, said(""), said(`,"package":"example.com/weak/all"`)}, finding.ReachUnknown},
		{"one with, one without", []string{sbom, osv, said(`,"package":"example.com/weak/all"`), said(`,"package":"example.com/weak"`)}, finding.ReachUnknown},
		{"a function", []string{sbom, osv, said(`,"package":"example.com/weak/all"`), said(`,"package":"example.com/weak","function":"F"`)}, finding.Called},
		{"nothing", []string{sbom, osv}, finding.ReachUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPlace()
			p.whole = true
			if err := p.read(strings.NewReader(strings.Join(test.stream, "\n"))); err != nil {
				t.Fatal(err)
			}
			f := found("go.mod", "GO-1", "example.com/weak", "v1.0.0")
			if got := p.judge(&f).reach; got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
	if err := newPlace().read(strings.NewReader(sbom + osv[:20])); err == nil {
		t.Error("a stream that ends in the middle was taken")
	}
}

func TestAnIncompleteAnalysisNeverSaysNotCalled(t *testing.T) {
	a := analyser(t)
	for _, test := range []struct {
		name    string
		change  func(files map[string]string)
		problem string
	}{
		{"code that doesn't compile", func(f map[string]string) { f["broken.go"] = "package main\n\nfunc f() { missing() }\n" }, "undefined: missing"},
		{"a module that isn't there", func(f map[string]string) {
			f["go.mod"] += "require example.com/gone v1.0.0\n"
			f["gone.go"] = "package main\n\nimport _ \"example.com/gone\"\n"
		}, "example.com/gone"},
		{"a newer Go", func(f map[string]string) { f["go.mod"] = strings.Replace(f["go.mod"], "go 1.24", "go 1.99", 1) }, "go.mod requires go >= 1.99"},
		{"no go.mod", func(f map[string]string) { delete(f, "go.mod") }, "go.mod"},
		{"C", func(f map[string]string) { f["c.go"] = "package main\n\n// int x;\nimport \"C\"\n\nvar _ = C.x\n" }, ""},
		{"no packages", func(f map[string]string) { delete(f, "main.go") }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := project()
			test.change(files)
			c, err := a.Go(t.Context(), tree(t, files), weak(), []string{"."})
			if err != nil {
				t.Fatal(err)
			}
			if test.problem == "" && len(c.Problems) > 0 || test.problem != "" && (len(c.Problems) != 1 || !strings.Contains(c.Problems[0].Reason, test.problem)) {
				t.Errorf("problems %v, want %q", c.Problems, test.problem)
			}
			for id, r := range reach(c, "go.mod") {
				if r == "not called" {
					t.Errorf("%s is not called", id)
				}
			}
		})
	}
}

func TestTheTreeStartsNothing(t *testing.T) {
	a := analyser(t)
	files := project()
	files["c.go"] = "package main\n\n// int x;\nimport \"C\"\n\nvar _ = C.x\n"
	dir := tree(t, files)
	mark := filepath.Join(dir, "ran")
	script := "#!/bin/sh\ntouch " + mark + "\n"
	tools := tree(t, map[string]string{"gopackagesdriver": script, "cc": script, "gcc": script})
	for _, name := range []string{"gopackagesdriver", "cc", "gcc"} {
		if err := os.Chmod(filepath.Join(tools, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", tools+":"+os.Getenv("PATH"))
	t.Setenv("GOFLAGS", "-toolexec="+filepath.Join(tools, "cc"))
	t.Setenv("CC", filepath.Join(tools, "cc"))
	// A repository whose settings name a program to ask for changed files.
	git := need.Program(t, "git")
	for _, args := range [][]string{{"init", "-q"}, {"config", "core.fsmonitor", filepath.Join(tools, "cc")}} {
		if out, err := exec.Command(git, append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	c, err := a.Go(t.Context(), dir, weak(), []string{"."})
	if err != nil || len(c.Problems) > 0 {
		t.Fatal(err, c.Problems)
	}
	if _, err := os.Lstat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Error("the analysis started a program that its environment or the tree names")
	}
}

func TestCallsOfAProgram(t *testing.T) {
	a := analyser(t)
	dir := tree(t, project())
	for name, flags := range map[string]string{"app": "", "stripped": "-s -w"} {
		c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags="+flags, "-o", name, ".")
		c.Dir, c.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	c, err := a.Binary(t.Context(), dir, weak(), []string{"app", "stripped", "main.go"})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Problems) != 1 || c.Problems[0].Path != "main.go" {
		t.Error(c.Problems)
	}
	want := map[string]string{
		"GO-2026-0001": "called", "GO-2026-0002": "not called", "GO-2026-0003": "not called", "GO-2026-0004": "not called", "GO-2026-0005": "called",
	}
	if diff := cmp.Diff(want, reach(c, "app")); diff != "" {
		t.Error(diff)
	}
	for id, r := range reach(c, "stripped") {
		if r != "unknown" {
			t.Errorf("stripped: %s is %s", id, r)
		}
	}
}

func TestAnAnalysisCanBeStopped(t *testing.T) {
	sleep := need.Program(t, "sleep")
	a := Analyser{Argv: []string{"/bin/sh", "-c", sleep + " 1000 & wait"}, Timeout: 50 * time.Millisecond}
	dir := tree(t, project())
	c, err := a.Go(t.Context(), dir, weak(), []string{"."})
	if err != nil || len(c.Problems) != 1 || !strings.Contains(c.Problems[0].Reason, "took longer") {
		t.Error(err, c.Problems)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Go(ctx, dir, weak(), []string{"."}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
