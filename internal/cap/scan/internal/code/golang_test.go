package code

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/scan/internal/gobox"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/wardtest/need"
)

func goTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestGoTakesInWhatGosecSays(t *testing.T) {
	analyserThat(t, gosecProgram, `echo '{"Findings":[{"id":"G1","location":{"path":"a/b.go","line":2}},{"id":"G2","location":{"path":"skip/x/b.go"}}],"Files":3,"Problems":[{"path":"p","reason":"r"}]}'`)
	got, err := Go(context.Background(), goTree(t), Options{Skip: func(name string) bool { return name == "skip" }})
	want := []finding.Problem{{Path: "p", Reason: "r"}}
	if err != nil || len(got.Findings) != 1 || got.Findings[0].ID != "G1" || got.Files != 3 || !cmp.Equal(got.Problems, want) {
		t.Errorf("%+v %v", got, err)
	}
}

func TestGoThatIsNotJudgedIsAProblem(t *testing.T) {
	for name, script := range map[string]string{"exit 1": "echo broken >&2; exit 1", "half an answer": "echo '{'", "no answer": "exit 0", "an answer, then a failure": "echo '{}'; exit 1"} {
		t.Run(name, func(t *testing.T) {
			analyserThat(t, gosecProgram, script)
			if res, err := Go(context.Background(), goTree(t), Options{}); err != nil || len(res.Problems) != 1 {
				t.Errorf("%+v %v", res, err)
			}
		})
	}
	t.Run("no program", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if res, err := Go(context.Background(), goTree(t), Options{}); err != nil || len(res.Problems) != 1 || !strings.Contains(res.Problems[0].Reason, "isn't installed") {
			t.Errorf("%+v %v", res, err)
		}
		if res, err := Go(context.Background(), t.TempDir(), Options{}); err != nil || len(res.Problems) != 0 {
			t.Errorf("without Go code: %+v %v", res, err)
		}
	})
}

func TestMergeLeavesSmallRulesOutWhereGosecSpeaks(t *testing.T) {
	at := func(id string, line int, s *finding.Suppression) finding.Finding {
		return finding.Finding{ID: id, Location: finding.Location{Path: "a.go", Line: line}, Suppressed: s}
	}
	got := Merge(
		Result{Files: 3, Findings: []finding.Finding{at("code-x", 1, nil), at("code-x", 2, nil), at("code-x", 3, nil)}},
		Result{Files: 1, Findings: []finding.Finding{at("G1", 1, nil), at("G1", 2, &finding.Suppression{By: "#nosec"})}},
	)
	var ids []string
	for _, f := range got.Findings {
		ids = append(ids, f.ID)
	}
	if d := cmp.Diff([]string{"code-x", "code-x", "G1", "G1"}, ids); d != "" || got.Files != 3 {
		t.Error(d, got.Files)
	}
}

// answers is a sandbox in which gosec says something; the go command, which is asked whether it runs there, says nothing.
type answers struct {
	text string
	exit int
	jobs []gobox.Job
}

func (a *answers) Run(_ context.Context, j gobox.Job) (int, error) {
	a.jobs = append(a.jobs, j)
	if j.Argv[0] == "go" {
		return 0, nil
	}
	_, err := io.WriteString(j.Out, a.text)
	return a.exit, err
}

func TestGosecRunsInTheSandbox(t *testing.T) {
	goProgram := need.Program(t, "go")
	analyserThat(t, gosecProgram, "echo '{}'; touch ran")
	t.Setenv("PATH", os.Getenv("PATH")+":"+filepath.Dir(goProgram))
	for name, c := range map[string]struct {
		answers  *answers
		problems int
	}{
		"an answer":   {&answers{text: `{"Findings":[{"id":"G1","location":{"path":"a.go","line":2}}]}`}, 0},
		"half of one": {&answers{text: `{"Findings":[`}, 1},
		"a failure":   {&answers{text: `{}`, exit: 1}, 1},
		"no answer":   {&answers{}, 1},
		"no sandbox":  {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := goTree(t)
			t.Chdir(t.TempDir())
			open := func(ctx context.Context) (*gobox.Box, error) {
				if c.answers == nil {
					return nil, nil
				}
				box, err := gobox.Open(ctx, c.answers, t.TempDir())
				if err == nil {
					t.Cleanup(func() { box.Close() })
				}
				return box, err
			}
			res, err := Go(t.Context(), dir, Options{Box: open})
			if err != nil || len(res.Problems) != c.problems || len(res.Findings) != 0 && c.problems > 0 {
				t.Errorf("%+v %v", res, err)
			}
			if _, err := os.Lstat("ran"); (err == nil) != (c.answers == nil) {
				t.Errorf("run outside: %v", err)
			}
			if c.answers == nil {
				return
			}
			j := c.answers.jobs[len(c.answers.jobs)-1]
			if d := cmp.Diff([]string{gosecProgram, gobox.Tree}, j.Argv); d != "" || j.Read[gobox.Tree] != dir {
				t.Error(d, j.Read)
			}
		})
	}
}
