package seal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wardhq/ward/sdk/seal/envelope"
)

// SealLookup encrypts a value so that it can be searched for: in the same class, table and column equal values are equal, which everyone
// sees who sees the table. The place has no row. It doesn't work For an owner, whose key it couldn't hang on.
func (c *Client) SealLookup(ctx context.Context, value []byte, at Context) ([]byte, error) {
	keys, err := c.lookupKeys(ctx, &at)
	if err != nil {
		return nil, err
	}
	return keys[0].Seal(at, value)
}

// Lookups returns every form that SealLookup may have given the value, under each version of the key: for WHERE column IN (…).
func (c *Client) Lookups(ctx context.Context, value []byte, at Context) ([][]byte, error) {
	return c.all(ctx, at, func(l *envelope.LookupKey, at Context) ([]byte, error) { return l.Seal(at, value) })
}

// UnsealLookup reverses SealLookup.
func (c *Client) UnsealLookup(ctx context.Context, sealed []byte, at Context) ([]byte, error) {
	in, err := envelope.Inspect(sealed)
	if err != nil || in.Kind != envelope.Lookup {
		return nil, ErrDecrypt
	}
	keys, err := c.lookupKeys(ctx, &at)
	if err != nil {
		return nil, err
	}
	for _, l := range keys {
		if l.ID() == in.Key {
			return l.Open(at, sealed)
		}
	}
	return nil, ErrDecrypt
}

// Index is a value's blind index: 16 bytes for a column of their own, by which the row is found and from which nothing opens. The
// place has no row.
func (c *Client) Index(ctx context.Context, value []byte, at Context) ([]byte, error) {
	keys, err := c.lookupKeys(ctx, &at)
	if err != nil {
		return nil, err
	}
	return keys[0].Index(at, value)
}

// Indexes returns the value's index under each version of the key: for WHERE column IN (…).
func (c *Client) Indexes(ctx context.Context, value []byte, at Context) ([][]byte, error) {
	return c.all(ctx, at, func(l *envelope.LookupKey, at Context) ([]byte, error) { return l.Index(at, value) })
}

func (c *Client) all(ctx context.Context, at Context, under func(*envelope.LookupKey, Context) ([]byte, error)) ([][]byte, error) {
	keys, err := c.lookupKeys(ctx, &at)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(keys))
	for i, l := range keys {
		if out[i], err = under(l, at); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// lookupKeys of a place's class, at least one, the current first.
func (c *Client) lookupKeys(ctx context.Context, at *Context) ([]*envelope.LookupKey, error) {
	if c.owner != "" {
		return nil, errors.New("seal: a lookup can't hang on an owner's key; use the client without For")
	}
	if at.Service == "" {
		at.Service = c.service
	}
	if at.Class == "" {
		return nil, errors.New("context: the class is missing")
	}
	return c.lookups.get(ctx, at.Class+lookupSuffix)
}

func (c *core) fetchLookupKeys(ctx context.Context, name string) ([]*envelope.LookupKey, time.Duration, error) {
	keys, err := c.Provider.LookupKeys(ctx, name)
	if err == nil && len(keys) == 0 {
		err = fmt.Errorf("get lookup keys of %s: %w: no version may be used", name, ErrRefused)
	}
	return keys, c.MaxAge, err
}
