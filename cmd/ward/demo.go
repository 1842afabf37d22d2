package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/demo"
	"github.com/wardhq/ward/internal/demo/shop"
)

func newDemoCommand(e cli.Env) *cobra.Command {
	var once, asJSON bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Attack a small shop without Ward and with it, and leave the guarded shop running",
		Long: `Start a small book shop of six services and a database with holes, attack it, start the same programs under guard,
attack them in the same way, and print both results side by side. Then the guarded shop
goes on running, for you to look at, until Ctrl-C. Everything is on loopback.

Exit code 0: the shop works, and every attack that Ward claims to stop was stopped. 1: not so.`,
		Args: cli.ExactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			dir, err := os.MkdirTemp("", "ward-demo-")
			if err != nil {
				return fmt.Errorf("make a folder for the demo: %w", err)
			}
			defer os.RemoveAll(dir)
			// The demo leaves nothing behind, not even a key in the user's configuration.
			if err := os.Setenv("WARD_KEY_FILE", filepath.Join(dir, "key")); err != nil {
				return fmt.Errorf("choose a key file: %w", err)
			}
			notes := e.Err
			if asJSON && once {
				notes = io.Discard
			}
			return demo.Run(ctx, demo.Config{Program: self, Dir: dir, Out: e.Out, Notes: notes, Once: once, JSON: asJSON, Color: cli.IsTerminal(e.Out)})
		},
	}
	c.Flags().BoolVar(&once, "once", false, "end after the table")
	c.Flags().BoolVar(&asJSON, "json", false, "print the table as JSON, with the evidence of each cell")
	return c
}

// newDemoServiceCommand is one service of the demo's shop, which knows nothing of Ward; or the
// program that an attacker brings along.
func newDemoServiceCommand(e cli.Env) *cobra.Command {
	return &cobra.Command{
		Use:    demo.ServiceVerb + " ROLE [ARGUMENT]",
		Hidden: true,
		Args:   cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cli.Background(c), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if args[0] == demo.IntruderRole && len(args) == 2 {
				return demo.Intrude(ctx, args[1], e.Out)
			}
			if len(args) != 1 {
				return fault.New(fault.Usage, "a role of the shop takes no argument")
			}
			dir, err := os.Getwd()
			if err != nil {
				return fmt.Errorf("find the working directory: %w", err)
			}
			return shop.Run(ctx, args[0], shop.Config{Env: os.Getenv, Dir: filepath.Clean(dir), Log: e.Err})
		},
	}
}
