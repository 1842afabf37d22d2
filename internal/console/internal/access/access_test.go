package access

import (
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
)

func TestTheDeskIsBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	d := New(clock.Func(func() time.Time { return now }))
	someone := Person{Name: "ada", Role: Viewer}
	var links []string
	for range maxLinks {
		l, err := d.Invite(someone)
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, l)
	}
	if _, err := d.Invite(someone); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("one more link: %v", err)
	}
	now = now.Add(LinkLife)
	if _, _, err := d.Enter(links[0]); err == nil {
		t.Error("a stale link works")
	}
	var first string
	for i := range maxSessions + 1 {
		l, err := d.Invite(someone)
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := d.Enter(l)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = c
		}
		now = now.Add(time.Second)
	}
	if d.Session(first, true) != nil || len(d.sessions) != maxSessions {
		t.Errorf("%d sessions, and the oldest is there: %t", len(d.sessions), d.Session(first, true) != nil)
	}
}

func TestRolesAndTokens(t *testing.T) {
	for word, want := range map[string]Role{"viewer": Viewer, "operator": Operator, "administrator": Administrator, "nobody": Nobody, "": Nobody, "Administrator": Nobody, "root": Nobody} {
		if got := RoleOf(word); got != want {
			t.Errorf("%q: %s", word, got)
		}
	}
	s := &Session{Token: "x"}
	if !s.Holds("x") || s.Holds("") || s.Holds("y") || (&Session{}).Holds("") {
		t.Error("tokens")
	}
}
