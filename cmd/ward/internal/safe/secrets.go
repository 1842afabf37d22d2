// Package safe is the verbs about what Ward keeps: secrets, keys, and what seals them. A value never comes by an argument, and is printed
// by one verb alone.
package safe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/secrets"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wire"
)

// Secrets is the group of verbs about managed secrets.
func Secrets(e cli.Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "secrets",
		Short: "Keep the secrets of a running application",
		Long: `Keep the secrets of a running application. ward.yaml declares their names and who gets them; values come by
'set' (a prompt, standard input or a file, never an argument), 'generate' or 'import', or lie sealed in git.`,
		Example: `  ward secrets set stripe-key
  pass show stripe | ward secrets set stripe-key
  ward secrets import .env
  ward secrets seal partner-token`,
	}
	generate := newSecretsChange(e, "generate", "Make a new value; where Ward knows how, it changes the password at its database, too")
	generate.Aliases = []string{"rotate"}
	c.AddCommand(newSecretsList(e), newSecretsShow(e), newSecretsSet(e), newSecretsChange(e, "promote", "Make the pending value the current one"),
		newSecretsChange(e, "rollback", "Make the previous value the current one again"),
		generate,
		newSecretsChange(e, "delete", "Take a secret out of use; for 30 days it can be restored"),
		newSecretsChange(e, "restore", "Take a deletion back"), newSecretsReveal(e), newSecretsImport(e), newSecretsSeal(e), newSecretsRecipient(e), newSecretsLeaks(e))
	return c
}

func newSecretsList(e cli.Env) *cobra.Command {
	var asJSON bool
	c := cli.Running("list", "List the secrets, never their values", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		all, err := p.Admin().Secrets(cli.Background(c))
		if err != nil {
			return err
		}
		if asJSON {
			return cli.WriteJSON(e.Out, all)
		}
		w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SECRET\tVERSION\tSINCE\tNOTES")
		for i := range all {
			version := "no value"
			if all[i].Current > 0 {
				version = fmt.Sprint(all[i].Current)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", all[i].Name, version, day(all[i].Since), strings.Join(secretNotes(&all[i]), ", "))
		}
		return w.Flush()
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return c
}

// day is a time of wire's as a date in UTC, "" for never.
func day(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return time.Unix(seconds, 0).UTC().Format(time.DateOnly)
}

func secretNotes(s *wire.Secret) []string {
	var notes []string
	add := func(when bool, note string) {
		if when {
			notes = append(notes, note)
		}
	}
	add(s.DeletedAt > 0, "deleted, to be restored until "+day(s.GoneAt))
	add(!s.Declared, "not in ward.yaml")
	add(s.Generate != "", "generated")
	add(s.Sealed, "sealed in git")
	add(s.Canary, "canary")
	add(s.Pending > 0, fmt.Sprintf("version %d pending", s.Pending))
	add(s.Due, "due: older than its rotation says")
	add(s.RotatesAt > 0, "rotates "+day(s.RotatesAt))
	return notes
}

func newSecretsShow(e cli.Env) *cobra.Command {
	var asJSON bool
	c := cli.Running("show NAME", "Show a secret's versions and stages, never a value", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		s, err := p.Admin().Secret(cli.Background(c), args[0])
		if err != nil {
			return err
		}
		if asJSON {
			return cli.WriteJSON(e.Out, s)
		}
		fmt.Fprintf(e.Out, "%s  %s\n", s.Name, strings.Join(secretNotes(&s), ", "))
		w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
		for _, v := range s.Versions {
			until := ""
			if v.Expires > 0 {
				until = "until " + time.Unix(v.Expires, 0).UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(w, "  version %d\t%s\t%s\t%s\n", v.Version, v.Stage, time.Unix(v.Made, 0).UTC().Format(time.RFC3339), until)
		}
		return w.Flush()
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return c
}

func newSecretsSet(e cli.Env) *cobra.Command {
	var from string
	var expires time.Duration
	var pending bool
	var ifVersion int64
	c := cli.Running("set NAME", "Set a value, from a prompt, standard input or a file", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		value, err := readValue(e, from, args[0])
		if err != nil {
			return err
		}
		in := wire.SecretSet{Value: value}
		if expires > 0 {
			in.Expires = time.Now().Add(expires).Unix()
		}
		if pending {
			in.Stage = "pending"
		}
		if c.Flags().Changed("if-version") {
			in.IfVersion = &ifVersion
		}
		s, err := p.Admin().SetSecret(cli.Background(c), args[0], in)
		clear(value)
		if err != nil {
			return err
		}
		return saySecret(e, p, c, &s, "set")
	})
	c.Flags().StringVar(&from, "from", "", "the file that holds the value; its last line break doesn't count")
	c.Flags().DurationVar(&expires, "expires", 0, "after how long it isn't given out any more, such as 720h")
	c.Flags().BoolVar(&pending, "pending", false, "don't use it before 'ward secrets promote'")
	c.Flags().Int64Var(&ifVersion, "if-version", 0, "only if this is the newest version (0: if there is none)")
	return c
}

// saySecret says what a change came to, and who gets the value.
func saySecret(e cli.Env, p up.Paths, c *cobra.Command, s *wire.Secret, what string) error {
	fmt.Fprintf(e.Out, "%s: %s; version %d is current\n", s.Name, what, s.Current)
	readers, err := readersOf(cli.Background(c), p, s.Name)
	if err != nil {
		return err
	}
	if len(readers) == 0 {
		fmt.Fprintf(e.Out, "nobody gets it: name it in ward.yaml, under secrets: of a service or auth: of an external\n")
	}
	for _, r := range readers {
		fmt.Fprintf(e.Out, "  to %s %s: %s\n", r.Kind, r.Name, r.How)
	}
	return nil
}

func newSecretsChange(e cli.Env, verb, short string) *cobra.Command {
	return cli.Running(verb+" NAME", short, 1, func(p up.Paths, c *cobra.Command, args []string) error {
		s, err := p.Admin().ChangeSecret(cli.Background(c), args[0], verb)
		if err != nil {
			return err
		}
		past := map[string]string{"promote": "promoted", "rollback": "rolled back", "generate": "generated", "delete": "deleted", "restore": "restored"}
		if verb == "delete" {
			fmt.Fprintf(e.Out, "%s: deleted; 'ward secrets restore %s' takes it back until %s\n", s.Name, s.Name, day(s.GoneAt))
			return nil
		}
		return saySecret(e, p, c, &s, past[verb])
	})
}

func newSecretsReveal(e cli.Env) *cobra.Command {
	return cli.Running("reveal NAME", "Print the current value; the ledger keeps that it was asked for", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		v, err := p.Admin().RevealSecret(cli.Background(c), args[0])
		if err != nil {
			return err
		}
		if cli.IsTerminal(e.Out) && !bytes.HasSuffix(v.Value, []byte("\n")) {
			v.Value = append(v.Value, '\n')
		}
		_, err = e.Out.Write(v.Value)
		return err
	})
}

func newSecretsImport(e cli.Env) *cobra.Command {
	var replace bool
	c := cli.Running("import FILE", "Take the values of a .env file (- for standard input)", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		b, err := readBounded(e, args[0])
		if err != nil {
			return err
		}
		done, err := p.Admin().ImportSecrets(cli.Background(c), wire.SecretsImport{Dotenv: b, Replace: replace})
		clear(b)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
		for _, s := range done.Secrets {
			note := ""
			switch {
			case s.Kept:
				note = "kept: it has a value; --replace takes this one"
			case !s.Declared:
				note = "not in ward.yaml yet: secrets: {" + s.Name + ": {}}"
			}
			fmt.Fprintf(w, "%s\t%s\tversion %d\t%s\n", s.Variable, s.Name, s.Version, note)
		}
		return w.Flush()
	})
	c.Flags().BoolVar(&replace, "replace", false, "also where there is a value already")
	return c
}

func newSecretsRecipient(e cli.Env) *cobra.Command {
	return cli.Running("recipient", "Print the age recipient that values in git are sealed for", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		r, err := p.Admin().SecretsRecipient(cli.Background(c))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(e.Out, r)
		return err
	})
}

func newSecretsSeal(e cli.Env) *cobra.Command {
	var to []string
	var from, out string
	var file string
	c := &cobra.Command{
		Use: "seal NAME", Short: "Encrypt a value so that it may lie in git", Args: cli.ExactArgs(1),
		Long: `Encrypt a value (from a prompt, standard input or a file) so that it may lie in git, as secrets/NAME.age beside
ward.yaml. Declare it there: secrets: {NAME: {sealed: secrets/NAME.age}}. Without --to it is for the application that runs.`,
		RunE: func(c *cobra.Command, args []string) error {
			p, err := up.FindPaths(file)
			if err != nil {
				return err
			}
			if len(to) == 0 {
				own, err := p.Admin().SecretsRecipient(cli.Background(c))
				if err != nil {
					return cli.Unreachable(p, err)
				}
				to = []string{own}
			}
			value, err := readValue(e, from, args[0])
			if err != nil {
				return err
			}
			sealed, err := secrets.SealForGit(secret.New(value), to...)
			if err != nil {
				return err
			}
			if out == "" {
				out = filepath.Join(p.Base, "secrets", args[0]+".age")
				err = writeInside(p.Base, filepath.Join("secrets", args[0]+".age"), sealed)
			} else {
				err = os.WriteFile(out, sealed, 0o644)
			}
			if err != nil {
				return fmt.Errorf("write sealed value: %w", err)
			}
			rel, err := filepath.Rel(p.Base, out)
			if err != nil {
				rel = out
			}
			fmt.Fprintf(e.Out, "%s is sealed for %s\nward.yaml: secrets: {%s: {sealed: %s}}\n", out, strings.Join(to, ", "), args[0], rel)
			return nil
		},
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the model")
	c.Flags().StringSliceVar(&to, "to", nil, "age recipients (age1…), of other controls too")
	c.Flags().StringVar(&from, "from", "", "the file that holds the value")
	c.Flags().StringVarP(&out, "out", "o", "", "where to write; secrets/NAME.age beside the model if absent")
	return c
}

// writeInside writes a file below base, and nowhere else: a cloned repository may hold links that lead out of it.
func writeInside(base, path string, b []byte) error {
	root, err := os.OpenRoot(base)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return root.WriteFile(path, b, 0o644)
}

// maxValue bounds what is read as a value or a .env file, in bytes.
const maxValue = 1 << 20

// readValue reads a secret's value: from a file, or from a prompt that shows nothing, or from standard input. One line break at its
// end isn't part of it.
func readValue(e cli.Env, from, name string) ([]byte, error) {
	var b []byte
	var err error
	switch {
	case from != "":
		b, err = readBounded(e, from)
	case cli.IsInput(e.In):
		b, err = cli.PromptHidden(e, "value of "+name+": ")
	default:
		b, err = readBounded(e, "-")
	}
	if err != nil {
		return nil, err
	}
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	if len(b) == 0 {
		return nil, fault.New(fault.Usage, "the value is empty")
	}
	return b, nil
}

func readBounded(e cli.Env, path string) ([]byte, error) {
	r := e.In
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, path+" can't be read", err)
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxValue+1))
	if err == nil && len(b) > maxValue {
		err = errors.New("more than 1 MiB")
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "the value can't be read", err)
	}
	return b, nil
}

// readersOf are the places that a secret goes to, by the plan in force.
func readersOf(ctx context.Context, p up.Paths, name string) ([]reader, error) {
	s, err := p.Admin().Plan(ctx, "")
	if err != nil {
		return nil, err
	}
	var out []reader
	for _, r := range s.Plan.Readers(name) {
		out = append(out, reader{r.Kind, r.Name, r.How, r.Pos.Line})
	}
	return out, nil
}

type reader struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	How  string `json:"how"`
	Line int    `json:"line"`
}
