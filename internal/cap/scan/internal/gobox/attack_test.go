package gobox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/wardtest/need"
)

func TestMain(m *testing.M) {
	sandbox.Stage(os.Args, nil)
	os.Exit(m.Run())
}

// wards is Ward's own sandbox.
type wards struct {
	launcher *sandbox.Launcher
	host     sandbox.Host
}

func (w *wards) Run(ctx context.Context, j Job) (int, error) {
	exit, err := w.launcher.RunJobApart(ctx, sandbox.Job{
		Name: j.Name, Argv: j.Argv, Dir: j.Dir, Env: j.Env, Read: j.Read, Write: j.Write, Programs: j.Programs, Output: j.Out,
	}, w.host, j.Errs)
	return exit.Code, err
}

// none is the guard switched off: it runs a job as it is, with its paths as they are outside.
type none struct{ modules string }

func (n none) Run(ctx context.Context, j Job) (int, error) {
	outside := func(s string) string {
		delete(j.Read, Tree+"/.git")
		delete(j.Read, Tree+"/.ward")
		for _, m := range []map[string]string{j.Read, j.Write} {
			for in, out := range m {
				s = strings.ReplaceAll(s, in, out)
			}
		}
		return strings.ReplaceAll(s, mod, n.modules)
	}
	c := exec.CommandContext(ctx, j.Argv[0])
	for _, a := range j.Argv[1:] {
		c.Args = append(c.Args, outside(a))
	}
	c.Dir, c.Stdout, c.Stderr = outside(j.Dir), j.Out, j.Errs
	for _, e := range j.Env {
		c.Env = append(c.Env, outside(e))
	}
	err := c.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func real(t *testing.T) *wards {
	t.Helper()
	w := &wards{launcher: sandbox.NewLauncher(), host: sandbox.Host{Base: t.TempDir(), UID: os.Getuid(), GID: os.Getgid()}}
	if os.Getuid() == 0 {
		w.host.Root, w.host.UID, w.host.GID = true, sandbox.FirstUID+901, sandbox.FirstUID+901
	}
	t.Cleanup(w.launcher.Close)
	return w
}

func open(t *testing.T, s Sandbox) *Box {
	t.Helper()
	need.Program(t, "go")
	b, err := Open(t.Context(), s, filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// evil is what runs if a tree gets to start a program.
const evil = `
for hidden in .git .ward; do cat "$(dirname "$0")/$hidden/token" >/dev/null 2>&1 && echo "did:read$hidden"; done
[ -e %[1]q ] && cat %[1]q >/dev/null && echo did:read-a-file
echo x 2>/dev/null > "$(dirname "$0")/planted" && echo did:write-the-tree
bash -c 'echo > /dev/tcp/127.0.0.1/%[2]d' 2>/dev/null && echo did:reach-the-network
kill -0 %[3]d 2>/dev/null && echo did:see-a-process
exit 7`

func TestWhatATreeStartsReachesNothing(t *testing.T) {
	need.Program(t, "bash")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	all := []string{"read.git", "read.ward", "read-a-file", "write-the-tree", "reach-the-network", "see-a-process"}
	for name, c := range map[string]struct {
		sandbox Sandbox
		want    []string
	}{"in the sandbox": {real(t), nil}, "without it": {none{t.TempDir()}, all}} {
		t.Run(name, func(t *testing.T) {
			secret := filepath.Join(tree(t, map[string]string{"secret": "x"}), "secret")
			dir := tree(t, map[string]string{
				"go.mod": "module a.test/a\n\ngo 1.24\n", "a.go": "package a\n",
				"evil.sh": fmt.Sprintf(evil, secret, ln.Addr().(*net.TCPAddr).Port, os.Getpid()),
			})
			var said strings.Builder
			for _, hidden := range []string{".git", ".ward"} {
				if err := os.Mkdir(filepath.Join(dir, hidden), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, hidden, "token"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			exit, err := open(t, c.sandbox).Run(t.Context(), Command{Argv: []string{"/bin/sh", Tree + "/evil.sh"}, Tree: dir}, &said, io.Discard)
			if err != nil || exit != 7 {
				t.Fatalf("it didn't run: %d %v", exit, err)
			}
			var did []string
			for _, what := range all {
				if strings.Contains(said.String(), "did:"+what) {
					did = append(did, what)
				}
			}
			if diff := cmp.Diff(c.want, did); diff != "" {
				t.Error(diff, said.String())
			}
		})
	}
}

// Settings beside the code that name programs to run: they aren't asked, and what they name couldn't run from the tree anyway.
func TestSettingsOfATreeStartNothing(t *testing.T) {
	for name, c := range map[string]struct {
		env  []string
		runs bool
	}{"as it is": {nil, false}, "with the settings taken": {[]string{"GOENV=" + Tree + "/env"}, true}} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, map[string]string{
				"go.mod": "module a.test/a\n\ngo 1.24\n\ntool a.test/a/evil\n", "a.go": "package a\n\n// #cgo LDFLAGS: -fplugin=./evil.so\nimport \"C\"\n", "b.go": "package a\n",
				"env": "GOFLAGS='-toolexec=/bin/sh " + Tree + "/evil.sh'\nCC=/bin/sh " + Tree + "/evil.sh\nCGO_ENABLED=1\n", "go.env": "GOFLAGS=-toolexec=/bin/false\n", "evil.sh": "exit 7",
			})
			var said strings.Builder
			env := c.env
			if c.runs {
				env = append(env, "GOFLAGS=")
			}
			exit, err := open(t, real(t)).Run(t.Context(), Command{Argv: []string{"go", "list", "-export", "-deps", "."}, Tree: dir, Env: env}, &said, &said)
			if ran := strings.Contains(said.String(), "exit status 7"); err != nil || ran != c.runs || (exit == 0) == c.runs {
				t.Errorf("ran: %t, %d %v: %s", ran, exit, err, said.String())
			}
		})
	}
}

// A go.work may name any folder of the machine, and a go.mod another toolchain, which the go command would fetch and run.
func TestATreeDoesNotLeadOut(t *testing.T) {
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.NotFound(w, r)
	}))
	defer proxy.Close()
	outside := tree(t, map[string]string{"go.mod": "module secret.test/outside\n\ngo 1.24\n"})
	dir := tree(t, map[string]string{"go.mod": "module a.test/a\n\ngo 1.24\n", "go.work": "go 1.24\n\nuse .\n\nuse " + outside + "\n"})
	newer := tree(t, map[string]string{"go.mod": "module a.test/a\n\ngo 1.99\n\ntoolchain go1.99.1\n", "a.go": "package a\n"})
	fetching := []string{"GOTOOLCHAIN=auto", "GOPROXY=" + proxy.URL, "GOSUMDB=off"}
	for name, c := range map[string]struct {
		sandbox  Sandbox
		toolEnv  []string
		led, ask bool
	}{
		"in the sandbox":                      {real(t), nil, false, false},
		"in the sandbox, with other settings": {real(t), fetching, false, false},
		"without it":                          {none{t.TempDir()}, nil, true, false},
		"without it, and with other settings": {none{t.TempDir()}, fetching, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, c.sandbox)
			var out, errs strings.Builder
			if _, err := b.Run(t.Context(), Command{Argv: []string{"go", "list", "-m"}, Tree: dir, Env: []string{"GOWORK=" + filepath.Join(Tree, "go.work")}}, &out, &errs); err != nil {
				t.Fatal(err)
			}
			if led := strings.Contains(out.String(), "secret.test/outside"); led != c.led {
				t.Errorf("led out: %t: %s%s", led, out.String(), errs.String())
			}
			asked.Store(0)
			exit, err := b.Run(t.Context(), Command{Argv: []string{"go", "list", "."}, Tree: newer, Env: c.toolEnv}, io.Discard, &errs)
			if err != nil || exit == 0 {
				t.Errorf("a toolchain that isn't there: %d %v", exit, err)
			}
			if (asked.Load() > 0) != c.ask {
				t.Errorf("asked the proxy %d times: %s", asked.Load(), errs.String())
			}
		})
	}
}

// broken is a sandbox that starts nothing.
type broken struct{}

func (broken) Run(context.Context, Job) (int, error) { return 0, errors.New("no namespaces here") }

func TestWithoutASandboxThereIsNoBox(t *testing.T) {
	need.Program(t, "go")
	for name, s := range map[string]Sandbox{"none": nil, "one that starts nothing": broken{}} {
		if b, err := Open(t.Context(), s, t.TempDir()); err == nil || b != nil {
			t.Errorf("%s: %v %v", name, b, err)
		}
	}
}
