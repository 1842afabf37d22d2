package account

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/store"
)

// Upstream is what an OpenID provider says of somebody. Issuer and Subject name them for good. Email counts only when it is
// verified, and then only to find whom to ask.
type Upstream struct {
	Issuer, Subject string
	Provider        string // how people call it
	Email, Name     string
	Verified        bool
}

// FindUpstream is the person that an upstream identity was linked to, or fault.NotFound.
func (s *Service) FindUpstream(ctx context.Context, u Upstream) (r *Record, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var id string
		err := tx.QueryRow(ctx, "SELECT person FROM account_identity WHERE provider = ? AND subject = ?", u.Issuer, u.Subject).Scan(&id)
		if errors.Is(err, store.ErrNoRows) {
			return errGone
		}
		if err != nil {
			return fmt.Errorf("look up identity: %w", err)
		}
		r, err = personByID(ctx, tx, id)
		return err
	})
	return r, err
}

// ErrUnlinkable says that an upstream identity isn't this person's, as far as its provider says.
var ErrUnlinkable = fault.New(fault.Refused, "the provider hasn't verified the mail address of this account")

// LinkUpstream links an upstream identity to a person who agreed while signed in here; one whose mail address the
// provider hasn't verified, or isn't theirs, is ErrUnlinkable, one that is linked already fault.Conflict.
func (s *Service) LinkUpstream(ctx context.Context, person string, u Upstream) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error { return s.linkUpstream(ctx, tx, person, u) })
	if err == nil {
		s.record("factor.linked", person, map[string]string{"provider": u.Issuer})
	}
	return err
}

func (s *Service) linkUpstream(ctx context.Context, tx *store.Tx, person string, u Upstream) error {
	r, err := personByID(ctx, tx, person)
	if err != nil {
		return err
	}
	if !u.Verified || !r.Verified || emailKey(r.Email) != emailKey(u.Email) {
		return ErrUnlinkable
	}
	n, err := tx.Exec(ctx, "INSERT INTO account_identity (provider, subject, person, added_at) VALUES (?, ?, ?, ?) ON CONFLICT (provider, subject) DO NOTHING", u.Issuer, u.Subject, person, micros(s.Now()))
	if err != nil {
		return fmt.Errorf("link identity: %w", err)
	}
	if n == 0 {
		return fault.New(fault.Conflict, "this identity is linked already")
	}
	return nil
}

// CreateUpstream makes the person of an upstream identity who agreed; an address that somebody has is fault.Conflict.
func (s *Service) CreateUpstream(ctx context.Context, u Upstream, locale string) (p signin.Person, err error) {
	if !u.Verified {
		return p, ErrUnlinkable
	}
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		if p, err = s.create(ctx, tx, NewPerson{Email: u.Email, Name: u.Name, Locale: locale, Verified: true}); err != nil {
			return err
		}
		return s.linkUpstream(ctx, tx, p.ID, u)
	})
	if err == nil {
		s.record("user.created", p.ID, map[string]string{"provider": u.Issuer})
	}
	return p, err
}

// Linked is an upstream identity of a person.
type Linked struct {
	ID     string // names it to its person
	Issuer string
	Added  time.Time
}

// Linked are the upstream identities of a person.
func (s *Service) Linked(ctx context.Context, person string) (list []Linked, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		list, err = linked(ctx, tx, person, nil)
		return err
	})
	return list, err
}

// linked reads them; each, which may be nil, gets the subjects.
func linked(ctx context.Context, tx *store.Tx, person string, each func(l Linked, subject string)) (list []Linked, err error) {
	rows, err := tx.Query(ctx, "SELECT provider, subject, added_at FROM account_identity WHERE person = ? ORDER BY added_at", person)
	if err != nil {
		return nil, fmt.Errorf("list identities: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err says what is wrong
	for rows.Next() {
		var l Linked
		var subject string
		var added int64
		if err := rows.Scan(&l.Issuer, &subject, &added); err != nil {
			return nil, fmt.Errorf("list identities: %w", err)
		}
		sum := sha256.Sum256([]byte(l.Issuer + "\x00" + subject))
		l.ID, l.Added = "upstream-"+hex.EncodeToString(sum[:8]), fromMicros(added)
		list = append(list, l)
		if each != nil {
			each(l, subject)
		}
	}
	return list, rows.Err()
}

// Unlink takes an upstream identity from a person; one that isn't theirs is no error.
func (s *Service) Unlink(ctx context.Context, person, id string) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		var issuer, subject string
		if _, err := linked(ctx, tx, person, func(l Linked, of string) {
			if l.ID == id {
				issuer, subject = l.Issuer, of
			}
		}); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DELETE FROM account_identity WHERE provider = ? AND subject = ? AND person = ?", issuer, subject, person)
		return err
	})
	if err != nil {
		return fmt.Errorf("unlink identity: %w", err)
	}
	s.record("factor.unlinked", person, nil)
	return nil
}
