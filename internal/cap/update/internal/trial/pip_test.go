package trial

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// wheel is one as pip takes it.
func wheel(t *testing.T, name, version, code string, requires ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	info := name + "-" + version + ".dist-info/"
	meta := "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"
	for _, r := range requires {
		meta += "Requires-Dist: " + r + "\n"
	}
	record := ""
	for _, f := range [][2]string{{name + "/__init__.py", code}, {name + "/__main__.py", "import " + name + "\n" + name + ".main()\n"}, {info + "entry_points.txt", "[console_scripts]\n" + name + " = " + name + ":main\n"}, {info + "METADATA", meta}, {info + "WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}, {info + "RECORD", ""}} {
		if record += f[0] + ",,\n"; strings.HasSuffix(f[0], "RECORD") {
			f[1] = record
		}
		out, err := w.Create(f[0])
		if err == nil {
			_, err = out.Write([]byte(f[1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// source is a part whose own code makes its wheel, and tells a place that it did.
func source(t *testing.T, stem, place string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range [][2]string{
		{"pyproject.toml", "[build-system]\nrequires = []\nbuild-backend = \"own\"\nbackend-path = [\".\"]\n"},
		{"own.py", "import urllib.request\nurllib.request.urlopen(" + fmt.Sprintf("%q", place+"/ran") + ")\n"},
	} {
		if err := w.WriteHeader(&tar.Header{Name: stem + "/" + f[0], Mode: 0o644, Size: int64(len(f[1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// simpleIndex serves files by project (PEP 691), and returns the sums by file.
func simpleIndex(t *testing.T, projects map[string]map[string][]byte) (string, map[string]string) {
	t.Helper()
	files, sums := map[string][]byte{}, map[string]string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ran" {
			t.Error("code of a part ran while the index was in reach")
		}
		b, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if strings.HasSuffix(r.URL.Path, "/") {
			w.Header().Set("Content-Type", "application/vnd.pypi.simple.v1+json")
		}
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	for project, all := range projects {
		var list []string
		for name, b := range all {
			if strings.HasSuffix(name, ".tar.gz") {
				b = source(t, strings.TrimSuffix(name, ".tar.gz"), s.URL)
			}
			sum := sha256.Sum256(b)
			sums[name] = hex.EncodeToString(sum[:])
			files["/files/"+name] = b
			list = append(list, fmt.Sprintf(`{"filename":%q,"url":"%s/files/%s","hashes":{"sha256":%q},"yanked":false,"upload-time":"2026-01-01T00:00:00Z"}`, name, s.URL, name, sums[name]))
		}
		files["/simple/"+project+"/"] = []byte(fmt.Sprintf(`{"meta":{"api-version":"1.1"},"name":%q,"files":[%s]}`, project, strings.Join(list, ",")))
	}
	return s.URL + "/simple", sums
}

// python is the environment of this machine, with another index.
func python(t *testing.T, index string) registry.PyPIEnv {
	t.Helper()
	need.Program(t, "python3")
	e, err := registry.ReadPyPIEnv(t.Context())
	if err != nil {
		need.Missing(t, err.Error())
	}
	e.Index = index
	return e
}

const partTest = "import unittest, part\nclass T(unittest.TestCase):\n    def test_one(self):\n        print('a word')\n        self.assertEqual(part.one(), 1)\n    def test_two(self):\n        self.assertEqual(part.two(), 2)\n"

// TestPipTriesWheelsAlone: with the real pip, and an index on loopback.
func TestPipTriesWheelsAlone(t *testing.T) {
	t.Parallel() // most of it waits for processes
	const good = "from low import low\ndef one(): return low()\ndef two(): return 2\n"
	index, sums := simpleIndex(t, map[string]map[string][]byte{
		"low": {"low-1.0-py3-none-any.whl": wheel(t, "low", "1.0", "def low(): return 1\n")},
		"part": {
			"part-1.0-py3-none-any.whl": wheel(t, "part", "1.0", good, "low"), "part-1.0.1-py3-none-any.whl": wheel(t, "part", "1.0.1", good, "low"),
			"part-1.0.2-py3-none-any.whl": wheel(t, "part", "1.0.2", "def one(): return 3\ndef two(): return 2\n"),
			"part-2.0-py3-none-any.whl":   wheel(t, "part", "2.0", good, "low>1"),
			"part-3.0.tar.gz":             nil,
		},
	})
	e := python(t, index)
	lock := "# what we use\npart==1.0 \\\n    --hash=sha256:" + sums["part-1.0-py3-none-any.whl"] + "\nlow==1.0 --hash=sha256:" + sums["low-1.0-py3-none-any.whl"] + "\n"
	repo, commit := repository(t, map[string]string{
		"app/requirements.txt": lock, "app/test_part.py": partTest,
		// What would run in pip's stead, or before it, if it looked into the tree.
		"app/pip/__main__.py": "print('the repository runs')", "app/venv.py": "raise SystemExit('the repository runs')",
	})
	tr := begin(t, Config{
		Repo: repo, Commit: commit, Dir: "app", Ecosystem: choose.PyPI, Lock: "requirements.txt", PyPI: e, Scratch: t.TempDir(), Sandbox: newBox(t), Progress: func(s string) { t.Log(s) },
	})
	for to, passes := range map[string]bool{"1.0.1": true, "1.0.2": false, "2.0": false, "3.0": false, "9.9": false} {
		out, err := tr.Try(t.Context(), []choose.Change{{Ecosystem: choose.PyPI, Name: "part", From: "1.0", To: to, How: choose.Raise}})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(out.Passed) == 1; got != passes || out.Tests != 2 {
			t.Errorf("%s: %+v", to, out)
		}
		if passes {
			want := strings.NewReplacer("part==1.0", "part==1.0.1", sums["part-1.0-py3-none-any.whl"], sums["part-1.0.1-py3-none-any.whl"]).Replace(lock)
			if d := cmp.Diff(map[string]string{"app/requirements.txt": want}, map[string]string{"app/requirements.txt": string(out.Files["app/requirements.txt"])}); d != "" || len(out.Files) != 1 {
				t.Error(d, out.Files)
			}
		}
	}
}

func TestWhatAProjectsPipWouldDoElsewhereIsRefused(t *testing.T) {
	t.Parallel()
	index, _ := simpleIndex(t, map[string]map[string][]byte{"part": {"part-1.0.tar.gz": nil}})
	e := python(t, index)
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"another index":           {map[string]string{"requirements.txt": "--extra-index-url https://evil.example/simple\npart==1.0\n"}, "evil.example"},
		"another index for tests": {map[string]string{"requirements.txt": "", "requirements-dev.txt": "-i https://evil.example/simple\n"}, "evil.example"},
		"a folder":                {map[string]string{"requirements.txt": "./part\n"}, "isn't understood"},
		"outside":                 {map[string]string{"requirements.txt": "-r ../../x.txt\n"}, "isn't in the repository"},
		"only source":             {map[string]string{"requirements.txt": "part==1.0\n"}, "No matching distribution"},
	} {
		t.Run(name, func(t *testing.T) {
			repo, commit := repository(t, c.files)
			tr, err := Begin(t.Context(), Config{Repo: repo, Commit: commit, Dir: ".", Ecosystem: choose.PyPI, Lock: "requirements.txt", PyPI: e, Scratch: t.TempDir(), Sandbox: newBox(t)})
			if err == nil {
				err = tr.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
		})
	}
}

func TestResultsOfPythonsTestsAreRead(t *testing.T) {
	names := func(r results) map[string][]string {
		out := map[string][]string{}
		for k, set := range map[string]map[string]bool{"passed": r.passed, "failed": r.failed} {
			for n := range set {
				out[k] = append(out[k], n)
			}
			slices.Sort(out[k])
		}
		return out
	}
	empty := func() results { return results{passed: map[string]bool{}, failed: map[string]bool{}} }
	r := empty()
	r.readUnittest("ok\ntest_a (m.T.test_a) ... ok\ntest_b (m.T.test_b)\nIts words ... ok\ntest_c (m.T.test_c) ... printed\nok\ntest_d (m.T.test_d) ... FAIL\ntest_e (m.T.test_e) ... skipped 'x'\n" +
		"test_f (m.T.test_f) ... ERROR\ntest_g (m.T.test_g) ... \n\nFAILED (failures=2)\n")
	want := map[string][]string{"passed": {"test_a (m.T.test_a)", "test_b (m.T.test_b)", "test_c (m.T.test_c)"}, "failed": {"test_d (m.T.test_d)", "test_f (m.T.test_f)"}}
	if d := cmp.Diff(want, names(r)); d != "" {
		t.Error(d)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"good.xml": `<testsuites><testsuite><testcase classname="m.T" name="a[x y]"/><testcase classname="m" name="b"><failure>x</failure></testcase>` +
			`<testcase classname="m" name="c"><skipped/></testcase><testcase classname="m" name="d"/><testcase classname="m" name="d"><error/></testcase></testsuite></testsuites>`,
		"cut.xml": "<testsuites><testcase",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("good.xml", filepath.Join(dir, "link.xml")); err != nil {
		t.Fatal(err)
	}
	r = empty()
	if err := r.readJUnit(dir, "good.xml"); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(map[string][]string{"passed": {"m.T a[x y]"}, "failed": {"m b", "m d"}}, names(r)); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"cut.xml", "link.xml", "absent.xml"} {
		if err := r.readJUnit(dir, bad); err == nil {
			t.Error(bad)
		}
	}
}

// TestTestsMayHaveRequirementsOfTheirOwn: a stand-in for pytest comes from the file for developers, which has no hashes, beside one that has.
func TestTestsMayHaveRequirementsOfTheirOwn(t *testing.T) {
	t.Parallel() // most of it waits for processes
	const runner = "import sys, part\ndef main():\n    at = [a for a in sys.argv if a.startswith('--junitxml=')][0][11:]\n    bad = part.one() != 1\n" +
		"    open(at, 'w').write('<testsuites><testcase classname=\"t\" name=\"one\">' + ('<failure/>' if bad else '') + '</testcase></testsuites>')\n    sys.exit(bad)\n"
	index, sums := simpleIndex(t, map[string]map[string][]byte{
		"pytest": {"pytest-8.0-py3-none-any.whl": wheel(t, "pytest", "8.0", runner, "part")},
		"part": {
			"part-1.0-py3-none-any.whl": wheel(t, "part", "1.0", "def one(): return 1\n"), "part-1.1-py3-none-any.whl": wheel(t, "part", "1.1", "def one(): return 1\n"),
			"part-1.2-py3-none-any.whl": wheel(t, "part", "1.2", "def one(): return 2\n"),
		},
	})
	repo, commit := repository(t, map[string]string{
		"requirements.txt": "part==1.0 --hash=sha256:" + sums["part-1.0-py3-none-any.whl"] + "\n", "requirements-dev.txt": "-r requirements.txt\npytest>=7\n",
	})
	tr := begin(t, Config{Repo: repo, Commit: commit, Dir: ".", Ecosystem: choose.PyPI, Lock: "requirements.txt", PyPI: python(t, index), Scratch: t.TempDir(), Sandbox: newBox(t)})
	for to, passes := range map[string]bool{"1.1": true, "1.2": false} {
		out, err := tr.Try(t.Context(), []choose.Change{{Ecosystem: choose.PyPI, Name: "part", From: "1.0", To: to, How: choose.Raise}})
		if err != nil || (len(out.Passed) == 1) != passes || out.Tests != 1 || passes && len(out.Files) != 1 {
			t.Errorf("%s: %+v %v", to, out, err)
		}
	}
}
