package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// Proof is what somebody has shown: the methods, when first, and when a second factor (zero: never).
type Proof struct {
	Methods          []string
	AuthAt, FactorAt time.Time
}

// Seen is one session as its person recognises it.
type Seen struct {
	signin.Session
	Device, Place, Fingerprint string
	Started, Last              time.Time
}

// local tells whether something was shown here: who links another provider proves that the account is theirs without one.
func (p *Proof) local() bool {
	return slices.Contains(p.Methods, signin.Password) || slices.Contains(p.Methods, signin.Passkey)
}

const sessionColumns = `SELECT s.id, s.methods, s.auth_at, s.factor_at, s.started_at, s.seen_at, s.expires_at, s.device, s.place, s.fingerprint,
	p.id, p.email, p.verified, p.name, p.locale, p.password, p.must_reset, p.group_names, p.role_names, p.disabled, p.updated_at
	FROM account_session s JOIN account_person p ON p.id = s.person `

// both splits the columns of a row between two readers.
type both struct {
	row   scanner
	first []any
}

func (b both) Scan(into ...any) error { return b.row.Scan(append(b.first, into...)...) }

// scanSession reads a session; nil for one that is over at now.
func (s *Service) scanSession(row scanner) (*Seen, error) {
	var v Seen
	var methods string
	var auth, factor, started, last, expires int64
	p, err := scanPerson(both{row, []any{&v.ID, &methods, &auth, &factor, &started, &last, &expires, &v.Device, &v.Place, &v.Fingerprint}})
	if errors.Is(err, store.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	if err := json.Unmarshal([]byte(methods), &v.Methods); err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	v.Person = p.Person
	v.AuthAt, v.FactorAt, v.Started, v.Last, v.Expires = fromMicros(auth), fromMicros(factor), fromMicros(started), fromMicros(last), fromMicros(expires)
	now := s.Now()
	idle, _ := s.lifetimes()
	if v.Person.Disabled || !now.Before(v.Expires) || now.Sub(v.Last) >= idle {
		return nil, nil
	}
	return &v, nil
}

func (s *Service) lifetimes() (idle, absolute time.Duration) {
	idle, absolute = seconds(s.Users().Idle), seconds(s.Users().Absolute)
	if idle <= 0 {
		idle = 12 * time.Hour
	}
	if absolute <= 0 {
		absolute = 7 * 24 * time.Hour
	}
	return idle, absolute
}

func (s *Service) readSession(ctx context.Context, where string, arg any) (v *Seen, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		v, err = s.scanSession(tx.QueryRow(ctx, sessionColumns+where, arg))
		return err
	})
	return v, err
}

// Session is that of a cookie of the pages; nil without one.
func (s *Service) Session(ctx context.Context, cookie string) (*Seen, error) {
	hash := HashToken(cookie)
	if hash == nil {
		return nil, nil
	}
	v, err := s.readSession(ctx, "WHERE s.cookie = ?", hash)
	if err != nil || v == nil {
		return nil, err
	}
	if s.Now().Sub(v.Last) >= time.Minute {
		return v, s.see(ctx, []string{v.ID})
	}
	return v, nil
}

// SessionByID is a session that goes on; nil when it has ended.
func (s *Service) SessionByID(ctx context.Context, id string) (*signin.Session, error) {
	v, err := s.readSession(ctx, "WHERE s.id = ?", id)
	if err != nil || v == nil {
		return nil, err
	}
	return &v.Session, nil
}

// see notes that sessions were used.
func (s *Service) see(ctx context.Context, ids []string) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, id := range ids {
			if _, err := tx.Exec(ctx, "UPDATE account_session SET seen_at = ? WHERE id = ? AND seen_at < ?", micros(s.Now()), id, micros(s.Now())); err != nil {
				return fmt.Errorf("note use of session: %w", err)
			}
		}
		return nil
	})
}

// start makes a session, or raises the one that the same person has in this browser: its identifier stays, its cookie
// changes. Somebody else's session in this browser ends, and is returned.
func (s *Service) start(ctx context.Context, tx *store.Tx, person string, proof Proof, in Browser) (cookie string, id string, ended []string, err error) {
	old, err := s.scanSession(tx.QueryRow(ctx, sessionColumns+"WHERE s.cookie = ?", HashToken(in.Session)))
	if err != nil {
		return "", "", nil, err
	}
	cookie, hash := NewToken()
	if old != nil && old.Person.ID == person {
		proof = old.with(proof)
		_, err := tx.Exec(ctx, "UPDATE account_session SET cookie = ?, methods = ?, auth_at = ?, factor_at = ?, seen_at = ? WHERE id = ?",
			hash, toJSON(proof.Methods), micros(proof.AuthAt), micros(proof.FactorAt), micros(s.Now()), old.ID)
		if err != nil {
			return "", "", nil, fmt.Errorf("raise session: %w", err)
		}
		return cookie, old.ID, nil, nil
	}
	if proof.AuthAt.IsZero() {
		return "", "", nil, errSession // it asked for more of a session that ended meanwhile
	}
	if old != nil {
		if _, err := tx.Exec(ctx, "DELETE FROM account_session WHERE id = ?", old.ID); err != nil {
			return "", "", nil, fmt.Errorf("end session: %w", err)
		}
		ended = []string{old.ID}
	}
	id = newID()
	now := s.Now()
	_, absolute := s.lifetimes()
	what, where := s.describe(in.Visitor)
	_, err = tx.Exec(ctx, "INSERT INTO account_session (id, person, cookie, methods, auth_at, factor_at, started_at, seen_at, expires_at, device, place, fingerprint) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		id, person, hash, toJSON(unique(proof.Methods)), micros(proof.AuthAt), micros(proof.FactorAt), micros(now), micros(now), micros(now.Add(absolute)), what, where, in.Visitor.Fingerprint)
	if err != nil {
		return "", "", nil, fmt.Errorf("store session: %w", err)
	}
	return cookie, id, ended, nil
}

// with is what the session and a new proof show together.
func (v *Seen) with(p Proof) Proof {
	out := Proof{Methods: unique(append(slices.Clone(v.Methods), p.Methods...)), AuthAt: v.AuthAt, FactorAt: v.FactorAt}
	if p.AuthAt.After(out.AuthAt) {
		out.AuthAt = p.AuthAt
	}
	if p.FactorAt.After(out.FactorAt) {
		out.FactorAt = p.FactorAt
	}
	return out
}

// Sessions are those of a person that go on, the latest first.
func (s *Service) Sessions(ctx context.Context, person string) (list []Seen, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		list = nil
		rows, err := tx.Query(ctx, sessionColumns+"WHERE s.person = ? ORDER BY s.seen_at DESC LIMIT 200", person)
		if err != nil {
			return fmt.Errorf("list sessions: %w", err)
		}
		defer func() { _ = rows.Close() }() // rows.Err says what is wrong
		for rows.Next() {
			v, err := s.scanSession(rows)
			if err != nil {
				return err
			}
			if v != nil {
				list = append(list, *v)
			}
		}
		return rows.Err()
	})
	return list, err
}

// EndByID ends one session; one that is no more is no error.
func (s *Service) EndByID(ctx context.Context, id string) error {
	return s.end(ctx, "id = ?", id)
}

// EndSessionOf ends one session if it is that person's.
func (s *Service) EndSessionOf(ctx context.Context, person, id string) error {
	return s.end(ctx, "person = ? AND id = ?", person, id)
}

// EndSessions ends all sessions of a person but one ("" for none).
func (s *Service) EndSessions(ctx context.Context, person, keep string) error {
	return s.end(ctx, "person = ? AND id <> ?", person, keep)
}

func (s *Service) end(ctx context.Context, where string, args ...any) error {
	type one struct{ id, person string }
	var gone []one
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		gone = nil
		rows, err := tx.Query(ctx, "DELETE FROM account_session WHERE "+where+" RETURNING id, person", args...)
		if err != nil {
			return fmt.Errorf("end sessions: %w", err)
		}
		defer func() { _ = rows.Close() }() // rows.Err says what is wrong
		for rows.Next() {
			var o one
			if err := rows.Scan(&o.id, &o.person); err != nil {
				return fmt.Errorf("end sessions: %w", err)
			}
			gone = append(gone, o)
		}
		return rows.Err()
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	var ids []string
	for _, o := range gone {
		ids = append(ids, o.id)
		s.record("session.ended", o.person, map[string]string{"session": o.id})
	}
	s.ended(ctx, ids)
	return nil
}

func (s *Service) ended(ctx context.Context, ids []string) {
	if len(ids) > 0 && s.Ended != nil {
		s.Ended(ctx, ids)
	}
}

// Browser is what a request shows of its browser: its cookies' secrets, and where it comes from.
type Browser struct {
	Session string // cookie of the session, "" without
	Bound   string // cookie that the steps of a sign-in are bound to
	Device  string // cookie of a device that was here before
	Visitor wire.Visitor
}

// Known is the hash of the browser's device cookie if that person signed in with it before, else nil.
func (s *Service) Known(ctx context.Context, person string, in Browser) (hash []byte, err error) {
	hash = HashToken(in.Device)
	if hash == nil {
		return nil, nil
	}
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var there string
		err := tx.QueryRow(ctx, "SELECT network FROM account_device WHERE person = ? AND hash = ?", person, hash).Scan(&there)
		if errors.Is(err, store.ErrNoRows) {
			hash = nil
			return nil
		}
		return err
	})
	return hash, err
}

// remember notes the device of a person who signed in; the answer is whether it is new, and its cookie.
func (s *Service) remember(ctx context.Context, tx *store.Tx, person string, in Browser) (cookie string, fresh bool, err error) {
	cookie = in.Device
	hash := HashToken(cookie)
	if hash == nil {
		cookie, hash = NewToken()
	}
	var before int64
	err = tx.QueryRow(ctx, "SELECT seen_at FROM account_device WHERE person = ? AND hash = ?", person, hash).Scan(&before)
	fresh = errors.Is(err, store.ErrNoRows)
	if err != nil && !fresh {
		return "", false, fmt.Errorf("read device: %w", err)
	}
	_, err = tx.Exec(ctx, "INSERT INTO account_device (person, hash, network, seen_at) VALUES (?, ?, ?, ?) ON CONFLICT (person, hash) DO UPDATE SET network = excluded.network, seen_at = excluded.seen_at",
		person, hash, network(in.Visitor), micros(s.Now()))
	if err != nil {
		return "", false, fmt.Errorf("store device: %w", err)
	}
	return cookie, fresh, nil
}

var errSession = fault.New(fault.NotFound, "there is no such session, or it has ended")
