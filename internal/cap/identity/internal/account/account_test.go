package account

import (
	"strings"
	"testing"

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

func mustFirst(own, _ []throttle.Limit) string { return own[0].Key }

func TestLocalPath(t *testing.T) {
	for p, ok := range map[string]bool{"/": true, "/a?b=c": true, "/a%2f": true, "//x": false, "/\\x": false, "x": false, "": false, "/a b": false, "/\u00e4": false, "https://x/": false} {
		if localPath(p) != ok {
			t.Errorf("%q", p)
		}
	}
}
