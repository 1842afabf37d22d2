package account

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/password"
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

const (
	maxImportLine = 16 << 10 // bytes
	importBatch   = 500      // people in a transaction
)

// Imported is what became of an import: how many were made, and which lines weren't taken and why.
type Imported struct {
	Made    int
	Refused []RefusedLine
}

// RefusedLine is a line of an import, from 1 on, that wasn't taken.
type RefusedLine struct {
	Line int
	Why  string
}

// maxRefused is how many refused lines an import reports before it ends.
const maxRefused = 1000

// Import makes people of JSON lines: {"email", "name", "locale", "verified", "password_hash", "groups", "roles"}, where
// the hash is in any form that password.Parse reads. It is upgraded when its person signs in. Lines that aren't taken
// don't stop it; what was made stays when it ends early.
func (s *Service) Import(ctx context.Context, lines io.Reader) (Imported, error) {
	var out Imported
	var batch []NewPerson
	var at []int
	flush := func() error {
		made, refused, err := s.importBatch(ctx, batch, at)
		out.Made += made
		out.Refused = append(out.Refused, refused...)
		batch, at = batch[:0], at[:0]
		if err == nil && len(out.Refused) > maxRefused {
			err = fault.New(fault.Invalid, fmt.Sprintf("more than %d lines can't be taken; the import ended", maxRefused))
		}
		return err
	}
	sc := bufio.NewScanner(lines)
	sc.Buffer(make([]byte, 4096), maxImportLine)
	for n := 1; sc.Scan(); n++ {
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		p, err := ParseImported(sc.Bytes())
		if err != nil {
			out.Refused = append(out.Refused, RefusedLine{n, fault.PublicText(err)})
			continue
		}
		batch, at = append(batch, p), append(at, n)
		if len(batch) == importBatch {
			if err := flush(); err != nil {
				return out, err
			}
		}
	}
	if err := flush(); err != nil {
		return out, err
	}
	if errors.Is(sc.Err(), bufio.ErrTooLong) {
		return out, fault.New(fault.Invalid, fmt.Sprintf("a line has more than %d bytes", maxImportLine))
	}
	return out, sc.Err()
}

// ParseImported reads one line of an import.
func ParseImported(line []byte) (NewPerson, error) {
	var in struct {
		Email    string   `json:"email"`
		Name     string   `json:"name"`
		Locale   string   `json:"locale"`
		Verified bool     `json:"verified"`
		Hash     string   `json:"password_hash"`
		Groups   []string `json:"groups"`
		Roles    []string `json:"roles"`
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return NewPerson{}, fault.Wrap(fault.Invalid, "the line isn't an object of the known fields", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return NewPerson{}, fault.New(fault.Invalid, "something follows the object")
	}
	n := NewPerson{Email: in.Email, Name: in.Name, Locale: in.Locale, Verified: in.Verified, Password: in.Hash, Groups: in.Groups, Roles: in.Roles}
	if n.Password != "" {
		if _, err := password.Parse(n.Password); err != nil {
			return NewPerson{}, fault.Wrap(fault.Invalid, "the password hash isn't one of the known forms, or is beyond the limits", err)
		}
	}
	return n, n.check()
}

func (s *Service) importBatch(ctx context.Context, batch []NewPerson, at []int) (made int, refused []RefusedLine, err error) {
	var ids []string
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		made, refused, ids = 0, nil, nil
		for i, n := range batch {
			p, err := s.create(ctx, tx, n)
			switch fault.KindOf(err) {
			case fault.Conflict, fault.Invalid:
				refused = append(refused, RefusedLine{at[i], fault.PublicText(err)})
				continue
			}
			if err != nil {
				return err
			}
			made++
			ids = append(ids, p.ID)
		}
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	for _, id := range ids {
		s.record("user.created", id, map[string]string{"by": "import"})
	}
	return made, refused, nil
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
