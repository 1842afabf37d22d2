package series

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fleet is made-up services and the edges between them, which count as gateway and agents do: rates go up and down with the day and at random,
// most classes of answers stay at zero.
type fleet struct {
	random *rand.Rand
	rate   []float64
	points []Point
}

// Series of an edge: answers 2xx, 3xx, 4xx, 5xx and refused, bytes in and out, microseconds in all, and four buckets of durations.
const perEdge = 12

// newFleet has so many edges and services; a service has three gauges.
func newFleet(edges, services int) *fleet {
	f := &fleet{random: rand.New(rand.NewPCG(1, 2)), rate: make([]float64, edges)}
	for e := range edges {
		f.rate[e] = math.Exp(f.random.NormFloat64()*2 - 1) // a median of 0.4 requests a second, and a tenth above 5
		label := fmt.Sprintf(`{caller="svc-%02d",target="svc-%02d",route="GET /api/v1/things-%d/{id}"`, e%30, e*7%30, e%7)
		for i := range 5 {
			f.points = append(f.points, Point{Series: fmt.Sprintf(`requests%s,class="%d"}`, label, i), Kind: Counter})
		}
		for _, metric := range []string{"in", "out", "took"} {
			f.points = append(f.points, Point{Series: metric + label + "}", Kind: Counter})
		}
		for i := range 4 {
			f.points = append(f.points, Point{Series: fmt.Sprintf(`bucket%s,le="%d"}`, label, i), Kind: Counter})
		}
	}
	for s := range services {
		for _, metric := range []string{"cpu", "memory", "open"} {
			f.points = append(f.points, Point{Series: fmt.Sprintf(`%s{service="svc-%02d"}`, metric, s), Kind: Gauge})
		}
	}
	return f
}

// sample goes on by 15 s.
func (f *fleet) sample(now time.Time) []Point {
	curve := 1 + 0.7*math.Sin(float64(now.Unix()%86400)/86400*2*math.Pi)
	for e := range f.rate {
		f.rate[e] *= math.Exp(f.random.NormFloat64() * 0.02)
		f.rate[e] = min(max(f.rate[e], 0.001), 200)
		n := f.poisson(f.rate[e] * 15 * curve)
		p := f.points[e*perEdge:][:perEdge]
		p[0].Value += n
		p[2].Value += f.poisson(n * 0.01)
		p[3].Value += f.poisson(n * 0.001)
		p[4].Value += f.poisson(0.0005)
		p[5].Value += math.Floor(max(0, n*300+f.random.NormFloat64()*math.Sqrt(n)*200))
		p[6].Value += math.Floor(max(0, n*4000+f.random.NormFloat64()*math.Sqrt(n)*3000))
		p[7].Value += math.Floor(max(0, n*8000+f.random.NormFloat64()*math.Sqrt(n)*6000))
		for i, share := range []float64{0.2, 0.5, 0.25, 0.05} {
			p[8+i].Value += f.poisson(n * share)
		}
	}
	for i := len(f.rate) * perEdge; i < len(f.points); i += 3 {
		f.points[i].Value = math.Round(1000*max(0, 3*curve+f.random.NormFloat64()*0.5)) / 1000     // percent of a core, as /proc can tell it
		f.points[i+1].Value = max(5000, f.points[i+1].Value+math.Round(f.random.NormFloat64()*20)) // pages of memory
		f.points[i+2].Value = f.poisson(2 * curve)
	}
	return f.points
}

func (f *fleet) poisson(mean float64) float64 {
	if mean > 30 {
		return math.Floor(max(0, mean+f.random.NormFloat64()*math.Sqrt(mean)))
	}
	n, limit := 0.0, math.Exp(-mean)
	for p := f.random.Float64(); p > limit; n++ {
		p *= f.random.Float64()
	}
	return n
}

// cpu is what this process has used: on a machine with other work it says more than the clock.
func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peak is the most memory that this process ever had, in kB.
func peak(tb testing.TB) (n int) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Skip(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		tb.Fatal(err)
	}
	return n
}

// fill appends days of samples, with a Compact every hour, and says how much CPU both took.
func fill(tb testing.TB, s *Store, f *fleet, start time.Time, days int) (now time.Time, appending, compacting time.Duration) {
	tb.Helper()
	for i := range days * 5760 {
		now = start.Add(time.Duration(i+1) * 15 * time.Second)
		points := f.sample(now)
		began := cpu(tb)
		if err := s.Append(now, points); err != nil {
			tb.Fatal(err)
		}
		ended := cpu(tb)
		appending += ended - began
		if i%240 == 239 {
			if err := s.Compact(now); err != nil {
				tb.Fatal(err)
			}
			compacting += cpu(tb) - ended
		}
	}
	return now, appending, compacting
}

var epoch = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func open(tb testing.TB, dir string, l Limits) *Store {
	tb.Helper()
	s, err := Open(dir, l)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func BenchmarkADayOfTwoThousandSeries(b *testing.B) {
	for b.Loop() {
		s, f := open(b, b.TempDir(), Limits{}), newFleet(160, 27)
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		rss := peak(b)
		_, took, _ := fill(b, s, f, epoch, 1)
		b.ReportMetric(float64(peak(b)-rss)/1e3, "MB-RSS-at-most")
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(s.Stats().Bytes)/1e6, "MB/day")
		b.ReportMetric(float64(s.Stats().Series), "series")
		b.ReportMetric(float64(took.Microseconds())/5760, "cpu-µs/append")
		b.ReportMetric((float64(after.HeapAlloc)-float64(before.HeapAlloc))/1e6, "MB-held")
	}
}

func BenchmarkFifteenDaysOfThirtyServices(b *testing.B) {
	for b.Loop() {
		s, f := open(b, b.TempDir(), Limits{}), newFleet(200, 30)
		now, _, compacting := fill(b, s, f, epoch, 15)
		b.ReportMetric(float64(s.Stats().Bytes)/1e6, "MB")
		b.ReportMetric(float64(s.Stats().Series), "series")
		b.ReportMetric(float64(compacting.Milliseconds())/15, "cpu-ms/day-of-compact")
		for name, q := range map[string]struct{ span, step time.Duration }{
			"cpu-ms-day-by-5m": {24 * time.Hour, 5 * time.Minute}, "cpu-ms-2-weeks-by-1h": {14 * 24 * time.Hour, time.Hour}, "cpu-ms-2-weeks-by-30m": {14 * 24 * time.Hour, 30 * time.Minute},
		} {
			began := time.Duration(0)
			for i := range 6 { // the first one brings the files into memory, and checks them
				if i == 1 {
					began = cpu(b)
				}
				if _, err := s.Query(now.Add(-q.span), now, q.step, successes); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpu(b)-began).Microseconds())/5000, name)
		}
	}
}

func successes(s string) bool {
	return strings.HasPrefix(s, "requests") && strings.HasSuffix(s, `class="0"}`)
}

func BenchmarkRateOfTwoHundredEdgesOverADay(b *testing.B) {
	s, f := open(b, b.TempDir(), Limits{}), newFleet(200, 30)
	now, _, _ := fill(b, s, f, epoch, 1)
	b.ReportAllocs()
	began, n := cpu(b), 0
	for b.Loop() {
		r, err := s.Query(now.Add(-24*time.Hour), now, 5*time.Minute, successes)
		if err != nil || len(r.Rows) != 200 || len(r.Rows[0].Values) != 288 {
			b.Fatal(len(r.Rows), err)
		}
		n++
	}
	b.ReportMetric(float64((cpu(b)-began).Microseconds())/1000/float64(n), "cpu-ms/op")
}
