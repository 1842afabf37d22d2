package account

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/cap/identity/internal/otp"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/store"
)

// maxFactors is how many a person may have.
const maxFactors = 20

// Factor is something that a person proves themselves with, besides the password.
type Factor struct {
	ID      string
	Kind    page.Kind
	Label   string // given by the person, or a masked number
	Added   time.Time
	Used    time.Time
	sealed  []byte // secret, number, or credential
	counter int64  // TOTP: the last step; passkey: the signature counter
}

const factorColumns = "SELECT id, kind, label, sealed, counter, added_at, used_at FROM account_factor "

func scanFactor(row scanner) (f Factor, err error) {
	var kind string
	var added, used int64
	err = row.Scan(&f.ID, &kind, &f.Label, &f.sealed, &f.counter, &added, &used)
	f.Kind, f.Added, f.Used = page.Kind(kind), fromMicros(added), fromMicros(used)
	return f, err
}

func factors(ctx context.Context, tx *store.Tx, person string) ([]Factor, error) {
	rows, err := tx.Query(ctx, factorColumns+"WHERE person = ? ORDER BY added_at", person)
	if err != nil {
		return nil, fmt.Errorf("list factors: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err says what is wrong
	var list []Factor
	for rows.Next() {
		f, err := scanFactor(rows)
		if err != nil {
			return nil, fmt.Errorf("list factors: %w", err)
		}
		list = append(list, f)
	}
	return list, rows.Err()
}

// Factors are a person's, without recovery codes, and how many of those are left.
func (s *Service) Factors(ctx context.Context, person string) (list []Factor, recovery int, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		if list, err = factors(ctx, tx, person); err != nil {
			return err
		}
		var n int64
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM account_recovery_code WHERE person = ?", person).Scan(&n); err != nil {
			return fmt.Errorf("count recovery codes: %w", err)
		}
		recovery = int(n)
		return nil
	})
	return list, recovery, err
}

// sealContext binds what is sealed to its person and use.
func sealContext(kind page.Kind, person string) string {
	return "identity account factor " + string(kind) + " " + person
}

// addFactor stores one.
func (s *Service) addFactor(ctx context.Context, person string, f Factor, plain []byte, credential any) error {
	sealed, err := secret.Seal(s.Key, plain, sealContext(f.Kind, person))
	if err != nil {
		return fmt.Errorf("seal factor: %w", err)
	}
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		have, err := factors(ctx, tx, person)
		if err != nil {
			return err
		}
		if len(have) >= maxFactors {
			return fault.New(fault.Exhausted, "there are too many factors already; remove one first")
		}
		_, err = tx.Exec(ctx, "INSERT INTO account_factor (id, person, kind, label, sealed, credential, counter, added_at, used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
			newID(), person, string(f.Kind), f.Label, sealed, credential, f.counter, micros(s.Now()))
		if err != nil {
			return fmt.Errorf("store factor: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.record("factor.added", person, map[string]string{"kind": string(f.Kind)})
	return nil
}

// open unseals a factor of a person.
func (s *Service) open(person string, f Factor) (secret.Bytes, error) {
	plain, err := secret.Open(s.Key, f.sealed, sealContext(f.Kind, person))
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("open factor: %w", err)
	}
	return secret.New(plain), nil
}

// advance moves a counter on, and says whether nobody else has as far meanwhile.
func (s *Service) advance(ctx context.Context, tx *store.Tx, f Factor, to int64) (bool, error) {
	n, err := tx.Exec(ctx, "UPDATE account_factor SET counter = ?, used_at = ? WHERE id = ? AND counter = ?", to, micros(s.Now()), f.ID, f.counter)
	if err != nil {
		return false, fmt.Errorf("note use of factor: %w", err)
	}
	return n == 1, nil
}

// RemoveFactor removes one and says which it was.
func (s *Service) RemoveFactor(ctx context.Context, person, id string) (f Factor, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		f, err = scanFactor(tx.QueryRow(ctx, "DELETE FROM account_factor WHERE person = ? AND id = ? RETURNING id, kind, label, sealed, counter, added_at, used_at", person, id))
		if errors.Is(err, store.ErrNoRows) {
			return fault.New(fault.NotFound, "there is no such factor")
		}
		return err
	})
	if err != nil {
		return f, err
	}
	s.record("factor.removed", person, map[string]string{"kind": string(f.Kind)})
	return f, nil
}

// ResetFactors takes away all second factors and ends the sessions: whoever signs in next enrols anew.
func (s *Service) ResetFactors(ctx context.Context, person string) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, table := range []string{"factor", "recovery_code", "recovery", "device"} {
			if _, err := tx.Exec(ctx, "DELETE FROM account_"+table+" WHERE person = ?", person); err != nil {
				return fmt.Errorf("reset factors: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.record("factor.reset", person, nil)
	return s.EndSessions(ctx, person, "")
}

// AddTOTP adds an authenticator whose first code was right at a step.
func (s *Service) AddTOTP(ctx context.Context, person string, key secret.Bytes, step int64) error {
	return s.addFactor(ctx, person, Factor{Kind: page.KindTOTP, counter: step}, key.Reveal(), nil)
}

// VerifyTOTP checks a code against a person's authenticators. A code that was taken once isn't again.
func (s *Service) VerifyTOTP(ctx context.Context, person, code string) (ok bool, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		ok = false
		list, err := factors(ctx, tx, person)
		if err != nil {
			return err
		}
		for _, f := range list {
			if f.Kind != page.KindTOTP {
				continue
			}
			key, err := s.open(person, f)
			if err != nil {
				return err
			}
			if step, right := otp.VerifyTOTP(key, code, s.Now(), f.counter); right {
				ok, err = s.advance(ctx, tx, f, step)
				return err
			}
		}
		return nil
	})
	return ok, err
}

// AddPhone adds a number whose code was right.
func (s *Service) AddPhone(ctx context.Context, person, number string) error {
	return s.addFactor(ctx, person, Factor{Kind: page.KindPhone, Label: maskPhone(number)}, []byte(number), nil)
}

func maskPhone(n string) string { return n[:3] + "…" + n[len(n)-3:] }

// MakeRecoveryCodes replaces a person's recovery codes.
func (s *Service) MakeRecoveryCodes(ctx context.Context, person string) ([]secret.Bytes, error) {
	codes, hashes := otp.NewRecovery(person)
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM account_recovery_code WHERE person = ?", person); err != nil {
			return fmt.Errorf("replace recovery codes: %w", err)
		}
		for _, h := range hashes {
			if _, err := tx.Exec(ctx, "INSERT INTO account_recovery_code (person, hash) VALUES (?, ?)", person, h[:]); err != nil {
				return fmt.Errorf("replace recovery codes: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.record("factor.added", person, map[string]string{"kind": string(page.KindRecovery)})
	return codes, nil
}

// UseRecoveryCode takes a recovery code, once.
func (s *Service) UseRecoveryCode(ctx context.Context, person, typed string) (ok bool, err error) {
	hash, err := otp.ParseRecovery(person, typed)
	if err != nil {
		return false, nil
	}
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Exec(ctx, "DELETE FROM account_recovery_code WHERE person = ? AND hash = ?", person, hash[:])
		if err != nil {
			return fmt.Errorf("use recovery code: %w", err)
		}
		ok = n == 1
		return nil
	})
	if ok {
		s.record("factor.recovery-code", person, nil)
	}
	return ok, err
}

const (
	codeDigits = 6
	codeValid  = 10 * time.Minute
)

// CodeDigits is how long a sent code is.
func (s *Service) CodeDigits() int { return codeDigits }

// MailCode mails a code, or, with a ghost, does the same work and mails none.
func (s *Service) MailCode(to otp.Target, locale, name string, ghost bool) (otp.Sent, error) {
	code, sent, err := otp.NewSent(s.codeKey, to, codeDigits, s.Now().Add(codeValid))
	if err != nil {
		return sent, fmt.Errorf("make code: %w", err)
	}
	kind := message.SignInCode
	if to.Purpose == otp.VerifyAddress {
		kind = message.VerifyAddress
	}
	return sent, s.mail(kind, locale, to.Address, message.Data{Name: name, Code: code, Valid: codeValid, At: s.Now()}, !ghost)
}

// TextCode sends a code to a phone.
func (s *Service) TextCode(to otp.Target, locale string) (otp.Sent, error) {
	if s.SMS == nil {
		return otp.Sent{}, fault.New(fault.Unsupported, "text messages aren't sent here")
	}
	code, sent, err := otp.NewSent(s.codeKey, to, codeDigits, s.Now().Add(codeValid))
	if err != nil {
		return sent, fmt.Errorf("make code: %w", err)
	}
	m, err := s.messages.SMS(message.SignInCode, locale, to.Address, message.Data{Product: s.Users().Name, Code: code, Valid: codeValid, Host: s.host})
	if err != nil {
		return sent, fmt.Errorf("write text message: %w", err)
	}
	m.Expires = sent.Expires
	if err := s.SMS.Put(m); err != nil {
		return sent, fmt.Errorf("queue text message: %w", err)
	}
	return sent, nil
}

// CheckCode checks a sent code. The returned Sent replaces the old one, whatever the answer.
func (s *Service) CheckCode(sent otp.Sent, to otp.Target, typed string) (otp.Sent, bool) {
	return sent.Verify(s.codeKey, to, typed, s.Now())
}

// Phone is the number of a factor.
func (s *Service) Phone(ctx context.Context, person, id string) (number string, err error) {
	list, _, err := s.Factors(ctx, person)
	if err != nil {
		return "", err
	}
	for _, f := range list {
		if f.ID == id && f.Kind == page.KindPhone {
			plain, err := s.open(person, f)
			return string(plain.Reveal()), err
		}
	}
	return "", fault.New(fault.NotFound, "there is no such factor")
}

// credentialKey is how a credential is looked up.
func credentialKey(id []byte) string { return hex.EncodeToString(id) }
