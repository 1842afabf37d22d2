package telemetry

import (
	"sync/atomic"
	"time"
)

// Record is one request that ended.
type Record struct {
	Span
	Start  int64 // Unix time, ns
	Took   time.Duration
	In     int64
	Out    int64
	Series uint32 // its number in the Meter
	Status uint16
}

// Ring passes records from many goroutines to one. It never blocks: what it has no room for is lost, and counted.
type Ring struct {
	mask  uint64
	slots []slot
	_     [64]byte
	head  atomic.Uint64 // next to write
	_     [56]byte
	tail  uint64 // next to read; of the reader alone
	lost  atomic.Uint64
}

type slot struct {
	turn   atomic.Uint64
	record Record
}

// NewRing returns a Ring for 2^bits records.
func NewRing(bits int) *Ring {
	r := &Ring{mask: 1<<bits - 1, slots: make([]slot, 1<<bits)}
	for i := range r.slots {
		r.slots[i].turn.Store(uint64(i))
	}
	return r
}

// Put adds a record, or counts it as lost. (D. Vyukov's bounded queue.)
func (r *Ring) Put(rec *Record) {
	for {
		at := r.head.Load()
		s := &r.slots[at&r.mask]
		switch turn := s.turn.Load(); {
		case turn == at:
			if r.head.CompareAndSwap(at, at+1) {
				s.record = *rec
				s.turn.Store(at + 1)
				return
			}
		case turn < at: // not read since the last time round
			r.lost.Add(1)
			return
		}
	}
}

// Drain gives at most n records to f, in the order in which they came. One goroutine at a time; f's record holds during the call.
func (r *Ring) Drain(n int, f func(*Record)) int {
	for i := range n {
		s := &r.slots[r.tail&r.mask]
		if s.turn.Load() != r.tail+1 {
			return i
		}
		f(&s.record)
		s.turn.Store(r.tail + r.mask + 1)
		r.tail++
	}
	return n
}

// Queued is how many records wait. It is Drain's goroutine that may ask.
func (r *Ring) Queued() int { return int(r.head.Load() - r.tail) }

// Lost is how many records there was no room for.
func (r *Ring) Lost() uint64 { return r.lost.Load() }
