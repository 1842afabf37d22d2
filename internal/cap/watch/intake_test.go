package watch

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/telemetry"
)

const (
	itsTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	foreign  = "11111111111111111111111111111111"
)

var at = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// spansJSON is a request with a span of each trace, which says that it is of billing.
func spansJSON(ids ...string) string {
	var all []string
	for i, id := range ids {
		all = append(all, fmt.Sprintf(`{"traceId":"%s","spanId":"%016x","name":"work","startTimeUnixNano":"%d","endTimeUnixNano":"%d","attributes":[{"key":"service.name","value":{"stringValue":"billing"}}]}`, id, i+1, at.UnixNano(), at.UnixNano()+7))
	}
	return `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"billing"}}]},"scopeSpans":[{"spans":[` + strings.Join(all, ",") + `]}]}]}`
}

func post(in *Intake, service, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v1/traces", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	in.Handler(service).ServeHTTP(w, r)
	return w
}

func hop(trace, caller, target string) telemetry.SpanRecord {
	r := telemetry.SpanRecord{Source: "agent", Label: telemetry.Label{Caller: caller, Target: target}}
	if err := r.Trace.UnmarshalText([]byte(trace)); err != nil {
		panic(err)
	}
	return r
}

func newIntake() (*Intake, *time.Time) {
	now := at.Add(time.Second)
	in := NewIntake(clock.Func(func() time.Time { return now }))
	in.SetFingerprints(leak.Make(nil))
	return in, &now
}

// what are spans as "service trace name".
func what(all []telemetry.SpanRecord) (out []string) {
	for i := range all {
		out = append(out, all[i].App.Service+" "+all[i].Trace.String()[:4]+" "+all[i].App.Name+" "+all[i].Label.Verdict.String())
	}
	return out
}

func TestAnApplicationsSpansGoWithTheHopsThatAreKept(t *testing.T) {
	in, now := newIntake()
	if w := post(in, "web", spansJSON(itsTrace)); w.Code != 200 || w.Body.String() != "{}" || w.Header().Get("Content-Type") != "application/json" {
		t.Fatal(w.Code, w.Body)
	}
	if got := in.Round(nil, *now); got != nil {
		t.Error("before anybody keeps the trace:", what(got))
	}
	// Who sent it is who it is of, whatever it says of itself.
	if d := cmp.Diff([]string{"web 4bf9 work allow"}, what(in.Round([]telemetry.SpanRecord{hop(itsTrace, "GATEWAY", "web")}, *now))); d != "" {
		t.Error(d)
	}
	post(in, "web", spansJSON(itsTrace)) // later, in the next batch
	if d := cmp.Diff([]string{"web 4bf9 work allow"}, what(in.Round(nil, *now))); d != "" {
		t.Error(d)
	}
	if got := in.Round([]telemetry.SpanRecord{hop(itsTrace, "GATEWAY", "web")}, *now); got != nil {
		t.Error("twice:", what(got))
	}
}

func TestAForeignTraceGetsNothing(t *testing.T) {
	in, now := newIntake()
	post(in, "web", spansJSON(itsTrace, foreign))
	// The trace is kept, but web had no part in it.
	if got := in.Round([]telemetry.SpanRecord{hop(foreign, "orders", "billing")}, *now); got != nil {
		t.Error(what(got))
	}
	*now = now.Add(heldFor + time.Second)
	in.Round(nil, *now)
	if got := in.Round([]telemetry.SpanRecord{hop(itsTrace, "GATEWAY", "web"), hop(foreign, "web", "billing")}, *now); got != nil || in.by["web"].bytes != 0 {
		t.Error("held for ever:", what(got), in.by["web"].bytes)
	}
	post(in, "web", spansJSON(itsTrace))
	*now = now.Add(keptFor + time.Second)
	if got := in.Round(nil, *now); got != nil || len(in.kept) != 0 {
		t.Error("kept for ever:", what(got))
	}
}

func TestAServiceThatFloodsLosesItsOwn(t *testing.T) {
	in, now := newIntake()
	post(in, "orders", spansJSON(itsTrace))
	one := strings.Repeat(","+foreign, 999)[1:]
	for range 10 {
		post(in, "web", spansJSON(strings.Split(one, ",")...))
	}
	if s := in.by["web"]; s.bytes > heldBytes || len(s.held) > heldBytes/spanBytes || s.count.Lost == 0 || s.count.Taken != 9990 || s.count.Lost != 9990-uint64(len(s.held)) {
		t.Errorf("%d bytes, %+v", s.bytes, s.count)
	}
	if got := in.Round([]telemetry.SpanRecord{hop(itsTrace, "web", "orders"), hop(foreign, "GATEWAY", "web")}, *now); len(got) != 1+maxLeaving/2 || got[0].App.Service != "orders" {
		t.Errorf("%d spans leave", len(got))
	}
	want := telemetry.AppCounts{{Service: "orders", Taken: 1}, {Service: "web", Taken: 9990, Lost: in.by["web"].count.Lost}}
	if d := cmp.Diff(want, in.Counts()); d != "" {
		t.Error(d)
	}
}

// TestReadingIsRationed: of good requests and of bad ones, for each service apart.
func TestReadingIsRationed(t *testing.T) {
	for name, x := range map[string]struct {
		body   string
		header []string
	}{"good ones": {spansJSON(itsTrace) + strings.Repeat(" ", 3<<20), nil}, "bombs": {zipped(t, 200<<20), []string{"Content-Encoding", "gzip"}}} {
		t.Run(name, func(t *testing.T) {
			in, now := newIntake()
			late := 0
			for range 20 {
				if post(in, "web", x.body, x.header...).Code == http.StatusTooManyRequests {
					late++
				}
			}
			if late < 16 || late > 18 {
				t.Errorf("%d of 20 were too many", late)
			}
			if w := post(in, "orders", spansJSON(itsTrace)); w.Code != 200 {
				t.Error("another service had to wait:", w.Code)
			}
			*now = now.Add(10 * time.Second)
			if w := post(in, "web", spansJSON(itsTrace)); w.Code != 200 {
				t.Error("for ever:", w.Code)
			}
		})
	}
}

func TestATimeThatCannotBeIsNotHeld(t *testing.T) {
	in, now := newIntake()
	*now = now.Add(-time.Hour)
	if post(in, "web", spansJSON(itsTrace)); in.by["web"].bytes != 0 || in.by["web"].count.Lost != 1 {
		t.Errorf("%+v", in.by["web"].count)
	}
}

func TestKeptTracesAreBounded(t *testing.T) {
	in, now := newIntake()
	var hops []telemetry.SpanRecord
	for i := range maxKept + 10 {
		hops = append(hops, hop(fmt.Sprintf("%032x", i+1), "GATEWAY", "web"))
	}
	if in.Round(hops, *now); len(in.kept) != maxKept {
		t.Error(len(in.kept))
	}
}

// TestABombIsNotUnpacked: what it takes is a few times the limit.
func TestABombIsNotUnpacked(t *testing.T) {
	in, _ := newIntake()
	bomb := zipped(t, 500<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	post(in, "web", bomb, "Content-Encoding", "gzip")
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 60<<20 {
		t.Errorf("%d MB", n>>20)
	}
}

// TestAServiceCannotMakeAReportTooLong: control would refuse it, with the hops of all that are in it.
func TestAServiceCannotMakeAReportTooLong(t *testing.T) {
	in, now := newIntake()
	var all []telemetry.SpanRecord
	for range 2 * maxLeaving {
		x := said("web", at, nil)
		for range telemetry.MaxAttributes {
			x.App.Attributes = append(x.App.Attributes, telemetry.Attribute{Key: "<<<", Value: strings.Repeat("<", 39)}) // six bytes each on the wire
		}
		all = append(all, x)
	}
	in.take("web", all)
	hop := telemetry.SpanRecord{Trace: telemetry.TraceID{1}, Label: telemetry.Label{Target: "web"}}
	b, err := json.Marshal(in.Round([]telemetry.SpanRecord{hop}, *now))
	if err != nil || len(b) < 1<<20 || len(b) > 4<<20 {
		t.Error(len(b), err)
	}
}

// zipped is a number of zeroes in gzip, in members of 1 MB at most (RFC 1952 §2.2), which are made once.
func zipped(t *testing.T, size int) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.CopyN(w, zeroes{}, int64(min(size, 1<<20))); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return strings.Repeat(b.String(), max(1, size>>20))
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestBadRequestsAreRefused(t *testing.T) {
	in, now := newIntake()
	for name, x := range map[string]struct {
		body   string
		header []string
		want   int
	}{
		"a gzip bomb":                {zipped(t, 200<<20), []string{"Content-Encoding", "gzip"}, 413},
		"empty gzip without end":     {strings.Repeat(zipped(t, 0), 250_000), []string{"Content-Encoding", "gzip"}, 413},
		"too long":                   {strings.Repeat(" ", 5<<20), nil, 413},
		"not gzip":                   {"{}", []string{"Content-Encoding", "gzip"}, 400},
		"torn gzip":                  {zipped(t, 1000)[:20], []string{"Content-Encoding", "gzip"}, 400},
		"another coding":             {"{}", []string{"Content-Encoding", "br"}, 415},
		"gzip twice":                 {"{}", []string{"Content-Encoding", "gzip, gzip"}, 415},
		"another type":               {"{}", []string{"Content-Type", "text/plain"}, 415},
		"no JSON":                    {"{", nil, 400},
		"no protobuf":                {"\x0a\xff", []string{"Content-Type", "application/x-protobuf"}, 400},
		"deep JSON":                  {strings.Repeat(`{"resourceSpans":[`, 10000), nil, 400},
		"protobuf in the place of…":  {spansJSON(itsTrace), []string{"Content-Type", "application/x-protobuf"}, 400},
		"a wrong ID among good ones": {spansJSON(itsTrace, "12"), nil, 200},
	} {
		w := post(in, "web", x.body, x.header...)
		*now = now.Add(time.Minute)
		if w.Code != x.want {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if x.want == 200 && !strings.Contains(w.Body.String(), `"rejectedSpans":"1"`) {
			t.Error(w.Body)
		}
	}
	if got := in.Counts(); len(got) != 1 || got[0].Taken != 1 || got[0].Refused != 12 {
		t.Error(got)
	}
	for _, path := range []string{"/v1/metrics", "/v1/logs", "/", "/v1/keys"} {
		w := httptest.NewRecorder()
		in.Handler("web").ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, http.NoBody))
		if w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// TestNothingIsTakenBeforeSecretsAreKnown: a service that sends again loses nothing by it.
func TestNothingIsTakenBeforeSecretsAreKnown(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/v1/traces", strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	NewIntake(clock.System{}).Handler("web").ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}
