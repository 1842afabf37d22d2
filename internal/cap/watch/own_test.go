package watch

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

func TestMetricsTellHowWardItselfDoes(t *testing.T) {
	s := newScene(t, nil)
	take := func(role string, lost uint64) {
		t.Helper()
		err := s.watch.Take(role, telemetry.Snapshot{Time: s.now, Start: s.now.Add(-time.Minute), Lost: lost, Queues: []telemetry.Queue{{Name: "spool", Length: 4}, {Name: "spool", Length: 5}, {Name: "invented", Length: 6}, {Name: "ring", Length: -7}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	take("gateway", 0)
	s.now = s.now.Add(7 * time.Second)
	take("agent", 3)
	if err := s.watch.TakeLogs([]wire.LogLine{{Service: "web", Time: s.now.UnixMicro(), Lost: 11}}); err != nil {
		t.Fatal(err)
	}
	s.add(wire.Event{Kind: "ledger.damaged", Subject: "ledger", Time: s.now})
	if _, open := s.rules(t)["ledger-gap"]; !open {
		t.Fatal("nothing is found")
	}
	for _, r := range []wire.Restriction{{Service: "web", By: "admin"}, {Client: netip.MustParsePrefix("203.0.113.9/32"), By: "admin", Slow: true}} {
		if _, err := s.Restrict(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	b := Build{Dropped: 2, Findings: s.Findings}
	var out bytes.Buffer
	if err := s.watch.Metrics(&out, "", b, func(string) {}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`ward_findings_open{severity="critical"} 1`, `ward_findings_open{severity="low"} 0`,
		`ward_answers{kind="quarantine"} 1`, `ward_answers{kind="slow"} 1`, `ward_answers{kind="block"} 0`,
		`ward_report_age_seconds{source="gateway"} 7`, `ward_report_age_seconds{source="agent"} 0`, `ward_report_age_seconds{source="supervisor"} 7`,
		`ward_queue_length{source="agent",queue="spool"} 4`, `ward_queue_length{source="agent",queue="ring"} 0`, `ward_queue_length{source="control",queue="export"} 0`,
		`ward_log_lines_lost_total 11`, `ward_ledger_dropped_total 2`, `ward_notifications_given_up_total 0`,
	} {
		if !strings.Contains(out.String(), "\n"+line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
	if strings.Contains(out.String(), "invented") || strings.Contains(out.String(), "} 5\n") {
		t.Error("a process makes labels")
	}
	if d := cmp.Diff([]Drop{{"records of requests", 3}, {"lines", 11}, {"allowed calls of the audit trail", 2}}, s.watch.Drops(b)); d != "" {
		t.Error(d)
	}
	if got := Dropped(s.watch.Drops(b)); got != "16 dropped for want of room: 3 records of requests, 11 lines, 2 allowed calls of the audit trail" {
		t.Error(got)
	}
	s.now = s.now.Add(time.Minute)
	out.Reset()
	if err := s.watch.Metrics(&out, "", b, func(string) {}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\nward_report_age_seconds{source=\"gateway\"} 67\n") {
		t.Error("a frozen gateway isn't told of")
	}
}
