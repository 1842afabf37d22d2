package control

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

func rules(grants ...string) *plan.Plan {
	p := &plan.Plan{}
	for _, g := range grants {
		parsed, err := model.ParseGrant(g)
		if err != nil {
			panic(err)
		}
		p.Rules = append(p.Rules, plan.Rule{Caller: "a", Target: "b", Grant: parsed})
	}
	return p
}

func TestEachGrantIsCountedFromItsOwnBeginning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "usage.json")
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	u, err := openUsage(path, day(1))
	if err != nil {
		t.Fatal(err)
	}
	u.expect(rules("GET /x"), day(1))
	u.expect(rules("GET /x", "GET /y"), day(5))
	u.add(wire.Usage{Hits: map[string]int64{"a b GET /x": 3}}, day(6))
	u.expect(rules("GET /y"), day(7))
	u.expect(rules("GET /x", "GET /y"), day(9))
	if err := u.save(); err != nil {
		t.Fatal(err)
	}
	if u, err = openUsage(path, day(20)); err != nil {
		t.Fatal(err)
	}
	r := u.report()
	x, y := r.Grants["a b GET /x"], r.Grants["a b GET /y"]
	if !r.Since.Equal(day(1)) || !x.Since.Equal(day(9)) || !x.Last.Equal(day(6)) || x.Count != 3 || !y.Since.Equal(day(5)) || !y.Last.IsZero() || x.Gone {
		t.Errorf("%+v", r)
	}
}

func TestUsageThatCannotBeReadBeginsAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "usage.json")
	if err := os.WriteFile(path, []byte(`{"since":`), 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	u, err := openUsage(path, now)
	if err != nil || !u.report().Since.Equal(now) {
		t.Fatalf("%+v, %v", u, err)
	}
	if _, err := os.Stat(path + ".bad"); err != nil {
		t.Errorf("it wasn't put aside: %v", err)
	}
	if err := u.save(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || len(b) == 0 {
		t.Errorf("the beginning isn't kept: %q, %v", b, err)
	}
}
