package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/up"
)

// top is a live table of what passes.
type top struct {
	window int // seconds
	lines  int
	once   bool
	asJSON bool
}

func newTopCommand(e cli.Env) *cobra.Command {
	var t top
	c := cli.Running("top", "Show live how services stand, what passes between them, and what is refused", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		return t.run(cli.Background(c), e, p)
	})
	f := c.Flags()
	f.IntVar(&t.window, "window", 30, "of how many seconds, at most 60")
	f.IntVar(&t.lines, "lines", 30, "how many lines at most")
	f.BoolVar(&t.once, "once", false, "print it once")
	f.BoolVar(&t.asJSON, "json", false, "print it once, as JSON")
	return c
}

// now is what top shows.
type now struct {
	Services []topService `json:"services"`
	Edges    []watch.Edge `json:"edges"`
	Dropped  []watch.Drop `json:"dropped,omitempty"` // that Ward itself had no room for
}

// topService is an instance of a service.
type topService struct {
	watch.Running
	State up.State  `json:"state"`
	Since time.Time `json:"since"`
}

// look asks control what passes and what is used, and the supervisor how services stand.
func (t *top) look(ctx context.Context, p up.Paths) (now, error) {
	var n now
	var used []watch.Running
	var st up.Status
	if err := errors.Join(
		p.Admin().Call(ctx, http.MethodGet, "/v1/edges?window="+strconv.Itoa(t.window), nil, &n.Edges),
		p.Admin().Call(ctx, http.MethodGet, "/v1/processes", nil, &used),
		p.Admin().Call(ctx, http.MethodGet, "/v1/drops", nil, &n.Dropped),
		p.Up().Call(ctx, http.MethodGet, "/v1/status", nil, &st),
	); err != nil {
		return now{}, err
	}
	for _, s := range st.Services {
		x := topService{watch.Running{Service: s.Service, Replica: s.Replica, Restarts: s.Restarts}, s.State, s.Since}
		for i := range used {
			if u := &used[i]; u.Service == s.Service && u.Replica == s.Replica && s.PID > 0 {
				x.Load, x.Memory = u.Load, u.Memory
			}
		}
		n.Services = append(n.Services, x)
	}
	return n, nil
}

func (t *top) run(ctx context.Context, e cli.Env, p up.Paths) error {
	for {
		all, err := t.look(ctx, p)
		if err != nil {
			return err
		}
		if t.asJSON {
			return cli.WriteJSON(e.Out, all)
		}
		var found []watch.Finding
		if err := p.Admin().Call(ctx, http.MethodPost, "/v1/findings", watch.FindingQuery{}, &found); err != nil {
			return err
		}
		live := !t.once && cli.IsTerminal(e.Out)
		if live {
			fmt.Fprint(e.Out, "\x1b[H\x1b[2J")
		}
		if found = slices.DeleteFunc(found, func(f watch.Finding) bool { return !f.Silenced.IsZero() }); len(found) > 0 {
			line := fmt.Sprintf("%s open, the worst %s: %s  (ward findings)", cli.Count(len(found), "finding"), found[0].Severity, found[0].What)
			if width := cli.Width(e.Out); width > 0 {
				line = cli.Cut(line, width)
			}
			fmt.Fprint(e.Out, line, "\n\n")
		}
		if len(all.Dropped) > 0 {
			fmt.Fprint(e.Out, watch.Dropped(all.Dropped), "  (ward metrics)\n\n")
		}
		if err := errors.Join(printServices(e.Out, all.Services), t.print(e.Out, all.Edges)); err != nil || !live {
			return err
		}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// printServices prints a line for each instance.
func printServices(w io.Writer, all []topService) error {
	rows := [][]string{{"SERVICE", "STATE", "SINCE", "CPU", "MEMORY", "RESTARTS"}}
	for i := range all {
		x := &all[i]
		name, load, memory := x.Service, "-", "-" // before the first report
		if x.Replica > 0 || i+1 < len(all) && all[i+1].Service == x.Service {
			name += "." + strconv.Itoa(x.Replica)
		}
		if x.Memory > 0 {
			load, memory = fmt.Sprintf("%.0f%%", 100*x.Load), fmt.Sprintf("%.0f MB", float64(x.Memory)/1e6)
		}
		rows = append(rows, []string{name, string(x.State), time.Since(x.Since).Round(time.Second).String(), load, memory, strconv.Itoa(x.Restarts)})
	}
	if err := cli.Table(w, 0, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

func (t *top) print(w io.Writer, all []watch.Edge) error {
	all = slices.DeleteFunc(all, func(x watch.Edge) bool { return x.Source != "gateway" && x.Caller == plan.Outside }) // the gateway has counted them
	var allowed, refused float64
	for i := range all {
		if all[i].Verdict == telemetry.Allowed {
			allowed += all[i].Rate
		} else {
			refused += all[i].Rate
		}
	}
	fmt.Fprintf(w, "the last %d s: %.1f calls a second let pass, %.1f refused or failed\n\n", t.window, allowed, refused)
	const route = 3 // the column
	rows := [][]string{{"", "CALLER", "TARGET", "ROUTE", "PER S", "ERRORS", "P50", "P99", "TOTAL"}}
	for i := range all[:min(len(all), t.lines)] {
		x := &all[i]
		rows = append(rows, []string{
			x.Verdict.String(), party(x.Caller), party(x.Target), x.Route, fmt.Sprintf("%.1f", x.Rate), fmt.Sprintf("%.1f%%", 100*x.Errors),
			cli.Took(x.P50), cli.Took(x.P99), fmt.Sprint(x.Total),
		})
	}
	if n := len(all) - t.lines; n > 0 {
		rows = append(rows, []string{"", fmt.Sprintf("… and %d more", n)})
	}
	return cli.Table(w, route, rows)
}

// party is who a name of the plan is to people.
func party(name string) string {
	switch name {
	case plan.Outside:
		return "outside"
	case plan.Self:
		return "ward"
	case "":
		return "-"
	}
	return name
}
