// Package git asks the program git about a repository that nobody has to trust.
//
// Guarantee: git starts no pager, hook, monitor or verifier that the repository's configuration names, follows no replacements, fetches
// nothing, asks nobody, and sees of the environment only PATH and HOME. Not guaranteed: what filters would do; commands that write files of the
// work tree aren't for this.
package git

import (
	"context"
	"os"
	"os/exec"
)

// Command is a command that reads the repository at dir; program is git, as exec.LookPath finds it. The caller sets its streams and runs it.
func Command(ctx context.Context, program, dir string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, program, append([]string{
		"--no-pager", "--no-replace-objects", "--literal-pathspecs", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null",
		"-c", "log.showSignature=false", "-c", "log.showRoot=true",
	}, args...)...)
	c.Dir = dir
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "GIT_CONFIG_NOSYSTEM=1", "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none",
		"GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
	}
	return c
}
