package otlp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/wardhq/ward/internal/cap/watch/internal/exposition"
	"github.com/wardhq/ward/internal/telemetry"
)

var (
	born = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

func state() *exposition.State {
	m := telemetry.NewMeter(born)
	allowed := m.Series(telemetry.Label{Caller: "web", Target: "catalog", Route: `GET /"books"/**`, Verdict: telemetry.Allowed})
	for _, took := range []time.Duration{3 * time.Microsecond, 40 * time.Microsecond, time.Millisecond, 1024 * time.Microsecond, 70 * time.Millisecond, 3 * time.Minute} {
		allowed.Count(200, 100, 2000, took)
	}
	allowed.Count(503, 0, 0, time.Second)
	m.Series(telemetry.Label{Caller: "web", Target: "catalog", Route: telemetry.Undeclared})
	read := m.Read("agent", noon)
	read.Queues = []telemetry.Queue{{Name: "ring", Length: 12}}
	read.Apps = telemetry.AppCounts{{Service: "web", Taken: 9, Lost: 4, Refused: 3}}
	return &exposition.State{
		Version: "v1.2.3", Snapshots: []telemetry.Snapshot{read}, AppsLost: []telemetry.AppCount{{Service: "web", Lost: 6}}, Events: 77, SpansLost: 5, Start: born,
		Processes:  []exposition.Process{{Service: "web", Replica: 1, CPU: 1500 * time.Millisecond, Memory: 1 << 20, Restarts: 2, Start: born}},
		Identities: []exposition.Identity{{Service: "web", Ends: noon}},
		Exports:    []exposition.Export{{Endpoint: "collector.example", Signal: "traces", Sent: 7, Dropped: 2, Failed: 1}},
		Own: exposition.Own{
			Findings: map[string]int{"high": 2, "low": 0}, Answers: map[string]int{"block": 3}, Ages: map[string]time.Duration{"gateway": 7 * time.Second},
			Queues: []exposition.Queue{{Name: "export", Length: 4}}, Lines: 1, Calls: 2, Notifications: 3,
		},
	}
}

func labels(all []*common.KeyValue, more ...string) string {
	var out []string
	for _, kv := range all {
		out = append(out, kv.Key+"="+strconv.Quote(kv.Value.GetStringValue()))
	}
	if out = append(out, more...); len(out) == 0 {
		return ""
	}
	return "{" + strings.Join(out, ",") + "}"
}

// lines are what Prometheus would make of metrics.
func lines(m *metricspb.MetricsData) (out []string) {
	value := func(p *metricspb.NumberDataPoint) string {
		if i, ok := p.Value.(*metricspb.NumberDataPoint_AsInt); ok {
			return strconv.FormatInt(i.AsInt, 10)
		}
		return strconv.FormatFloat(p.GetAsDouble(), 'f', -1, 64)
	}
	for _, x := range m.ResourceMetrics[0].ScopeMetrics[0].Metrics {
		for _, p := range x.GetGauge().GetDataPoints() {
			out = append(out, x.Name+labels(p.Attributes)+" "+value(p))
		}
		for _, p := range x.GetSum().GetDataPoints() {
			out = append(out, x.Name+"_total"+labels(p.Attributes)+" "+value(p))
		}
		for _, p := range x.GetHistogram().GetDataPoints() {
			var n uint64
			for i, c := range p.BucketCounts {
				le := "+Inf"
				if n += c; i < len(p.ExplicitBounds) {
					le = strconv.FormatFloat(p.ExplicitBounds[i], 'g', -1, 64)
				}
				out = append(out, fmt.Sprintf("%s_bucket%s %d", x.Name, labels(p.Attributes, "le="+strconv.Quote(le)), n))
			}
			out = append(out, x.Name+"_sum"+labels(p.Attributes)+" "+strconv.FormatFloat(p.GetSum(), 'f', -1, 64), fmt.Sprintf("%s_count%s %d", x.Name, labels(p.Attributes), p.Count))
		}
	}
	slices.Sort(out)
	return out
}

func TestMetricsAreThoseOfTheExposition(t *testing.T) {
	m, points := Metrics(state(), Origin{Namespace: "shop.example"}, noon)
	var page bytes.Buffer
	if err := exposition.Write(&page, state(), exposition.Text); err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc(strings.Split(strings.TrimSpace(page.String()), "\n"), func(s string) bool { return strings.HasPrefix(s, "#") })
	slices.Sort(want)
	got := lines(m)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if points != 37 {
		t.Errorf("%d points", points)
	}
	if got := labels(m.ResourceMetrics[0].Resource.Attributes); got != `{service.name="ward",service.namespace="shop.example",telemetry.sdk.name="ward"}` {
		t.Error(got)
	}
}

// TestCountsSaySinceWhen: without it a collector takes the first value of a count for all that ever was.
func TestCountsSaySinceWhen(t *testing.T) {
	m, _ := Metrics(state(), Origin{}, noon)
	since := map[string]uint64{}
	for _, x := range m.ResourceMetrics[0].ScopeMetrics[0].Metrics {
		if s := x.GetSum(); s != nil {
			if s.AggregationTemporality != metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE || !s.IsMonotonic {
				t.Errorf("%s isn't a cumulative count", x.Name)
			}
			since[x.Name] = s.DataPoints[0].StartTimeUnixNano
		}
		if h := x.GetHistogram(); h != nil {
			since[x.Name] = h.DataPoints[0].StartTimeUnixNano
		}
	}
	for _, name := range []string{"ward_requests", "ward_request_bytes", "ward_request_duration_seconds", "ward_records_lost", "ward_process_cpu_seconds", "ward_export_sent"} {
		if since[name] != uint64(born.UnixNano()) {
			t.Errorf("%s counts since %d", name, since[name])
		}
	}
}

func spans() []telemetry.SpanRecord {
	trace, at := telemetry.TraceID{0xab, 1, 15: 0xff}, noon.UnixNano()
	return []telemetry.SpanRecord{
		{Trace: trace, ID: telemetry.SpanID{1, 7: 0xee}, Source: "gateway", Label: telemetry.Label{Caller: "GATEWAY", Target: "web", Route: "GET /", Verdict: telemetry.Allowed}, Start: at, Took: time.Second, Status: 200},
		{Trace: trace, ID: telemetry.SpanID{2}, Parent: telemetry.SpanID{1, 7: 0xee}, Source: "agent", Label: telemetry.Label{Caller: "web", Target: "catalog", Route: "undeclared"}, Start: at, Took: 5, Status: 403, In: 3, Out: 4},
		{Trace: trace, ID: telemetry.SpanID{3}, Parent: telemetry.SpanID{1, 7: 0xee}, Source: "agent", Label: telemetry.Label{Caller: "web", Target: "catalog", Route: "GET /books", Verdict: telemetry.Failed}, Start: at, Took: 5},
		{Trace: trace, ID: telemetry.SpanID{4}, Source: "agent", Label: telemetry.Label{Caller: "web", Route: "undeclared"}, Start: at, Took: 5, Status: 500},
	}
}

func TestSpansTellWhoAskedWhomAndWhatCameOfIt(t *testing.T) {
	var got []string
	for _, r := range Traces(spans(), Origin{Namespace: "shop.example"}, Protobuf).ResourceSpans {
		for _, s := range r.ScopeSpans[0].Spans {
			var all []string
			for _, kv := range s.Attributes {
				v := kv.Value.GetStringValue()
				if _, ok := kv.Value.Value.(*common.AnyValue_IntValue); ok {
					v = fmt.Sprint(kv.Value.GetIntValue())
				}
				all = append(all, kv.Key+"="+v)
			}
			if s.StartTimeUnixNano != uint64(noon.UnixNano()) || s.EndTimeUnixNano <= s.StartTimeUnixNano || hex.EncodeToString(s.TraceId) != "ab0100000000000000000000000000ff" {
				t.Error(s)
			}
			got = append(got, fmt.Sprintf("%s | %s %s %x<%x %s | %s", r.Resource.Attributes[0].Value.GetStringValue(), s.Name, s.Kind, s.SpanId, s.ParentSpanId, s.Status.Code, strings.Join(all, " ")))
		}
	}
	want := []string{
		"ward-gateway | GET / SPAN_KIND_SERVER 01000000000000ee< STATUS_CODE_UNSET | http.route=GET / ward.caller=GATEWAY ward.target=web ward.verdict=allow ward.source=gateway http.request.body.size=0 http.response.body.size=0 http.response.status_code=200",
		"catalog | undeclared SPAN_KIND_SERVER 0200000000000000<01000000000000ee STATUS_CODE_UNSET | http.route=undeclared ward.caller=web ward.target=catalog ward.verdict=deny ward.source=agent http.request.body.size=3 http.response.body.size=4 http.response.status_code=403",
		"catalog | GET /books SPAN_KIND_SERVER 0300000000000000<01000000000000ee STATUS_CODE_ERROR | http.route=GET /books ward.caller=web ward.target=catalog ward.verdict=fail ward.source=agent http.request.body.size=0 http.response.body.size=0",
		"ward-agent | undeclared SPAN_KIND_SERVER 0400000000000000< STATUS_CODE_ERROR | http.route=undeclared ward.caller=web ward.target= ward.verdict=deny ward.source=agent http.request.body.size=0 http.response.body.size=0 http.response.status_code=500",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestJSONIsWhatTheSpecificationSays: IDs in hex, numbers of enums, field names in lower camel case, 64-bit numbers in quotes (OTLP 1.x, "JSON
// Protobuf Encoding").
func TestJSONIsWhatTheSpecificationSays(t *testing.T) {
	b, err := marshal(Traces(spans()[:2], Origin{}, JSON), JSON)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		ResourceSpans []struct {
			ScopeSpans []struct{ Spans []map[string]any }
		}
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	s := got.ResourceSpans[1].ScopeSpans[0].Spans[0]
	delete(s, "attributes")
	want := map[string]any{
		"traceId": "ab0100000000000000000000000000ff", "spanId": "0200000000000000", "parentSpanId": "01000000000000ee", "name": "undeclared", "kind": 2.0,
		"startTimeUnixNano": fmt.Sprint(noon.UnixNano()), "endTimeUnixNano": fmt.Sprint(noon.UnixNano() + 5), "status": map[string]any{},
	}
	if d := cmp.Diff(want, s); d != "" {
		t.Error(d)
	}
}

// TestBothFormatsSayTheSame reads both with the protocol's own messages.
func TestBothFormatsSayTheSame(t *testing.T) {
	var fromBinary, fromJSON tracepb.TracesData
	binary, err := marshal(Traces(spans(), Origin{}, Protobuf), Protobuf)
	if err == nil {
		err = proto.Unmarshal(binary, &fromBinary)
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := marshal(Traces(spans(), Origin{}, JSON), JSON)
	if err == nil {
		err = protojson.Unmarshal(text, &fromJSON)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range fromBinary.ResourceSpans {
		for _, s := range r.ScopeSpans[0].Spans { // as protobuf's JSON reads hex
			s.TraceId, s.SpanId = id(s.TraceId, JSON), id(s.SpanId, JSON)
			if s.ParentSpanId != nil {
				s.ParentSpanId = id(s.ParentSpanId, JSON)
			}
		}
	}
	if d := cmp.Diff(&fromBinary, &fromJSON, protocmp.Transform()); d != "" {
		t.Error(d)
	}
}

func TestHeadersAreReadAndNeverShown(t *testing.T) {
	got, err := ParseHeaders([]byte("# of the team\nAPI-Key: s3cret\r\n\n x-scope : a:b \n"))
	if err != nil || got.Get("api-key") != "s3cret" || got.Get("X-Scope") != "a:b" || len(got) != 2 {
		t.Errorf("%v %v", got, err)
	}
	for name, file := range map[string]string{
		"no colon": "s3cret", "no name": ": s3cret", "a name with a space": "api key: s3cret", "a value with a control character": "a: s3cret\x00", "the host": "Host: s3cret",
		"framing": "Transfer-encoding: s3cret", "too many": strings.Join(func() (all []string) {
			for i := range 33 {
				all = append(all, fmt.Sprintf("n%d: s3cret", i))
			}
			return all
		}(), "\n"),
	} {
		if got, err := ParseHeaders([]byte(file)); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

func FuzzParseHeaders(f *testing.F) {
	f.Add([]byte("Api-Key: s3cret\n# no\nA: b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeaders(b)
		if err != nil {
			return
		}
		for name, values := range h {
			for _, v := range values {
				if name == "" || strings.ContainsAny(name+v, "\r\n\x00") || name == "Host" {
					t.Errorf("%q: %q", name, v)
				}
			}
		}
	})
}
