package trial

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/wardtest/need"
)

func TestMain(m *testing.M) {
	sandbox.Stage(os.Args, nil)
	os.Exit(m.Run())
}

// box is Ward's own sandbox; change lets a test switch a guard off.
type box struct {
	launcher *sandbox.Launcher
	host     sandbox.Host
	change   func(*sandbox.Job)
}

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{launcher: sandbox.NewLauncher(), host: sandbox.JobHost(t.TempDir())}
	t.Cleanup(b.launcher.Close)
	return b
}

func (b *box) Run(ctx context.Context, j Job) (int, error) {
	job := sandbox.Job(j)
	if b.change != nil {
		b.change(&job)
	}
	exit, err := b.launcher.RunJob(ctx, job, b.host)
	return exit.Code, err
}

// goProxy serves modules, "path@version" → name → text.
func goProxy(t *testing.T, modules map[string]map[string]string) string {
	t.Helper()
	answers := map[string][]byte{}
	for key, files := range modules {
		name, version, _ := strings.Cut(key, "@")
		dir := t.TempDir()
		write(t, dir, files)
		var b bytes.Buffer
		if err := modzip.CreateFromDir(&b, module.Version{Path: name, Version: version}, dir); err != nil {
			t.Fatal(err)
		}
		at := "/" + name + "/@v/"
		answers[at+version+".zip"] = b.Bytes()
		answers[at+version+".mod"] = []byte(files["go.mod"])
		answers[at+version+".info"] = []byte(fmt.Sprintf(`{"Version":%q,"Time":"2026-01-01T00:00:00Z"}`, version))
		answers[at+"list"] = append(answers[at+"list"], version+"\n"...)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := answers[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// repository commits files, and returns its folder and commit.
func repository(t *testing.T, files map[string]string) (dir, commit string) {
	t.Helper()
	need.Program(t, "git")
	dir = t.TempDir()
	write(t, dir, files)
	for _, argv := range [][]string{{"init", "-q"}, {"add", "-A"}, {"commit", "-q", "-m", "first"}} {
		gitIn(t, dir, argv...)
	}
	return dir, strings.TrimSpace(gitIn(t, dir, "rev-parse", "HEAD"))
}

func gitIn(t *testing.T, dir string, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, argv...)...)
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", argv, err, b)
	}
	return string(b)
}

// goConfig is a project of Go whose modules come from a proxy of the test's.
func goConfig(t *testing.T, proxy string, files map[string]string) Config {
	t.Helper()
	repo, commit := repository(t, files)
	e, err := registry.ReadGoEnv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e.Proxy, e.SumDB, e.NoProxy, e.ModCache = proxy, "off", "", ""
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	// Compiling the standard library anew takes most of the time.
	warm := filepath.Join(cache, "ward-trial-test")
	if err := os.MkdirAll(warm, 0o755); err != nil {
		t.Fatal(err)
	}
	return Config{
		Repo: repo, Commit: commit, Dir: ".", Ecosystem: choose.Go, Go: e, Scratch: t.TempDir(), Sandbox: newBox(t), BuildCache: filepath.Join(warm, "build"),
		Progress: func(s string) { t.Log(s) },
	}
}

func begin(t *testing.T, c Config) *Trial {
	t.Helper()
	tr, err := Begin(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(c.Scratch); err != nil || len(left) > 0 {
			t.Error("left behind:", left, err)
		}
	})
	return tr
}
