package inventory

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// names are those of all text files that are known.
var names = []string{
	"go.mod", "go.work", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "requirements.txt", "poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock", "pom.xml",
	"gradle.lockfile", "Cargo.lock", "Gemfile.lock", "composer.lock", "packages.lock.json", "x.deps.json", "var/lib/dpkg/status", "lib/apk/db/installed",
	"x.dist-info/METADATA", "node_modules/x/package.json",
}

func jar(t testing.TB, entries map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, data := range entries {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestHostileFilesEndSoonWithAProblem gives each file to every extractor: none may run long, and those that claim to be what they aren't are named.
func TestHostileFilesEndSoonWithAProblem(t *testing.T) {
	const size = 1 << 20
	for name, c := range map[string]struct {
		data string
		fit  []string // those that must say a problem
	}{
		"open brackets":       {strings.Repeat("[", size), []string{"package-lock.json", "poetry.lock", "Cargo.lock", "composer.lock", "bun.lock"}},
		"open braces":         {strings.Repeat(`{"a":`, size/5), []string{"package-lock.json", "packages.lock.json", "Pipfile.lock", "x.deps.json", "bun.lock"}},
		"nested dependencies": {`{"dependencies":` + strings.Repeat(`{"a":{"version":"1","dependencies":`, size/35), []string{"package-lock.json"}},
		"nested arrays":       {"[[package]]\nname = \"a\"\nversion = \"1\"\nx = " + strings.Repeat("[", size), []string{"poetry.lock", "uv.lock", "pdm.lock", "Cargo.lock"}},
		"nested elements":     {strings.Repeat("<project>", size/9), []string{"pom.xml"}},
		"entities":            {`<!DOCTYPE p [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><project><version>&b;</version></project>`, []string{"pom.xml"}},
		"NULs":                {strings.Repeat("\x00", size), []string{"go.mod", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "poetry.lock", "pom.xml", "Gemfile.lock", "var/lib/dpkg/status", "lib/apk/db/installed", "requirements.txt", "gradle.lockfile"}},
		"not UTF-8":           {strings.Repeat("\xff\xfe", size/2), []string{"go.mod", "package-lock.json", "poetry.lock", "pom.xml", "yarn.lock", "Gemfile.lock", "var/lib/dpkg/status"}},
		"one long line":       {strings.Repeat("a", size), []string{"go.mod", "yarn.lock", "pnpm-lock.yaml", "poetry.lock", "gradle.lockfile", "var/lib/dpkg/status", "lib/apk/db/installed"}},
		"an open text":        {`[[package]]` + "\nname = \"" + strings.Repeat(`\"`, size/2), []string{"Cargo.lock"}},
		"backslashes":         {strings.Repeat("a \\\n", size/4), nil},
	} {
		for _, at := range names {
			start := time.Now()
			inv, err := Find(t.Context(), tree(map[string]string{at: c.data, "etc/os-release": "ID=debian\nVERSION_ID=12\n"}), Options{RootFS: true})
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("%s in %s took %v", name, at, took)
			}
			if slices.Contains(c.fit, at) && len(inv.Problems) == 0 {
				t.Errorf("%s in %s is no problem, and names %d parts", name, at, len(inv.Packages))
			}
			if len(inv.Problems) > maxProblems+1 {
				t.Errorf("%s in %s gives %d problems", name, at, len(inv.Problems))
			}
		}
	}
}

func TestPropertiesThatGrowWithoutEnd(t *testing.T) {
	var b strings.Builder
	b.WriteString("<project><groupId>g</groupId><artifactId>a</artifactId><properties><p0>${p0}</p0>")
	for i := range 60 {
		fmt.Fprintf(&b, "<p%d>${p%d}${p%d}</p%d>", i+1, i, i, i+1)
	}
	b.WriteString("</properties><dependencies><dependency><groupId>x</groupId><artifactId>y</artifactId><version>${p60}</version></dependency></dependencies></project>")
	inv, err := Find(t.Context(), tree(map[string]string{"pom.xml": b.String()}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(inv); got != "pom.xml:1 Maven x:y  direct\n" {
		t.Errorf("found %q", got)
	}
}

func TestNestingIsLimited(t *testing.T) {
	inv, err := Find(t.Context(), tree(map[string]string{
		"Cargo.lock":        "x = " + strings.Repeat("[", 100) + strings.Repeat("]", 100),
		"package-lock.json": strings.Repeat(`{"dependencies":{"a":`, 100) + `{"version":"1"}` + strings.Repeat("}}", 100),
		"pom.xml":           "<project><properties><v>" + strings.Repeat("1", maxValue+1) + "</v></properties><dependencies><dependency><groupId>x</groupId><artifactId>y</artifactId><version>${v}</version></dependency></dependencies></project>",
	}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkProblems(t, []string{"Cargo.lock: read TOML: line 1: values are nested deeper", "package-lock.json: read npm's lock file: dependencies are nested deeper"}, inv.Problems)
	if got := lines(inv); got != "pom.xml:1 Maven x:y  direct\n" {
		t.Errorf("found %q", got)
	}
}

func TestParentsInACircle(t *testing.T) {
	pom := func(name, parent string) string {
		return "<project><groupId>g</groupId><artifactId>" + name + "</artifactId><parent><groupId>g</groupId><artifactId>" + parent + "</artifactId></parent></project>"
	}
	inv, err := Find(t.Context(), tree(map[string]string{"a/pom.xml": pom("a", "b"), "b/pom.xml": pom("b", "a")}), Options{})
	if err != nil || len(inv.Packages) != 0 {
		t.Errorf("found %v, %v", inv.Packages, err)
	}
}

func TestLimits(t *testing.T) {
	lim := standard()
	lim.files, lim.depth, lim.text, lim.binary, lim.unpacked, lim.packages = 20, 3, 200, 5000, 6000, 5
	many := func(n int) map[string]string {
		files := map[string]string{}
		for i := range n {
			files[fmt.Sprintf("f%03d", i)] = ""
		}
		return files
	}
	nested := jar(t, map[string][]byte{"a.class": nil})
	for range maxArchives + 2 {
		nested = jar(t, map[string][]byte{"a.jar": nested})
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"too many files":          {many(30), "more than 20 entries"},
		"too deep":                {map[string]string{"a/b/c/d/e/go.mod": "module m"}, "nested deeper than 3"},
		"too large a lock file":   {map[string]string{"package-lock.json": strings.Repeat(" ", 300)}, "larger than 200 bytes"},
		"too many parts":          {map[string]string{"requirements.txt": strings.Repeat("a==1\n", 10)}, "more than 5 parts"},
		"a zip bomb":              {map[string]string{"x.jar": string(jar(t, map[string][]byte{"META-INF/MANIFEST.MF": make([]byte, 50_000)}))}, "larger than 5000 bytes"},
		"zip bombs one by one":    {map[string]string{"x.jar": string(jar(t, map[string][]byte{"a/pom.properties": make([]byte, 4000), "b/pom.properties": make([]byte, 4000)}))}, "unpacked, the archive is larger"},
		"not an archive":          {map[string]string{"x.jar": "PK"}, "read archive x.jar"},
		"archives without an end": {map[string]string{"x.jar": string(nested)}, "nested deeper than 16"},
	} {
		t.Run(name, func(t *testing.T) {
			lim := lim
			if name == "archives without an end" {
				lim = standard()
			}
			inv, err := find(t.Context(), tree(c.files), Options{}, lim)
			if err != nil {
				t.Fatal(err)
			}
			if len(inv.Problems) != 1 || !strings.Contains(inv.Problems[0].Reason, c.want) {
				t.Errorf("problems %v, want one with %q", inv.Problems, c.want)
			}
		})
	}
}

func TestOnlyLinksToLockFilesWithinTheTreeAreFollowed(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	lock := []byte("gone==1\n")
	for _, name := range []string{filepath.Join(outside, "requirements.txt"), filepath.Join(dir, "own.txt")} {
		if err := os.WriteFile(name, lock, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"loop": ".", "out": outside, "requirements.txt": filepath.Join(outside, "requirements.txt"), "self": "self", "own-requirements.txt": "own.txt", "package-lock.json": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "dev-requirements.txt"), []byte("here==1\n-r requirements.txt\n-r out/requirements.txt\n-r self\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	inv, err := Find(t.Context(), root.FS(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(inv); got != "dev-requirements.txt:1 PyPI here 1 direct\nown-requirements.txt:1 PyPI gone 1 direct\n" || len(inv.Problems) != 4 {
		t.Errorf("found %q and %v", got, inv.Problems)
	}
}

func TestALockFileThatIsNoneHidesNoOther(t *testing.T) {
	const lock = `{"packages":{"node_modules/a":{"version":"1"}}}`
	none := func(string) bool { return false }
	for name, c := range map[string]struct {
		other *fstest.MapFile
		skip  func(string) bool
		want  string
	}{
		"npm's own choice":         {&fstest.MapFile{Data: []byte("{}")}, none, ""},
		"one that is skipped":      {&fstest.MapFile{Data: []byte("{}")}, func(name string) bool { return name == "npm-shrinkwrap.json" }, "package-lock.json:1 npm a 1\n"},
		"one that is a folder":     {&fstest.MapFile{Mode: fs.ModeDir | 0o755}, none, "package-lock.json:1 npm a 1\n"},
		"one that is a named pipe": {&fstest.MapFile{Mode: fs.ModeNamedPipe | 0o644}, none, "package-lock.json:1 npm a 1\n"},
	} {
		inv, err := Find(t.Context(), fstest.MapFS{"package-lock.json": {Data: []byte(lock)}, "npm-shrinkwrap.json": c.other}, Options{Skip: c.skip})
		if err != nil {
			t.Fatal(err)
		}
		if got := lines(inv); got != c.want || (name == "one that is a named pipe") != (len(inv.Problems) == 1) {
			t.Errorf("%s: %q and %v", name, got, inv.Problems)
		}
	}
}

func TestLockFilesThatAreNotReadAreToldOf(t *testing.T) {
	inv, err := Find(t.Context(), tree(map[string]string{"bun.lockb": "x", "a/pubspec.lock": "packages: {}", "b/pylock.toml": ""}), Options{})
	if err != nil || len(inv.Problems) != 3 {
		t.Errorf("%v %v", inv.Problems, err)
	}
}

func TestFoldersThatAreLeftOut(t *testing.T) {
	files := map[string]string{}
	for _, dir := range []string{"", ".git/", "node_modules/x/", "a/testdata/", "a/keep/", "third/party/", "venv/lib/site-packages/x/"} {
		files[dir+"requirements.txt"] = "a==1\n"
	}
	inv, err := Find(t.Context(), tree(files), Options{Skip: func(name string) bool { return name == "a/testdata" || name == "third/party" }})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(inv.Files, " "); got != "a/keep/requirements.txt requirements.txt" {
		t.Errorf("read %s", got)
	}
}

// closed is a file system whose folder can't be read.
type closed struct{ fs.FS }

func (c closed) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == "locked" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return fs.ReadDir(c.FS, name)
}

func TestAFolderThatCannotBeReadIsAProblem(t *testing.T) {
	inv, err := Find(t.Context(), closed{tree(map[string]string{"locked/go.mod": "module m", "requirements.txt": "a==1"})}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkProblems(t, []string{"locked: can't be read: permission denied"}, inv.Problems)
	if len(inv.Packages) != 1 {
		t.Errorf("found %v", inv.Packages)
	}
}

func TestFindEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(ctx, tree(map[string]string{"go.mod": "module m"}), Options{}); err == nil {
		t.Error("no error")
	}
}

func FuzzFind(f *testing.F) {
	for i, text := range []string{
		"module m\ngo 1.24\nrequire a.b/c v1.0.0\n", "go 1.24\nuse .\n", `{"packages":{"node_modules/a":{"version":"1","dependencies":{"b":"1"}}}}`, "a@^1:\n  version \"1\"\n", "lockfileVersion: '9.0'\npackages:\n  a@1:\n",
		`{"packages":{"a":["a@1","",{},""],},}`, "a==1 \\\n ; x\n", "[[package]]\nname = \"a\"\nversion = '1'\nx = [{a=1}]\n", "[[package]]\nname=\"a\"\nversion=\"1\"\nsource = { editable = \".\" }\n", "[[package]]\n",
		`{"default":{"a":{"version":"==1"}}}`, "<project><dependencies><dependency><groupId>a</groupId></dependency></dependencies></project>", "a:b:1=c\n", "[[package]]\n", "GEM\n  specs:\n    a (1)\n      b\n",
		`{"packages":[{"name":"a/b","version":"1"}]}`, `{"dependencies":{"net":{"a":{"resolved":"1"}}}}`, `{"libraries":{"a/1":{"type":"package"}}}`, "Package: a\nStatus: x y installed\nVersion: 1\n", "P:a\nV:1\n", "Name: a\nVersion: 1\n", `{"name":"a","version":"1"}`,
	} {
		f.Add(i, []byte(text))
	}
	f.Add(10, []byte(`{"default":{"":{}}}`))
	f.Add(4, []byte(":\n::: a\n"))
	f.Fuzz(func(t *testing.T, which int, data []byte) {
		at := names[((which%len(names))+len(names))%len(names)]
		inv, err := Find(t.Context(), fstest.MapFS{at: {Data: data}, "etc/os-release": {Data: []byte("ID=debian\nVERSION_ID=12\n")}}, Options{RootFS: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range inv.Packages {
			if p.Name == "" {
				t.Fatalf("%s names a part without a name: %+v", at, p)
			}
		}
	})
}

// FuzzJar gives bytes to the readers of binary files.
func FuzzJar(f *testing.F) {
	f.Add("x.jar", jar(f, map[string][]byte{"META-INF/maven/pom.properties": []byte("groupId=a\nartifactId=b\nversion=1"), "b.jar": jar(f, nil)}))
	f.Add("x.exe", []byte("MZ\x00\x00"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if name != "x.jar" {
			name = "x.exe"
		}
		if _, err := Find(t.Context(), fstest.MapFS{name: {Data: data, Mode: 0o755}}, Options{}); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzUnmarshal gives bytes to the parsers of single values.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"type":"MIT"}`))
	f.Add([]byte(`<dependency><version>1</version></dependency>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var names npmNames
		var license npmLicense
		_, _ = names.UnmarshalJSON(data), license.UnmarshalJSON(data)
		var props pomProps
		var dep pomDep
		dec := xml.NewDecoder(bytes.NewReader(data))
		if tok, err := dec.Token(); err == nil {
			if start, ok := tok.(xml.StartElement); ok {
				_ = props.UnmarshalXML(dec, start)
				_ = dep.UnmarshalXML(dec, start)
			}
		}
	})
}
