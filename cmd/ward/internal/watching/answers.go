package watching

import (
	"fmt"
	"net/http"
	"net/netip"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wire"
)

// Answers is `ward answers`.
func Answers(e cli.Env) *cobra.Command {
	var asJSON bool
	c := cli.Running("answers", "Show who is blocked or in quarantine, and until when", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		var all wire.Restrictions
		if err := p.Admin().Call(cli.Background(c), http.MethodGet, "/v1/answers", nil, &all); err != nil {
			return err
		}
		if asJSON {
			return cli.WriteJSON(e.Out, all.All)
		}
		if len(all.All) == 0 {
			fmt.Fprintln(e.Out, "nobody is blocked or in quarantine")
			return nil
		}
		t := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tANSWER\tWHY\tFINDING\t")
		for i := range all.All {
			r := &all.All[i]
			found := "by " + r.By
			if r.Finding != 0 {
				found = fmt.Sprint(r.Finding)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", r.ID, answerText(r), r.Reason, found)
		}
		return t.Flush()
	})
	c.PersistentFlags().BoolVar(&asJSON, "json", false, "as JSON")
	c.AddCommand(newBlockCommand(e), newQuarantineCommand(e), newLiftCommand(e))
	return c
}

func answerText(r *wire.Restriction) string {
	until := r.Until.Local().Format("2006-01-02 15:04:05")
	switch {
	case r.Service != "":
		return r.Service + " is in quarantine until " + until
	case r.Slow:
		return clientText(r.Client) + " is slowed down until " + until
	}
	return clientText(r.Client) + " is blocked until " + until
}

func clientText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// give puts an answer into force.
func give(c *cobra.Command, e cli.Env, p up.Paths, r wire.Restriction) error {
	r.By = admin
	if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/answers", r, &r); err != nil {
		return err
	}
	fmt.Fprintf(e.Out, "%s  %s\n", r.ID, answerText(&r))
	return nil
}

func newBlockCommand(e cli.Env) *cobra.Command {
	var last time.Duration
	var reason string
	var slow, sure bool
	c := cli.Running("block ADDRESS", "Refuse an address or a network at the gateway", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		n, err := netip.ParsePrefix(args[0])
		if err != nil {
			a, err := netip.ParseAddr(args[0])
			if err != nil {
				return fault.New(fault.Usage, fmt.Sprintf("%.60q is no address, such as 203.0.113.7, and no network, such as 203.0.113.0/24", args[0]))
			}
			a = a.Unmap()
			if n = netip.PrefixFrom(a, a.BitLen()); a.Is6() {
				n = netip.PrefixFrom(a, 64).Masked() // as the gateway tells clients apart
			}
		}
		return give(c, e, p, wire.Restriction{Client: n, Slow: slow, Reason: reason, Until: time.Now().Add(last), Sure: sure})
	})
	f := c.Flags()
	f.DurationVar(&last, "for", 10*time.Minute, "how long")
	f.StringVar(&reason, "reason", "somebody's decision", "why")
	f.BoolVar(&slow, "slow", false, "let one request a second pass")
	f.BoolVar(&sure, "yes", false, "also this machine, a private network, or one of administrators")
	return c
}

func newQuarantineCommand(e cli.Env) *cobra.Command {
	var last time.Duration
	var reason string
	c := cli.Running("quarantine SERVICE", "Cut a service off: it calls nobody, nobody calls it, and it gets no key and no certificate", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		return give(c, e, p, wire.Restriction{Service: args[0], Reason: reason, Until: time.Now().Add(last)})
	})
	f := c.Flags()
	f.DurationVar(&last, "for", 30*24*time.Hour, "how long")
	f.StringVar(&reason, "reason", "somebody's decision", "why")
	return c
}

func newLiftCommand(e cli.Env) *cobra.Command {
	return cli.Running("lift ID", "Undo an answer", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		var r wire.Restriction
		if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/answers/lift", wire.AnswerAct{ID: args[0], By: admin}, &r); err != nil {
			return err
		}
		fmt.Fprintf(e.Out, "%s is lifted\n", r.ID)
		return nil
	})
}
