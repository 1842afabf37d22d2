package values

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/secrets/internal/generate"
	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/store"
)

const (
	maintainAtOnce = 500              // secrets a round
	rotatorTime    = time.Minute      // for one call of a Rotator
	retryAfter     = 10 * time.Minute // when a Rotator failed
	leftBehind     = time.Minute      // an event that is older was left by a process that is gone
)

// Maintain does what is due: it purges what was deleted for the time of Undo, rotates, retires what rotations
// replaced, and sees what replicas did. One secret's failure doesn't keep others from their turn. To be called
// every minute or so.
func (s *Store) Maintain(ctx context.Context) error {
	var errs []error
	if err := s.recover(ctx, leftBehind); err != nil {
		errs = append(errs, fmt.Errorf("record events that were left behind: %w", err))
	}
	now := s.clock.Now()
	for _, duty := range []struct {
		what  string
		query string
		until time.Time
		do    func(context.Context, string) error
	}{
		{"purge", "SELECT name FROM values_secret WHERE deleted_at > 0 AND deleted_at <= ? LIMIT ?", now.Add(-Undo), s.purge},
		{"retire", "SELECT name FROM values_secret WHERE retire_at > 0 AND retire_at <= ? LIMIT ?", now, s.retire},
		{"rotate", "SELECT name FROM values_secret WHERE rotate_at > 0 AND rotate_at <= ? ORDER BY rotate_at LIMIT ?", now, s.rotateDue},
	} {
		names, err := s.due(ctx, duty.query, duty.until)
		if err != nil {
			errs = append(errs, fmt.Errorf("find secrets to %s: %w", duty.what, err))
		}
		for _, name := range names {
			if ctx.Err() != nil {
				break
			}
			if err := duty.do(ctx, name); err != nil {
				errs = append(errs, fmt.Errorf("%s the secret %s: %w", duty.what, name, err))
			}
		}
	}
	if news, err := s.seeOthers(ctx); err != nil {
		errs = append(errs, fmt.Errorf("see what replicas did: %w", err))
	} else if news {
		s.tell()
	}
	return errors.Join(errs...)
}

func (s *Store) due(ctx context.Context, query string, until time.Time) ([]string, error) {
	var names []string
	err := s.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		names = names[:0]
		rows, err := tx.Query(ctx, query, until.UnixMicro(), maintainAtOnce)
		if err != nil {
			return err
		}
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			names = append(names, name)
		}
		return rows.Err()
	})
	return names, err
}

// seeOthers tells whether something changed that wasn't changed here.
func (s *Store) seeOthers(ctx context.Context) (bool, error) {
	var latest int64
	err := s.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT coalesce(max(changed_at), 0) FROM values_secret").Scan(&latest)
	})
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	news := latest > s.latest
	s.latest = max(s.latest, latest)
	return news, nil
}

func (s *Store) purge(ctx context.Context, name string) error {
	_, err := s.apply(ctx, change{name: name, who: byItself, kind: eventPurged, gone: true, do: func(r *row, now time.Time) error {
		if r.deletedAt.IsZero() || now.Before(r.deletedAt.Add(Undo)) {
			return fault.New(fault.Conflict, "it was restored in the meantime")
		}
		return nil
	}})
	return err
}

// Generate makes a new value as the definition says, or a password where it says nothing. Where the secret has
// a Rotator, that is a rotation.
func (s *Store) Generate(ctx context.Context, who, name string) error {
	if s.rotator(name) != nil {
		return s.rotate(ctx, who, name)
	}
	d := s.recipe(name)
	v, err := d.make(s.clock.Now())
	if err != nil {
		return fmt.Errorf("generate secret: %w", err)
	}
	if !lexis.IsLabel(name) {
		return notFound(name)
	}
	_, err = s.apply(ctx, change{name: name, who: who, kind: eventGenerated, do: func(r *row, now time.Time) error {
		return r.set(v, time.Time{}, now, Current)
	}})
	if err != nil {
		return fmt.Errorf("generate secret: %w", err)
	}
	return nil
}

// recipe is how to make a value for a name.
func (s *Store) recipe(name string) Definition {
	d, _ := s.definition(name)
	d.Name = name
	if d.Generate == generate.None {
		d.Generate = generate.Password
	}
	return d
}

// rotateDue rotates; what fails is tried again after a while.
func (s *Store) rotateDue(ctx context.Context, name string) error {
	err := s.rotate(ctx, byItself, name)
	if err == nil {
		return nil
	}
	return errors.Join(err, s.alter(ctx, change{name: name, who: byItself, kind: eventRotationFailed, do: func(r *row, now time.Time) error {
		r.retry = now.Add(retryAfter)
		return nil
	}}))
}

// rotate changes a value so that at no moment a reader has one that doesn't count: pending first, then valid
// at its system, then current; the one before is retired later. It goes on where a killed one stopped.
func (s *Store) rotate(ctx context.Context, who, name string) error {
	pending, err := s.prepare(ctx, who, name)
	if err != nil {
		return err
	}
	hook := s.rotator(name)
	if hook != nil {
		if err := s.try(ctx, hook, name, pending.Secret); err != nil {
			return err
		}
	}
	_, err = s.apply(ctx, change{name: name, who: who, kind: eventRotated, do: func(r *row, now time.Time) error {
		if !r.rotating || r.pending != pending.Version {
			return fault.New(fault.Conflict, "its pending version was changed meanwhile")
		}
		if hook != nil {
			r.retireAt = now.Add(Overlap)
		}
		return r.promote(now)
	}})
	return err
}

func (s *Store) try(ctx context.Context, hook Rotator, name string, pending secret.Bytes) error {
	ctx, cancel := context.WithTimeout(ctx, rotatorTime)
	defer cancel()
	return hook.Try(ctx, name, pending)
}

// prepare returns the pending value of a rotation: a new one, or that of a rotation that didn't come to its end.
func (s *Store) prepare(ctx context.Context, who, name string) (Value, error) {
	d := s.recipe(name)
	v, err := d.make(s.clock.Now())
	if err != nil {
		return Value{}, err
	}
	rows, err := s.apply(ctx, change{name: name, who: who, do: func(r *row, now time.Time) error {
		switch {
		case r.pending != 0 && !r.rotating:
			return fault.New(fault.Conflict, "somebody set a pending version; promote it, or set a current one")
		case !r.retireAt.IsZero():
			return fault.New(fault.Conflict, fmt.Sprintf("the value before the last rotation is valid until %s", r.retireAt.Format(time.RFC3339)))
		case r.rotating:
			return errUnchanged
		}
		if err := r.set(v, time.Time{}, now, Pending); err != nil {
			return err
		}
		r.rotating = true
		return nil
	}})
	if err != nil {
		return Value{}, err
	}
	if len(rows[0].added) == 0 {
		return s.peek(ctx, name, Pending)
	}
	return Value{Secret: v, Version: rows[0].pending}, nil
}

// retire takes the value before a rotation out of service at its system.
func (s *Store) retire(ctx context.Context, name string) error {
	if hook := s.rotator(name); hook != nil {
		ctx, cancel := context.WithTimeout(ctx, rotatorTime)
		defer cancel()
		if err := hook.Done(ctx, name); err != nil {
			return err
		}
	}
	_, err := s.apply(ctx, change{name: name, who: byItself, kind: eventRetired, do: func(r *row, _ time.Time) error {
		r.retireAt = time.Time{}
		return nil
	}})
	return err
}
