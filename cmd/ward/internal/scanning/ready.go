package scanning

import (
	_ "embed"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
)

//go:embed ready/github.yml
var readyGitHub string

//go:embed ready/gitlab.yml
var readyGitLab string

//go:embed ready/pre-commit
var readyHook string

func newReady(e cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "ci github|gitlab|pre-commit", Short: "Print a ready file for a pipeline, or a hook for git", Args: cli.ExactArgs(1),
		Long: `Print a ready file: a workflow of GitHub Actions, a job of GitLab, or a hook that git runs before each commit. The first line says where it belongs.`,
		RunE: func(_ *cobra.Command, args []string) error {
			text, ok := map[string]string{"github": readyGitHub, "gitlab": readyGitLab, "pre-commit": readyHook}[args[0]]
			if !ok {
				return fault.New(fault.Usage, fmt.Sprintf("there is no ready file for %q; one of github, gitlab, pre-commit", args[0]))
			}
			return cli.WriteText(e.Out, strings.NewReplacer("@COMMIT@", commit(), "@PARTS@", "configuration,model").Replace(text))
		},
	}
}

// commit is the one that this binary was built from, or the branch where Go didn't stamp it.
func commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "main"
}
