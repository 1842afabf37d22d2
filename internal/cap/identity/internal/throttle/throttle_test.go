package throttle

import (
	"fmt"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
)

func TestThrottleDoublesAndForgets(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	th := New(clock.Func(func() time.Time { return now }))
	l := Limit{Key: "x", Free: 3, First: 2 * time.Second, Most: 10 * time.Second}
	var waits []time.Duration
	for range 9 {
		w := th.Take(l)
		waits = append(waits, w)
		now = now.Add(w)
	}
	if got, want := fmt.Sprint(waits), "[0s 0s 0s 2s 0s 4s 0s 8s 0s]"; got != want {
		t.Errorf("waits %s, want %s", got, want)
	}
	th.Forgive(l)
	if th.Take(l) != 0 {
		t.Error("not forgiven")
	}
	for range 20 {
		th.Take(l)
	}
	now = now.Add(forget + time.Minute)
	for range 3 {
		if th.Take(l) != 0 {
			t.Error("not forgotten")
		}
	}
}

func TestThrottleIsBounded(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	th := New(clock.Func(func() time.Time { return now }))
	for i := range maxEntries + 5000 {
		now = now.Add(time.Millisecond)
		th.Take(Limit{Key: fmt.Sprint(i), Free: 1, First: time.Second, Most: time.Second})
	}
	if len(th.seen) > maxEntries {
		t.Errorf("%d entries", len(th.seen))
	}
}
