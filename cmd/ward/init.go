package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/model/draft"
)

func newInitCommand(e cli.Env) *cobra.Command {
	var from, out string
	c := &cobra.Command{
		Use:   "init",
		Short: "Write a first ward.yaml from a docker-compose.yml or a Procfile",
		Long: `Write a first ward.yaml from a docker-compose.yml or a Procfile in this folder.

What the source could not tell stands below a comment that begins with "# ward:". A file that is
there already is never overwritten.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return initModel(e, from, out) },
	}
	c.Flags().StringVar(&from, "from", "", "the Compose file or Procfile to read; found by its usual name if absent")
	c.Flags().StringVarP(&out, "file", "f", cli.DefaultFile, "the file to write; - is the standard output")
	return c
}

// sources is the usual names, in the order in which they are tried.
func sources() []string {
	return []string{"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml", "Procfile"}
}

func initModel(e cli.Env, from, out string) error {
	if from == "" {
		for _, name := range sources() {
			if _, err := os.Stat(name); err == nil {
				from = name
				break
			}
		}
	}
	if from == "" {
		return fault.New(fault.NotFound, "there is no "+strings.Join(sources(), ", ")+" here; name one with --from")
	}
	src, err := readSource(e, from)
	if err != nil {
		return err
	}
	abs, err := filepath.Abs(from)
	if err != nil {
		return fmt.Errorf("find the folder of %s: %w", from, err)
	}
	app := filepath.Base(filepath.Dir(abs))
	write := draft.Compose
	if strings.HasPrefix(filepath.Base(from), "Procfile") {
		write = draft.Procfile
	}
	text, err := write(app, src)
	if err != nil {
		return fault.Wrap(fault.Invalid, from, err)
	}
	if out == "-" {
		if _, err := e.Out.Write(text); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		return nil
	}
	if err := createFile(out, text); err != nil {
		return err
	}
	marks := strings.Count(string(text), "# ward:") - 1
	fmt.Fprintf(e.Out, "wrote %s from %s: %s to look at, marked with \"# ward:\"; then run 'ward check'\n", out, from, cli.Count(max(marks, 0), "place"))
	return nil
}

// createFile writes a file that isn't there yet.
func createFile(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Conflict, path+" is there already; name another file with -f, or - for the standard output")
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	_, err = f.Write(content)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
