package trial

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// tarball is a package as npm packs it.
func tarball(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := files[name]
		if err := w.WriteHeader(&tar.Header{Name: "package/" + name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
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

// npmRegistry serves packages, "name@version" → name → text.
func npmRegistry(t *testing.T, packages map[string]map[string]string) string {
	t.Helper()
	answers := map[string][]byte{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := answers[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	documents := map[string]map[string]any{}
	for key, files := range packages {
		name, version, _ := strings.Cut(key, "@")
		b := tarball(t, files)
		file := "/" + name + "/-/" + name + "-" + version + ".tgz"
		answers[file] = b
		var manifest map[string]any
		if err := json.Unmarshal([]byte(files["package.json"]), &manifest); err != nil {
			t.Fatal(err)
		}
		sum := sha512.Sum512(b)
		manifest["dist"] = map[string]string{"tarball": s.URL + file, "integrity": "sha512-" + base64.StdEncoding.EncodeToString(sum[:])}
		d := documents[name]
		if d == nil {
			d = map[string]any{"name": name, "versions": map[string]any{}, "time": map[string]string{}, "dist-tags": map[string]string{"latest": version}}
			documents[name] = d
		}
		d["versions"].(map[string]any)[version] = manifest
		d["time"].(map[string]string)[version] = "2026-01-01T00:00:00Z"
		if tags := d["dist-tags"].(map[string]string); tags["latest"] < version {
			tags["latest"] = version
		}
	}
	for name, d := range documents {
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		answers["/"+name] = b
	}
	return s.URL + "/"
}

// npmConfig is a project of npm, whose lock file npm itself makes.
func npmConfig(t *testing.T, url string, files map[string]string) Config {
	t.Helper()
	npm := need.Program(t, "npm")
	dir := t.TempDir()
	write(t, dir, files)
	cmd := exec.CommandContext(t.Context(), npm, "install", "--package-lock-only", "--ignore-scripts", "--registry", url, "--cache", t.TempDir(), "--no-audit", "--no-fund", "--omit-lockfile-registry-resolved")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm: %v\n%s", err, out)
	}
	write(t, dir, map[string]string{".gitignore": "node_modules\n"})
	for _, argv := range [][]string{{"init", "-q"}, {"add", "-A"}, {"commit", "-q", "-m", "first"}} {
		gitIn(t, dir, argv...)
	}
	return Config{
		Repo: dir, Commit: strings.TrimSpace(gitIn(t, dir, "rev-parse", "HEAD")), Dir: ".", Ecosystem: choose.NPM,
		NPM: registry.NPMEnv{Registry: url}, Scratch: t.TempDir(), Sandbox: newBox(t), Progress: func(s string) { t.Log(s) },
	}
}

func pkg(name, version, dependencies, code string) map[string]map[string]string {
	return map[string]map[string]string{name + "@" + version: {
		"package.json": `{"name":"` + name + `","version":"` + version + `","dependencies":{` + dependencies + `}}`, "index.js": code,
	}}
}

func TestChangesOfNPMAreMadeInEachWay(t *testing.T) {
	one := func(name string, versions ...string) map[string]map[string]string {
		out := map[string]map[string]string{}
		for _, v := range versions {
			out = join(out, pkg(name, v, "", "module.exports = 1"))
		}
		return out
	}
	parent := pkg("parent", "1.0.0", `"inner":"^1.0.0","tight":"1.0.0"`, "module.exports = require('inner') + require('tight')")
	c := npmConfig(t, npmRegistry(t, join(one("direct", "1.0.0"), one("inner", "1.0.0", "2.0.0"), one("tight", "1.0.0"), parent)), map[string]string{
		"package.json": `{"name":"app","version":"1.0.0","scripts":{"test":"node test.js"},"dependencies":{"direct":"^1.0.0","inner":"2.0.0","parent":"^1.0.0"}}`,
		"test.js":      "if (require('direct') + require('parent') !== 3) process.exit(1)",
	})
	// Newer ones come only now, so that the lock file holds the old ones. What is asked for is chosen, not the newest.
	c.NPM.Registry = npmRegistry(t, join(one("direct", "1.0.0", "1.0.1", "1.0.2"), one("inner", "1.0.0", "1.0.1", "1.0.9", "2.0.0"), one("tight", "1.0.0", "1.0.1", "1.0.9"), parent))
	tr := begin(t, c)
	ch := func(name, to string, how choose.How) choose.Change {
		return choose.Change{Ecosystem: choose.NPM, Name: name, From: "1.0.0", To: to, How: how}
	}
	out, err := tr.Try(t.Context(), []choose.Change{ch("direct", "1.0.1", choose.Raise), ch("inner", "1.0.1", choose.Lock), ch("tight", "1.0.1", choose.Override)})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Passed) != 3 || out.Tests != 1 || out.Attempts != 1 {
		t.Fatalf("%+v", out)
	}
	var lock struct {
		Packages map[string]struct{ Version string }
	}
	if err := json.Unmarshal(out.Files["package-lock.json"], &lock); err != nil {
		t.Fatal(err)
	}
	// What others hold of the same part stays.
	for at, want := range map[string]string{"direct": "1.0.1", "parent/node_modules/inner": "1.0.1", "inner": "2.0.0", "tight": "1.0.1"} {
		if got := lock.Packages["node_modules/"+at].Version; got != want {
			t.Errorf("%s is %s, not %s", at, got, want)
		}
	}
	var m struct{ Overrides, Dependencies map[string]string }
	if err := json.Unmarshal(out.Files["package.json"], &m); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"tight@1.0.0": "1.0.1"}, m.Overrides); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"direct": "^1.0.1", "inner": "2.0.0", "parent": "^1.0.0"}, m.Dependencies); d != "" {
		t.Error(d)
	}
}
