package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/prove"
	"github.com/wardhq/ward/internal/wardtest"
)

// TestMain makes the test binary answer to the name ward, so that scripts run
// the command as users do: own process, own exit code.
func TestMain(m *testing.M) {
	sandbox.Stage(os.Args, prove.Inside)
	testscript.Main(m, map[string]func(){"ward": main, "toy": wardtest.Toy})
}

// TestScripts runs testdata/script/*.txtar, one or more for each verb. With
// UPDATE=1 in the environment, files that a script compares are rewritten.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}
