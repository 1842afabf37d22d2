package values

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/store"
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("VALUES_CHILD"); dir != "" {
		changeForever(dir, strings.Split(os.Getenv("VALUES_DONE"), ","))
		return
	}
	os.Exit(m.Run())
}

// On disk as control has them.
func openOnDisk(dir string) (*Store, *store.DB, *ledger.Ledger, error) {
	root := text(strings.Repeat("k", secret.KeySize))
	l, err := ledger.Open(filepath.Join(dir, "ledger"), "test.ward", root)
	if err != nil {
		return nil, nil, nil, err
	}
	db, err := store.Open(context.Background(), store.Config{Path: filepath.Join(dir, "db"), Clock: clock.System{}})
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := Open(context.Background(), Config{DB: db, Root: root, Clock: clock.System{}, Record: l.Append})
	return s, db, l, err
}

// steps are what is done to a secret again and again. Step n of a secret sets its number as the value.
var steps = []struct {
	kind string
	do   func(s *Store, name string, n int) error
	as   func(r *row, n int) error // the same on paper
}{
	{eventSet, func(s *Store, name string, n int) error {
		_, err := s.Set(context.Background(), "t", Setting{Name: name, Value: numbered(n)})
		return err
	}, func(r *row, n int) error { return r.set(numbered(n), time.Time{}, time.Time{}, Current) }},
	{eventSet, func(s *Store, name string, n int) error {
		_, err := s.Set(context.Background(), "t", Setting{Name: name, Value: numbered(n), Stage: Pending})
		return err
	}, func(r *row, n int) error { return r.set(numbered(n), time.Time{}, time.Time{}, Pending) }},
	{eventPromoted, func(s *Store, name string, _ int) error { return s.Promote(context.Background(), "t", name) }, func(r *row, _ int) error { return r.promote(time.Time{}) }},
	{eventRotated, func(s *Store, name string, _ int) error { return s.rotate(context.Background(), "t", name) }, func(r *row, _ int) error {
		if r.pending == 0 {
			if err := r.set(secret.Bytes{}, time.Time{}, time.Time{}, Pending); err != nil {
				return err
			}
			r.rotating = true
		}
		return r.promote(time.Time{})
	}},
	{eventRolledBack, func(s *Store, name string, _ int) error { return s.Rollback(context.Background(), "t", name) }, func(r *row, _ int) error { return r.rollback(time.Time{}) }},
}

// numbered is a value that shows whether it is whole.
func numbered(n int) secret.Bytes { return text(strings.Repeat(strconv.Itoa(n)+" ", 1+n%500)) }

const workers = 3

func workerName(w int) string { return "secret-" + strconv.Itoa(w) }

// changeForever does one step after the other until it is killed, and prints each when it is acknowledged.
func changeForever(dir string, done []string) {
	s, _, _, err := openOnDisk(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for w := range workers {
		go func() {
			n, _ := strconv.Atoi(done[w])
			for ; ; n++ {
				if err := steps[n%len(steps)].do(s, workerName(w), n); err != nil {
					fmt.Fprintln(os.Stderr, workerName(w), n, err)
					os.Exit(1)
				}
				fmt.Printf("%d %d\n", w, n+1)
			}
		}()
	}
	select {}
}

// paper is what a secret must be like after n steps.
func paper(t *testing.T, n int) row {
	t.Helper()
	var r row
	for i := range n {
		if err := steps[i%len(steps)].as(&r, i); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// stagesOf makes rows comparable.
func stagesOf(r row) string {
	return fmt.Sprintf("newest %d current %d pending %d previous %d rotating %t", r.newest, r.current, r.pending, r.previous, r.rotating)
}

// TestKillLosesNothingThatWasAcknowledged kills with -9 at 200 random points of set, promote, rotate and roll back.
func TestKillLosesNothingThatWasAcknowledged(t *testing.T) {
	kills := 200
	if testing.Short() {
		kills = 20
	}
	dir := t.TempDir()
	var done [workers]int
	for range kills {
		acked := killOne(t, dir, done)
		s, db, l, err := openOnDisk(dir)
		if err != nil {
			t.Fatal(err)
		}
		for w := range workers {
			done[w] = checkSecret(t, s, w, acked[w])
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%v steps of %d secrets over %d kills", done, workers, kills)
	checkLedger(t, dir, done)
}

// killOne starts a process, kills it at some moment, and returns how many steps it acknowledged in all.
func killOne(t *testing.T, dir string, done [workers]int) [workers]int {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), "VALUES_CHILD="+dir, "VALUES_DONE="+strings.Trim(strings.Join(strings.Fields(fmt.Sprint(done)), ","), "[]"))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	after, lines := 1+rand.IntN(25), bufio.NewScanner(out)
	var killed *time.Timer
	for n := 0; lines.Scan(); n++ {
		var w, step int
		if k, _ := fmt.Sscanf(lines.Text(), "%d %d", &w, &step); k == 2 {
			done[w] = step
		}
		if n == after { // somewhere between two answers
			killed = time.AfterFunc(time.Duration(rand.IntN(1500))*time.Microsecond, func() { _ = c.Process.Kill() })
		}
	}
	_ = c.Wait() // killed
	if killed == nil {
		t.Fatal("it ended by itself")
	}
	return done
}

// checkSecret finds a secret as it must be after the acknowledged steps, or with the next one done or begun, and whole.
// It returns how many steps are done.
func checkSecret(t *testing.T, s *Store, w, acked int) int {
	t.Helper()
	name := workerName(w)
	var got row
	err := s.db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		got, err = loadRow(ctx, tx, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	before, after := paper(t, acked), paper(t, acked+1)
	begun := before
	if steps[acked%len(steps)].kind == eventRotated && begun.pending == 0 {
		begun.newest++
		begun.pending, begun.rotating = begun.newest, true
	}
	done := acked
	switch stagesOf(got) {
	case stagesOf(before), stagesOf(begun):
	case stagesOf(after):
		done++
	default:
		t.Fatalf("%s is %s;\nafter %d acknowledged steps it must be %s,\nor %s,\nor %s", name, stagesOf(got), acked, stagesOf(before), stagesOf(begun), stagesOf(after))
	}
	want := map[int64]string{}
	for _, a := range after.added {
		want[a.version] = string(a.value.Reveal())
	}
	for _, stage := range []Stage{Current, Pending, Previous} {
		version := got.of(stage)
		if version == 0 {
			continue
		}
		v, err := s.peek(t.Context(), name, stage)
		if err != nil || v.Version != version {
			t.Fatalf("%s %s: version %d, %v", name, stage, v.Version, err)
		}
		if want[version] != "" && want[version] != string(v.Secret.Reveal()) || len(v.Secret.Reveal()) == 0 {
			t.Fatalf("%s: version %d has another value", name, version)
		}
	}
	return done
}

// checkLedger finds every step that was done, acknowledged or not, in the ledger.
func checkLedger(t *testing.T, dir string, done [workers]int) {
	t.Helper()
	_, db, l, err := openOnDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	defer l.Close()
	have, want := map[string]bool{}, map[string]bool{}
	if err := l.Read(0, func(r ledger.Record) bool {
		have[r.Kind+" "+r.Object+" "+r.Detail["version"]] = true
		return true
	}); err != nil {
		t.Fatal(err)
	}
	for w := range workers {
		var r row
		for n := range done[w] {
			step := steps[n%len(steps)]
			if err := step.as(&r, n); err != nil {
				t.Fatal(err)
			}
			want[fmt.Sprintf("%s secret:%s %d", step.kind, workerName(w), r.about(step.kind))] = true
		}
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
}
