package update

import (
	"archive/zip"
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
)

// TestMain lets the test binary be what it starts: a stage of a sandbox, and the process inside that compares.
func TestMain(m *testing.M) {
	sandbox.Stage(os.Args, nil)
	if len(os.Args) > 1 && os.Args[1] == APIVerb {
		if os.Getenv("GOMEMLIMIT") == "" || AnalyseAPI(os.Args[2:]) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

type realSandbox struct {
	launcher *sandbox.Launcher
	host     sandbox.Host
	jobs     []Job
}

func (b *realSandbox) Run(ctx context.Context, j Job) (int, error) {
	b.jobs = append(b.jobs, j)
	exit, err := b.launcher.RunJob(ctx, sandbox.Job(j), b.host)
	return exit.Code, err
}

func newRealSandbox(t *testing.T) *realSandbox {
	b := &realSandbox{launcher: sandbox.NewLauncher(), host: sandbox.JobHost(t.TempDir())}
	t.Cleanup(b.launcher.Close)
	return b
}

// versions is a proxy with the zips of example.com/part.
func versions(t *testing.T, texts map[string]string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		version := strings.TrimSuffix(filepath.Base(r.URL.Path), ".zip")
		text, ok := texts[version]
		if !ok {
			http.NotFound(w, r)
			return
		}
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		f, err := z.Create("example.com/part@" + version + "/part.go")
		if err == nil {
			_, err = f.Write([]byte(text))
		}
		if err != nil || z.Close() != nil {
			t.Error(err)
		}
		_, _ = w.Write(b.Bytes())
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestAProposalSaysWhatItTakesAwayOfWhatIsUsed(t *testing.T) {
	dir, scratch := t.TempDir(), t.TempDir()
	for p := scratch; len(p) > len(os.TempDir()); p = filepath.Dir(p) { // the sandbox's user passes through
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nimport \"example.com/part\"\n\nvar _ = part.New()\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	proxy := versions(t, map[string]string{
		"v1.0.0": "package part\nfunc New() int { return 0 }\nfunc Old() {}\n",
		"v1.1.0": "package part\nfunc New() int { return 0 }\n",
		"v1.2.0": "package part\nfunc New() string { return `` }\n",
		"v1.3.0": "package part\nfunc New( {",
	})
	for to, want := range map[string]struct {
		breaks int
		said   string
	}{
		"v1.1.0": {0, "example.com/part v1.1.0 takes away or changes 1 things of its API, none of which is used here."},
		"v1.2.0": {1, "What example.com/part v1.2.0 takes away or changes of what is used here: example.com/part: New: changed from func() int to func() string."},
		"v1.3.0": {1, "Packages of example.com/part v1.3.0 that couldn't be compared: example.com/part: it can't be parsed"},
		"v1.4.0": {1, "What example.com/part v1.4.0 takes away isn't known: fetch example.com/part v1.4.0"},
	} {
		box := newRealSandbox(t)
		u := &run{Request: Request{Sandbox: box, Scratch: scratch, sources: sources{set: true, goEnv: registry.GoEnv{Proxy: proxy, NoSumDB: "*"}}}}
		p := &Proposal{Changes: []Change{{Ecosystem: choose.Go, Name: "example.com/part", From: "v1.0.0", To: to, Path: "go.mod"}}}
		if err := u.surface(t.Context(), dir, p); err != nil {
			t.Fatal(err)
		}
		if len(p.Notices) != 1 || !strings.HasPrefix(p.Notices[0], want.said) || p.Breaks != want.breaks {
			t.Errorf("%s: %q, %d", to, p.Notices, p.Breaks)
		}
		for _, j := range box.jobs {
			if d := cmp.Diff([]string(nil), j.Reach); d != "" || len(j.Write) != 1 {
				t.Errorf("the comparison can reach %s, and write %v", d, j.Write)
			}
		}
	}
}

// oddAnswers is a sandbox in which the comparison was taken over.
type oddAnswers struct{ answer func(dir string) error }

func (o oddAnswers) Run(_ context.Context, j Job) (int, error) { return 0, o.answer(j.Write[apiOut]) }

func TestAnOddAnswerIsNeitherFollowedNorWaitedFor(t *testing.T) {
	for name, answer := range map[string]func(dir string) error{
		"pipe":   func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "answer.json"), 0o600) },
		"link":   func(dir string) error { return os.Symlink("/proc/self/status", filepath.Join(dir, "answer.json")) },
		"folder": func(dir string) error { return os.Mkdir(filepath.Join(dir, "answer.json"), 0o700) },
		"none":   func(string) error { return nil },
		"long": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "answer.json"), []byte(`{"used":["`+strings.Repeat("x", maxAnswer)+`"]}`), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := &run{Request: Request{Sandbox: oddAnswers{answer}}}
			done := make(chan error, 1)
			go func() {
				_, err := u.askInside(t.Context(), t.TempDir(), "", t.TempDir())
				done <- err
			}()
			select {
			case err := <-done:
				if err == nil {
					t.Error("it was taken for an answer")
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it is waited for")
			}
		})
	}
}
