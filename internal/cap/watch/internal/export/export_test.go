package export

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/watch/internal/exposition"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// written are the metrics that Ward writes.
func written(t *testing.T) map[string]bool {
	t.Helper()
	m := telemetry.NewMeter(time.Unix(0, 0))
	m.Series(telemetry.Label{Caller: "a", Target: "b", Route: "c"}).Count(200, 1, 1, time.Second)
	var b bytes.Buffer
	s := &exposition.State{Snapshots: []telemetry.Snapshot{m.Read("agent", time.Unix(1, 0))}, Processes: []exposition.Process{{Service: "a"}}, Identities: []exposition.Identity{{Service: "a"}}}
	s.Own = exposition.Own{Findings: map[string]int{"low": 1}, Ages: map[string]time.Duration{"agent": 1}, Queues: []exposition.Queue{{Name: "export"}}}
	if err := exposition.Write(&b, s, exposition.Text); err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for line := range strings.Lines(b.String()) {
		name, _, _ := strings.Cut(line, "{")
		name, _, _ = strings.Cut(name, " ")
		out[name] = true
	}
	return out
}

func TestOnlyMetricsThatAreWrittenAreNamed(t *testing.T) {
	have := written(t)
	named := regexp.MustCompile(`\bward_[a-z0-9_]+`)
	for what, text := range map[string][]byte{"rules": Rules(), "dashboard": Dashboard()} {
		n := 0
		for _, name := range named.FindAllString(string(text), -1) {
			n++
			if !have[name] {
				t.Errorf("%s name %s, which nothing writes", what, name)
			}
		}
		if n < 10 {
			t.Errorf("%s name %d metrics", what, n)
		}
	}
}

// promtool runs it in a folder with the rules.
func promtool(t *testing.T, files map[string]string, args ...string) {
	t.Helper()
	dir := t.TempDir()
	files["rules.yml"] = string(Rules())
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.CommandContext(t.Context(), need.Program(t, "promtool"), args...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}

func TestRulesFire(t *testing.T) {
	promtool(t, map[string]string{}, "check", "rules", "rules.yml")
	promtool(t, map[string]string{"tests.yml": ruleTests}, "test", "rules", "tests.yml")
}

// TestEveryExpressionIsPromQL puts the dashboard's expressions into rules, which promtool parses.
func TestEveryExpressionIsPromQL(t *testing.T) {
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(Dashboard(), &d); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("groups:\n- name: x\n  rules:\n")
	n := 0
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			n++
			expr := strings.NewReplacer("$__rate_interval", "1m", "$caller", ".*", "$target", ".*").Replace(q.Expr)
			quoted, err := json.Marshal(expr)
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString("  - record: x:" + strings.Repeat("y", n) + "\n    expr: " + string(quoted) + "\n")
		}
	}
	if n < 15 {
		t.Fatalf("%d expressions", n)
	}
	promtool(t, map[string]string{"dashboard.yml": b.String()}, "check", "rules", "dashboard.yml")
}

const ruleTests = `
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - name: one request of ten fails
    interval: 1m
    input_series:
      - {series: 'ward_requests_total{source="agent",caller="web",target="catalog",route="GET /books",verdict="allow",class="2xx"}', values: "0+90x600"}
      - {series: 'ward_requests_total{source="agent",caller="web",target="catalog",route="GET /books",verdict="allow",class="5xx"}', values: "0+10x600"}
      - {series: 'ward_requests_total{source="agent",caller="web",target="db",route="tcp",verdict="allow",class="none"}', values: "0+10x600"}
      - {series: 'ward_build_info{version="1"}', values: "1x600"}
    alert_rule_test:
      - eval_time: 90m
        alertname: WardErrorBudgetBurnsFast
        exp_alerts:
          - exp_labels: {severity: page, target: catalog, route: GET /books}
            exp_annotations: {summary: "catalog: GET /books fails for 10% of requests", description: At this rate the error budget of a month is gone within two days.}
      - {eval_time: 90m, alertname: WardSilent, exp_alerts: []}
      - {eval_time: 90m, alertname: WardUndeclaredCall, exp_alerts: []}
  - name: half of the calls find nobody, half of others' callers are impatient, and learnt calls fail
    interval: 1m
    input_series:
      - {series: 'ward_requests_total{source="agent",caller="web",target="catalog",route="GET /books",verdict="allow",class="2xx"}', values: "0+50x600"}
      - {series: 'ward_requests_total{source="agent",caller="web",target="catalog",route="GET /books",verdict="fail",class="5xx"}', values: "0+50x600"}
      - {series: 'ward_requests_total{source="agent",caller="web",target="catalog",route="GET /slow",verdict="allow",class="2xx"}', values: "0+50x600"}
      - {series: 'ward_requests_total{source="agent",caller="web",target="catalog",route="GET /slow",verdict="allow",class="none"}', values: "0+50x600"}
      - {series: 'ward_requests_total{source="agent",caller="web",target="catalog",route="undeclared",verdict="fail",class="5xx"}', values: "0+50x600"}
    alert_rule_test:
      - eval_time: 90m
        alertname: WardErrorBudgetBurnsFast
        exp_alerts:
          - exp_labels: {severity: page, target: catalog, route: GET /books}
            exp_annotations: {summary: "catalog: GET /books fails for 50% of requests", description: At this rate the error budget of a month is gone within two days.}
  - name: the gateway is frozen, a finding is open, and what Ward has to tell is lost
    interval: 1m
    input_series:
      - {series: 'ward_build_info{version="1"}', values: "1x600"}
      - {series: 'ward_report_age_seconds{source="gateway"}', values: "2x9 60+60x600"}
      - {series: 'ward_report_age_seconds{source="agent"}', values: "4x600"}
      - {series: 'ward_findings_open{severity="high"}', values: "0x9 1x600"}
      - {series: 'ward_findings_open{severity="medium"}', values: "5x600"}
      - {series: 'ward_queue_length{source="agent",queue="spool"}', values: "9x9 5000x600"}
      - {series: 'ward_queue_length{source="agent",queue="ring"}', values: "5000x600"}
      - {series: 'ward_notifications_given_up_total', values: "0x9 2x600"}
      - {series: 'ward_log_lines_lost_total', values: "0x9 7x600"}
    alert_rule_test:
      - {eval_time: 9m, alertname: WardPartSilent, exp_alerts: []}
      - {eval_time: 9m, alertname: WardFindingOpen, exp_alerts: []}
      - {eval_time: 9m, alertname: WardQueueGrows, exp_alerts: []}
      - {eval_time: 9m, alertname: WardNotificationsGivenUp, exp_alerts: []}
      - eval_time: 12m
        alertname: WardPartSilent
        exp_alerts:
          - exp_labels: {severity: page, source: gateway}
            exp_annotations: {summary: "Ward's gateway hasn't reported for 3m 0s", description: "It is frozen, gone, or cut off from control. What it counts now isn't seen."}
      - eval_time: 12m
        alertname: WardFindingOpen
        exp_alerts:
          - exp_labels: {severity: page}
            exp_annotations: {summary: "1 open finding of severity high or critical", description: "` + "`" + `ward findings` + "`" + ` says what, why, and what was done."}
      - eval_time: 16m
        alertname: WardQueueGrows
        exp_alerts:
          - exp_labels: {severity: ticket, source: agent, queue: spool}
            exp_annotations: {summary: "5000 wait in the spool queue of agent"}
      - eval_time: 12m
        alertname: WardNotificationsGivenUp
        exp_alerts:
          - exp_labels: {severity: page}
            exp_annotations: {summary: Notifications of findings were given up, description: "` + "`" + `ward notify status` + "`" + ` says which channel doesn't take them."}
      - eval_time: 12m
        alertname: WardLost
        exp_alerts:
          - exp_labels: {severity: ticket}
            exp_annotations: {summary: "Ward had no room for some of what it was to keep", description: "` + "`" + `ward top` + "`" + ` says of what."}
  - name: one of a thousand fails, and a service does what nobody declared
    interval: 1m
    input_series:
      - {series: 'ward_requests_total{source="agent",caller="web",target="catalog",route="GET /books",verdict="allow",class="2xx"}', values: "0+999x600"}
      - {series: 'ward_requests_total{source="agent",caller="web",target="catalog",route="GET /books",verdict="allow",class="5xx"}', values: "0+1x600"}
      - {series: 'ward_requests_total{source="agent",caller="web",target="db",route="undeclared",verdict="deny",class="4xx"}', values: "0+1x600"}
      - {series: 'ward_requests_total{source="agent",caller="GATEWAY",target="web",route="undeclared",verdict="deny",class="4xx"}', values: "0+1x600"}
      - {series: 'ward_identity_expiry_timestamp_seconds{service="web"}', values: "5400x600"}
    alert_rule_test:
      - {eval_time: 80m, alertname: WardErrorBudgetBurnsFast, exp_alerts: []}
      - eval_time: 80m
        alertname: WardUndeclaredCall
        exp_alerts:
          - exp_labels: {severity: page, caller: web, target: db}
            exp_annotations: {summary: "web asked db for what ward.yaml doesn't grant", description: "A service does what nobody declared. It was refused. ` + "`ward audit --kind request.denied`" + ` shows what it asked for, and which line would allow it."}
      - {eval_time: 79m, alertname: WardIdentityEnds, exp_alerts: []}
      - eval_time: 88m
        alertname: WardIdentityEnds
        exp_alerts:
          - exp_labels: {severity: page, service: web}
            exp_annotations: {summary: "The certificate of web ends in 2m 0s, and wasn't renewed", description: "Identities are renewed at half of their life. Control is away, or can't sign."}
      - eval_time: 10m
        alertname: WardSilent
        exp_alerts:
          - exp_labels: {severity: page}
            exp_annotations: {summary: Ward tells nothing, description: "Either it doesn't run, or nobody scrapes it; gateway and agents go on with their last plan."}
`
