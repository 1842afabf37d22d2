// Package account keeps people, what they prove themselves with, and their sessions; and it hands browsers over to the
// gateway's origins. Package site shows it to people, package admin to administrators.
//
// Guarantee: what can sign in is stored hashed (cookies, codes, links: SHA-256 of 256 random bits; passwords: argon2id)
// or sealed (TOTP secrets, phone numbers); everything of the kind works once, expires, and is for one purpose; a step of
// a sign-in counts only in the browser that made it and in its order; guesses become slow per account, network and
// device, yet a device that was signed in before isn't slowed by others. Ended sessions are told to Config.Ended before
// the call returns. Not guaranteed: that limits on guesses outlive the process.
package account

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/breach"
	"github.com/wardhq/ward/internal/cap/identity/internal/device"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/cap/identity/internal/password"
	"github.com/wardhq/ward/internal/cap/identity/internal/throttle"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// AdminRole is the built-in role that may administer people.
const AdminRole = "ward-admin"

//go:embed migrations/*.sql
var migrations embed.FS

const owner = "account"

// Outbox takes a message and doesn't wait. *message.Queue is one.
type Outbox interface {
	Put(m message.Message) error
}

// Config of a Service. DB, Key, Clock, Origin, Users, Mail and AllowOrigin are required.
type Config struct {
	DB          *store.DB
	Key         secret.Bytes // 32 bytes
	Clock       clock.Clock
	Origin      string // of the pages: https://host[:port]
	Users       func() *model.Users
	Hasher      *password.Hasher // nil: one with the defaults
	Breached    *breach.Checker  // nil: the embedded filter
	Places      *device.Places   // nil: places are unknown
	Mail, SMS   Outbox           // SMS may be nil: none is sent
	AllowOrigin func(origin string) bool
	Ended       func(ctx context.Context, sessionIDs []string) // may be nil
	Renewed     func(ctx context.Context, sessionIDs []string) // their person has other rights now; may be nil
	Record      func(wire.Event)                               // may be nil
	Flag        func(context.Context, Flag) Response           // may be nil
	Stands      func(context.Context, Flag) time.Duration      // how long what a Flag announces isn't looked at; may be nil
	Log         *slog.Logger
}

// Service is all that is known about people. It is safe for concurrent use.
type Service struct {
	Config
	host     string
	codeKey  secret.Bytes // MACs sent codes
	workKey  secret.Bytes // MACs challenges of the proof of work
	policy   func() password.Policy
	messages *message.Renderer
	passkeys *webauthn.WebAuthn
	limits   *throttle.Throttle
}

// New opens the service and brings its tables up to date.
func New(ctx context.Context, c Config) (*Service, error) {
	u, err := url.Parse(c.Origin)
	if err != nil || u.Scheme != "https" || u.Host == "" || c.Origin != "https://"+u.Host {
		return nil, fmt.Errorf("open accounts: %q isn't an https origin", c.Origin)
	}
	s := &Service{Config: c, host: u.Hostname()}
	if s.codeKey, err = s.derive("sent codes"); err != nil {
		return nil, err
	}
	if s.workKey, err = s.derive("proof of work"); err != nil {
		return nil, err
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Hasher == nil {
		s.Hasher = password.New(password.Config{})
	}
	if s.Breached == nil {
		filter, err := breach.Embedded()
		if err != nil {
			return nil, fmt.Errorf("open accounts: %w", err)
		}
		s.Breached = &breach.Checker{Filter: filter, Log: s.Log}
	}
	words, err := breach.EmbeddedWords()
	if err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	s.policy = func() password.Policy {
		return password.Policy{Words: words, SecondFactor: s.Users().SecondFactor == model.SecondFactorRequired}
	}
	if s.messages, err = message.NewRenderer(); err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	if s.passkeys, err = newPasskeys(s.host, c.Origin, c.Users().Name); err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	s.limits = throttle.New(c.Clock)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	if err := c.DB.Migrate(ctx, owner, files); err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	return s, nil
}

func (s *Service) derive(purpose string) (secret.Bytes, error) {
	if len(s.Key.Reveal()) != secret.KeySize {
		return secret.Bytes{}, errors.New("open accounts: the key hasn't 32 bytes")
	}
	k, err := hkdf.Key(sha256.New, s.Key.Reveal(), nil, "ward identity account: "+purpose, secret.KeySize)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("open accounts: %w", err)
	}
	return secret.New(k), nil
}

// WorkKey is for the proof of work that registration asks for.
func (s *Service) WorkKey() secret.Bytes { return s.workKey }

// newID makes an identifier that nobody can guess, and nobody needs to.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// NewToken makes a secret of 256 bits, and the hash that is stored of it.
func NewToken() (token string, hash []byte) {
	var b [32]byte
	rand.Read(b[:])
	token = base64.RawURLEncoding.EncodeToString(b[:])
	return token, HashToken(token)
}

// HashToken is what is stored of a token; nil for what can't be one, which no row has.
func HashToken(token string) []byte {
	if len(token) != 43 {
		return nil
	}
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// Times are stored in microseconds; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// Now is the time as the database keeps it.
func (s *Service) Now() time.Time { return s.Clock.Now().UTC().Truncate(time.Microsecond) }

func toJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only our own plain types
	}
	return string(b)
}

func names(stored string) ([]string, error) {
	var out []string
	if err := json.Unmarshal([]byte(stored), &out); err != nil {
		return nil, fmt.Errorf("read names: %w", err)
	}
	return out, nil
}

// network is where a visitor's address belongs to, "" if it says nothing.
func network(v wire.Visitor) string {
	a, err := netip.ParseAddr(v.IP)
	if err != nil {
		return ""
	}
	return device.Network(a.Unmap()).String()
}

// describe is a visitor in words: device and place.
func (s *Service) describe(v wire.Visitor) (what, where string) {
	what, where = device.Parse(v.UserAgent, "", "").String(), network(v)
	a, err := netip.ParseAddr(v.IP)
	if err != nil {
		return what, where
	}
	place, err := s.Places.Lookup(a.Unmap())
	if err != nil {
		s.Log.Warn("place of an address can't be looked up", "error", err)
	} else if p := place.String(); p != "" {
		where = p
	}
	return what, where
}

func unique(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}

var errGone = fault.New(fault.NotFound, "there is no such account")

// Sweep deletes what has expired, at most a few thousand rows a call, and returns how many. It is to be called now and
// then, say each minute.
func (s *Service) Sweep(ctx context.Context) (int64, error) {
	now := micros(s.Now())
	idle := micros(s.Now().Add(-seconds(s.Users().Idle)))
	var n int64
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		n = 0
		for _, q := range []struct {
			table, key, where string
			before            int64
		}{
			{"session", "id", "expires_at <= ?", now},
			{"session", "id", "seen_at <= ?", idle},
			{"arrival", "id", "expires_at <= ?", now},
			{"flow", "id", "expires_at <= ?", now},
			{"link", "hash", "expires_at <= ?", now},
			{"spent", "id", "expires_at <= ?", now},
			{"activity", "id", "at <= ?", now - keepActivity.Microseconds()},
			{"device", "hash", "seen_at <= ?", now - keepDevice.Microseconds()},
		} {
			table := owner + "_" + q.table
			gone, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE "+q.key+" IN (SELECT "+q.key+" FROM "+table+" WHERE "+q.where+" LIMIT 1000)", q.before)
			if err != nil {
				return fmt.Errorf("delete expired rows of %s: %w", q.table, err)
			}
			n += gone
		}
		return nil
	})
	return n, err
}

const (
	keepActivity = 90 * 24 * time.Hour
	keepDevice   = 180 * 24 * time.Hour
)

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
