// Package watching holds the verbs for what Ward has found: findings, silences and answers, whom they are told, what services printed, and what is promised.
package watching

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wire"
)

// admin is who the command line acts as.
const admin = "admin"

// Findings is `ward findings`; more are further verbs below it.
func Findings(e cli.Env, more ...*cobra.Command) *cobra.Command {
	var q watch.FindingQuery
	var asJSON bool
	c := cli.Running("findings [ID]", "Show what Ward has found: attacks, trouble, and what was done about it", 0, func(p up.Paths, c *cobra.Command, args []string) error {
		if len(args) == 1 {
			return showFinding(c, e, p, args[0], asJSON)
		}
		var all []watch.Finding
		if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/findings", q, &all); err != nil {
			return err
		}
		if asJSON {
			return cli.WriteJSON(e.Out, all)
		}
		return printFindings(e.Out, all)
	})
	c.Args = cobra.MaximumNArgs(1)
	c.PersistentFlags().BoolVar(&asJSON, "json", false, "as JSON")
	f := c.Flags()
	f.BoolVar(&q.Closed, "closed", false, "those that aren't open any more")
	f.StringVar(&q.Rule, "rule", "", "only those of this rule")
	f.IntVar(&q.Limit, "limit", 200, "how many at most")
	c.AddCommand(newCloseCommand(e), newSilenceCommand(e), newSilencesCommand(e, &asJSON), newSpeakCommand(e), newRulesCommand(e, &asJSON))
	c.AddCommand(more...)
	return c
}

func newCloseCommand(e cli.Env) *cobra.Command {
	var q wire.FindingAct
	c := cli.Running("close ID", "Take a finding back: it was looked at", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		id, err := number(args[0])
		if err != nil {
			return err
		}
		q.ID, q.By = id, admin
		if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/finding/close", q, nil); err != nil {
			return err
		}
		fmt.Fprintf(e.Out, "finding %d is closed; what happens again is a new one\n", id)
		return nil
	})
	c.Flags().StringVar(&q.Note, "note", "", "what it was")
	alias(c, "reason", &q.Note)
	return c
}

func newSilenceCommand(e cli.Env) *cobra.Command {
	var last time.Duration
	var reason string
	var whole bool
	c := cli.Running("silence ID", "Hear no more of a finding and its like, and give it no answer, until a time", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		id, err := number(args[0])
		if err != nil {
			return err
		}
		if reason == "" {
			return fault.New(fault.Usage, "say why with --reason")
		}
		var f watch.FindingReport
		if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/finding", wire.FindingAct{ID: id}, &f); err != nil {
			return err
		}
		s := watch.Silence{Rule: f.Rule, Subject: f.Subject, Object: f.Object, Until: time.Now().Add(last), Reason: reason, By: admin}
		if whole {
			s.Subject, s.Object = "", ""
		}
		if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/silences", s, &s); err != nil {
			return err
		}
		fmt.Fprintf(e.Out, "silence %d: %s until %s\n", s.ID, silenceText(&s), s.Until.Local().Format("2006-01-02 15:04"))
		return nil
	})
	f := c.Flags()
	f.DurationVar(&last, "for", 24*time.Hour, "how long")
	f.StringVar(&reason, "reason", "", "why")
	f.BoolVar(&whole, "rule", false, "the whole rule, whoever it is about")
	alias(c, "note", &reason)
	return c
}

// alias has a command take what is in into by another name of its flag, too, which its help doesn't show.
func alias(c *cobra.Command, name string, into *string) {
	c.Flags().StringVar(into, name, "", "")
	c.Flags().Lookup(name).Hidden = true
}

func newSilencesCommand(e cli.Env, asJSON *bool) *cobra.Command {
	return cli.Running("silences", "Show what is silenced, and until when", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		var all []watch.Silence
		if err := p.Admin().Call(cli.Background(c), http.MethodGet, "/v1/silences", nil, &all); err != nil {
			return err
		}
		if *asJSON {
			return cli.WriteJSON(e.Out, all)
		}
		if len(all) == 0 {
			fmt.Fprintln(e.Out, "nothing is silenced")
			return nil
		}
		t := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tWHAT\tUNTIL\tREASON\tBY\t")
		for i := range all {
			s := &all[i]
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t\n", s.ID, silenceText(s), s.Until.Local().Format("2006-01-02 15:04"), s.Reason, s.By)
		}
		return t.Flush()
	})
}

func silenceText(s *watch.Silence) string {
	return strings.TrimSpace(s.Rule + " " + strings.TrimSpace(s.Subject+" "+s.Object))
}

func newSpeakCommand(e cli.Env) *cobra.Command {
	return cli.Running("unsilence ID", "End a silence before its time", 1, func(p up.Paths, c *cobra.Command, args []string) error {
		id, err := number(args[0])
		if err != nil {
			return err
		}
		if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/silences/end", wire.FindingAct{ID: id, By: admin}, nil); err != nil {
			return err
		}
		fmt.Fprintf(e.Out, "silence %d has ended\n", id)
		return nil
	})
}

func newRulesCommand(e cli.Env, asJSON *bool) *cobra.Command {
	return cli.Running("rules", "Show what Ward looks for, and what it does about it: as in force, where it runs", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		if missing := cli.Missing(p); missing != nil && c.Flags().Changed("file") {
			return missing
		}
		var all []watch.RuleState
		err := p.Admin().Call(cli.Background(c), http.MethodGet, "/v1/rules", nil, &all)
		runs := err == nil
		if !runs && (!errors.Is(err, wire.ErrNoAnswer) || p.Runs() != nil) {
			return err
		}
		if !runs {
			for _, r := range watch.Rules() {
				all = append(all, watch.RuleState{Rule: r})
			}
		}
		if *asJSON {
			return cli.WriteJSON(e.Out, all)
		}
		return printRules(e.Out, all, runs)
	})
}

func printRules(w io.Writer, all []watch.RuleState, inForce bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RULE\tSEVERITY\tANSWER\tWHAT\t")
	for i := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", all[i].Name, all[i].Severity, ruleAnswer(&all[i]), all[i].Title)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	state := "These are the defaults: nothing runs for this file."
	if inForce {
		state = "This is in force."
	}
	_, err := fmt.Fprintf(w, "\n%s Answers in brackets are given by a person: 'ward answers'.\n", state)
	return err
}

// ruleAnswer is what is done by itself, or in brackets what a person may do.
func ruleAnswer(r *watch.RuleState) string {
	switch {
	case !r.Silenced.IsZero():
		return "silenced until " + r.Silenced.Local().Format("2006-01-02 15:04")
	case r.Answer != "" && r.Observes:
		return "none (observe)"
	case r.Answer == "" && r.Offer != "":
		return "(" + string(r.Offer) + ")"
	}
	return string(r.Answer)
}

func printFindings(w io.Writer, all []watch.Finding) error {
	if len(all) == 0 {
		fmt.Fprintln(w, "nothing was found")
		return nil
	}
	rows := [][]string{{"ID", "SEVERITY", "RULE", "TIMES", "LAST", "WHAT"}}
	for i := range all {
		f := &all[i]
		what := f.What
		if !f.Silenced.IsZero() {
			what = "(silenced) " + what
		}
		rows = append(rows, []string{strconv.FormatInt(f.ID, 10), f.Severity.String(), f.Rule, strconv.FormatInt(f.Count, 10), f.Last.Local().Format("01-02 15:04:05"), what})
	}
	return cli.Table(w, len(rows[0])-1, rows)
}

func showFinding(c *cobra.Command, e cli.Env, p up.Paths, arg string, asJSON bool) error {
	id, err := number(arg)
	if err != nil {
		return err
	}
	var f watch.FindingReport
	if err := p.Admin().Call(cli.Background(c), http.MethodPost, "/v1/finding", wire.FindingAct{ID: id}, &f); err != nil {
		return err
	}
	if asJSON {
		return cli.WriteJSON(e.Out, f)
	}
	printFinding(e.Out, &f)
	return nil
}

func printFinding(w io.Writer, f *watch.FindingReport) {
	const at = "2006-01-02 15:04:05"
	fmt.Fprintf(w, "%d  %s  %s: %s\n\n  %s\n  %s\n\n", f.ID, strings.ToUpper(f.Severity.String()), f.Rule, f.Title, f.What, f.Why)
	if f.Count == 1 {
		fmt.Fprintf(w, "  seen      once, at %s\n", f.Last.Local().Format(at))
	} else {
		fmt.Fprintf(w, "  seen      %d times, from %s to %s\n", f.Count, f.Opened.Local().Format(at), f.Last.Local().Format(at))
	}
	if !f.Closed.IsZero() {
		fmt.Fprintf(w, "  closed    %s by %s  %s\n", f.Closed.Local().Format(at), f.ClosedBy, f.Note)
	}
	if !f.Silenced.IsZero() {
		fmt.Fprintf(w, "  silenced  until %s\n", f.Silenced.Local().Format(at))
	}
	for i := range f.Evidence {
		x := &f.Evidence[i]
		word := "evidence"
		if i > 0 {
			word = ""
		}
		line := strings.TrimSpace(x.Client + " " + x.Text)
		if x.Record >= 0 {
			line += fmt.Sprintf("  (record %d)", x.Record)
		}
		fmt.Fprintf(w, "  %-9s %s  %s\n", word, x.Time.Local().Format(time.TimeOnly), line)
	}
	for _, id := range f.Traces {
		fmt.Fprintf(w, "  trace     ward traces %s\n", id)
	}
	for _, r := range f.Answers {
		fmt.Fprintf(w, "  answer    %s  (undo: ward answers lift %s)\n", answerText(&r), r.ID)
	}
	switch {
	case len(f.Answers) > 0:
	case f.Service != "" && (f.Offer == "quarantine" || f.Answer == "quarantine"):
		fmt.Fprintf(w, "  you may   ward answers quarantine %s\n", f.Service)
	case f.Person != "" && f.Offer == "end-sessions":
		fmt.Fprintf(w, "  you may   ward users sessions %s --end\n", f.Person)
	case f.Answer == "block" && len(f.Evidence) > 0 && f.Evidence[0].Client != "":
		fmt.Fprintf(w, "  you may   ward answers block %s\n", f.Evidence[0].Client)
	}
	if f.Right != "" {
		fmt.Fprintf(w, "\nWhat to do if it is right: %s\n", f.Right)
	}
	if f.Allow != "" {
		how := "In ward.yaml that would be:"
		if f.Call != nil {
			how = fmt.Sprintf("'ward findings allow %d' shows this change, and makes it with --apply.", f.ID)
		}
		fmt.Fprintf(w, "\n%s\n%s", how, f.Allow)
	}
}

func number(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id < 1 {
		return 0, fault.New(fault.Usage, fmt.Sprintf("%.40q is no number of a finding; 'ward findings' lists them", s))
	}
	return id, nil
}
