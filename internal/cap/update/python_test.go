package update

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/finding"
)

// weak is a scanner that finds one part in each file, with a hole that 1.0.1 and 2.0 mend.
type weak struct{ files map[string]string }

func (w weak) Look(context.Context, string) (parts []finding.Package, found []finding.Finding, err error) {
	for file := range w.files {
		p := finding.Package{Ecosystem: choose.PyPI, Name: "part", Version: "1.0", Location: finding.Location{Path: file}, Direct: true}
		parts = append(parts, p)
		found = append(found, finding.Finding{ID: "PYSEC-1", Kind: finding.Dependency, Tool: "ward", Package: &p, Fixed: []string{"1.0.1", "2.0"}})
	}
	return parts, found, nil
}

// TestRequirementsArePlannedOnlyWhereWardMayAsk: a private index's part is held without a word to the index that is asked for others.
func TestRequirementsArePlannedOnlyWhereWardMayAsk(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		var files []string
		for i, v := range []string{"1.0", "1.0.1rc1", "1.0.1", "1.0.2", "2.0"} {
			files = append(files, fmt.Sprintf(`{"filename":"part-%s-py3-none-any.whl","hashes":{"sha256":"00"},"upload-time":"2026-01-0%dT00:00:00Z"}`, v, i+1))
		}
		fmt.Fprintf(w, `{"name":"part","files":[%s]}`, strings.Join(files, ","))
	}))
	defer s.Close()
	for name, c := range map[string]struct {
		files map[string]string
		plan  string
		held  string
	}{
		"a pin":           {map[string]string{"requirements.txt": "part==1.0\n"}, "1.0.1", ""},
		"another index":   {map[string]string{"requirements.txt": "--index-url https://corp.example/simple\npart==1.0\n"}, "", "corp.example"},
		"a line too many": {map[string]string{"requirements.txt": "part==1.0\n./own\n"}, "", "isn't understood"},
		"another's lock":  {map[string]string{"poetry.lock": ""}, "", "poetry update part"},
	} {
		t.Run(name, func(t *testing.T) {
			asked = 0
			dir := t.TempDir()
			for f, text := range c.files {
				if err := os.WriteFile(filepath.Join(dir, f), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			gitIn(t, dir, "init", "-q")
			gitIn(t, dir, "add", "-A")
			gitIn(t, dir, "commit", "-q", "-m", "first")
			r, err := Run(t.Context(), Request{
				Dir: dir, Scanner: weak{c.files}, SeenLog: filepath.Join(t.TempDir(), "seen"), Clock: clock.Func(func() time.Time { return now }), Plan: true,
				sources: sources{pypi: registry.PyPIEnv{Index: s.URL}, set: true},
			})
			if err != nil {
				t.Fatal(err)
			}
			if c.plan != "" {
				if len(r.Planned) != 1 || r.Planned[0].Changes[0].To != c.plan || r.Planned[0].Changes[0].Risk != choose.Security || asked != 1 {
					t.Errorf("%+v, %d asked", r, asked)
				}
			} else if len(r.Planned) != 0 || len(r.Held) != 1 || !strings.Contains(r.Held[0].Reason, c.held) || asked != 0 {
				t.Errorf("%+v, %d asked", r, asked)
			}
		})
	}
}
