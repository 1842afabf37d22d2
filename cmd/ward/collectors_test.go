package main

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
)

// toyCollector takes OTLP with the protocol's own messages.
type toyCollector struct {
	mu      sync.Mutex
	down    int             // guarded by mu: so many requests are answered 503
	wrong   string          // guarded by mu: the first request that isn't as it should be
	metrics map[string]bool // guarded by mu: by name
	spans   []string        // guarded by mu: "trace service route"
}

func (c *toyCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down--; c.down >= 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if err := c.take(r); err != nil && c.wrong == "" {
		c.wrong = fmt.Sprint(r.Method, " ", r.URL, " ", r.Header, ": ", err)
	}
}

func (c *toyCollector) take(r *http.Request) error {
	zip, err := gzip.NewReader(r.Body)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(zip)
	if err != nil {
		return err
	}
	read, ids := proto.Unmarshal, hex.EncodeToString
	if r.Header.Get("Content-Type") == "application/json" {
		read, ids = protojson.Unmarshal, base64.StdEncoding.EncodeToString // as OTLP's hex is read there
	}
	if r.Header.Get("Api-Key") != "of the team" {
		return fmt.Errorf("no key")
	}
	switch r.URL.Path {
	case "/otlp/v1/metrics":
		var m metricspb.MetricsData
		if err := read(b, &m); err != nil {
			return err
		}
		for _, x := range m.ResourceMetrics[0].ScopeMetrics[0].Metrics {
			c.metrics[x.Name] = true
		}
	case "/otlp/v1/traces":
		var m tracepb.TracesData
		if err := read(b, &m); err != nil {
			return err
		}
		for _, x := range m.ResourceSpans {
			for _, s := range x.ScopeSpans[0].Spans {
				c.spans = append(c.spans, ids(s.TraceId)+" "+x.Resource.Attributes[0].Value.GetStringValue()+" "+s.Name)
			}
		}
	default:
		return fmt.Errorf("not a path of OTLP")
	}
	return nil
}

// has tells whether a metric and a refusal's span have come.
func (c *toyCollector) has(t *testing.T, trace string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wrong != "" {
		t.Fatal(c.wrong)
	}
	all := strings.Join(c.spans, "\n")
	return c.metrics["ward_build_info"] && c.metrics["ward_ledger_records"] && strings.Contains(all, trace+" catalog undeclared") && strings.Contains(all, trace+" ward-gateway GET /call")
}

// TestCollectorsGetMetricsAndTraces sends to two of them, one of which is down at first; only control's way out leads there.
func TestCollectorsGetMetricsAndTraces(t *testing.T) {
	t.Parallel()
	binary, text := &toyCollector{metrics: map[string]bool{}}, &toyCollector{metrics: map[string]bool{}, down: 2}
	a, b := httptest.NewServer(binary), httptest.NewServer(text)
	defer a.Close()
	defer b.Close()
	yaml := twoServices + fmt.Sprintf("watch:\n  otlp:\n  - {endpoint: \"%s/otlp\", headers_file: key.txt}\n  - {endpoint: \"%s/otlp/\", format: json, headers_file: key.txt}\n", a.URL, b.URL)
	w := wardtest.Start(t, yaml, func(c *up.Config) {
		if err := os.WriteFile(filepath.Join(filepath.Dir(c.File), "key.txt"), []byte("# the team's\nApi-Key: of the team\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	r, err := http.NewRequest(http.MethodGet, w.URL+"/call?pass=Traceparent&url=http://catalog:8080/admin", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Traceparent", "00-"+trace+"-00f067aa0ba902b7-00")
	answer, err := wardtest.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	for name, c := range map[string]*toyCollector{"protobuf": binary, "JSON": text} {
		wardtest.Eventually(t, name+" has come", func() bool { return c.has(t, trace) })
	}
	wardtest.Eventually(t, "it is counted what was sent, and what failed", func() bool {
		_, metrics, _ := say("metrics", "-f", w.File)
		_, sent, _ := strings.Cut(metrics, `ward_export_sent_total{endpoint="`+a.Listener.Addr().(*net.TCPAddr).String()+`",signal="traces"} `)
		_, failed, _ := strings.Cut(metrics, `ward_export_failed_total{endpoint="`+b.Listener.Addr().(*net.TCPAddr).String()+`",signal="metrics"} `)
		return sent != "" && sent[0] > '0' && failed != "" && failed[0] > '0'
	})
	if log := w.Log.String(); !strings.Contains(log, "a collector doesn't take what Ward sends") || !strings.Contains(log, "a collector takes what Ward sends again") || strings.Contains(log, "of the team") {
		t.Error(log)
	}
}

func TestTheExamplesForCollectorsAreRight(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/watch-otlp.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(examples) < 8 {
		t.Errorf("%d examples", len(examples))
	}
	for _, x := range examples {
		file := filepath.Join(t.TempDir(), "ward.yaml")
		if err := os.WriteFile(file, append([]byte("app: a\nservices: {s: {run: x}}\n"), x[1]...), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := wardtest.Load(file); err != nil {
			t.Errorf("%s%v", x[1], err)
		}
	}
}
