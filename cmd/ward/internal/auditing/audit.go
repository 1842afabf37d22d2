// Package auditing is the commands that read the ledger: what happened, whether it is whole, proofs and anchors of it.
//
// Guarantee: what a record holds doesn't steer the reader's terminal. Not guaranteed: order by time; records come in the order in which the
// ledger took them.
package auditing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/ledger/search"
	"github.com/wardhq/ward/internal/plan/words"
	"github.com/wardhq/ward/internal/up"
)

// NewCommand is ward audit.
func NewCommand(e cli.Env) *cobra.Command {
	var file, since, until string
	var q search.Query
	var asJSON, follow bool
	c := &cobra.Command{
		Use:   "audit",
		Short: "Show what happened: starts, denials, plan changes, certificates",
		Long: `Show what happened, one line an event, oldest first: starts and ends, denials (the first of a kind at
once, then counts), changes of the plan, certificates. The number at its head is the record's index, as
'ward audit prove' takes it. While nothing runs, the ledger's folder is read.`,
		Example: `  ward audit --kind request.denied --since 1h
  ward audit --service payments --follow
  ward audit --subject web --object payments --newest --limit 20
  ward audit verify`,
		Args: cli.ExactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if q.Since, err = auditTime("--since", since, time.Now()); err != nil {
				return err
			}
			if q.Until, err = auditTime("--until", until, time.Now()); err != nil {
				return err
			}
			if q.Limit < 0 || follow && (q.Newest || q.Limit > 0) {
				return fault.New(fault.Usage, "--limit takes a number of records; what goes on (--follow) has no newest one and no limit")
			}
			p, err := up.FindPaths(file)
			if err != nil {
				return err
			}
			show := showRecord(e.Out)
			if asJSON {
				enc := json.NewEncoder(e.Out)
				enc.SetEscapeHTML(false)
				show = func(r ledger.Record) error { return enc.Encode(r) }
			}
			shown := false
			q.Service, q.Subject, q.Object = words.Party(q.Service), words.Party(q.Subject), words.Party(q.Object)
			err = Read(cli.Background(c), p, q, follow, func(r ledger.Record) error { shown = true; return show(r) })
			if err == nil && !shown && !follow {
				fmt.Fprintln(e.Err, "no record fits")
			}
			return err
		},
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the model that runs")
	c.Flags().StringVar(&q.Kind, "kind", "", "only this kind of event, or those that begin so: request.denied, service")
	c.Flags().StringVar(&q.Service, "service", "", "only events of or about this service")
	c.Flags().StringVar(&q.Subject, "subject", "", "only what this one did")
	c.Flags().StringVar(&q.Object, "object", "", "only what was done to this one")
	c.Flags().StringVar(&q.ID, "id", "", "only the denial, or the trace, of this identifier")
	c.Flags().StringVar(&q.Text, "text", "", "only what has this text in it, as it is written; alone it reads everything")
	c.Flags().StringVar(&since, "since", "", "only what is younger: 30m, 24h, 7d, or a date as 2026-01-31")
	c.Flags().StringVar(&until, "until", "", "only what is older, as --since")
	c.Flags().BoolVar(&q.Newest, "newest", false, "the newest first")
	c.Flags().IntVar(&q.Limit, "limit", 0, "at most so many records; all if 0")
	c.Flags().BoolVar(&follow, "follow", false, "go on as more comes")
	c.Flags().BoolVar(&asJSON, "json", false, "print records as JSON, one a line")
	c.AddCommand(newVerifyCommand(e), newProveCommand(e), newAnchorsCommand(e), newExportCommand(e))
	return c
}

// auditTime reads a duration (with d for days), a date or a time; the zero time for "".
func auditTime(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days+"!", "%d!", &n); err == nil && n >= 0 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fault.New(fault.Usage, fmt.Sprintf("%s takes 30m, 24h, 7d or a date as 2026-01-31, not %q", flag, s))
}

// Read hands over records of the running control, or of the ledger's folder while nothing runs.
func Read(ctx context.Context, p up.Paths, q search.Query, follow bool, show func(ledger.Record) error) error {
	v := q.Values()
	if follow {
		v.Set("follow", "1")
	}
	resp, err := p.Admin().Do(ctx, http.MethodGet, "/v1/audit?"+v.Encode(), nil)
	if fault.KindOf(err) == fault.Unavailable && !follow {
		return readFolder(p, q, show)
	}
	if err != nil {
		return cli.NotRunning(err)
	}
	defer resp.Body.Close()
	d := json.NewDecoder(resp.Body)
	for {
		var r ledger.Record
		err := d.Decode(&r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read audit: %w", err)
		}
		if err := show(r); err != nil {
			return fmt.Errorf("write records: %w", err)
		}
	}
}

func folder(p up.Paths) string { return filepath.Join(p.Control, "ledger") }

// noLedger says what to do where there is none.
func noLedger(p up.Paths) error {
	if missing := cli.Missing(p); missing != nil {
		return missing
	}
	return fault.New(fault.NotFound, "there is no ledger for this file yet; it begins with 'ward up'")
}

func readFolder(p up.Paths, q search.Query, show func(ledger.Record) error) error {
	var failed error
	err := search.Folder(folder(p), q, func(r ledger.Record) bool {
		failed = show(r)
		return failed == nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return noLedger(p)
	}
	return errors.Join(err, failed)
}

// showRecord prints one line a record: its index, by which 'ward audit prove' names it, then what it says.
func showRecord(w io.Writer) func(ledger.Record) error {
	return func(r ledger.Record) error {
		_, err := fmt.Fprintf(w, "%6d  %s\n", r.Index, recordLine(&r))
		return err
	}
}

// recordLine is when something happened, in UTC as everywhere in Ward, and what.
func recordLine(r *ledger.Record) string {
	return strings.TrimRight(fmt.Sprintf("%s  %-18s  %s", r.Time.UTC().Format(time.DateTime), r.Kind, recordText(r)), " ")
}

// recordText says in words what the usual kinds hold, and lists the details of others.
func recordText(r *ledger.Record) string {
	d := r.Detail
	switch r.Kind {
	case "request.denied", "request.observed", "request.malformed", "request.learned", "request.failed":
		return RequestText(r)
	case "certificate.issued":
		return fmt.Sprintf("%s until %s", r.Object, d["not_after"])
	case "jwt.issued":
		return fmt.Sprintf("%s for %s", r.Object, d["audience"])
	case "plan.change":
		text := fmt.Sprintf("%.12s in force", d["revision"])
		if d["from"] != "" {
			text = fmt.Sprintf("%.12s in place of %.12s", d["revision"], d["from"])
		}
		for line := range strings.Lines(d["changes"]) {
			text += "\n    " + cli.Clean(strings.TrimRight(line, "\n"))
		}
		return text
	}
	parts := []string{}
	for _, s := range []string{r.Subject, r.Object} {
		if s != "" && s != "up" && s != "control" {
			parts = append(parts, s)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(d)) {
		parts = append(parts, k+"="+d[k])
	}
	return cli.Clean(strings.Join(parts, " ")) + times(r.Count)
}

// RequestText says in words what a record of a request holds.
func RequestText(r *ledger.Record) string {
	d := r.Detail
	target := r.Object
	if d["port"] != "" {
		target += ":" + d["port"]
	}
	text := words.Name(r.Subject)
	if target != "" {
		text += " -> " + target
	}
	text += "  " + strings.TrimRight(d["method"]+" "+d["path"], " ")
	var why []string
	for _, k := range []string{"reason", "malformed", "failed", "end"} {
		if d[k] != "" {
			why = append(why, d[k])
		}
	}
	if d["host"] != "" {
		why = append(why, "host "+d["host"])
	}
	if len(why) > 0 {
		text += "  (" + strings.Join(why, ", ") + ")"
	}
	return strings.TrimRight(cli.Clean(text)+times(r.Count)+"  "+d["id"], " ")
}

func times(n int64) string {
	if n > 1 {
		return fmt.Sprintf("  %d times", n)
	}
	return ""
}
