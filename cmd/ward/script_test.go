package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/demo"
	"github.com/wardhq/ward/internal/prove"
	"github.com/wardhq/ward/internal/wardtest"
)

// TestMain makes the test binary answer to the name ward, so that scripts run
// the command as users do: own process, own exit code.
func TestMain(m *testing.M) {
	sandbox.Stage(os.Args, prove.Inside)
	testscript.Main(wardtest.Tests{M: m}, map[string]func(){"ward": program, "toy": wardtest.Toy})
}

// program is main, except that the demo's services, which get their environment from a model, end at once: with the race detector os.Exit
// waits for a second where GORACE doesn't say otherwise, and an intruder's program ends at each of the demo's attacks.
func program() {
	if len(os.Args) > 1 && os.Args[1] == demo.ServiceVerb {
		syscall.Exit(run(cli.Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:]))
	}
	main()
}

// process is a process of ward's with an environment of its own, besides the tests'.
type process struct {
	dir, in string
	env     []string
}

// run runs one command line to its end.
func (p process) run(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	c := exec.CommandContext(t.Context(), "ward", args...)
	c.Dir, c.Env, c.Stdin, c.Stdout, c.Stderr = p.dir, append(os.Environ(), p.env...), strings.NewReader(p.in), &o, &e
	if _, ended := errors.AsType[*exec.ExitError](c.Run()); c.ProcessState == nil {
		t.Fatalf("ward %v can't be started: %v", args, ended)
	}
	return c.ProcessState.ExitCode(), o.String(), e.String()
}

// TestScripts runs testdata/script/*.txtar, one or more for each verb. With
// UPDATE=1 in the environment, files that a script compares are rewritten.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
	})
}
