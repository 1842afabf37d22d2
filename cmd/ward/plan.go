package main

import (
	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/words"
)

func newPlanCommand(e cli.Env) *cobra.Command {
	var file string
	var asJSON bool
	c := &cobra.Command{
		Use:   "plan",
		Short: "Say what each service may do, in and out",
		Long: `Say what each service may do, in and out, with the line of ward.yaml that says so.
What isn't listed is closed.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			m, err := cli.LoadModel(e, file)
			if err != nil {
				return err
			}
			p := plan.Build(m)
			if asJSON {
				return cli.WriteJSON(e.Out, p)
			}
			return cli.WriteText(e.Out, words.Plan(p, file))
		},
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the model")
	c.Flags().BoolVar(&asJSON, "json", false, "print the plan as JSON, with the services' environment")
	return c
}
