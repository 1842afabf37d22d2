package watching

import (
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/up"
)

// SLO is `ward slo`.
func SLO(e cli.Env) *cobra.Command {
	var asJSON bool
	c := cli.Running("slo", "Show what is promised of each route, and how much of its error budget is left", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		var all []watch.SLO
		if err := p.Admin().Call(cli.Background(c), http.MethodGet, "/v1/slo", nil, &all); err != nil {
			return err
		}
		if asJSON {
			return cli.WriteJSON(e.Out, all)
		}
		return printSLOs(e.Out, all)
	})
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

func printSLOs(w io.Writer, all []watch.SLO) error {
	if len(all) == 0 {
		fmt.Fprintln(w, "nothing was asked for in the last 30 days; what is asked for now is judged within a minute")
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tROUTE\tPROMISED\tAVAILABLE\tOVER\tBUDGET LEFT\tBURN 1h\t6h\t3d\tP99\tALERT\t")
	for i := range all {
		s := &all[i]
		alert := string(s.Alert)
		if alert == "" {
			alert = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%g%% %s\t%.3f%%\t%s\t%.0f%%\t%.1f\t%.1f\t%.1f\t%s\t%s\t\n", s.Target, s.Route, s.Objective.Availability, cli.Took(s.Objective.P99), s.Availability, span(s.Over), s.Budget*100, s.Burn1h, s.Burn6h, s.Burn3d, cli.Took(s.P99), alert)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print promises: %w", err)
	}
	for i := range all {
		if all[i].What != "" {
			fmt.Fprintf(w, "\n%s: %s\n", all[i].Alert, all[i].What)
		}
	}
	return nil
}

// span is a long time in its greatest unit.
func span(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	if d >= 2*time.Hour {
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d min", int(d.Minutes()))
}
