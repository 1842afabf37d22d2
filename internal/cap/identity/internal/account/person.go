package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/cap/identity/internal/password"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

const maxName = 100 // characters

// Record is a person with what isn't for others.
type Record struct {
	signin.Person
	password  string // encoded hash; "" for none
	MustReset bool   // the password isn't taken any more
}

// HasPassword tells whether there is a password that works.
func (r *Record) HasPassword() bool { return r.password != "" && !r.MustReset }

const personColumns = `SELECT id, email, verified, name, locale, password, must_reset, group_names, role_names, disabled, updated_at FROM account_person `

type scanner interface{ Scan(into ...any) error }

func scanPerson(row scanner) (*Record, error) {
	var r Record
	var groups, roles string
	var updated int64
	err := row.Scan(&r.ID, &r.Email, &r.Verified, &r.Name, &r.Locale, &r.password, &r.MustReset, &groups, &roles, &r.Disabled, &updated)
	if err != nil {
		return nil, err
	}
	r.Updated = fromMicros(updated)
	if r.Groups, err = names(groups); err != nil {
		return nil, err
	}
	r.Roles, err = names(roles)
	return &r, err
}

func personByID(ctx context.Context, tx *store.Tx, id string) (*Record, error) {
	r, err := scanPerson(tx.QueryRow(ctx, personColumns+"WHERE id = ?", id))
	if errors.Is(err, store.ErrNoRows) {
		return nil, errGone
	}
	if err != nil {
		return nil, fmt.Errorf("read person: %w", err)
	}
	return r, nil
}

// emailKey is how addresses are compared: case doesn't matter.
func emailKey(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

func personByEmail(ctx context.Context, tx *store.Tx, email string) (*Record, error) {
	r, err := scanPerson(tx.QueryRow(ctx, personColumns+"WHERE email_key = ?", emailKey(email)))
	if errors.Is(err, store.ErrNoRows) {
		return nil, errGone
	}
	if err != nil {
		return nil, fmt.Errorf("read person: %w", err)
	}
	return r, nil
}

// Find is the person with an address, or fault.NotFound.
func (s *Service) Find(ctx context.Context, email string) (r *Record, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		r, err = personByEmail(ctx, tx, email)
		return err
	})
	return r, err
}

// Lookup is the person with an identifier, or fault.NotFound.
func (s *Service) Lookup(ctx context.Context, id string) (r *Record, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		r, err = personByID(ctx, tx, id)
		return err
	})
	return r, err
}

// Person is the person with an identifier, or fault.NotFound.
func (s *Service) Person(ctx context.Context, id string) (signin.Person, error) {
	r, err := s.Lookup(ctx, id)
	if err != nil {
		return signin.Person{}, err
	}
	return r.Person, nil
}

// NewPerson is what is known of somebody at first.
type NewPerson struct {
	Email, Name, Locale string
	Verified            bool
	Password            string // encoded; "" for none
	Groups, Roles       []string
}

// Check returns a fault of kind Invalid for an address or a name that isn't taken.
func (n *NewPerson) Check() error {
	if _, err := message.ParseAddress(n.Email); err != nil {
		return fault.Wrap(fault.Invalid, "that isn't a mail address", err)
	}
	return checkName(n.Name)
}

func checkName(name string) error {
	if len([]rune(name)) > maxName || strings.ContainsFunc(name, unicode.IsControl) {
		return fault.New(fault.Invalid, fmt.Sprintf("the name has more than %d characters or controls", maxName))
	}
	return nil
}

// Create makes a person; an address that somebody has is fault.Conflict.
func (s *Service) Create(ctx context.Context, n NewPerson) (signin.Person, error) {
	var p signin.Person
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		p, err = s.create(ctx, tx, n)
		return err
	})
	if err != nil {
		return p, err
	}
	s.record("user.created", p.ID, nil)
	return p, nil
}

// CreateAll makes people, all that it can; refused has an entry for each, nil for one who was made.
func (s *Service) CreateAll(ctx context.Context, all []NewPerson) (made int, refused []error, err error) {
	var ids []string
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		refused, ids = make([]error, len(all)), nil
		for i, n := range all {
			p, err := s.create(ctx, tx, n)
			switch fault.KindOf(err) {
			case fault.Conflict, fault.Invalid:
				refused[i] = err
				continue
			}
			if err != nil {
				return err
			}
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
	return len(ids), refused, nil
}

func (s *Service) create(ctx context.Context, tx *store.Tx, n NewPerson) (signin.Person, error) {
	n.Email, n.Name = strings.TrimSpace(n.Email), strings.TrimSpace(n.Name)
	if err := n.Check(); err != nil {
		return signin.Person{}, err
	}
	p := signin.Person{ID: newID(), Email: n.Email, Verified: n.Verified, Name: n.Name, Locale: n.Locale, Groups: unique(n.Groups), Roles: unique(n.Roles), Updated: s.Now()}
	now := micros(p.Updated)
	added, err := tx.Exec(ctx, `INSERT INTO account_person (id, email, email_key, verified, name, locale, password, must_reset, group_names, role_names, administrator, disabled, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, false, ?, ?, ?, false, ?, ?) ON CONFLICT (email_key) DO NOTHING`,
		p.ID, p.Email, emailKey(p.Email), p.Verified, p.Name, p.Locale, n.Password, toJSON(p.Groups), toJSON(p.Roles), slices.Contains(p.Roles, AdminRole), now, now)
	if err != nil {
		return p, fmt.Errorf("store person: %w", err)
	}
	if added == 0 {
		return p, fault.New(fault.Conflict, "somebody has that address already")
	}
	return p, nil
}

// update changes columns of a person; the assignments are ours.
func (s *Service) update(ctx context.Context, tx *store.Tx, id, assignments string, args ...any) error {
	n, err := tx.Exec(ctx, "UPDATE account_person SET "+assignments+", updated_at = ? WHERE id = ?", append(args, micros(s.Now()), id)...)
	if err != nil {
		return fmt.Errorf("update person: %w", err)
	}
	if n == 0 {
		return errGone
	}
	return nil
}

func (s *Service) change(ctx context.Context, id, assignments string, args ...any) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error { return s.update(ctx, tx, id, assignments, args...) })
}

// SetName renames a person.
func (s *Service) SetName(ctx context.Context, id, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return s.change(ctx, id, "name = ?", strings.TrimSpace(name))
}

// SetLocale notes the language that a person reads.
func (s *Service) SetLocale(ctx context.Context, id, locale string) error {
	return s.change(ctx, id, "locale = ?", locale)
}

// SetEmail changes the address to one that was just verified; somebody else's is fault.Conflict.
func (s *Service) SetEmail(ctx context.Context, id, email string) error {
	if _, err := message.ParseAddress(email); err != nil {
		return fault.Wrap(fault.Invalid, "that isn't a mail address", err)
	}
	err := s.change(ctx, id, "email = ?, email_key = ?, verified = true", email, emailKey(email))
	if store.IsUnique(err) {
		return fault.Wrap(fault.Conflict, "somebody has that address already", err)
	}
	return err
}

// SetMembership replaces groups and roles. Whoever loses one is signed out everywhere: tokens say what was.
func (s *Service) SetMembership(ctx context.Context, id string, groups, roles []string) error {
	groups, roles = unique(groups), unique(roles)
	was, err := s.Person(ctx, id)
	if err != nil {
		return err
	}
	if err := s.change(ctx, id, "group_names = ?, role_names = ?, administrator = ?", toJSON(groups), toJSON(roles), slices.Contains(roles, AdminRole)); err != nil {
		return err
	}
	s.record("user.membership", id, map[string]string{"groups": strings.Join(groups, " "), "roles": strings.Join(roles, " ")})
	lost := func(now []string) func(string) bool { return func(s string) bool { return !slices.Contains(now, s) } }
	if slices.ContainsFunc(was.Groups, lost(groups)) || slices.ContainsFunc(was.Roles, lost(roles)) {
		return s.EndSessions(ctx, id, "")
	}
	open, err := s.Sessions(ctx, id)
	if err != nil || s.Renewed == nil {
		return err
	}
	ids := make([]string, len(open))
	for i := range open {
		ids[i] = open[i].ID
	}
	s.Renewed(ctx, ids)
	return nil
}

// SetDisabled disables or enables a person. Disabling ends the sessions.
func (s *Service) SetDisabled(ctx context.Context, id string, disabled bool) error {
	if err := s.change(ctx, id, "disabled = ?", disabled); err != nil {
		return err
	}
	if !disabled {
		s.record("user.enabled", id, nil)
		return nil
	}
	s.record("user.disabled", id, nil)
	return s.EndSessions(ctx, id, "")
}

// Delete deletes a person and all that belongs to them; nothing of it comes back.
func (s *Service) Delete(ctx context.Context, id string) error {
	if err := s.EndSessions(ctx, id, ""); err != nil {
		return err
	}
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, q := range []string{"DELETE FROM account_link WHERE person = ?", "DELETE FROM account_person WHERE id = ?"} {
			if _, err := tx.Exec(ctx, q, id); err != nil {
				return fmt.Errorf("delete person: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.record("user.deleted", id, nil)
	return nil
}

// CheckPassword returns a fault of kind Invalid for a password that is too short, easy or public.
func (s *Service) CheckPassword(ctx context.Context, pw secret.Bytes, about ...string) error {
	if err := s.policy().Check(pw, append(about, s.Users().Name, s.host)); err != nil {
		return err
	}
	plain, err := password.Normalise(pw)
	if err != nil {
		return err
	}
	if s.Breached.Breached(ctx, plain) {
		return ErrBreached
	}
	return nil
}

// MinPassword is how many characters a new password needs.
func (s *Service) MinPassword() int {
	if s.policy().SecondFactor {
		return password.MinWithSecond
	}
	return password.MinOnlyFactor
}

// ErrBreached says that a password is known from a breach.
var ErrBreached = fault.New(fault.Invalid, "the password is known from a breach")

// SetPassword sets a new password that CheckPassword let pass, and ends all sessions but one ("" for none).
func (s *Service) SetPassword(ctx context.Context, id string, pw secret.Bytes, keep string) error {
	encoded, err := s.Hasher.Hash(ctx, pw)
	if err != nil {
		return err
	}
	if err := s.change(ctx, id, "password = ?, must_reset = false", encoded); err != nil {
		return err
	}
	s.record("factor.password", id, nil)
	return s.EndSessions(ctx, id, keep)
}

// VerifyPassword checks the password of whoever has an address. The same work is done whether or not there is such a
// person; the answer is nil when it isn't right. It counts no guesses: that is Attempt's.
func (s *Service) VerifyPassword(ctx context.Context, email string, pw secret.Bytes) (*Record, error) {
	r, err := s.Find(ctx, email)
	encoded := ""
	switch {
	case fault.KindOf(err) == fault.NotFound:
	case err != nil:
		return nil, err
	case r.HasPassword():
		encoded = r.password
	}
	ok, upgrade, err := s.Hasher.Verify(ctx, encoded, pw)
	if err != nil && fault.KindOf(err) == fault.Exhausted {
		return nil, err
	}
	if err != nil || !ok || r == nil || r.Disabled {
		return nil, nil
	}
	if upgrade {
		// A failure only means that it is tried again at the next sign-in.
		if fresh, err := s.Hasher.Hash(ctx, pw); err == nil {
			if err := s.change(ctx, r.ID, "password = ?", fresh); err != nil {
				s.Log.WarnContext(ctx, "password hash can't be upgraded", "error", err)
			}
		}
	}
	return r, nil
}

// record tells the ledger; detail never holds a secret.
func (s *Service) record(kind, person string, detail map[string]string) {
	if s.Config.Record == nil {
		return
	}
	s.Config.Record(wire.Event{Time: s.Now(), Kind: kind, Object: person, Detail: detail})
}
