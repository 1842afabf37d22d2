// Package keyring keeps the provider's signing keys and changes them by itself.
//
// Guarantee: private keys are on disk only sealed; a key is published for Lives.Ahead before it signs
// (the very first of an algorithm excepted: nobody could have known an older one), and stays published
// until nothing that it signed is valid; replicas that share a database agree on one key. Not guaranteed:
// rotation without Maintain being called at least every Lives.Ahead.
package keyring

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Lives are how long a key does what. All are required.
type Lives struct {
	Ahead time.Duration // published before it signs: longer than verifiers keep the set
	Sign  time.Duration // signs
	Keep  time.Duration // published after that: the longest life of what it signs
}

// Config is what a Ring needs.
type Config struct {
	DB    *store.DB
	Seal  secret.Bytes // 32 bytes
	Clock clock.Clock
	Lives Lives
	// Changed is called when the published set has changed; may be nil.
	Changed func()
}

// Ring is the keys of one provider. Its methods are safe for concurrent use.
type Ring struct {
	Config

	mu   sync.RWMutex // guards keys and set
	keys []key        // by signsAt
	set  *jose.KeySet
}

type key struct {
	*jose.Key
	signsAt, endsAt, goneAt time.Time
}

// Open reads the keys, and makes those that are missing.
func Open(ctx context.Context, c Config) (*Ring, error) {
	if c.Lives.Ahead <= 0 || c.Lives.Sign <= c.Lives.Ahead || c.Lives.Keep <= 0 {
		return nil, errors.New("open keyring: a key must sign for longer than it is published ahead, and be kept")
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	if err := c.DB.Migrate(ctx, "keyring", files); err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	r := &Ring{Config: c}
	if err := r.Maintain(ctx); err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	return r, nil
}

// Maintain makes keys that are due, drops those that are gone, and reads what replicas did.
func (r *Ring) Maintain(ctx context.Context) error {
	if err := r.load(ctx); err != nil {
		return err
	}
	made := false
	for _, alg := range []jose.Alg{jose.ES256, jose.RS256} {
		// RSA keys cost 0.1 to 1 s of CPU: the first one is made for the first client that needs it.
		if latest := r.latest(alg); latest == nil && alg == jose.RS256 || latest != nil && r.Clock.Now().Before(latest.endsAt.Add(-r.Lives.Ahead)) {
			continue
		}
		if err := r.add(ctx, alg); err != nil {
			return err
		}
		made = true
	}
	if made {
		return r.load(ctx)
	}
	return nil
}

// Sign signs with the current key of an algorithm, ES256 or RS256.
func (r *Ring) Sign(ctx context.Context, alg jose.Alg, typ string, claims any) (string, error) {
	k := r.signer(alg)
	if k == nil {
		if err := r.add(ctx, alg); err != nil {
			return "", err
		}
		if err := r.load(ctx); err != nil {
			return "", err
		}
		if k = r.signer(alg); k == nil {
			return "", fmt.Errorf("sign: there is no key for %s", alg)
		}
	}
	return k.Sign(typ, claims)
}

// Public is the set to publish, and to verify our own tokens with.
func (r *Ring) Public() *jose.KeySet {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.set
}

// signer is the key that signs now: the latest whose time has come. An overdue key signs on rather than none.
func (r *Ring) signer(alg jose.Alg) *jose.Key {
	now := r.Clock.Now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, k := range slices.Backward(r.keys) {
		if k.Alg() == alg && !now.Before(k.signsAt) && now.Before(k.goneAt.Add(-r.Lives.Keep)) {
			return k.Key
		}
	}
	return nil
}

func (r *Ring) latest(alg jose.Alg) *key {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, k := range slices.Backward(r.keys) {
		if k.Alg() == alg {
			return &k
		}
	}
	return nil
}

// add makes the next key of an algorithm, unless a replica was faster.
func (r *Ring) add(ctx context.Context, alg jose.Alg) error {
	k, err := jose.GenerateKey(alg)
	if err != nil {
		return fmt.Errorf("make signing key: %w", err)
	}
	plain, err := k.PKCS8()
	if err != nil {
		return fmt.Errorf("make signing key: %w", err)
	}
	sealed, err := secret.Seal(r.Seal, plain.Reveal(), sealContext(k.ID()))
	if err != nil {
		return fmt.Errorf("make signing key: %w", err)
	}
	now := r.Clock.Now()
	err = r.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		var ends int64
		err := tx.QueryRow(ctx, "SELECT ends_at FROM keyring_key WHERE alg = ? ORDER BY signs_at DESC LIMIT 1", string(alg)).Scan(&ends)
		from := now
		switch {
		case err == nil && now.Before(time.UnixMicro(ends).Add(-r.Lives.Ahead)):
			return nil // a replica made it
		case err == nil && now.Before(time.UnixMicro(ends).Add(r.Lives.Ahead)):
			from = now.Add(r.Lives.Ahead) // the one before signs a little longer if this comes late
		case err != nil && !errors.Is(err, store.ErrNoRows):
			return err
		}
		end := from.Add(r.Lives.Sign)
		// After its end a key may sign for twice Ahead, until a late successor takes over.
		gone := end.Add(2*r.Lives.Ahead + r.Lives.Keep)
		_, err = tx.Exec(ctx, "INSERT INTO keyring_key (id, alg, sealed, signs_at, ends_at, gone_at) VALUES (?, ?, ?, ?, ?, ?)",
			k.ID(), string(alg), sealed, from.UnixMicro(), end.UnixMicro(), gone.UnixMicro())
		return err
	})
	if err != nil {
		return fmt.Errorf("keep signing key: %w", err)
	}
	return nil
}

func sealContext(id string) string { return "ward signing key v1 " + id }

// load reads the keys that aren't gone, and deletes the others.
func (r *Ring) load(ctx context.Context) error {
	var keys []key
	now := r.Clock.Now()
	err := r.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		keys = keys[:0]
		if _, err := tx.Exec(ctx, "DELETE FROM keyring_key WHERE gone_at <= ?", now.UnixMicro()); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "SELECT id, sealed, signs_at, ends_at, gone_at FROM keyring_key")
		if err != nil {
			return err
		}
		for rows.Next() {
			var id string
			var sealed []byte
			var signs, ends, gone int64
			if err := rows.Scan(&id, &sealed, &signs, &ends, &gone); err != nil {
				return err
			}
			k, err := r.open(id, sealed)
			if err != nil {
				return err
			}
			keys = append(keys, key{k, time.UnixMicro(signs), time.UnixMicro(ends), time.UnixMicro(gone)})
		}
		return rows.Err()
	})
	if err != nil {
		return fmt.Errorf("read signing keys: %w", err)
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(a.signsAt.Compare(b.signsAt), cmp.Compare(a.ID(), b.ID()))
	})
	public := make([]jose.JWK, len(keys))
	for i, k := range keys {
		public[i] = k.Public()
	}
	set, err := jose.NewKeySet(public...)
	if err != nil {
		return fmt.Errorf("read signing keys: %w", err)
	}
	r.mu.Lock()
	same := slices.EqualFunc(r.keys, keys, func(a, b key) bool { return a.ID() == b.ID() })
	r.keys, r.set = keys, set
	r.mu.Unlock()
	if !same && r.Changed != nil {
		r.Changed()
	}
	return nil
}

// open unseals a key, which must be the one that its row says. A key that was read before isn't read again.
func (r *Ring) open(id string, sealed []byte) (*jose.Key, error) {
	r.mu.RLock()
	for _, k := range r.keys {
		if k.ID() == id {
			r.mu.RUnlock()
			return k.Key, nil
		}
	}
	r.mu.RUnlock()
	plain, err := secret.Open(r.Seal, sealed, sealContext(id))
	if err != nil {
		return nil, fmt.Errorf("unseal signing key: %w", err)
	}
	k, err := jose.ParseKey(secret.New(plain))
	if err != nil {
		return nil, fmt.Errorf("unseal signing key: %w", err)
	}
	if k.ID() != id {
		return nil, errors.New("unseal signing key: it is another key")
	}
	return k, nil
}
