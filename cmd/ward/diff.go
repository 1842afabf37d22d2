package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/diff"
)

func newDiffCommand(e cli.Env) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Say who gains and who loses what between two models",
		Long: `Say who gains and who loses what between two models, by meaning and not by line.
A rule that moved, or that another one covers, is no difference.

Exit code 0: no difference. 1: differences.`,
		Example: `  ward diff ward.yaml ward.new.yaml`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fault.New(fault.Usage, fmt.Sprintf("%s takes two files, OLD and NEW; see '%s --help'", c.CommandPath(), c.CommandPath()))
			}
			return diffFiles(e, args[0], args[1], asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the differences as JSON")
	return c
}

func diffFiles(e cli.Env, oldFile, newFile string, asJSON bool) error {
	before, err := cli.LoadModel(e, oldFile)
	if err != nil {
		return err
	}
	after, err := cli.LoadModel(e, newFile)
	if err != nil {
		return err
	}
	changes := diff.Compare(plan.Build(before), plan.Build(after))
	if asJSON {
		err = cli.WriteJSON(e.Out, changes)
	} else {
		err = cli.WriteText(e.Out, changes.Text(oldFile, newFile))
	}
	if err == nil && !changes.Empty() {
		return cli.ErrFindings
	}
	return err
}
