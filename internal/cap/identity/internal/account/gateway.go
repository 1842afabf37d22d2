package account

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

const (
	arrivalTime  = 10 * time.Minute // from the gateway's redirect to the return
	callbackPath = "/.ward/callback"
	maxReturn    = 4096 // bytes
)

var errArrival = fault.New(fault.Refused, "this sign-in has expired or began in another browser; please begin again")

// BeginSignIn begins a sign-in for the gateway: the browser goes to Location, and comes back with a code.
func (s *Service) BeginSignIn(ctx context.Context, q wire.SignInBegin) (wire.SignInBegun, error) {
	if !s.AllowOrigin(q.Origin) {
		return wire.SignInBegun{}, fault.New(fault.Refused, "sign-in isn't offered for that origin")
	}
	if !localPath(q.Return) || q.FactorAge < 0 {
		return wire.SignInBegun{}, fault.New(fault.Invalid, "a sign-in returns to a path of its own origin")
	}
	id := newID()
	cookie, hash := NewToken()
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO account_arrival (id, cookie, origin, return_path, factor_age, interrupted, code, session, expires_at) VALUES (?, ?, ?, ?, ?, ?, NULL, '', ?)",
			id, hash, q.Origin, q.Return, q.FactorAge, q.Interrupted, micros(s.Now().Add(arrivalTime)))
		if err != nil {
			return fmt.Errorf("begin sign-in: %w", err)
		}
		return nil
	})
	return wire.SignInBegun{Location: s.Origin + "/continue?flow=" + id, Flow: cookie}, err
}

// localPath tells whether an address is a path and query of the same origin, for every browser.
func localPath(p string) bool {
	if len(p) > maxReturn || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) {
		return false
	}
	u, err := url.Parse(p)
	return err == nil && u.Host == "" && u.Scheme == "" && u.User == nil && u.Opaque == ""
}

// Arrival is what the gateway asks of a browser that was sent here.
func (s *Service) Arrival(ctx context.Context, id string) (q signin.Request, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var age, expires int64
		q = signin.Request{MaxAge: -1, FactorAge: -1, Resume: "/continue?flow=" + url.QueryEscape(id)}
		err := tx.QueryRow(ctx, "SELECT factor_age, interrupted, expires_at FROM account_arrival WHERE id = ?", id).Scan(&age, &q.Interrupted, &expires)
		if errors.Is(err, store.ErrNoRows) || err == nil && expires <= micros(s.Now()) {
			return errArrival
		}
		if err != nil {
			return fmt.Errorf("read sign-in: %w", err)
		}
		if age > 0 {
			q.FactorAge = time.Duration(age) * time.Second
		}
		return nil
	})
	return q, err
}

// Depart makes the code with which a browser goes back to the gateway, and the address to go to. The session must be
// good enough for the arrival.
func (s *Service) Depart(ctx context.Context, id string, session *signin.Session) (location string, err error) {
	q, err := s.Arrival(ctx, id)
	if err != nil {
		return "", err
	}
	if !q.Satisfied(session, s.Now()) {
		return "", fault.New(fault.Refused, "this sign-in needs more than was shown")
	}
	code, hash := NewToken()
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		var origin string
		err := tx.QueryRow(ctx, "UPDATE account_arrival SET code = ?, session = ? WHERE id = ? AND code IS NULL AND expires_at > ? RETURNING origin", hash, session.ID, id, micros(s.Now())).Scan(&origin)
		if errors.Is(err, store.ErrNoRows) {
			return errArrival
		}
		if err != nil {
			return fmt.Errorf("end sign-in: %w", err)
		}
		location = origin + callbackPath + "?code=" + code
		return nil
	})
	return location, err
}

// FinishSignIn makes the session at the gateway's origin. It takes the code, once, and the cookie of the browser that
// began, at the origin that it began at. A code that comes with another cookie is used up too.
func (s *Service) FinishSignIn(ctx context.Context, q wire.SignInFinish) (wire.SignInFinished, error) {
	var out wire.SignInFinished
	var wrong bool
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		out, wrong = wire.SignInFinished{}, true
		hash := HashToken(q.Code)
		if hash == nil {
			return nil
		}
		var cookie []byte
		var origin, back, session string
		var expires int64
		err := tx.QueryRow(ctx, "DELETE FROM account_arrival WHERE code = ? RETURNING cookie, origin, return_path, session, expires_at", hash).Scan(&cookie, &origin, &back, &session, &expires)
		if errors.Is(err, store.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("finish sign-in: %w", err)
		}
		if subtle.ConstantTimeCompare(cookie, HashToken(q.Flow)) != 1 || origin != q.Origin || !s.AllowOrigin(origin) || expires <= micros(s.Now()) {
			return nil
		}
		v, err := s.scanSession(tx.QueryRow(ctx, sessionColumns+"WHERE s.id = ?", session))
		if err != nil || v == nil {
			return err
		}
		fresh, freshHash := NewToken()
		// A visit of the same session at the same origin is replaced: its cookie is worth nothing from now on.
		_, err = tx.Exec(ctx, "INSERT INTO account_visit (cookie, session, origin) VALUES (?, ?, ?) ON CONFLICT (session, origin) DO UPDATE SET cookie = excluded.cookie", freshHash, session, origin)
		if err != nil {
			return fmt.Errorf("store visit: %w", err)
		}
		out, wrong = wire.SignInFinished{Cookie: fresh, Session: v.wire(), Return: back}, false
		return nil
	})
	if err == nil && wrong {
		return out, errArrival
	}
	return out, err
}

func (v *Seen) wire() wire.Session {
	p := wire.Person{ID: v.Person.ID, Name: v.Person.Name, Groups: v.Person.Groups, Roles: v.Person.Roles}
	if v.Person.Verified { // rules name people by it
		p.Email = v.Person.Email
	}
	if !v.FactorAt.IsZero() {
		p.FactorAt = v.FactorAt.Unix()
	}
	return wire.Session{ID: v.ID, Person: p, Expires: v.Expires.Unix(), Fingerprint: v.Fingerprint}
}

// GatewaySession is the session of a cookie at an origin, or fault.NotFound.
func (s *Service) GatewaySession(ctx context.Context, q wire.SessionQuery) (wire.Session, error) {
	hash := HashToken(q.Cookie)
	if hash == nil {
		return wire.Session{}, errSession
	}
	var v *Seen
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		v, err = s.scanSession(tx.QueryRow(ctx, sessionColumns+"JOIN account_visit v ON v.session = s.id WHERE v.cookie = ? AND v.origin = ?", hash, q.Origin))
		return err
	})
	if err != nil {
		return wire.Session{}, err
	}
	if v == nil {
		return wire.Session{}, errSession
	}
	return v.wire(), nil
}

// EndSession ends a session at the wish of its person, everywhere, and says where the browser goes.
func (s *Service) EndSession(ctx context.Context, q wire.SessionEnd) (wire.SessionEnded, error) {
	if err := s.EndByID(ctx, q.Session); err != nil {
		return wire.SessionEnded{}, err
	}
	return wire.SessionEnded{Location: s.Origin + "/signed-out"}, nil
}

// SeeSessions notes that sessions were used at the gateway, and raises a flag for those that moved: to another TLS
// client, or another network.
func (s *Service) SeeSessions(ctx context.Context, q wire.SessionsSeen) error {
	if err := s.see(ctx, q.Sessions); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(q.Moved)) {
		v, err := s.readSession(ctx, "WHERE s.id = ?", id)
		if err != nil {
			return err
		}
		if v == nil {
			continue
		}
		r, err := s.Raise(ctx, Flag{Kind: FlagMoved, Person: v.Person.ID, Session: id, Visitor: q.Moved[id], Was: v.Fingerprint})
		if err == nil && r.StepUp && !r.EndSessions {
			err = s.doubt(ctx, id, q.Moved[id].Fingerprint)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// doubt takes a session from the gateway's origins: who has its cookie there comes by the pages again, with the cookie that is only
// there. What asks for a fresh proof asks anew.
func (s *Service) doubt(ctx context.Context, id, fingerprint string) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM account_visit WHERE session = ?", id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE account_session SET auth_at = 0, factor_at = 0, fingerprint = ? WHERE id = ?", fingerprint, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("doubt session: %w", err)
	}
	s.record("session.doubted", "", map[string]string{"session": id})
	if s.Renewed != nil {
		s.Renewed(ctx, []string{id})
	}
	return nil
}
