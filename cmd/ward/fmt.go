package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/model/source"
	"github.com/wardhq/ward/internal/model/wardfile"
)

func newFmtCommand(e cli.Env) *cobra.Command {
	var file string
	var only bool
	c := &cobra.Command{
		Use:   "fmt [FILE]",
		Short: "Write ward.yaml in its canonical form",
		Long: `Write ward.yaml in its canonical form: keys in one order, short lists inline, comments kept.

With - as the file, from the standard input to the standard output. With --check, nothing is written,
and the exit code is 1 if the file would change.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fault.New(fault.Usage, "fmt takes one file; see 'ward fmt --help'")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				file = args[0]
			}
			return format(e, file, only)
		},
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the file to format; - is the standard input")
	c.Flags().BoolVar(&only, "check", false, "write nothing; exit 1 if the file would change")
	return c
}

func format(e cli.Env, file string, only bool) error {
	src, err := readSource(e, file)
	if err != nil {
		return err
	}
	out, err := wardfile.Format(src)
	if err != nil {
		return fault.Wrap(fault.Invalid, file, err)
	}
	switch {
	case only && bytes.Equal(src, out):
		return nil
	case only:
		fmt.Fprintf(e.Err, "%s: not in its canonical form; write it with 'ward fmt'\n", file)
		return cli.ErrFindings
	case file == "-":
		if _, err := e.Out.Write(out); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		return nil
	case bytes.Equal(src, out):
		return nil
	}
	return replaceFile(file, out)
}

// readSource is the whole file, or the standard input for "-", within the bounds of a model.
func readSource(e cli.Env, file string) ([]byte, error) {
	if file == "-" {
		return source.ReadAll(e.In)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, cli.OpenError(file, err)
	}
	defer f.Close()
	return source.ReadAll(f)
}

// replaceFile puts content in the place of a file at once: a reader sees the old
// or the new content, never half of it. The mode stays, and a symbolic link stays a link.
func replaceFile(path string, content []byte) (err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".ward-*.yaml")
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
		}
	}()
	_, err = io.Copy(tmp, bytes.NewReader(content))
	for _, step := range []func() error{
		func() error { return tmp.Chmod(info.Mode().Perm()) },
		tmp.Sync, tmp.Close,
		func() error { return os.Rename(tmp.Name(), path) },
	} {
		if err != nil {
			return fmt.Errorf("replace %s: %w", path, err)
		}
		err = step()
	}
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return nil
}
