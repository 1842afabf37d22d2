package callgraph

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/cap/scan/internal/gobox"
	"github.com/wardhq/ward/internal/finding"
)

// wards is Ward's own sandbox.
type wards struct {
	launcher *sandbox.Launcher
	host     sandbox.Host
}

func (w *wards) Run(ctx context.Context, j gobox.Job) (int, error) {
	exit, err := w.launcher.RunJobApart(ctx, sandbox.Job{
		Name: j.Name, Argv: j.Argv, Dir: j.Dir, Env: j.Env, Read: j.Read, Write: j.Write, Programs: j.Programs, Output: j.Out,
	}, w.host, j.Errs)
	return exit.Code, err
}

// boxed is an analyser whose modules are loaded in the sandbox.
func boxed(t *testing.T) Analyser {
	t.Helper()
	a := analyser(t)
	w := &wards{launcher: sandbox.NewLauncher(), host: sandbox.Host{Base: t.TempDir(), UID: os.Getuid(), GID: os.Getgid()}}
	if os.Getuid() == 0 {
		w.host.Root, w.host.UID, w.host.GID = true, sandbox.FirstUID+902, sandbox.FirstUID+902
	}
	t.Cleanup(w.launcher.Close)
	var err error
	if a.Box, err = gobox.Open(t.Context(), w, filepath.Join(t.TempDir(), "cache")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Box.Close() })
	return a
}

func TestCallsInTheSandboxAreThoseOutside(t *testing.T) {
	inside, outside := boxed(t), analyser(t)
	for name, change := range map[string]func(f map[string]string){
		"as it is":    func(map[string]string) {},
		"with C":      func(f map[string]string) { f["c.go"] = "package main\n\n// int x;\nimport \"C\"\n\nvar _ = C.x\n" },
		"no packages": func(f map[string]string) { delete(f, "main.go") },
		"in a workspace": func(f map[string]string) {
			f["go.work"] = "go 1.24\n\nuse .\n"
			f["vendor/modules.txt"] = strings.NewReplacer("# example.com/unused", "## workspace\n# example.com/unused").Replace(f["vendor/modules.txt"])
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := project()
			change(files)
			dir := tree(t, files)
			got, err := inside.Go(t.Context(), dir, weak(), []string{"."})
			if err != nil {
				t.Fatal(err)
			}
			want, err := outside.Go(t.Context(), dir, weak(), []string{"."})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.Problems, got.Problems) + cmp.Diff(reach(want, "go.mod"), reach(got, "go.mod")); diff != "" {
				t.Error(diff)
			}
			f, g := []finding.Finding{found("go.mod", "GO-2026-0001", "example.com/weak", "v1.0.0")}, []finding.Finding{found("go.mod", "GO-2026-0001", "example.com/weak", "v1.0.0")}
			want.Mark(f)
			got.Mark(g)
			if diff := cmp.Diff(f[0].Trace, g[0].Trace); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnAnalysisInTheSandboxTellsWhatWentWrong(t *testing.T) {
	a := boxed(t)
	files := project()
	files["broken.go"] = "package main\n\nfunc f() { missing() }\n"
	broken := tree(t, files)
	outside := filepath.Dir(tree(t, map[string]string{"x/go.mod": "module example.com/outside\n\ngo 1.24\n"}) + "/x/go.mod")
	files = project()
	files["go.work"] = "go 1.24\n\nuse .\n\nuse " + outside + "\n"
	leads := tree(t, files)
	for name, c := range map[string]struct {
		dir, want string
		patience  time.Duration
	}{
		"code that doesn't compile": {broken, "undefined: missing", 0}, "a go.work that leads out": {leads, "go list", 0}, "no time": {broken, "took longer", time.Nanosecond},
	} {
		t.Run(name, func(t *testing.T) {
			a.Timeout = c.patience
			got, err := a.Go(t.Context(), c.dir, weak(), []string{"."})
			if err != nil || len(got.Problems) != 1 || !strings.Contains(got.Problems[0].Reason, c.want) {
				t.Errorf("%v %+v", err, got.Problems)
			}
			for id, r := range reach(got, "go.mod") {
				if r != "unknown" {
					t.Errorf("%s is %s", id, r)
				}
			}
		})
	}
}
