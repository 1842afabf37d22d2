// Package people is the verbs about the people of a running application, its OAuth clients and its tokens.
package people

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity"
	"github.com/wardhq/ward/internal/up"
)

// user is a person in the administrators' API.
type user struct {
	ID       string   `json:"id"`
	Email    string   `json:"email"`
	Verified bool     `json:"verified"`
	Name     string   `json:"name"`
	Groups   []string `json:"groups"`
	Roles    []string `json:"roles"`
	Disabled bool     `json:"disabled"`
	Factors  []struct {
		Kind  string    `json:"kind"`
		Label string    `json:"label"`
		Added time.Time `json:"added"`
		Used  time.Time `json:"used,omitzero"`
	} `json:"factors,omitempty"`
	Link string `json:"link,omitempty"`
}

// Users is the group of verbs about people.
func Users(e cli.Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "users",
		Short: "Administer the people of a running application",
		Long: `Administer the people of a running application: who they are, their groups and roles, their second
factors and sessions. The same can be done over REST: see /v1/openapi.json at the pages' host.`,
	}
	c.AddCommand(newUsersAdd(e), newUsersList(e), newUsersShow(e), newUsersSet(e), newUsersSwitch(e, "disable", "Keep somebody out, and end their sessions"),
		newUsersSwitch(e, "enable", "Let somebody in again"), newUsersReset(e), newUsersSessions(e), newUsersImport(e), newUsersRecoveries(e), newUsersBreached(e))
	return c
}

// find is the person with an ID or mail address.
func find(ctx context.Context, p up.Paths, who string) (user, error) {
	var u user
	if !strings.Contains(who, "@") {
		return u, p.Admin().Call(ctx, http.MethodGet, "/v1/users/"+url.PathEscape(who), nil, &u)
	}
	var list struct {
		Users []user `json:"users"`
	}
	if err := p.Admin().Call(ctx, http.MethodGet, "/v1/users?limit=1&email="+url.QueryEscape(who), nil, &list); err != nil {
		return u, err
	}
	for _, x := range list.Users {
		if strings.EqualFold(x.Email, who) {
			return u, p.Admin().Call(ctx, http.MethodGet, "/v1/users/"+url.PathEscape(x.ID), nil, &u)
		}
	}
	return u, fault.New(fault.NotFound, "nobody has the address "+who)
}

func newUsersAdd(e cli.Env) *cobra.Command {
	var name string
	var groups, roles []string
	c := cli.Running("add MAIL", "Make an account, and print the one-time link to set it up", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		var u user
		err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/users", map[string]any{"email": args[0], "name": name, "groups": groups, "roles": roles}, &u)
		if err != nil {
			return err
		}
		sayUnnamed(e.Err, p.File, groups, roles)
		fmt.Fprintf(e.Out, "made %s (%s)\n", u.Email, u.ID)
		if u.Link != "" {
			fmt.Fprintf(e.Out, "give them this link, which works once: %s\n", u.Link)
		}
		return nil
	})
	c.Flags().StringVar(&name, "name", "", "their name")
	c.Flags().StringSliceVar(&groups, "group", nil, "a group, or several")
	c.Flags().StringSliceVar(&roles, "role", nil, "a role, or several")
	return c
}

func newUsersList(e cli.Env) *cobra.Command {
	var asJSON bool
	c := cli.Running("list", "List people", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		all := []user{}
		for after := ""; ; {
			var page struct {
				Users []user `json:"users"`
				After string `json:"after"`
			}
			if err := p.Admin().Call(cli.Background(c), http.MethodGet, "/v1/users?limit=500&after="+url.QueryEscape(after), nil, &page); err != nil {
				return err
			}
			all = append(all, page.Users...)
			if after = page.After; after == "" {
				break
			}
		}
		if asJSON {
			return cli.WriteJSON(e.Out, all)
		}
		w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "MAIL\tNAME\tGROUPS\tROLES\tSTATE\tID")
		for _, u := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", u.Email, u.Name, strings.Join(u.Groups, ","), strings.Join(u.Roles, ","), u.state(), u.ID)
		}
		return w.Flush()
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return c
}

func (u *user) state() string {
	switch {
	case u.Disabled:
		return "disabled"
	case !u.Verified:
		return "unverified"
	}
	return "active"
}

func newUsersShow(e cli.Env) *cobra.Command {
	var asJSON bool
	c := cli.Running("show MAIL|ID", "Show one person", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		u, err := find(cli.Background(c), p, args[0])
		if err != nil {
			return err
		}
		if asJSON {
			return cli.WriteJSON(e.Out, u)
		}
		fmt.Fprintf(e.Out, "%s  %s  %s\n  id      %s\n  groups  %s\n  roles   %s\n", u.Email, u.Name, u.state(), u.ID, orNone(u.Groups), orNone(u.Roles))
		for _, f := range u.Factors {
			fmt.Fprintf(e.Out, "  factor  %s %s, added %s\n", f.Kind, f.Label, f.Added.Format(time.DateOnly))
		}
		return nil
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return c
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func newUsersSet(e cli.Env) *cobra.Command {
	var groups, roles, noGroups, noRoles []string
	c := cli.Running("set MAIL|ID", "Put somebody into groups and roles, or take them out", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		u, err := find(cli.Background(c), p, args[0])
		if err != nil {
			return err
		}
		change := func(has, add, drop []string) []string {
			out := slices.DeleteFunc(append(slices.Clone(has), add...), func(s string) bool { return slices.Contains(drop, s) })
			slices.Sort(out)
			return append([]string{}, slices.Compact(out)...)
		}
		body := map[string]any{"groups": change(u.Groups, groups, noGroups), "roles": change(u.Roles, roles, noRoles)}
		if err := p.Admin().Call(cli.Background(c), http.MethodPatch, "/v1/users/"+url.PathEscape(u.ID), body, &u); err != nil {
			return err
		}
		sayUnnamed(e.Err, p.File, groups, roles)
		fmt.Fprintf(e.Out, "%s: groups %s; roles %s\n", u.Email, orNone(u.Groups), orNone(u.Roles))
		return nil
	})
	c.Flags().StringSliceVar(&groups, "group", nil, "put into a group")
	c.Flags().StringSliceVar(&roles, "role", nil, "give a role")
	c.Flags().StringSliceVar(&noGroups, "no-group", nil, "take out of a group")
	c.Flags().StringSliceVar(&noRoles, "no-role", nil, "take a role away")
	return c
}

func newUsersSwitch(e cli.Env, verb, short string) *cobra.Command {
	return cli.Running(verb+" MAIL|ID", short, 1, func(p up.Paths, c *cobra.Command, args []string) error {
		u, err := find(cli.Background(c), p, args[0])
		if err != nil {
			return err
		}
		if err := p.Admin().Call(cli.Background(c), http.MethodPatch, "/v1/users/"+url.PathEscape(u.ID), map[string]any{"disabled": verb == "disable"}, &u); err != nil {
			return err
		}
		fmt.Fprintf(e.Out, "%s is %s\n", u.Email, u.state())
		return nil
	})
}

func newUsersReset(e cli.Env) *cobra.Command {
	return cli.Running("reset-factors MAIL|ID", "Take all second factors of somebody who lost theirs, and end their sessions", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		u, err := find(cli.Background(c), p, args[0])
		if err != nil {
			return err
		}
		if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/users/"+url.PathEscape(u.ID)+"/reset-factors", struct{}{}, nil); err != nil {
			return err
		}
		fmt.Fprintf(e.Out, "%s has no second factor any more\n", u.Email)
		return nil
	})
}

func newUsersSessions(e cli.Env) *cobra.Command {
	var end bool
	c := cli.Running("sessions MAIL|ID", "List where somebody is signed in, or end it", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		u, err := find(cli.Background(c), p, args[0])
		if err != nil {
			return err
		}
		path := "/v1/users/" + url.PathEscape(u.ID) + "/sessions"
		if end {
			if err := p.Admin().Call(cli.Background(c), http.MethodDelete, path, nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(e.Out, "%s is signed out everywhere\n", u.Email)
			return nil
		}
		var open struct {
			Sessions []struct {
				ID, Device, Place string
				Started, Seen     time.Time
			}
		}
		if err := p.Admin().Call(cli.Background(c), http.MethodGet, path, nil, &open); err != nil {
			return err
		}
		w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "DEVICE\tPLACE\tSINCE\tSEEN\tID")
		for _, s := range open.Sessions {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.Device, s.Place, s.Started.Format(time.RFC3339), s.Seen.Format(time.RFC3339), s.ID)
		}
		return w.Flush()
	})
	c.Flags().BoolVar(&end, "end", false, "end them all")
	return c
}

func newUsersImport(e cli.Env) *cobra.Command {
	c := cli.Running("import FILE", "Import people with their password hashes", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		f, err := os.Open(args[0])
		if err != nil {
			return fault.Wrap(fault.Invalid, args[0]+" can't be read", err)
		}
		defer f.Close()
		var out struct {
			Made    int `json:"made"`
			Refused []struct {
				Line int    `json:"line"`
				Why  string `json:"why"`
			} `json:"refused"`
		}
		if err := p.Admin().Upload(cli.Background(c), "/v1/users/import", f, &out); err != nil {
			return err
		}
		for _, r := range out.Refused {
			fmt.Fprintf(e.Out, "%s:%d: %s\n", args[0], r.Line, r.Why)
		}
		fmt.Fprintf(e.Out, "%d imported, %d refused\n", out.Made, len(out.Refused))
		if len(out.Refused) > 0 {
			return cli.ErrFindings
		}
		return nil
	})
	c.Long = `Import people with their password hashes: one JSON object a line, such as

  {"email": "ada@example.com", "name": "Ada", "groups": ["staff"], "password_hash": "$2b$12$…"}

Hashes of bcrypt, scrypt, PBKDF2 and argon2 are taken, in their usual spellings, and become argon2id when the
person signs in. Lines that can't be taken are named; the others are imported.`
	return c
}

func newUsersRecoveries(e cli.Env) *cobra.Command {
	var approve, deny string
	c := cli.Running("recoveries", "List people who lost their second factor and wait for you, or decide", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		if approve != "" || deny != "" {
			u, err := find(cli.Background(c), p, approve+deny)
			if err != nil {
				return err
			}
			if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/recoveries/"+url.PathEscape(u.ID), map[string]bool{"approve": approve != ""}, nil); err != nil {
				return err
			}
			fmt.Fprintf(e.Out, "%s: done\n", u.Email)
			return nil
		}
		var out struct {
			Recoveries []struct {
				User         string
				Asked, Ready time.Time
			}
		}
		if err := p.Admin().Call(cli.Background(c), http.MethodGet, "/v1/recoveries", nil, &out); err != nil {
			return err
		}
		w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tASKED\tMAY BE APPROVED FROM")
		for _, r := range out.Recoveries {
			fmt.Fprintf(w, "%s\t%s\t%s\n", r.User, r.Asked.Format(time.RFC3339), r.Ready.Format(time.RFC3339))
		}
		return w.Flush()
	})
	c.Flags().StringVar(&approve, "approve", "", "let this person in again, without the factors they lost")
	c.Flags().StringVar(&deny, "deny", "", "refuse this person")
	c.MarkFlagsMutuallyExclusive("approve", "deny")
	return c
}

func newUsersBreached(e cli.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "breached LIST OUT",
		Short: "Make the filter of breached passwords that users: {breached: OUT} names",
		Long: `Make the filter of breached passwords that users: {breached: OUT} names. LIST has one password a line, or lines of
Have I Been Pwned's list ("SHA1HEX:count").`,
		Args: cli.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			in, err := os.Open(args[0])
			if err != nil {
				return fault.Wrap(fault.Invalid, args[0]+" can't be read", err)
			}
			defer in.Close()
			var b bytes.Buffer
			said, err := identity.BuildBreached(bufio.NewReaderSize(in, 1<<20), &b)
			if err != nil {
				return err
			}
			if err := os.WriteFile(args[1], b.Bytes(), 0o644); err != nil {
				return fault.Wrap(fault.Invalid, args[1]+" can't be written", err)
			}
			fmt.Fprintf(e.Out, "%s: %d bytes; skipped: %s\n", args[1], b.Len(), said)
			return nil
		},
	}
}

var errNoToken = errors.New("give the token on standard input: as an argument everybody on this machine could read it")

// firstLine is a secret from standard input.
func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 64<<10)).ReadString('\n')
	if line = strings.TrimSpace(line); line == "" {
		if err == nil || errors.Is(err, io.EOF) {
			err = errNoToken
		}
		return "", err
	}
	return line, nil
}
