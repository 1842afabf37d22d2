package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/cmd/ward/internal/safe"
	"github.com/wardhq/ward/cmd/ward/internal/scanning"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/model"
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
			var refuse scanning.Refusals
			return up.Run(ctx, up.Config{
				File: file, Out: e.Out, Color: cli.IsTerminal(e.Out),
				Passphrase: safe.AskPassphrase(e), FirstKit: safe.FirstKit(e),
				Load:   func() (*plan.Plan, error) { return loadToStart(ctx, e, file, &refuse) },
				Refuse: refuse.Why,
			})
		},
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the model")
	return c
}

// loadToStart reads the model, and what it asks to know before anything starts.
func loadToStart(ctx context.Context, e cli.Env, file string, refuse *scanning.Refusals) (*plan.Plan, error) {
	m, err := cli.LoadModel(e, file)
	if err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		if why := unreadable(file, f.Path); why != "" { // before anything is made
			return nil, fault.New(fault.Invalid, fmt.Sprintf("%s:%d:%d: %s: %q %s", file, f.Pos.Line, f.Pos.Col, f.Key, f.Path, why))
		}
	}
	p, err := planOf(m, file)
	if err != nil {
		return nil, err
	}
	return p, refuse.Look(ctx, m, file)
}

// loadPlan reads the model and everything that it names.
func loadPlan(e cli.Env, file string) (*plan.Plan, error) {
	m, err := cli.LoadModel(e, file)
	if err != nil {
		return nil, err
	}
	return planOf(m, file)
}

// planOf reads what a model names.
func planOf(m *model.Model, file string) (*plan.Plan, error) {
	p := plan.Build(m)
	p.CAs = map[string]string{}
	read := func(name, what, ca string, at model.Pos) error {
		if ca == "" {
			return nil
		}
		path := ca
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(file), path)
		}
		pem, err := os.ReadFile(path)
		if err != nil {
			return fault.Wrap(fault.Invalid, fmt.Sprintf("%s:%d: %s: ca: %s can't be read", file, at.Line, what, ca), err)
		}
		p.CAs[name] = string(pem)
		return nil
	}
	for _, x := range m.Externals {
		if err := read(string(x.Name), "external "+string(x.Name), x.CAFile, x.Pos); err != nil {
			return nil, err
		}
	}
	for _, d := range m.Databases {
		if err := read(plan.DatabaseCA(d.Name), "database "+d.Name, d.CAFile, d.Pos); err != nil {
			return nil, err
		}
	}
	return p, nil
}
