package main

import (
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/up"
)

// columns are how many steps a line of history has.
const columns = 60

func newHistoryCommand(e cli.Env) *cobra.Command {
	q := watch.HistoryQuery{Measure: watch.Requests}
	var asJSON bool
	c := cli.Running("history", "Show what passed in the last hours or days", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		q.Step = max(q.Since/columns, watch.SampleEvery).Truncate(watch.SampleEvery)
		var all []watch.History
		if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/history", q, &all); err != nil {
			return err
		}
		if asJSON {
			return cli.WriteJSON(e.Out, all)
		}
		return printHistory(e.Out, all, q)
	})
	f := c.Flags()
	f.StringVar(&q.Measure, "measure", q.Measure, "requests, errors, p99, cpu or memory")
	f.StringVar(&q.Service, "service", "", "only what this service called, or what called it")
	f.DurationVar(&q.Since, "since", time.Hour, "how far back, such as 24h; samples are kept for 15 days, hours for 400")
	f.BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

func printHistory(w io.Writer, all []watch.History, q watch.HistoryQuery) error {
	fmt.Fprintf(w, "%s of the last %s, %s a column\n\n", q.Measure, q.Since, q.Step)
	if len(all) == 0 {
		fmt.Fprintln(w, "nothing was measured; a column is shown when its time is over, and what passes now by 'ward top'")
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := range all {
		h := &all[i]
		if h.Source != "gateway" && h.Caller == plan.Outside {
			continue // the gateway has counted them
		}
		line, most, last := spark(h.Values)
		who := fmt.Sprintf("%s\t%s → %s %s", h.Verdict, party(h.Caller), party(h.Target), h.Route)
		if h.Source == "" {
			who = fmt.Sprintf("\t%s %s", h.Target, h.Route)
		}
		fmt.Fprintf(t, "%s\t%s\t%s now\t%s most\t\n", who, line, measured(q.Measure, last), measured(q.Measure, most))
	}
	return t.Flush()
}

// spark draws values, the greatest as a whole block; a blank is what nobody knows.
func spark(values []*float64) (line string, most, last float64) {
	for _, v := range values {
		if v != nil {
			most, last = max(most, *v), *v
		}
	}
	out := make([]rune, len(values))
	for i, v := range values {
		switch {
		case v == nil:
			out[i] = ' '
		case most == 0 || *v <= 0:
			out[i] = '▁'
		default:
			out[i] = []rune("▁▂▃▄▅▆▇█")[min(7, int(*v/most*7.99))]
		}
	}
	return string(out), most, last
}

// measured is a value in its unit.
func measured(measure string, v float64) string {
	switch measure {
	case watch.P99:
		return cli.Took(time.Duration(v * float64(time.Second)))
	case watch.Memory:
		return fmt.Sprintf("%.0f MB", v/1e6)
	case watch.CPU:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.1f/s", v)
}
