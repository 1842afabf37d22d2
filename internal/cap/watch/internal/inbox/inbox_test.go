package inbox

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/watch/internal/detect"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wardtest/postgres"
	"github.com/wardhq/ward/internal/wire"
)

// world is an inbox that can be opened again.
type world struct {
	*Inbox
	db  *store.DB
	now time.Time
}

func (w *world) later(d time.Duration) { w.now = w.now.Add(d) }

func (w *world) reopen(t *testing.T) {
	t.Helper()
	b, err := Open(t.Context(), w.db, clock.Func(func() time.Time { return w.now }))
	if err != nil {
		t.Fatal(err)
	}
	w.Inbox = b
}

// newWorld is one on SQLite.
func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "db"), Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{db: db, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	w.reopen(t)
	return w
}

// onBothEngines runs a test on SQLite and on PostgreSQL.
func onBothEngines(t *testing.T, f func(*testing.T, *world)) {
	t.Helper()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			c := clock.System{} // dates migrations alone
			config := store.Config{Path: filepath.Join(t.TempDir(), "db"), Clock: c}
			if engine == "postgres" {
				config = store.Config{URL: postgres.Start(t).Database(t), Clock: c}
			}
			db, err := store.Open(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			w := &world{db: db, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
			w.reopen(t)
			f(t, w)
		})
	}
}

func (w *world) take(t *testing.T, signals ...detect.Signal) []Change {
	t.Helper()
	for i := range signals {
		signals[i].Time = w.now
	}
	out := w.Take(signals)
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSignalsAreOneFindingWhileItIsOpen(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		call := detect.Signal{Rule: "denied-call", Subject: "web", Object: "api", What: "web called api\x1b[2J", Evidence: "GET /x", Record: 4, Call: &detect.Call{Caller: "web", Target: "api"}}
		first := w.take(t, call)
		if !first[0].New || first[0].Finding.Severity != finding.Medium || strings.Contains(first[0].Finding.What, "\x1b") {
			t.Errorf("%+v", first[0])
		}
		again := w.take(t, call, detect.Signal{Rule: "denied-call", Subject: "web", Object: "api", Evidence: "GET /y", Count: 40, Severity: finding.High})
		if again[0].New || !again[1].New || again[1].Finding.ID != first[0].Finding.ID || again[1].Finding.Count != 42 || len(again[1].Finding.Evidence) != 2 {
			t.Errorf("%+v", again)
		}
		w.reopen(t)
		all, err := w.List(t.Context(), Query{})
		if err != nil || len(all) != 1 || all[0].Count != 42 || all[0].Severity != finding.High || all[0].Call.Target != "api" {
			t.Fatalf("%v %+v", err, all)
		}
		if _, err := w.Close(t.Context(), all[0].ID, "admin", "known"); err != nil {
			t.Fatal(err)
		}
		if next := w.take(t, call); !next[0].New || next[0].Finding.ID == all[0].ID || next[0].Finding.Count != 1 {
			t.Errorf("%+v", next)
		}
		closed, err := w.List(t.Context(), Query{Closed: true})
		if err != nil || len(closed) != 1 || closed[0].Note != "known" || closed[0].ClosedBy != "admin" {
			t.Errorf("%v %+v", err, closed)
		}
		if _, err := w.Close(t.Context(), 999, "admin", ""); err == nil {
			t.Error("what isn't there was closed")
		}
	})
}

func TestAllClientsAreOneFinding(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		var all []detect.Signal
		for i := range 300 {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 32)
			all = append(all, detect.Signal{Rule: "honey-path", Subject: p.String(), Client: p, Evidence: "GET /.env", Record: -1})
		}
		out := w.take(t, all...)
		if f := out[len(out)-1].Finding; f.Count != 300 || f.Subject != Outside || len(f.Evidence) != maxEvidence {
			t.Errorf("%d times by %s, %d pieces of evidence", f.Count, f.Subject, len(f.Evidence))
		}
	})
}

func TestFindingsStayBounded(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		for i := range maxOpen + 500 {
			w.Take([]detect.Signal{{Rule: "undeclared-name", Subject: fmt.Sprint("web", i), What: strings.Repeat("x", 5000), Time: w.now}})
		}
		all, err := w.List(t.Context(), Query{Limit: 10_000})
		if err != nil || len(all) > maxOpen {
			t.Errorf("%v %d", err, len(all))
		}
		for _, f := range all {
			if f.Subject == "many" && f.Count == 500 && len(f.What) < 2*maxText {
				return
			}
		}
		t.Error("what has no room of its own isn't counted")
	})
}

// TestASubjectsObjectsAreBounded: what a service does with many things is one finding for each of the first, and one for all others. A silence, or a
// closed finding, hides none but its own.
func TestASubjectsObjectsAreBounded(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		var all []detect.Signal
		for i := range 100 {
			all = append(all, detect.Signal{Rule: "undeclared-program", Subject: "web", Object: fmt.Sprint("/tmp/", i), Time: w.now})
		}
		first := w.take(t, all[0])[0].Finding
		if _, err := w.AddSilence(t.Context(), Silence{Rule: first.Rule, Subject: first.Subject, Object: first.Object, Until: w.now.Add(time.Hour), Reason: "known"}); err != nil {
			t.Fatal(err)
		}
		out := w.take(t, all...)
		if out[0].Finding.Silenced.IsZero() || !out[1].Finding.Silenced.IsZero() || !out[99].Finding.Silenced.IsZero() {
			t.Error("a silence hides others, or not its own")
		}
		if f := out[99].Finding; f.Object != detect.Others || f.Count != 100-maxObjects {
			t.Errorf("%+v", f)
		}
		if out := w.take(t, detect.Signal{Rule: "undeclared-program", Subject: "api", Object: "/tmp/1", Time: w.now}); out[0].Finding.Object != "/tmp/1" {
			t.Errorf("another service's: %+v", out)
		}
	})
}

// TestWhatLastsIsOver when it was looked for and isn't seen any more: not while nobody could look, nor right after that.
func TestWhatLastsIsOver(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		state := detect.Signal{Rule: "silence", Subject: "gateway", Lasts: time.Minute}
		open := func(could bool) (n int) {
			w.Looked("silence", could)
			if err := w.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			all, err := w.List(t.Context(), Query{})
			if err != nil {
				t.Fatal(err)
			}
			return len(all)
		}
		w.take(t, state, detect.Signal{Rule: "crash-loop", Subject: "web"}, detect.Signal{Rule: "bypass", Subject: "ward attack", Lasts: time.Hour})
		step := func(after time.Duration, could bool, want int) {
			t.Helper()
			w.later(after)
			if n := open(could); n != want {
				t.Fatalf("%d are open, not %d", n, want)
			}
		}
		step(0, true, 3)
		step(time.Minute, true, 3)
		w.take(t, state)
		step(time.Minute, true, 3)
		step(time.Second, false, 3) // it would be over, but nobody could look
		step(10*time.Minute, false, 3)
		step(time.Second, true, 3)
		step(time.Minute, true, 3)
		step(time.Second, true, 2)
		if out := w.take(t, state); !out[0].New {
			t.Error("it comes again as the old one")
		}
		w.reopen(t)
		step(10*time.Minute, true, 3) // control was away
		step(time.Minute+time.Second, true, 2)
		step(time.Hour, true, 1) // what just happened lasts by the clock alone
	})
}

// TestWhatAPersonReplacedDoesntComeBack with a restart, when the shorter answer has ended.
func TestWhatAPersonReplacedDoesntComeBack(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		client := netip.MustParsePrefix("203.0.113.7/32")
		for _, r := range []wire.Restriction{
			{Service: "web", Finding: 1},
			{Client: client, Until: w.now.Add(24 * time.Hour), Finding: 1},
			{Service: "web", Until: w.now.Add(time.Hour), By: "admin"},
			{Client: client, Until: w.now.Add(time.Hour), By: "admin"},
		} {
			if _, _, err := w.Restrict(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		w.reopen(t)
		if all, _ := w.Restrictions(); len(all.All) != 2 || all.All[0].By != "admin" || all.All[1].By != "admin" {
			t.Errorf("%+v", all.All)
		}
		w.later(2 * time.Hour)
		w.reopen(t)
		if all, _ := w.Restrictions(); len(all.All) != 0 {
			t.Errorf("%+v came back", all.All)
		}
	})
}

func TestSilencesEnd(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		now := w.now
		for _, s := range []Silence{
			{Rule: "nothing", Until: now.Add(time.Hour), Reason: "x"}, {Rule: "slower", Until: now.Add(time.Hour)}, {Rule: "slower", Until: now, Reason: "x"}, {Rule: "slower", Until: now.Add(401 * 24 * time.Hour), Reason: "x"},
		} {
			if _, err := w.AddSilence(t.Context(), s); err == nil {
				t.Errorf("%+v was taken", s)
			}
		}
		kept, err := w.AddSilence(t.Context(), Silence{Rule: "slower", Subject: "web", Until: now.Add(time.Hour), Reason: "a migration", By: "admin"})
		if err != nil {
			t.Fatal(err)
		}
		w.reopen(t)
		out := w.take(t, detect.Signal{Rule: "slower", Subject: "web"}, detect.Signal{Rule: "slower", Subject: "api"})
		if out[0].Finding.Silenced.IsZero() || !out[1].Finding.Silenced.IsZero() {
			t.Errorf("%+v", out)
		}
		w.later(2 * time.Hour)
		if out := w.take(t, detect.Signal{Rule: "slower", Subject: "web"}); !out[0].Finding.Silenced.IsZero() {
			t.Error("it outlives its end")
		}
		if err := w.EndSilence(t.Context(), kept.ID); err != nil {
			t.Fatal(err)
		}
		if w.reopen(t); len(w.Silences()) != 0 {
			t.Error("an ended one came back")
		}
	})
}

func TestBlocksDoubleAndEnd(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		who := netip.MustParsePrefix("203.0.113.7/32")
		ctx := t.Context()
		for i, want := range []time.Duration{10 * time.Minute, 20 * time.Minute, 40 * time.Minute, 80 * time.Minute} {
			r, fresh, err := w.Restrict(ctx, wire.Restriction{Client: who, Reason: "x"})
			if err != nil || !fresh || r.Until.Sub(w.now) != want {
				t.Fatalf("block %d: %v %v, %s", i, fresh, err, r.Until.Sub(w.now))
			}
			if _, fresh, _ := w.Restrict(ctx, wire.Restriction{Client: who}); fresh {
				t.Error("a second one while the first stands")
			}
			w.reopen(t)
			if all, _ := w.Restrictions(); len(all.All) != 1 {
				t.Fatalf("after a restart: %+v", all)
			}
			_, changed := w.Restrictions()
			w.later(want)
			if err := w.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			select {
			case <-changed:
			default:
				t.Error("nobody hears of its end")
			}
			if all, _ := w.Restrictions(); len(all.All) != 0 {
				t.Errorf("it outlives its end: %+v", all)
			}
		}
		w.later(25 * time.Hour)
		r, _, err := w.Restrict(ctx, wire.Restriction{Client: who})
		if err != nil || r.Until.Sub(w.now) != 10*time.Minute {
			t.Errorf("after a quiet day: %v %s", err, r.Until.Sub(w.now))
		}
		for range 12 {
			w.later(r.Until.Sub(w.now))
			if r, _, err = w.Restrict(ctx, wire.Restriction{Client: who}); err != nil {
				t.Fatal(err)
			}
		}
		if life := r.Until.Sub(w.now); life != blockMost {
			t.Errorf("at most a day: %s", life)
		}
	})
}

func TestAnswersAreUndone(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		slow, _, err := w.Restrict(ctx, wire.Restriction{Client: netip.MustParsePrefix("203.0.113.7/32"), Slow: true})
		if err != nil {
			t.Fatal(err)
		}
		block, fresh, err := w.Restrict(ctx, wire.Restriction{Client: netip.MustParsePrefix("203.0.113.7/32")})
		if err != nil || !fresh {
			t.Fatalf("a block is stronger: %v", err)
		}
		if _, err := w.Lift(ctx, slow.ID); err == nil {
			t.Error("the weaker one still stands")
		}
		if _, err := w.Lift(ctx, block.ID); err != nil {
			t.Error(err)
		}
		q, _, err := w.Restrict(ctx, wire.Restriction{Service: "web", By: "admin"})
		if err != nil || !w.Quarantined("web") || w.Quarantined("api") || w.Quarantined("") {
			t.Errorf("%v", err)
		}
		w.reopen(t)
		if !w.Quarantined("web") {
			t.Error("a restart ends a quarantine")
		}
		if _, err := w.Lift(ctx, q.ID); err != nil || w.Quarantined("web") {
			t.Errorf("%v", err)
		}
	})
}

// TestWhatWasLiftedStaysLifted, also what it had taken the place of, after a restart.
func TestWhatWasLiftedStaysLifted(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		first, _, err := w.Restrict(t.Context(), wire.Restriction{Service: "web"})
		if err != nil {
			t.Fatal(err)
		}
		w.later(time.Minute)
		second, fresh, err := w.Restrict(t.Context(), wire.Restriction{Service: "web", By: "admin", Until: first.Until.Add(time.Hour)})
		if err != nil || !fresh {
			t.Fatalf("%v %v", fresh, err)
		}
		if _, err := w.Lift(t.Context(), second.ID); err != nil {
			t.Fatal(err)
		}
		w.reopen(t)
		if w.Quarantined("web") {
			t.Error("it is back after a restart")
		}
	})
}

// TestAFloodOfClientsKeepsNoAnswerOut: who has addresses enough keeps no service in, no person from acting, and the next client no safer.
func TestAFloodOfClientsKeepsNoAnswerOut(t *testing.T) {
	w := newWorld(t)
	for i := range maxAnswers {
		w.put(wire.Restriction{ID: fmt.Sprint(i), Client: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 32), Until: w.now.Add(time.Minute)})
	}
	for _, r := range []wire.Restriction{{Service: "web"}, {Client: netip.MustParsePrefix("203.0.113.7/32"), By: "admin"}, {Client: netip.MustParsePrefix("203.0.113.8/32")}} {
		if _, fresh, err := w.Restrict(t.Context(), r); err != nil || !fresh {
			t.Errorf("%+v: %v %v", r, fresh, err)
		}
	}
	for i := range maxAnswers {
		w.put(wire.Restriction{ID: fmt.Sprint(i), Client: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 19, byte(i >> 8), byte(i)}), 32), Until: w.now.Add(time.Minute)})
	}
	all, _ := w.Restrictions()
	if !w.Quarantined("web") || len(all.All) != maxAnswers || !slices.ContainsFunc(all.All, func(r wire.Restriction) bool { return r.By == "admin" }) {
		t.Errorf("%d are in force", len(all.All))
	}
}

func TestQuietFindingsClose(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.take(t, detect.Signal{Rule: "slower", Subject: "web"})
		w.later(quiet + time.Minute)
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all, _ := w.List(t.Context(), Query{}); len(all) != 0 {
			t.Errorf("%+v", all)
		}
		w.Seen(42)
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.reopen(t); w.Cursor() != 42 {
			t.Errorf("cursor %d", w.Cursor())
		}
		w.later(keepClosed)
		w.later(time.Hour)
		if err := w.Clean(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all, _ := w.List(t.Context(), Query{Closed: true}); len(all) != 0 {
			t.Errorf("%+v", all)
		}
	})
}
