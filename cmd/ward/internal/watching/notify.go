package watching

import (
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/up"
)

// Notify is `ward notify`.
func Notify(e cli.Env) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "notify", Short: "Show whom findings are told, and try it", Args: cli.ExactArgs(0)}
	c.PersistentFlags().BoolVar(&asJSON, "json", false, "as JSON")
	status := cli.Running("status", "Show for each channel what was told last, what failed, and what waits", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		var all []watch.ChannelStatus
		if err := p.Admin().Call(cli.Background(c), http.MethodGet, "/v1/notifications", nil, &all); err != nil {
			return err
		}
		if asJSON {
			return cli.WriteJSON(e.Out, all)
		}
		return printChannels(e.Out, all)
	})
	var q watch.ChannelQuery
	test := cli.Running("test", "Send a message to every channel now, and say for each what came of it", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		var all []watch.ChannelStatus
		if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/notifications/test", q, &all); err != nil {
			return err
		}
		if asJSON {
			if err := cli.WriteJSON(e.Out, all); err != nil {
				return err
			}
		}
		failed := false
		for i := range all {
			s, said := &all[i], "ok"
			if s.Error != "" {
				said, failed = s.Error, true
			}
			if !asJSON {
				fmt.Fprintf(e.Out, "%s %s: %s\n", s.To, s.Host, cli.Clean(said))
			}
		}
		if failed {
			return cli.ErrFindings
		}
		return nil
	})
	test.Flags().StringVar(&q.To, "to", "", "only channels of this kind, such as slack")
	c.AddCommand(status, test)
	return c
}

func printChannels(w io.Writer, all []watch.ChannelStatus) error {
	if len(all) == 0 {
		fmt.Fprintln(w, "nobody is told; write watch: {notify: ...} in ward.yaml")
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CHANNEL\tHOST\tLAST TOLD\tWAITING\tLOST\tLAST ERROR\t")
	for i := range all {
		s := &all[i]
		problem := "-"
		if s.Error != "" {
			problem = when(s.Failed) + " " + cli.Clean(s.Error)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\t\n", s.To, s.Host, when(s.Sent), s.Waiting, s.Lost, problem)
	}
	return t.Flush()
}

// when is a time for people; "-" for never.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("01-02 15:04:05")
}
