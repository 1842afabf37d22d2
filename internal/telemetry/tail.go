package telemetry

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// SpanRecord is a request's span as it is reported and kept.
type SpanRecord struct {
	Trace  TraceID       `json:"trace"`
	ID     SpanID        `json:"id"`
	Parent SpanID        `json:"parent"`
	Source string        `json:"source"` // which process
	Label  Label         `json:"label"`
	Start  int64         `json:"start"` // Unix time, ns
	Took   time.Duration `json:"took"`
	Status uint16        `json:"status,omitempty"`
	In     int64         `json:"in,omitempty"`
	Out    int64         `json:"out,omitempty"`
	App    *App          `json:"app,omitempty"` // nil for Ward's own
}

// String is lower-case hex.
func (t TraceID) String() string { return hex.EncodeToString(t[:]) }

// String is lower-case hex.
func (s SpanID) String() string { return hex.EncodeToString(s[:]) }

// MarshalText is String.
func (t TraceID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalText is String.
func (s SpanID) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (t *TraceID) UnmarshalText(b []byte) error { return readHex(t[:], b) }

// UnmarshalText reads what MarshalText writes.
func (s *SpanID) UnmarshalText(b []byte) error { return readHex(s[:], b) }

func readHex(to, b []byte) error {
	if len(b) != 2*len(to) || !lowerHex(to, string(b)) {
		return fmt.Errorf("%.40q isn't %d bytes in lower-case hex", b, len(to))
	}
	return nil
}

// Limits of a Tail.
const (
	tailRecords = 1 << 15 // that are remembered
	tailFresh   = 1000    // records that are looked at in a round
	tailWanted  = 200     // traces that become interesting in a round
	tailSpans   = 4000    // that leave in a round
	tailStay    = 30 * time.Second
	// Slow is how long a request takes that is worth a look by that alone.
	Slow = time.Second
	// OneIn is the share of traces that are kept, whatever they are.
	OneIn = 1000
)

// Tail decides which requests' spans are kept, after they have ended: of refused, failed and slow ones, and of a small share of all, the whole
// trace, at every process that it went through. It is for one goroutine.
type Tail struct {
	meter  *Meter
	source string
	kept   []Record
	sent   []bool
	next   int
	came   []int                 // places in kept, of this round
	again  bool                  // all of kept is to be looked through
	wanted map[TraceID]time.Time // until when
	// Each, if it isn't nil, sees every record.
	Each func(*Record)
	// Skipped counts traces that were of interest and had no room.
	Skipped uint64
}

// NewTail returns a Tail of what a Meter records; source names the process.
func NewTail(m *Meter, source string) *Tail {
	return &Tail{meter: m, source: source, wanted: map[TraceID]time.Time{}}
}

// Round looks at what has ended since the last one. told are traces that are of interest elsewhere. It returns the spans that leave now, and the
// traces that have become of interest here.
func (t *Tail) Round(told []TraceID, now time.Time) (spans []SpanRecord, fresh []TraceID) {
	for id, until := range t.wanted {
		if now.After(until) {
			delete(t.wanted, id)
		}
	}
	t.came = t.came[:0]
	for _, id := range told {
		if _, known := t.wanted[id]; !known && len(t.wanted) < tailRecords {
			t.wanted[id], t.again = now.Add(tailStay), true
		}
	}
	for n := tailFresh; n == tailFresh; {
		n = t.meter.Ring.Drain(tailFresh, func(r *Record) {
			if t.Each != nil {
				t.Each(r)
			}
			if t.keep(r); !t.interesting(r) {
				return
			}
			if _, known := t.wanted[r.Trace]; known {
				return
			}
			if len(fresh) >= tailWanted {
				t.Skipped++
				return
			}
			fresh = append(fresh, r.Trace)
			t.wanted[r.Trace], t.again = now.Add(tailStay), true
		})
	}
	return t.leave(), fresh
}

// leave are the remembered spans of wanted traces that haven't left yet: among those that came just now, or, when a trace has become wanted,
// among all.
func (t *Tail) leave() (spans []SpanRecord) {
	again := t.again
	t.again = false
	look := func(i int) {
		r := &t.kept[i]
		if _, ok := t.wanted[r.Trace]; t.sent[i] || !ok && !sampled(r.Trace) {
			return
		}
		if len(spans) >= tailSpans {
			t.again = true
			return
		}
		t.sent[i] = true
		spans = append(spans, SpanRecord{
			Trace: r.Trace, ID: r.ID, Parent: r.Parent, Source: t.source, Label: t.meter.Label(r.Series), Start: r.Start, Took: r.Took, Status: r.Status, In: r.In, Out: r.Out,
		})
	}
	if again {
		for i := range t.kept {
			look(i)
		}
		return spans
	}
	for _, i := range t.came {
		look(i)
	}
	return spans
}

// keep remembers a record in place of the oldest.
func (t *Tail) keep(r *Record) {
	if len(t.kept) < tailRecords {
		t.came = append(t.came, len(t.kept))
		t.kept, t.sent = append(t.kept, *r), append(t.sent, false)
		return
	}
	t.came = append(t.came, t.next)
	t.kept[t.next], t.sent[t.next] = *r, false
	t.next = (t.next + 1) % tailRecords
}

func (t *Tail) interesting(r *Record) bool {
	return r.Status >= 500 || r.Took >= Slow && r.Status != 101 && r.Status != 0 || t.meter.Label(r.Series).Verdict != Allowed
}

// sampled is the same for a trace everywhere.
func sampled(id TraceID) bool { return binary.BigEndian.Uint64(id[8:])%OneIn == 0 }
