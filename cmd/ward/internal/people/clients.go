package people

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wire"
)

// Clients is the group of verbs about OAuth clients.
func Clients(e cli.Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "clients",
		Short: "List OAuth clients, and add or remove some at run time",
		Long: `List OAuth clients, and add or remove some at run time. Clients belong into ward.yaml, where they are reviewed and compared;
those added here live in the database and are listed apart.`,
	}
	var asJSON bool
	list := cli.Running("list", "List the clients of ward.yaml, and those that were added", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		var all []wire.OAuthClient
		if err := p.Admin().Call(cli.Background(c), http.MethodGet, "/v1/clients", nil, &all); err != nil {
			return err
		}
		if asJSON {
			return cli.WriteJSON(e.Out, all)
		}
		w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "CLIENT\tFROM\tGRANTS\tREDIRECTS")
		for _, x := range all {
			from := x.From
			if x.Shadowed {
				from += " (not in force: ward.yaml has one of this name)"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", x.Name, from, strings.Join(x.Grants, ","), strings.Join(x.Redirects, " "))
		}
		return w.Flush()
	})
	list.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	var x wire.OAuthClient
	add := cli.Running("add NAME", "Add a client; a confidential one's secret is printed this once", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		x.Name = args[0]
		if x.Grants == nil {
			x.Grants = []string{"authorization_code", "refresh_token"}
		}
		if x.Scopes == nil {
			x.Scopes = []string{"openid", "profile", "email", "offline_access"}
		}
		var made wire.OAuthClient
		if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/clients", x, &made); err != nil {
			return err
		}
		fmt.Fprintf(e.Out, "client_id      %s\n", made.Name)
		if made.Secret != "" {
			fmt.Fprintf(e.Out, "client_secret  %s\n", made.Secret)
		}
		return nil
	})
	add.Flags().StringVar(&x.Title, "title", "", "its name for people")
	add.Flags().BoolVar(&x.Public, "public", false, "it can't keep a secret: a browser or a phone")
	add.Flags().StringSliceVar(&x.Redirects, "redirect", nil, "an exact redirect URI, or several")
	add.Flags().StringSliceVar(&x.Grants, "grant", nil, "what it may ask with")
	add.Flags().StringSliceVar(&x.Scopes, "scope", nil, "what it may ask for")
	add.Flags().StringSliceVar(&x.Audiences, "audience", nil, "a resource that it may ask tokens for")
	remove := cli.Running("remove NAME", "Remove a client that was added", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		if err := p.Admin().Call(cli.Background(c), http.MethodDelete, "/v1/clients/"+url.PathEscape(args[0]), nil, nil); err != nil {
			return err
		}
		fmt.Fprintf(e.Out, "removed %s\n", args[0])
		return nil
	})
	c.AddCommand(list, add, remove)
	return c
}

// Tokens is the group of verbs about tokens.
func Tokens(e cli.Env) *cobra.Command {
	c := &cobra.Command{Use: "tokens", Short: "Look into tokens"}
	inspect := cli.Running("inspect", "Say what the token on standard input says, and whether it counts", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		token, err := firstLine(e.In)
		if err != nil {
			return err
		}
		var says wire.TokenSays
		if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/tokens/inspect", wire.TokenQuery{Token: token}, &says); err != nil {
			return err
		}
		var claims bytes.Buffer
		if err := json.Indent(&claims, says.Claims, "", "  "); err != nil {
			return err
		}
		verdict := "counts"
		switch {
		case says.Signed == "":
			verdict = "doesn't count: nobody here signed it"
		case says.Ended:
			verdict = "doesn't count: it, or its session, was ended"
		case says.Over:
			verdict = "doesn't count: its time has passed"
		}
		fmt.Fprintf(e.Out, "%s %s, key %s\nsigned %s\n%s\n%s\n", says.Type, says.Alg, says.KeyID, orNobody(says.Signed), verdict, claims.Bytes())
		if verdict != "counts" {
			return cli.ErrFindings
		}
		return nil
	})
	c.AddCommand(inspect)
	return c
}

func orNobody(s string) string {
	if s == "" {
		return "by nobody here"
	}
	return s
}
