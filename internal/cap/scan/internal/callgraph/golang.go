package callgraph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/vuln/scan"

	"github.com/wardhq/ward/internal/cap/scan/internal/gobox"
	"github.com/wardhq/ward/internal/finding"
)

const (
	maxSaid = 4 << 10   // bytes of an error message
	maxWork = 512 << 10 // bytes of a go.work
)

// GoDB are the advisories, as golang.org/x/vuln wants them.
type GoDB interface {
	WriteGoVulnDB(ctx context.Context, dir string) error
}

// Analyser runs each analysis in a process of its own: it takes gigabytes for large programs, its library starts goroutines that panic when
// they are stopped, and only a process can be ended for sure.
type Analyser struct {
	// Argv starts this very program so that it calls Main with the arguments that follow.
	Argv []string
	// Box is where the modules of a tree are loaded; nil to do it outside of any sandbox.
	Box *gobox.Box
	// Timeout ends the analysis of one module or program; 0 for ten minutes.
	Timeout time.Duration
}

// Main is the analysing process: govulncheck with these arguments. Its output is JSON for the process that started it.
func Main(ctx context.Context, args []string, out, errs io.Writer) error {
	c := scan.Command(ctx, args...)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(""), out, errs
	if err := c.Start(); err != nil {
		return fmt.Errorf("analyse calls: %w", err)
	}
	return c.Wait()
}

// Go analyses the modules of a tree from source: folders with a go.mod, slash-separated, relative to dir. It runs the go command that is installed, which
// loads only what is in the module cache or vendored. The error is about the advisories or the context, never about one module.
func (a Analyser) Go(ctx context.Context, dir string, db GoDB, modules []string) (Calls, error) {
	out := Calls{places: map[string]*place{}}
	where, remove, err := writeDB(ctx, db)
	if err != nil {
		return Calls{}, err
	}
	defer remove()
	for _, m := range modules {
		p, err := a.module(ctx, dir, m, where)
		if ctx.Err() != nil {
			return Calls{}, fmt.Errorf("analyse calls: %w", ctx.Err())
		}
		if err != nil {
			out.Problems = append(out.Problems, finding.Problem{Path: path.Join(m, "go.mod"), Reason: "which functions are called can't be told: " + err.Error()})
			continue
		}
		out.places[path.Clean(m)] = p
	}
	return out, nil
}

func writeDB(ctx context.Context, db GoDB) (where string, remove func(), err error) {
	temp, err := os.MkdirTemp("", "ward-calls-")
	if err != nil {
		return "", nil, fmt.Errorf("analyse calls: %w", err)
	}
	if err := db.WriteGoVulnDB(ctx, temp); err != nil {
		os.RemoveAll(temp)
		return "", nil, fmt.Errorf("analyse calls: %w", err)
	}
	return temp, func() { os.RemoveAll(temp) }, nil
}

func (a Analyser) module(ctx context.Context, dir, module, db string) (*place, error) {
	folder := filepath.Join(dir, filepath.FromSlash(module))
	work := workspace(dir, folder)
	if a.Box != nil {
		return a.inside(ctx, gobox.Command{Tree: dir, Dir: module, Data: db, Env: []string{"GOWORK=" + inTree(dir, work)}})
	}
	env := append(environment(), "GOWORK="+work)
	var out, errs limited
	out.left, errs.left = 1<<20, maxSaid
	c := exec.CommandContext(ctx, "go", listC()...)
	c.Dir, c.Env, c.Stdout, c.Stderr, c.WaitDelay = folder, append(env, "CGO_ENABLED=1"), &out, &errs, time.Second
	if err := c.Run(); errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("no go command is installed here")
	} else if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, oneLine(errs.String()))
	}
	p := newPlace()
	return p.after(strings.Contains(out.String(), "C"), a.run(ctx, process{dir: folder, env: env}, p.read, "-format", "json", "-db", "file://"+db, "./..."))
}

// after is the place when its analysis has ended. Whoever uses C isn't analysed as a whole.
func (p *place) after(foreign bool, err error) (*place, error) {
	if err != nil && strings.Contains(err.Error(), "no packages matched") {
		return &place{}, nil // a go.mod for tools: there is nothing to analyse, and nothing is known
	}
	if err != nil {
		return nil, err
	}
	p.whole = !foreign && len(p.modules) > 0
	return p, nil
}

// environment is that of the go command: nothing that the tree or the machine's settings say makes it reach the network, another toolchain, a
// compiler or a version control program.
func environment() []string {
	env := []string{
		"GOTOOLCHAIN=local", "GOPROXY=off", "GOSUMDB=off", "GOVCS=*:off", "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOENV=off", "GO111MODULE=on",
		"GOPACKAGESDRIVER=off", "GOTELEMETRY=off", "LC_ALL=C",
	}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "GOROOT", "GOPATH", "GOMODCACHE", "GOCACHE"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// workspace is the go.work of the tree that uses the module in a folder, or "off".
func workspace(dir, folder string) string {
	for at := folder; ; at = filepath.Dir(at) {
		file := filepath.Join(at, "go.work")
		if info, err := os.Lstat(file); err == nil && info.Mode().IsRegular() && info.Size() <= maxWork {
			if b, err := os.ReadFile(file); err == nil {
				if w, err := modfile.ParseWork(file, b, nil); err == nil && uses(w, at, folder) {
					return file
				}
			}
			return "off"
		}
		if at == dir || at == filepath.Dir(at) {
			return "off"
		}
	}
}

func uses(w *modfile.WorkFile, at, folder string) bool {
	return slices.ContainsFunc(w.Use, func(u *modfile.Use) bool {
		return !filepath.IsAbs(u.Path) && filepath.Join(at, filepath.FromSlash(u.Path)) == folder
	})
}

// listC asks whether the program has C in it, which the analysis leaves out together with the Go files that call it.
func listC() []string {
	return []string{"list", "-e", "-deps", "-f", "{{if not .Standard}}{{range .CgoFiles}}C{{end}}{{end}}", "./..."}
}

func (a Analyser) timeout() time.Duration {
	if a.Timeout == 0 {
		return 10 * time.Minute
	}
	return a.Timeout
}

// process is one run of Main.
type process struct {
	dir  string
	env  []string
	file *os.File // the third descriptor; it may be nil
}

// run starts one analysis, and lets take read what it says.
func (a Analyser) run(ctx context.Context, p process, take func(io.Reader) error, args ...string) error {
	timeout := a.timeout()
	limit, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := exec.CommandContext(limit, a.Argv[0], append(slices.Clone(a.Argv[1:]), args...)...)
	c.Dir, c.Env = p.dir, p.env
	if p.file != nil {
		c.ExtraFiles = []*os.File{p.file}
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that the go command ends with it
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = time.Second
	errs := limited{left: maxSaid}
	c.Stderr = &errs
	stdout, err := c.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start the analysis: %w", err)
	}
	if err := c.Start(); err != nil {
		return fmt.Errorf("start the analysis: %w", err)
	}
	readErr := take(stdout)
	if readErr != nil && !errors.Is(readErr, io.ErrUnexpectedEOF) {
		cancel()
	}
	err = c.Wait()
	switch {
	case errors.Is(limit.Err(), context.DeadlineExceeded):
		return fmt.Errorf("the analysis took longer than %v", timeout)
	case readErr != nil && !errors.Is(readErr, io.ErrUnexpectedEOF):
		return fmt.Errorf("read the analysis: %w", readErr)
	case err != nil:
		return fmt.Errorf("%w: %s", err, oneLine(errs.String()))
	}
	return readErr
}

// limited keeps the first bytes that are written to it.
type limited struct {
	strings.Builder
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	keep := b[:min(len(b), l.left)]
	l.left -= len(keep)
	l.Builder.Write(keep)
	return len(b), nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
