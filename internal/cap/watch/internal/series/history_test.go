package series

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// oracle keeps what is appended in the plainest way.
type oracle struct {
	counted map[string]map[int64]float64 // by series and window
	last    map[string]map[int64]float64
	step    time.Duration
}

func (o *oracle) window(now time.Time) int64 { return int64(now.Sub(epoch)-1) / int64(o.step) }

func (o *oracle) count(series string, now time.Time, n float64) {
	if o.counted[series] == nil {
		o.counted[series] = map[int64]float64{}
	}
	o.counted[series][o.window(now)] += n
}

func (o *oracle) value(series string, now time.Time, v float64) {
	if o.last[series] == nil {
		o.last[series] = map[int64]float64{}
	}
	o.last[series][o.window(now)] = v
}

func (o *oracle) check(t *testing.T, s *Store, days int, gauges bool) {
	t.Helper()
	r, err := s.Query(epoch, epoch.AddDate(0, 0, days), o.step, every)
	if err != nil || len(r.Unread) > 0 {
		t.Fatal(err, r.Unread)
	}
	told := 0
	for _, row := range r.Rows {
		for i, v := range row.Values {
			want, ok := o.counted[row.Series][int64(i)]
			want /= o.step.Seconds()
			if row.Kind == Gauge {
				want, ok = o.last[row.Series][int64(i)]
			}
			if row.Kind == Gauge && !gauges {
				continue
			}
			if ok {
				told++
			}
			if ok != !math.IsNaN(v) || ok && math.Abs(v-want) > 1e-6*max(1, want) {
				t.Fatalf("%s in window %d of %s: %f instead of %f (%v)", row.Series, i, o.step, v, want, ok)
			}
		}
	}
	if told < 100 {
		t.Errorf("only %d values", told)
	}
}

// TestAWeek compares a week of counters that begin anew, come and go, with an oracle: in samples, in hours, across restarts of the Store and
// lost samples.
func TestAWeek(t *testing.T) {
	dir := memory(t)
	random := rand.New(rand.NewPCG(5, 6))
	s := open(t, dir, Limits{Raw: 3 * 24 * time.Hour})
	o := [...]*oracle{{step: 30 * time.Minute}, {step: time.Hour}, {step: 6 * time.Hour}}
	for _, x := range o {
		x.counted, x.last = map[string]map[int64]float64{}, map[string]map[int64]float64{}
	}
	values, seen := make([]float64, 20), make([]int, 20)
	for i := 1; i <= 7*5760; i++ {
		now := at(i)
		var points []Point
		for c := range values {
			name := fmt.Sprintf("c%02d", c)
			if c > 10 && i/500%c == 0 {
				continue // away for two hours: who then comes back, begins anew
			}
			n := float64(random.IntN(1 << (c % 12)))
			if c%5 == 0 && n < 3 {
				n = 0
			}
			p := counter(name, values[c]+n)
			fresh := seen[c] == 0 || i-seen[c] > 1
			if fresh || random.IntN(5000) == 0 {
				p.Value, p.Zero = n, at(i-1).Add(time.Second)
			}
			values[c], seen[c] = p.Value, i
			points = append(points, p)
			for _, x := range o {
				x.count(name, now, n)
			}
		}
		v := math.Round(random.NormFloat64()*1000) / 100
		points = append(points, gauge("g", v))
		for _, x := range o {
			x.value("g", now, v)
		}
		sample(t, s, now, points...)
		if i%1000 == 0 {
			if err := s.Compact(now); err != nil {
				t.Fatal(err)
			}
		}
		if i%9999 == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, Limits{Raw: 3 * 24 * time.Hour})
		}
		if i == 3*5760 {
			o[0].check(t, s, 3, true) // all of it is of samples
		}
	}
	o[1].check(t, s, 7, false)
	o[2].check(t, s, 7, false)
	st := s.Stats()
	raw, rolled := split(s.known())
	if len(raw) > 4*24+1 || len(rolled) != 6 || st.Dropped+st.Late+st.Refused+st.Evicted+st.Damaged > 0 {
		t.Errorf("%d blocks of samples, %d of hours, %+v", len(raw), len(rolled), st)
	}
}

// TestFourHundredDays of a sample an hour.
func TestFourHundredDays(t *testing.T) {
	dir := memory(t)
	s := open(t, dir, Limits{})
	var now time.Time
	for i := 1; i <= 450*24; i++ {
		now = epoch.Add(time.Duration(i) * time.Hour)
		sample(t, s, now, counter("c", float64(i*3600)), gauge("g", float64(i%24)))
		if i%24 == 7 {
			if err := s.Compact(now); err != nil {
				t.Fatal(err)
			}
		}
	}
	raw, rolled := split(s.known())
	if len(raw) > 17*24 || len(rolled) < 399 || len(rolled) > 402 {
		t.Errorf("%d blocks of samples, %d of hours", len(raw), len(rolled))
	}
	r, err := s.Query(now.AddDate(0, 0, -460), now, 24*time.Hour, every)
	if err != nil {
		t.Fatal(err)
	}
	c, g := r.Rows[0], r.Rows[1]
	for i := range c.Values {
		switch {
		case i < 59 && !math.IsNaN(c.Values[i]):
			t.Errorf("day %d was kept", i)
		case i > 61 && i < 459 && (math.Abs(c.Values[i]-1) > 1e-9 || g.Low[i] != 0 || g.High[i] != 23 || math.Abs(g.Values[i]-11.5) > 1e-9):
			t.Fatalf("day %d: %f, %f from %f to %f", i, c.Values[i], g.Values[i], g.Low[i], g.High[i])
		}
	}
	// Fine steps in old days are hours: even, but there.
	r, err = s.Query(now.AddDate(0, 0, -100), now.AddDate(0, 0, -99), 5*time.Minute, func(x string) bool { return x == "c" })
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range r.Rows[0].Values {
		if math.Abs(v-1) > 1e-9 {
			t.Fatalf("window %d: %f", i, v)
		}
	}
	// A year later all of it is gone but for the newest.
	later := now.AddDate(2, 0, 0)
	sample(t, s, later, counter("c", 0))
	if err := s.Compact(later); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Blocks > 1 {
		t.Errorf("%+v", st)
	}
}

// days makes a Store of some days of noise, a sample a minute.
func days(t *testing.T, dir string, l Limits, n, series int) *Store {
	t.Helper()
	random := rand.New(rand.NewPCG(7, 8))
	s := open(t, dir, l)
	points := make([]Point, series)
	for i := range points {
		points[i] = counter(fmt.Sprintf("c%03d", i), 0)
	}
	for i := 1; i <= n*1440; i++ {
		for j := range points {
			points[j].Value += float64(random.IntN(1 << 30))
		}
		points[0].Value = float64(i)
		sample(t, s, epoch.Add(time.Duration(i)*time.Minute), points...)
	}
	return s
}

func TestTheDiskBudget(t *testing.T) {
	dir := memory(t)
	l := Limits{Disk: 1 << 20}
	s := days(t, dir, l, 6, 60) // 2 MB
	used := func() (n int64) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			n += info.Size()
		}
		return n
	}
	if st := s.Stats(); st.Bytes != used() || st.Bytes > l.Disk+60*60*5 || st.Evicted == 0 {
		t.Errorf("%d bytes are there, and %+v told", used(), st)
	}
	if err := s.Compact(epoch.AddDate(0, 0, 6)); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Bytes != used() || st.Bytes > l.Disk {
		t.Errorf("%d bytes are there, and %+v told", used(), st)
	}
	r, err := s.Query(epoch, epoch.AddDate(0, 0, 6), time.Hour, func(x string) bool { return x == "c000" })
	if err != nil {
		t.Fatal(err)
	}
	v := r.Rows[0].Values
	if !math.IsNaN(v[0]) || math.Abs(v[143]-1.0/60) > 1e-9 {
		t.Errorf("the oldest goes first: %v", v)
	}
	// A block of the future is older than all.
	sample(t, s, epoch.AddDate(50, 0, 0), counter("c000", 1e9))
	now := epoch.AddDate(0, 0, 6).Add(time.Hour)
	sample(t, s, now, counter("c000", 1e9))
	if _, rolled := split(s.known()); rolled == nil {
		t.Error("no hours")
	}
	if err := s.Compact(now); err != nil {
		t.Fatal(err)
	}
	before, strange := s.Stats(), int64(0)
	for _, b := range s.known() {
		if b.last > now.UnixMilli() {
			strange += b.size
		}
	}
	s.limits.Disk = before.Bytes - strange
	if err := s.Compact(now); err != nil {
		t.Fatal(err)
	}
	if after := s.Stats(); strange == 0 || after.Bytes != s.limits.Disk || after.Blocks != before.Blocks-2 {
		t.Errorf("%+v after %+v", after, before)
	}
}

// TestDamagedBlocks: hours take the place of samples and the other way round; where neither is left, it's told.
func TestDamagedBlocks(t *testing.T) {
	dir := memory(t)
	s := days(t, dir, Limits{}, 3, 3)
	end := epoch.AddDate(0, 0, 3)
	only := func(x string) bool { return x == "c000" }
	sum := func(step time.Duration) (n float64, lost []Span) {
		t.Helper()
		s = open(t, dir, Limits{})
		r, err := s.Query(epoch, end, step, only)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range r.Rows[0].Values {
			if !math.IsNaN(v) {
				n += v * step.Seconds()
			}
		}
		return math.Round(n), r.Unread
	}
	hurt := func(b *block) {
		path := filepath.Join(dir, b.file())
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		content[len(content)-1] ^= 1
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, step time.Duration, want float64, spans int) {
		t.Helper()
		if n, lost := sum(step); n != want || len(lost) != spans {
			t.Errorf("%s: %f instead of %f, lost %v", what, n, want, lost)
		}
	}
	const all = 3*1440 - 1
	check("nothing hurt", time.Minute, all, 0)
	raw, _ := split(s.known())
	hurt(raw[5]) // before its day is rolled up
	check("an hour", time.Minute, all-60, 1)
	check("an hour, asked by hours", time.Hour, all-60, 1)
	if err := s.Compact(end); err != nil {
		t.Fatal(err)
	}
	raw, rolled := split(s.known())
	if len(rolled) != 3 || rolled[0].to != 5 || rolled[1].from != 7 || s.Stats().Damaged != 1 {
		t.Fatalf("%d days, the first to %d, the second from %d", len(rolled), rolled[0].to, rolled[1].from)
	}
	check("an hour, the others rolled up", time.Hour, all-60, 1)
	hurt(raw[30]) // of the second day
	check("an hour that is rolled up", time.Minute, all-60, 1)
	hurt(rolled[0])
	check("hours that have samples", time.Hour, all-60, 1)
	hurt(rolled[2])
	check("both", time.Hour, all-120, 2) // the samples of the third day but for one hour
	if err := os.Remove(filepath.Join(dir, raw[40].file())); err != nil {
		t.Fatal(err)
	}
	if n, _ := sum(time.Minute); n != all-180 {
		t.Errorf("%f", n)
	}
	if err := os.WriteFile(filepath.Join(dir, "raw-1-1-5-6.tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sum(time.Hour)
	if _, err := os.Stat(filepath.Join(dir, "raw-1-1-5-6.tmp")); err == nil {
		t.Error("what a crash left is still there")
	}
}

// TestWhatIsNotRolledUpIsNotDeleted by age: neither while that fails, nor what is beside a block that is missing.
func TestWhatIsNotRolledUpIsNotDeleted(t *testing.T) {
	dir := memory(t)
	s := days(t, dir, Limits{}, 1, 2)
	late := epoch.AddDate(0, 0, 30)
	sample(t, s, late, counter("c000", 1))
	raw, _ := split(s.known())
	if err := os.Remove(filepath.Join(dir, raw[3].file())); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Limits{})
	first := &block{rolled: true, from: 1, to: 3, first: epoch.UnixMilli() + 1, last: epoch.Add(3 * time.Hour).UnixMilli()}
	obstacle := filepath.Join(dir, first.file()+unfinished)
	if err := os.MkdirAll(filepath.Join(obstacle, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(late); err == nil || s.Stats().Blocks != 23 {
		t.Fatalf("%v, %+v", err, s.Stats())
	}
	if err := os.RemoveAll(obstacle); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(late); err != nil {
		t.Fatal(err)
	}
	raw, rolled := split(s.known())
	if len(raw) != 0 || len(rolled) != 2 || rolled[0].file() != first.file() || rolled[1].from != 5 {
		t.Errorf("%d and %d blocks", len(raw), len(rolled))
	}
	same(t, 1440.0-60, math.Round(totals(t, s, epoch, epoch.AddDate(0, 0, 1), time.Hour)["c000"]+1))
}
