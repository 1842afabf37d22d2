package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/up"
)

func newUpCommand(e cli.Env) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "up",
		Short: "Start the services under guard, and the gateway in front of them",
		Long: `Start control, gateway and agent, each in a sandbox of its own, then the services in theirs, and
show their logs. Ctrl-C ends all. A change to the file is applied when it is saved.`,
		Args: cli.ExactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return up.Run(ctx, up.Config{
				File: file, Out: e.Out, Color: cli.IsTerminal(e.Out),
				Load: func() (*plan.Plan, error) { return loadPlan(e, file) },
			})
		},
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the model")
	return c
}

func loadPlan(e cli.Env, file string) (*plan.Plan, error) {
	m, err := cli.LoadModel(e, file)
	if err != nil {
		return nil, err
	}
	p := plan.Build(m)
	for _, x := range m.Externals {
		if x.CAFile == "" {
			continue
		}
		path := x.CAFile
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(file), path)
		}
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, fmt.Sprintf("%s:%d: external %s: ca: %s can't be read", file, x.Pos.Line, x.Name, x.CAFile), err)
		}
		if p.CAs == nil {
			p.CAs = map[string]string{}
		}
		p.CAs[string(x.Name)] = string(pem)
	}
	return p, nil
}
