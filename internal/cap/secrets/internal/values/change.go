package values

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// Kinds of events. The object is "secret:" and the name.
const (
	eventRead           = "secret.read"
	eventReadAll        = "secret.read_all"
	eventSet            = "secret.set"
	eventGenerated      = "secret.generated"
	eventImported       = "secret.imported"
	eventPromoted       = "secret.promoted"
	eventRolledBack     = "secret.rolled_back"
	eventRotated        = "secret.rotated"
	eventRotationFailed = "secret.rotation_failed"
	eventRetired        = "secret.retired"
	eventDeleted        = "secret.deleted"
	eventRestored       = "secret.restored"
	eventPurged         = "secret.purged"
)

// byItself is the subject of what nobody asked for.
const byItself = "control"

// change is one change of one secret.
type change struct {
	name string
	who  string
	kind string // of its event; "" for what isn't worth one
	// do changes the row, or returns errUnchanged; it may run more than once.
	do func(r *row, now time.Time) error
	// gone takes the secret out of the database instead.
	gone bool
}

// errUnchanged says that a change isn't needed.
var errUnchanged = errors.New("there is nothing to change")

// apply makes changes in one transaction, and returns when they are durable and in the ledger. It returns the rows
// as they are then, in order.
func (s *Store) apply(ctx context.Context, changes ...change) ([]row, error) {
	now := s.clock.Now().UTC()
	id := rand.Text()
	var rows []row
	var events []wire.Event
	err := s.db.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, events = make([]row, 0, len(changes)), events[:0]
		for _, c := range changes {
			r, err := s.one(ctx, tx, c, now)
			if err != nil && !errors.Is(err, errUnchanged) {
				return err
			}
			rows = append(rows, r)
			if c.kind != "" && err == nil {
				events = append(events, s.event(c.kind, c.who, c.name, r.about(c.kind)))
			}
		}
		if len(events) == 0 {
			return nil
		}
		b, err := json.Marshal(events)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO values_event (id, made_at, event) VALUES (?, ?, ?)", id, now.UnixMicro(), b)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.latest = max(s.latest, now.UnixMicro())
	s.mu.Unlock()
	s.tell()
	if len(events) > 0 {
		if err := s.recorder.add(ctx, id, events...); err != nil {
			return nil, fmt.Errorf("the change is made, but not yet in the ledger: %w", err)
		}
	}
	return rows, nil
}

func (s *Store) one(ctx context.Context, tx *store.Tx, c change, now time.Time) (row, error) {
	r, err := loadRow(ctx, tx, c.name)
	if err != nil {
		return r, err
	}
	if err := c.do(&r, now); err != nil {
		return r, err
	}
	if c.gone {
		for _, query := range []string{"DELETE FROM values_version WHERE name = ?", "DELETE FROM values_secret WHERE name = ?"} {
			if _, err := tx.Exec(ctx, query, c.name); err != nil {
				return r, err
			}
		}
		// The definitions are applied anew with the next plan, so that what is declared comes back.
		_, err := tx.Exec(ctx, "DELETE FROM values_meta WHERE id = ?", definedRow)
		return r, err
	}
	s.schedule(&r, now)
	return r, s.keepRow(ctx, tx, &r, now)
}

// about is the version that an event is about.
func (r *row) about(kind string) int64 {
	if kind == eventPromoted || kind == eventRolledBack || kind == eventRotated {
		return r.current
	}
	return r.newest
}

func (s *Store) event(kind, who, name string, version int64) wire.Event {
	return wire.Event{
		Source: byItself, Time: s.clock.Now().UTC(), Kind: kind, Subject: who, Object: "secret:" + name,
		Detail: map[string]string{"version": strconv.FormatInt(version, 10)},
	}
}

// forget deletes the rows of events that the ledger has.
func (s *Store) forget(ctx context.Context, ids []string) error {
	return s.db.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, id := range ids {
			if _, err := tx.Exec(ctx, "DELETE FROM values_event WHERE id = ?", id); err != nil {
				return err
			}
		}
		return nil
	})
}

// recover records events that a killed process left behind, of changes older than age.
func (s *Store) recover(ctx context.Context, age time.Duration) error {
	type left struct {
		id     string
		events []wire.Event
	}
	for {
		var found []left
		err := s.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			found = found[:0]
			rows, err := tx.Query(ctx, "SELECT id, event FROM values_event WHERE made_at <= ? ORDER BY made_at LIMIT 100", s.clock.Now().Add(-age).UnixMicro())
			if err != nil {
				return err
			}
			for rows.Next() {
				var l left
				var b []byte
				if err := rows.Scan(&l.id, &b); err != nil {
					return err
				}
				if err := json.Unmarshal(b, &l.events); err != nil {
					return fmt.Errorf("read event: %w", err)
				}
				found = append(found, l)
			}
			return rows.Err()
		})
		if err != nil || len(found) == 0 {
			return err
		}
		ids := make([]string, 0, len(found))
		for _, l := range found {
			if err := s.recorder.add(ctx, "", l.events...); err != nil {
				return err
			}
			ids = append(ids, l.id)
		}
		if err := s.forget(ctx, ids); err != nil {
			return err
		}
	}
}

// Setting is a new value.
type Setting struct {
	Name  string
	Value secret.Bytes // at most MaxValue; not empty
	// IfNewest: only if no version is newer than this one; nil for always, 0 if there must be none.
	IfNewest *int64
	Expires  time.Time // zero: never
	Stage    Stage     // Current (also when Unstaged) or Pending
}

// Set gives a secret a new version, and returns its number. The name need not be declared yet.
func (s *Store) Set(ctx context.Context, who string, in Setting) (int64, error) {
	if err := in.check(s.clock.Now()); err != nil {
		return 0, err
	}
	rows, err := s.apply(ctx, change{name: in.Name, who: who, kind: eventSet, do: func(r *row, now time.Time) error {
		if in.IfNewest != nil && *in.IfNewest != r.newest {
			return fault.New(fault.Conflict, fmt.Sprintf("the newest version of the secret %s is %d, not %d", in.Name, r.newest, *in.IfNewest))
		}
		return r.set(in.Value, in.Expires, now, in.Stage)
	}})
	if err != nil {
		return 0, fmt.Errorf("set secret: %w", err)
	}
	return rows[0].newest, nil
}

func (in *Setting) check(now time.Time) error {
	switch {
	case !lexis.IsLabel(in.Name):
		return fault.New(fault.Invalid, "a secret's name has a-z, 0-9 and hyphens inside, and at most 63 characters")
	case len(in.Value.Reveal()) == 0:
		return fault.New(fault.Invalid, "the value is empty")
	case len(in.Value.Reveal()) > MaxValue:
		return fault.New(fault.Invalid, fmt.Sprintf("a secret has at most %d bytes", MaxValue))
	case !in.Expires.IsZero() && !in.Expires.After(now):
		return fault.New(fault.Invalid, "the value would have expired already")
	case in.Stage != Unstaged && in.Stage != Current && in.Stage != Pending:
		return fault.New(fault.Invalid, "a new version is current or pending")
	}
	return nil
}

// Promote makes the pending version the current one, and that the previous one.
func (s *Store) Promote(ctx context.Context, who, name string) error {
	if err := s.notExpired(ctx, name, Pending); err != nil {
		return fmt.Errorf("promote secret: %w", err)
	}
	return s.alter(ctx, change{name: name, who: who, kind: eventPromoted, do: (*row).promote})
}

// Rollback makes the previous version current again; what was current becomes the previous one, so that a second
// Rollback takes the first one back.
func (s *Store) Rollback(ctx context.Context, who, name string) error {
	if err := s.notExpired(ctx, name, Previous); err != nil {
		return fmt.Errorf("roll secret back: %w", err)
	}
	return s.alter(ctx, change{name: name, who: who, kind: eventRolledBack, do: (*row).rollback})
}

// Delete takes a secret out of use. It can be restored for the time of Undo.
func (s *Store) Delete(ctx context.Context, who, name string) error {
	return s.alter(ctx, change{name: name, who: who, kind: eventDeleted, do: func(r *row, now time.Time) error {
		if err := r.there(); err != nil {
			return err
		}
		r.deletedAt = now
		return nil
	}})
}

// Restore takes Delete back.
func (s *Store) Restore(ctx context.Context, who, name string) error {
	return s.alter(ctx, change{name: name, who: who, kind: eventRestored, do: func(r *row, now time.Time) error {
		switch {
		case r.deletedAt.IsZero():
			return fault.New(fault.Conflict, fmt.Sprintf("the secret %s isn't deleted", name))
		case !now.Before(r.deletedAt.Add(Undo)):
			return fault.New(fault.NotFound, fmt.Sprintf("the secret %s was deleted for good", name))
		}
		r.deletedAt = time.Time{}
		return nil
	}})
}

// alter is a change of a secret that must be there.
func (s *Store) alter(ctx context.Context, c change) error {
	do := c.do
	c.do = func(r *row, now time.Time) error {
		if r.newest == 0 {
			return notFound(c.name)
		}
		return do(r, now)
	}
	_, err := s.apply(ctx, c)
	if err != nil {
		return fmt.Errorf("change secret: %w", err)
	}
	return nil
}

func notFound(name string) error {
	if !lexis.IsLabel(name) {
		return fault.New(fault.NotFound, "there is no secret of that name")
	}
	return fault.New(fault.NotFound, fmt.Sprintf("the secret %s has no value", name))
}
