package values

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// Query asks for a value.
type Query struct {
	Name  string
	Stage Stage  // Current when Unstaged
	Who   string // as the ledger names them
	Why   string // one word for the ledger: "delivery", "reveal"
}

// Value is one version's value.
type Value struct {
	Secret  secret.Bytes
	Version int64
	Expires time.Time // zero: never
}

// Get returns a value when the ledger has it that it was read. An expired value is refused.
func (s *Store) Get(ctx context.Context, q Query) (Value, error) {
	v, err := s.peek(ctx, q.Name, max(q.Stage, Current))
	if err != nil {
		return Value{}, fmt.Errorf("read secret: %w", err)
	}
	e := s.event(eventRead, q.Who, q.Name, v.Version)
	if q.Why != "" {
		e.Detail["why"] = q.Why
	}
	if err := s.recorder.add(ctx, "", e); err != nil {
		return Value{}, fmt.Errorf("read secret: %w", err)
	}
	return v, nil
}

// peek reads a value and tells nobody: not to be given out.
func (s *Store) peek(ctx context.Context, name string, stage Stage) (Value, error) {
	var r row
	var v Value
	var b []byte
	var expires int64
	err := s.db.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if r, err = scanRow(tx.QueryRow(ctx, "SELECT "+rowColumns+" FROM values_secret WHERE name = ?", name)); err != nil {
			return err
		}
		if v.Version = r.of(stage); v.Version == 0 {
			return nil
		}
		return tx.QueryRow(ctx, "SELECT sealed, expires_at FROM values_version WHERE name = ? AND version = ?", name, v.Version).Scan(&b, &expires)
	})
	if errors.Is(err, store.ErrNoRows) && r.name == "" {
		return Value{}, notFound(name)
	}
	if err != nil {
		return Value{}, err
	}
	if err := r.there(); err != nil {
		return Value{}, err
	}
	if v.Version == 0 {
		return Value{}, fault.New(fault.NotFound, fmt.Sprintf("the secret %s has no %s version", name, stage))
	}
	v.Expires = fromMicros(expires)
	if v.Secret, err = s.open(&r, v.Version, b, v.Expires); err != nil {
		return Value{}, err
	}
	if !v.Expires.IsZero() && !s.clock.Now().Before(v.Expires) {
		return Value{}, fault.New(fault.Refused, fmt.Sprintf("the %s value of the secret %s expired on %s; set a new one", stage, name, v.Expires.Format(time.DateOnly)))
	}
	return v, nil
}

// Ending are the secrets whose current value ends before a time, and when; at most 1,000.
func (s *Store) Ending(ctx context.Context, before time.Time) (map[string]time.Time, error) {
	out := map[string]time.Time{}
	err := s.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		clear(out)
		rows, err := tx.Query(ctx, `SELECT s.name, v.expires_at FROM values_secret AS s JOIN values_version AS v ON v.name = s.name AND v.version = s.current
			WHERE s.deleted_at = 0 AND v.expires_at > 0 AND v.expires_at < ? ORDER BY v.expires_at LIMIT 1000`, before.UnixMicro())
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // rows.Err says what is wrong
		for rows.Next() {
			var name string
			var ends int64
			if err := rows.Scan(&name, &ends); err != nil {
				return err
			}
			out[name] = fromMicros(ends)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list secrets that end: %w", err)
	}
	return out, nil
}

// eachAtOnce is how many secrets Each reads at a time.
const eachAtOnce = 250

// Each gives f every value that counts or may count again (current, pending, previous) and is in use, for work over all
// of them. The ledger has one event for each page of names, with how many, before f sees them.
func (s *Store) Each(ctx context.Context, who, why string, f func(name string, stage Stage, v secret.Bytes) error) error {
	type found struct {
		row
		version, expires int64
		sealed           []byte
	}
	for after, more := "", true; more; {
		var page []found
		err := s.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			page = page[:0]
			rows, err := tx.Query(ctx, `SELECT s.name, s.salt, s.current, s.pending, s.previous, v.version, v.sealed, v.expires_at
				FROM (SELECT * FROM values_secret WHERE name > ? ORDER BY name LIMIT ?) AS s JOIN values_version AS v ON v.name = s.name AND v.version IN (s.current, s.pending, s.previous)
				WHERE s.deleted_at = 0 ORDER BY s.name, v.version`, after, eachAtOnce)
			if err != nil {
				return err
			}
			for rows.Next() {
				var p found
				if err := rows.Scan(&p.name, &p.salt, &p.current, &p.pending, &p.previous, &p.version, &p.sealed, &p.expires); err != nil {
					return err
				}
				page = append(page, p)
			}
			if err := rows.Err(); err != nil {
				return err
			}
			var last *string
			err = tx.QueryRow(ctx, "SELECT max(name) FROM (SELECT name FROM values_secret WHERE name > ? ORDER BY name LIMIT ?) AS page", after, eachAtOnce).Scan(&last)
			if more = last != nil; more {
				after = *last
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("read all secrets: %w", err)
		}
		if len(page) == 0 {
			continue
		}
		e := wire.Event{Source: byItself, Time: s.clock.Now().UTC(), Kind: eventReadAll, Subject: who, Object: "secret:*", Detail: map[string]string{"why": why}, Count: int64(len(page))}
		if err := s.recorder.add(ctx, "", e); err != nil {
			return fmt.Errorf("read all secrets: %w", err)
		}
		for _, p := range page {
			v, err := s.open(&p.row, p.version, p.sealed, fromMicros(p.expires))
			if err == nil {
				err = f(p.name, p.stage(p.version), v)
			}
			if err != nil {
				return fmt.Errorf("read all secrets: %w", err)
			}
		}
	}
	return nil
}

// notExpired refuses a stage whose value Get wouldn't give. That there is none is for the change itself to say.
func (s *Store) notExpired(ctx context.Context, name string, stage Stage) error {
	if _, err := s.peek(ctx, name, stage); fault.KindOf(err) == fault.Refused {
		return err
	}
	return nil
}

// List returns all secrets, those too that are declared and have no value yet, by name and without versions.
func (s *Store) List(ctx context.Context) ([]wire.Secret, error) {
	s.mu.Lock()
	defs := s.defs
	s.mu.Unlock()
	var out []wire.Secret
	seen := make(map[string]bool, len(defs))
	err := s.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		out = out[:0]
		rows, err := tx.Query(ctx, "SELECT "+rowColumns+" FROM values_secret")
		if err != nil {
			return err
		}
		for rows.Next() {
			r, err := scanRow(rows)
			if err != nil {
				return err
			}
			d, declared := defs[r.name]
			seen[r.name] = true
			out = append(out, s.show(&r, d, declared))
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", err)
	}
	for name, d := range defs {
		if !seen[name] {
			out = append(out, s.show(&row{name: name}, d, true))
		}
	}
	slices.SortFunc(out, func(a, b wire.Secret) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Info returns one secret with its versions.
func (s *Store) Info(ctx context.Context, name string) (wire.Secret, error) {
	d, declared := s.definition(name)
	var out wire.Secret
	err := s.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		r, err := scanRow(tx.QueryRow(ctx, "SELECT "+rowColumns+" FROM values_secret WHERE name = ?", name))
		if errors.Is(err, store.ErrNoRows) && declared {
			r, err = row{name: name}, nil
		}
		if err != nil {
			return err
		}
		out = s.show(&r, d, declared)
		rows, err := tx.Query(ctx, "SELECT version, made_at, expires_at FROM values_version WHERE name = ? ORDER BY version DESC", name)
		if err != nil {
			return err
		}
		for rows.Next() {
			var version, made, expires int64
			if err := rows.Scan(&version, &made, &expires); err != nil {
				return err
			}
			out.Versions = append(out.Versions, wire.SecretVersion{Version: version, Stage: r.stage(version).String(), Made: seconds(fromMicros(made)), Expires: seconds(fromMicros(expires))})
		}
		return rows.Err()
	})
	if errors.Is(err, store.ErrNoRows) {
		return wire.Secret{}, notFound(name)
	}
	if err != nil {
		return wire.Secret{}, fmt.Errorf("show secret: %w", err)
	}
	return out, nil
}

func (s *Store) show(r *row, d Definition, declared bool) wire.Secret {
	out := wire.Secret{
		Name: r.name, Declared: declared, Generate: string(d.Generate), Sealed: len(d.Sealed) > 0, Canary: d.Canary,
		Newest: r.newest, Current: r.current, Pending: r.pending, Previous: r.previous,
		Since: seconds(r.since), Rotate: int64(d.Rotate / time.Second), RotatesAt: seconds(r.rotateAt), DeletedAt: seconds(r.deletedAt),
		Due: d.Rotate > 0 && d.Generate == "" && r.current > 0 && !s.clock.Now().Before(r.since.Add(d.Rotate)),
	}
	if !r.deletedAt.IsZero() {
		out.GoneAt = seconds(r.deletedAt.Add(Undo))
	}
	return out
}

// seconds is how people's times are on the wire.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
