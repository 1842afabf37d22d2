package exposition

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// state has a bit of everything, and names that try to begin lines.
func state() *State {
	m := telemetry.NewMeter(time.Unix(1_000_000, 0))
	allowed := m.Series(telemetry.Label{Caller: "web", Target: "catalog", Route: "GET /books/{id}", Verdict: telemetry.Allowed})
	for i := range 1000 {
		allowed.Count(200, 10, 2000, time.Duration(i)*100*time.Microsecond)
	}
	allowed.Count(502, 0, 0, time.Hour)
	m.Series(telemetry.Label{Caller: "orders", Target: "db", Route: "tcp", Verdict: telemetry.Allowed}).Count(200, 0, 0, 0)
	m.Series(telemetry.Label{Caller: "orders", Target: "db", Route: "tcp", Verdict: telemetry.Failed}).Count(502, 0, 0, 0)
	m.Series(telemetry.Label{Caller: "OUT", Target: "", Route: "x\"\\\n# HELP y", Verdict: telemetry.Denied}).Count(0, 0, 0, 0)
	return &State{
		Version: "1.0", Snapshots: []telemetry.Snapshot{m.Read("agent", time.Unix(1_000_010, 0)), {Source: "gateway", Lost: 7, Queues: []telemetry.Queue{{Name: "spool", Length: 9}}}}, Events: 12,
		Processes:  []Process{{Service: "web", CPU: 1500 * time.Millisecond, Memory: 64 << 20, Restarts: 2, Start: time.Unix(1_000_000, 5e8)}, {Service: "catalog"}},
		Own:        Own{Findings: map[string]int{"high": 2}, Ages: map[string]time.Duration{"gateway": 90 * time.Second}, Notifications: 3},
		Identities: []Identity{{Service: "web", Ends: time.Unix(1_003_600, 0)}},
	}
}

func page1(t *testing.T, form string) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, state(), form); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestBothForms(t *testing.T) {
	text, open := page1(t, Text), page1(t, OpenMetrics)
	for _, line := range []string{
		`ward_requests_total{source="agent",caller="web",target="catalog",route="GET /books/{id}",verdict="allow",class="2xx"} 1000`,
		`ward_requests_total{source="agent",caller="OUT",target="",route="x\"\\\n# HELP y",verdict="deny",class="none"} 1`,
		`ward_requests_total{source="agent",caller="web",target="catalog",route="GET /books/{id}",verdict="fail",class="5xx"} 0`,
		`ward_requests_total{source="agent",caller="orders",target="db",route="tcp",verdict="allow",class="5xx"} 0`,
		`ward_requests_total{source="agent",caller="orders",target="db",route="tcp",verdict="fail",class="5xx"} 1`,
		`ward_request_duration_seconds_count{source="agent",caller="web",target="catalog",route="GET /books/{id}",verdict="allow"} 1001`,
		`ward_records_lost_total{source="gateway"} 7`,
		`ward_queue_length{source="gateway",queue="spool"} 9`,
		`ward_findings_open{severity="high"} 2`,
		`ward_report_age_seconds{source="gateway"} 90`,
		`ward_notifications_given_up_total 3`,
		`ward_process_cpu_seconds_total{service="web",replica="0"} 1.5`,
		`ward_process_start_time_seconds{service="web",replica="0"} 1000000.5`,
		`ward_identity_expiry_timestamp_seconds{service="web"} 1003600`,
	} {
		if !strings.Contains(text, line+"\n") || !strings.Contains(open, line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
	if !strings.Contains(text, "# TYPE ward_requests_total counter\n") || !strings.Contains(open, "# TYPE ward_requests counter\n") || !strings.HasSuffix(open, "\n# EOF\n") || strings.Contains(text, "EOF") {
		t.Error("families")
	}
	if page1(t, Text) != text {
		t.Error("the same counts give other bytes")
	}
}

func TestBucketsGrowToTheCount(t *testing.T) {
	last, n := 0, 0
	for line := range strings.Lines(page1(t, Text)) {
		if !strings.HasPrefix(line, `ward_request_duration_seconds_bucket{source="agent",caller="web"`) {
			continue
		}
		var count int
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &count); err != nil || count < last {
			t.Fatalf("%s after %d (%v)", line, last, err)
		}
		last = count
		n++
	}
	if last != 1001 || n < 12 || n > 22 {
		t.Errorf("%d in the last of %d buckets", last, n)
	}
}

func TestNegotiation(t *testing.T) {
	for accept, want := range map[string]string{
		"": Text, "*/*": Text, "text/plain;version=0.0.4": Text, "application/openmetrics-text": OpenMetrics, "application/openmetrics-text;version=0.0.1;q=0.9,text/plain": Text,
		"application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2": OpenMetrics,
		"application/openmetrics-text;q=0.1,text/plain;q=0.9": Text, "application/openmetrics-text;q=x": Text, ";;;": Text,
	} {
		if got := Negotiate(accept); got != want {
			t.Errorf("%q: %s", accept, got)
		}
	}
}

func TestPromtoolFindsNothing(t *testing.T) {
	c := exec.CommandContext(t.Context(), need.Program(t, "promtool"), "check", "metrics")
	c.Stdin = strings.NewReader(page1(t, Text))
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// TestPrometheusScrapesBothForms lets the real one scrape, and asks it.
func TestPrometheusScrapesBothForms(t *testing.T) {
	program := need.Program(t, "prometheus")
	for _, form := range []string{Text, OpenMetrics} {
		t.Run(form, func(t *testing.T) {
			asked := make(chan string, 100)
			target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				select {
				case asked <- r.Header.Get("Accept"):
				default:
				}
				w.Header().Set("Content-Type", form)
				_ = Write(w, state(), form)
			}))
			defer target.Close()
			address := prometheus(t, program, strings.TrimPrefix(target.URL, "http://"))
			for range 2 {
				if accept := <-asked; form == OpenMetrics && Negotiate(accept) != OpenMetrics {
					t.Errorf("it asks for %q", accept)
				}
			}
			for query, want := range map[string]string{
				`up`: "1",
				`sum(ward_requests_total{verdict="allow"})`:                                             "1002",
				`sum(ward_request_duration_seconds_count)`:                                              "1004",
				`ward_process_resident_memory_bytes{service="web"}`:                                     "67108864",
				`histogram_quantile(0.5, ward_request_duration_seconds_bucket{caller="web"})>bool 0.04`: "1",
			} {
				if got := ask(t, address, query, want); got != want {
					t.Errorf("%s is %s, want %s", query, got, want)
				}
			}
		})
	}
}

// prometheus runs one that scrapes a target each second, and returns its address.
func prometheus(t *testing.T, program, target string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	dir := t.TempDir()
	config := fmt.Sprintf("scrape_configs:\n- job_name: ward\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  static_configs:\n  - targets: [%q]\n", target)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("%.4000s", said.String())
		}
	})
	return address
}

// ask repeats a query until its answer is as wanted, or for ten seconds.
func ask(t *testing.T, address, query, want string) (got string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		resp, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(query))
		if err != nil {
			continue // it is starting
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		var answer struct {
			Data struct {
				Result []struct{ Value [2]any }
			}
		}
		if err != nil || json.Unmarshal(b, &answer) != nil || len(answer.Data.Result) != 1 {
			got = string(b)
			continue
		}
		if got = fmt.Sprint(answer.Data.Result[0].Value[1]); got == want {
			return got
		}
	}
	return got
}

func BenchmarkWrite(b *testing.B) {
	m := telemetry.NewMeter(time.Unix(0, 0))
	for i := range 600 {
		s := m.Series(telemetry.Label{Caller: fmt.Sprint("caller", i%30), Target: fmt.Sprint("target", i%20), Route: fmt.Sprint("GET /", i), Verdict: telemetry.Allowed})
		for k := range 100 {
			s.Count(200, 1, 1, time.Duration(k)*time.Millisecond)
		}
	}
	s := &State{Snapshots: []telemetry.Snapshot{m.Read("agent", time.Unix(1, 0))}}
	b.ReportAllocs()
	for b.Loop() {
		if err := Write(io.Discard, s, Text); err != nil {
			b.Fatal(err)
		}
	}
}
