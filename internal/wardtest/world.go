package wardtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/up"
)

// World is a running application under guard.
type World struct {
	Dir  string
	File string
	URL  string // of the gateway
	Log  *Log
	t    testing.TB
	stop context.CancelFunc
	done chan error
}

// Log is what the supervisor printed.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is all so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Tests are the tests of a package that starts worlds.
type Tests struct{ *testing.M }

// Run runs them in an environment that is the same for all: none needs one of its own, so that they may run side by side. There is one key file, as a
// user's applications have. They mostly wait, so twice as many run at once as there are processors, unless -parallel says otherwise.
func (m Tests) Run() int {
	dir, err := os.MkdirTemp("", "ward-key")
	if err == nil {
		defer os.RemoveAll(dir)
		err = errors.Join(
			os.Setenv("WARD_KEY_FILE", filepath.Join(dir, "key")),
			os.Setenv("GORACE", "atexit_sleep_ms=0"), // or else programs with the race detector wait a second at their end
			flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))),
		)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return m.M.Run()
}

// Folder makes a folder with a model in it and the toy service as ./toy; {{port}} in the model becomes a free
// port, {{dir}} the folder. The test binary must run Toy when its name is toy, and the stages and roles when they are asked for.
func Folder(t testing.TB, yaml string) (dir, url string) {
	t.Helper()
	dir = t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "toy")); err != nil {
		t.Fatal(err)
	}
	port := FreePort(t)
	yaml = strings.NewReplacer("{{port}}", fmt.Sprint(port), "{{dir}}", dir).Replace(yaml)
	if err := os.WriteFile(filepath.Join(dir, "ward.yaml"), []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, fmt.Sprintf("https://localhost:%d", port)
}

// FreePort is a TCP port of 127.0.0.1 that the kernel gives nobody else until the end of the test: a socket that is bound and doesn't listen keeps
// it. Whoever names the port can listen there all the same, with SO_REUSEADDR, as servers do (socket(7)).
func FreePort(t testing.TB) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return at.(*unix.SockaddrInet4).Port
}

// Start runs a supervisor in this process and waits until everything is ready. change may be nil.
func Start(t testing.TB, yaml string, change func(*up.Config)) *World {
	t.Helper()
	dir, url := Folder(t, yaml)
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan struct{})
	w := &World{Dir: dir, File: filepath.Join(dir, "ward.yaml"), URL: url, Log: &Log{}, t: t, stop: cancel, done: make(chan error, 1)}
	c := up.Config{File: w.File, Out: w.Log, Ready: ready, Load: func() (*plan.Plan, error) { return Load(w.File) }}
	if change != nil {
		change(&c)
	}
	go func() { w.done <- up.Run(ctx, c) }()
	t.Cleanup(w.Stop)
	if c.Off.Seccomp || c.Refuse != nil {
		// Without the supervision of bind, a service can't have a port that its upstream has too; a refused one never gets ready.
		ready = w.Log.says("started, but not ready", ready)
	}
	select {
	case <-ready:
	case err := <-w.done:
		w.done <- err
		t.Fatalf("up: %v\n%s", err, w.Log)
	case <-time.After(60 * time.Second):
		t.Fatalf("up isn't ready\n%s", w.Log)
	}
	return w
}

// says returns a channel that is closed when ready is, or as soon as a line says so.
func (l *Log) says(line string, ready <-chan struct{}) chan struct{} {
	said := make(chan struct{})
	go func() {
		defer close(said)
		for end := time.Now().Add(60 * time.Second); time.Now().Before(end) && !strings.Contains(l.String(), line); {
			select {
			case <-ready:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return said
}

// Load reads and checks a model.
func Load(file string) (*plan.Plan, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, problems := wardfile.Parse(file, f)
	if problems.HasErrors() {
		return nil, fmt.Errorf("%s", problems.String())
	}
	return plan.Build(m), nil
}

// Stop ends the supervisor and waits.
func (w *World) Stop() {
	w.stop()
	select {
	case err := <-w.done:
		w.done <- err
		if err != nil {
			w.t.Errorf("up: %v", err)
		}
	case <-time.After(60 * time.Second):
		w.t.Errorf("up doesn't stop\n%s", w.Log)
	}
	if w.t.Failed() {
		w.t.Logf("log of up:\n%s", w.Log)
	}
}

// Client is an HTTP client that takes the gateway's certificate as it is.
func Client() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true,
	}}
}

// Get asks the application from outside; the Answer is zero if the service didn't answer.
func (w *World) Get(path string) (int, Answer) {
	w.t.Helper()
	resp, err := Client().Get(w.URL + path)
	if err != nil {
		w.t.Fatalf("get %s: %v\n%s", path, err, w.Log)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("get %s: %v", path, err)
	}
	var a Answer
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(b, &a); err != nil {
			w.t.Fatalf("get %s: %v in %q", path, err, b)
		}
	}
	return resp.StatusCode, a
}

// Status is the supervisor's.
func (w *World) Status() up.Status {
	w.t.Helper()
	p, err := up.FindPaths(w.File)
	if err != nil {
		w.t.Fatal(err)
	}
	var st up.Status
	if err := p.Up().Call(context.Background(), http.MethodGet, "/v1/status", nil, &st); err != nil {
		w.t.Fatalf("status: %v", err)
	}
	return st
}

// Eventually waits until f is true, at most half a minute: the machine may be busy.
func Eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	const often, seldom = 10 * time.Millisecond, 200 * time.Millisecond // who asks without pause takes the time of what is waited for
	pause := often
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(pause) {
		if f() {
			return
		}
		pause = min(pause*3/2, seldom)
	}
	t.Fatalf("not within half a minute: %s", what)
}

// Roots are the application's own certificate authority.
func (w *World) Roots() *x509.CertPool {
	w.t.Helper()
	paths, err := up.FindPaths(w.File)
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := paths.Admin().Bundle(w.t.Context(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	for _, der := range b.X509 {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			w.t.Fatal(err)
		}
		pool.AddCert(c)
	}
	return pool
}
