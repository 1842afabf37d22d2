package values

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
)

// Stage is what a version is for. The zero Stage is none.
type Stage uint8

// The stages. Each is of at most one version.
const (
	Unstaged Stage = iota
	Current
	Pending
	Previous
)

// String is the stage's name in JSON; "" for Unstaged.
func (s Stage) String() string {
	return [...]string{"", "current", "pending", "previous"}[min(s, Previous)]
}

// row is a secret as the database has it. Its methods change only the row, so that a transaction may run again.
type row struct {
	name                               string
	salt                               []byte
	newest, current, pending, previous int64
	rotating                           bool // pending was made by a rotation, which isn't over
	since                              time.Time
	rotateAt, retireAt, deletedAt      time.Time
	digest                             []byte // of the sealed file that was imported last

	added []added
	retry time.Time // rotate then, whatever the definition says
}

// added is a version that isn't in the database yet.
type added struct {
	version int64
	value   secret.Bytes
	expires time.Time
}

// of returns the version of a stage, or 0.
func (r *row) of(s Stage) int64 {
	switch s {
	case Current:
		return r.current
	case Pending:
		return r.pending
	case Previous:
		return r.previous
	default:
		return 0
	}
}

func (r *row) stage(version int64) Stage {
	for _, s := range []Stage{Current, Pending, Previous} {
		if r.of(s) == version {
			return s
		}
	}
	return Unstaged
}

// set adds a value as the current or the pending version.
func (r *row) set(v secret.Bytes, expires, now time.Time, stage Stage) error {
	if err := r.there(); err != nil {
		return err
	}
	r.newest++
	r.added = append(r.added, added{r.newest, v, expires})
	if stage == Pending {
		r.pending, r.rotating = r.newest, false
		return nil
	}
	r.advance(r.newest, now)
	return nil
}

func (r *row) advance(version int64, now time.Time) {
	r.previous, r.current, r.since = r.current, version, now
}

// there refuses what is deleted.
func (r *row) there() error {
	if r.deletedAt.IsZero() {
		return nil
	}
	return fault.New(fault.Conflict, fmt.Sprintf("the secret %s is deleted; `ward secrets restore %s` brings it back", r.name, r.name))
}

func (r *row) promote(now time.Time) error {
	if err := r.there(); err != nil {
		return err
	}
	if r.pending == 0 {
		return fault.New(fault.Conflict, fmt.Sprintf("the secret %s has no pending version", r.name))
	}
	r.advance(r.pending, now)
	r.pending, r.rotating = 0, false
	return nil
}

func (r *row) rollback(now time.Time) error {
	if err := r.there(); err != nil {
		return err
	}
	if r.previous == 0 {
		return fault.New(fault.Conflict, fmt.Sprintf("the secret %s has no previous version", r.name))
	}
	r.advance(r.previous, now)
	return nil
}

const rowColumns = "name, salt, newest, current, pending, previous, rotating, since, rotate_at, retire_at, deleted_at, digest"

type scanner interface{ Scan(...any) error }

func scanRow(from scanner) (row, error) {
	var r row
	var since, rotateAt, retireAt, deletedAt int64
	err := from.Scan(&r.name, &r.salt, &r.newest, &r.current, &r.pending, &r.previous, &r.rotating, &since, &rotateAt, &retireAt, &deletedAt, &r.digest)
	r.since, r.rotateAt, r.retireAt, r.deletedAt = fromMicros(since), fromMicros(rotateAt), fromMicros(retireAt), fromMicros(deletedAt)
	return r, err
}

// loadRow returns the row of a name, or one that is new: with no version.
func loadRow(ctx context.Context, tx *store.Tx, name string) (row, error) {
	r, err := scanRow(tx.QueryRow(ctx, "SELECT "+rowColumns+" FROM values_secret WHERE name = ?", name))
	if errors.Is(err, store.ErrNoRows) {
		r = row{name: name, salt: make([]byte, 16)}
		_, _ = rand.Read(r.salt) // never returns an error (crypto/rand)
		return r, nil
	}
	return r, err
}

// keepRow writes a row and its new versions, and lets go of those that are too many.
func (s *Store) keepRow(ctx context.Context, tx *store.Tx, r *row, now time.Time) error {
	const query = "INSERT INTO values_secret (" + rowColumns + ", changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET " +
		"newest = excluded.newest, current = excluded.current, pending = excluded.pending, previous = excluded.previous, rotating = excluded.rotating, since = excluded.since, " +
		"rotate_at = excluded.rotate_at, retire_at = excluded.retire_at, deleted_at = excluded.deleted_at, digest = excluded.digest, changed_at = excluded.changed_at"
	if _, err := tx.Exec(ctx, query, r.name, r.salt, r.newest, r.current, r.pending, r.previous, r.rotating,
		micros(r.since), micros(r.rotateAt), micros(r.retireAt), micros(r.deletedAt), r.digest, now.UnixMicro()); err != nil {
		return err
	}
	for _, a := range r.added {
		b, err := s.seal(r, a)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "INSERT INTO values_version (name, version, sealed, made_at, expires_at) VALUES (?, ?, ?, ?, ?)", r.name, a.version, b, now.UnixMicro(), micros(a.expires)); err != nil {
			return err
		}
	}
	if len(r.added) == 0 || r.newest <= MaxVersions {
		return nil
	}
	staged := 0
	for _, st := range []Stage{Current, Pending, Previous} {
		if r.of(st) != 0 {
			staged++
		}
	}
	_, err := tx.Exec(ctx, `DELETE FROM values_version WHERE name = ? AND version IN (
		SELECT version FROM values_version WHERE name = ? AND version NOT IN (?, ?, ?) ORDER BY version DESC LIMIT 1000 OFFSET ?)`,
		r.name, r.name, r.current, r.pending, r.previous, MaxVersions-staged)
	return err
}

// valueKey is what the versions of one secret are sealed under.
func (s *Store) valueKey(r *row) (secret.Bytes, error) {
	return derive(s.kek, r.salt, "ward secret value key v1 "+r.name)
}

// valueContext binds a version to its place and its end; a name holds no space.
func valueContext(name string, version int64, expires time.Time) string {
	return fmt.Sprintf("ward secret value v1 %s %d %d", name, version, micros(expires))
}

func (s *Store) seal(r *row, a added) ([]byte, error) {
	key, err := s.valueKey(r)
	if err != nil {
		return nil, err
	}
	return secret.Seal(key, a.value.Reveal(), valueContext(r.name, a.version, a.expires))
}

func (s *Store) open(r *row, version int64, b []byte, expires time.Time) (secret.Bytes, error) {
	key, err := s.valueKey(r)
	if err != nil {
		return secret.Bytes{}, err
	}
	plain, err := secret.Open(key, b, valueContext(r.name, version, expires))
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("version %d of the secret %s: %w", version, r.name, err)
	}
	return secret.New(plain), nil
}

// takes tells that a sealed file of this digest was imported last.
func (r *row) takes(digest []byte) bool { return r.newest > 0 && bytes.Equal(r.digest, digest) }

// micros is how the database has a time; 0 is the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
