package telemetry

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets of a Histogram: four to each doubling, from 32 µs to 67 s; one below and one above. So a quantile is off by at most an eighth.
const (
	lowest   = 5  // 2^5 µs
	highest  = 26 // 2^26 µs
	perOctet = 4
	Buckets  = (highest-lowest)*perOctet + 2
)

// Histogram counts durations. The zero value is ready, and safe for concurrent use; what is read while others write is at most
// a few observations apart.
type Histogram struct {
	counts [Buckets]atomic.Uint64
	sum    atomic.Uint64 // µs
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) {
	µs := uint64(max(d, 0) / time.Microsecond)
	h.counts[bucket(µs)].Add(1)
	h.sum.Add(µs)
}

// bucket is where a number of microseconds is counted.
func bucket(µs uint64) int {
	n := bits.Len64(µs) - 1 // the power of two below
	switch {
	case n < lowest:
		return 0
	case n >= highest:
		return Buckets - 1
	}
	return 1 + (n-lowest)*perOctet + int(µs>>(n-2)&(perOctet-1))
}

// Bound is the upper end of a bucket, which isn't in it; the last one has none, and is 0.
func Bound(i int) time.Duration {
	switch {
	case i <= 0:
		return (1 << lowest) * time.Microsecond
	case i >= Buckets-1:
		return 0
	}
	octet, part := (i-1)/perOctet, (i-1)%perOctet
	return time.Duration(perOctet+part+1) << (lowest + octet - 2) * time.Microsecond
}

// Durations are what a Histogram counted.
type Durations struct {
	// Counts are by bucket; those at the end that are 0 may be missing.
	Counts []uint64 `json:"counts,omitempty"`
	Sum    uint64   `json:"sum,omitempty"` // µs
}

// Read returns what was counted so far.
func (h *Histogram) Read() Durations {
	d := Durations{Counts: make([]uint64, Buckets), Sum: h.sum.Load()}
	last := 0
	for i := range h.counts {
		if d.Counts[i] = h.counts[i].Load(); d.Counts[i] > 0 {
			last = i + 1
		}
	}
	d.Counts = d.Counts[:last]
	return d
}

// Count is how many durations were counted.
func (d Durations) Count() (n uint64) {
	for _, c := range d.Counts {
		n += c
	}
	return n
}

// Quantile is the duration that the share q (0 to 1) of what was counted doesn't exceed, by straight lines within a bucket; 0 if nothing was.
// What lies above the highest bound is that bound.
func (d Durations) Quantile(q float64) time.Duration {
	want := q * float64(d.Count())
	if want <= 0 {
		return 0
	}
	var below float64
	for i, c := range d.Counts {
		if below+float64(c) < want || c == 0 {
			below += float64(c)
			continue
		}
		from := time.Duration(0)
		if i > 0 {
			from = Bound(i - 1)
		}
		to := Bound(i)
		if to == 0 {
			return from
		}
		return from + time.Duration((want-below)/float64(c)*float64(to-from))
	}
	return Bound(Buckets - 2)
}

// Add adds what another counted.
func (d *Durations) Add(o Durations) {
	for len(d.Counts) < len(o.Counts) {
		d.Counts = append(d.Counts, 0)
	}
	for i, c := range o.Counts {
		d.Counts[i] += c
	}
	d.Sum += o.Sum
}

// Minus is what was counted since o, an earlier reading of the same Histogram.
func (d Durations) Minus(o Durations) Durations {
	out := Durations{Counts: append([]uint64(nil), d.Counts...)}
	for i, c := range o.Counts {
		if i < len(out.Counts) {
			out.Counts[i] -= min(c, out.Counts[i])
		}
	}
	out.Sum = d.Sum - min(o.Sum, d.Sum)
	return out
}
