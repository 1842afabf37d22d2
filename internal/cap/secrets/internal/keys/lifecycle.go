package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
)

// How long a key waits for its destruction.
const (
	MinWait     = 7 * 24 * time.Hour
	DefaultWait = 30 * 24 * time.Hour
	maxWait     = 365 * 24 * time.Hour
)

// Definition is a key as the plan has it.
type Definition struct {
	Name    string
	Purpose Purpose
	Rotate  time.Duration // 0: what is usual for the purpose
}

// Define makes the keys that are missing, and tunes the rotation of the others. It never takes one away, nor gives it another
// purpose: that is a Conflict, and then nothing is changed.
func (r *Ring) Define(ctx context.Context, all []Definition) error {
	var done []Use
	var changed []string
	err := r.config.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		done, changed = nil, nil
		known, err := readDefinitions(ctx, tx)
		if err != nil {
			return err
		}
		for _, d := range all {
			if d.Rotate == 0 {
				d.Rotate = d.Purpose.rotation()
			}
			old, ok := known[d.Name]
			switch {
			case !ok:
				if err := r.create(ctx, tx, d); err != nil {
					return err
				}
				done = append(done, Use{Key: d.Name, Op: OpCreate, Count: 1})
				known[d.Name] = d
			case old.Purpose != d.Purpose:
				return fault.New(fault.Conflict, fmt.Sprintf("the key %s is for %s and can't become one for %s, since what it has sealed would be lost: give the new one another name", d.Name, old.Purpose, d.Purpose))
			case old.Rotate != d.Rotate:
				if _, err := tx.Exec(ctx, "UPDATE keys_key SET rotate = ?, generation = generation + 1 WHERE name = ?", d.Rotate.Microseconds(), d.Name); err != nil {
					return err
				}
				done = append(done, Use{Key: d.Name, Op: OpTune, Count: 1})
				changed = append(changed, d.Name)
			}
		}
		return nil
	})
	for _, name := range changed {
		r.loaded.drop(name)
	}
	if err == nil && len(done) > 0 {
		err = r.config.Record(ctx, done)
	}
	if err != nil {
		return fmt.Errorf("define keys: %w", err)
	}
	return nil
}

func readDefinitions(ctx context.Context, tx *store.Tx) (map[string]Definition, error) {
	rows, err := tx.Query(ctx, "SELECT name, purpose, rotate FROM keys_key")
	if err != nil {
		return nil, err
	}
	known := map[string]Definition{}
	for rows.Next() {
		var d Definition
		var rotate int64
		if err := rows.Scan(&d.Name, &d.Purpose, &rotate); err != nil {
			return nil, err
		}
		d.Rotate = time.Duration(rotate) * time.Microsecond
		known[d.Name] = d
	}
	return known, rows.Err()
}

func (r *Ring) create(ctx context.Context, tx *store.Tx, d Definition) error {
	if d.Name == "" || len(d.Name) > 200 || !d.Purpose.known() || d.Rotate < 0 {
		return fault.New(fault.Invalid, fmt.Sprintf("the key %q can't be for %q", d.Name, d.Purpose))
	}
	kek, err := r.newKEK(d.Name, d.Purpose)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO keys_key (name, purpose, generation, kek, rotate, min_version, disabled, created_at, delete_at, destroyed_at)
		VALUES (?, ?, 1, ?, ?, 1, FALSE, ?, 0, 0)`, d.Name, string(d.Purpose), kek, d.Rotate.Microseconds(), r.config.Clock.Now().UnixMicro())
	return err
}

// Maintain replaces versions that are due and destroys keys whose time has come. It is to be called about once an hour; what
// fails with one key keeps no other from its turn.
func (r *Ring) Maintain(ctx context.Context) error {
	now := r.config.Clock.Now()
	// A first choice, generous by the time that signing keys are published ahead; due has the last word.
	rotate, err := r.names(ctx, `SELECT k.name FROM keys_key k JOIN keys_version v ON v.name = k.name WHERE k.rotate > 0 AND k.disabled = FALSE AND k.delete_at = 0
		GROUP BY k.name, k.rotate HAVING MAX(v.starts_at) + k.rotate <= ? ORDER BY k.name`, now.Add(maxAhead).UnixMicro())
	if err != nil {
		return fmt.Errorf("look for keys to rotate: %w", err)
	}
	var errs []error
	for _, name := range rotate {
		k, err := r.load(ctx, name)
		if err == nil && k.due(now) {
			_, err = r.advance(ctx, k, now.Add(k.purpose.ahead(k.rotate)))
		}
		errs = append(errs, err)
	}
	destroy, err := r.names(ctx, "SELECT name FROM keys_key WHERE delete_at > 0 AND delete_at <= ? AND destroyed_at = 0 ORDER BY name", now.UnixMicro())
	errs = append(errs, err)
	for _, name := range destroy {
		errs = append(errs, r.destroy(ctx, name, now))
	}
	return errors.Join(errs...)
}

func (r *Ring) names(ctx context.Context, query string, args ...any) ([]string, error) {
	var out []string
	err := r.config.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			out = append(out, name)
		}
		return rows.Err()
	})
	return out, err
}

// due says whether the next version is to be made by age.
func (k *key) due(now time.Time) bool {
	at := k.nextRotation()
	return !at.IsZero() && !now.Before(at.Add(-k.purpose.ahead(k.rotate)))
}

// nextRotation is when the newest version has had its time; zero: never, as for a key that isn't used, or whose owner brings versions.
func (k *key) nextRotation() time.Time {
	if k.rotate == 0 || k.refusal() != nil || len(k.versions) == 0 || k.versions[len(k.versions)-1].imported {
		return time.Time{}
	}
	return k.versions[len(k.versions)-1].starts.Add(k.rotate)
}

// Rotate makes a new version. One that signs is published for a day first, unless at once is said, as after a theft: then who
// verifies with a copy of the key set has to fetch it again.
func (r *Ring) Rotate(ctx context.Context, name string, atOnce bool) error {
	k, err := r.load(ctx, name)
	if err != nil {
		return err
	}
	if err := k.refusal(); err != nil {
		return err
	}
	starts := r.config.Clock.Now()
	if k.purpose.signs() && !atOnce && len(k.versions) > 0 {
		starts = starts.Add(maxAhead)
	}
	_, err = r.advance(ctx, k, starts)
	return err
}

// SetMinVersion makes versions below number useless. It may be lowered again.
func (r *Ring) SetMinVersion(ctx context.Context, name string, number int64) error {
	err := r.change(ctx, name, func(ctx context.Context, tx *store.Tx, k *key) error {
		current := k.current(r.config.Clock.Now())
		if number < 1 || number > 1 && (current == nil || number > current.number) {
			return fault.New(fault.Invalid, fmt.Sprintf("the lowest version of %s can only be from 1 to the current one", name))
		}
		_, err := tx.Exec(ctx, "UPDATE keys_key SET min_version = ? WHERE name = ?", number, name)
		return err
	})
	if err != nil {
		return err
	}
	return r.record(ctx, OpMinimum, name, number)
}

// Disable stops all use of a key, or of one version if number isn't 0. The next use of a key whose current version is disabled makes a new one.
func (r *Ring) Disable(ctx context.Context, name string, number int64) error {
	return r.able(ctx, OpDisable, name, number)
}

// Enable undoes Disable.
func (r *Ring) Enable(ctx context.Context, name string, number int64) error {
	return r.able(ctx, OpEnable, name, number)
}

func (r *Ring) able(ctx context.Context, op Op, name string, number int64) error {
	disabled := op == OpDisable
	err := r.change(ctx, name, func(ctx context.Context, tx *store.Tx, k *key) error {
		if number == 0 {
			_, err := tx.Exec(ctx, "UPDATE keys_key SET disabled = ? WHERE name = ?", disabled, name)
			return err
		}
		i := slices.IndexFunc(k.versions, func(v *version) bool { return v.number == number })
		if i < 0 {
			return fault.New(fault.NotFound, fmt.Sprintf("the key %s has no version %d", name, number))
		}
		_, err := tx.Exec(ctx, "UPDATE keys_version SET disabled = ? WHERE name = ? AND number = ?", disabled, name, number)
		return err
	})
	if err != nil {
		return err
	}
	return r.record(ctx, op, name, number)
}

// ScheduleDeletion stops all use of a key and has it destroyed after wait (0: DefaultWait), which is when what it encrypted is lost. Loss
// says beforehand what that is.
func (r *Ring) ScheduleDeletion(ctx context.Context, name string, wait time.Duration) (time.Time, error) {
	if wait == 0 {
		wait = DefaultWait
	}
	if wait < MinWait || wait > maxWait {
		return time.Time{}, errWait()
	}
	at := r.config.Clock.Now().Add(wait)
	err := r.change(ctx, name, func(ctx context.Context, tx *store.Tx, k *key) error {
		if !k.deleteAt.IsZero() {
			return fault.New(fault.Conflict, k.refusal().Public)
		}
		_, err := tx.Exec(ctx, "UPDATE keys_key SET delete_at = ? WHERE name = ?", at.UnixMicro(), name)
		return err
	})
	if err != nil {
		return time.Time{}, err
	}
	return at, r.record(ctx, OpDelete, name, 0)
}

func errWait() error {
	return fault.New(fault.Invalid, "a key waits for its deletion for 7 to 365 days")
}

// CancelDeletion keeps a key that waits for its deletion.
func (r *Ring) CancelDeletion(ctx context.Context, name string) error {
	err := r.change(ctx, name, func(ctx context.Context, tx *store.Tx, k *key) error {
		if k.deleteAt.IsZero() {
			return fault.New(fault.Conflict, fmt.Sprintf("the key %s isn't to be deleted", name))
		}
		_, err := tx.Exec(ctx, "UPDATE keys_key SET delete_at = 0 WHERE name = ?", name)
		return err
	})
	if err != nil {
		return err
	}
	return r.record(ctx, OpUndelete, name, 0)
}

// destroy deletes all material of a key. Its name stays taken, so that nobody takes another key for it.
func (r *Ring) destroy(ctx context.Context, name string, now time.Time) error {
	due := false
	err := r.change(ctx, name, func(ctx context.Context, tx *store.Tx, k *key) error {
		if due = !k.deleteAt.IsZero() && !now.Before(k.deleteAt); !due {
			return nil // cancelled meanwhile
		}
		if _, err := tx.Exec(ctx, "UPDATE keys_key SET kek = NULL, destroyed_at = ? WHERE name = ?", now.UnixMicro(), name); err != nil {
			return err
		}
		for _, query := range []string{"UPDATE keys_version SET sealed = NULL WHERE name = ?", "DELETE FROM keys_owner WHERE name = ?", "DELETE FROM keys_shredded WHERE name = ?"} {
			if _, err := tx.Exec(ctx, query, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || !due {
		return err
	}
	return r.record(ctx, OpDestroy, name, 0)
}

// Reseal seals every key's own key under another root; nothing else is sealed under it. It does all or none, and may be repeated.
// Replicas have to be opened again.
func (r *Ring) Reseal(ctx context.Context, root secret.Bytes) error {
	err := r.config.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, "SELECT name, purpose, kek FROM keys_key WHERE destroyed_at = 0")
		if err != nil {
			return err
		}
		resealed := map[string][]byte{}
		for rows.Next() {
			var name string
			var p Purpose
			var sealed []byte
			if err := rows.Scan(&name, &p, &sealed); err != nil {
				return err
			}
			if _, err := secret.Open(root, sealed, kekContext(name, p)); err == nil {
				continue // done before
			}
			kek, err := r.openKEK(name, p, sealed)
			if err != nil {
				return err
			}
			resealed[name], err = secret.Seal(root, kek.Reveal(), kekContext(name, p))
			clear(kek.Reveal())
			if err != nil {
				return err
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for name, kek := range resealed {
			if _, err := tx.Exec(ctx, "UPDATE keys_key SET kek = ? WHERE name = ?", kek, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("seal keys under another root: %w", err)
	}
	r.root.Store(&root)
	return nil
}
