package telemetry

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestBucketsMeetTheirBounds(t *testing.T) {
	for i := range Buckets - 1 {
		b := Bound(i)
		if below, at := bucket(uint64((b-time.Microsecond)/time.Microsecond)), bucket(uint64(b/time.Microsecond)); below != i || at != i+1 {
			t.Fatalf("bucket %d ends at %v: below it is %d, at it %d", i, b, below, at)
		}
	}
	if bucket(1<<63) != Buckets-1 || Bound(Buckets-1) != 0 {
		t.Error("what is long has no bucket")
	}
}

func TestQuantilesAreNear(t *testing.T) {
	var h Histogram
	for i := range 10_000 {
		h.Observe(time.Duration(i+1) * 100 * time.Microsecond) // 0.1 ms to 1 s, even
	}
	d := h.Read()
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.9: 900 * time.Millisecond, 0.99: 990 * time.Millisecond} {
		if got := d.Quantile(q); got < want*7/8 || got > want*9/8 {
			t.Errorf("%v: %v, want %v", q, got, want)
		}
	}
	if d.Count() != 10_000 || d.Sum != 10_000*10_001/2*100 || (Durations{}).Quantile(0.5) != 0 {
		t.Errorf("%d, %d", d.Count(), d.Sum)
	}
	h.Observe(-time.Second)
	h.Observe(time.Hour)
	if top := h.Read().Quantile(1); top != Bound(Buckets-2) {
		t.Errorf("an hour is %v", top)
	}
	d.Add(h.Read())
	if d.Count() != 20_002 {
		t.Errorf("%d together", d.Count())
	}
}

func TestASeriesCountsOnce(t *testing.T) {
	m := NewMeter(time.Unix(1, 0))
	l := Label{"shop", "catalog", "GET /books", Allowed}
	a, b := m.Series(l), m.Series(l)
	if a != b {
		t.Fatal("two series of one label")
	}
	m.Series(Label{Caller: "shop", Verdict: Failed}) // counts nothing
	var c Call
	c.Begin(a, "", 0)
	if s := m.Read("agent", time.Unix(2, 0)); len(s.Samples) != 1 || s.Samples[0].Open != 1 {
		t.Errorf("%+v", s)
	}
	c.End(m, b, Ended{Status: 204, In: 10, Out: 20, Start: time.Unix(1, 0), Took: time.Millisecond})
	m.Ring.Drain(10, func(r *Record) {
		if r.Status != 204 || m.Label(r.Series) != l || r.Trace != c.Trace || r.Start != 1e9 {
			t.Errorf("%+v", r)
		}
	})
	a.Count(99, -1, -1, time.Millisecond)
	s := m.Read("agent", time.Unix(2, 0)).Samples[0]
	if s.Classes != [6]uint64{1, 0, 1, 0, 0, 0} || s.In != 10 || s.Out != 20 || s.Open != 0 || s.Requests() != 2 || s.Took.Count() != 2 {
		t.Errorf("%+v", s)
	}
	if Verdict(9).String() != "fail" || Denied.String() != "deny" {
		t.Error("words of verdicts")
	}
}

func TestARingLosesAndCounts(t *testing.T) {
	r := NewRing(3)
	for i := range 10 {
		r.Put(&Record{Status: uint16(i)})
	}
	if r.Lost() != 2 || r.Queued() != 8 {
		t.Errorf("%d lost, %d wait", r.Lost(), r.Queued())
	}
	var got []uint16
	if n := r.Drain(5, func(x *Record) { got = append(got, x.Status) }); n != 5 || got[0] != 0 || got[4] != 4 {
		t.Errorf("%d: %v", n, got)
	}
	r.Put(&Record{Status: 99})
	r.Drain(100, func(x *Record) { got = append(got, x.Status) })
	if len(got) != 9 || got[8] != 99 {
		t.Errorf("%v", got)
	}
}

func TestManyWriteToARing(t *testing.T) {
	r := NewRing(10)
	var all sync.WaitGroup
	const writers, each = 8, 20_000
	for w := range writers {
		all.Go(func() {
			for i := range each {
				r.Put(&Record{Series: uint32(w), Start: int64(i), In: int64(i), Out: int64(w)})
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	var n uint64
	last := [writers]int64{}
	drain := func() {
		n += uint64(r.Drain(500, func(x *Record) {
			if x.In != x.Start || x.Out != int64(x.Series) || x.Start < last[x.Series] {
				t.Errorf("torn or out of order: %+v", *x)
			}
			last[x.Series] = x.Start
		}))
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			drain()
		}
	}
	for before := n + 1; before != n; {
		before = n
		drain()
	}
	if n+r.Lost() != writers*each {
		t.Errorf("%d read, %d lost", n, r.Lost())
	}
}

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTraceContext(t *testing.T) {
	s := NewSpan(parent, 1)
	if !s.Sampled || s.Parent == (SpanID{}) || s.ID == s.Parent {
		t.Fatalf("%+v", s)
	}
	var p Parent
	if sent := p.Write(&s); !strings.HasPrefix(sent, parent[:36]) || sent[36:52] == parent[36:52] || sent[52:] != "-01" {
		t.Errorf("sent on: %s", sent)
	}
	if later := NewSpan("01-"+parent[3:]+"-more", 1); later.Trace != s.Trace {
		t.Error("a later version isn't understood")
	}
	for name, bad := range map[string]string{
		"nothing": "", "short": parent[:54], "upper case": strings.ToUpper(parent), "version ff": "ff" + parent[2:], "longer": parent + "-x", "no trace": "00-" + strings.Repeat("0", 32) + parent[35:],
		"no parent": parent[:36] + strings.Repeat("0", 16) + "-01", "no hex": strings.Replace(parent, "0af7", "0ag7", 1),
	} {
		if got := NewSpan(bad, 1); got.Trace == s.Trace || got.Trace == (TraceID{}) || got.Parent != (SpanID{}) || got.Sampled {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if two := NewSpan(parent, 2); two.Trace == s.Trace {
		t.Error("one of two fields counts")
	}
}

func FuzzNewSpan(f *testing.F) {
	f.Add(parent)
	f.Add("01-" + parent[3:] + "-x")
	f.Fuzz(func(t *testing.T, in string) {
		s := NewSpan(in, 1)
		if s.Trace == (TraceID{}) || s.ID == (SpanID{}) {
			t.Fatal("a span without an identity")
		}
		if of := TraceOf(in, 1); (of == "") != (s.Parent == SpanID{}) || of != "" && of != s.Trace.String() {
			t.Fatalf("%q is in trace %q, and %+v", in, of, s)
		}
		var p Parent
		again := NewSpan(p.Write(&s), 1)
		if again.Trace != s.Trace || again.Parent != s.ID || again.Sampled != s.Sampled {
			t.Fatalf("%+v became %+v", s, again)
		}
	})
}

func TestATailKeepsWholeTracesOfWhatMatters(t *testing.T) {
	now := time.Unix(1000, 0)
	m := NewMeter(now)
	ok, denied := m.Series(Label{"web", "catalog", "GET /", Allowed}), m.Series(Label{"web", "catalog", Undeclared, Denied})
	// put records the end of a request in a trace whose number isn't that of a sample.
	put := func(trace byte, s *Series, status uint16, took time.Duration) {
		m.Ring.Put(&Record{Span: Span{Trace: TraceID{0: trace, 15: 1}, ID: SpanID{trace}}, Series: s.number, Status: status, Took: took})
	}
	tail := NewTail(m, "agent")
	put(1, ok, 200, time.Millisecond)
	put(2, ok, 502, time.Millisecond)
	put(3, denied, 403, time.Millisecond)
	put(4, ok, 200, Slow)
	put(5, ok, 101, time.Hour) // a tunnel
	put(6, ok, 0, time.Hour)   // a connection at layer 4
	m.Ring.Put(&Record{Span: Span{Trace: TraceID{0: 7}}, Series: ok.number, Status: 200})
	numbers := func(spans []SpanRecord) (out []byte) {
		for _, s := range spans {
			out = append(out, s.Trace[0])
		}
		return out
	}
	spans, fresh := tail.Round(nil, now)
	if got := string(numbers(spans)); got != "\x02\x03\x04\x07" || len(fresh) != 3 {
		t.Errorf("%x leave, %v are wanted", got, fresh)
	}
	if spans[1].Label != denied.Label || spans[1].Source != "agent" || spans[1].Status != 403 {
		t.Errorf("%+v", spans[1])
	}
	put(2, ok, 200, time.Millisecond) // a later span of the trace that failed
	if spans, _ := tail.Round(nil, now.Add(time.Second)); string(numbers(spans)) != "\x02" {
		t.Errorf("%x", numbers(spans))
	}
	if spans, _ := tail.Round([]TraceID{{0: 1, 15: 1}}, now.Add(2*time.Second)); string(numbers(spans)) != "\x01" {
		t.Errorf("what is wanted elsewhere: %x", numbers(spans))
	}
	put(2, ok, 200, time.Millisecond)
	if spans, _ := tail.Round(nil, now.Add(time.Hour)); len(spans) != 0 {
		t.Errorf("an hour later: %x", numbers(spans))
	}
	for i := range 3 * tailRecords {
		m.Ring.Put(&Record{Span: Span{Trace: TraceID{0: byte(i), 1: byte(i >> 8), 15: 3}}, Series: denied.number})
		if i%1000 == 999 {
			if spans, fresh := tail.Round(nil, now.Add(2*time.Hour)); len(fresh) > tailWanted || len(spans) > tailSpans {
				t.Fatalf("%d spans, %d traces in a round", len(spans), len(fresh))
			}
		}
	}
	if tail.Skipped == 0 || len(tail.kept) != tailRecords {
		t.Errorf("%d skipped, %d kept", tail.Skipped, len(tail.kept))
	}
}

func FuzzUnmarshalText(f *testing.F) {
	f.Add(parent[3:35])
	f.Add(parent[36:52])
	f.Add("deny")
	f.Add("allowed")
	f.Fuzz(func(t *testing.T, in string) {
		var trace TraceID
		if trace.UnmarshalText([]byte(in)) == nil && trace.String() != in {
			t.Fatalf("%q is %s", in, trace)
		}
		var span SpanID
		if span.UnmarshalText([]byte(in)) == nil && span.String() != in {
			t.Fatalf("%q is %s", in, span)
		}
		var v Verdict
		if v.UnmarshalText([]byte(in)) == nil && v.String() != in {
			t.Fatalf("%q is %s", in, v)
		}
	})
}

func TestARequestAllocatesNothing(t *testing.T) {
	m := NewMeter(time.Now())
	s, c := m.Series(Label{"shop", "catalog", "GET /books", Allowed}), &Call{}
	if n := testing.AllocsPerRun(1000, func() { request(m, s, c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// request is all that a request costs.
func request(m *Meter, s *Series, c *Call) {
	if len(c.Begin(s, parent, 1)) != parentSize {
		panic("short")
	}
	c.End(m, s, Ended{Status: 200, Out: 1024, Took: 300 * time.Microsecond})
}

func BenchmarkRequest(b *testing.B) {
	m := NewMeter(time.Now())
	s, c := m.Series(Label{"shop", "catalog", "GET /books", Allowed}), &Call{}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		request(m, s, c)
		if i%1000 == 0 {
			m.Ring.Drain(1000, func(*Record) {})
		}
	}
}

func BenchmarkTail(b *testing.B) {
	m := NewMeter(time.Now())
	s, c, tail := m.Series(Label{"shop", "catalog", "GET /books", Allowed}), &Call{}, NewTail(m, "agent")
	for b.Loop() {
		for range 10_000 {
			c.Begin(s, "", 0)
			c.End(m, s, Ended{Status: 200, Took: time.Millisecond})
		}
		tail.Round(nil, time.Now())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/request")
}

func TestAListHasItsLimit(t *testing.T) {
	var s Snapshot
	if err := json.Unmarshal([]byte(`{"samples":[`+strings.Repeat("{},", MaxSamples)+`{}]}`), &s); err == nil || len(s.Samples) > 0 {
		t.Errorf("%d samples, %v", len(s.Samples), err)
	}
	for _, bad := range []string{`{"samples":{}}`, `{"samples":[1]}`, `{"samples":"x"}`} {
		if json.Unmarshal([]byte(bad), &s) == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	in := Snapshot{Source: "agent", Samples: Samples{{Label: Label{Caller: "web", Verdict: Allowed}, In: 1}}}
	b, err := json.Marshal(in)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil || len(s.Samples) != 1 || s.Samples[0].Label != in.Samples[0].Label {
		t.Errorf("%+v %v", s, err)
	}
	if err := json.Unmarshal([]byte(`{"samples":null}`), &s); err != nil || s.Samples != nil {
		t.Errorf("%+v %v", s, err)
	}
}

func FuzzUnmarshalJSON(f *testing.F) {
	f.Add([]byte(`[{"caller":"a"}]`))
	f.Add([]byte(`["0af7651916cd43dd8448eb211c80319c"]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var samples Samples
		var spans SpanRecords
		var ids TraceIDs
		_, _, _ = samples.UnmarshalJSON(b), spans.UnmarshalJSON(b), ids.UnmarshalJSON(b)
		if len(samples) > MaxSamples || len(spans) > MaxSpans || len(ids) > MaxSpans {
			t.Fatal("too long")
		}
	})
}
