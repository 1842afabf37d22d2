package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/up"
)

// The verbs of this file speak to a running 'ward up'.

func newStatusCommand(e cli.Env) *cobra.Command {
	var asJSON bool
	c := cli.Running("status", "Show what runs", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		var st up.Status
		if err := p.Up().Call(cli.Background(c), http.MethodGet, "/v1/status", nil, &st); err != nil {
			return err
		}
		if asJSON {
			return json.NewEncoder(e.Out).Encode(st)
		}
		return printStatus(e.Out, &st)
	})
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

func printStatus(w io.Writer, st *up.Status) error {
	fmt.Fprintf(w, "%s  %s  plan %.12s  (pid %d)\n\n", st.App, st.URL, st.Revision, st.PID)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tSTATE\tSINCE\tRESTARTS\tPID\t")
	replicated := map[string]bool{}
	for _, s := range st.Services {
		if s.Replica > 0 {
			replicated[s.Service] = true
		}
	}
	for _, s := range st.Services {
		name := s.Service
		if replicated[name] {
			name = fmt.Sprintf("%s.%d", s.Service, s.Replica)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\n", name, s.State, time.Since(s.Since).Round(time.Second), s.Restarts, s.PID, s.Reason)
	}
	for _, r := range st.Roles {
		fmt.Fprintf(t, "ward %s\tready\t\t%d\t%d\t\n", r.Name, r.Restarts, r.PID)
	}
	return t.Flush()
}

func newRestartCommand(cli.Env) *cobra.Command {
	return cli.Running("restart SERVICE", "Restart a service, one replica after the other", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		return p.Up().Call(cli.Background(c), http.MethodPost, "/v1/restart", up.Named{Service: args[0]}, nil)
	})
}

func newApplyCommand(cli.Env) *cobra.Command {
	return cli.Running("apply", "Put ward.yaml as it is now into force", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		return p.Up().Call(cli.Background(c), http.MethodPost, "/v1/apply", struct{}{}, nil)
	})
}

func newDownCommand(cli.Env) *cobra.Command {
	return cli.Running("down", "Stop everything", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		if err := p.Up().Call(cli.Background(c), http.MethodPost, "/v1/down", struct{}{}, nil); err != nil {
			return err
		}
		return p.AwaitEnd(cli.Background(c))
	})
}
