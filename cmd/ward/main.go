// Command ward guards a set of services from one file, ward.yaml.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/prove"
)

func main() {
	// First of all: inside a sandbox this binary is one of its stages.
	sandbox.Stage(os.Args, prove.Inside)
	os.Exit(run(cli.Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:]))
}

// run executes one command line and returns its exit code: 0 done, 1 refused or
// findings, 2 usage.
func run(e cli.Env, args []string) int {
	root := newRoot(e)
	root.SetArgs(args)
	err := unknown(root, args)
	if err == nil {
		err = root.Execute()
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, cli.ErrFindings):
		return 1
	}
	fmt.Fprintln(e.Err, "ward:", err)
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return fault.KindOf(err).Exit()
	}
	if strings.HasPrefix(err.Error(), "unknown command") { // cobra has no type for it
		return fault.Usage.Exit()
	}
	return 1
}

// unknown refuses a word behind a command that only has commands of its own: cobra would print its help, as if nothing was wrong.
func unknown(root *cobra.Command, args []string) error {
	c, rest, err := root.Find(args)
	if err != nil || c == root || c.Runnable() || len(rest) == 0 || strings.HasPrefix(rest[0], "-") {
		return nil // cobra's to judge
	}
	meant := ""
	c.SuggestionsMinimumDistance = 2
	if like := c.SuggestionsFor(rest[0]); len(like) > 0 {
		meant = fmt.Sprintf("did you mean %q? ", like[0])
	}
	return fault.New(fault.Usage, fmt.Sprintf("unknown command %q for %q; %ssee '%s --help'", rest[0], c.CommandPath(), meant, c.CommandPath()))
}

func newRoot(e cli.Env) *cobra.Command {
	root := &cobra.Command{
		Use:           "ward",
		Short:         "Guard your services from one file, and prove that it holds",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(e.In)
	root.SetOut(e.Out)
	root.SetErr(e.Err)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fault.New(fault.Usage, fmt.Sprintf("%v; see '%s --help'", err, c.CommandPath()))
	})
	root.AddCommand(commands(e)...)
	return root
}
