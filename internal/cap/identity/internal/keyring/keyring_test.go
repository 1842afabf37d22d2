package keyring

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
)

var lives = Lives{Ahead: 24 * time.Hour, Sign: 30 * 24 * time.Hour, Keep: time.Hour}

type world struct {
	t    *testing.T
	now  time.Time
	path string
	db   *store.DB
	seal secret.Bytes
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC), path: filepath.Join(t.TempDir(), "db"), seal: secret.New(bytes.Repeat([]byte{7}, 32))}
	var err error
	if w.db, err = store.Open(t.Context(), store.Config{Path: w.path, Clock: w.clock()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	return w
}

func (w *world) clock() clock.Clock { return clock.Func(func() time.Time { return w.now }) }

func (w *world) open() *Ring {
	w.t.Helper()
	r, err := Open(w.t.Context(), Config{DB: w.db, Seal: w.seal, Clock: w.clock(), Lives: lives})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func sign(t *testing.T, r *Ring, alg jose.Alg) (kid, token string) {
	t.Helper()
	token, err := r.Sign(t.Context(), alg, "JWT", map[string]any{"n": 1})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jose.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Alg != alg {
		t.Fatalf("signed with %s instead of %s", parsed.Alg, alg)
	}
	return parsed.KeyID, token
}

func verifies(t *testing.T, set *jose.KeySet, token string) bool {
	t.Helper()
	parsed, err := jose.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Verify(set, jose.ES256, jose.RS256) == nil
}

// TestRotation walks a year in steps. A verifier's copy of the set may be as old as Ahead, and what was signed may be as old
// as Keep.
func TestRotation(t *testing.T) {
	w := newWorld(t)
	r := w.open()
	type signed struct {
		at    time.Time
		token string
	}
	var tokens []signed
	old, kids := r.Public(), map[string]bool{}
	const step = 20 * time.Minute
	begin := w.now
	for w.now.Sub(begin) < 100*24*time.Hour {
		if err := r.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.now.Sub(begin)%(24*time.Hour) < step {
			old = r.Public() // a verifier reads the set once a day
		}
		kid, token := sign(t, r, jose.ES256)
		kids[kid] = true
		if !verifies(t, old, token) {
			t.Fatalf("%s: signed with a key that a verifier's copy of a day doesn't have", w.now)
		}
		tokens = append(tokens, signed{w.now, token})
		for len(tokens) > 0 && w.now.Sub(tokens[0].at) > lives.Keep {
			tokens = tokens[1:]
		}
		for _, s := range tokens {
			if !verifies(t, r.Public(), s.token) {
				t.Fatalf("%s: a token of %s doesn't verify any more", w.now, s.at)
			}
		}
		if n := r.Public().Len(); n > 3 {
			t.Fatalf("%d keys are published", n)
		}
		w.now = w.now.Add(step)
	}
	if len(kids) < 4 {
		t.Errorf("only %d keys signed in 100 days", len(kids))
	}
}

func TestLateMaintenance(t *testing.T) {
	for name, late := range map[string]time.Duration{"a little": lives.Sign, "an overdue key signs on": lives.Sign + lives.Ahead, "years": 20 * lives.Sign} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.open()
			w.now = w.now.Add(late)
			if err := r.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, token := sign(t, r, jose.ES256)
			w.now = w.now.Add(lives.Keep - time.Second)
			if err := r.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !verifies(t, r.Public(), token) {
				t.Error("what it signed doesn't verify until its end")
			}
		})
	}
}

func TestRestartAndReplicasShareKeys(t *testing.T) {
	w := newWorld(t)
	a, b := w.open(), w.open()
	kid, _ := sign(t, a, jose.ES256)
	rsa, token := sign(t, a, jose.RS256)
	if got, _ := sign(t, b, jose.ES256); got != kid {
		t.Error("a replica has another key")
	}
	if got, _ := sign(t, b, jose.RS256); got != rsa {
		t.Error("a replica made another RSA key")
	}
	if !verifies(t, b.Public(), token) {
		t.Error("a replica doesn't know the RSA key")
	}
	if got, _ := sign(t, w.open(), jose.ES256); got != kid {
		t.Error("another key after a restart")
	}
}

func TestSealed(t *testing.T) {
	w := newWorld(t)
	r := w.open()
	if _, err := Open(t.Context(), Config{DB: w.db, Seal: secret.New(bytes.Repeat([]byte{8}, 32)), Clock: w.clock(), Lives: lives}); err == nil || !strings.Contains(err.Error(), "unseal") {
		t.Errorf("opened with another sealing key: %v", err)
	}
	plain, err := r.keys[0].PKCS8()
	if err != nil {
		t.Fatal(err)
	}
	err = w.db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		var sealed []byte
		if err := tx.QueryRow(ctx, "SELECT sealed FROM keyring_key").Scan(&sealed); err != nil {
			return err
		}
		if bytes.Contains(sealed, plain.Reveal()[len(plain.Reveal())-64:]) {
			t.Error("the private key is in the database")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestASwappedKeyIsRefused(t *testing.T) {
	w := newWorld(t)
	r := w.open()
	if err := r.add(t.Context(), jose.RS256); err != nil {
		t.Fatal(err)
	}
	err := w.db.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE keyring_key SET sealed = (SELECT sealed FROM keyring_key WHERE alg = 'RS256')")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{DB: w.db, Seal: w.seal, Clock: w.clock(), Lives: lives}); err == nil {
		t.Error("opened")
	}
}

func TestChangedIsTold(t *testing.T) {
	w := newWorld(t)
	n := 0
	r, err := Open(t.Context(), Config{DB: w.db, Seal: w.seal, Clock: w.clock(), Lives: lives, Changed: func() { n++ }})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := r.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	before := n
	if _, err := r.Sign(t.Context(), jose.RS256, "JWT", map[string]int{}); err != nil {
		t.Fatal(err)
	}
	if n != before+1 || before != 1 {
		t.Errorf("told %d times, then %d", before, n)
	}
}

func TestLivesMustMakeSense(t *testing.T) {
	w := newWorld(t)
	for _, l := range []Lives{{}, {Ahead: 1, Sign: 1, Keep: 1}, {Ahead: 1, Sign: 2}, {Sign: 2, Keep: 1}} {
		if _, err := Open(t.Context(), Config{DB: w.db, Seal: w.seal, Clock: w.clock(), Lives: l}); err == nil {
			t.Errorf("%+v is taken", l)
		}
	}
}
