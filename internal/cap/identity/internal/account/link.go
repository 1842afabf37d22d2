package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/cap/identity/internal/pow"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// LinkKind is what a one-time link is for; one for something is worth nothing for something else.
type LinkKind string

// The kinds.
const (
	LinkReset  LinkKind = "reset"
	LinkInvite LinkKind = "invite"
	LinkDeny   LinkKind = "deny"
	LinkCancel LinkKind = "cancel" // of a recovery
	LinkAdmin  LinkKind = "admin"  // the first administrator
)

// valid is how long a link works.
func (k LinkKind) valid() time.Duration {
	switch k {
	case LinkReset:
		return 30 * time.Minute
	case LinkInvite:
		return 3 * 24 * time.Hour
	case LinkAdmin:
		return 24 * time.Hour
	}
	return 7 * 24 * time.Hour
}

// Link is what a one-time link leads to.
type Link struct{ Person, Data string }

var errLink = fault.New(fault.NotFound, "this link has expired or was used")

// NewLink makes a one-time link's token. For resets and first administrators it ends those before.
func (s *Service) NewLink(ctx context.Context, kind LinkKind, person, data string) (token string, err error) {
	token, hash := NewToken()
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		if kind == LinkReset || kind == LinkAdmin || kind == LinkInvite {
			if _, err := tx.Exec(ctx, "DELETE FROM account_link WHERE person = ? AND kind = ?", person, string(kind)); err != nil {
				return fmt.Errorf("end old links: %w", err)
			}
		}
		_, err := tx.Exec(ctx, "INSERT INTO account_link (hash, kind, person, data, expires_at) VALUES (?, ?, ?, ?, ?)", hash, string(kind), person, data, micros(s.Now().Add(kind.valid())))
		if err != nil {
			return fmt.Errorf("store link: %w", err)
		}
		return nil
	})
	return token, err
}

// SeeLink is what a link leads to; it stays good.
func (s *Service) SeeLink(ctx context.Context, kind LinkKind, token string) (l Link, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		return scanLink(tx.QueryRow(ctx, "SELECT person, data FROM account_link WHERE hash = ? AND kind = ? AND expires_at > ?", HashToken(token), string(kind), micros(s.Now())), &l)
	})
	return l, err
}

// TakeLink is what a link leads to, once.
func (s *Service) TakeLink(ctx context.Context, kind LinkKind, token string) (l Link, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		return s.takeLink(ctx, tx, kind, token, &l)
	})
	return l, err
}

func (s *Service) takeLink(ctx context.Context, tx *store.Tx, kind LinkKind, token string, l *Link) error {
	return scanLink(tx.QueryRow(ctx, "DELETE FROM account_link WHERE hash = ? AND kind = ? AND expires_at > ? RETURNING person, data", HashToken(token), string(kind), micros(s.Now())), l)
}

func scanLink(row store.Row, l *Link) error {
	err := row.Scan(&l.Person, &l.Data)
	if errors.Is(err, store.ErrNoRows) {
		return errLink
	}
	if err != nil {
		return fmt.Errorf("read link: %w", err)
	}
	return nil
}

// Forgot mails a link to a new password. Whether there is such a person shows in nothing: the same rows are written.
func (s *Service) Forgot(ctx context.Context, email, locale string, v wire.Visitor) error {
	return s.mailReset(ctx, message.ResetPassword, signin.Person{Email: email, Locale: locale}, v)
}

// mailReset mails a link to a new password in a mail of a kind.
func (s *Service) mailReset(ctx context.Context, kind message.Kind, to signin.Person, v wire.Visitor) error {
	email, locale := to.Email, to.Locale
	r, err := s.Find(ctx, email)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	send := r != nil && !r.Disabled
	if r == nil {
		// Made up afresh, so that rows of strangers don't replace one another.
		r = &Record{Person: signin.Person{ID: newID(), Email: "nobody@example.org", Locale: locale}}
	}
	token, err := s.NewLink(ctx, LinkReset, r.ID, "")
	if err != nil {
		return err
	}
	dev, place := s.describe(v)
	return s.mail(kind, r.Locale, r.Email, message.Data{
		Name: r.Name, Link: s.link("/reset", token), Valid: LinkReset.valid(), Device: dev, Place: place, At: s.Now(),
	}, send)
}

// Invite makes a person and mails a link to set up the account; the link is returned as well.
func (s *Service) Invite(ctx context.Context, n NewPerson) (signin.Person, secret.Bytes, error) {
	n.Verified = false
	p, err := s.Create(ctx, n)
	if err != nil {
		return p, secret.Bytes{}, err
	}
	token, err := s.NewLink(ctx, LinkInvite, p.ID, "")
	if err != nil {
		return p, secret.Bytes{}, err
	}
	link := s.link("/invite", token)
	return p, link, s.mail(message.VerifyAddress, p.Locale, p.Email, message.Data{Name: p.Name, Link: link, Valid: LinkInvite.valid()}, true)
}

// FirstAdminLink is a one-time link to make the first administrator, "" when there is one. It ends the links before.
func (s *Service) FirstAdminLink(ctx context.Context) (string, error) {
	any, err := s.hasAdmin(ctx)
	if err != nil || any {
		return "", err
	}
	token, err := s.NewLink(ctx, LinkAdmin, "", "")
	if err != nil {
		return "", err
	}
	return string(s.link("/first", token).Reveal()), nil
}

func (s *Service) hasAdmin(ctx context.Context) (yes bool, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		yes, err = hasAdmin(ctx, tx)
		return err
	})
	return yes, err
}

func hasAdmin(ctx context.Context, tx *store.Tx) (bool, error) {
	var one int64
	err := tx.QueryRow(ctx, "SELECT 1 FROM account_person WHERE administrator LIMIT 1").Scan(&one)
	if errors.Is(err, store.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for administrators: %w", err)
	}
	return true, nil
}

// FirstAdmin makes the first administrator; the link is used up with it.
func (s *Service) FirstAdmin(ctx context.Context, token string, n NewPerson) (p signin.Person, err error) {
	n.Verified, n.Roles = true, unique(append(slices.Clone(n.Roles), AdminRole))
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := s.takeLink(ctx, tx, LinkAdmin, token, &Link{}); err != nil {
			return err
		}
		if any, err := hasAdmin(ctx, tx); err != nil || any {
			return errors.Join(err, errLink)
		}
		p, err = s.create(ctx, tx, n)
		return err
	})
	if err != nil {
		return p, err
	}
	s.record("user.created", p.ID, map[string]string{"roles": AdminRole})
	return p, nil
}

// Spend uses up a proof of work; false when it was used before.
func (s *Service) Spend(ctx context.Context, w pow.Solution) (fresh bool, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Exec(ctx, "INSERT INTO account_spent (id, expires_at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", w.ID[:], micros(w.Expires))
		if err != nil {
			return fmt.Errorf("note proof of work: %w", err)
		}
		fresh = n == 1
		return nil
	})
	return fresh, err
}
