package wire

import (
	"strconv"
	"testing"
)

func TestInventedKindsDontFillTheLedger(t *testing.T) {
	events, counted := 0, int64(0)
	tally := Tally[string]{
		Most: 512, Rest: func(string) string { return "*" },
		Event:  func(_, _ string, n int64) Event { return Event{Count: n} },
		Record: func(e Event) { events++; counted += e.Count },
	}
	const seconds, each = 100, 1000
	for s := range seconds {
		for i := range each {
			tally.Note(strconv.Itoa(s*each + i))
		}
		tally.Flush()
	}
	if events > 512+4*seconds || counted != seconds*each {
		t.Errorf("%d events for %d kinds, which count %d", events, seconds*each, counted)
	}
}
