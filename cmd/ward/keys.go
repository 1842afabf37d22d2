package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wire"
)

// newKeysCommand is the group of verbs about managed keys.
func newKeysCommand(e env) *cobra.Command {
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
	undelete := runningCommand("undelete NAME", "Keep a key that waits for its deletion", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		_, err := changeKey(e, p, c, args[0], "undelete", nil)
		return err
	})
	c.AddCommand(undelete)
	return c
}

func newKeysList(e env) *cobra.Command {
	var asJSON bool
	c := runningCommand("list", "List the keys", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		var all []wire.ManagedKey
		for {
			after := ""
			if len(all) > 0 {
				after = all[len(all)-1].Name
			}
			var page wire.ManagedKeys
			if err := p.Admin().Call(background(c), http.MethodGet, "/v1/keys?after="+url.QueryEscape(after), nil, &page); err != nil {
				return err
			}
			if len(page.Keys) == 0 {
				break
			}
			all = append(all, page.Keys...)
		}
		if asJSON {
			return writeJSON(e.out, all)
		}
		w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
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

// changeKey does one thing to a key, and says how it stands then.
func changeKey(e env, p up.Paths, c *cobra.Command, name, what string, in any) (wire.ManagedKey, error) {
	var k wire.ManagedKey
	if in == nil {
		in = struct{}{}
	}
	if err := p.Admin().Call(background(c), http.MethodPost, "/v1/keys/"+url.PathEscape(name)+"/"+what, in, &k); err != nil {
		return k, err
	}
	_, err := fmt.Fprintf(e.out, "%s: %s, version %d, %s\n", k.Name, what, k.Current, keyState(&k))
	return k, err
}

func newKeysRotate(e env) *cobra.Command {
	var in wire.ManagedKeyRotate
	c := runningCommand("rotate NAME", "Make a new version; what older ones encrypted stays readable", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		_, err := changeKey(e, p, c, args[0], "rotate", in)
		return err
	})
	c.Flags().BoolVar(&in.AtOnce, "at-once", false, "a signing key: sign with it before it was published for a day, as after a theft")
	return c
}

func newKeysVersion(e env, verb, short string) *cobra.Command {
	var in wire.ManagedKeyVersionNumber
	c := runningCommand(verb+" NAME", short, 1, func(p up.Paths, c *cobra.Command, args []string) error {
		_, err := changeKey(e, p, c, args[0], verb, in)
		return err
	})
	c.Flags().Int64Var(&in.Version, "version", 0, "this version alone")
	return c
}

func newKeysMinVersion(e env) *cobra.Command {
	var in wire.ManagedKeyVersionNumber
	c := runningCommand("min-version NAME", "Make versions below one useless", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		if in.Version < 1 {
			return fault.New(fault.Usage, "say the lowest version that may be used: --version N")
		}
		_, err := changeKey(e, p, c, args[0], "min-version", in)
		return err
	})
	c.Flags().Int64Var(&in.Version, "version", 0, "the lowest version that may be used")
	return c
}

func newKeysDelete(e env) *cobra.Command {
	in := wire.ManagedKeyDelete{WaitDays: 30}
	c := runningCommand("delete NAME", "Stop a key now, and destroy it after a time of waiting", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		var k wire.ManagedKey
		if err := p.Admin().Call(background(c), http.MethodGet, "/v1/keys/"+url.PathEscape(args[0]), nil, &k); err != nil {
			return err
		}
		if in.Confirm == "" {
			fmt.Fprintf(e.out, "%s would stop at once, and be destroyed after %d days.\n%s", args[0], in.WaitDays, lossText(&k))
			return fault.New(fault.Refused, fmt.Sprintf("nothing was changed; to do it, add --confirm %s", args[0]))
		}
		k, err := changeKey(e, p, c, args[0], "delete", in)
		if err == nil {
			_, err = fmt.Fprintf(e.out, "%s'ward keys undelete %s' takes it back until %s; then it is final, but for backups\n", lossText(&k), args[0], date(k.DeleteAt))
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

func newKeysImport(e env) *cobra.Command {
	var from string
	c := runningCommand("import NAME", "Add a version whose material was made elsewhere: 32 bytes, or PKCS #8 (DER)", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		if from == "" && isInput(e.in) {
			return fault.New(fault.Usage, "name the file with --from, or write it to standard input")
		}
		if from == "" {
			from = "-"
		}
		b, err := readBounded(e, from)
		if err != nil {
			return err
		}
		_, err = changeKey(e, p, c, args[0], "import", wire.ManagedKeyImport{Material: b})
		clear(b)
		return err
	})
	c.Flags().StringVar(&from, "from", "", "the file; standard input if absent")
	return c
}

func newKeysOwner(e env, verb, short string) *cobra.Command {
	return runningCommand(verb+" NAME OWNER", short, 2, func(p up.Paths, c *cobra.Command, args []string) error {
		_, err := changeKey(e, p, c, args[0], verb, wire.ManagedKeyOwner{Owner: args[1]})
		if err == nil && verb == "shred" {
			_, err = fmt.Fprintln(e.out, "services that have a data key of theirs in memory forget it within 5 minutes; backups made before still hold the keys")
		}
		return err
	})
}
