package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/model/wardfile"
)

func newSchemaCommand(e cli.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of ward.yaml, for editors",
		Long: `Print the JSON Schema (2020-12) of ward.yaml, for completion and checks in editors:

  ward schema > ward.schema.json
  # and as the first line of ward.yaml:
  # yaml-language-server: $schema=ward.schema.json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if _, err := e.Out.Write(wardfile.Schema()); err != nil {
				return fmt.Errorf("write schema: %w", err)
			}
			return nil
		},
	}
}
