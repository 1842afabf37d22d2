// Package values keeps managed secrets: versions with the stages current, pending and previous, made by people, by
// Ward itself, or brought in git.
//
// Root → one key-encryption key, sealed in the database → a key per secret, derived with the secret's own random salt →
// AES-256-GCM of a value, bound to name, version and expiry. A new root rewraps one row; who purges a secret
// destroys its salt.
//
// Guarantee: a change that was acknowledged is durable, and whole or not there; every change and every read of a value
// is in the ledger before its caller gets the answer, also when control is killed in between; values are in no
// error, event, list or log. Not guaranteed: that each event is in the ledger only once after a crash; that who can write
// the database can't bring an older version of a secret back; that replicas learn of each other's changes before
// Maintain.
package values

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/secrets/internal/sealed"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Limits.
const (
	MaxValue    = sealed.MaxValue     // bytes of a value
	MaxVersions = 10                  // kept of a secret
	Undo        = 30 * 24 * time.Hour // a deleted secret can be restored for so long
	Overlap     = 10 * time.Minute    // after a rotation the value before stays valid where a Rotator keeps two
)

// Rotator makes a new value count at the system that it is for. Both methods may be called again after a
// crash, with the same value, and must come to the same end.
type Rotator interface {
	// Try makes the pending value valid beside the current one, and proves that it works.
	Try(ctx context.Context, name string, pending secret.Bytes) error
	// Done takes the value before out of service; the pending one has been current for Overlap.
	Done(ctx context.Context, name string) error
}

// Config is what a Store needs.
type Config struct {
	DB    *store.DB
	Root  secret.Bytes // 32 bytes, derived for this use
	Clock clock.Clock
	// Record returns when the events are durable in the ledger. It isn't called concurrently.
	Record func(context.Context, []wire.Event) error
	// Rotator returns what rotates a secret's value at its system; nil (the function too) when nothing has to.
	Rotator func(name string) Rotator
}

// Store is the secrets of one control. Its methods are safe for concurrent use.
type Store struct {
	db       *store.DB
	clock    clock.Clock
	rotator  func(string) Rotator
	recorder recorder
	kek      secret.Bytes
	identity sealed.Identity

	defining sync.Mutex // one Define at a time
	mu       sync.Mutex // guards what follows
	defs     map[string]Definition
	sequence uint64
	changed  chan struct{} // closed and replaced when sequence grows
	latest   int64         // changed_at of the latest change that is known here
}

// Rows of values_meta.
const (
	kekRow      = "kek"
	identityRow = "identity"
	definedRow  = "defined"
)

// Open opens the secrets, or begins with none.
func Open(ctx context.Context, c Config) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open secrets: %w", err)
	}
	if err := c.DB.Migrate(ctx, "values", files); err != nil {
		return nil, fmt.Errorf("open secrets: %w", err)
	}
	if c.Rotator == nil {
		c.Rotator = func(string) Rotator { return nil }
	}
	s := &Store{db: c.DB, clock: c.Clock, rotator: c.Rotator, defs: map[string]Definition{}, changed: make(chan struct{})}
	s.recorder = recorder{record: c.Record, forget: s.forget, turn: make(chan struct{}, 1)}
	// A follower that knew a number of the run before doesn't take a new one for it.
	s.sequence = uint64(c.Clock.Now().UnixMicro())
	if err := s.openKeys(ctx, c.Root); err != nil {
		return nil, fmt.Errorf("open secrets: %w", err)
	}
	if err := s.recover(ctx, 0); err != nil {
		return nil, fmt.Errorf("open secrets: %w", err)
	}
	if _, err := s.seeOthers(ctx); err != nil {
		return nil, fmt.Errorf("open secrets: %w", err)
	}
	return s, nil
}

const kekContext = "ward secrets key-encryption key v1"

// openKeys reads the keys, or makes them when there is nothing at all. Replicas that start together agree.
func (s *Store) openKeys(ctx context.Context, root secret.Bytes) error {
	kek := make([]byte, secret.KeySize)
	_, _ = rand.Read(kek) // never returns an error (crypto/rand)
	id, err := sealed.NewIdentity()
	if err != nil {
		return err
	}
	sealedKEK, err := secret.Seal(root, kek, kekContext)
	if err != nil {
		return err
	}
	s.kek = secret.New(kek)
	sealedID, err := s.sealIdentity(id)
	if err != nil {
		return err
	}
	err = s.db.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		var have, secrets int
		if err := tx.QueryRow(ctx, "SELECT (SELECT count(*) FROM values_meta WHERE id IN (?, ?)), (SELECT count(*) FROM (SELECT name FROM values_secret LIMIT 1) AS any_secret)", kekRow, identityRow).Scan(&have, &secrets); err != nil {
			return err
		}
		if have == 0 && secrets == 0 {
			if err := putMeta(ctx, tx, kekRow, sealedKEK); err != nil {
				return err
			}
			return putMeta(ctx, tx, identityRow, sealedID)
		}
		if sealedKEK, err = meta(ctx, tx, kekRow); err != nil {
			return err
		}
		sealedID, err = meta(ctx, tx, identityRow)
		return err
	})
	if errors.Is(err, store.ErrNoRows) {
		return fault.New(fault.Invalid, "the database holds secrets but not their key; restore it from a backup")
	}
	if err != nil {
		return err
	}
	if kek, err = secret.Open(root, sealedKEK, kekContext); err != nil {
		return fault.Wrap(fault.Refused, "the secrets are sealed under another root key", err)
	}
	s.kek = secret.New(kek)
	s.identity, err = s.openIdentity(sealedID)
	return err
}

func (s *Store) identityKey() (secret.Bytes, error) {
	return derive(s.kek, nil, "ward secrets age identity v1")
}

func (s *Store) sealIdentity(id sealed.Identity) ([]byte, error) {
	key, err := s.identityKey()
	if err != nil {
		return nil, err
	}
	return secret.Seal(key, id.Text().Reveal(), identityRow)
}

func (s *Store) openIdentity(b []byte) (sealed.Identity, error) {
	key, err := s.identityKey()
	if err != nil {
		return sealed.Identity{}, err
	}
	text, err := secret.Open(key, b, identityRow)
	if err != nil {
		return sealed.Identity{}, fmt.Errorf("age identity: %w", err)
	}
	return sealed.ParseIdentity(secret.New(text))
}

// derive is HKDF-SHA256 (RFC 5869).
func derive(from secret.Bytes, salt []byte, info string) (secret.Bytes, error) {
	b, err := hkdf.Key(sha256.New, from.Reveal(), salt, info, secret.KeySize)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("derive key: %w", err)
	}
	return secret.New(b), nil
}

// Rewrap seals what is under the root under another one. It is durable when it returns nil.
func (s *Store) Rewrap(ctx context.Context, root secret.Bytes) error {
	b, err := secret.Seal(root, s.kek.Reveal(), kekContext)
	if err == nil {
		err = s.db.Write(ctx, func(ctx context.Context, tx *store.Tx) error { return putMeta(ctx, tx, kekRow, b) })
	}
	if err != nil {
		return fmt.Errorf("rewrap secrets: %w", err)
	}
	return nil
}

// Recipient is the age recipient that values in git are sealed for.
func (s *Store) Recipient() string { return s.identity.Recipient() }

// Changed is a number that grows with every change of a secret, across restarts too, and a channel that is closed
// at the next one. A change that is seen here is visible to Get.
func (s *Store) Changed() (uint64, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sequence, s.changed
}

func (s *Store) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sequence++
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Store) definition(name string) (Definition, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.defs[name]
	return d, ok
}

func meta(ctx context.Context, tx *store.Tx, id string) ([]byte, error) {
	var b []byte
	err := tx.QueryRow(ctx, "SELECT content FROM values_meta WHERE id = ?", id).Scan(&b)
	return b, err
}

func putMeta(ctx context.Context, tx *store.Tx, id string, content []byte) error {
	_, err := tx.Exec(ctx, "INSERT INTO values_meta (id, content) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET content = excluded.content", id, content)
	return err
}
