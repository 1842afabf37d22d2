package keys

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/sdk/seal/envelope"
)

// What a service may do with one data key, and what one may do that never leaves.
const (
	MaxAge   = 5 * time.Minute // so long may a service seal and open without asking
	MaxUses  = 1 << 20         // messages
	MaxBytes = 1 << 36         // 64 GiB

	sealerAge = time.Hour
)

// Item is one of a batch: plaintext or ciphertext, with what it is.
type Item struct {
	Context envelope.Context // Service is always the caller's for what is encrypted, and the caller's if empty otherwise
	Owner   string           // whose key it hangs on; empty: nobody's
	Data    []byte
}

// Result of an item: Err is a *fault.Error about this item alone.
type Result struct {
	Data []byte
	Err  error
}

// Encrypt encrypts each item under the key's current version. An error is of the whole batch.
func (r *Ring) Encrypt(ctx context.Context, c Caller, name string, items []Item) ([]Result, error) {
	return r.batch(ctx, c, name, items, work{OpEncrypt, func(ctx context.Context, t *tally, it *Item) ([]byte, error) {
		it.Context.Service = c.Service
		return r.seal(ctx, t, it, it.Data)
	}})
}

// Decrypt decrypts each item, whatever version encrypted it.
func (r *Ring) Decrypt(ctx context.Context, c Caller, name string, items []Item) ([]Result, error) {
	return r.batch(ctx, c, name, items, work{OpDecrypt, func(ctx context.Context, t *tally, it *Item) ([]byte, error) {
		plain, _, err := r.open(ctx, t.key, it)
		return plain, err
	}})
}

// Rewrap encrypts each item anew under the current version if it isn't; the plaintext stays here.
func (r *Ring) Rewrap(ctx context.Context, c Caller, name string, items []Item) ([]Result, error) {
	return r.batch(ctx, c, name, items, work{OpRewrap, func(ctx context.Context, t *tally, it *Item) ([]byte, error) {
		plain, v, err := r.open(ctx, t.key, it)
		if err != nil {
			return nil, err
		}
		defer clear(plain)
		if v == t.version {
			return it.Data, nil
		}
		return r.seal(ctx, t, it, plain)
	}})
}

// work is what is done to each item of a batch.
type work struct {
	op   Op
	each func(context.Context, *tally, *Item) ([]byte, error)
}

func (r *Ring) batch(ctx context.Context, c Caller, name string, items []Item, do work) ([]Result, error) {
	out := make([]Result, len(items))
	err := r.use(ctx, c, name, do.op, func(ctx context.Context, _ *key, t *tally) error {
		for i := range items {
			it := items[i]
			if it.Context.Service == "" {
				it.Context.Service = c.Service
			}
			data, err := do.each(ctx, t, &it)
			if err != nil && !ofItem(err) {
				return err
			}
			out[i] = Result{data, err}
			t.item(&it, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ofItem says whether an error is about an item rather than about Ward.
func ofItem(err error) bool {
	k := fault.KindOf(err)
	return k == fault.Invalid || k == fault.Refused
}

func (r *Ring) seal(ctx context.Context, t *tally, it *Item, plain []byte) ([]byte, error) {
	if err := it.check(); err != nil {
		return nil, err
	}
	m, err := t.version.material()
	if err != nil {
		return nil, err
	}
	if t.key.purpose == Lookup {
		if it.Owner != "" {
			return nil, fault.New(fault.Invalid, "a lookup has no owner: it must be equal for all")
		}
		out, err := m.lookup.Seal(it.Context, plain)
		return out, invalid(err)
	}
	s, err := r.sealer(ctx, t, it.Owner, len(plain))
	if err != nil {
		return nil, err
	}
	t.messages++
	t.bytes += int64(len(plain))
	out, err := s.key.Seal(it.Context, plain)
	return out, invalid(err)
}

func invalid(err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.Invalid, err.Error(), nil) // of the context or length; it names no value
}

func (it *Item) check() error {
	if err := it.Context.Check(); err != nil {
		return invalid(err)
	}
	return checkOwner(it.Owner)
}

// sealer is a data key that seals and stays here.
type sealer struct {
	key     *envelope.DataKey
	until   time.Time
	uses    atomic.Int64 // left
	bytes   atomic.Int64 // left
	counted flag         // its wrapping is in the budget for good
}

// sealer returns a data key with room for one more message. As long as it isn't surely counted, each who uses it counts it.
func (r *Ring) sealer(ctx context.Context, t *tally, owner string, size int) (*sealer, error) {
	now := r.config.Clock.Now()
	s, ok := t.key.sealers.get(owner)
	if !ok || !now.Before(s.until) || s.uses.Add(-1) < 0 || s.bytes.Add(-int64(size)) < 0 {
		w, err := r.wrapper(ctx, t.key, t.version, owner, true)
		if err != nil {
			return nil, err
		}
		s = &sealer{until: now.Add(sealerAge)}
		if s.key, err = w.New(); err != nil {
			return nil, err
		}
		s.uses.Store(MaxUses - 1)
		s.bytes.Store(MaxBytes - int64(size))
		t.key.sealers.put(owner, s)
	}
	t.wrapped(s)
	return s, nil
}

// open decrypts an item, and tells the version that encrypted it.
func (r *Ring) open(ctx context.Context, k *key, it *Item) ([]byte, *version, error) {
	if err := it.check(); err != nil {
		return nil, nil, err
	}
	in, err := envelope.Inspect(it.Data)
	if err != nil {
		return nil, nil, errDecrypt()
	}
	v, err := k.version(in.Key)
	if err != nil {
		return nil, nil, err
	}
	m, err := v.material()
	if err != nil {
		return nil, nil, err
	}
	var plain []byte
	switch {
	case k.purpose == Lookup && in.Kind == envelope.Lookup && it.Owner == "":
		plain, err = m.lookup.Open(it.Context, it.Data)
	case k.purpose == Encrypt && in.Kind == envelope.Message:
		var d *envelope.DataKey
		if d, err = r.dataKey(ctx, k, v, it.Data[:envelope.HeaderSize], it.Owner); err == nil {
			plain, err = d.Open(it.Context, it.Data)
		}
	default:
		err = envelope.ErrDecrypt
	}
	if errors.Is(err, envelope.ErrDecrypt) {
		err = errDecrypt()
	}
	return plain, v, err
}

// dataKey opens the data key of a message for its owner.
func (r *Ring) dataKey(ctx context.Context, k *key, v *version, header []byte, owner string) (*envelope.DataKey, error) {
	ref := openRef{[envelope.HeaderSize]byte(header), owner}
	if d, ok := k.openers.get(ref); ok {
		return d, nil
	}
	w, err := r.wrapper(ctx, k, v, owner, false)
	if err != nil {
		return nil, err
	}
	d, err := w.Open(header)
	if err != nil {
		return nil, err
	}
	k.openers.put(ref, d)
	return d, nil
}

// DataKey draws a data key for a service to use within MaxAge, MaxUses and MaxBytes, all of which are counted as used.
func (r *Ring) DataKey(ctx context.Context, c Caller, name, owner string) (*envelope.DataKey, error) {
	if err := checkOwner(owner); err != nil {
		return nil, err
	}
	var d *envelope.DataKey
	err := r.use(ctx, c, name, OpDataKey, func(ctx context.Context, k *key, t *tally) error {
		w, err := r.wrapper(ctx, k, t.version, owner, true)
		if err != nil {
			return err
		}
		t.done, t.dataKeys, t.messages, t.bytes = 1, 1, MaxUses, MaxBytes
		d, err = w.New()
		return err
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// OpenDataKey opens the data key of a header, of a message or a stream.
func (r *Ring) OpenDataKey(ctx context.Context, c Caller, name string, header []byte, owner string) (*envelope.DataKey, error) {
	if err := checkOwner(owner); err != nil {
		return nil, err
	}
	var d *envelope.DataKey
	var refused error
	err := r.use(ctx, c, name, OpOpenDataKey, func(ctx context.Context, k *key, t *tally) error {
		d, refused = r.openHeader(ctx, k, header, owner)
		if refused != nil && !ofItem(refused) {
			return refused
		}
		t.item(nil, refused)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d, refused
}

func (r *Ring) openHeader(ctx context.Context, k *key, header []byte, owner string) (*envelope.DataKey, error) {
	in, err := envelope.Inspect(header)
	if err != nil || len(header) != envelope.HeaderSize {
		return nil, errDecrypt()
	}
	v, err := k.version(in.Key)
	if err != nil {
		return nil, err
	}
	d, err := r.dataKey(ctx, k, v, header, owner)
	if errors.Is(err, envelope.ErrDecrypt) {
		return nil, errDecrypt()
	}
	return d, err
}

// LookupKey is what a service gets of one version of a lookup key.
type LookupKey struct {
	KeyID string
	Key   envelope.Key
}

// LookupKeys returns the keys of all versions that may be used, the current one first.
func (r *Ring) LookupKeys(ctx context.Context, c Caller, name string) ([]LookupKey, error) {
	var out []LookupKey
	err := r.use(ctx, c, name, OpLookupKeys, func(_ context.Context, k *key, t *tally) error {
		out = nil
		for i := len(k.versions) - 1; i >= 0; i-- {
			v := k.versions[i]
			if k.retired(v) != nil {
				continue
			}
			m, err := v.material()
			if err != nil {
				return err
			}
			out = append(out, LookupKey{v.id.String(), m.shared})
		}
		t.done++
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// MAC authenticates a message in a context, whose Service is the caller.
func (r *Ring) MAC(ctx context.Context, c Caller, name string, it Item) ([]byte, error) {
	it.Context.Service = c.Service
	if err := it.check(); err != nil {
		return nil, err
	}
	var mac []byte
	err := r.use(ctx, c, name, OpMAC, func(_ context.Context, _ *key, t *tally) error {
		m, err := t.version.material()
		if err != nil {
			return err
		}
		t.item(&it, nil)
		mac, err = m.mac.MAC(it.Context, it.Data)
		return err
	})
	if err != nil {
		return nil, err
	}
	return mac, nil
}

// VerifyMAC says whether mac is of the message in its context.
func (r *Ring) VerifyMAC(ctx context.Context, c Caller, name string, it Item, mac []byte) (bool, error) {
	if it.Context.Service == "" {
		it.Context.Service = c.Service
	}
	if err := it.check(); err != nil {
		return false, err
	}
	valid := false
	err := r.use(ctx, c, name, OpVerifyMAC, func(_ context.Context, k *key, t *tally) error {
		valid = false
		t.item(&it, nil)
		in, err := envelope.Inspect(mac)
		if err != nil {
			return nil // it isn't any MAC
		}
		v, err := k.version(in.Key)
		if err != nil {
			return nil // a version that isn't, or no more
		}
		m, err := v.material()
		if err != nil {
			return err
		}
		valid = m.mac.Verify(it.Context, it.Data, mac) == nil
		return nil
	})
	return valid && err == nil, err
}

const maxOwner = 1024

func checkOwner(owner string) error {
	if len(owner) > maxOwner {
		return fault.New(fault.Invalid, fmt.Sprintf("an owner has at most %d bytes", maxOwner))
	}
	return nil
}
