package telemetry

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Verdict is what became of a request.
type Verdict uint8

// The verdicts. The zero value is the worst that can be said.
const (
	Denied  Verdict = iota // policy refused it
	Allowed                // it was forwarded
	Limited                // a limit refused it
	Failed                 // it was allowed, and the other side couldn't be reached, or was waited for in vain for longer than is promised
)

// String is the word of metrics and pages.
func (v Verdict) String() string {
	return [...]string{"deny", "allow", "limit", "fail"}[min(v, Failed)]
}

// MarshalText is String.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText writes, and nothing else.
func (v *Verdict) UnmarshalText(b []byte) error {
	for x := Denied; x <= Failed; x++ {
		if x.String() == string(b) {
			*v = x
			return nil
		}
	}
	return fmt.Errorf("%.20q is no verdict", b)
}

// Rank orders verdicts for people: what was refused first.
func (v Verdict) Rank() int { return [...]int{0, 3, 1, 2}[min(v, Failed)] }

// Undeclared is the route of all that no line of ward.yaml names: whoever invents paths makes no new series.
const Undeclared = "undeclared"

// Label names a series. All its words are of the plan, but for Undeclared.
type Label struct {
	Caller  string  `json:"caller"`
	Target  string  `json:"target"`
	Route   string  `json:"route"` // the grant as ward.yaml says it
	Verdict Verdict `json:"verdict"`
}

// Series counts the requests of one label. It is safe for concurrent use.
type Series struct {
	Label
	number  uint32           // its place in the Meter
	classes [6]atomic.Uint64 // answers by the first digit of their status; 0 for none
	in, out atomic.Uint64    // bytes of bodies
	open    atomic.Int64     // requests under way
	took    Histogram
}

// Sample is what a series counted.
type Sample struct {
	Label
	Classes [6]uint64 `json:"classes"`
	In      uint64    `json:"in,omitempty"`
	Out     uint64    `json:"out,omitempty"`
	Open    int64     `json:"open,omitempty"`
	Took    Durations `json:"took"`
}

// Requests is how many there were.
func (s *Sample) Requests() (n uint64) {
	for _, c := range s.Classes {
		n += c
	}
	return n
}

// Count counts a request that has ended. A status out of bounds counts as none.
func (s *Series) Count(status int, in, out int64, took time.Duration) {
	class := status / 100
	if class < 1 || class > 5 {
		class = 0
	}
	s.classes[class].Add(1)
	s.in.Add(uint64(max(in, 0)))
	s.out.Add(uint64(max(out, 0)))
	s.took.Observe(took)
}

// Read returns what was counted so far.
func (s *Series) Read() Sample {
	out := Sample{Label: s.Label, In: s.in.Load(), Out: s.out.Load(), Open: s.open.Load(), Took: s.took.Read()}
	for i := range s.classes {
		out.Classes[i] = s.classes[i].Load()
	}
	return out
}
