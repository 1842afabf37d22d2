package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wire"
)

// NotRunning says what to do when nothing answers.
func NotRunning(err error) error {
	if errors.Is(err, wire.ErrNoAnswer) {
		return fault.New(fault.Unavailable, "nothing runs for this file; start it with 'ward up'")
	}
	return err
}

// Missing tells of a model that isn't there, as in a folder that isn't the application's; nil if it is.
func Missing(p up.Paths) error {
	if _, err := os.Stat(p.File); errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "there is no "+p.File+"; go to the folder of the application, or name its ward.yaml with -f")
	}
	return nil
}

// Unreachable tells of a supervisor that runs but can't be spoken to.
func Unreachable(p up.Paths, err error) error {
	if errors.Is(err, wire.ErrNoAnswer) {
		if who := p.Runs(); who != nil {
			return fault.New(fault.Unavailable, fmt.Sprintf("%v; but its socket in %s doesn't answer: end that process with kill, and start it again", who, p.Run))
		}
		if missing := Missing(p); missing != nil {
			return missing
		}
	}
	return NotRunning(err)
}

func Running(use, short string, n int, run func(up.Paths, *cobra.Command, []string) error) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: use, Short: short, Args: ExactArgs(n),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := up.FindPaths(file)
			if err != nil {
				return err
			}
			return Unreachable(p, run(p, c, args))
		},
	}
	c.Flags().StringVarP(&file, "file", "f", DefaultFile, "the model that runs")
	return c
}
