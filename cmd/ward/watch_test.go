package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// TestEveryRequestIsCounted asks a running application, and reads what was counted at both places.
func TestEveryRequestIsCounted(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, twoServices, nil)
	for range 3 {
		w.Get("/call?url=http://catalog:8080/books/1&url=http://catalog:8080/admin")
	}
	for _, path := range []string{"/invented/1", "/invented/2", "/invented/3", "/invented/4"} {
		w.Get(path)
	}
	want := map[telemetry.Label]uint64{
		{Caller: "GATEWAY", Target: "web", Route: "GET /call", Verdict: telemetry.Allowed}:         3,
		{Caller: "web", Target: "catalog", Route: "GET /books/**", Verdict: telemetry.Allowed}:     3,
		{Caller: "web", Target: "catalog", Route: telemetry.Undeclared, Verdict: telemetry.Denied}: 3,
		{Caller: "GATEWAY", Target: "", Route: telemetry.Undeclared, Verdict: telemetry.Denied}:    4,
	}
	wardtest.Eventually(t, "all requests are counted", func() bool {
		_, out, _ := say("top", "--json", "-f", w.File)
		var top now
		if err := json.Unmarshal([]byte(out), &top); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		all := top.Edges
		got := map[telemetry.Label]uint64{}
		for i := range all {
			got[all[i].Label] += all[i].Total
		}
		for label, n := range want {
			if label.Caller == "GATEWAY" && label.Verdict == telemetry.Allowed {
				n *= 2 // by the gateway and by the agent
			}
			if got[label] != n {
				return false
			}
		}
		return true
	})
	code, out, errs := say("top", "--once", "-f", w.File)
	if code != 0 || !regexp.MustCompile(`(?m)^deny +web +catalog +undeclared `).MatchString(out) || strings.Contains(out, "invented") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if code, out, errs := say("history", "--since", "15m", "-f", w.File); code != 0 || !strings.Contains(out, "requests of the last 15m0s, 15s a column") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if code, out, errs := say("history", "--since", "400h", "-f", w.File); code != 0 || !strings.Contains(out, "a column is shown when its time is over") {
		t.Errorf("history of columns that aren't over: %d %s %s", code, out, errs)
	}
	if code, _, errs := say("history", "--since", "1s", "-f", w.File); code == 0 || !strings.Contains(errs, "steps of 15 s or longer") {
		t.Errorf("%d %s", code, errs)
	}
	metrics := ""
	wardtest.Eventually(t, "processes and certificates are known", func() bool {
		_, metrics, _ = say("metrics", "-f", w.File)
		return strings.Contains(metrics, "\nward_process_resident_memory_bytes{") && strings.Contains(metrics, "\nward_identity_expiry_timestamp_seconds{")
	})
	for _, line := range []string{
		`ward_requests_total{source="agent",caller="web",target="catalog",route="GET /books/**",verdict="allow",class="2xx"} 3`,
		`ward_requests_total{source="gateway",caller="GATEWAY",target="",route="undeclared",verdict="deny",class="4xx"} 4`,
		`ward_report_age_seconds{source="gateway"} `, `ward_queue_length{source="agent",queue="spool"} 0`, `ward_queue_length{source="gateway",queue="ring"} `,
		`ward_findings_open{severity="critical"} 0`, `ward_answers{kind="block"} `, `ward_notifications_given_up_total 0`, `ward_ledger_dropped_total 0`,
		`ward_process_resident_memory_bytes{service="catalog",replica="0"} `, `ward_identity_expiry_timestamp_seconds{service="web"} `,
	} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("missing: %s in\n%s", line, metrics)
		}
	}
	if strings.Contains(metrics, "invented") {
		t.Error("a stranger's path became a label")
	}
	c := exec.CommandContext(t.Context(), need.Program(t, "promtool"), "check", "metrics")
	c.Stdin = strings.NewReader(metrics)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

func TestMetricsAreServedToThisMachineAlone(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, twoServices, nil)
	if code, _, errs := say("metrics", "--listen", "0.0.0.0:0", "-f", w.File); code != 2 || !strings.Contains(errs, "an address of this machine alone") {
		t.Errorf("%d %s", code, errs)
	}
	ctx, stop := context.WithCancel(t.Context())
	r, errs := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		root := newRoot(cli.Env{In: strings.NewReader(""), Out: io.Discard, Err: errs})
		root.SetArgs([]string{"metrics", "--listen", "127.0.0.1:0", "-f", w.File})
		_ = root.ExecuteContext(ctx)
	}()
	defer func() { stop(); <-done }()
	line := make([]byte, 200)
	n, err := r.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(strings.TrimPrefix(string(line[:n]), "metrics at "))
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/openmetrics-text") || !strings.HasSuffix(b.String(), "# EOF\n") {
		t.Errorf("%v %s %.300s", err, resp.Header.Get("Content-Type"), b.String())
	}
	if other, err := http.Get(strings.TrimSuffix(url, "metrics")); err != nil || other.StatusCode != 404 {
		t.Errorf("%v %v", other, err)
	}
	for host, want := range map[string]int{"rebound.example:9464": 421, "localhost.example": 421, "": 421, "localhost": 200, "[::1]:9464": 200} {
		conn, err := net.Dial("tcp", req.URL.Host)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "GET /metrics HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host) // an error shows below
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != want {
			t.Errorf("asked as %q: %v %v", host, resp, err)
		}
		conn.Close()
	}
}

// TestATraceGoesThrough sees that a service gets a traceparent of its own hop, in the trace that the caller named.
func TestATraceGoesThrough(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, twoServices, nil)
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	req, err := http.NewRequest(http.MethodGet, w.URL+"/call?pass=Traceparent&url=http://catalog:8080/books/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Traceparent", parent)
	resp, err := wardtest.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var a wardtest.Answer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || len(a.Header["Traceparent"]) != 1 {
		t.Fatalf("%v %+v", err, a)
	}
	web := a.Header["Traceparent"][0]
	catalog := regexp.MustCompile(`"Traceparent":\["([^"]+)"\]`).FindStringSubmatch(a.Called["http://catalog:8080/books/1"])
	if catalog == nil {
		t.Fatalf("%s", a.Called)
	}
	for _, got := range []string{web, catalog[1]} {
		if got[:36] != parent[:36] || got[36:52] == parent[36:52] || got[53:] != "01" {
			t.Errorf("%s after %s", got, parent)
		}
	}
	if web == catalog[1] {
		t.Error("two hops, one span")
	}
	if _, a := w.Get("/"); len(a.Header["Traceparent"]) != 1 {
		t.Errorf("no trace begins at the edge: %v", a.Header)
	}
}

// TestARefusedCallLeavesItsWholeTrace follows a request from outside to the call that was refused on its way.
func TestARefusedCallLeavesItsWholeTrace(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, twoServices, nil)
	const parent = "00-0af7651916cd43dd8448eb211c80319%d-b7ad6b7169203331-00"
	ask := func(n int, path string) {
		req, err := http.NewRequest(http.MethodGet, w.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Traceparent", fmt.Sprintf(parent, n))
		resp, err := wardtest.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	ask(1, "/call?pass=Traceparent&url=http://catalog:8080/admin")
	ask(2, "/call?pass=Traceparent&url=http://catalog:8080/books/1") // nothing to see
	ask(3, "/slow?ms=1100")
	id := fmt.Sprintf(parent, 1)[3:35]
	var all []telemetry.SpanRecord
	wardtest.Eventually(t, "the trace is whole", func() bool {
		all = nil
		_, out, _ := say("traces", id, "--json", "-f", w.File)
		return json.Unmarshal([]byte(out), &all) == nil && len(all) == 3
	})
	byParent := map[telemetry.SpanID]telemetry.SpanRecord{}
	for _, s := range all {
		byParent[s.Parent] = s
	}
	var first telemetry.SpanID
	if err := first.UnmarshalText([]byte("b7ad6b7169203331")); err != nil {
		t.Fatal(err)
	}
	edge := byParent[first]
	inbound := byParent[edge.ID]
	refused := byParent[inbound.ID]
	if edge.Source != "gateway" || inbound.Label.Target != "web" || refused.Label.Caller != "web" || refused.Label.Verdict != telemetry.Denied || refused.Status != 403 {
		t.Errorf("%+v", all)
	}
	if code, out, errs := say("traces", id, "-f", w.File); code != 0 || !regexp.MustCompile(`(?m)^    web → catalog undeclared +deny +403 `).MatchString(out) {
		t.Errorf("%d %s %s", code, out, errs)
	}
	wardtest.Eventually(t, "the slow one is kept", func() bool {
		_, out, _ := say("traces", "-f", w.File, "--slower", "1s")
		return strings.Contains(out, fmt.Sprintf(parent, 3)[3:35])
	})
	if _, out, _ := say("traces", "-f", w.File); !strings.Contains(out, id) || strings.Contains(out, fmt.Sprintf(parent, 2)[3:35]) {
		t.Errorf("%s", out)
	}
	if _, out, _ := say("traces", "--refused", "--service", "lonely", "-f", w.File); strings.Contains(out, id) {
		t.Errorf("lonely had no part in it: %s", out)
	}
	if code, _, errs := say("traces", strings.Repeat("a", 32), "-f", w.File); code == 0 || !strings.Contains(errs, "no such trace is kept") {
		t.Errorf("%d %s", code, errs)
	}
	if code, _, errs := say("traces", "x", "-f", w.File); code != 2 || !strings.Contains(errs, "32 digits") {
		t.Errorf("%d %s", code, errs)
	}
}
