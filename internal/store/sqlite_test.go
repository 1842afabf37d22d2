package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wardtest/postgres"
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("STORE_CHILD"); path != "" {
		loadChild(path)
	}
	os.Exit(m.Run())
}

// loadChild writes from eight goroutines until it is killed, and prints what was acknowledged.
func loadChild(path string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx := context.Background()
	db, err := Open(ctx, Config{Path: path, Clock: noon})
	if err != nil {
		fail(err)
	}
	if err := db.Migrate(ctx, "shop", shop); err != nil {
		fail(err)
	}
	var mu sync.Mutex
	for g := range 8 {
		go func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), g, n)
				if err := put(db, id, n); err != nil {
					fail(err)
				}
				mu.Lock()
				fmt.Println(id)
				mu.Unlock()
			}
		}()
	}
	select {}
}

// TestKillLosesNothingThatWasAcknowledged kills a writing process with -9, time after time, on the same file.
func TestKillLosesNothingThatWasAcknowledged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var acked []string
	for round := range 5 {
		c := exec.Command(self)
		c.Env, c.Stderr = append(os.Environ(), "STORE_CHILD="+path), os.Stderr
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		for n := 0; ; n++ {
			line, err := lines.ReadString('\n')
			if err != nil {
				break // the last line may be cut
			}
			acked = append(acked, strings.TrimSpace(line))
			if n == 150+37*round {
				if err := c.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = c.Wait() // killed
	}
	if len(acked) < 5*150 {
		t.Fatalf("only %d were acknowledged", len(acked))
	}
	db := open(t, Config{Path: path})
	if err := db.Read(t.Context(), func(ctx context.Context, tx *Tx) error {
		for _, id := range acked {
			var n int
			if err := tx.QueryRow(ctx, "SELECT n FROM shop_item WHERE id = ?", id).Scan(&n); err != nil {
				return fmt.Errorf("%s was acknowledged: %w", id, err)
			}
		}
		var whole string
		if err := tx.QueryRow(ctx, "PRAGMA integrity_check").Scan(&whole); err != nil || whole != "ok" {
			t.Errorf("integrity: %s, %v", whole, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// hold makes n writers wait behind one, so that all get into one group, and returns what each got.
func hold(t *testing.T, db *DB, n int, fn func(i int, ctx context.Context, tx *Tx) error) []error {
	t.Helper()
	s := db.engine.(*sqliteDB)
	s.mu.Lock()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					errs[i] = fmt.Errorf("panic: %v", r)
				}
			}()
			errs[i] = db.Write(context.Background(), func(ctx context.Context, tx *Tx) error { return fn(i, ctx, tx) })
		})
	}
	for s.waiting.Load() < int64(n) {
		// they come at once
	}
	s.mu.Unlock()
	wg.Wait()
	return errs
}

func TestWritersShareACommitAndNothingElse(t *testing.T) {
	db := shopOf(t, Config{Path: filepath.Join(t.TempDir(), "w.db")})
	s := db.engine.(*sqliteDB)
	groups := map[*group]bool{}
	errs := hold(t, db, 40, func(i int, ctx context.Context, tx *Tx) error {
		groups[s.open] = true // s.mu is held
		if _, err := tx.Exec(ctx, "INSERT INTO shop_item (id, n) VALUES (?, ?)", strconv.Itoa(i), i); err != nil {
			return err
		}
		switch i % 4 {
		case 1:
			return errOwn
		case 2:
			panic("boom")
		case 3:
			_, _ = tx.Exec(ctx, "INSERT INTO shop_item (id, n) VALUES (?, ?)", strconv.Itoa(i), i) // dooms it
		}
		return nil
	})
	for i, err := range errs {
		switch i % 4 {
		case 0:
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		case 1:
			if !errors.Is(err, errOwn) {
				t.Errorf("%d: %v", i, err)
			}
		case 2:
			if err == nil || err.Error() != "panic: boom" {
				t.Errorf("%d: %v", i, err)
			}
		case 3:
			if !IsUnique(err) {
				t.Errorf("%d: %v", i, err)
			}
		}
	}
	if n := count(t, db); n != 10 || len(groups) != 1 {
		t.Errorf("%d rows instead of 10, in %d commits instead of one", n, len(groups))
	}
}

func TestWhatSQLiteUndoesForOneIsDoneAgainForTheOthers(t *testing.T) {
	db := shopOf(t, Config{Path: filepath.Join(t.TempDir(), "w.db")})
	var runs atomic.Int64
	errs := hold(t, db, 8, func(i int, ctx context.Context, tx *Tx) error {
		if runs.Add(1) == 4 {
			// As SQLite does by itself when the disk is full.
			return errors.Join(errOwn, db.engine.(*sqliteDB).writer.exec("ROLLBACK"))
		}
		_, err := tx.Exec(ctx, "INSERT INTO shop_item (id, n) VALUES (?, ?)", strconv.Itoa(i), i)
		return err
	})
	failed := 0
	for i, err := range errs {
		if errors.Is(err, errOwn) {
			failed++
		} else if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	if n := count(t, db); n != 7 || failed != 1 || runs.Load() != 11 {
		t.Errorf("%d rows, %d failed, %d runs; want 7, 1, and 11, of which three are second ones", n, failed, runs.Load())
	}
}

func TestAFullDiskIsToldAndNothingIsHalfDone(t *testing.T) {
	db := shopOf(t, Config{Path: filepath.Join(t.TempDir(), "w.db")})
	if err := db.engine.(*sqliteDB).writer.exec("PRAGMA max_page_count = 20"); err != nil {
		t.Fatal(err)
	}
	var wrote []string
	for i := range 1000 {
		id := fmt.Sprintf("%0500d", i)
		if err := put(db, id, i); err != nil {
			if fault.KindOf(err) != fault.Exhausted || !strings.Contains(fault.PublicText(err), "disk is full") {
				t.Errorf("full: %v", err)
			}
			break
		}
		wrote = append(wrote, id)
	}
	if n := count(t, db); n != len(wrote) || n == 0 || n == 1000 {
		t.Errorf("%d rows, %d acknowledged", n, len(wrote))
	}
	if err := db.engine.(*sqliteDB).writer.exec("PRAGMA max_page_count = 2000"); err != nil {
		t.Fatal(err)
	}
	if err := put(db, "room", 1); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestAnotherProcessIsWaitedForAndThenTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	db, other := shopOf(t, Config{Path: path}), open(t, Config{Path: path})
	var wg sync.WaitGroup
	if err := other.Write(t.Context(), func(context.Context, *Tx) error {
		wg.Go(func() {
			if err := put(db, "waits", 1); err != nil {
				t.Error(err)
			}
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := db.engine.(*sqliteDB).writer.exec("PRAGMA busy_timeout = 1"); err != nil {
		t.Fatal(err)
	}
	if err := other.Write(t.Context(), func(context.Context, *Tx) error {
		if err := put(db, "gives up", 1); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.PublicText(err), "another process") {
			t.Errorf("%v", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := put(db, "free again", 1); err != nil || count(t, db) != 2 {
		t.Errorf("%v, %d rows", err, count(t, db))
	}
}

func TestUnfitFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	at := func(name string, mode fs.FileMode, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	damaged := at("damaged.db", 0o600, "")
	if err := shopOf(t, Config{Path: damaged}).Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(damaged, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(strings.Repeat("x", 4000)), 100); err != nil { // the schema's page
		t.Fatal(err)
	}
	f.Close()
	for _, c := range []struct{ name, path, why string }{
		{"another format", at("text.db", 0o600, strings.Repeat("not a database ", 100)), "damaged or not SQLite's"},
		{"damaged schema", damaged, "damaged or not SQLite's"},
		{"readable by all", at("open.db", 0o644, ""), "chmod 600"},
		{"writable by the group", at("group.db", 0o620, ""), "chmod 600"},
		{"no folder", filepath.Join(dir, "no/such.db"), "folder"},
		{"a folder", dir, ""},
		{"a device", "/dev/null", "not a regular file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(t.Context(), Config{Path: c.path, Clock: noon})
			if err == nil || !strings.Contains(fault.PublicText(err), c.why) && c.why != "" {
				t.Errorf("got %v, want %q", err, c.why)
			}
		})
	}
}

func TestTheFilesAreOursAlone(t *testing.T) {
	dir := t.TempDir()
	db := shopOf(t, Config{Path: filepath.Join(dir, "w.db")})
	if err := put(db, "a", 1); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files instead of the database, its log and its index; %v", len(files), err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
}

func TestEveryConnectionIsStrict(t *testing.T) {
	db := shopOf(t, Config{Path: filepath.Join(t.TempDir(), "w.db")})
	for name, run := range map[string]func(context.Context, func(context.Context, *Tx) error) error{"reader": db.Read, "writer": db.Write} {
		if err := run(t.Context(), func(ctx context.Context, tx *Tx) error {
			for pragma, want := range map[string]string{
				"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "trusted_schema": "0", "secure_delete": "1", "busy_timeout": "5000",
			} {
				var got string
				if err := tx.QueryRow(ctx, "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
					t.Errorf("%s: %s is %s, %v", name, pragma, got, err)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDeletedBytesAreGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.db")
	db := shopOf(t, Config{Path: path})
	if err := put(db, "a secret to be forgotten", 1); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM shop_item")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("%d files are left, %v", len(files), err)
	}
	b, err := os.ReadFile(path)
	if err != nil || len(b) < 3*4096 || strings.Contains(string(b), "to be forgotten") {
		t.Errorf("still in the file, or %v", err)
	}
}

func TestQuestionMarksBecomeNumbers(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "",
		"a = ? AND b IN (?,?)": "a = $1 AND b IN ($2,$3)",
		"'?''?' ? \"?\"":       "'?''?' $1 \"?\"",
		"? -- ?\n?":            "$1 -- ?\n$2",
		"? /* ? */ ?":          "$1 /* ? */ $2",
		"? 'open ?":            "$1 'open ?",
		"?,?,?,?,?,?,?,?,?,?":  "$1,$2,$3,$4,$5,$6,$7,$8,$9,$10",
		"a - ? / ?":            "a - $1 / $2",
	} {
		if got := number(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	dir := b.TempDir()
	engines := map[string]func() Config{
		"sqlite":   func() Config { return Config{Path: filepath.Join(dir, "w.db")} },
		"postgres": func() Config { return Config{URL: benchServer(b)} },
	}
	for _, name := range []string{"sqlite", "postgres"} {
		db := open(b, engines[name]())
		if err := db.Migrate(b.Context(), "shop", shop); err != nil {
			b.Fatal(err)
		}
		var n atomic.Int64
		for _, callers := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) {
				b.SetParallelism(max(1, callers/2)) // times GOMAXPROCS, which is 2 in Ward's figures
				one := func() {
					if err := put(db, strconv.FormatInt(n.Add(1), 10), 1); err != nil {
						b.Error(err)
					}
				}
				if callers == 1 {
					for b.Loop() {
						one()
					}
				} else {
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							one()
						}
					})
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			})
		}
	}
}

func benchServer(b *testing.B) secret.Bytes { return postgres.Start(b).Database(b) }

func BenchmarkRead(b *testing.B) {
	db := open(b, Config{Path: filepath.Join(b.TempDir(), "w.db")})
	if err := db.Migrate(b.Context(), "shop", shop); err != nil {
		b.Fatal(err)
	}
	if err := put(db, "a", 1); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := db.Read(context.Background(), func(ctx context.Context, tx *Tx) error {
			var n int
			return tx.QueryRow(ctx, "SELECT n FROM shop_item WHERE id = ?", "a").Scan(&n)
		}); err != nil {
			b.Fatal(err)
		}
	}
}
