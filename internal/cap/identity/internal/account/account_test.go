package account

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/wire"
)

func FuzzParseImported(f *testing.F) {
	f.Add([]byte(`{"email":"a@example.org","password_hash":"$2b$04$abcdefghijklmnopqrstuuu5G5p1iBu6Bm0Fz0zPyJUWJ3Zgqo3a6"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		n, err := ParseImported(line)
		if err == nil && (n.Email == "" || len([]rune(n.Name)) > maxName) {
			t.Errorf("took %+v", n)
		}
	})
}

func TestThrottleDoublesAndForgets(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	th := newThrottle(clock.Func(func() time.Time { return now }))
	l := limit{key: "x", free: 3, first: 2 * time.Second, most: 10 * time.Second}
	var waits []time.Duration
	for range 9 {
		w := th.take(l)
		waits = append(waits, w)
		now = now.Add(w)
	}
	if got, want := fmt.Sprint(waits), "[0s 0s 0s 2s 0s 4s 0s 8s 0s]"; got != want {
		t.Errorf("waits %s, want %s", got, want)
	}
	th.forgive(l)
	if th.take(l) != 0 {
		t.Error("not forgiven")
	}
	for range 20 {
		th.take(l)
	}
	now = now.Add(forget + time.Minute)
	for range 3 {
		if th.take(l) != 0 {
			t.Error("not forgotten")
		}
	}
}

func TestThrottleIsBounded(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	th := newThrottle(clock.Func(func() time.Time { return now }))
	for i := range maxEntries + 5000 {
		now = now.Add(time.Millisecond)
		th.take(limit{key: fmt.Sprint(i), free: 1, first: time.Second, most: time.Second})
	}
	if len(th.seen) > maxEntries {
		t.Errorf("%d entries", len(th.seen))
	}
}

func TestLimitsOfAKnownDeviceAreItsOwn(t *testing.T) {
	v := wire.Visitor{IP: "192.0.2.7"}
	a, b := Attempt{What: "password", Who: "Ada@Example.org", Visitor: v}, Attempt{What: "password", Who: "ada@example.org", Visitor: v, Device: []byte("d")}
	own, shared := b.limits()
	other, others := a.limits()
	if len(shared) != 0 || len(others) != 2 || own[0].key == other[0].key || strings.Contains(other[0].key, "Ada") {
		t.Errorf("%v %v %v %v", own, shared, other, others)
	}
	six := Attempt{What: "password", Who: "x", Visitor: wire.Visitor{IP: "2001:db8:1:2::1"}}
	neighbour := Attempt{What: "password", Who: "x", Visitor: wire.Visitor{IP: "2001:db8:1:3::9"}}
	if one, _ := six.limits(); one[0].key != mustFirst(neighbour.limits()) {
		t.Error("a /48 isn't one network")
	}
}

func mustFirst(own, _ []limit) string { return own[0].key }

func TestLocalPath(t *testing.T) {
	for p, ok := range map[string]bool{"/": true, "/a?b=c": true, "/a%2f": true, "//x": false, "/\\x": false, "x": false, "": false, "/a b": false, "/\u00e4": false, "https://x/": false} {
		if localPath(p) != ok {
			t.Errorf("%q", p)
		}
	}
}
