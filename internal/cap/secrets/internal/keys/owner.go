package keys

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/sdk/seal/envelope"
)

// wrapper returns what wraps data keys under a version: the version itself, or an owner's key under it, which is made if it may be.
func (r *Ring) wrapper(ctx context.Context, k *key, v *version, owner string, create bool) (*envelope.Wrapper, error) {
	m, err := v.material()
	if err != nil {
		return nil, err
	}
	if owner == "" {
		return m.wrap, nil
	}
	ref := ownerRef{v.number, owner}
	if w, ok := k.owners.get(ref); ok {
		return w, nil
	}
	hash, err := k.ownerHash(owner)
	if err != nil {
		return nil, err
	}
	sealed, err := r.ownerKey(ctx, k, v, hash, create)
	if err != nil {
		return nil, err
	}
	plain, err := secret.Open(m.owners, sealed, ownerContext(k.name, v.id, hash))
	if err != nil {
		return nil, fmt.Errorf("unseal owner's key: %w", err)
	}
	defer clear(plain)
	key, err := envelope.KeyFrom(plain)
	if err != nil {
		return nil, fmt.Errorf("unseal owner's key: %w", err)
	}
	defer key.Erase()
	w, err := envelope.NewWrapper(v.id, k.name, owner, key)
	if err != nil {
		return nil, invalid(err)
	}
	k.owners.put(ref, w)
	return w, nil
}

// ownerKey reads an owner's sealed key, or makes it.
func (r *Ring) ownerKey(ctx context.Context, k *key, v *version, hash []byte, create bool) ([]byte, error) {
	var sealed []byte
	err := r.config.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		sealed, err = readOwner(ctx, tx, k, v, hash)
		return err
	})
	if !errors.Is(err, store.ErrNoRows) {
		return sealed, err
	}
	if !create {
		return nil, errDecrypt()
	}
	m, err := v.material()
	if err != nil {
		return nil, err
	}
	plain := random()
	defer clear(plain)
	made, err := secret.Seal(m.owners, plain, ownerContext(k.name, v.id, hash))
	if err != nil {
		return nil, fmt.Errorf("seal owner's key: %w", err)
	}
	err = r.config.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if sealed, err = readOwner(ctx, tx, k, v, hash); !errors.Is(err, store.ErrNoRows) {
			return err // shredded, or another was faster
		}
		sealed = made
		_, err = tx.Exec(ctx, "INSERT INTO keys_owner (name, owner, version, sealed) VALUES (?, ?, ?, ?)", k.name, hash, v.id[:], made)
		return err
	})
	return sealed, err
}

// readOwner returns ErrNoRows for one that has no key yet, and a refusal for one that was shredded.
func readOwner(ctx context.Context, tx *store.Tx, k *key, v *version, hash []byte) ([]byte, error) {
	var shredded int64
	err := tx.QueryRow(ctx, "SELECT shredded_at FROM keys_shredded WHERE name = ? AND owner = ?", k.name, hash).Scan(&shredded)
	if err == nil {
		return nil, fault.New(fault.Refused, fmt.Sprintf("this owner's keys were destroyed on %s; `ward keys readmit %s OWNER` allows new ones", day(at(shredded)), k.name))
	}
	if !errors.Is(err, store.ErrNoRows) {
		return nil, err
	}
	var sealed []byte
	err = tx.QueryRow(ctx, "SELECT sealed FROM keys_owner WHERE name = ? AND owner = ? AND version = ?", k.name, hash, v.id[:]).Scan(&sealed)
	return sealed, err
}

// Shred destroys all keys of an owner under a key, at once and for good: what hangs on them can't be read by anybody any more. The
// owner gets no new ones before Readmit. It works on a disabled key too.
func (r *Ring) Shred(ctx context.Context, name, owner string) error {
	return r.ofOwner(ctx, OpShred, name, owner, func(ctx context.Context, tx *store.Tx, hash []byte) error {
		if _, err := tx.Exec(ctx, "DELETE FROM keys_owner WHERE name = ? AND owner = ?", name, hash); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO keys_shredded (name, owner, shredded_at) VALUES (?, ?, ?) ON CONFLICT (name, owner) DO NOTHING", name, hash, r.config.Clock.Now().UnixMicro())
		return err
	})
}

// Readmit lets an owner whose keys were destroyed have new ones. What was shredded stays so.
func (r *Ring) Readmit(ctx context.Context, name, owner string) error {
	return r.ofOwner(ctx, OpReadmit, name, owner, func(ctx context.Context, tx *store.Tx, hash []byte) error {
		n, err := tx.Exec(ctx, "DELETE FROM keys_shredded WHERE name = ? AND owner = ?", name, hash)
		if err == nil && n == 0 {
			return fault.New(fault.NotFound, "this owner's keys weren't destroyed")
		}
		return err
	})
}

func (r *Ring) ofOwner(ctx context.Context, op Op, name, owner string, do func(context.Context, *store.Tx, []byte) error) error {
	if owner == "" {
		return fault.New(fault.Invalid, "the owner is missing")
	}
	if err := checkOwner(owner); err != nil {
		return err
	}
	err := r.change(ctx, name, func(ctx context.Context, tx *store.Tx, k *key) error {
		if !op.serves(k.purpose) {
			return fault.New(fault.Invalid, fmt.Sprintf("the key %s is for %s, and owners have no keys under it", name, k.purpose))
		}
		hash, err := k.ownerHash(owner)
		if err != nil {
			return err
		}
		return do(ctx, tx, hash)
	})
	if err != nil {
		return err
	}
	return r.record(ctx, op, name, 0)
}

// ownerHash is how the database knows an owner: whoever has only the database can't even try names.
func (k *key) ownerHash(owner string) ([]byte, error) {
	hashing, err := derive(k.kek.Reveal(), "ward owner hash v1")
	if err != nil {
		return nil, err
	}
	defer clear(hashing.Reveal())
	h := hmac.New(sha256.New, hashing.Reveal())
	_, _ = h.Write([]byte(owner)) // never returns an error (hash.Hash)
	return h.Sum(nil), nil
}

func ownerContext(name string, id envelope.KeyID, hash []byte) string {
	return "ward owner key v1 " + id.String() + " " + hex.EncodeToString(hash) + " " + name
}
