package grant

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
)

type world struct {
	*Store
	t    *testing.T
	now  time.Time
	told []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}
	c := clock.Func(func() time.Time { return w.now })
	db, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "db"), Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w.Store, err = Open(t.Context(), Config{
		DB: db, Seal: secret.New(bytes.Repeat([]byte{7}, 32)), Clock: c, Access: 10 * time.Minute, Refresh: 24 * time.Hour,
		Tell: func(_ context.Context, ids ...string) error {
			w.told = append(w.told, ids...)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) begin(refresh, jti string) {
	w.t.Helper()
	a := &Authorization{Client: "app", Person: "ada", Session: "s1"}
	first, err := w.Begin(w.t.Context(), New{Authorization: a, Refresh: refresh, JTI: jti, Expires: w.now.Add(12 * time.Hour)},
		func(context.Context, *store.Tx, string) (bool, error) { return true, nil })
	if err != nil || !first {
		w.t.Fatal(first, err)
	}
}

func (w *world) rows(table string) int {
	w.t.Helper()
	n := 0
	err := w.DB.Read(w.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT count(*) FROM "+table).Scan(&n)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestSweepTakesWhatIsOverAndNothingElse(t *testing.T) {
	w := newWorld(t)
	w.begin("r1", "j1")
	if _, err := w.Once(t.Context(), "x", w.now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	got := map[string][]int{}
	for _, d := range []time.Duration{0, time.Minute, 10 * time.Minute, 12 * time.Hour} {
		w.now = w.now.Add(d + time.Second)
		if err := w.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"grant_seen", "grant_token", "grant_refresh", "grant_given"} {
			got[table] = append(got[table], w.rows(table))
		}
	}
	if diff := cmp.Diff(map[string][]int{"grant_seen": {1, 0, 0, 0}, "grant_token": {1, 1, 0, 0}, "grant_refresh": {1, 1, 1, 0}, "grant_given": {1, 1, 1, 0}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSweepTakesManyRows(t *testing.T) {
	w := newWorld(t)
	err := w.DB.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO grant_seen (id, expires) SELECT 'x' || i, i FROM n`, 2*sweepRows+1)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.rows("grant_seen"); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// TestRotateInARace: between the check and the rotation somebody else has used the token, or ended its grant.
func TestRotateInARace(t *testing.T) {
	for name, c := range map[string]struct {
		between func(*world, *Refresh) error
		want    Rotation
	}{
		"nothing":       {func(*world, *Refresh) error { return nil }, Done},
		"used just now": {func(w *world, r *Refresh) error { _, _, err := w.Rotate(t.Context(), r, "j2"); return err }, Retry},
		"used long ago": {func(w *world, r *Refresh) error {
			_, _, err := w.Rotate(t.Context(), r, "j2")
			w.now = w.now.Add(RetryWindow + time.Second)
			return err
		}, Reuse},
		"and its successor too": {func(w *world, r *Refresh) error {
			next, _, err1 := w.Rotate(t.Context(), r, "j2")
			second, err2 := w.Read(t.Context(), next)
			_, _, err3 := w.Rotate(t.Context(), second, "j3")
			return errors.Join(err1, err2, err3)
		}, Reuse},
		"ended": {func(w *world, r *Refresh) error { return w.End(t.Context(), r.Grant) }, Void},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.begin("r1", "j1")
			r, err := w.Read(t.Context(), "r1")
			if err != nil {
				t.Fatal(err)
			}
			if err := c.between(w, r); err != nil {
				t.Fatal(err)
			}
			next, outcome, err := w.Rotate(t.Context(), r, "j9")
			if err != nil || outcome != c.want || (next != "") != (c.want == Done || c.want == Retry) {
				t.Errorf("%q, %d, %v", next, outcome, err)
			}
		})
	}
}

func TestASuccessorIsSealed(t *testing.T) {
	w := newWorld(t)
	w.begin("r1", "j1")
	r, err := w.Read(t.Context(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	next, _, err := w.Rotate(t.Context(), r, "j2")
	if err != nil {
		t.Fatal(err)
	}
	var sealed []byte
	err = w.DB.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT next_sealed FROM grant_refresh WHERE hash = ?", Hash("r1")).Scan(&sealed)
	})
	if err != nil || len(sealed) == 0 || bytes.Contains(sealed, []byte(next)) {
		t.Errorf("%q, %v", sealed, err)
	}
	n := 0
	err = w.DB.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT count(*) FROM grant_refresh WHERE hash IN ('r1', ?)", next).Scan(&n)
	})
	if err != nil || n != 0 {
		t.Errorf("%d tokens are stored as they are, %v", n, err)
	}
}

func TestEndIsTold(t *testing.T) {
	w := newWorld(t)
	w.begin("r1", "j1")
	if err := w.EndSessions(t.Context(), []string{"s1"}, func(context.Context, *store.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	r, err := w.Read(t.Context(), "r1")
	if err != nil || !r.Ended {
		t.Errorf("%+v, %v", r, err)
	}
	for _, ids := range [][2]string{{"j1", "s1"}, {"other", "s1"}} {
		if over, err := w.HasEnded(t.Context(), ids[0], ids[1]); err != nil || !over {
			t.Errorf("%v: %v, %v", ids, over, err)
		}
	}
	if over, err := w.HasEnded(t.Context(), "j2", ""); err != nil || over {
		t.Errorf("another token: %v, %v", over, err)
	}
	if diff := cmp.Diff([]string{"s1"}, w.told); diff != "" {
		t.Error(diff)
	}
}
