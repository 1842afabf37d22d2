package wire

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	"github.com/wardhq/ward/internal/base/fault"
)

func TestTallyTellsTheFirstAtOnceAndCountsTheRest(t *testing.T) {
	var got []Event
	tally := Tally[string]{
		Prefix: "x-", Most: 2, Rest: func(string) string { return "*" }, Record: func(e Event) { got = append(got, e) },
		Event: func(k, id string, n int64) Event {
			return Event{Kind: k, Subject: id, Count: n, Detail: map[string]string{}}
		},
	}
	first := tally.NoteIn("a", "t1")
	if again := tally.NoteIn("a", "t2"); again != first || len(got) != 1 || got[0].Count != 1 || got[0].Detail["trace"] != "t1" {
		t.Fatalf("ids %s and %s, events %v", first, again, got)
	}
	tally.Note("b")
	tally.Note("c")
	tally.Note("d")
	tally.Flush()
	counts := map[string]int64{}
	for i, e := range got {
		if counts[e.Kind] += e.Count; i > 0 && e.Detail["trace"] != "" {
			t.Errorf("a count names the trace of one: %v", e)
		}
	}
	if counts["a"] != 2 || counts["b"] != 1 || counts["*"] != 2 {
		t.Errorf("counts %v", counts)
	}
	tally.Flush()
	if before := len(got); tally.Note("a") != first || len(got) != before+1 {
		t.Error("a kind that was quiet isn't told at once")
	}
}

// collector is control's events call.
type collector struct {
	mu     sync.Mutex
	events []Event // guarded by mu
	down   bool    // guarded by mu
}

func (c *collector) serve(t *testing.T) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	Handle(mux, "POST /v1/events", func(_ context.Context, e []Event) (struct{}, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.down {
			return struct{}{}, fault.New(fault.Unavailable, "away")
		}
		c.events = append(c.events, e...)
		return struct{}{}, nil
	})
	go Serve(t.Context(), ln, mux)
	return NewClient(path)
}

func TestSpoolKeepsEventsWhileControlIsAwayAndAcrossDeath(t *testing.T) {
	dir, c := t.TempDir(), &collector{down: true}
	client := c.serve(t)
	s, err := OpenSpool(dir, "agent")
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		s.Append(Event{Kind: "test"})
	}
	if err := s.sendAll(t.Context(), client); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("control is away: %v", err)
	}
	// The process dies; another opens what it left.
	c.down = false
	again, err := OpenSpool(dir, "agent")
	if err != nil {
		t.Fatal(err)
	}
	again.Append(Event{Kind: "after"})
	if n := again.Waiting(); n < 301 || n > 302 { // and the empty line that ends what a death may have cut
		t.Errorf("%d wait", n)
	}
	if err := again.sendAll(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if n := again.Waiting(); n != 0 {
		t.Errorf("%d wait, and all are sent", n)
	}
	if len(c.events) != 301 || c.events[0].Seq != 1 || c.events[0].Source == c.events[300].Source {
		t.Errorf("%d events", len(c.events))
	}
	if err := again.sendAll(t.Context(), client); err != nil || len(c.events) != 301 {
		t.Errorf("sent again: %d events, %v", len(c.events), err)
	}
}

// BenchmarkSpoolAppend is what a denial costs the request's path.
func BenchmarkSpoolAppend(b *testing.B) {
	s, err := OpenSpool(b.TempDir(), "agent")
	if err != nil {
		b.Fatal(err)
	}
	e := Event{Kind: "request.denied", Subject: "web", Object: "catalog", Detail: map[string]string{"method": "GET", "path": "/admin", "reason": "no_route", "id": "d-abcdefgh"}}
	n := 0
	for b.Loop() {
		if n++; n%100_000 == 0 {
			b.StopTimer()
			s.f.Truncate(0)
			s.size = 0
			b.StartTimer()
		}
		s.Append(e)
	}
}
