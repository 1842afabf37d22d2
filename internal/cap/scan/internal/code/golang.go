package code

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/cap/scan/internal/gobox"
	"github.com/wardhq/ward/internal/finding"
)

const (
	gosecProgram = "ward-gosec" // ./gosec
	gosecTime    = 15 * time.Minute
	maxAnswer    = 256 << 20 // bytes
)

// Go lets gosec judge every Go module below dir, but for tests and generated files, by the program ward-gosec, which lies beside Ward's own
// or in PATH. It needs the program go, and the modules that the code asks for in go's cache: nothing is fetched. The compiler runs for
// their types; nothing that it makes is run. What couldn't be judged is a Problem, be it that a program isn't there. It fails when ctx ends.
func Go(ctx context.Context, dir string, o Options) (Result, error) {
	var res Result
	switch any, err := hasGo(ctx, os.DirFS(dir)); {
	case err != nil:
		return Result{}, fmt.Errorf("search Go code: %w", err)
	case !any:
		return res, nil
	}
	program, err := besides(gosecProgram)
	if err != nil {
		res.problem(".", "Go code wasn't searched by gosec: the program "+gosecProgram+" isn't installed; build it from Ward's source, and put it beside ward: go build -o ward-gosec ./internal/cap/scan/internal/code/gosec")
		return res, nil
	}
	if err := res.ask(ctx, o, program, dir); ctx.Err() != nil {
		return Result{}, fmt.Errorf("search Go code: %w", ctx.Err())
	} else if err != nil {
		res = Result{}
		res.problem(".", "Go code wasn't searched by gosec: "+firstLine(err.Error()))
		return res, nil
	}
	res.Findings = slices.DeleteFunc(res.Findings, func(f finding.Finding) bool { return o.skips(f.Location.Path) })
	res.Problems = slices.DeleteFunc(res.Problems, func(p finding.Problem) bool { return o.skips(p.Path) })
	return res, nil
}

// skips tells whether a path, or a folder above it, is left out.
func (o Options) skips(name string) bool {
	for ; o.Skip != nil && name != "." && name != "/"; name = path.Dir(name) {
		if o.Skip(name) {
			return true
		}
	}
	return false
}

// besides finds a program in the folder of this one, or in PATH.
func besides(name string) (string, error) {
	if self, err := os.Executable(); err == nil {
		if program, err := exec.LookPath(filepath.Join(filepath.Dir(self), name)); err == nil {
			return program, nil
		}
	}
	return exec.LookPath(name)
}

// hasGo tells whether the tree has Go code.
func hasGo(ctx context.Context, tree fs.FS) (bool, error) {
	found := false
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && name == ".":
			return err
		case err != nil:
			return nil // Find reports it
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.Name() == "go.mod" || strings.HasSuffix(name, ".go"):
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found, err
}

func (r *Result) ask(ctx context.Context, o Options, program, dir string) error {
	if o.Box == nil {
		return r.askGosec(ctx, program, dir)
	}
	switch box, err := o.Box(ctx); {
	case err != nil:
		return err
	case box == nil:
		return r.askGosec(ctx, program, dir)
	default:
		return r.askInside(ctx, box, program, dir)
	}
}

func (r *Result) askGosec(ctx context.Context, program, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, gosecTime)
	defer cancel()
	c := exec.CommandContext(ctx, program, dir)
	c.WaitDelay = 10 * time.Second
	var said tail
	c.Stderr = &said
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	errRead := json.NewDecoder(io.LimitReader(out, maxAnswer)).Decode(r)
	cancelled := ctx.Err()
	if errRead != nil {
		cancel()
	}
	switch err := c.Wait(); {
	case cancelled != nil:
		return cancelled
	case errRead != nil:
		return fmt.Errorf("read its answer: %w: %s", errRead, said.text)
	default:
		return err
	}
}

// askInside is askGosec in the sandbox.
func (r *Result) askInside(ctx context.Context, box *gobox.Box, program, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, gosecTime)
	defer cancel()
	out, w := io.Pipe()
	var said tail
	done := make(chan error, 1)
	go func() {
		exit, err := box.Run(ctx, gobox.Command{Argv: []string{program, gobox.Tree}, Tree: dir}, w, &said)
		if err == nil && exit != 0 {
			err = fmt.Errorf("exit status %d: %s", exit, said.text)
		}
		w.Close() //nolint:errcheck // a pipe's never fails
		done <- err
	}()
	errRead := json.NewDecoder(io.LimitReader(out, maxAnswer)).Decode(r)
	if errRead != nil {
		cancel()
	}
	out.Close() //nolint:errcheck // likewise
	err := <-done
	if errRead != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return fmt.Errorf("read its answer: %w: %s", errRead, said.text)
	}
	return err
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if r := []rune(s); len(r) > 300 {
		s = string(r[:299]) + "…"
	}
	return s
}

// Merge is what both found. Where gosec speaks of a line, the small rules are silent: it knows the types.
func Merge(small, gosec Result) Result {
	type line struct {
		path string
		line int
	}
	known := map[line]bool{}
	for _, f := range gosec.Findings {
		known[line{f.Location.Path, f.Location.Line}] = f.Suppressed == nil
	}
	out := Result{Files: max(small.Files, gosec.Files), Problems: slices.Concat(small.Problems, gosec.Problems)}
	for _, f := range small.Findings {
		if !known[line{f.Location.Path, f.Location.Line}] {
			out.Findings = append(out.Findings, f)
		}
	}
	out.Findings = append(out.Findings, gosec.Findings...)
	slices.SortStableFunc(out.Findings, func(a, b finding.Finding) int { return strings.Compare(a.Location.Path, b.Location.Path) })
	return out
}
