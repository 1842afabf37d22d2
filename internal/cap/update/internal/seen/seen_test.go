package seen

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
)

func day(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }

func release(version string, published int) registry.Release {
	return registry.Release{Version: version, Published: day(published), Integrity: "sha512-" + version}
}

func TestAgeCountsFromWhenWardSawIt(t *testing.T) {
	now := day(10)
	l := Open(filepath.Join(t.TempDir(), "log"), clock.Func(func() time.Time { return now }))
	note := func(releases ...registry.Release) map[string]Since {
		t.Helper()
		got, err := l.Note("npm", "p", releases)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	claimed := release("1.1.0", 2)
	claimed.Claimed = true
	future, silent := release("1.2.0", 28), registry.Release{Version: "1.3.0"}
	first := map[string]Since{"1.0.0": {day(1), false}, "1.1.0": {day(2), true}, "1.2.0": {day(10), false}, "1.3.0": {day(10), false}}
	if d := cmp.Diff(first, note(release("1.0.0", 1), claimed, future, silent)); d != "" {
		t.Error("first contact:", d)
	}
	now = day(12)
	if d := cmp.Diff(map[string]Since{"1.0.0": {day(1), false}, "1.4.0": {day(12), false}}, note(release("1.0.0", 1), release("1.4.0", 1))); d != "" {
		t.Error("a release with a forged date:", d)
	}
	other := release("1.0.0", 1)
	other.Integrity = "sha512-other"
	if d := cmp.Diff(map[string]Since{"1.0.0": {day(12), false}}, note(other)); d != "" {
		t.Error("other content under a known version:", d)
	}
	now = day(3)
	if d := cmp.Diff(map[string]Since{"1.5.0": {day(12), false}}, note(release("1.5.0", 1))); d != "" {
		t.Error("the clock went back:", d)
	}
	if s := (Since{Time: day(12)}); s.Old(now, 0) || s.Old(day(14), 72*time.Hour) || !s.Old(day(15), 72*time.Hour) || (Since{}).Old(now, 0) {
		t.Error("ages")
	}
}

func TestTheFirstContactIsRememberedThoughNothingWasListed(t *testing.T) {
	l := Open(filepath.Join(t.TempDir(), "log"), clock.Func(func() time.Time { return day(10) }))
	for _, releases := range [][]registry.Release{nil, {release("1.0.0", 1)}} {
		got, err := l.Note("npm", "p", releases)
		if err != nil {
			t.Fatal(err)
		}
		if len(releases) > 0 && !got["1.0.0"].Time.Equal(day(10)) {
			t.Error(got)
		}
	}
}

func TestLogIsPrivateAndCompleteUnderManyWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var all sync.WaitGroup
	var inside atomic.Int32
	// Ward looks at the clock between reading and writing.
	slow := clock.Func(func() time.Time {
		if inside.Add(1) > 1 {
			t.Error("two processes are at the log at once")
		}
		for range 1000 {
			runtime.Gosched()
		}
		inside.Add(-1)
		return day(10)
	})
	for range 16 {
		all.Go(func() {
			for _, name := range []string{"a", "b", "c", "d"} {
				if _, err := Open(path, slow).Note("npm", name, []registry.Release{release("1.0.0", 1), release("1.1.0", 2)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	b, err := os.ReadFile(path)
	if n := strings.Count(string(b), "\n"); err != nil || n != 4*3 {
		t.Errorf("%d lines, %v", n, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st.Mode(), err)
	}
}

func TestDamagedLogIsNotTaken(t *testing.T) {
	good := `{"ecosystem":"npm","name":"p","version":"1.0.0","since":"2026-01-01T00:00:00Z","at":"2026-01-01T00:00:00Z"}` + "\n"
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"whole":          {good, true},
		"torn at a kill": {good + good[:30], true},
		"broken inside":  {good[:30] + "\n" + good, false},
		"no time":        {`{"name":"p","version":"1.0.0"}` + "\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			l := Open(path, clock.Func(func() time.Time { return day(10) }))
			for range 2 { // the second time over what the first one wrote
				got, err := l.Note("npm", "p", []registry.Release{{Version: "1.0.0"}, release("2.0.0", 1)})
				if (err == nil) != c.ok || c.ok && (!got["1.0.0"].Time.Equal(day(1)) || !got["2.0.0"].Time.Equal(day(10))) {
					t.Errorf("%v %v", got, err)
				}
			}
		})
	}
	link := filepath.Join(t.TempDir(), "link")
	target := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(link, clock.System{}).Note("npm", "p", nil); err == nil {
		t.Error("followed a link")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"ecosystem":"npm","name":"p","version":"1.0.0","since":"2026-01-01T00:00:00Z","at":"2026-01-01T00:00:00Z"}` + "\n{")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := read(strings.NewReader(text), "npm", "p")
		if err == nil && k.size+int64(k.torn) != int64(len(text)) {
			t.Error("bytes were lost")
		}
	})
}
