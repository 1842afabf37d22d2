package main

import (
	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/cap/watch"
)

// newExportCommand prints what other monitoring needs; it asks nobody.
func newExportCommand(e cli.Env) *cobra.Command {
	c := &cobra.Command{Use: "export", Short: "Print rules for Prometheus, or a dashboard for Grafana"}
	for _, x := range []struct {
		name, short string
		text        func() []byte
	}{
		{"prometheus", "Print recording and alerting rules (rule_files:)", watch.PrometheusRules},
		{"grafana", "Print a dashboard to import", watch.GrafanaDashboard},
	} {
		c.AddCommand(&cobra.Command{Use: x.name, Short: x.short, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			_, err := e.Out.Write(x.text())
			return err
		}})
	}
	return c
}
