package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/agent"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/caps"
	"github.com/wardhq/ward/internal/control"
	"github.com/wardhq/ward/internal/up"
)

// newRoleCommand runs one of Ward's own processes; the supervisor starts it, nobody else.
func newRoleCommand(cli.Env) *cobra.Command {
	roles := map[string]func() error{"control": func() error { return control.Main(caps.Running()) }, "agent": agent.Main, "gateway": agent.GatewayMain}
	return &cobra.Command{
		Use:    up.RoleVerb + " NAME",
		Hidden: true,
		Args:   cli.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			main := roles[args[0]]
			if main == nil {
				return fault.New(fault.Usage, fmt.Sprintf("there is no role %q", args[0]))
			}
			return main()
		},
	}
}
