package safe

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wire"
)

// Keys is the group of verbs about managed keys.
func Keys(e cli.Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "Look after the managed keys of a running application",
		Long: `Look after the managed keys of a running application. Every class of data in ward.yaml has one, and may have more; they are made,
used and replaced by Ward and never leave it. 'ward explain key NAME' says who may use one, who did, and what breaks without it.`,
	}
	c.AddCommand(newKeysList(e), newKeysRotate(e), newKeysVersion(e, "disable", "Stop all use of a key, or of one version"),
		newKeysVersion(e, "enable", "Allow it again"), newKeysMinVersion(e), newKeysDelete(e), newKeysImport(e),
		newKeysOwner(e, "shred", "Destroy an owner's keys, at once and for good: what was encrypted for them can't be read any more"),
		newKeysOwner(e, "readmit", "Let an owner whose keys were destroyed have new ones"))
	undelete := cli.Running("undelete NAME", "Keep a key that waits for its deletion", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		k, err := changeKey(p, c, args[0], struct{}{})
		return sayKey(e, c, &k, err)
	})
	c.AddCommand(undelete)
	return c
}

func newKeysList(e cli.Env) *cobra.Command {
	var asJSON bool
	c := cli.Running("list", "List the keys", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		var all []wire.ManagedKey
		for {
			after := ""
			if len(all) > 0 {
				after = all[len(all)-1].Name
			}
			var page wire.ManagedKeys
			if err := p.Admin().Call(cli.Background(c), http.MethodGet, "/v1/keys?after="+url.QueryEscape(after), nil, &page); err != nil {
				return err
			}
			if len(page.Keys) == 0 {
				break
			}
			all = append(all, page.Keys...)
		}
		if asJSON {
			return cli.WriteJSON(e.Out, all)
		}
		w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "KEY\tPURPOSE\tVERSION\tSTATE\tNEXT ROTATION")
		for i := range all {
			k := &all[i]
			version := fmt.Sprint(k.Current)
			if k.Current == 0 {
				version = "none yet"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.Name, k.Purpose, version, keyState(k), date(k.NextRotation))
		}
		return w.Flush()
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return c
}

// date is a day in UTC, "never" for none.
func date(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.DateOnly)
}

func keyState(k *wire.ManagedKey) string {
	if k.State == wire.KeyPending {
		return k.State + " on " + date(k.DeleteAt)
	}
	return k.State
}

// changeKey does one thing to a key: the verb of a command line.
func changeKey(p up.Paths, c *cobra.Command, name string, in any) (wire.ManagedKey, error) {
	var k wire.ManagedKey
	return k, p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/keys/"+url.PathEscape(name)+"/"+c.Name(), in, &k)
}

// sayKey says how a key stands after a change.
func sayKey(e cli.Env, c *cobra.Command, k *wire.ManagedKey, err error) error {
	if err == nil {
		_, err = fmt.Fprintf(e.Out, "%s: %s, version %d, %s\n", k.Name, c.Name(), k.Current, keyState(k))
	}
	return err
}

func newKeysRotate(e cli.Env) *cobra.Command {
	var in wire.ManagedKeyRotate
	c := cli.Running("rotate NAME", "Make a new version; what older ones encrypted stays readable", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		k, err := changeKey(p, c, args[0], in)
		return sayKey(e, c, &k, err)
	})
	c.Flags().BoolVar(&in.AtOnce, "at-once", false, "a signing key: sign with it before it was published for a day, as after a theft")
	return c
}

func newKeysVersion(e cli.Env, verb, short string) *cobra.Command {
	var in wire.ManagedKeyVersionNumber
	c := cli.Running(verb+" NAME", short, 1, func(p up.Paths, c *cobra.Command, args []string) error {
		k, err := changeKey(p, c, args[0], in)
		return sayKey(e, c, &k, err)
	})
	c.Flags().Int64Var(&in.Version, "version", 0, "this version alone")
	return c
}

func newKeysMinVersion(e cli.Env) *cobra.Command {
	var in wire.ManagedKeyVersionNumber
	c := cli.Running("min-version NAME", "Make versions below one useless", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		if in.Version < 1 {
			return fault.New(fault.Usage, "say the lowest version that may be used: --version N")
		}
		k, err := changeKey(p, c, args[0], in)
		return sayKey(e, c, &k, err)
	})
	c.Flags().Int64Var(&in.Version, "version", 0, "the lowest version that may be used")
	return c
}

func newKeysDelete(e cli.Env) *cobra.Command {
	in := wire.ManagedKeyDelete{WaitDays: 30}
	c := cli.Running("delete NAME", "Stop a key now, and destroy it after a time of waiting", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		var k wire.ManagedKey
		if err := p.Admin().Call(cli.Background(c), http.MethodGet, "/v1/keys/"+url.PathEscape(args[0]), nil, &k); err != nil {
			return err
		}
		if in.Confirm == "" {
			fmt.Fprintf(e.Out, "%s would stop at once, and be destroyed after %d days.\n%s", args[0], in.WaitDays, lossText(&k))
			return fault.New(fault.Refused, fmt.Sprintf("nothing was changed; to do it, add --confirm %s", args[0]))
		}
		k, err := changeKey(p, c, args[0], in)
		if err = sayKey(e, c, &k, err); err == nil {
			_, err = fmt.Fprintf(e.Out, "%s'ward keys undelete %s' takes it back until %s; then it is final, but for backups\n", lossText(&k), args[0], date(k.DeleteAt))
		}
		return err
	})
	c.Flags().IntVar(&in.WaitDays, "wait", 30, "days until it is destroyed, at least 7")
	c.Flags().StringVar(&in.Confirm, "confirm", "", "the key's name once more")
	return c
}

// lossText says what would become unreadable without a key.
func lossText(k *wire.ManagedKey) string {
	l := k.Loss
	if l == nil || l.DataKeys+l.Messages+l.Signed+l.Owners == 0 {
		return "nothing is known to have been encrypted or signed with it\n"
	}
	var b strings.Builder
	b.WriteString("without it, for good:\n")
	for _, x := range []struct {
		n    int64
		what string
	}{
		{l.Messages, "messages that Ward encrypted can't be read"},
		{l.DataKeys, "data keys can't be opened, each of which may have sealed many values"},
		{l.Owners, "owners' keys can't be opened, nor anything that was encrypted for them"},
		{l.Signed, "signatures or MACs can't be made again, nor checked here"},
	} {
		if x.n > 0 {
			fmt.Fprintf(&b, "  %d %s\n", x.n, x.what)
		}
	}
	fmt.Fprintf(&b, "  used by %s, last %s\n", strings.Join(l.Services, ", "), date(l.LastUse))
	return b.String()
}

func newKeysImport(e cli.Env) *cobra.Command {
	var from string
	c := cli.Running("import NAME", "Add a version whose material was made elsewhere: 32 bytes, or PKCS #8 (DER)", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		if from == "" && cli.IsInput(e.In) {
			return fault.New(fault.Usage, "name the file with --from, or write it to standard input")
		}
		if from == "" {
			from = "-"
		}
		b, err := readBounded(e, from)
		if err != nil {
			return err
		}
		k, err := changeKey(p, c, args[0], wire.ManagedKeyImport{Material: b})
		clear(b)
		return sayKey(e, c, &k, err)
	})
	c.Flags().StringVar(&from, "from", "", "the file; standard input if absent")
	return c
}

func newKeysOwner(e cli.Env, verb, short string) *cobra.Command {
	return cli.Running(verb+" NAME OWNER", short, 2, func(p up.Paths, c *cobra.Command, args []string) error {
		k, err := changeKey(p, c, args[0], wire.ManagedKeyOwner{Owner: args[1]})
		if err = sayKey(e, c, &k, err); err == nil && verb == "shred" {
			_, err = fmt.Fprintln(e.Out, "services that have a data key of theirs in memory forget it within 5 minutes; backups made before still hold the keys")
		}
		return err
	})
}
