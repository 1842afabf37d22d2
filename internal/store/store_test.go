package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wardtest/postgres"
)

var (
	noon   = clock.Func(func() time.Time { return time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC) })
	shop   = sqlFiles("0001_item.sql", "CREATE TABLE shop_item (id TEXT PRIMARY KEY, n BIGINT NOT NULL, ok BOOLEAN, raw BYTEA, owner TEXT REFERENCES shop_item (id));")
	errOwn = errors.New("our own error")
)

func sqlFiles(nameAndText ...string) fstest.MapFS {
	files := fstest.MapFS{}
	for i := 0; i < len(nameAndText); i += 2 {
		files[nameAndText[i]] = &fstest.MapFile{Data: []byte(nameAndText[i+1])}
	}
	return files
}

func open(t testing.TB, c Config) *DB {
	t.Helper()
	c.Clock = noon
	db, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

type conform struct {
	name string
	test func(*testing.T, Config)
}

// conformance is what both engines must do, each on a database of its own.
var conformance = []conform{
	{"values come back as they went", values},
	{"question marks in quotes stay", quotes},
	{"an error undoes all", errorUndoes},
	{"a panic undoes all, and goes on", panicUndoes},
	{"a failed statement dooms its transaction", doomed},
	{"keys are unique and references hold", constraints},
	{"readers can't write and see one moment", readers},
	{"increments of many writers add up", increments},
	{"decisions of many writers hold together", writeSkew},
	{"a transaction inside another is refused", nested},
	{"an ended context undoes all", canceled},
	{"rows that nobody closed do no harm", openRows},
	{"a closed store says so", closedStore},
	{"migrations run once and in order", migrateOnce},
	{"migrations that can't be are refused", migrateRefused},
	{"a failing migration leaves nothing", migrateFails},
	{"replicas that start together migrate once", migrateTogether},
}

func TestBothEngines(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		for _, c := range conformance {
			t.Run(c.name, func(t *testing.T) { c.test(t, Config{Path: filepath.Join(t.TempDir(), "a b?#%.db")}) })
		}
	})
	t.Run("postgres", func(t *testing.T) {
		server := postgres.Start(t)
		for _, c := range conformance {
			t.Run(c.name, func(t *testing.T) { c.test(t, Config{URL: server.Database(t)}) })
		}
	})
}

func shopOf(t *testing.T, c Config) *DB {
	t.Helper()
	db := open(t, c)
	if err := db.Migrate(t.Context(), "shop", shop); err != nil {
		t.Fatal(err)
	}
	return db
}

func put(db *DB, id string, n int) error {
	return db.Write(context.Background(), func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO shop_item (id, n) VALUES (?, ?)", id, n)
		return err
	})
}

func count(t *testing.T, db *DB) (n int) {
	t.Helper()
	if err := db.Read(context.Background(), func(ctx context.Context, tx *Tx) error {
		return tx.QueryRow(ctx, "SELECT count(*) FROM shop_item").Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func values(t *testing.T, c Config) {
	db := shopOf(t, c)
	type item struct {
		N    int64
		OK   *bool
		Raw  string
		Null bool // Raw is
	}
	yes := true
	for id, want := range map[string]item{
		"full":     {1 << 62, &yes, "\x00\x01\xff?", false},
		"negative": {-noon.Now().UnixMicro(), nil, "", true},
		"empty":    {0, new(bool), "", false},
		"number":   {1, nil, "12", false},
	} {
		var got item
		raw := []byte(want.Raw)
		if want.Null {
			raw = nil
		}
		if err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
			got = item{}
			return tx.QueryRow(ctx, "INSERT INTO shop_item (id, n, ok, raw) VALUES (?, ?, ?, ?) RETURNING n, ok, coalesce(raw, ?), raw IS NULL", id, want.N, want.OK, raw, []byte{}).Scan(&got.N, &got.OK, &got.Raw, &got.Null)
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, returned: %s", id, diff)
		}
		if err := db.Read(t.Context(), func(ctx context.Context, tx *Tx) error {
			got = item{}
			return tx.QueryRow(ctx, "SELECT n, ok, coalesce(raw, ?), raw IS NULL FROM shop_item WHERE id = ?", []byte{}, id).Scan(&got.N, &got.OK, &got.Raw, &got.Null)
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, read: %s", id, diff)
		}
	}
}

func quotes(t *testing.T, c Config) {
	db := shopOf(t, c)
	if err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
		if n, err := tx.Exec(ctx, "INSERT INTO shop_item /* ? */ (id, n) VALUES ('it''s ?', ?) -- ?\n ON CONFLICT (id) DO NOTHING", 7); n != 1 || err != nil {
			return fmt.Errorf("%d rows, %w", n, err)
		}
		var id string
		if err := tx.QueryRow(ctx, `SELECT id AS "?" FROM shop_item WHERE n = ?`, 7).Scan(&id); err != nil || id != "it's ?" {
			return fmt.Errorf("id %q, %w", id, err)
		}
		if err := tx.QueryRow(ctx, "SELECT id FROM shop_item WHERE n = ?", 8).Scan(&id); !errors.Is(err, ErrNoRows) {
			return fmt.Errorf("a row that isn't there: %w", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db); n != 1 {
		t.Errorf("%d rows; a missing row must doom nothing", n)
	}
}

func errorUndoes(t *testing.T, c Config) {
	db := shopOf(t, c)
	err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO shop_item (id, n) VALUES ('a', 1)"); err != nil {
			return err
		}
		return errOwn
	})
	if !errors.Is(err, errOwn) || count(t, db) != 0 {
		t.Errorf("%v, %d rows", err, count(t, db))
	}
}

func panicUndoes(t *testing.T, c Config) {
	db := shopOf(t, c)
	func() {
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("recovered %v", r)
			}
		}()
		_ = db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO shop_item (id, n) VALUES ('a', 1)"); err != nil {
				return err
			}
			panic("boom")
		})
	}()
	if err := put(db, "b", 1); err != nil || count(t, db) != 1 {
		t.Errorf("%v, %d rows", err, count(t, db))
	}
}

func doomed(t *testing.T, c Config) {
	db := shopOf(t, c)
	err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO shop_item (id, n) VALUES ('a', 1)"); err != nil {
			t.Error(err)
		}
		if _, err := tx.Exec(ctx, "INSERT INTO shop_item (id, n) VALUES ('a', 1)"); !IsUnique(err) {
			t.Errorf("twice: %v", err)
		}
		if _, err := tx.Exec(ctx, "INSERT INTO shop_item (id, n) VALUES ('b', 1)"); err == nil {
			t.Error("went on after a failure")
		}
		return nil
	})
	if !IsUnique(err) || count(t, db) != 0 {
		t.Errorf("%v, %d rows", err, count(t, db))
	}
}

func constraints(t *testing.T, c Config) {
	db := shopOf(t, c)
	if err := put(db, "a", 1); err != nil {
		t.Fatal(err)
	}
	if err := put(db, "a", 1); !IsUnique(err) {
		t.Errorf("a second a: %v", err)
	}
	err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO shop_item (id, n, owner) VALUES ('b', 1, 'nobody')")
		return err
	})
	if err == nil || IsUnique(err) {
		t.Errorf("a reference to nothing: %v", err)
	}
}

func readers(t *testing.T, c Config) {
	db := shopOf(t, c)
	if err := db.Read(t.Context(), func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO shop_item (id, n) VALUES ('a', 1)")
		return err
	}); err == nil {
		t.Error("a reader wrote")
	}
	if err := db.Read(t.Context(), func(ctx context.Context, tx *Tx) error {
		var before, after int
		if err := tx.QueryRow(ctx, "SELECT count(*) FROM shop_item").Scan(&before); err != nil {
			return err
		}
		if err := put(db, "b", 1); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT count(*) FROM shop_item").Scan(&after); err != nil {
			return err
		}
		if before != 0 || after != 0 {
			t.Errorf("%d rows, then %d", before, after)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db); n != 1 {
		t.Errorf("%d rows", n)
	}
}

// together runs fn in many goroutines at once.
func together(t *testing.T, n int, fn func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := fn(i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func increments(t *testing.T, c Config) {
	db := shopOf(t, c)
	if err := put(db, "a", 0); err != nil {
		t.Fatal(err)
	}
	together(t, 16, func(i int) error {
		for range 10 {
			err := db.Write(context.Background(), func(ctx context.Context, tx *Tx) error {
				var n int
				if err := tx.QueryRow(ctx, "SELECT n FROM shop_item WHERE id = 'a'").Scan(&n); err != nil {
					return err
				}
				if _, err := tx.Exec(ctx, "UPDATE shop_item SET n = ? WHERE id = 'a'", n+1); err != nil {
					return err
				}
				if i%4 == 0 {
					return errOwn // must not count, nor keep others from counting
				}
				return nil
			})
			if err != nil && (i%4 != 0 || !errors.Is(err, errOwn)) {
				return err
			}
		}
		return nil
	})
	if err := db.Read(t.Context(), func(ctx context.Context, tx *Tx) error {
		var n int
		err := tx.QueryRow(ctx, "SELECT n FROM shop_item WHERE id = 'a'").Scan(&n)
		if n != 120 {
			t.Errorf("counted to %d instead of 120", n)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// writeSkew: each writer adds its own row if there is none yet; one may.
func writeSkew(t *testing.T, c Config) {
	db := shopOf(t, c)
	together(t, 8, func(i int) error {
		return db.Write(context.Background(), func(ctx context.Context, tx *Tx) error {
			var n int
			if err := tx.QueryRow(ctx, "SELECT count(*) FROM shop_item WHERE n = 1").Scan(&n); err != nil || n > 0 {
				return err
			}
			_, err := tx.Exec(ctx, "INSERT INTO shop_item (id, n) VALUES (?, 1)", fmt.Sprint(i))
			return err
		})
	})
	if n := count(t, db); n != 1 {
		t.Errorf("%d are the first", n)
	}
}

func nested(t *testing.T, c Config) {
	db := shopOf(t, c)
	for name, outer := range map[string]func(context.Context, func(context.Context, *Tx) error) error{"read": db.Read, "write": db.Write} {
		err := outer(t.Context(), func(ctx context.Context, _ *Tx) error {
			return errors.Join(db.Write(ctx, nil), db.Read(ctx, nil))
		})
		if err == nil || strings.Count(err.Error(), "inside another") != 2 {
			t.Errorf("in a %s: %v", name, err)
		}
	}
}

func canceled(t *testing.T, c Config) {
	db := shopOf(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	if err := db.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO shop_item (id, n) VALUES ('a', 1)")
		cancel()
		return err
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended in the middle: %v", err)
	}
	if err := db.Write(ctx, func(context.Context, *Tx) error { t.Error("ran"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("ended before: %v", err)
	}
	if n := count(t, db); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func openRows(t *testing.T, c Config) {
	db := shopOf(t, c)
	for i := range 20 { // more than there are readers
		if err := put(db, fmt.Sprint(i), i); err != nil {
			t.Fatal(err)
		}
		for _, run := range []func(context.Context, func(context.Context, *Tx) error) error{db.Read, db.Write} {
			if err := run(t.Context(), func(ctx context.Context, tx *Tx) error {
				rows, err := tx.Query(ctx, "SELECT id FROM shop_item")
				if err == nil && !rows.Next() {
					t.Error("no row")
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func closedStore(t *testing.T, c Config) {
	db := shopOf(t, c)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := put(db, "a", 1); err == nil {
		t.Error("wrote")
	}
	if err := db.Read(t.Context(), func(context.Context, *Tx) error { return nil }); err == nil {
		t.Error("read")
	}
	if n := count(t, open(t, c)); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func migrateOnce(t *testing.T, c Config) {
	db := shopOf(t, c)
	if err := put(db, "a", 1); err != nil {
		t.Fatal(err)
	}
	two := sqlFiles("0001_item.sql", string(shop["0001_item.sql"].Data),
		"0002_price.sqlite.sql", "ALTER TABLE shop_item ADD COLUMN price BIGINT; CREATE INDEX shop_by_price ON shop_item (price); UPDATE shop_item SET price = 3;",
		"0002_price.postgres.sql", "ALTER TABLE shop_item ADD COLUMN price BIGINT; CREATE INDEX shop_by_price ON shop_item (price); UPDATE shop_item SET price = 3;")
	for range 2 {
		if err := db.Migrate(t.Context(), "shop", two); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Migrate(t.Context(), "other", sqlFiles("0001_a.sql", "CREATE TABLE other_a (a TEXT);")); err != nil {
		t.Fatal(err)
	}
	if err := db.Read(t.Context(), func(ctx context.Context, tx *Tx) error {
		var n, at, price int64
		if err := tx.QueryRow(ctx, "SELECT count(*), min(at) FROM store_migration").Scan(&n, &at); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT price FROM shop_item").Scan(&price); err != nil {
			return err
		}
		if n != 3 || at != noon.Now().UnixMicro() || price != 3 {
			t.Errorf("%d migrations, first at %d, price %d", n, at, price)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func migrateRefused(t *testing.T, c Config) {
	db := shopOf(t, c)
	for _, f := range []struct {
		name, owner string
		files       fstest.MapFS
		why         string
	}{
		{"a changed one", "shop", sqlFiles("0001_item.sql", "CREATE TABLE shop_item (id TEXT);"), "was changed after it had run"},
		{"a renamed one", "shop", sqlFiles("0001_thing.sql", string(shop["0001_item.sql"].Data)), "was changed after it had run"},
		{"a newer database", "shop", sqlFiles(), "a newer Ward"},
		{"a gap", "gap", sqlFiles("0002_a.sql", ""), "should have the number 1"},
		{"a number twice", "twice", sqlFiles("0001_a.sql", "", "0001_b.sql", ""), "should have the number 2"},
		{"one engine only", "half", sqlFiles("0001_a.sqlite.sql", ""), "one engine only"},
		{"another name", "name", sqlFiles("1_a.sql", ""), "isn't called like"},
		{"another file", "name", sqlFiles("README.md", ""), "isn't called like"},
		{"no owner", "", sqlFiles(), "can't own"},
		{"the store's own", "store", sqlFiles(), "can't own"},
		{"another's table", "bad", sqlFiles("0001_a.sql", "CREATE TABLE shop_b (a TEXT);"), "shop_b doesn't begin with bad_"},
		{"another's table, dropped", "bad", sqlFiles("0001_a.sql", "drop table IF EXISTS\n shop_item;"), "shop_item doesn't"},
		{"another's rows", "bad", sqlFiles("0001_a.sql", "DELETE FROM shop_item"), "shop_item doesn't"},
		{"another's reference", "bad", sqlFiles("0001_a.sql", "CREATE TABLE bad_a (a TEXT REFERENCES shop_item (id) ON DELETE CASCADE)"), "shop_item doesn't"},
		{"behind a comment", "bad", sqlFiles("0001_a.sql", "DELETE FROM /* x */ shop_item"), "shop_item doesn't"},
		{"in quotes", "bad", sqlFiles("0001_a.sql", `DELETE FROM "shop_item"`), "doesn't begin"},
		{"the migrations themselves", "bad", sqlFiles("0001_a.sql", "UPDATE store_migration SET sha256 = ''"), "store_migration doesn't"},
		{"an index of another name", "bad", sqlFiles("0001_a.sql", "CREATE UNIQUE INDEX by_a ON bad_a (a)"), "by_a doesn't"},
		{"a commit", "bad", sqlFiles("0001_a.sql", "CREATE TABLE bad_a (a TEXT); COMMIT;"), "no commit"},
		{"a pragma", "bad", sqlFiles("0001_a.sql", "PRAGMA foreign_keys = OFF"), "no pragma"},
	} {
		t.Run(f.name, func(t *testing.T) {
			if err := db.Migrate(t.Context(), f.owner, f.files); err == nil || !strings.Contains(err.Error(), f.why) {
				t.Errorf("got %v, want %q", err, f.why)
			}
		})
	}
	if err := put(db, "a", 1); err != nil {
		t.Error(err)
	}
}

func migrateFails(t *testing.T, c Config) {
	db := shopOf(t, c)
	if err := db.Migrate(t.Context(), "bad", sqlFiles("0001_a.sql", "CREATE TABLE bad_a (a TEXT); CREATE TABLE bad_a (a TEXT);")); err == nil {
		t.Fatal("made a table twice")
	}
	if err := db.Migrate(t.Context(), "bad", sqlFiles("0001_a.sql", "CREATE TABLE bad_a (a TEXT);")); err != nil {
		t.Error("the failed one has left something:", err)
	}
}

func migrateTogether(t *testing.T, c Config) {
	var files []string
	for i := range 5 {
		files = append(files, fmt.Sprintf("%04d_t.sql", i+1), fmt.Sprintf("CREATE TABLE many_t%d (a BIGINT); INSERT INTO many_t%d VALUES (1);", i, i))
	}
	c.Clock = noon
	together(t, 4, func(int) error {
		db, err := Open(t.Context(), c)
		if err != nil {
			return err
		}
		return errors.Join(db.Migrate(t.Context(), "many", sqlFiles(files...)), db.Close())
	})
	if err := open(t, c).Read(t.Context(), func(ctx context.Context, tx *Tx) error {
		var n int
		err := tx.QueryRow(ctx, "SELECT count(*) FROM many_t4").Scan(&n)
		if n != 1 {
			t.Errorf("ran %d times", n)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestURLsAreNotTold(t *testing.T) {
	for _, at := range []string{"postgres://u:hunter2@%zz/x", "postgres://u:hunter2@127.0.0.1:1/x?sslmode=disable&connect_timeout=1"} {
		_, err := Open(t.Context(), Config{URL: secret.New([]byte(at)), Clock: noon})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}
