package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// CoolDown is how long a request for recovery rests before an administrator may approve it.
const CoolDown = 24 * time.Hour

// Recovery is somebody's request to come in without a second factor.
type Recovery struct {
	Person       string
	Asked, Ready time.Time
	Denied       bool
}

// AskRecovery begins a recovery for somebody who proved the first factor, and mails them a link to stop it.
func (s *Service) AskRecovery(ctx context.Context, person string, v wire.Visitor) error {
	r, err := s.Lookup(ctx, person)
	if err != nil {
		return err
	}
	var added int64
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		added, err = tx.Exec(ctx, "INSERT INTO account_recovery (person, asked_at, ready_at, denied) VALUES (?, ?, ?, false) ON CONFLICT (person) DO NOTHING", person, micros(s.Now()), micros(s.Now().Add(CoolDown)))
		if err != nil {
			return fmt.Errorf("ask for recovery: %w", err)
		}
		return nil
	})
	if err != nil || added == 0 {
		return err
	}
	token, err := s.NewLink(ctx, LinkCancel, person, "")
	if err != nil {
		return err
	}
	if err := s.Note(ctx, person, "event.recovery", "recovery.asked", v); err != nil {
		return err
	}
	dev, place := s.describe(v)
	if err := s.mail(message.Recovery, r.Locale, r.Email, message.Data{Name: r.Name, Link: s.link("/stop-recovery", token), Device: dev, Place: place, At: s.Now()}, true); err != nil {
		return err
	}
	_, err = s.Raise(ctx, Flag{Kind: FlagRecoveryAsked, Person: person, Visitor: v})
	return err
}

// RecoveryOf is the request of a person; nil without one.
func (s *Service) RecoveryOf(ctx context.Context, person string) (out *Recovery, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		out = nil
		r := Recovery{Person: person}
		var asked, ready int64
		err := tx.QueryRow(ctx, "SELECT asked_at, ready_at, denied FROM account_recovery WHERE person = ?", person).Scan(&asked, &ready, &r.Denied)
		if errors.Is(err, store.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read recovery: %w", err)
		}
		r.Asked, r.Ready = fromMicros(asked), fromMicros(ready)
		out = &r
		return nil
	})
	return out, err
}

// Recoveries are the requests that wait, the oldest first.
func (s *Service) Recoveries(ctx context.Context) (list []Recovery, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		list = nil
		rows, err := tx.Query(ctx, "SELECT person, asked_at, ready_at FROM account_recovery WHERE NOT denied ORDER BY ready_at LIMIT 500")
		if err != nil {
			return fmt.Errorf("list recoveries: %w", err)
		}
		defer func() { _ = rows.Close() }() // rows.Err says what is wrong
		for rows.Next() {
			var r Recovery
			var asked, ready int64
			if err := rows.Scan(&r.Person, &asked, &ready); err != nil {
				return fmt.Errorf("list recoveries: %w", err)
			}
			r.Asked, r.Ready = fromMicros(asked), fromMicros(ready)
			list = append(list, r)
		}
		return rows.Err()
	})
	return list, err
}

// StopRecovery ends a request at its person's wish.
func (s *Service) StopRecovery(ctx context.Context, person string) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM account_recovery WHERE person = ? AND NOT denied", person)
		if err != nil {
			return fmt.Errorf("stop recovery: %w", err)
		}
		return nil
	})
	if err == nil {
		s.record("recovery.stopped", person, nil)
	}
	return err
}

// DecideRecovery is an administrator's answer, not before the cool-down is over. Yes resets the factors.
func (s *Service) DecideRecovery(ctx context.Context, person string, yes bool) error {
	r, err := s.RecoveryOf(ctx, person)
	switch {
	case err != nil:
		return err
	case r == nil || r.Denied:
		return fault.New(fault.NotFound, "there is no such request")
	case yes && s.Now().Before(r.Ready):
		return fault.New(fault.Refused, "the cool-down isn't over yet")
	case yes:
		s.record("recovery.approved", person, nil)
		return s.ResetFactors(ctx, person)
	}
	s.record("recovery.denied", person, nil)
	return s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE account_recovery SET denied = true WHERE person = ?", person)
		if err != nil {
			return fmt.Errorf("deny recovery: %w", err)
		}
		return nil
	})
}

// ForgetDenied lets a person ask again.
func (s *Service) ForgetDenied(ctx context.Context, person string) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM account_recovery WHERE person = ?", person)
		return err
	})
}
