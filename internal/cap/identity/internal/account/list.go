package account

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/store"
)

// maxList is how many people one page of a list has at most.
const maxList = 500

// People are those whose address begins with a prefix, by address, after one ("" from the beginning).
func (s *Service) People(ctx context.Context, prefix, after string, limit int) (list []signin.Person, err error) {
	prefix = emailKey(prefix)
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		list = []signin.Person{}
		rows, err := tx.Query(ctx, personColumns+"WHERE email_key > ? AND email_key >= ? ORDER BY email_key LIMIT ?", emailKey(after), prefix, max(1, min(limit, maxList)))
		if err != nil {
			return fmt.Errorf("list people: %w", err)
		}
		defer func() { _ = rows.Close() }() // rows.Err says what is wrong
		for rows.Next() {
			r, err := scanPerson(rows)
			if err != nil {
				return fmt.Errorf("list people: %w", err)
			}
			if !strings.HasPrefix(emailKey(r.Email), prefix) {
				return nil
			}
			list = append(list, r.Person)
		}
		return rows.Err()
	})
	return list, err
}

// Upstream is what an OpenID provider says of somebody. Its email counts only when it is verified.
type Upstream struct {
	Provider, Subject, Email, Name string
	Verified                       bool
}

// FindUpstream is the person that an upstream identity was linked to, or fault.NotFound.
func (s *Service) FindUpstream(ctx context.Context, u Upstream) (r *Record, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var id string
		err := tx.QueryRow(ctx, "SELECT person FROM account_identity WHERE provider = ? AND subject = ?", u.Provider, u.Subject).Scan(&id)
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

// LinkUpstream links an upstream identity to a person who agreed while signed in here; one whose mail address the
// provider hasn't verified, or isn't theirs, is fault.Refused, one that is linked already fault.Conflict.
func (s *Service) LinkUpstream(ctx context.Context, person string, u Upstream) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		r, err := personByID(ctx, tx, person)
		if err != nil {
			return err
		}
		if !u.Verified || !r.Verified || emailKey(r.Email) != emailKey(u.Email) {
			return fault.New(fault.Refused, "the provider hasn't verified the mail address of this account")
		}
		n, err := tx.Exec(ctx, "INSERT INTO account_identity (provider, subject, person, added_at) VALUES (?, ?, ?, ?) ON CONFLICT (provider, subject) DO NOTHING", u.Provider, u.Subject, person, micros(s.Now()))
		if err != nil {
			return fmt.Errorf("link identity: %w", err)
		}
		if n == 0 {
			return fault.New(fault.Conflict, "this identity is linked already")
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.record("factor.linked", person, map[string]string{"provider": u.Provider})
	return nil
}
