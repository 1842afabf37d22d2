package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/unified"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/edit"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wire"
)

func newUnusedCommand(e cli.Env) *cobra.Command {
	var file string
	var days int
	var apply, asJSON bool
	c := &cobra.Command{
		Use:   "unused",
		Short: "Show grants that nothing has used for a while, and the change that removes them",
		Long: `Show grants that nothing has used for a while, and the change of ward.yaml that removes them. Each use
is counted while Ward runs; before it has counted for that long, nothing is called unused. A right that is needed
once a quarter looks unused too: think before you remove it.

Nothing is removed unless --apply is given; comments and order of the file stay.

Exit code 0: every grant is in use. 1: some aren't, or it's too early to tell.`,
		Example: `  ward unused --days 14
  ward unused --days 90 --apply`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if days < 1 || days > 3650 {
				return fault.New(fault.Usage, "--days takes 1 to 3650")
			}
			p, err := up.FindPaths(file)
			if err != nil {
				return err
			}
			u, err := usageOf(cli.Background(c), p)
			if err != nil {
				return cli.NotRunning(err)
			}
			return unused(e, file, u, unusedQuery{now: time.Now(), days: days, apply: apply, asJSON: asJSON})
		},
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the model that runs")
	c.Flags().IntVar(&days, "days", 30, "for how many days a grant must have been without use")
	c.Flags().BoolVar(&apply, "apply", false, "remove them from the file")
	c.Flags().BoolVar(&asJSON, "json", false, "print them as JSON")
	return c
}

func usageOf(ctx context.Context, p up.Paths) (wire.UsageReport, error) {
	var u wire.UsageReport
	return u, p.Admin().Call(ctx, http.MethodGet, "/v1/usage", nil, &u)
}

type unusedQuery struct {
	now    time.Time
	days   int
	apply  bool
	asJSON bool
}

// unusedGrant is one line of the answer.
type unusedGrant struct {
	Caller string    `json:"caller"` // a service, or plan.Outside
	Target string    `json:"target"`
	Grant  string    `json:"grant"`
	Line   int       `json:"line"`
	Since  time.Time `json:"since"`         // counted from
	Last   time.Time `json:"last,omitzero"` // zero: never used
	port   int
}

func unused(e cli.Env, file string, u wire.UsageReport, q unusedQuery) error {
	limit := q.now.AddDate(0, 0, -q.days)
	if u.Since.After(limit) {
		return fault.New(fault.Refused, fmt.Sprintf("uses are counted since %s; nothing can be called unused for %s before %s",
			u.Since.UTC().Format(time.DateTime), cli.Count(q.days, "day"), u.Since.AddDate(0, 0, q.days).UTC().Format(time.DateOnly)))
	}
	src, err := readSource(e, file)
	if err != nil {
		return err
	}
	m, problems := wardfile.Parse(file, strings.NewReader(string(src)))
	if problems.HasErrors() {
		return fault.New(fault.Invalid, file+" has errors; see 'ward check'")
	}
	found, young := findUnused(m, &u, limit)
	if q.asJSON {
		if err := cli.WriteJSON(e.Out, struct {
			Since  time.Time     `json:"counting_since"`
			Days   int           `json:"days"`
			Unused []unusedGrant `json:"unused"`
		}{u.Since, q.days, found}); err != nil {
			return err
		}
	} else if err := cli.WriteText(e.Out, unusedText(found, young, &u, q)); err != nil {
		return err
	}
	if len(found) == 0 {
		return nil
	}
	if err := removeUnused(e, file, src, found, q); err != nil {
		return err
	}
	return cli.ErrFindings
}

// findUnused lists the grants without a use since limit, and how many are too young to be judged.
func findUnused(m *model.Model, u *wire.UsageReport, limit time.Time) (found []unusedGrant, young int) {
	look := func(caller, target string, port int, g model.Grant, pos model.Pos) {
		use, ok := u.Grants[wire.GrantKey(&plan.Rule{Caller: caller, Target: target, Grant: g})]
		switch {
		case !ok || use.Gone || use.Since.After(limit):
			young++
		case use.Last.Before(limit):
			if g.Pos != (model.Pos{}) {
				pos = g.Pos
			}
			found = append(found, unusedGrant{Caller: caller, Target: target, Grant: g.String(), Line: pos.Line, Since: use.Since, Last: use.Last, port: port})
		}
	}
	for i := range m.Services {
		s := &m.Services[i]
		for _, x := range s.Expose {
			for _, g := range x.Routes {
				look(plan.Outside, string(s.Name), 0, g, x.Pos)
			}
		}
		for _, c := range s.Calls {
			for _, g := range c.Grants {
				look(string(s.Name), c.Target, c.Port, g, c.Pos)
			}
		}
	}
	return found, young
}

func unusedText(found []unusedGrant, young int, u *wire.UsageReport, q unusedQuery) string {
	text := fmt.Sprintf("uses are counted since %s\n", u.Since.UTC().Format(time.DateTime))
	if young > 0 {
		text += fmt.Sprintf("%s not judged: in the plan for less than %s\n", cli.Count(young, "grant"), cli.Count(q.days, "day"))
	}
	if len(found) == 0 {
		return text + fmt.Sprintf("every other grant was used within %s\n", cli.Count(q.days, "day"))
	}
	text += fmt.Sprintf("%s without a use for %s:\n", cli.Count(len(found), "grant"), cli.Count(q.days, "day"))
	for _, g := range found {
		last := "never used"
		if !g.Last.IsZero() {
			last = "last used " + g.Last.UTC().Format(time.DateOnly)
		}
		caller := g.Caller
		if caller == plan.Outside {
			caller = "outside"
		}
		text += fmt.Sprintf("  line %-4d  %s -> %s  %s  (%s)\n", g.Line, caller, g.Target, g.Grant, last)
	}
	return text
}

// removeUnused prints the change, and makes it if asked. Routes to the outside are left to people: a page that
// nobody has visited isn't a right too many.
func removeUnused(e cli.Env, file string, src []byte, found []unusedGrant, q unusedQuery) error {
	var edits []edit.Grant
	for _, g := range found {
		if g.Caller == plan.Outside {
			continue
		}
		target := g.Target
		if g.port != 0 {
			target = fmt.Sprintf("%s:%d", g.Target, g.port)
		}
		edits = append(edits, edit.Grant{Caller: g.Caller, Target: target, Grant: g.Grant})
	}
	if len(edits) == 0 {
		return writeNote(e, q, "\nroutes under expose are yours to remove\n")
	}
	after, err := edit.Remove(src, edits)
	if err != nil {
		return fault.Wrap(fault.Invalid, file+" can't be edited by machine; remove the lines by hand", err)
	}
	return proposeEdit(e, proposal{file: file, before: src, after: after, apply: q.apply, quiet: q.asJSON, verb: "ward unused"})
}

func writeNote(e cli.Env, q unusedQuery, text string) error {
	if q.asJSON {
		return nil
	}
	return cli.WriteText(e.Out, text)
}

// proposal is a change of the model that a command proposes.
type proposal struct {
	file          string
	before, after []byte
	apply         bool
	quiet         bool
	verb          string // to say how to apply it
}

// proposeEdit prints a change of the model as a diff, or makes it. What comes out must be a model without errors.
func proposeEdit(e cli.Env, d proposal) error {
	if _, problems := wardfile.Parse(d.file, strings.NewReader(string(d.after))); problems.HasErrors() {
		return fault.New(fault.Invalid, "the change would leave errors in "+d.file+"; make it by hand")
	}
	if !d.quiet {
		if err := cli.WriteText(e.Out, "\n"+unified.Diff(d.file, d.file, string(d.before), string(d.after))); err != nil {
			return err
		}
	}
	if !d.apply {
		if d.quiet {
			return nil
		}
		return cli.WriteText(e.Out, fmt.Sprintf("\nnothing was changed; '%s --apply' writes it\n", d.verb))
	}
	if err := replaceFile(d.file, d.after); err != nil {
		return err
	}
	if d.quiet {
		return nil
	}
	return cli.WriteText(e.Out, "\nwrote "+d.file+"\n")
}
