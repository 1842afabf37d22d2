package keys

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// List returns all keys by name, without versions and uses, up to 1,000 behind the name after.
func (r *Ring) List(ctx context.Context, after string) ([]wire.ManagedKey, error) {
	var out []wire.ManagedKey
	err := r.config.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, "SELECT name FROM keys_key WHERE name > ? ORDER BY name LIMIT 1000", after)
		if err != nil {
			return err
		}
		var names []string
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			names = append(names, name)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for _, name := range names {
			k, err := r.read(ctx, tx, name)
			if err != nil {
				return err
			}
			out = append(out, k.describe(r.config.Clock.Now()))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return out, nil
}

// Get returns a key with its versions, uses, and what would be lost with it.
func (r *Ring) Get(ctx context.Context, name string) (wire.ManagedKey, error) {
	var out wire.ManagedKey
	err := r.config.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		k, err := r.read(ctx, tx, name)
		if err != nil {
			return err
		}
		now := r.config.Clock.Now()
		out = k.describe(now)
		for _, v := range k.versions {
			out.Versions = append(out.Versions, k.describeVersion(v, now))
		}
		if out.Uses, err = readUses(ctx, tx, name); err != nil {
			return err
		}
		out.Loss = loss(out.Uses)
		return tx.QueryRow(ctx, "SELECT count(DISTINCT owner) FROM keys_owner WHERE name = ?", name).Scan(&out.Loss.Owners)
	})
	if err != nil {
		return wire.ManagedKey{}, fmt.Errorf("describe key: %w", err)
	}
	return out, nil
}

func (k *key) describe(now time.Time) wire.ManagedKey {
	out := wire.ManagedKey{
		Name: k.name, Purpose: string(k.purpose), State: wire.KeyEnabled, RotateSeconds: int64(k.rotate / time.Second), MinVersion: k.min,
		Created: k.created, NextRotation: k.nextRotation(), DeleteAt: k.deleteAt, Destroyed: k.destroyed,
	}
	if v := k.current(now); v != nil {
		out.Current = v.number
	}
	switch {
	case !k.destroyed.IsZero():
		out.State, out.Current = wire.KeyDestroyed, 0
	case !k.deleteAt.IsZero():
		out.State = wire.KeyPending
	case k.disabled:
		out.State = wire.KeyDisabled
	}
	return out
}

func (k *key) describeVersion(v *version, now time.Time) wire.ManagedKeyVersion {
	out := wire.ManagedKeyVersion{
		Number: v.number, ID: v.id.String(), State: wire.KeyOlder, Created: v.created, Starts: v.starts, Imported: v.imported,
		DataKeys: v.spend.DataKeys, Messages: v.spend.Messages, Bytes: v.spend.Bytes,
	}
	switch {
	case !k.destroyed.IsZero():
		out.State = wire.KeyDestroyed
	case v.disabled:
		out.State = wire.KeyDisabled
	case v.number < k.min:
		out.State = wire.KeyRetired
	case v == k.current(now):
		out.State = wire.KeyCurrent
	case now.Before(v.starts):
		out.State = wire.KeyPublished
	}
	return out
}

func readUses(ctx context.Context, tx *store.Tx, name string) ([]wire.ManagedKeyUse, error) {
	rows, err := tx.Query(ctx, "SELECT service, op, count, last_at FROM keys_use WHERE name = ? ORDER BY service, op", name)
	if err != nil {
		return nil, err
	}
	var out []wire.ManagedKeyUse
	for rows.Next() {
		var u wire.ManagedKeyUse
		var last int64
		if err := rows.Scan(&u.Service, &u.Op, &u.Count, &last); err != nil {
			return nil, err
		}
		u.Last = at(last)
		out = append(out, u)
	}
	return out, rows.Err()
}

// loss is what uses tell of what hangs on a key.
func loss(uses []wire.ManagedKeyUse) *wire.ManagedKeyLoss {
	l := &wire.ManagedKeyLoss{Services: []string{}}
	for _, u := range uses {
		switch Op(u.Op) {
		case OpDataKey:
			l.DataKeys += u.Count
		case OpEncrypt:
			l.Messages += u.Count
		case OpSign, OpMAC:
			l.Signed += u.Count
		}
		if !slices.Contains(l.Services, u.Service) {
			l.Services = append(l.Services, u.Service)
		}
		if u.Last.After(l.LastUse) {
			l.LastUse = u.Last
		}
	}
	return l
}
