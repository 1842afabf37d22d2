package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/plan/words"
	"github.com/wardhq/ward/internal/up"
)

// auditQuery says which records are wanted.
type auditQuery struct {
	kind, service string
	since         time.Time
	follow        bool
}

func newAuditCommand(e cli.Env) *cobra.Command {
	var file, since string
	var q auditQuery
	var asJSON bool
	c := &cobra.Command{
		Use:   "audit",
		Short: "Show what happened: starts, denials, plan changes, certificates",
		Long: `Show what happened, one line an event, oldest first: starts and ends, denials (the first of a kind at
once, then counts), changes of the plan, certificates. While nothing runs, the ledger's folder is read.`,
		Example: `  ward audit --kind request.denied --since 1h
  ward audit --service payments --follow
  ward audit verify`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if q.since, err = sinceTime(since, time.Now()); err != nil {
				return err
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
			return readAudit(cli.Background(c), p, q, show)
		},
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the model that runs")
	c.Flags().StringVar(&q.kind, "kind", "", "only this kind of event, or those that begin so: request.denied, service")
	c.Flags().StringVar(&q.service, "service", "", "only events of or about this service")
	c.Flags().StringVar(&since, "since", "", "only what is younger: 30m, 24h, 7d, or a date as 2026-01-31")
	c.Flags().BoolVar(&q.follow, "follow", false, "go on as more comes")
	c.Flags().BoolVar(&asJSON, "json", false, "print records as JSON, one a line")
	c.AddCommand(newAuditVerifyCommand(e))
	return c
}

// sinceTime reads a duration (with d for days), a date or a time; the zero time for "".
func sinceTime(s string, now time.Time) (time.Time, error) {
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
	return time.Time{}, fault.New(fault.Usage, fmt.Sprintf("--since takes 30m, 24h, 7d or a date as 2026-01-31, not %q", s))
}

func (q *auditQuery) wants(r *ledger.Record) bool {
	if q.kind != "" && r.Kind != q.kind && !strings.HasPrefix(r.Kind, q.kind+".") {
		return false
	}
	if q.service != "" && !concerns(r.Subject, q.service) && !concerns(r.Object, q.service) {
		return false
	}
	return !r.Time.Before(q.since)
}

// concerns tells whether an event's name is a service: by its name, its replica's or its SPIFFE ID.
func concerns(name, service string) bool {
	return name == service || strings.HasPrefix(name, service+".") || strings.HasSuffix(name, "/svc/"+service)
}

// readAudit hands over records of the running control, or of the ledger's folder while nothing runs.
func readAudit(ctx context.Context, p up.Paths, q auditQuery, show func(ledger.Record) error) error {
	path := "/v1/audit"
	if q.follow {
		path += "?follow=1"
	}
	resp, err := p.Admin().Do(ctx, http.MethodGet, path, nil)
	if fault.KindOf(err) == fault.Unavailable && !q.follow {
		return readAuditFolder(p, q, show)
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
		if q.wants(&r) {
			if err := show(r); err != nil {
				return fmt.Errorf("write records: %w", err)
			}
		}
	}
}

func ledgerFolder(p up.Paths) string { return filepath.Join(p.Control, "ledger") }

func readAuditFolder(p up.Paths, q auditQuery, show func(ledger.Record) error) error {
	var failed error
	err := ledger.ReadDir(ledgerFolder(p), func(r ledger.Record) bool {
		if q.wants(&r) {
			failed = show(r)
		}
		return failed == nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "there is no ledger for this file yet; it begins with 'ward up'")
	}
	return errors.Join(err, failed)
}

// showRecord prints one line a record, in UTC as everywhere in Ward.
func showRecord(w io.Writer) func(ledger.Record) error {
	return func(r ledger.Record) error {
		line := fmt.Sprintf("%s  %-18s  %s", r.Time.UTC().Format(time.DateTime), r.Kind, recordText(&r))
		_, err := fmt.Fprintln(w, strings.TrimRight(line, " "))
		return err
	}
}

// recordText says in words what the usual kinds hold, and lists the details of others.
func recordText(r *ledger.Record) string {
	d := r.Detail
	switch r.Kind {
	case "request.denied", "request.observed", "request.malformed", "request.learned", "request.failed":
		return requestText(r)
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
			text += "\n    " + clean(strings.TrimRight(line, "\n"))
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
	return clean(strings.Join(parts, " ")) + times(r.Count)
}

func requestText(r *ledger.Record) string {
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
	return strings.TrimRight(clean(text)+times(r.Count)+"  "+d["id"], " ")
}

func times(n int64) string {
	if n > 1 {
		return fmt.Sprintf("  %d times", n)
	}
	return ""
}

// clean takes away what would steer the reader's terminal: an attacker chooses paths.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '�'
		}
		return r
	}, s)
}

func newAuditVerifyCommand(e cli.Env) *cobra.Command {
	var file, key string
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify [DIR]",
		Short: "Check that no record was changed, removed or reordered",
		Long: `Check that no record of the ledger was changed, removed or reordered since it was signed. It reads
the folder alone, so it works while nothing runs, and on a copy.

Keep the printed key and root elsewhere: with --key, a folder that was exchanged as a whole is found too.

Exit code 0: whole. 1: changed.`,
		Example: `  ward audit verify
  ward audit verify /backup/ledger --key "$(cat ledger.key)"`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fault.New(fault.Usage, fmt.Sprintf("%s takes one DIR or none; see '%s --help'", c.CommandPath(), c.CommandPath()))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := up.FindPaths(file)
			if err != nil {
				return err
			}
			dir := ledgerFolder(p)
			if len(args) == 1 {
				dir = args[0]
			}
			return verifyLedger(e, dir, strings.TrimSpace(key), asJSON)
		},
	}
	c.Flags().StringVarP(&file, "file", "f", cli.DefaultFile, "the model whose ledger is meant")
	c.Flags().StringVar(&key, "key", "", "the ledger's public key, as kept elsewhere")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
}

func verifyLedger(e cli.Env, dir, key string, asJSON bool) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "there is no ledger at "+dir+"; it begins with 'ward up'")
	}
	r, err := ledger.Verify(dir, key)
	if err != nil {
		if asJSON {
			if werr := cli.WriteJSON(e.Out, map[string]any{"ok": false, "error": fault.PublicText(err)}); werr != nil {
				return werr
			}
			return cli.ErrFindings
		}
		return err
	}
	if asJSON {
		return cli.WriteJSON(e.Out, struct {
			OK bool `json:"ok"`
			ledger.Report
		}{true, r})
	}
	text := fmt.Sprintf("whole: %s under a signed checkpoint\n", count(int(r.Records), "record"))
	if r.Tail > 0 {
		text += fmt.Sprintf("       %s after it, to be signed in a moment or at the next start\n", count(int(r.Tail), "record"))
	}
	return cli.WriteText(e.Out, text+fmt.Sprintf("root   %s\nkey    %s\n", r.Root, r.Key))
}
