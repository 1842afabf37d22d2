package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/up"
)

func newTracesCommand(e cli.Env) *cobra.Command {
	var q watch.TraceQuery
	var asJSON bool
	c := cli.Running("traces [ID]", "Show requests that were refused, failed or slow, and one request's way through the services", 0, func(p up.Paths, c *cobra.Command, args []string) error {
		if len(args) == 1 {
			return showTrace(c, e, p, args[0], asJSON)
		}
		var all []watch.Summary
		if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/traces", q, &all); err != nil {
			return err
		}
		if asJSON {
			return cli.WriteJSON(e.Out, all)
		}
		return printTraces(e.Out, all)
	})
	c.Args = cobra.MaximumNArgs(1)
	f := c.Flags()
	f.StringVar(&q.Service, "service", "", "only those that went through this service")
	f.BoolVar(&q.Refused, "refused", false, "only those of which something was refused")
	f.BoolVar(&q.Failed, "failed", false, "only those of which something failed")
	f.DurationVar(&q.Slower, "slower", 0, "only those with a hop that took at least so long, such as 500ms")
	f.IntVar(&q.Limit, "limit", 50, "how many at most")
	f.BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

func printTraces(w io.Writer, all []watch.Summary) error {
	if len(all) == 0 {
		fmt.Fprintln(w, "none is kept: of what was refused, failed or slow all are, for three days, and of the rest one in a thousand")
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TRACE\tAT\tTOOK\tHOPS\tWORST\tSTATUS\t")
	for i := range all {
		x := &all[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s %s → %s %s\t%s\t\n", x.Trace, x.Start.Local().Format("01-02 15:04:05"), cli.Took(x.Took), x.Spans, x.Worst.Verdict, party(x.Worst.Caller), party(x.Worst.Target), x.Worst.Route, statusWord(x.Status))
	}
	return t.Flush()
}

func showTrace(c *cobra.Command, e cli.Env, p up.Paths, id string, asJSON bool) error {
	var q struct {
		Trace telemetry.TraceID `json:"trace"`
	}
	if err := q.Trace.UnmarshalText([]byte(id)); err != nil {
		return fault.New(fault.Usage, "a trace is named by 32 digits in hex: "+err.Error())
	}
	var all []telemetry.SpanRecord
	if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/trace", q, &all); err != nil {
		return err
	}
	if asJSON {
		return cli.WriteJSON(e.Out, all)
	}
	if err := printTrace(e.Out, all); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.Out, "\nwhat services printed of it: ward logs --trace %s\n", all[0].Trace)
	return err
}

// frame is from when to when Ward's hops were: what applications say of their times doesn't move it.
func frame(all []telemetry.SpanRecord) (first, last int64) {
	for i := range all {
		if x := &all[i]; x.App == nil && (last == 0 || x.Start < first) {
			first, last = x.Start, max(last, x.Start+1)
		}
	}
	for i := range all {
		if x := &all[i]; x.App == nil {
			last = max(last, x.Start+int64(x.Took))
		}
	}
	return first, max(last, first+1)
}

// printTrace prints spans below the ones that they came from, with bars for when.
func printTrace(w io.Writer, all []telemetry.SpanRecord) error {
	first, last := frame(all)
	known, below := map[telemetry.SpanID]bool{}, map[telemetry.SpanID][]*telemetry.SpanRecord{}
	for i := range all {
		known[all[i].ID] = true
	}
	for i := range all {
		at := all[i].Parent
		if !known[at] || at == all[i].ID {
			at = telemetry.SpanID{} // who called isn't kept, or isn't Ward's
		}
		below[at] = append(below[at], &all[i])
	}
	fmt.Fprintf(w, "trace %s, %s, took %s\n\n", all[0].Trace, time.Unix(0, first).Local().Format(time.RFC3339), cli.Took(time.Duration(last-first)))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	const width = 40
	var show func(parent telemetry.SpanID, depth int)
	show = func(parent telemetry.SpanID, depth int) {
		of := below[parent]
		delete(below, parent) // in a circle each is shown once
		for _, s := range of {
			at := func(t int64) int { return int((max(first, min(t, last)) - first) * width / (last - first)) }
			bar := strings.Repeat(" ", at(s.Start)) + strings.Repeat("▬", max(1, at(s.Start+int64(s.Took))-at(s.Start)))
			if a := s.App; a != nil {
				came := a.Kind.String()
				if a.Failed {
					came = "failed"
				}
				fmt.Fprintf(t, "%s%s: %s\t%s\t-\t%s\t%s\t\n", strings.Repeat("  ", min(depth, 20)), a.Service, a.Name, came, cli.Took(s.Took), bar)
				show(s.ID, depth+1)
				continue
			}
			fmt.Fprintf(t, "%s%s → %s %s\t%s\t%s\t%s\t%s\t\n", strings.Repeat("  ", min(depth, 20)), party(s.Label.Caller), party(s.Label.Target), s.Label.Route, s.Label.Verdict, statusWord(s.Status), cli.Took(s.Took), bar)
			show(s.ID, depth+1)
		}
	}
	show(telemetry.SpanID{}, 0)
	for i := range all { // what is left is in circles: whoever reports one hides nothing in it
		show(all[i].Parent, 0)
	}
	return t.Flush()
}

func statusWord(status uint16) string {
	if status == 0 {
		return "-"
	}
	return fmt.Sprint(status)
}
