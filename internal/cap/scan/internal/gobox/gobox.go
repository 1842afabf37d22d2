// Package gobox runs what loads the Go code of a tree that nobody trusts, which is the go command, the analysis of calls, and gosec, in a sandbox.
//
// Guarantee: what runs inside sees the system, the toolchain, the module cache and the tree but for .git and .ward, all read-only, and folders of its own; it has no
// network, and nothing of our environment and home. Whether there is a sandbox is tried before and without the tree, so that no tree can bring about that
// there is none. Not guaranteed: that what runs inside tells the truth; the build cache of such runs is one, and is used for nothing else.
package gobox

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
	"time"
)

// Where things are inside.
const (
	Tree  = "/scan/tree"
	Data  = "/scan/data"
	mod   = "/scan/mod"
	build = "/scan/build"
	home  = "/scan/home"
)

// empty is a folder with nothing in it.
const empty = "empty"

// patience is how long the go command may take to tell where it is, and a sandbox to start.
const patience = 2 * time.Minute

// Job is one program in a sandbox, without any network.
type Job struct {
	Name        string
	Argv        []string
	Dir         string            // inside
	Env         []string          // the whole environment
	Read, Write map[string]string // paths inside to folders of the host
	Programs    []string          // further files and folders of the host, shown at their own path, that may be executed
	Out, Errs   io.Writer
}

// Sandbox runs a job with nothing but what it says, and returns its exit code: -1 if it was killed.
type Sandbox interface {
	Run(ctx context.Context, j Job) (exit int, err error)
}

// Box is a place for such programs.
type Box struct {
	sandbox         Sandbox
	goroot, modules string
	cache, scratch  string
}

// Open makes ready. cache is a folder for what is built, which is kept; it is made if it isn't there. The error says in half a sentence why there can be no such place; where it is
// context.DeadlineExceeded, there may be one, and the machine is busy.
func Open(ctx context.Context, s Sandbox, cache string) (_ *Box, err error) {
	if s == nil || cache == "" {
		return nil, errors.New("there is no sandbox, or no folder for caches, here")
	}
	b := &Box{sandbox: s, cache: cache}
	if b.scratch, err = os.MkdirTemp("", "ward-scan-"); err != nil {
		return nil, fmt.Errorf("make a folder for it: %w", err)
	}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for what is built: %w", err)
	}
	if err := b.ask(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var said strings.Builder
	nothing := filepath.Join(b.scratch, empty)
	if err := os.Mkdir(nothing, 0o755); err != nil {
		return nil, fmt.Errorf("make a folder for it: %w", err)
	}
	switch exit, err := b.Run(ctx, Command{Argv: []string{"go", "version"}, Tree: nothing}, io.Discard, &said); {
	case err != nil:
		return nil, err
	case exit != 0:
		return nil, fmt.Errorf("the go command doesn't run in it: %.300s", strings.Join(strings.Fields(said.String()), " "))
	}
	return b, nil
}

// ask lets the go command tell where it is, in an empty folder.
func (b *Box) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOMODCACHE")
	c.Dir, c.Env, c.WaitDelay = b.scratch, append(os.Environ(), "GOTOOLCHAIN=local", "GOWORK=off"), time.Second
	out, err := c.Output()
	if err != nil {
		return fmt.Errorf("ask the go command where it is: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 2 || !filepath.IsAbs(lines[0]) || !filepath.IsAbs(lines[1]) {
		return errors.New("the go command doesn't tell where it is")
	}
	b.goroot, b.modules = lines[0], lines[1]
	return nil
}

// Close removes what isn't kept.
func (b *Box) Close() error { return os.RemoveAll(b.scratch) }

// quiet makes a home in which the go command counts nothing, which it would do after its end.
func quiet(home string) error {
	dir := filepath.Join(home, ".config", "go", "telemetry")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "mode"), []byte("off"), 0o600)
}

// Command is what runs.
type Command struct {
	Argv []string // "go", or a program of the host by its path
	Tree string   // a folder of the host, which is Tree inside
	Dir  string   // the folder in it to run in, slash-separated; "" for the tree itself
	Data string   // another one, which is Data inside; "" for none
	Env  []string // beside what the go command needs, or instead of it
}

// Run runs a command to its end, or that of ctx. The error says that it couldn't be run.
func (b *Box) Run(ctx context.Context, c Command, out, errs io.Writer) (exit int, err error) {
	dir, err := os.MkdirTemp(b.scratch, "run-")
	if err != nil {
		return 0, fmt.Errorf("make a folder for it: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := quiet(dir); err != nil {
		return 0, fmt.Errorf("make a folder for it: %w", err)
	}
	j := Job{
		Name: filepath.Base(b.scratch), Argv: append([]string{}, c.Argv...), Dir: path.Join(Tree, c.Dir), Read: map[string]string{Tree: c.Tree},
		Write: map[string]string{home: dir, build: b.cache}, Programs: []string{b.goroot}, Out: out, Errs: errs,
	}
	// What Go code doesn't need, and may hold secrets: an application's state, and a repository's settings.
	for _, hidden := range []string{".ward", ".git"} {
		if st, err := os.Lstat(filepath.Join(c.Tree, hidden)); err == nil && st.IsDir() {
			j.Read[path.Join(Tree, hidden)] = filepath.Join(b.scratch, empty)
		}
	}
	if c.Data != "" {
		j.Read[Data] = c.Data
	}
	if st, err := os.Stat(b.modules); err == nil && st.IsDir() {
		j.Read[mod] = b.modules
	}
	places := filepath.Join(b.goroot, "bin")
	if program := c.Argv[0]; program != "go" {
		if program, err = filepath.EvalSymlinks(program); err != nil {
			return 0, fmt.Errorf("find a program: %w", err)
		}
		j.Programs = append(j.Programs, program)
		j.Argv[0], places = filepath.Base(program), filepath.Dir(program)+":"+places
	}
	// Nothing that the tree or anybody's settings say makes the go command ask the network, or start another toolchain, a compiler of C or a program.
	env := []string{
		"PATH=" + places + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "TMPDIR=" + home, "GOTMPDIR=" + home, "LC_ALL=C.UTF-8", "GOROOT=" + b.goroot, "GOPATH=" + home + "/go",
		"GOMODCACHE=" + mod, "GOCACHE=" + build, "GOTOOLCHAIN=local", "GOPROXY=off", "GOSUMDB=off", "GOVCS=*:off", "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOENV=off",
		"GO111MODULE=on", "GOPACKAGESDRIVER=off", "GOTELEMETRY=off",
	}
	for _, own := range c.Env { // each once: which of two counts is another matter for each program
		name, _, _ := strings.Cut(own, "=")
		env = append(slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") }), own)
	}
	j.Env = env
	return b.sandbox.Run(ctx, j)
}
