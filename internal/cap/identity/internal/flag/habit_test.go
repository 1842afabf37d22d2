package flag

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestHabits(t *testing.T) {
	berlin, sydney := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("20.0.0.1")
	for _, c := range []struct {
		name  string
		known bool
		from  netip.Addr
		after time.Duration
		flags string
		mail  bool
		step  bool
	}{
		{"as ever", true, berlin, time.Hour, "[]", false, false},
		{"a new network", true, netip.MustParseAddr("10.9.9.9"), time.Hour, "[new-device]", false, false},
		{"a new device", false, berlin, time.Hour, "[new-device]", true, false},
		{"a device on the other side of the world", false, sydney, time.Hour, "[new-device impossible-travel]", true, true},
		{"a device on the other side of the world, a day later", false, sydney, 24 * time.Hour, "[new-device]", true, false},
		{"one's own device through a tunnel", true, sydney, time.Hour, "[new-device impossible-travel]", false, false},
	} {
		w := newWorld(t)
		if d := w.see(Observation{Kind: SignInOK, Person: "alice", Address: berlin}); len(d.Flags) > 0 {
			t.Errorf("%s: the first sign-in: %v", c.name, d.Flags)
		}
		w.pass(c.after)
		d := w.see(Observation{Kind: SignInOK, Person: "alice", Address: c.from, Known: c.known})
		if fmt.Sprint(d.Flags) != c.flags || d.Mail != c.mail || d.StepUp != c.step {
			t.Errorf("%s: %+v", c.name, d)
		}
		for _, e := range w.events {
			if (e.Detail["place"] == "usual") != (c.name == "a new device") {
				t.Errorf("%s: %+v", c.name, e)
			}
		}
		if err := w.Forget(t.Context(), "alice"); err != nil {
			t.Fatal(err)
		}
		if d := w.see(Observation{Kind: SignInOK, Person: "alice", Address: netip.MustParseAddr("10.7.7.7")}); len(d.Flags) > 0 {
			t.Errorf("%s: not forgotten: %v", c.name, d.Flags)
		}
	}
}

// Whoever has the password and no second factor isn't taken for the person: neither their network nor their place becomes usual.
func TestAHalfSignInTeachesNothing(t *testing.T) {
	w := newWorld(t)
	berlin, sydney := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("20.0.0.1")
	w.see(Observation{Kind: SignInOK, Person: "alice", Address: berlin})
	for range 3 {
		w.pass(time.Hour)
		if d := w.see(Observation{Kind: PasswordOK, Person: "alice", Address: sydney}); !d.Has(ImpossibleTravel) || !d.StepUp {
			t.Errorf("%+v", d)
		}
	}
}

// A first new device of a day hides no second one from elsewhere.
func TestEachNetworkOfNewDevicesIsMailedOnce(t *testing.T) {
	w := newWorld(t)
	w.see(Observation{Kind: SignInOK, Person: "alice", Address: far(1)})
	for i, want := range []bool{true, false, true} {
		w.pass(2 * time.Minute)
		if d := w.see(Observation{Kind: SignInOK, Person: "alice", Address: far(2 + i/2)}); d.Mail != want {
			t.Errorf("sign-in %d: %+v", i, d)
		}
	}
}
