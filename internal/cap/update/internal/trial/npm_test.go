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
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wardtest/npm"
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

// shelf is a registry of npm.
type shelf struct {
	*httptest.Server
	mu      sync.Mutex // guards answers
	answers map[string][]byte
}

// npmRegistry serves packages, "name@version" → name → text.
func npmRegistry(t *testing.T, packages map[string]map[string]string) string {
	t.Helper()
	s := newShelf(t)
	s.fill(t, packages)
	return s.URL + "/"
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{answers: map[string][]byte{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		b, ok := s.answers[r.URL.Path]
		s.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	return s
}

// fill makes packages all that there is.
func (s *shelf) fill(t *testing.T, packages map[string]map[string]string) {
	t.Helper()
	answers := map[string][]byte{}
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
		at := files["published"]
		if at == "" {
			at = "2026-01-01T00:00:00Z"
		}
		d["time"].(map[string]string)[version] = at
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = answers
}

// npmConfig is a project of npm, whose lock file npm itself makes.
func npmConfig(t *testing.T, url string, files map[string]string) Config {
	t.Helper()
	return jsConfig(t, "npm", url, files)
}

// jsConfig is a project whose lock file its own tool makes.
func jsConfig(t *testing.T, tool, url string, files map[string]string) Config {
	t.Helper()
	need.Program(t, "npm")
	dir := t.TempDir()
	write(t, dir, files)
	lock := "package-lock.json"
	argv := []string{"npm", "install", "--package-lock-only", "--cache", t.TempDir(), "--no-audit", "--no-fund", "--omit-lockfile-registry-resolved"}
	switch tool {
	case "yarn":
		lock, argv = "yarn.lock", []string{"yarn", "install", "--no-default-rc", "--non-interactive", "--cache-folder", t.TempDir()}
	case "pnpm":
		lock, argv = "pnpm-lock.yaml", []string{"pnpm", "install", "--lockfile-only", "--store-dir", t.TempDir()}
	}
	if tool != "npm" {
		// The trial looks for yarn and pnpm there, too. It stays so, for others run beside this test.
		if bin := filepath.Join(npm.Modules(t), ".bin"); !strings.HasPrefix(os.Getenv("PATH"), bin) {
			if err := os.Setenv("PATH", bin+":"+os.Getenv("PATH")); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), argv[0], append(argv[1:], "--ignore-scripts", "--registry", url)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", tool, err, out)
	}
	write(t, dir, map[string]string{".gitignore": "node_modules\n"})
	for _, argv := range [][]string{{"init", "-q"}, {"add", "-A"}, {"commit", "-q", "-m", "first"}} {
		gitIn(t, dir, argv...)
	}
	return Config{
		Repo: dir, Commit: strings.TrimSpace(gitIn(t, dir, "rev-parse", "HEAD")), Dir: ".", Ecosystem: choose.NPM, Lock: lock,
		NPM: registry.NPMEnv{Registry: url}, Scratch: t.TempDir(), Sandbox: newBox(t), Progress: func(s string) { t.Log(s) },
	}
}

func pkg(name, version, dependencies, code string) map[string]map[string]string {
	return map[string]map[string]string{name + "@" + version: {
		"package.json": `{"name":"` + name + `","version":"` + version + `","dependencies":{` + dependencies + `}}`, "index.js": code,
	}}
}
