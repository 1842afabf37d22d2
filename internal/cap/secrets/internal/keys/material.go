package keys

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/sdk/seal/envelope"
)

// material is a version, opened and ready for its purpose.
type material struct {
	wrap   *envelope.Wrapper // of data keys that have no owner
	owners secret.Bytes      // seals owners' keys
	lookup *envelope.LookupKey
	shared envelope.Key // what services get of a lookup key
	mac    *envelope.MACKey
	signer signer
}

func kekContext(name string, p Purpose) string {
	return "ward key encryption key v1 " + string(p) + " " + name
}

func versionContext(name string, number int64, id envelope.KeyID) string {
	return fmt.Sprintf("ward key version v1 %d %s %s", number, id, name)
}

func (r *Ring) newKEK(name string, p Purpose) ([]byte, error) {
	b := random()
	defer clear(b)
	return secret.Seal(*r.root.Load(), b, kekContext(name, p))
}

func (r *Ring) openKEK(name string, p Purpose, sealed []byte) (secret.Bytes, error) {
	b, err := secret.Open(*r.root.Load(), sealed, kekContext(name, p))
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("unseal key %s: %w", name, err)
	}
	return secret.New(b), nil
}

// opener opens a version's material when it is first needed.
func (k *key) opener(v *version, sealed []byte) func() (*material, error) {
	return sync.OnceValues(func() (*material, error) {
		plain, err := secret.Open(k.kek, sealed, versionContext(k.name, v.number, v.id))
		if err != nil {
			return nil, fmt.Errorf("unseal version %d of key %s: %w", v.number, k.name, err)
		}
		defer clear(plain)
		m, err := prepare(k.name, k.purpose, v.id, plain)
		if err != nil {
			return nil, fmt.Errorf("prepare version %d of key %s: %w", v.number, k.name, err)
		}
		return m, nil
	})
}

// prepare is the one place where the plain bytes of a version become something to use; it keeps none of them.
func prepare(name string, p Purpose, id envelope.KeyID, plain []byte) (*material, error) {
	m := &material{}
	if p.signs() {
		var err error
		m.signer, err = readSigner(p, plain)
		return m, err
	}
	secretKey, err := envelope.KeyFrom(plain)
	if err != nil {
		return nil, err
	}
	defer secretKey.Erase()
	switch p {
	case Encrypt:
		if m.owners, err = derive(plain, "ward owner key v1"); err != nil {
			return nil, err
		}
		m.wrap, err = envelope.NewWrapper(id, name, "", secretKey)
	case Lookup:
		if m.shared, err = envelope.DeriveLookupKey(secretKey); err != nil {
			return nil, err
		}
		m.lookup, err = envelope.NewLookupKey(id, m.shared)
	case MAC:
		m.mac, err = envelope.NewMACKey(id, secretKey)
	default:
		err = fmt.Errorf("the purpose %q isn't known", p)
	}
	return m, err
}

// generate draws the plain bytes of a version: 32, or a private key in PKCS #8.
func generate(p Purpose) ([]byte, error) {
	if p.signs() {
		return generateSigner(p)
	}
	return random(), nil
}

// fresh is a version about to be added.
type fresh struct {
	plain    []byte
	starts   time.Time
	imported bool
}

// add puts a version behind the others.
func (r *Ring) add(ctx context.Context, tx *store.Tx, k *key, f fresh) error {
	id, number, public := envelope.NewKeyID(), k.last()+1, []byte{}
	if k.purpose.signs() {
		s, err := readSigner(k.purpose, f.plain)
		if err != nil {
			return err
		}
		if public, err = s.public(); err != nil {
			return err
		}
	}
	sealed, err := secret.Seal(k.kek, f.plain, versionContext(k.name, number, id))
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO keys_version (id, name, number, sealed, public, imported, disabled, created_at, starts_at, data_keys, messages, bytes)
		VALUES (?, ?, ?, ?, ?, ?, FALSE, ?, ?, 0, 0, 0)`,
		id[:], k.name, number, sealed, public, f.imported, r.config.Clock.Now().UnixMicro(), f.starts.UnixMicro())
	return err
}

// advance makes the version after those of k, unless somebody has, and returns the key as it is then.
func (r *Ring) advance(ctx context.Context, k *key, starts time.Time) (*key, error) {
	k.making.Lock() // an RSA key costs a second: those who wait for the same one don't make theirs
	defer k.making.Unlock()
	now, err := r.load(ctx, k.name)
	if err != nil || now.last() != k.last() {
		return now, err
	}
	plain, err := generate(k.purpose)
	if err != nil {
		return nil, fmt.Errorf("make version of key: %w", err)
	}
	defer clear(plain)
	made := false
	err = r.change(ctx, k.name, func(ctx context.Context, tx *store.Tx, now *key) error {
		if made = now.last() == k.last(); !made {
			return nil
		}
		return r.add(ctx, tx, now, fresh{plain: plain, starts: starts})
	})
	if err != nil {
		return nil, err
	}
	if made {
		if err := r.record(ctx, OpRotate, k.name, k.last()+1); err != nil {
			return nil, err
		}
	}
	return r.load(ctx, k.name)
}

// Import adds a version whose material was made elsewhere: 32 bytes, or PKCS #8 for a signing key. It is current at once, is
// marked, and isn't replaced by age, since whoever brings keys wants to say when. It takes over material.
func (r *Ring) Import(ctx context.Context, name string, plain secret.Bytes) error {
	defer clear(plain.Reveal())
	var number int64
	err := r.change(ctx, name, func(ctx context.Context, tx *store.Tx, k *key) error {
		if _, err := prepare(name, k.purpose, envelope.NewKeyID(), plain.Reveal()); err != nil {
			return fault.Wrap(fault.Invalid, fmt.Sprintf("the key %s takes %s", name, k.purpose.takes()), errors.New("import key")) // err might show some of it
		}
		number = k.last() + 1
		return r.add(ctx, tx, k, fresh{plain: plain.Reveal(), starts: r.config.Clock.Now(), imported: true})
	})
	if err != nil {
		return err
	}
	return r.record(ctx, OpImport, name, number)
}

// takes says what a key of the purpose is imported as.
func (p Purpose) takes() string {
	switch p {
	case ES256:
		return "a P-256 private key in PKCS #8 (DER)"
	case EdDSA:
		return "an Ed25519 private key in PKCS #8 (DER)"
	case RS256:
		return "an RSA private key of 2048 to 4096 bits in PKCS #8 (DER)"
	}
	return "32 random bytes"
}

func random() []byte {
	b := make([]byte, secret.KeySize)
	_, _ = rand.Read(b) // never returns an error (crypto/rand)
	return b
}

func derive(key []byte, info string) (secret.Bytes, error) {
	b, err := hkdf.Key(sha256.New, key, nil, info, secret.KeySize)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("derive key: %w", err)
	}
	return secret.New(b), nil
}
