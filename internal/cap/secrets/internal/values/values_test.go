package values

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wardtest/postgres"
	"github.com/wardhq/ward/internal/wire"
)

// world is a database, a clock and a ledger in memory.
type world struct {
	t   testing.TB
	db  *store.DB
	now time.Time
	// root seals; rotators are by name.
	root     secret.Bytes
	rotators map[string]Rotator

	mu      sync.Mutex // guards what follows
	ledger  []wire.Event
	refuses error // what the ledger says instead of keeping
}

func newWorld(t testing.TB, c store.Config) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC), root: secret.New(bytes.Repeat([]byte{7}, 32)), rotators: map[string]Rotator{}}
	c.Clock = w.clock()
	var err error
	if w.db, err = store.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	return w
}

func sqlite(t testing.TB) store.Config { return store.Config{Path: filepath.Join(t.TempDir(), "db")} }

func (w *world) clock() clock.Clock { return clock.Func(func() time.Time { return w.now }) }

func (w *world) record(_ context.Context, events []wire.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuses == nil {
		w.ledger = append(w.ledger, events...)
	}
	return w.refuses
}

// told returns what the ledger has since the last time, as "kind who object version".
func (w *world) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, e := range w.ledger {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", e.Kind, e.Subject, strings.TrimPrefix(e.Object, "secret:"), e.Detail["version"])))
	}
	w.ledger = nil
	return out
}

func (w *world) open() *Store {
	w.t.Helper()
	s, err := w.tryOpen()
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) tryOpen() (*Store, error) {
	return Open(context.Background(), Config{DB: w.db, Root: w.root, Clock: w.clock(), Record: w.record, Rotator: func(name string) Rotator { return w.rotators[name] }})
}

func text(s string) secret.Bytes { return secret.New([]byte(s)) }

func (w *world) set(s *Store, name, value string, stage Stage) int64 {
	w.t.Helper()
	v, err := s.Set(context.Background(), "ann", Setting{Name: name, Value: text(value), Stage: stage})
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// has checks a stage's value; "" for none.
func (w *world) has(s *Store, name string, stage Stage, want string) {
	w.t.Helper()
	v, err := s.Get(context.Background(), Query{Name: name, Stage: stage, Who: "orders"})
	if want == "" && fault.KindOf(err) == fault.NotFound {
		return
	}
	if err != nil || string(v.Secret.Reveal()) != want {
		w.t.Errorf("%s %s is %q, %v; want %q", name, stage, v.Secret.Reveal(), err, want)
	}
}

func (w *world) do(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) refused(err error, kind fault.Kind, sentence string) {
	w.t.Helper()
	if err == nil || fault.KindOf(err) != kind || !strings.Contains(err.Error(), sentence) {
		w.t.Errorf("got %v, want %s with %q", err, kind, sentence)
	}
}

// conformance is what holds on both engines.
var conformance = []struct {
	name string
	test func(*world)
}{
	{"stages move as they should", stages},
	{"compare and set", compareAndSet},
	{"expired values are refused", expiry},
	{"values that were moved in the database are refused", moved},
	{"deleted ones can be restored for 30 days", deletion},
	{"versions are trimmed", trimming},
	{"bad values and names are refused", badSettings},
	{"every read and write is in the ledger", everythingIsTold},
	{"no ledger, no value", noLedgerNoValue},
	{"events of a killed process come later", leftEvents},
	{"values survive a restart and another root", restart},
	{"replicas agree and see each other", replicas},
	{"each value is visited", each},
	{"definitions make what is missing", defining},
	{"sealed files are taken once", sealedFiles},
	{"rotation by age", rotation},
	{"rotation with a system of its own", rotationWithHook},
	{"a rotation that was overtaken", rotationOvertaken},
	{"first value of a secret with a system of its own", firstWithHook},
	{"a human's pending version is respected", rotationAndHumans},
	{"import of .env", importing},
	{"concurrent writers", writers},
}

func TestOnSQLite(t *testing.T) {
	for _, c := range conformance {
		t.Run(c.name, func(t *testing.T) { c.test(newWorld(t, sqlite(t))) })
	}
}

func TestOnPostgreSQL(t *testing.T) {
	server := postgres.Start(t)
	for _, c := range conformance {
		t.Run(c.name, func(t *testing.T) { c.test(newWorld(t, store.Config{URL: server.Database(t)})) })
	}
}

func stages(w *world) {
	s, ctx := w.open(), context.Background()
	w.refused(s.Promote(ctx, "ann", "a"), fault.NotFound, "has no value")
	w.set(s, "a", "one", Unstaged)
	w.has(s, "a", Unstaged, "one")
	w.has(s, "a", Previous, "")
	w.refused(s.Promote(ctx, "ann", "a"), fault.Conflict, "no pending")
	w.refused(s.Rollback(ctx, "ann", "a"), fault.Conflict, "no previous")
	w.set(s, "a", "two", Pending)
	w.has(s, "a", Current, "one")
	w.has(s, "a", Pending, "two")
	w.set(s, "a", "three", Pending)
	w.do(s.Promote(ctx, "ann", "a"))
	w.has(s, "a", Current, "three")
	w.has(s, "a", Previous, "one")
	w.has(s, "a", Pending, "")
	w.do(s.Rollback(ctx, "ann", "a"))
	w.has(s, "a", Current, "one")
	w.has(s, "a", Previous, "three")
	w.do(s.Rollback(ctx, "ann", "a"))
	w.has(s, "a", Current, "three")
	if v := w.set(s, "a", "four", Current); v != 4 {
		w.t.Errorf("version %d", v)
	}
	w.has(s, "a", Previous, "three")
	w.set(s, "only-pending", "x", Pending)
	w.has(s, "only-pending", Current, "")
	got, err := s.Info(ctx, "a")
	w.do(err)
	at := w.now.Unix()
	want := wire.Secret{Name: "a", Newest: 4, Current: 4, Previous: 3, Since: at, Versions: []wire.SecretVersion{
		{Version: 4, Stage: "current", Made: at}, {Version: 3, Stage: "previous", Made: at}, {Version: 2, Made: at}, {Version: 1, Made: at},
	}}
	if d := cmp.Diff(want, got); d != "" {
		w.t.Error(d)
	}
}

func compareAndSet(w *world) {
	s := w.open()
	try := func(newest int64) error {
		_, err := s.Set(context.Background(), "ann", Setting{Name: "a", Value: text("x"), IfNewest: &newest})
		return err
	}
	w.refused(try(1), fault.Conflict, "newest version of the secret a is 0")
	w.do(try(0))
	w.refused(try(0), fault.Conflict, "is 1")
	w.do(try(1))
	w.set(s, "a", "y", Pending)
	w.refused(try(2), fault.Conflict, "is 3")
}

func expiry(w *world) {
	s, ctx := w.open(), context.Background()
	_, err := s.Set(ctx, "ann", Setting{Name: "a", Value: text("short"), Expires: w.now.Add(time.Hour)})
	w.do(err)
	w.set(s, "a", "next", Pending)
	w.has(s, "a", Current, "short")
	w.now = w.now.Add(time.Hour)
	_, err = s.Get(ctx, Query{Name: "a"})
	w.refused(err, fault.Refused, "expired on 2026-05-04")
	w.do(s.Promote(ctx, "ann", "a"))
	w.refused(s.Rollback(ctx, "ann", "a"), fault.Refused, "expired")
	w.has(s, "a", Current, "next")
	_, err = s.Set(ctx, "ann", Setting{Name: "a", Value: text("x"), Expires: w.now})
	w.refused(err, fault.Invalid, "expired already")
	w.do(w.db.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE values_version SET expires_at = 0 WHERE version = 1")
		return err
	}))
	if _, err := s.Get(ctx, Query{Name: "a", Stage: Previous}); err == nil {
		w.t.Error("an expiry that was changed in the database is believed")
	}
}

func moved(w *world) {
	s, ctx := w.open(), context.Background()
	w.set(s, "a", "first", Current)
	w.set(s, "a", "second", Current)
	w.set(s, "b", "of b", Current)
	for _, query := range []string{
		"UPDATE values_version SET sealed = (SELECT sealed FROM values_version WHERE name = 'a' AND version = 1) WHERE name = 'a' AND version = 2",
		"UPDATE values_version SET sealed = (SELECT sealed FROM values_version WHERE name = 'a' AND version = 1) WHERE name = 'b'",
		"UPDATE values_secret SET salt = (SELECT salt FROM values_secret WHERE name = 'a') WHERE name = 'b'", // its key goes along
	} {
		w.do(w.db.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, query)
			return err
		}))
		for _, name := range []string{"a", "b"} {
			if v, err := s.Get(ctx, Query{Name: name}); err == nil && string(v.Secret.Reveal()) != "of b" {
				w.t.Errorf("%s is %q after %s", name, v.Secret.Reveal(), query)
			}
		}
	}
}

func deletion(w *world) {
	s, ctx := w.open(), context.Background()
	w.do(s.Define(ctx, []Definition{{Name: "gen", Generate: "password"}}))
	w.set(s, "a", "one", Current)
	w.refused(s.Restore(ctx, "ann", "a"), fault.Conflict, "isn't deleted")
	w.do(s.Delete(ctx, "ann", "a"))
	w.do(s.Delete(ctx, "ann", "gen"))
	for name, err := range map[string]error{
		"get":      func() error { _, err := s.Get(ctx, Query{Name: "a"}); return err }(),
		"set":      func() error { _, err := s.Set(ctx, "ann", Setting{Name: "a", Value: text("x")}); return err }(),
		"promote":  s.Promote(ctx, "ann", "a"),
		"rollback": s.Rollback(ctx, "ann", "a"),
		"delete":   s.Delete(ctx, "ann", "a"),
		"generate": s.Generate(ctx, "ann", "a"),
	} {
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "ward secrets restore a") {
			w.t.Errorf("%s: %v", name, err)
		}
	}
	w.now = w.now.Add(Undo - time.Second)
	w.do(s.Maintain(ctx))
	w.do(s.Define(ctx, []Definition{{Name: "gen", Generate: "password"}, {Name: "other"}}))
	w.do(s.Restore(ctx, "ann", "a"))
	w.has(s, "a", Current, "one")
	w.do(s.Delete(ctx, "ann", "a"))
	w.now = w.now.Add(Undo)
	w.refused(s.Restore(ctx, "ann", "a"), fault.NotFound, "for good")
	w.set(s, "alive", "x", Current)
	w.refused(s.purge(ctx, "alive"), fault.Conflict, "restored in the meantime")
	w.has(s, "alive", Current, "x")
	before := w.rowsOf("values_version")
	w.do(s.Maintain(ctx))
	if after := w.rowsOf("values_version"); before != 3 || after != 1 {
		w.t.Errorf("%d versions before the purge, %d after", before, after)
	}
	w.refused(s.Restore(ctx, "ann", "a"), fault.NotFound, "no value")
	if v := w.set(s, "a", "again", Current); v != 1 {
		w.t.Errorf("a new secret begins with version %d", v)
	}
	w.do(s.Define(ctx, []Definition{{Name: "gen", Generate: "password"}, {Name: "other"}}))
	if _, err := s.Get(ctx, Query{Name: "gen"}); err != nil {
		w.t.Errorf("what is declared doesn't come back: %v", err)
	}
}

func (w *world) rowsOf(table string) int {
	w.t.Helper()
	var n int
	w.do(w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT count(*) FROM "+table).Scan(&n)
	}))
	return n
}

func trimming(w *world) {
	s := w.open()
	w.set(s, "a", "v1", Current)
	w.set(s, "a", "v2", Current)
	for i := 3; i <= 40; i++ {
		w.set(s, "a", fmt.Sprintf("v%d", i), Pending)
		got, err := s.Info(context.Background(), "a")
		w.do(err)
		if want := min(i, MaxVersions); len(got.Versions) != want {
			w.t.Fatalf("%d versions after %d", len(got.Versions), i)
		}
	}
	w.has(s, "a", Previous, "v1")
	w.has(s, "a", Current, "v2")
	w.has(s, "a", Pending, "v40")
	got, err := s.Info(context.Background(), "a")
	w.do(err)
	var have []int64
	for _, v := range got.Versions {
		have = append(have, v.Version)
	}
	if d := cmp.Diff([]int64{40, 39, 38, 37, 36, 35, 34, 33, 2, 1}, have); d != "" {
		w.t.Error(d)
	}
}

func badSettings(w *world) {
	s := w.open()
	for name, in := range map[string]Setting{
		"no name":     {Value: text("x")},
		"upper case":  {Name: "A", Value: text("x")},
		"a path":      {Name: "../a", Value: text("x")},
		"a space":     {Name: "a b", Value: text("x")},
		"empty":       {Name: "a"},
		"too large":   {Name: "a", Value: text(strings.Repeat("x", MaxValue+1))},
		"other stage": {Name: "a", Value: text("x"), Stage: Previous},
	} {
		if _, err := s.Set(context.Background(), "ann", in); fault.KindOf(err) != fault.Invalid {
			w.t.Errorf("%s: %v", name, err)
		}
	}
	w.set(s, "a", strings.Repeat("x", MaxValue), Current)
	w.has(s, "a", Current, strings.Repeat("x", MaxValue))
	if events := w.told(); len(events) != 2 {
		w.t.Errorf("told %q", events)
	}
}

func everythingIsTold(w *world) {
	s, ctx := w.open(), context.Background()
	w.set(s, "a", "hunter2-one", Current)
	w.set(s, "a", "hunter2-two", Pending)
	w.has(s, "a", Pending, "hunter2-two")
	w.do(s.Promote(ctx, "bob", "a"))
	w.do(s.Rollback(ctx, "bob", "a"))
	w.has(s, "a", Current, "hunter2-one")
	w.do(s.Generate(ctx, "bob", "a"))
	w.do(s.Delete(ctx, "bob", "a"))
	w.do(s.Restore(ctx, "bob", "a"))
	w.do(s.Delete(ctx, "bob", "a"))
	w.now = w.now.Add(Undo)
	w.do(s.Maintain(ctx))
	if s := fmt.Sprint(w.ledger); strings.Contains(s, "hunter2") {
		w.t.Error("a value is in the ledger")
	}
	want := []string{
		"secret.set ann a 1", "secret.set ann a 2", "secret.read orders a 2", "secret.promoted bob a 2", "secret.rolled_back bob a 1", "secret.read orders a 1",
		"secret.generated bob a 3", "secret.deleted bob a 3", "secret.restored bob a 3", "secret.deleted bob a 3", "secret.purged control a 3",
	}
	if d := cmp.Diff(want, w.told()); d != "" {
		w.t.Error(d)
	}
	if n := w.rowsOf("values_event"); n != 0 {
		w.t.Errorf("%d events wait", n)
	}
}

func noLedgerNoValue(w *world) {
	s, ctx := w.open(), context.Background()
	w.set(s, "a", "one", Current)
	w.told()
	w.refuses = errors.New("the disk is full")
	if v, err := s.Get(ctx, Query{Name: "a"}); err == nil || len(v.Secret.Reveal()) > 0 {
		w.t.Errorf("read without a trace: %v", err)
	}
	if err := s.Each(ctx, "ann", "test", func(string, Stage, secret.Bytes) error { w.t.Error("visited without a trace"); return nil }); err == nil {
		w.t.Error("each: no error")
	}
	if _, err := s.Set(ctx, "ann", Setting{Name: "a", Value: text("two")}); err == nil {
		w.t.Error("acknowledged without a trace")
	}
	if err := s.Delete(ctx, "ann", "b"); fault.KindOf(err) != fault.NotFound {
		w.t.Error(err)
	}
	w.refuses = nil
	// The change is there; so its trace has to come, too.
	w.has(s, "a", Current, "two")
	w.told()
	w.now = w.now.Add(leftBehind)
	w.do(s.Maintain(ctx))
	if d := cmp.Diff([]string{"secret.set ann a 2"}, w.told()); d != "" {
		w.t.Error(d)
	}
}

func leftEvents(w *world) {
	s, ctx := w.open(), context.Background()
	s.recorder.record = func(context.Context, []wire.Event) error { return errors.New("killed") }
	_, _ = s.Set(ctx, "ann", Setting{Name: "a", Value: text("one")})
	_ = s.Delete(ctx, "bob", "a")
	w.now = w.now.Add(time.Second)
	w.open()
	got := w.told()
	slices.Sort(got) // made at the same time
	if d := cmp.Diff([]string{"secret.deleted bob a 1", "secret.set ann a 1"}, got); d != "" {
		w.t.Error(d)
	}
	w.open()
	if got := w.told(); got != nil {
		w.t.Errorf("told again: %q", got)
	}
}

func restart(w *world) {
	s, ctx := w.open(), context.Background()
	w.set(s, "a", "hunter2", Current)
	before, _ := s.Changed()
	recipient := s.Recipient()
	w.now = w.now.Add(time.Second)
	s = w.open()
	w.has(s, "a", Current, "hunter2")
	if after, _ := s.Changed(); after <= before {
		w.t.Errorf("the sequence fell from %d to %d", before, after)
	}
	old := w.root
	w.root = secret.New(bytes.Repeat([]byte{8}, 32))
	if _, err := w.tryOpen(); fault.KindOf(err) != fault.Refused {
		w.t.Errorf("opened under another root: %v", err)
	}
	w.do(s.Rewrap(ctx, w.root))
	s = w.open()
	w.has(s, "a", Current, "hunter2")
	if s.Recipient() != recipient {
		w.t.Error("another recipient")
	}
	w.root = old
	if _, err := w.tryOpen(); fault.KindOf(err) != fault.Refused {
		w.t.Errorf("opened under the old root: %v", err)
	}
	w.do(w.db.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM values_meta")
		return err
	}))
	if _, err := w.tryOpen(); fault.KindOf(err) != fault.Invalid {
		w.t.Errorf("a new key for old values: %v", err)
	}
}

func replicas(w *world) {
	ctx := context.Background()
	a, b := w.open(), w.open()
	if a.Recipient() != b.Recipient() {
		w.t.Error("two recipients")
	}
	w.now = w.now.Add(time.Second)
	before, changed := b.Changed()
	w.set(a, "a", "one", Current)
	w.has(b, "a", Current, "one")
	w.do(b.Maintain(ctx))
	select {
	case <-changed:
	default:
		w.t.Error("the other replica doesn't notice")
	}
	if after, _ := b.Changed(); after <= before {
		w.t.Error("the sequence doesn't grow")
	}
	_, changed = a.Changed()
	w.do(a.Maintain(ctx))
	select {
	case <-changed:
		w.t.Error("its own change counts twice")
	default:
	}
}

func each(w *world) {
	s, ctx := w.open(), context.Background()
	want := map[string]string{}
	var in bytes.Buffer
	for i := range eachAtOnce + 20 {
		fmt.Fprintf(&in, "N%d=value-%d\n", i, i)
		want[fmt.Sprintf("n%d current", i)] = fmt.Sprintf("value-%d", i)
	}
	_, err := s.Import(ctx, "ann", wire.SecretsImport{Dotenv: in.Bytes()})
	w.do(err)
	w.set(s, "n1", "next", Pending)
	w.set(s, "n2", "now", Current)
	w.do(s.Delete(ctx, "ann", "n3"))
	want["n1 pending"], want["n2 current"], want["n2 previous"] = "next", "now", "value-2"
	delete(want, "n3 current")
	w.told()
	got := map[string]string{}
	w.do(s.Each(ctx, "ann", "fingerprints", func(name string, stage Stage, v secret.Bytes) error {
		got[name+" "+stage.String()] = string(v.Reveal())
		return nil
	}))
	if d := cmp.Diff(want, got); d != "" {
		w.t.Error(d)
	}
	if d := cmp.Diff([]string{"secret.read_all ann *", "secret.read_all ann *"}, w.told()); d != "" {
		w.t.Error(d)
	}
	stop := errors.New("stop")
	if err := s.Each(ctx, "ann", "x", func(string, Stage, secret.Bytes) error { return stop }); !errors.Is(err, stop) {
		w.t.Error(err)
	}
}

func writers(w *world) {
	s, ctx := w.open(), context.Background()
	var wg sync.WaitGroup
	const callers, rounds = 8, 10
	for c := range callers {
		wg.Go(func() {
			for range rounds {
				for { // the one that is shared: by compare-and-set, until it succeeds
					info, err := s.Info(ctx, "shared")
					if err != nil && fault.KindOf(err) != fault.NotFound {
						w.t.Error(err)
						return
					}
					_, err = s.Set(ctx, "ann", Setting{Name: "shared", Value: text("x"), IfNewest: &info.Newest})
					if err == nil {
						break
					}
					if fault.KindOf(err) != fault.Conflict && fault.KindOf(err) != fault.Unavailable {
						w.t.Error(err)
						return
					}
				}
				name := fmt.Sprintf("own-%d", c)
				if _, err := s.Set(ctx, "ann", Setting{Name: name, Value: text("x")}); err != nil {
					w.t.Error(err)
					return
				}
				if _, err := s.Get(ctx, Query{Name: name}); err != nil {
					w.t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	info, err := s.Info(ctx, "shared")
	w.do(err)
	if info.Newest != callers*rounds {
		w.t.Errorf("%d sets succeeded, the newest version is %d", callers*rounds, info.Newest)
	}
}
