package keys

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wardtest/postgres"
	"github.com/wardhq/ward/sdk/seal/envelope"
)

var orders = Caller{Service: "orders", Instance: "orders-0"}

var address = envelope.Context{Class: "addresses", Table: "orders", Column: "address", Row: "7"}

// world is a database, a clock, and what was recorded.
type world struct {
	testing.TB
	db     *store.DB
	config store.Config
	root   secret.Bytes
	budget Budget

	mu   sync.Mutex // guards what follows
	now  time.Time
	uses []Use
	fail error // what Record answers
}

func newWorld(t testing.TB) *world {
	return newWorldOn(t, store.Config{Path: filepath.Join(t.TempDir(), "db")})
}

func newWorldOn(t testing.TB, c store.Config) *world {
	w := &world{TB: t, config: c, now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC), root: secret.New(bytes.Repeat([]byte{7}, 32))}
	w.config.Clock = w.clock()
	w.connect()
	t.Cleanup(func() { _ = w.db.Close() })
	return w
}

// onBoth runs a test on both engines.
func onBoth(t *testing.T, f func(t *testing.T, w *world)) {
	t.Run("sqlite", func(t *testing.T) { f(t, newWorld(t)) })
	t.Run("postgres", func(t *testing.T) { f(t, newWorldOn(t, store.Config{URL: postgres.Start(t).Database(t)})) })
}

func (w *world) clock() clock.Clock {
	return clock.Func(func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.now
	})
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) connect() {
	w.Helper()
	var err error
	if w.db, err = store.Open(w.Context(), w.config); err != nil {
		w.Fatal(err)
	}
}

// restart is a new process on the same database.
func (w *world) restart() *Ring {
	w.Helper()
	if err := w.db.Close(); err != nil {
		w.Fatal(err)
	}
	w.connect()
	return w.open()
}

func (w *world) record(_ context.Context, uses []Use) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return w.fail
	}
	w.uses = append(w.uses, uses...)
	return nil
}

// recorded sums what was recorded of an operation on a key.
func (w *world) recorded(name string, op Op) (n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.uses {
		if u.Key == name && u.Op == op {
			n += u.Count
		}
	}
	return n
}

// open opens a ring; several are replicas.
func (w *world) open() *Ring {
	w.Helper()
	r, err := Open(w.Context(), Config{DB: w.db, Root: w.root, Clock: w.clock(), Record: w.record, Budget: w.budget})
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func (w *world) define(r *Ring, name string, p Purpose) {
	w.Helper()
	w.do(r.Define(w.Context(), []Definition{{Name: name, Purpose: p}}))
}

func (w *world) do(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) encrypt(r *Ring, name, owner, plain string) []byte {
	w.Helper()
	c := address
	if name == "lookup" {
		c.Row = ""
	}
	out, err := one(r.Encrypt(w.Context(), orders, name, []Item{{Context: c, Owner: owner, Data: []byte(plain)}}))
	if err != nil {
		w.Fatalf("encrypt: %v", err)
	}
	return out
}

func (w *world) decrypt(r *Ring, name, owner string, sealed []byte) (string, error) {
	w.Helper()
	c := address
	if name == "lookup" {
		c.Row = ""
	}
	out, err := one(r.Decrypt(w.Context(), orders, name, []Item{{Context: c, Owner: owner, Data: sealed}}))
	return string(out), err
}

// decrypts fails the test unless sealed opens as plain.
func (w *world) decrypts(r *Ring, name, owner string, sealed []byte, plain string) {
	w.Helper()
	if got, err := w.decrypt(r, name, owner, sealed); err != nil || got != plain {
		w.Fatalf("got %q, %v; want %q", got, err, plain)
	}
}

func one(all []Result, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return all[0].Data, all[0].Err
}

// refused fails the test unless err is of a kind.
func (w *world) refused(err error, want fault.Kind) {
	w.Helper()
	if err == nil || fault.KindOf(err) != want {
		w.Fatalf("%v, which is %s; want %s", err, fault.KindOf(err), want)
	}
}

func (w *world) version(r *Ring, name string) int64 {
	w.Helper()
	k, err := r.Get(w.Context(), name)
	if err != nil {
		w.Fatal(err)
	}
	return k.Current
}

func label(i int) string { return fmt.Sprintf("key-%05d", i) }
