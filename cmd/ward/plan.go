package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/words"
)

func newPlanCommand(e env) *cobra.Command {
	var file string
	var asJSON bool
	c := &cobra.Command{
		Use:   "plan",
		Short: "Say what each service may do, in and out",
		Long: `Say what each service may do, in and out, with the line of ward.yaml that says so.
What isn't listed is closed.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			m, err := loadModel(e, file)
			if err != nil {
				return err
			}
			p := plan.Build(m)
			if asJSON {
				return writeJSON(e.out, p)
			}
			return writeText(e.out, words.Plan(p, file))
		},
	}
	c.Flags().StringVarP(&file, "file", "f", defaultFile, "the model")
	c.Flags().BoolVar(&asJSON, "json", false, "print the plan as JSON, with the services' environment")
	return c
}

// writeJSON prints v indented, for people and machines.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

func writeText(w io.Writer, s string) error {
	if _, err := io.WriteString(w, s); err != nil {
		return fmt.Errorf("write text: %w", err)
	}
	return nil
}
