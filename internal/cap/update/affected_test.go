package update

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/wardtest/need"
)

func TestOnlyTestsThatUseAChangedModuleAreAffected(t *testing.T) {
	need.Program(t, "go")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":      "module example.com/app\n\ngo 1.24\n\nrequire (\n\texample.com/x v1.0.0\n\texample.com/xy v1.0.0\n)\n\nreplace example.com/x => ./x\n\nreplace example.com/xy => ./xy\n",
		"x/go.mod":    "module example.com/x\n\ngo 1.24\n",
		"x/p/p.go":    "package p\n\nfunc Do() {}\n",
		"xy/go.mod":   "module example.com/xy\n\ngo 1.24\n",
		"xy/xy.go":    "package xy\n\nfunc Do() {}\n",
		"direct/d.go": "package direct\n\nimport \"example.com/x/p\"\n\nfunc Do() { p.Do() }\n", "direct/d_test.go": "package direct\n",
		"above/a.go": "package above\n\nimport \"example.com/app/direct\"\n\nfunc Do() { direct.Do() }\n", "above/a_test.go": "package above_test\n\nimport _ \"example.com/app/above\"\n",
		"intest/i.go": "package intest\n", "intest/i_test.go": "package intest\n\nimport _ \"example.com/x/p\"\n",
		"other/o.go": "package other\n\nimport \"example.com/xy\"\n\nfunc Do() { xy.Do() }\n", "other/o_test.go": "package other\n",
		"untested/u.go": "package untested\n\nimport _ \"example.com/x/p\"\n",
	} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	groups := []choose.Group{{Changes: []choose.Change{{Ecosystem: choose.Go, Name: "example.com/x", Path: "go.mod"}, {Ecosystem: choose.Go, Name: "example.com/xy", Path: "elsewhere/go.mod"}}}}
	u := &run{Request: Request{Affected: true}, root: dir}
	got, err := u.affected(t.Context(), project{choose.Go, ".", "go.mod"}, groups)
	if d := cmp.Diff([]string{"example.com/app/above", "example.com/app/direct", "example.com/app/intest"}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	u.Affected = false
	if got, err := u.affected(t.Context(), project{choose.Go, ".", "go.mod"}, groups); got != nil || err != nil {
		t.Error(got, err)
	}
}
