package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wire"
)

// The verbs of this file speak to a running 'ward up'.

// notRunning says what to do when nothing answers.
func notRunning(err error) error {
	if errors.Is(err, wire.ErrNoAnswer) {
		return fault.New(fault.Unavailable, "nothing runs for this file; start it with 'ward up'")
	}
	return err
}

// unreachable tells of a supervisor that runs but can't be spoken to.
func unreachable(p up.Paths, err error) error {
	if errors.Is(err, wire.ErrNoAnswer) {
		if who := p.Runs(); who != nil {
			return fault.New(fault.Unavailable, fmt.Sprintf("%v; but its socket in %s doesn't answer: end that process with kill, and start it again", who, p.Run))
		}
	}
	return notRunning(err)
}

func runningCommand(use, short string, n int, run func(up.Paths, *cobra.Command, []string) error) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: use, Short: short, Args: exactArgs(n),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := up.FindPaths(file)
			if err != nil {
				return err
			}
			return unreachable(p, run(p, c, args))
		},
	}
	c.Flags().StringVarP(&file, "file", "f", defaultFile, "the model that runs")
	return c
}

func newStatusCommand(e env) *cobra.Command {
	var asJSON bool
	c := runningCommand("status", "Show what runs", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		var st up.Status
		if err := p.Up().Call(background(c), http.MethodGet, "/v1/status", nil, &st); err != nil {
			return err
		}
		if asJSON {
			return json.NewEncoder(e.out).Encode(st)
		}
		return printStatus(e.out, &st)
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

func newLogsCommand(e env) *cobra.Command {
	var follow bool
	c := runningCommand("logs SERVICE", "Show what a service printed", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		path := "/v1/logs?service=" + url.QueryEscape(args[0])
		if follow {
			path += "&follow=1"
		}
		resp, err := p.Up().Do(background(c), http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(e.out, resp.Body)
		return err
	})
	c.Flags().BoolVar(&follow, "follow", false, "go on as more comes")
	return c
}

func newRestartCommand(env) *cobra.Command {
	return runningCommand("restart SERVICE", "Restart a service, one replica after the other", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		return p.Up().Call(background(c), http.MethodPost, "/v1/restart", up.Named{Service: args[0]}, nil)
	})
}

func newApplyCommand(env) *cobra.Command {
	return runningCommand("apply", "Put ward.yaml as it is now into force", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		return p.Up().Call(background(c), http.MethodPost, "/v1/apply", struct{}{}, nil)
	})
}

func newDownCommand(env) *cobra.Command {
	return runningCommand("down", "Stop everything", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		if err := p.Up().Call(background(c), http.MethodPost, "/v1/down", struct{}{}, nil); err != nil {
			return err
		}
		return p.AwaitEnd(background(c))
	})
}
