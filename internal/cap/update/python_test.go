package update

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
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
	"github.com/wardhq/ward/internal/wardtest/need"
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

// reads is a scanner that finds the hole in what a requirements file says.
type reads struct{}

func (reads) Look(ctx context.Context, dir string) ([]finding.Package, []finding.Finding, error) {
	b, err := os.ReadFile(filepath.Join(dir, "app/requirements/base.txt"))
	if err != nil || strings.Contains(string(b), "part==1.0\n") {
		return weak{map[string]string{"app/requirements/base.txt": ""}}.Look(ctx, dir)
	}
	_, version, _ := strings.Cut(strings.TrimSpace(string(b)), "==")
	return []finding.Package{{Ecosystem: choose.PyPI, Name: "part", Version: version, Location: finding.Location{Path: "app/requirements/base.txt"}, Direct: true}}, nil, err
}

// TestRequirementsAreProposedOnceTheyStoodTheirTrial: from the finding to the branch, with the real pip and sandbox.
func TestRequirementsAreProposedOnceTheyStoodTheirTrial(t *testing.T) {
	need.Program(t, "python3")
	e, err := registry.ReadPyPIEnv(t.Context())
	if err != nil {
		need.Missing(t, err.Error())
	}
	files, list := map[string][]byte{}, ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/simple/part/" {
			w.Header().Set("Content-Type", "application/vnd.pypi.simple.v1+json")
			fmt.Fprintf(w, `{"meta":{"api-version":"1.1"},"name":"part","files":[%s]}`, list)
			return
		}
		_, _ = w.Write(files[r.URL.Path])
	}))
	defer s.Close()
	for i, v := range []string{"1.0", "1.0.1"} {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		info := "part-" + v + ".dist-info/"
		for _, f := range [][2]string{
			{"part.py", "one = 1\n"},
			{info + "METADATA", "Metadata-Version: 2.1\nName: part\nVersion: " + v + "\n"},
			{info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
			{info + "RECORD", "part.py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n"},
		} {
			w, err := z.Create(f[0])
			if err == nil {
				_, err = w.Write([]byte(f[1]))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		name := "part-" + v + "-py3-none-any.whl"
		files["/"+name] = b.Bytes()
		if i > 0 {
			list += ","
		}
		list += fmt.Sprintf(`{"filename":%q,"url":"%s/%s","hashes":{"sha256":"%x"},"upload-time":"2026-01-0%dT00:00:00Z"}`, name, s.URL, name, sha256.Sum256(b.Bytes()), i+1)
	}
	e.Index = s.URL + "/simple"
	dir := t.TempDir()
	for name, text := range map[string]string{"app/requirements/base.txt": "part==1.0\n", "app/test_app.py": "import unittest, part\nclass T(unittest.TestCase):\n    def test_one(self):\n        self.assertEqual(part.one, 1)\n"} {
		if err := os.MkdirAll(filepath.Join(dir, "app/requirements"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	gitIn(t, dir, "init", "-q")
	gitIn(t, dir, "add", "-A")
	gitIn(t, dir, "commit", "-q", "-m", "first")
	r, err := Run(t.Context(), Request{
		Dir: dir, Scanner: reads{}, Sandbox: newRealSandbox(t), Scratch: t.TempDir(), SeenLog: filepath.Join(t.TempDir(), "seen"),
		Clock: clock.Func(func() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }), sources: sources{pypi: e, set: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Proposals) != 1 || len(r.Held) != 0 || r.Before != 1 || r.After != 0 || r.Proposals[0].Tests != 1 || !strings.Contains(strings.Join(r.Proposals[0].Notices, ""), "isn't known") {
		t.Fatalf("%+v", r)
	}
	if got := gitIn(t, dir, "show", r.Proposals[0].Branch+":app/requirements/base.txt"); strings.TrimSpace(got) != "part==1.0.1" {
		t.Errorf("%q", got)
	}
}

func TestEachRequirementsFileHasBranchesOfItsOwn(t *testing.T) {
	met := map[string]string{}
	for _, file := range []string{"requirements.txt", "requirements-dev.txt", "app/requirements.txt", "app/requirements/base.txt", "app/requirements/dev.txt"} {
		name := branchOf(&Proposal{Risk: "patch", Changes: []Change{{Ecosystem: choose.PyPI, Name: "part", Path: file}}})
		if met[name] != "" {
			t.Errorf("%s and %s: %s", file, met[name], name)
		}
		met[name] = file
	}
}
