package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/wardtest"
)

// auditRecords are what 'ward audit --json' prints with more flags.
func auditRecords(t *testing.T, file string, flags ...string) []ledger.Record {
	t.Helper()
	code, out, errs := say(append([]string{"audit", "--json", "-f", file}, flags...)...)
	if code != 0 {
		t.Fatalf("%v: %d %s", flags, code, errs)
	}
	var all []ledger.Record
	for line := range strings.Lines(out) {
		var r ledger.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// TestAllowedCallsAreKeptWhenAskedFor: as counts, beside denials; and the ledger is searched while it runs as while it doesn't.
func TestAllowedCallsAreKeptWhenAskedFor(t *testing.T) {
	w := wardtest.Start(t, twoServices+"watch: {ledger: {allowed: catalog}}\n", nil)
	for range 3 {
		w.Get("/call?url=http://catalog:8080/books/1&url=http://catalog:8080/admin")
	}
	w.Get("/") // of a service that isn't asked for
	wardtest.Eventually(t, "all allowed calls are in the ledger", func() bool {
		var n int64
		for _, r := range auditRecords(t, w.File, "--kind", "request.allowed") {
			if r.Subject != "web" || r.Object != "catalog" || r.Detail["route"] != "GET /books/**" || r.Detail["status"] != "2xx" || len(r.Detail["trace"]) != 32 {
				t.Fatalf("%+v", r)
			}
			n += r.Count
		}
		return n == 3
	})
	queries := [][]string{
		{"--kind", "request"}, {"--subject", "web", "--object", "catalog"}, {"--service", "catalog", "--newest", "--limit", "2"}, {"--text", "/admin"}, {"--until", "1h"}, {"--since", "1h", "--kind", "plan"},
	}
	var running [][]ledger.Record
	for _, q := range queries {
		running = append(running, auditRecords(t, w.File, q...))
	}
	w.Stop()
	for i, q := range queries {
		got := auditRecords(t, w.File, q...)
		if wanted := i != 4; len(running[i]) > 0 != wanted || len(got) < len(running[i]) {
			t.Errorf("%v: %d records while it ran, %d later", q, len(running[i]), len(got))
		}
		for n, r := range running[i] {
			if !strings.Contains(strings.Join(q, " "), "--newest") && got[n].Index != r.Index {
				t.Errorf("%v: record %d while it ran, %d later", q, r.Index, got[n].Index)
			}
		}
	}
	if code, _, errs := say("audit", "--follow", "--limit", "3", "-f", w.File); code != 2 {
		t.Errorf("%d %s", code, errs)
	}
}
