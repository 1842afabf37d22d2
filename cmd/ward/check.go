package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/wardfile"
)

func newCheckCommand(e cli.Env) *cobra.Command {
	var file string
	var asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Say everything that is wrong or unwise in ward.yaml",
		Long: `Say everything that is wrong or unwise in ward.yaml, with line, column and what to do.

Exit code 0: no errors (there may be warnings). 1: errors.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return check(e, file, asJSON) },
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the model to check; - is the standard input")
	c.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return c
}

// noArgs is cobra.NoArgs as a usage error.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fault.New(fault.Usage, fmt.Sprintf("%s takes no arguments, but got %q; see '%s --help'", c.CommandPath(), args[0], c.CommandPath()))
	}
	return nil
}

func check(e cli.Env, file string, asJSON bool) error {
	var m *model.Model
	var problems model.Problems
	var err error
	if file == "-" {
		m, problems = wardfile.Parse("stdin", e.In)
	} else if m, problems, err = cli.ReadModel(file); err != nil {
		return err
	}
	problems = withMissing(file, m, withIdle(file, m, withEnded(file, m, problems, cli.Today())))
	if asJSON {
		err = checkJSON(e.Out, m, problems)
	} else {
		err = checkText(e.Out, file, m, problems)
	}
	if err == nil && problems.HasErrors() {
		return cli.ErrFindings
	}
	return err
}

// withEnded adds a warning for each observe rule that has ended. It isn't the parser's: a model
// must mean the same on every day.
func withEnded(file string, m *model.Model, problems model.Problems, day string) model.Problems {
	if problems.HasErrors() {
		return problems
	}
	for _, o := range m.Observe {
		if o.Until < day {
			problems = append(problems, model.Problem{
				Severity: model.Warning, File: file, Pos: o.Pos, Message: fmt.Sprintf("this observe rule ended with %s: it allows nothing any more", o.Until),
				Hint: fmt.Sprintf("remove it; if the call is right, write it under calls of %s", o.From),
			})
		}
	}
	return problems
}

// withIdle adds a warning for each mode of a rule that changes nothing. It isn't the parser's, which knows no answers.
func withIdle(file string, m *model.Model, problems model.Problems) model.Problems {
	if problems.HasErrors() {
		return problems
	}
	for _, r := range m.Watch.Rules {
		if watch.RuleOf(r.Name).Answer == "" {
			problems = append(problems, model.Problem{
				Severity: model.Warning, File: file, Pos: r.Pos, Message: fmt.Sprintf("a mode of %s changes nothing: Ward gives it no answer by itself", r.Name),
				Hint: "remove it; to hear less of what is found: 'ward findings silence'",
			})
		}
	}
	return problems
}

// withMissing adds a warning for each file that isn't there: it may be where Ward will run. It isn't the parser's, which reads no other file.
func withMissing(file string, m *model.Model, problems model.Problems) model.Problems {
	if file == "-" || problems.HasErrors() {
		return problems
	}
	for _, f := range m.Files {
		if why := unreadable(file, f.Path); why != "" {
			problems = append(problems, model.Problem{
				Severity: model.Warning, File: file, Pos: f.Pos, Message: fmt.Sprintf("%s: %q %s", f.Key, f.Path, why),
				Hint: "'ward up' doesn't start without it; a path is from the folder of ward.yaml",
			})
		}
	}
	return problems
}

// unreadable says why a file that the model at file names can't be read, or "".
func unreadable(file, path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(file), path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "isn't there"
	case err == nil && info.IsDir():
		return "is a folder"
	case err == nil && unix.Access(path, unix.R_OK) == nil:
		return ""
	}
	return "can't be read"
}

func checkText(w io.Writer, file string, m *model.Model, problems model.Problems) error {
	text := problems.String()
	warnings := cli.Count(problems.Count(model.Warning), "warning")
	if problems.HasErrors() {
		text += fmt.Sprintf("%s, %s\n", cli.Count(problems.Count(model.Error), "error"), warnings)
	} else {
		services, calls, grants := len(m.Services), 0, 0
		for i := range m.Services {
			calls += len(m.Services[i].Calls)
			for _, c := range m.Services[i].Calls {
				grants += len(c.Grants)
			}
		}
		text += fmt.Sprintf("%s: %s, %s with %s, %s; %s\n", file, cli.Count(services, "service"), cli.Count(calls, "call"),
			cli.Count(grants, "grant"), cli.Count(len(m.Externals), "external"), warnings)
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write findings: %w", err)
	}
	return nil
}

func checkJSON(w io.Writer, m *model.Model, problems model.Problems) error {
	if problems == nil {
		problems = model.Problems{}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		OK       bool           `json:"ok"`
		Services int            `json:"services"`
		Problems model.Problems `json:"problems"`
	}{!problems.HasErrors(), len(m.Services), problems})
	if err != nil {
		return fmt.Errorf("write findings: %w", err)
	}
	return nil
}
