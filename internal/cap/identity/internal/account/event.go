package account

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// FlagKind is what happened that may be part of an attack.
type FlagKind string

// The kinds. FlagHalf is a right first factor where no second one is asked for: detectors may ask for it.
const (
	FlagOK             FlagKind = "sign-in.ok"
	FlagHalf           FlagKind = "password.ok"
	FlagWrongPassword  FlagKind = "password.wrong"
	FlagHasty          FlagKind = "password.hasty" // one that came within the pause after others, and wasn't looked at
	FlagWrongFactor    FlagKind = "factor.wrong"
	FlagUnknown        FlagKind = "identifier.unknown"
	FlagFactorRemoved  FlagKind = "factor.removed"
	FlagCodeRequested  FlagKind = "code.requested"
	FlagClone          FlagKind = "passkey.clone"
	FlagMoved          FlagKind = "session.moved"
	FlagDenied         FlagKind = "sign-in.denied" // its person says that it wasn't them
	FlagLinkRequested  FlagKind = "link.requested"
	FlagRecoveryAsked  FlagKind = "recovery.asked"
	FlagRegistered     FlagKind = "user.registered"
	FlagStolenSequence FlagKind = "flow.stolen" // a step in another browser than the one before
)

// Flag is one thing that happened, for detectors.
type Flag struct {
	Kind    FlagKind
	Person  string // "" if unknown
	Session string // "" if there is none yet
	Who     string // the identifier that was typed, in lower case; don't log it
	Known   bool   // the person has signed in on this device before
	Was     string // what it was before, for FlagMoved
	Visitor wire.Visitor
	Network string // /24 or /48 of the visitor
	At      time.Time
	// Password is the one that was wrong. It is neither stored nor logged.
	Password secret.Bytes
}

// Response is what detectors want done. The zero Response is nothing.
type Response struct {
	Wait        time.Duration // refuse for so long
	StepUp      bool          // a second factor is asked for in any case
	EndSessions bool          // all of the person's
	Ask         bool          // "was it you?"
}

// Standing is how long something isn't looked at because of what detectors saw before; 0 to go on. It counts nothing.
func (s *Service) Standing(ctx context.Context, f Flag) time.Duration {
	if s.Config.Stands == nil {
		return 0
	}
	f.At, f.Network, f.Who = s.Now(), network(f.Visitor), emailKey(f.Who)
	return s.Config.Stands(ctx, f)
}

// Raise tells the detectors and does what they answer, but for Wait and StepUp, which are the caller's.
func (s *Service) Raise(ctx context.Context, f Flag) (Response, error) {
	if s.Config.Flag == nil {
		return Response{}, nil
	}
	f.At, f.Network, f.Who = s.Now(), network(f.Visitor), emailKey(f.Who)
	r := s.Config.Flag(ctx, f)
	if f.Person == "" {
		return r, nil
	}
	if r.EndSessions {
		if err := s.EndSessions(ctx, f.Person, ""); err != nil {
			return r, err
		}
	}
	if r.Ask {
		return r, s.AskWhether(ctx, f.Person, message.WasItYou, "", f.Visitor)
	}
	return r, nil
}

// Event is one line of a person's activity.
type Event struct {
	At            time.Time
	What          string // a key of the pages' texts
	Device, Place string
	Warning       bool
}

// note adds to a person's activity.
func (s *Service) note(ctx context.Context, tx *store.Tx, person, what string, v wire.Visitor) error {
	warning := what == "event.sign-in-failed" || what == "event.blocked"
	dev, place := s.describe(v)
	_, err := tx.Exec(ctx, "INSERT INTO account_activity (id, person, at, what, device, place, warning) VALUES (?, ?, ?, ?, ?, ?, ?)", newID(), person, micros(s.Now()), what, dev, place, warning)
	if err != nil {
		return fmt.Errorf("note activity: %w", err)
	}
	return nil
}

// Note adds to a person's activity, what people see of their account, and to the ledger.
func (s *Service) Note(ctx context.Context, person, what, kind string, v wire.Visitor) error {
	s.record(kind, person, map[string]string{"ip": v.IP})
	return s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		return s.note(ctx, tx, person, what, v)
	})
}

// ReadEvent reads the event of a link.
func ReadEvent(data string) (e Event, err error) {
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		return e, fmt.Errorf("read event: %w", err)
	}
	return e, nil
}

const pageOfEvents = 50

// Activity is what happened before a time (zero: now), the latest first; more says that there is older.
func (s *Service) Activity(ctx context.Context, person string, before time.Time) (list []Event, more bool, err error) {
	if before.IsZero() {
		before = s.Now().Add(time.Second)
	}
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		list = nil
		rows, err := tx.Query(ctx, "SELECT at, what, device, place, warning FROM account_activity WHERE person = ? AND at < ? ORDER BY at DESC LIMIT ?", person, micros(before), pageOfEvents+1)
		if err != nil {
			return fmt.Errorf("list activity: %w", err)
		}
		defer func() { _ = rows.Close() }() // rows.Err says what is wrong
		for rows.Next() {
			var e Event
			var at int64
			if err := rows.Scan(&at, &e.What, &e.Device, &e.Place, &e.Warning); err != nil {
				return fmt.Errorf("list activity: %w", err)
			}
			e.At = fromMicros(at)
			list = append(list, e)
		}
		return rows.Err()
	})
	if len(list) > pageOfEvents {
		return list[:pageOfEvents], true, err
	}
	return list, false, err
}

// mail writes and queues a mail. It is the same work whether or not it is sent.
func (s *Service) mail(kind message.Kind, locale, to string, d message.Data, send bool) error {
	d.Product, d.Host = s.Users().Name, s.host
	m, err := s.messages.Mail(kind, locale, to, d)
	if err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	if d.Valid > 0 {
		m.Expires = s.Now().Add(d.Valid)
	}
	if !send {
		return nil
	}
	if err := s.Mail.Put(m); err != nil {
		return fmt.Errorf("queue mail: %w", err)
	}
	return nil
}

// AskWhether mails a person about something, with a link to say that it wasn't them.
func (s *Service) AskWhether(ctx context.Context, person string, kind message.Kind, factor string, v wire.Visitor) error {
	r, err := s.Lookup(ctx, person)
	if err != nil {
		return err
	}
	dev, place := s.describe(v)
	token, err := s.NewLink(ctx, LinkDeny, person, toJSON(Event{At: s.Now(), What: "event.sign-in", Device: dev, Place: place, Warning: true}))
	if err != nil {
		return err
	}
	return s.mail(kind, r.Locale, r.Email, message.Data{Name: r.Name, Link: s.link("/was-it-you", token), Device: dev, Place: place, Factor: factor, At: s.Now()}, true)
}

func (s *Service) link(path, token string) secret.Bytes {
	return secret.New([]byte(s.Origin + path + "?token=" + token))
}

// Deny is a person's word that it wasn't them: all sessions end, and the password isn't taken any more.
func (s *Service) Deny(ctx context.Context, token string, v wire.Visitor) (*Record, error) {
	l, err := s.TakeLink(ctx, LinkDeny, token)
	if err != nil {
		return nil, err
	}
	if err := s.change(ctx, l.Person, "must_reset = true"); err != nil {
		return nil, err
	}
	if err := s.EndSessions(ctx, l.Person, ""); err != nil {
		return nil, err
	}
	if err := s.Note(ctx, l.Person, "event.blocked", "sign-in.denied", v); err != nil {
		return nil, err
	}
	if _, err := s.Raise(ctx, Flag{Kind: FlagDenied, Person: l.Person, Visitor: v}); err != nil {
		return nil, err
	}
	r, err := s.Lookup(ctx, l.Person)
	if err != nil {
		return nil, fault.Wrap(fault.KindOf(err), fault.PublicText(err), err)
	}
	return r, nil
}

// Failed notes a proof that was wrong. The flag names nobody for somebody unknown, for whom the same work is done. The answer
// is how long to wait.
func (s *Service) Failed(ctx context.Context, f Flag) (time.Duration, error) {
	if f.Person == "" && f.Kind == FlagWrongPassword {
		f.Kind = FlagUnknown
	}
	s.record("sign-in.failed", f.Person, map[string]string{"ip": f.Visitor.IP, "why": string(f.Kind)})
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		if f.Person != "" {
			return s.note(ctx, tx, f.Person, "event.sign-in-failed", f.Visitor)
		}
		_, err := tx.Exec(ctx, "INSERT INTO account_spent (id, expires_at) VALUES (?, ?)", []byte(newID()), micros(s.Now()))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("note failed sign-in: %w", err)
	}
	r, err := s.Raise(ctx, f)
	return r.Wait, err
}
