package plan_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/plan/words"
)

// TestGolden reads testdata/*.txtar: ward.yaml in; plan.txt, and plan.json where it
// is there, out. With UPDATE=1 in the environment the files are rewritten.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m, problems := wardfile.Parse("ward.yaml", bytes.NewReader(a.Files[0].Data))
	if problems.HasErrors() {
		t.Fatal(problems.String())
	}
	p := plan.Build(m)
	if _, err := policy.Compile(p, "2026-08-01"); err != nil {
		t.Error(err)
	}
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"plan.txt": words.Plan(p, "ward.yaml"), "plan.json": string(b) + "\n"}
	for i := range a.Files[1:] {
		f := &a.Files[i+1]
		if diff := cmp.Diff(string(f.Data), got[f.Name]); diff != "" && os.Getenv("UPDATE") == "" {
			t.Errorf("%s: %s", f.Name, diff)
		}
		f.Data = []byte(got[f.Name])
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, txtar.Format(a), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
