package code

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/scan/internal/sarif"
)

// analyserTime bounds one external analyser.
const analyserTime = 15 * time.Minute

// analyser is a program that writes SARIF.
type analyser struct {
	name  string
	args  []string // "{}" stands for the file that it writes; without one it writes to its standard output
	found int      // the exit code that says that something was found
}

func analysers() []analyser {
	return []analyser{
		{"semgrep", []string{"scan", "--sarif", "--quiet", "--metrics=off", "--disable-version-check", "--output", "{}", "."}, 1},
		{"bandit", []string{"-r", ".", "-f", "sarif", "-o", "{}", "-q"}, 1},
		{"eslint", []string{"--format", "@microsoft/eslint-formatter-sarif", "--output-file", "{}", "."}, 1},
		{"gosec", []string{"-fmt=sarif", "-out={}", "-quiet", "-track-suppressions", "./..."}, 1},
	}
}

// Analysers are the names that External knows.
func Analysers() []string {
	var out []string
	for _, a := range analysers() {
		out = append(out, a.name)
	}
	return out
}

// External runs the named analysers in dir and takes their findings in. They are the user's own programs and run with all that he may,
// outside any sandbox, with the configuration that they find in dir: only for trees that one trusts. One that isn't known or installed is an
// error, before any has run; one that fails, takes more than 15 minutes or writes no SARIF is a Problem.
func External(ctx context.Context, dir string, names []string) (Result, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Result{}, fmt.Errorf("run analysers: %w", err)
	}
	var wanted []analyser
	for _, name := range names {
		a, err := analyserOf(name)
		if err != nil {
			return Result{}, err
		}
		wanted = append(wanted, a)
	}
	var res Result
	for _, a := range wanted {
		if err := res.run(ctx, dir, a); ctx.Err() != nil {
			return Result{}, fmt.Errorf("run analysers: %w", ctx.Err())
		} else if err != nil {
			res.problem(".", a.name+": "+firstLine(err.Error()))
		}
	}
	return res, nil
}

func analyserOf(name string) (analyser, error) {
	for _, a := range analysers() {
		if a.name != name {
			continue
		}
		if _, err := exec.LookPath(name); err != nil {
			return a, fault.Wrap(fault.NotFound, name+" isn't installed", err)
		}
		return a, nil
	}
	return analyser{}, fault.New(fault.Invalid, fmt.Sprintf("no analyser is called %q; there are %v, and any other's SARIF can be taken in as a file", name, Analysers()))
}

// run takes in what one analyser finds.
func (r *Result) run(ctx context.Context, dir string, a analyser) error {
	scratch, err := os.MkdirTemp("", "ward-scan")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	file := filepath.Join(scratch, "found.sarif")
	var args []string
	for _, arg := range a.args {
		args = append(args, string(bytes.ReplaceAll([]byte(arg), []byte("{}"), []byte(file))))
	}
	ctx, cancel := context.WithTimeout(ctx, analyserTime)
	defer cancel()
	c := exec.CommandContext(ctx, a.name, args...)
	c.Dir, c.WaitDelay = dir, 10*time.Second
	var said tail
	c.Stdout, c.Stderr = &said, &said
	err = c.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !(ok && exit.ExitCode() == a.found) {
		return fmt.Errorf("%w: %s", errors.Join(ctx.Err(), err), said.text)
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("it wrote nothing: %s", said.text)
	}
	defer f.Close()
	found, err := sarif.Read(f, filepath.ToSlash(dir))
	r.Findings = append(r.Findings, found...)
	return err
}

// tail keeps the end of what a program says.
type tail struct{ text []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b...)
	t.text = bytes.Clone(t.text[max(0, len(t.text)-500):])
	return len(b), nil
}
