package code

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/finding"
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
