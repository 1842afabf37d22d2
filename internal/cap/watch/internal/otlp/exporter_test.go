package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/watch/internal/exposition"
	"github.com/wardhq/ward/internal/telemetry"
)

// collector answers requests in turn; the last answer holds for all that come after it.
type collector struct {
	answers []func() (*http.Response, error)
	came    []*http.Request
	at      []time.Duration // since the first one
	bodies  [][]byte
	began   time.Time
}

func (c *collector) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.came == nil {
		c.began = time.Now()
	}
	c.came, c.at = append(c.came, r), append(c.at, time.Since(c.began))
	zip, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(zip)
	if err != nil {
		return nil, err
	}
	c.bodies = append(c.bodies, b)
	resp, err := c.answers[min(len(c.came), len(c.answers))-1]()
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

func answer(status int, body string, header ...string) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		h := http.Header{}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func unreachable() (*http.Response, error) { return nil, errors.New("connection refused") }

// export runs an exporter of spans in a bubble of time of its own.
func export(t *testing.T, c *collector, do func(e *Exporter)) (exposition.Export, string) {
	t.Helper()
	var log bytes.Buffer
	var totals exposition.Export
	synctest.Test(t, func(t *testing.T) {
		e, err := New(Config{
			Endpoint: "https://collector.example/otlp", Signal: TracesSignal, Format: Protobuf, Headers: http.Header{"Api-Key": {"s3cret"}},
			Client: &http.Client{Transport: c}, Clock: clock.System{}, Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { e.Run(ctx); close(ended) }()
		do(e)
		synctest.Wait()
		totals = e.Totals()
		stop()
		<-ended
	})
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("the log holds a header:\n%s", &log)
	}
	return totals, log.String()
}

func many(n int) []telemetry.SpanRecord {
	return slices.Repeat(spans()[:1], n)
}

func TestARequestIsWhatCollectorsExpect(t *testing.T) {
	c := &collector{answers: []func() (*http.Response, error){answer(200, "")}}
	totals, _ := export(t, c, func(e *Exporter) { e.PutSpans(many(3)) })
	r := c.came[0]
	var m tracepb.TracesData
	if err := proto.Unmarshal(c.bodies[0], &m); err != nil || len(m.ResourceSpans[0].ScopeSpans[0].Spans) != 3 {
		t.Error(&m, err)
	}
	if r.Method != "POST" || r.URL.String() != "https://collector.example/otlp/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("Api-Key") != "s3cret" {
		t.Error(r.Method, r.URL, r.Header)
	}
	if want := (exposition.Export{Endpoint: "collector.example", Signal: "traces", Sent: 3}); totals != want {
		t.Error(totals)
	}
}

func TestWhatMayPassIsSentAgainAndSaidOnce(t *testing.T) {
	for name, bad := range map[string]func() (*http.Response, error){
		"429": answer(429, ""), "502": answer(502, ""), "503": answer(503, ""), "504": answer(504, ""), "unreachable": unreachable,
	} {
		t.Run(name, func(t *testing.T) {
			c := &collector{answers: []func() (*http.Response, error){bad, bad, bad, bad, answer(200, "")}}
			totals, log := export(t, c, func(e *Exporter) {
				e.PutSpans(many(3))
				time.Sleep(time.Minute)
			})
			if totals.Sent != 3 || totals.Failed != 4 || totals.Dropped != 0 || len(c.came) != 5 {
				t.Error(totals, c.at)
			}
			if strings.Count(log, "level=WARN") != 1 || strings.Count(log, "level=INFO") != 1 {
				t.Error(log)
			}
			for i, most := range []time.Duration{1, 2, 4, 8} {
				if d := c.at[i+1] - c.at[i]; d < most*time.Second/2 || d > most*time.Second {
					t.Errorf("%d waited %v", i, d)
				}
			}
		})
	}
}

func TestACollectorSaysHowLongToWait(t *testing.T) {
	for name, x := range map[string]struct {
		field string
		want  time.Duration
	}{
		"seconds": {"90", 90 * time.Second}, "a date": {time.Date(2000, 1, 1, 0, 2, 0, 0, time.UTC).Format(http.TimeFormat), 2 * time.Minute}, "far too long": {"99999999", 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			c := &collector{answers: []func() (*http.Response, error){answer(503, "", "Retry-After", x.field), answer(200, "")}}
			export(t, c, func(e *Exporter) {
				e.PutSpans(many(1))
				time.Sleep(time.Hour)
			})
			if len(c.at) != 2 || c.at[1] != x.want {
				t.Error(c.at)
			}
		})
	}
}

func TestWhatIsRefusedForGoodIsNotSentAgain(t *testing.T) {
	for _, status := range []int{302, 400, 401, 403, 404, 413, 500} {
		c := &collector{answers: []func() (*http.Response, error){answer(status, "", "Location", "https://elsewhere.example/")}}
		totals, log := export(t, c, func(e *Exporter) {
			e.PutSpans(many(3))
			time.Sleep(time.Hour)
		})
		if len(c.came) != 1 || totals.Dropped != 3 || totals.Failed != 1 || totals.Sent != 0 || strings.Count(log, "level=WARN") != 1 {
			t.Errorf("%d: %d %+v %s", status, len(c.came), totals, log)
		}
	}
}

func TestTheQueueDropsTheOldestAndCounts(t *testing.T) {
	c := &collector{answers: []func() (*http.Response, error){unreachable}}
	c.answers = append(c.answers, slices.Repeat(c.answers, 3)...)
	c.answers = append(c.answers, answer(200, ""))
	totals, _ := export(t, c, func(e *Exporter) {
		for range 20 {
			e.PutSpans(many(maxBatch))
		}
		e.mu.Lock()
		if e.queued != maxQueued || len(e.queue) != maxQueued/maxBatch {
			t.Errorf("%d spans in %d requests wait", e.queued, len(e.queue))
		}
		e.mu.Unlock()
		time.Sleep(time.Hour)
	})
	if totals.Sent != maxQueued || totals.Dropped != 20*maxBatch-maxQueued {
		t.Errorf("%+v", totals)
	}
}

// TestWhatMakesRoomWhileItIsSentIsCountedOnce: the oldest is under way when it is dropped.
func TestWhatMakesRoomWhileItIsSentIsCountedOnce(t *testing.T) {
	slow := func() (*http.Response, error) { time.Sleep(time.Second); return answer(200, "")() }
	c := &collector{answers: []func() (*http.Response, error){slow, answer(200, "")}}
	totals, _ := export(t, c, func(e *Exporter) {
		e.PutSpans(many(1))
		synctest.Wait()
		for range 17 {
			e.PutSpans(many(maxBatch))
		}
		time.Sleep(time.Minute)
	})
	if totals.Sent+totals.Dropped != 1+17*maxBatch || totals.Dropped != maxBatch {
		t.Errorf("%+v", totals)
	}
}

func TestOnlyTheNewestMetricsWait(t *testing.T) {
	c := &collector{answers: []func() (*http.Response, error){unreachable, answer(200, "")}}
	totals, _ := export(t, c, func(e *Exporter) {
		for range 5 {
			e.PutMetrics(&exposition.State{}, time.Now())
		}
		time.Sleep(time.Minute)
	})
	if len(c.came) != 2 || totals.Sent+totals.Dropped != 5*6 || totals.Sent != 6 {
		t.Errorf("%d %+v", len(c.came), totals)
	}
}

func TestARefusalOfAPartIsCountedAndSaidOnce(t *testing.T) {
	inner := protowire.AppendString(protowire.AppendTag(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 2), 2, protowire.BytesType), "too old\n")
	message := string(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), inner))
	for name, said := range map[string]func() (*http.Response, error){
		"protobuf": answer(200, message, "Content-Type", "application/x-protobuf"),
		"JSON":     answer(200, `{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old\n"}}`, "Content-Type", "application/json; charset=utf-8"),
		"a number": answer(200, `{"partialSuccess":{"rejectedDataPoints":2,"errorMessage":"too old\n"}}`, "Content-Type", "application/json"),
	} {
		t.Run(name, func(t *testing.T) {
			c := &collector{answers: []func() (*http.Response, error){said}}
			totals, log := export(t, c, func(e *Exporter) {
				for range 3 {
					e.PutSpans(many(5))
				}
			})
			if totals.Sent != 9 || totals.Dropped != 6 || totals.Failed != 0 || strings.Count(log, "level=WARN") != 1 || !strings.Contains(log, `refused=2 reason="too old\n"`) {
				t.Errorf("%+v %s", totals, log)
			}
		})
	}
}

func TestWhatACollectorSaysIsNotTrusted(t *testing.T) {
	for name, body := range map[string]string{
		"more than was sent": `{"partialSuccess":{"rejectedSpans":"9999999"}}`, "no JSON": "{", "a negative number": `{"partialSuccess":{"rejectedSpans":-7}}`,
	} {
		c := &collector{answers: []func() (*http.Response, error){answer(200, body, "Content-Type", "application/json")}}
		totals, _ := export(t, c, func(e *Exporter) { e.PutSpans(many(5)) })
		if totals.Sent > 5 || totals.Dropped > 5 || totals.Sent+totals.Dropped != 5 {
			t.Errorf("%s: %+v", name, totals)
		}
	}
}

// flood is an answer that is a thousand times too long.
type flood struct{ read int }

func (f *flood) Read(b []byte) (int, error) {
	if f.read += len(b); f.read > 1000*maxAnswer {
		return 0, io.EOF
	}
	return len(b), nil
}

func TestAnAnswerIsReadUpToALimit(t *testing.T) {
	var said flood
	c := &collector{answers: []func() (*http.Response, error){func() (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(&said)}, nil
	}}}
	export(t, c, func(e *Exporter) { e.PutSpans(many(1)) })
	if said.read > 2*maxAnswer {
		t.Errorf("%d bytes were read", said.read)
	}
}

func TestEndpointsAreURLs(t *testing.T) {
	var got []bool
	for _, s := range []string{"https://a.example", "http://127.0.0.1:4318/x", "a.example:4318", "ftp://a.example", "https://", "::"} {
		_, err := New(Config{Endpoint: s, Client: &http.Client{}})
		got = append(got, err == nil)
	}
	if d := cmp.Diff([]bool{true, true, false, false, false, false}, got); d != "" {
		t.Error(d)
	}
}
