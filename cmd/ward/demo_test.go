package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/demo"
)

// generous is the shop's model as a careless team would write it: everything is granted, and nobody signs in.
func generous(t *testing.T) func(string) string {
	return func(model string) string {
		var out []string
		users := false // within the block of sign-in, which the shop does without
		for line := range strings.Lines(model) {
			users = strings.HasPrefix(line, "users:") || users && strings.HasPrefix(line, " ")
			switch trimmed := strings.TrimSpace(line); {
			case users, strings.HasPrefix(line, "watch: {console"): // which only who signs in may use
				continue
			case strings.HasPrefix(trimmed, "- {routes: [GET /,"):
				line = "      - {routes: [\"* /**\", ws /**], to: anyone}\n"
			case strings.HasPrefix(trimmed, "- {routes:"):
				continue
			case strings.HasPrefix(trimmed, "cart: ["):
				line = "      cart: any\n      mailer: any\n      payments: any\n"
			case strings.HasPrefix(trimmed, "orders: ["):
				line = "      orders: any\n    files: {read: [db]}\n"
			case strings.HasPrefix(trimmed, "catalog: [GET"):
				line = "      catalog: any\n"
			case trimmed == "files: {write: [mailer/data]}":
				line = "    files: {read: [db], write: [mailer/data, catalog/data]}\n    calls: {payments: any, db: tcp}\n"
			case strings.HasPrefix(trimmed, "env: {SEAL:"):
				line = "    env: {DATABASE_URL: \"postgres://shop@db:5432/shop\"}\n    secrets: {db-password: env PGPASSWORD}\n"
			}
			out = append(out, line)
		}
		changed := strings.Join(out, "")
		if changed == model {
			t.Fatal("the model has changed, and this test hasn't")
		}
		return changed
	}
}

// runDemo runs the demo; the shop must work, and every attack succeed without Ward. Nothing may run beside it: it writes a program and
// runs it, which fails when somebody else starts a process meanwhile (ETXTBSY).
func runDemo(t *testing.T, c demo.Config) demo.Report {
	t.Helper()
	program, err := exec.LookPath("ward")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var out bytes.Buffer
	c.Program, c.Dir, c.Out, c.Notes, c.Once, c.JSON = program, dir, &out, io.Discard, true, true
	err = demo.Run(t.Context(), c)
	if err != nil && !errors.Is(err, demo.ErrFindings) {
		t.Fatal(err)
	}
	var r demo.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if !r.Without.OK || !r.With.OK {
		t.Errorf("the shop: without Ward %+v, with Ward %+v", r.Without, r.With)
	}
	for _, row := range r.Rows {
		if !row.Without.Succeeded {
			t.Errorf("without Ward %q came to: %s", row.Attack, row.Without.Evidence)
		}
	}
	if r.OK != (err == nil) {
		t.Errorf("report says %v, Run says %v", r.OK, err)
	}
	return r
}

// succeeding are the attacks that succeed with Ward.
func succeeding(r demo.Report) []string {
	var out []string
	for _, row := range r.Rows {
		if row.With.Succeeded {
			out = append(out, row.Attack)
		}
	}
	slices.Sort(out)
	return out
}

// TestDemosTableTellsTheTruth widens the model: exactly the rows that the grants stood for must turn, and the
// demo must say no. As the model is, script demo.txtar runs it.
func TestDemosTableTellsTheTruth(t *testing.T) {
	r := runDemo(t, demo.Config{Change: generous(t)})
	want := []string{
		"read visitor statistics", "read web's process", "read orders by a /docs parameter", "read orders by the cover preview",
		"read catalog's process by preview", "mailer: charge a card", "mailer: read orders on disk", "mailer: change catalog on disk",
		"become administrator", "read another customer's order", "mailer: act as a customer",
		"find addresses on a stolen disk", "restore an erased customer", "mailer: log in to the database",
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, succeeding(r)); diff != "" {
		t.Errorf("succeeds with Ward (-want +got):\n%s", diff)
	}
	if r.OK {
		t.Error("the demo is content")
	}
	// A password that a service has isn't one that it never had, also where the browser sees asterisks.
	for _, row := range r.Rows {
		if row.Attack == "make orders show its password" && row.With.Layer != "" {
			t.Errorf("orders has its password, and %q stopped: %s", row.Attack, row.With.Evidence)
		}
	}
}

// TestDemoNamesTheLayerThatHeld takes one layer away: the next one holds, and the table says which.
func TestDemoNamesTheLayerThatHeld(t *testing.T) {
	r := runDemo(t, demo.Config{Off: sandbox.Off{Landlock: true}})
	if diff := cmp.Diff([]string(nil), succeeding(r)); diff != "" {
		t.Errorf("succeeds with Ward (-want +got):\n%s", diff)
	}
	for _, row := range r.Rows {
		if row.Hole == "free egress" && row.With.Layer != "sandbox: no route out" {
			t.Errorf("%s: %s", row.Attack, row.With.Layer)
		}
	}
}
