package series

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// memory is a folder where a sync costs nothing, if there is one.
func memory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ward-series-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func every(string) bool { return true }

// sample appends a sample.
func sample(t testing.TB, s *Store, now time.Time, points ...Point) {
	t.Helper()
	if err := s.Append(now, points); err != nil {
		t.Fatal(err)
	}
}

func counter(series string, v float64) Point { return Point{Series: series, Kind: Counter, Value: v} }
func gauge(series string, v float64) Point   { return Point{Series: series, Kind: Gauge, Value: v} }

// totals are what each counter counted in all windows, and the last value of each gauge.
func totals(t testing.TB, s *Store, from, to time.Time, step time.Duration) map[string]float64 {
	t.Helper()
	r, err := s.Query(from, to, step, every)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, row := range r.Rows {
		for _, v := range row.Values {
			switch {
			case math.IsNaN(v):
			case row.Kind == Counter:
				out[row.Series] += v * step.Seconds()
			default:
				out[row.Series] = v
			}
		}
	}
	return out
}

func same(t testing.TB, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateApprox(1e-9, 1e-9), cmpopts.EquateNaNs()); d != "" {
		t.Error(d)
	}
}

const quarter = 15 * time.Second

func at(i int) time.Time { return epoch.Add(time.Duration(i) * quarter) }

func TestRatesAndValues(t *testing.T) {
	s := open(t, memory(t), Limits{})
	for i := range 13 { // 3 minutes from epoch on
		sample(t, s, at(i), counter("c", 1000+30*float64(i)), gauge("g", float64(i)-0.5), gauge("tiny", 0.0000014))
	}
	r, err := s.Query(epoch, epoch.Add(4*time.Minute), time.Minute, every)
	if err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	same(t, []Row{
		{Series: "c", Kind: Counter, Values: []float64{2, 2, 2, nan}},
		{Series: "g", Kind: Gauge, Values: []float64{3.5, 7.5, 11.5, 11.5}, Low: []float64{0.5, 4.5, 8.5, 11.5}, High: []float64{3.5, 7.5, 11.5, 11.5}},
		{Series: "tiny", Kind: Gauge, Values: []float64{1e-6, 1e-6, 1e-6, 1e-6}, Low: []float64{1e-6, 1e-6, 1e-6, 1e-6}, High: []float64{1e-6, 1e-6, 1e-6, 1e-6}},
	}, r.Rows)
	if r, err = s.Query(at(2), at(4), 10*time.Second, func(x string) bool { return x == "c" }); err != nil {
		t.Fatal(err)
	}
	same(t, []float64{2, 2, 2}, r.Rows[0].Values) // windows of less than a sample
	for name, q := range map[string]struct {
		from, to time.Time
		step     time.Duration
	}{"no step": {at(0), at(1), 0}, "backwards": {at(1), at(0), time.Minute}, "too many": {at(0), at(0).Add(time.Hour * 4), time.Second}} {
		if _, err := s.Query(q.from, q.to, q.step, every); err == nil {
			t.Errorf("%s: answered", name)
		}
	}
	many := make([]Point, 4000)
	for i := range many {
		many[i] = gauge(fmt.Sprint("many-", i), 1)
	}
	sample(t, s, at(20), many...)
	if _, err := s.Query(epoch, epoch.Add(time.Hour), 10*time.Second, every); err == nil {
		t.Error("an answer of 1,440,000 cells")
	}
}

func TestCountersThatBeginAnew(t *testing.T) {
	zero := func(p Point, z time.Time) Point { p.Zero = z; return p }
	for name, c := range map[string]struct {
		first, then Point
		want        float64
	}{
		"rising":                              {counter("c", 5), counter("c", 9), 4},
		"lower is from zero":                  {counter("c", 5), counter("c", 3), 3},
		"higher, but since a new zero":        {counter("c", 5), zero(counter("c", 9), at(1)), 9},
		"the zero is from before":             {counter("c", 5), zero(counter("c", 9), at(0)), 4},
		"first seen":                          {counter("x", 0), counter("c", 9), 0},
		"first seen, and just begun":          {counter("x", 0), zero(counter("c", 9), at(0)), 9},
		"first seen, but begun long ago":      {counter("x", 0), zero(counter("c", 9), at(-1000)), 0},
		"a zero in the future is no zero":     {counter("c", 5), zero(counter("c", 9), at(9)), 4},
		"first seen, and a zero in a strange": {counter("x", 0), zero(counter("c", 9), at(9)), 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := memory(t)
			s := open(t, dir, Limits{})
			sample(t, s, at(0), c.first)
			sample(t, s, at(2), c.then)
			same(t, c.want, totals(t, s, at(0), at(4), quarter)["c"])
			again := open(t, dir, Limits{})
			same(t, c.want, totals(t, again, at(0), at(4), quarter)["c"])
		})
	}
}

// TestWhatALostSampleMissedIsNotLost: the increase is spread over the pause.
func TestWhatALostSampleMissedIsNotLost(t *testing.T) {
	s := open(t, memory(t), Limits{})
	sample(t, s, at(0), counter("c", 0))
	sample(t, s, at(40), counter("c", 600)) // 10 minutes later
	sample(t, s, at(40+4*240), counter("c", 7800))
	r, err := s.Query(at(0), at(1000), 5*time.Minute, every)
	if err != nil {
		t.Fatal(err)
	}
	v := r.Rows[0].Values
	same(t, []float64{1, 1, math.NaN(), 2, 2}, []float64{v[0], v[1], v[2], v[45], v[49]}) // the last hour of a long pause
}

func TestSeriesAreBounded(t *testing.T) {
	s := open(t, memory(t), Limits{Series: 10})
	points := []Point{
		counter("twice", 1), counter("twice", 2), counter("", 1), counter(strings.Repeat("x", MaxName+1), 1),
		{Series: "kindless", Value: 1},
		counter("negative", -1), counter("nan", math.NaN()), counter("large", 1<<53+2), gauge("inf", math.Inf(1)), gauge("large", -1e13),
	}
	for i := range 20 {
		points = append(points, counter(fmt.Sprintf("c%02d", i), 1))
	}
	sample(t, s, at(1), points...)
	if st := s.Stats(); st.Series != 10 || st.Refused != 9+11 {
		t.Errorf("%+v", st)
	}
	sample(t, s, at(2), gauge("twice", 1)) // it's a counter
	if st := s.Stats(); st.Refused != 21 {
		t.Errorf("%+v", st)
	}
	// Who isn't seen for an hour makes room, and not before.
	sample(t, s, at(241), counter("c00", 2))
	sample(t, s, at(242), counter("new", 2))
	if st := s.Stats(); st.Refused != 22 || st.Series != 10 {
		t.Errorf("%+v", st)
	}
	sample(t, s, at(481), counter("c00", 3))
	sample(t, s, at(482), counter("new", 2))
	if st := s.Stats(); st.Refused != 22 || st.Series != 2 {
		t.Errorf("%+v", st)
	}
	names, err := s.Series(at(300), at(600))
	if err != nil {
		t.Fatal(err)
	}
	same(t, []Name{{"c00", Counter}, {"new", Counter}}, names)
	if names, err = s.Series(at(-1), at(100)); err != nil || len(names) != 10 {
		t.Errorf("%v, %v", names, err)
	}
	if _, err := Open(memory(t), Limits{Series: mostSeries + 1}); err == nil {
		t.Error("no bound")
	}
}

func TestAClockThatIsSetBack(t *testing.T) {
	dir := memory(t)
	s := open(t, dir, Limits{})
	sample(t, s, at(100), counter("c", 10))
	sample(t, s, at(101), counter("c", 20))
	sample(t, s, at(101), counter("c", 25))
	sample(t, s, at(99), counter("c", 30)) // a little: nothing is lost but the moment
	if st := s.Stats(); st.Late != 2 {
		t.Errorf("%+v", st)
	}
	sample(t, s, at(102), counter("c", 40))
	ahead := at(1_000_000)
	sample(t, s, ahead, counter("c", 50))
	sample(t, s, at(103), counter("c", 60)) // by months: history goes on
	sample(t, s, at(104), counter("c", 70))
	for range 2 {
		same(t, map[string]float64{"c": 50}, totals(t, s, at(100), at(200), quarter))                            // of 60
		same(t, map[string]float64{"c": 10}, totals(t, s, ahead.Add(-time.Hour), ahead.Add(time.Hour), quarter)) // and the others at the time that never was
		s = open(t, dir, Limits{})
	}
	if err := s.Append(time.Unix(0, 0), nil); err == nil {
		t.Error("a sample of 1970")
	}
}

// TestAFullDisk writes to a log that has no room, then can't make a block.
func TestAFullDisk(t *testing.T) {
	dir := memory(t)
	s := open(t, dir, Limits{})
	sample(t, s, at(1), counter("c", 0))
	sample(t, s, at(2), counter("c", 10))
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	log := s.log.f
	s.log.f = full
	for i := range 3 {
		if err := s.Append(at(3+i), []Point{counter("c", 20), counter(fmt.Sprint("new", i), 1)}); err == nil {
			t.Fatal("written")
		}
	}
	s.log.f = log
	full.Close()
	if st := s.Stats(); st.Dropped != 6 || st.Series != 1 {
		t.Errorf("%+v", st)
	}
	sample(t, s, at(6), counter("c", 50), counter("new2", 5))
	same(t, map[string]float64{"c": 50, "new2": 0}, totals(t, s, at(0), at(20), quarter))

	obstacle := filepath.Join(dir, (&block{from: 1, to: 1, first: at(1).UnixMilli(), last: at(6).UnixMilli()}).file()+unfinished)
	if err := os.MkdirAll(filepath.Join(obstacle, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(at(241), []Point{counter("c", 60)}); err == nil {
		t.Error("a block was made where there is a folder")
	}
	same(t, map[string]float64{"c": 60, "new2": 0}, totals(t, s, at(0), at(300), quarter)) // the sample is kept all the same
	if err := os.RemoveAll(obstacle); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		sample(t, s, at(600), counter("c", 70))
		same(t, map[string]float64{"c": 70, "new2": 0}, totals(t, s, at(0), at(800), quarter))
		s = open(t, dir, Limits{})
	}
}

// TestNoBlockCanBeMadeForDays fills the memory that there is for it, and no more.
func TestNoBlockCanBeMadeForDays(t *testing.T) {
	dir := memory(t)
	s := open(t, dir, Limits{})
	sample(t, s, at(0), counter("c", 0))
	s.dir = filepath.Join(dir, "gone")
	failed := 0
	for i := range 2000 {
		if s.Append(at(1+i), []Point{counter("c", float64(i))}) != nil {
			failed++
		}
	}
	if st := s.Stats(); len(s.head.times) != maxRows || st.Dropped != 2001-maxRows || failed < int(st.Dropped) {
		t.Errorf("%d rows, %d failed, %+v", len(s.head.times), failed, st)
	}
	s.dir = dir
	sample(t, s, at(2001), counter("c", 2000))
	same(t, map[string]float64{"c": 2000}, totals(t, s, at(0), at(2040), time.Minute))
}

func TestQueriesDuringAppend(t *testing.T) {
	s := open(t, memory(t), Limits{Disk: 1 << 20, Raw: 24 * time.Hour, Rolled: 48 * time.Hour})
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for last := 0.0; ; {
				select {
				case <-done:
					return
				default:
				}
				got := totals(t, s, at(0), at(2000), time.Minute)["c"]
				if got < last-1e-6 || got > 10*700 {
					t.Errorf("%f after %f", got, last)
				}
				last = got
				_, _ = s.Series(at(0), at(2000))
				_ = s.Stats()
			}
		})
	}
	for i := range 700 {
		sample(t, s, at(i), counter("c", float64(10*i)), gauge("g", float64(i)))
		if i%100 == 0 {
			if err := s.Compact(at(i)); err != nil {
				t.Error(err)
			}
		}
	}
	close(done)
	readers.Wait()
}
