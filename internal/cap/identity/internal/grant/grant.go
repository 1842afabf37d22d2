// Package grant keeps what people let clients do, and what came from it: codes, refresh tokens, access tokens.
//
// Guarantee: a code, a refresh token and whatever else must be used once is used once, also across restarts and
// replicas; only hashes of them are stored, but for a refresh token's successor, which is sealed, for a client that
// didn't get the answer; ending a grant ends all that came from it. Not guaranteed: that the asker is who it was issued
// to; that is checked by package oidc.
package grant

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Lives of what is short by nature.
const (
	codeLife = time.Minute
	// usedLife is how long the replay of a used code is noticed.
	usedLife = 24 * time.Hour
	// RetryWindow is how long a refresh token may come again from a client that didn't get the answer.
	RetryWindow = 10 * time.Second
)

// Config is what a Store needs.
type Config struct {
	DB    *store.DB
	Seal  secret.Bytes // 32 bytes
	Clock clock.Clock
	// Access and Refresh are how long tokens live; a session's end is the limit of a refresh token in any case.
	Access, Refresh time.Duration
	// Tell tells gateways and agents of tokens and sessions that ended before their time.
	Tell func(ctx context.Context, ids ...string) error
}

// Store is all grants. Its methods are safe for concurrent use.
type Store struct{ Config }

// Open prepares the tables.
func Open(ctx context.Context, c Config) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open grants: %w", err)
	}
	if err := c.DB.Migrate(ctx, "grant", files); err != nil {
		return nil, fmt.Errorf("open grants: %w", err)
	}
	return &Store{c}, nil
}

// Random is 256 bits in base64url.
func Random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Hash is what is stored of a secret of 256 bits.
func Hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Authorization is what a person let a client do.
type Authorization struct {
	Client    string   `json:"client"`
	Person    string   `json:"person"`
	Session   string   `json:"session"`
	Scope     []string `json:"scope,omitempty"`
	Resources []string `json:"resources,omitempty"`
	Nonce     string   `json:"nonce,omitempty"`
	AuthAt    int64    `json:"auth_at"` // seconds since 1970
	FactorAt  int64    `json:"factor_at,omitempty"`
	ACR       string   `json:"acr"`
	AMR       []string `json:"amr,omitempty"`
	JKT       string   `json:"jkt,omitempty"` // the key that tokens must be bound to
	Redirect  string   `json:"redirect,omitempty"`
	Challenge string   `json:"challenge,omitempty"` // S256
}

func encode(a *Authorization) string {
	b, err := json.Marshal(a)
	if err != nil {
		panic(err) // strings and numbers
	}
	return string(b)
}

// Once tells whether id hasn't been seen before, and keeps it until it expires.
func (s *Store) Once(ctx context.Context, id string, expires time.Time) (first bool, err error) {
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Exec(ctx, "INSERT INTO grant_seen (id, expires) VALUES (?, ?) ON CONFLICT DO NOTHING", Hash(id), expires.UnixMicro())
		first = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("keep what was seen: %w", err)
	}
	return first, nil
}

// Code is an authorization code as it is kept.
type Code struct {
	Authorization
	Grant   string // what it was exchanged for; "" while it wasn't used
	Expires time.Time
}

// KeepCode keeps an authorization under a new code.
func (s *Store) KeepCode(ctx context.Context, a *Authorization) (string, error) {
	code := Random()
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO grant_code (hash, data, grant_id, expires) VALUES (?, ?, '', ?)", Hash(code), encode(a), s.Clock.Now().Add(codeLife).UnixMicro())
		return err
	})
	if err != nil {
		return "", fmt.Errorf("keep code: %w", err)
	}
	return code, nil
}

// Code reads a code; nil if there is none. It may have been used, or have expired.
func (s *Store) Code(ctx context.Context, code string) (*Code, error) {
	var c Code
	var data string
	var expires int64
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT data, grant_id, expires FROM grant_code WHERE hash = ?", Hash(code)).Scan(&data, &c.Grant, &expires)
	})
	if errors.Is(err, store.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(data), &c.Authorization)
	}
	if err != nil {
		return nil, fmt.Errorf("read code: %w", err)
	}
	c.Expires = time.UnixMicro(expires)
	return &c, nil
}

// burnt stands for the grant of a code that was used wrongly.
const burnt = "-"

// BurnCode makes a code useless.
func (s *Store) BurnCode(ctx context.Context, code string) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := UseCode(ctx, tx, code, burnt)
		return err
	})
	if err != nil {
		return fmt.Errorf("burn code: %w", err)
	}
	return nil
}

// UseCode marks a code as used for a grant; false if it was before.
func UseCode(ctx context.Context, tx *store.Tx, code, grant string) (bool, error) {
	n, err := tx.Exec(ctx, "UPDATE grant_code SET grant_id = ? WHERE hash = ? AND grant_id = ''", grant, Hash(code))
	return n == 1, err
}

// New is a grant with its first tokens.
type New struct {
	*Authorization
	Refresh string    // "" for none
	JTI     string    // of the access token
	Expires time.Time // the session's end
}

// Begin keeps a grant. use marks what it comes from as used, in the same transaction; if it says false, nothing is kept.
func (s *Store) Begin(ctx context.Context, g New, use func(ctx context.Context, tx *store.Tx, grant string) (bool, error)) (first bool, err error) {
	id, now := Random(), s.Clock.Now()
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if first, err = use(ctx, tx, id); err != nil || !first {
			return err
		}
		if _, err := tx.Exec(ctx, "INSERT INTO grant_given (id, client, person, session, data, ended, expires) VALUES (?, ?, ?, ?, ?, FALSE, ?)",
			id, g.Client, g.Person, g.Session, encode(g.Authorization), g.Expires.UnixMicro()); err != nil {
			return err
		}
		if g.Refresh != "" {
			if err := insertRefresh(ctx, tx, g.Refresh, id, s.refreshEnd(now, g.Expires)); err != nil {
				return err
			}
		}
		return insertToken(ctx, tx, g.JTI, id, now.Add(s.Access))
	})
	if err != nil {
		return false, fmt.Errorf("keep grant: %w", err)
	}
	return first, nil
}

func (s *Store) refreshEnd(now, session time.Time) time.Time {
	if end := now.Add(s.Refresh); end.Before(session) {
		return end
	}
	return session
}

func insertRefresh(ctx context.Context, tx *store.Tx, token, grant string, expires time.Time) error {
	_, err := tx.Exec(ctx, "INSERT INTO grant_refresh (hash, grant_id, used_at, expires) VALUES (?, ?, 0, ?)", Hash(token), grant, expires.UnixMicro())
	return err
}

func insertToken(ctx context.Context, tx *store.Tx, jti, grant string, expires time.Time) error {
	_, err := tx.Exec(ctx, "INSERT INTO grant_token (jti, grant_id, expires) VALUES (?, ?, ?)", jti, grant, expires.UnixMicro())
	return err
}

// Inherit puts an access token under the grant of the one that it comes from, if that has one, so that it ends with it.
func (s *Store) Inherit(ctx context.Context, from, jti string, expires time.Time) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO grant_token (jti, grant_id, expires) SELECT ?, grant_id, ? FROM grant_token WHERE jti = ?", jti, expires.UnixMicro(), from)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep token: %w", err)
	}
	return nil
}

// Consented is what a person let a client have without being asked again.
func (s *Store) Consented(ctx context.Context, person, client string) ([]string, error) {
	var data string
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT scopes FROM grant_consent WHERE person = ? AND client = ?", person, client).Scan(&data)
	})
	if errors.Is(err, store.ErrNoRows) {
		return nil, nil
	}
	var scopes []string
	if err == nil {
		err = json.Unmarshal([]byte(data), &scopes)
	}
	if err != nil {
		return nil, fmt.Errorf("read consent: %w", err)
	}
	return scopes, nil
}

// Consent keeps it.
func (s *Store) Consent(ctx context.Context, person, client string, scopes []string) error {
	data, err := json.Marshal(scopes)
	if err != nil {
		return fmt.Errorf("keep consent: %w", err)
	}
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO grant_consent (person, client, scopes) VALUES (?, ?, ?) ON CONFLICT (person, client) DO UPDATE SET scopes = excluded.scopes", person, client, string(data))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep consent: %w", err)
	}
	return nil
}
