package agent

import (
	"fmt"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/wire"
)

func TestLearningHasAnEndAndABound(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var events []wire.Event
	l := newLearner(now.Add(time.Minute), clock.Func(func() time.Time { return now }), func(e wire.Event) { events = append(events, e) })
	call := func(path string) bool {
		return l.Learn("web", "api", 80, &canon.Request{Protocol: canon.HTTP, Method: "GET", Path: path})
	}
	for _, p := range []string{"/a", "/a", "/o/1", "/o/2", "/a"} {
		if !call(p) {
			t.Errorf("%s was denied", p)
		}
	}
	if len(events) != 3 || events[0].Kind != "learn.start" || events[2].Detail["path"] != "/o/{id}" {
		t.Errorf("%+v", events)
	}
	passed := 0
	for i := range maxLearnt + 10 {
		if call(fmt.Sprintf("/x/w%s", word(i))) {
			passed++
		}
	}
	if passed != maxLearnt-2 || !call("/a") {
		t.Errorf("%d passed, more than can be recorded", passed)
	}
	now = now.Add(time.Minute)
	if call("/a") {
		t.Error("a call passed after the end")
	}
	if newLearner(time.Time{}, clock.System{}, nil) != nil {
		t.Error("learns without being asked to")
	}
}

// word is a different word without digits for each number.
func word(n int) string {
	var b []byte
	for ; n > 0; n /= 26 {
		b = append(b, byte('g'+n%20), byte('a'+n%26))
	}
	return string(b)
}
