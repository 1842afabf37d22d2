package account

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/identity/internal/throttle"
	"github.com/wardhq/ward/internal/wire"
)

func TestLimitsOfAKnownDeviceAreItsOwn(t *testing.T) {
	v := wire.Visitor{IP: "192.0.2.7"}
	a, b := Attempt{What: "password", Who: "Ada@Example.org", Visitor: v}, Attempt{What: "password", Who: "ada@example.org", Visitor: v, Device: []byte("d")}
	own, shared := b.limits()
	other, others := a.limits()
	if len(shared) != 0 || len(others) != 2 || own[0].Key == other[0].Key || strings.Contains(other[0].Key, "Ada") {
		t.Errorf("%v %v %v %v", own, shared, other, others)
	}
	six := Attempt{What: "password", Who: "x", Visitor: wire.Visitor{IP: "2001:db8:1:2::1"}}
	neighbour := Attempt{What: "password", Who: "x", Visitor: wire.Visitor{IP: "2001:db8:1:3::9"}}
	if one, _ := six.limits(); one[0].Key != mustFirst(neighbour.limits()) {
		t.Error("a /48 isn't one network")
	}
}

// TestWhoDoesntWaitIsHasty, but nobody whom others' guesses slow down.
func TestWhoDoesntWaitIsHasty(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s := &Service{limits: throttle.New(clock.Func(func() time.Time { return now }))}
	guess := func(ip string) Attempt {
		return Attempt{What: "password", Who: "ada@example.org", Visitor: wire.Visitor{IP: ip}}
	}
	one := guess("192.0.2.7")
	for range 5 {
		if s.Hasty(one) || s.Try(one) > 0 {
			t.Fatal("a free guess is hasty")
		}
	}
	if s.Try(one) == 0 || !s.Hasty(one) {
		t.Error("a guess within the pause isn't hasty")
	}
	known := one
	known.Device = []byte("d")
	if s.Hasty(known) {
		t.Error("a device that the person knows is")
	}
	for i := range 4 { // with others' guesses the account's pause begins
		for range 5 {
			s.Try(guess(fmt.Sprintf("198.51.%d.1", i)))
		}
	}
	victim := guess("203.0.113.9")
	if s.Try(victim) == 0 || s.Hasty(victim) {
		t.Error("who waits because of others is hasty")
	}
	now = now.Add(time.Minute)
	if s.Hasty(one) {
		t.Error("who has waited is")
	}
}

func mustFirst(own, _ []throttle.Limit) string { return own[0].Key }

func TestLocalPath(t *testing.T) {
	for p, ok := range map[string]bool{"/": true, "/a?b=c": true, "/a%2f": true, "//x": false, "/\\x": false, "x": false, "": false, "/a b": false, "/\u00e4": false, "https://x/": false} {
		if localPath(p) != ok {
			t.Errorf("%q", p)
		}
	}
}
