// Package need says what a test does without a program that others wrote: it skips, but
// in CI, where everything is installed, it fails.
package need

import (
	"os"
	"os/exec"
	"testing"
)

// Program returns the path of a program, or doesn't return.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, name+" isn't installed")
	}
	return path
}

// Missing skips the test, or fails it in CI (WARD_CI is set).
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("WARD_CI") != "" {
		t.Fatal(what + "; .ci/run must install it")
	}
	t.Skip("skipped: " + what)
}
