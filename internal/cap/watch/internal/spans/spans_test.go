package spans

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/telemetry"
)

var day = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func span(trace byte, at time.Time, took time.Duration, v telemetry.Verdict, status uint16) telemetry.SpanRecord {
	return telemetry.SpanRecord{
		Trace: telemetry.TraceID{0: trace, 15: 1}, ID: telemetry.SpanID{trace}, Source: "agent", Start: at.UnixNano(), Took: took, Status: status,
		Label: telemetry.Label{Caller: "web", Target: "catalog", Route: "GET /", Verdict: v},
	}
}

func open(t *testing.T, l Limits) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "traces"), l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t *testing.T, s *Store, now time.Time, all ...telemetry.SpanRecord) {
	t.Helper()
	if err := s.Append(now, all); err != nil {
		t.Fatal(err)
	}
}

func TestATraceIsFoundWhole(t *testing.T) {
	s := open(t, Limits{Keep: 72 * time.Hour, Bytes: 1 << 20})
	put(t, s, day, span(1, day.Add(5*time.Millisecond), time.Millisecond, telemetry.Allowed, 502), span(2, day, time.Second, telemetry.Allowed, 200))
	put(t, s, day.Add(time.Hour), span(1, day, 10*time.Millisecond, telemetry.Allowed, 200), span(3, day.Add(time.Hour), 0, telemetry.Denied, 403))
	got, err := s.Trace(telemetry.TraceID{0: 1, 15: 1})
	if err != nil || len(got) != 2 || got[0].Took != 10*time.Millisecond || got[1].Status != 502 {
		t.Errorf("%+v %v", got, err)
	}
	if none, err := s.Trace(telemetry.TraceID{9}); err != nil || len(none) != 0 {
		t.Errorf("%v %v", none, err)
	}
	all, err := s.Recent(10, nil)
	if err != nil || len(all) != 3 || all[0].Trace[0] != 3 || all[0].Worst.Verdict != telemetry.Denied {
		t.Fatalf("%+v %v", all, err)
	}
	for _, x := range all {
		if x.Trace[0] == 1 && (x.Spans != 2 || x.Status != 502 || x.Took != 10*time.Millisecond || !x.Start.Equal(day)) {
			t.Errorf("%+v", x)
		}
	}
	refused, err := s.Recent(10, func(r *telemetry.SpanRecord) bool { return r.Label.Verdict == telemetry.Denied })
	if err != nil || len(refused) != 1 {
		t.Errorf("%+v %v", refused, err)
	}
	if few, err := s.Recent(1, nil); err != nil || len(few) != 1 {
		t.Errorf("%+v %v", few, err)
	}
}

func TestATornLineIsLeftOut(t *testing.T) {
	s := open(t, Limits{Keep: 72 * time.Hour, Bytes: 1 << 20})
	put(t, s, day, span(1, day, 0, telemetry.Allowed, 200))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(s.dir, prefix+day.Format(layout)+suffix)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	torn := string(b) + string(b[1:len(b)/2]) // a second line, half written
	long := "\n{" + strings.Repeat("x", 200<<10) + "\n"
	if err := os.WriteFile(name, []byte(torn+long+torn), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, s, day, span(2, day, 0, telemetry.Allowed, 200))
	all, err := s.Recent(10, nil)
	if err != nil || len(all) != 2 {
		t.Errorf("%+v %v", all, err)
	}
	if got, err := s.Trace(telemetry.TraceID{0: 2, 15: 1}); err != nil || len(got) != 1 {
		t.Errorf("%+v %v", got, err)
	}
}

func TestTheFolderStaysWithinItsBudget(t *testing.T) {
	s := open(t, Limits{Keep: 5 * time.Hour, Bytes: 1 << 20})
	for h := range 48 {
		now := day.Add(time.Duration(h) * time.Hour)
		put(t, s, now, span(byte(h+1), now, 0, telemetry.Allowed, 200))
	}
	names, err := s.files()
	if err != nil || len(names) != 6 {
		t.Errorf("%v %v", names, err)
	}
	s.limits.Bytes = 1000
	for h := range 20 {
		now := day.Add(time.Duration(100+h) * time.Hour / 10)
		for range 10 {
			put(t, s, now, span(7, now, 0, telemetry.Allowed, 200))
		}
	}
	put(t, s, day.Add(200*time.Hour), span(8, day, 0, telemetry.Allowed, 200))
	if names, err := s.files(); err != nil || len(names) > 2 {
		t.Errorf("%v %v", names, err)
	}
}

func TestAFloodWithinAnHourStaysWithinTheBudget(t *testing.T) {
	s := open(t, Limits{Keep: 72 * time.Hour, Bytes: 1 << 20})
	many := make([]telemetry.SpanRecord, 20)
	for i := range 1000 { // 5 MB
		for k := range many {
			many[k] = span(byte(i), day, 0, telemetry.Denied, 403)
		}
		put(t, s, day.Add(time.Duration(i)*time.Millisecond), many...)
	}
	names, err := s.files()
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, name := range names {
		st, err := os.Stat(filepath.Join(s.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		total += st.Size()
	}
	if total > 1<<20+1<<14 || total < 1<<19 {
		t.Errorf("%d bytes in %d files", total, len(names))
	}
}

func TestADiskThatIsFullEndsNothing(t *testing.T) {
	s := open(t, Limits{Keep: time.Hour, Bytes: 1 << 20})
	put(t, s, day, span(1, day, 0, telemetry.Allowed, 200))
	s.file.Close() // every write fails from now on
	if s.Append(day, []telemetry.SpanRecord{span(2, day, 0, telemetry.Allowed, 200)}) == nil {
		t.Error("a failed write is none")
	}
	put(t, s, day, span(3, day, 0, telemetry.Allowed, 200))
	if all, err := s.Recent(10, nil); err != nil || len(all) != 2 {
		t.Errorf("%+v %v", all, err)
	}
}
