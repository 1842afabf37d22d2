package safe

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/up"
)

// leaked is one place where a secret stands. It never holds the value.
type leaked struct {
	Secret string `json:"secret"`
	Form   string `json:"form"`
	Path   string `json:"path,omitempty"`
	Line   int    `json:"line"`
	Commit string `json:"commit,omitempty"`
	Canary bool   `json:"canary,omitempty"`
}

func newSecretsLeaks(e cli.Env) *cobra.Command {
	var asJSON bool
	c := cli.Running("leaks DIR", "Find the secrets in a folder's files, and in its git history", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		ctx := cli.Background(c)
		if st, err := os.Stat(args[0]); err != nil || !st.IsDir() {
			return fault.New(fault.Usage, args[0]+" is no folder")
		}
		told, err := p.Admin().Fingerprints(ctx, "")
		if err != nil {
			return err
		}
		prints, err := leak.Unmarshal(told.Prints)
		if err != nil {
			return err
		}
		found := []leaked{}
		take := func(f leak.Place) {
			found = append(found, leaked{f.Secret, f.Form.String(), f.Path, f.Line, f.Commit, f.Canary})
		}
		skipped, err := prints.Tree(ctx, args[0], take)
		if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(args[0], ".git")); err == nil {
			more, err := prints.History(ctx, args[0], take)
			if err != nil {
				return err
			}
			skipped += more
		}
		if asJSON {
			err = cli.WriteJSON(e.Out, found)
		} else {
			sayLeaks(e, found, skipped)
		}
		if err == nil && len(found) > 0 {
			return cli.ErrFindings
		}
		return err
	})
	c.Long = `Find the secrets that Ward keeps in a folder's files, and in all of its git history: raw, in base64, hex, and escaped. The values aren't
needed for it: Ward compares fingerprints, here on this machine. Exit code 1 if something was found.`
	c.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return c
}

func sayLeaks(e cli.Env, found []leaked, skipped int) {
	for _, f := range found {
		where := f.Path
		switch {
		case f.Commit != "" && where == "":
			where = "an object that no commit has any more"
		case f.Commit != "":
			where = fmt.Sprintf("%s in commit %.12s", where, f.Commit)
		}
		note := ""
		if f.Canary {
			note = ", a canary: somebody has taken it"
		}
		fmt.Fprintf(e.Out, "%s:%d  secret %s (%s%s)\n", where, f.Line, f.Secret, f.Form, note)
	}
	if len(found) > 0 {
		fmt.Fprintln(e.Out, "\na secret that was written down is known to whoever could read it: set a new value, or 'ward secrets generate NAME'")
	} else {
		fmt.Fprintln(e.Out, "no secret that Ward keeps stands there")
	}
	if skipped > 0 {
		fmt.Fprintf(e.Out, "%d files or objects were too long, or couldn't be read\n", skipped)
	}
}
