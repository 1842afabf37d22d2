package series

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
)

// Bounds of an answer.
const (
	maxWindows = 11_000
	maxCells   = 1 << 20
)

// hold is how long a gauge's value is shown in windows that have no sample.
const hold = time.Minute

// Result is the history of some series in windows of Step. Window i is from From+i·Step, which isn't in it, to From+(i+1)·Step, which is.
type Result struct {
	From time.Time
	Step time.Duration
	Rows []Row // by name
	// Unread are the times whose samples are lost: a file is damaged. What of them is known is in the rows.
	Unread []Span
}

// Span is a time from, which isn't in it, to.
type Span struct{ From, To time.Time }

// Row is one series.
type Row struct {
	Series string
	Kind   Kind
	// Values are by window; NaN where nothing is known. A counter's is its rate a second; what it counted between two samples is spread
	// evenly over the time between, at most an hour. A gauge's is the last in the window, and the mean of the hour where only hours are left.
	Values    []float64
	Low, High []float64 // a gauge's least and greatest; nil for a counter
}

// Name is a series that has history.
type Name struct {
	Series string
	Kind   Kind
}

// Query returns the history of the series that match says, in windows between from and to; match may be called more than once for a series. Where
// the samples are no more, or a step is an hour or longer, it is made of hours. What was appended before the call is in it.
func (s *Store) Query(from, to time.Time, step time.Duration, match func(series string) bool) (Result, error) {
	g := grid{from: from.UnixMilli(), step: step.Milliseconds()}
	if g.step < 1000 || !to.After(from) || to.Sub(from)/step > maxWindows || g.from < 0 {
		return Result{}, fault.New(fault.Invalid, fmt.Sprintf("a question about history is of steps of a second or more, and of at most %d", maxWindows))
	}
	g.n = int((to.UnixMilli() - g.from + g.step - 1) / g.step)
	s.files.RLock()
	defer s.files.RUnlock()
	for {
		q := query{dir: s.dir, grid: g, match: match, rows: map[string]*Row{}}
		damaged, err := q.run(s)
		switch {
		case damaged != nil:
			damaged.bad.Store(true) // and what else there is of its time is asked
			continue
		case err != nil:
			return Result{}, err
		}
		return q.result(time.UnixMilli(g.from), step), nil
	}
}

// Series returns the series that have samples or hours between from and to, by name.
func (s *Store) Series(from, to time.Time) ([]Name, error) {
	var out []Name
	collect := map[Name]bool{}
	s.files.RLock()
	defer s.files.RUnlock()
	a, b := from.UnixMilli(), to.UnixMilli()
	for _, x := range s.known() {
		if x.bad.Load() || x.last <= a || x.first > b {
			continue
		}
		names, err := x.names(s.dir)
		if err != nil && !isDamage(err) {
			return nil, fmt.Errorf("read history: %w", err)
		}
		if err != nil {
			x.bad.Store(true)
		}
		for _, n := range names {
			collect[Name{n.series, n.kind}] = true
		}
	}
	s.mu.RLock()
	for _, c := range s.head.order {
		if len(c.values) > 0 && s.head.times[c.from] <= b && c.at > a {
			collect[Name{c.series, c.kind}] = true
		}
	}
	s.mu.RUnlock()
	out = slices.AppendSeq(out, maps.Keys(collect))
	slices.SortFunc(out, func(x, y Name) int { return cmp.Or(strings.Compare(x.Series, y.Series), cmp.Compare(x.Kind, y.Kind)) })
	return out, nil
}

func (b *block) names(dir string) ([]name, error) {
	o, err := b.open(dir, &room{})
	if err != nil {
		return nil, err
	}
	defer o.close()
	return readNames(o.index.names, len(o.ends))
}

// choose returns the blocks that together tell of all time once, the oldest first, and those whose time is lost.
func choose(blocks []*block, step int64) (use, lost []*block) {
	raw, rolled := split(blocks)
	there, good, of := map[*block]uint64{}, map[*block]uint64{}, make([]*block, len(raw))
	for i, b := range raw {
		if of[i] = covering(rolled, b); of[i] != nil {
			there[of[i]]++
			if !b.bad.Load() {
				good[of[i]]++
			}
		}
	}
	hours := map[*block]bool{}
	for _, d := range rolled {
		all := d.to - d.from + 1
		switch {
		case !d.bad.Load() && (step >= hour || good[d] < all):
			hours[d] = true
			use = append(use, d)
		case d.bad.Load() && there[d] < all:
			lost = append(lost, d)
		}
	}
	for i, b := range raw {
		switch {
		case of[i] != nil && hours[of[i]]:
		case b.bad.Load():
			lost = append(lost, b)
		default:
			use = append(use, b)
		}
	}
	for _, x := range [][]*block{use, lost} {
		slices.SortStableFunc(x, func(a, b *block) int { return cmp.Compare(a.first, b.first) })
	}
	return use, lost
}

// grid is windows of time, in ms.
type grid struct {
	from, step int64
	n          int
}

// window is where t is, which may be no window of the grid.
func (g grid) window(t int64) int {
	d := t - g.from - 1
	if d < 0 {
		return -1
	}
	return int(min(d/g.step, int64(g.n)))
}

// stretch is rows that lie in one window, or one row that lies in several: then it tells of the time from after a to b.
type stretch struct {
	lo, hi      int // rows, without hi
	first, last int // windows
	a, b        int64
}

// stretches are those of rows at times; rows before tells of the time since.
func (g grid) stretches(before int64, times []int64, rolled bool) (out []stretch) {
	for i, b := range times {
		a := min(max(before, b-hour), b-1)
		if rolled || before <= 0 {
			a = b - 1
		}
		if rolled {
			a = b - hour
		}
		s := stretch{i, i + 1, g.window(a + 1), g.window(b), a, b}
		if n := len(out); n > 0 && s.first == s.last && out[n-1].first == s.first && out[n-1].last == s.last {
			out[n-1].hi++
		} else {
			out = append(out, s)
		}
		before = b
	}
	return slices.DeleteFunc(out, func(s stretch) bool { return s.last < 0 || s.first >= g.n })
}

// pick is a series of a block that the question is about.
type pick struct {
	at  int
	row *Row
}

// query is one question while it's being answered.
type query struct {
	grid
	dir   string
	match func(string) bool
	rows  map[string]*Row
	lost  []*block

	names []byte // of the last block: most have the same
	count int
	picks []pick
	space [rolledColumns][maxRows]int64
	room  room
}

// run asks all blocks and the head. damaged is a block that can't be read.
func (q *query) run(s *Store) (damaged *block, err error) {
	s.mu.RLock() // both at once, else a block that is being made of the head would be told twice or never
	head, blocks := s.head.asked(q.match), s.blocks
	s.mu.RUnlock()
	to := q.from + int64(q.n)*q.step
	use, lost := choose(blocks, q.step)
	for _, b := range lost {
		if b.last > q.from && b.first <= to {
			q.lost = append(q.lost, b)
		}
	}
	for _, b := range use {
		if b.last <= q.from || b.first > to {
			continue
		}
		err := q.block(b)
		if err != nil && isDamage(err) {
			return b, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
	}
	return nil, q.head(&head)
}

func (q *query) block(b *block) error {
	o, err := b.open(q.dir, &q.room)
	if err != nil {
		return err
	}
	defer o.close()
	if q.names == nil || q.count != len(o.ends) || !bytes.Equal(q.names, o.index.names) {
		if err := q.pick(o); err != nil {
			return err
		}
	}
	stretches := q.stretches(o.before, o.times, o.rolled)
	if len(q.picks) == 0 || len(stretches) == 0 {
		return nil
	}
	if err := o.load(q.picks[0].at, q.picks[len(q.picks)-1].at); err != nil {
		return err
	}
	var into [rolledColumns][]int64
	for i := range into {
		into[i] = q.space[i][:len(o.times)]
	}
	for _, p := range q.picks {
		columns := into[:name{kind: p.row.Kind}.columns(o.rolled)]
		if err := o.columns(p.at, columns); err != nil {
			return err
		}
		if len(columns) > 1 {
			q.hours(p.row, stretches, columns)
		} else {
			q.samples(p.row, stretches, columns[0])
		}
	}
	return nil
}

// pick finds the series of a block that are asked for.
func (q *query) pick(o *opened) error {
	names, err := readNames(o.index.names, len(o.ends))
	if err != nil {
		return err
	}
	q.names, q.count, q.picks = append(q.names[:0], o.index.names...), len(o.ends), q.picks[:0]
	for i, n := range names {
		if !q.match(n.series) {
			continue
		}
		row, err := q.row(n)
		if err != nil {
			return err
		}
		if row != nil {
			q.picks = append(q.picks, pick{i, row})
		}
	}
	return nil
}

// row is the answer's row of a series; nil if it was of another kind before.
func (q *query) row(n name) (*Row, error) {
	r := q.rows[n.series]
	if r == nil {
		if (len(q.rows)+1)*q.n > maxCells {
			return nil, fault.New(fault.Exhausted, "too much history is asked for at once: ask for fewer series, or longer steps")
		}
		r = &Row{Series: n.series, Kind: n.kind, Values: unknown(q.n)}
		if n.kind == Gauge {
			r.Low, r.High = unknown(q.n), unknown(q.n)
		}
		q.rows[n.series] = r
	}
	if r.Kind != n.kind {
		return nil, nil
	}
	return r, nil
}

func unknown(n int) []float64 { return slices.Repeat([]float64{math.NaN()}, n) }

// asked is a copy of what is in h of the series that match says; Append only adds behind it.
func (h *head) asked(match func(string) bool) head {
	out := head{before: h.before, times: h.times}
	for _, c := range h.order {
		if len(c.values) > 0 && match(c.series) {
			out.order = append(out.order, &column{name: c.name, from: c.from, values: c.values})
		}
	}
	return out
}

func (q *query) head(h *head) error {
	stretches := q.stretches(h.before, h.times, false)
	if len(stretches) == 0 {
		return nil
	}
	rows := q.space[0][:len(h.times)]
	for _, c := range h.order {
		row, err := q.row(c.name)
		if err != nil {
			return err
		}
		if row != nil {
			h.copy(c, rows)
			q.samples(row, stretches, rows)
		}
	}
	return nil
}

// samples adds a counter's increases, or a gauge's values.
func (q *query) samples(r *Row, stretches []stretch, rows []int64) {
	for _, s := range stretches {
		if r.Kind == Counter {
			sum, some := int64(0), false
			for _, v := range rows[s.lo:s.hi] {
				if v != absent {
					sum, some = sum+v, true
				}
			}
			if some {
				q.increase(r.Values, s, float64(sum))
			}
			continue
		}
		for _, v := range rows[s.lo:s.hi] {
			if v != absent && s.last < q.n {
				r.gauge(s.last, v, v, v)
			}
		}
	}
}

// increase spreads what a counter counted over the time that it was counted in.
func (q *query) increase(into []float64, s stretch, sum float64) {
	seconds := float64(q.step) / 1000
	if s.first == s.last {
		add(into, s.first, sum/seconds)
		return
	}
	rate := sum / float64(s.b-s.a)
	for w := max(s.first, 0); w <= min(s.last, q.n-1); w++ {
		start := q.from + int64(w)*q.step
		add(into, w, rate*float64(min(start+q.step, s.b)-max(start, s.a))/seconds)
	}
}

func add(into []float64, at int, v float64) {
	if math.IsNaN(into[at]) {
		into[at] = 0
	}
	into[at] += v
}

func (r *Row) gauge(at int, v, low, high int64) {
	r.Values[at] = float64(v) / gaugeUnit
	if l := float64(low) / gaugeUnit; !(r.Low[at] <= l) { // or it is NaN
		r.Low[at] = l
	}
	if h := float64(high) / gaugeUnit; !(r.High[at] >= h) {
		r.High[at] = h
	}
}

// hours adds a gauge's hours.
func (q *query) hours(r *Row, stretches []stretch, columns [][]int64) {
	for _, s := range stretches {
		sum, n, low, high := 0.0, 0.0, int64(math.MaxInt64), int64(math.MinInt64)
		for i := s.lo; i < s.hi; i++ {
			if count := float64(columns[number][i]); columns[mean][i] != absent && count > 0 {
				sum, n = sum+float64(columns[mean][i])*count, n+count
				low, high = min(low, columns[least][i]), max(high, columns[greatest][i])
			}
		}
		if n == 0 {
			continue
		}
		for w := max(s.first, 0); w <= min(s.last, q.n-1); w++ {
			r.gauge(w, int64(sum/n), low, high)
		}
	}
}

// result is the answer in its order.
func (q *query) result(from time.Time, step time.Duration) Result {
	out := Result{From: from, Step: step}
	for _, r := range q.rows {
		if !slices.ContainsFunc(r.Values, func(v float64) bool { return !math.IsNaN(v) }) {
			continue
		}
		if r.Kind == Gauge {
			r.carry(int(hold / step))
		}
		out.Rows = append(out.Rows, *r)
	}
	slices.SortFunc(out.Rows, func(a, b Row) int { return strings.Compare(a.Series, b.Series) })
	for _, b := range q.lost {
		out.Unread = append(out.Unread, Span{time.UnixMilli(b.first - 1), time.UnixMilli(b.last)})
	}
	return out
}

// carry fills windows without a sample with the one before, for at most n.
func (r *Row) carry(n int) {
	age := n
	for i := range r.Values {
		switch {
		case !math.IsNaN(r.Values[i]):
			age = 0
		case age < n:
			age++
			r.Values[i], r.Low[i], r.High[i] = r.Values[i-1], r.Values[i-1], r.Values[i-1]
		}
	}
}
