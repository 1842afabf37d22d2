package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/reach"
)

func newReachCommand(e cli.Env) *cobra.Command {
	var file string
	var asJSON bool
	c := &cobra.Command{
		Use:   "reach [SERVICE]",
		Short: "Say what an attacker reaches from a service that is taken over",
		Long: `Say what an attacker reaches from a service that is taken over: services and routes,
externals, files and data, with hops and the layers on each. Without SERVICE, rank
all services by what they reach and how sensitive it is.

Hop 1 is exact. From hop 2 on each service reached is assumed taken over too.`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fault.New(fault.Usage, fmt.Sprintf("%s takes one SERVICE or none; see '%s --help'", c.CommandPath(), c.CommandPath()))
			}
			m, err := cli.LoadModel(e, file)
			if err != nil {
				return err
			}
			p := plan.Build(m)
			if len(args) == 0 {
				return reachAll(e, p, asJSON)
			}
			r, err := reach.Of(p, cli.Today(), args[0])
			if err != nil {
				return fault.New(fault.Usage, err.Error())
			}
			if asJSON {
				return cli.WriteJSON(e.Out, r)
			}
			return cli.WriteText(e.Out, r.Text(file))
		},
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the model")
	c.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return c
}

func reachAll(e cli.Env, p *plan.Plan, asJSON bool) error {
	rows := reach.Rank(p, cli.Today())
	if asJSON {
		return cli.WriteJSON(e.Out, rows)
	}
	return cli.WriteText(e.Out, reach.RankText(rows))
}
