package watch

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// The budgets of a week of ten services and twelve edges, all stores together: what the folder may take, and what the heap may grow by.
const (
	weekDisk = 16 << 20
	weekHeap = 16 << 20
)

// TestAWeekStaysWithinItsBudget is a week of simulated time: samples every 15 s, refused and slow requests with their traces, logs, mistakes of
// visitors, an attack a day, a deployment a day.
func TestAWeekStaysWithinItsBudget(t *testing.T) {
	if testing.Short() {
		t.Skip("a week of samples")
	}
	s := newScene(t, nil)
	p := &plan.Plan{}
	for i := range 10 {
		p.Services = append(p.Services, plan.Service{Service: model.Service{Name: model.ServiceName(fmt.Sprintf("s%d", i)), Expose: make([]model.Expose, min(1, i%5))}})
	}
	var labels []telemetry.Label
	for i := range 12 {
		r := plan.Rule{Caller: fmt.Sprintf("s%d", i%10), Target: fmt.Sprintf("s%d", (i*3+1)%10), Grant: model.Grant{Kind: model.GrantHTTP, Methods: []string{"GET"}, Pattern: fmt.Sprintf("/route-%d", i)}}
		p.Rules = append(p.Rules, r)
		labels = append(labels, telemetry.Label{Caller: r.Caller, Target: r.Target, Route: r.Grant.String(), Verdict: telemetry.Allowed})
	}
	s.watch.SetPlan(p)
	s.SetPlan(p)
	start := s.now
	before := heap()
	samples := make([]telemetry.Sample, len(labels))
	for i := range samples {
		samples[i].Label = labels[i]
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	const step = 15 * time.Second
	for n := 1; s.now.Sub(start) < 7*24*time.Hour; n++ {
		s.now = start.Add(time.Duration(n) * step)
		for i := range samples {
			samples[i].Classes[2] += uint64(1 + (n*7+i)%40)
		}
		must(s.watch.Take("agent", telemetry.Snapshot{Start: start, Time: s.now, Samples: samples}))
		must(s.watch.TakeProcesses([]Process{{Service: "s1", CPU: time.Duration(n) * time.Second, Memory: int64(50<<20 + n%1000), Start: start}}))
		must(s.watch.sample())
		if n%4 != 0 {
			continue
		}
		// Each minute: a slow request's trace, some lines, and what visitors get wrong.
		var trace telemetry.TraceID
		binary.BigEndian.PutUint64(trace[:], uint64(n))
		trace[15] = 1
		_, err := s.watch.TakeSpans("agent", []telemetry.SpanRecord{{Trace: trace, ID: telemetry.SpanID{1}, Label: labels[n%12], Start: s.now.Add(-2 * time.Second).UnixNano(), Took: 2 * time.Second, Status: 200}}, nil)
		must(err)
		lines := make([]wire.LogLine, 20)
		for i := range lines {
			lines[i] = wire.LogLine{Service: fmt.Sprintf("s%d", i%10), Time: s.now.UnixMicro(), Text: fmt.Sprintf(`{"level":"info","msg":"request","path":"/items/%d","took_ms":%d}`, n*i%9973, (n+i)%400)}
		}
		must(s.watch.TakeLogs(lines))
		visitor := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}), 32)
		must(s.TakeSightings(t.Context(), wire.Sightings{{Client: visitor, Undeclared: []uint32{uint32(n % 13)}, Example: "GET /old"}}))
		if n%(4*60) == 0 {
			s.handle(t.Context(), s.check(t.Context()))
			must(s.inbox.Flush(t.Context()))
			must(s.watch.history.Compact(s.now))
			must(s.watch.logs.Compact(s.now))
		}
		if n%(4*60*24) == 0 { // a scanner, and a deployment
			must(s.TakeSightings(t.Context(), wire.Sightings{{Client: visitor, Honey: "/.env", Example: "GET /.env"}}))
			s.add(wire.Event{Kind: "service.exit", Subject: "up", Object: "s1", Time: s.now})
			s.add(wire.Event{Kind: "service.start", Subject: "up", Object: "s1", Time: s.now})
			s.read(t.Context())
		}
	}
	grown := heap() - before
	disk := folder(t, s.dir)
	t.Logf("disk %.1f MB, heap %+.1f MB", float64(disk)/(1<<20), float64(grown)/(1<<20))
	if disk > weekDisk || grown > weekHeap {
		t.Errorf("disk %d, heap %d", disk, grown)
	}
	all := s.rules(t)
	if len(all) != 1 || all["honey-path"].Count != 7 {
		t.Errorf("found: %+v", all)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// folder is how many bytes a folder's files take.
func folder(t *testing.T, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
