// Package seal encrypts a service's data, each value bound to its place, in three lines:
//
//	c, err := seal.Open(ctx)
//	sealed, err := c.Seal(ctx, address, seal.Context{Class: "addresses", Table: "orders", Column: "address", Row: id})
//	address, err := c.Unseal(ctx, sealed, seal.Context{Class: "addresses", Table: "orders", Column: "address", Row: id})
//
// Guarantee: a value opens in its own place only and unchanged; no nonce and no algorithm can be chosen; ErrDecrypt doesn't tell why; the
// managed keys stay in Ward, and a data key serves for minutes, within budgets, so that a disabled key or a shredded owner is over for running services, too,
// after Config.MaxAge. Not guaranteed: hidden lengths; freshness (an old value of the same place opens); that keys leave this
// process's memory when they are dropped. The format is docs/FORMAT.md. It uses the standard library alone; clients are safe for concurrent use.
package seal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/sdk/seal/chunked"
	"github.com/wardhq/ward/sdk/seal/envelope"
)

// Context says which value is sealed; see envelope.Context. Service is filled in: it is this one, or, when another
// service's value is opened, that one's name.
type Context = envelope.Context

// ErrDecrypt says that something can't be decrypted, and never why.
var ErrDecrypt = envelope.ErrDecrypt

// Config of a Client. The provider's own limits hold where they are lower.
type Config struct {
	Provider    Provider      // nil for Ward's API
	MaxAge      time.Duration // of a key in this process, for sealing and opening; 0 for five minutes
	MaxMessages int64         // sealed under one data key; 0 for 2^20
	MaxBytes    int64         // sealed under one data key; 0 for 2^34
	MaxKeys     int           // to seal, and as many to open, that are kept; 0 for 4,096
}

const (
	lookupSuffix = ".lookup" // of the name of a class's lookup key
	maxMessages  = 1 << 32   // of random nonces under one key (NIST SP 800-38D §8.3)
)

// A Client seals and opens. For gives one whose values hang on their owner's key.
type Client struct {
	*core
	owner string
}

type core struct {
	Config
	service string
	sealers *cache[name, *budgeted]
	openers *cache[slot, *envelope.DataKey]
	lookups *cache[string, []*envelope.LookupKey]
}

// name of what a data key is wrapped under.
type name struct{ class, owner string }

// slot is a data key to open with. Its name is part of it, so that nobody opens with what was fetched for another owner.
type slot struct {
	name
	header [envelope.HeaderSize]byte // with the kind Message
}

// budgeted is a data key and what it may still seal.
type budgeted struct {
	*envelope.DataKey
	longest         int64
	messages, bytes atomic.Int64
}

// take counts a message of n bytes; false says that the budget is used up.
func (b *budgeted) take(n int) bool { return b.messages.Add(-1) >= 0 && b.bytes.Add(-int64(n)) >= 0 }

// Open is a client of Ward's API, in a service that Ward runs.
func Open(ctx context.Context) (*Client, error) { return New(ctx, Config{}) }

// New asks the provider who we are.
func New(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.Provider == nil {
		cfg.Provider = &API{}
	}
	if cfg.MaxAge < 0 || cfg.MaxMessages < 0 || cfg.MaxMessages > maxMessages || cfg.MaxBytes < 0 || cfg.MaxKeys < 0 {
		return nil, errors.New("seal: a limit is negative, or more than 2^32 messages")
	}
	cfg.MaxAge = orElse(cfg.MaxAge, 5*time.Minute)
	cfg.MaxMessages = orElse(cfg.MaxMessages, 1<<20)
	cfg.MaxBytes = orElse(cfg.MaxBytes, 1<<34)
	cfg.MaxKeys = orElse(cfg.MaxKeys, 4096)
	service, err := cfg.Provider.Service(ctx)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	c := &core{Config: cfg, service: service}
	c.sealers = newCache(cfg.MaxKeys, c.newDataKey)
	c.openers = newCache(cfg.MaxKeys, c.openDataKey)
	c.lookups = newCache(cfg.MaxKeys, c.fetchLookupKeys)
	return &Client{core: c}, nil
}

func orElse[N int | int64 | time.Duration](n, otherwise N) N {
	if n == 0 {
		return otherwise
	}
	return n
}

// For returns a client for what belongs to an owner, such as a customer: its data keys hang on the owner's own key, and when that is
// shredded (ward keys shred) nothing of it opens any more. Clients are cheap. An empty owner is none.
func (c *Client) For(owner string) *Client { return &Client{c.core, owner} }

// Seal encrypts a value for its place.
func (c *Client) Seal(ctx context.Context, value []byte, at Context) ([]byte, error) {
	if err := c.own(&at); err != nil {
		return nil, err
	}
	d, err := c.sealing(ctx, at.Class, len(value))
	if err != nil {
		return nil, err
	}
	return d.Seal(at, value)
}

// own puts in the service whose context it is, which must be this one.
func (c *Client) own(at *Context) error {
	if at.Service != "" && at.Service != c.service {
		return fmt.Errorf("context: %s can't seal for the service %s", c.service, at.Service)
	}
	at.Service = c.service
	return nil // the data key checks the rest
}

// sealing returns a data key that may seal n bytes more.
func (c *Client) sealing(ctx context.Context, class string, n int) (*envelope.DataKey, error) {
	if class == "" {
		return nil, errors.New("context: the class is missing")
	}
	at := name{class, c.owner}
	for {
		b, err := c.sealers.get(ctx, at)
		if err != nil {
			return nil, fmt.Errorf("seal: %w", err)
		}
		if int64(n) > b.longest {
			return nil, errors.New("seal: the value is longer than a data key's budget of bytes; use a stream")
		}
		if b.take(n) {
			return b.DataKey, nil
		}
		drop(c.sealers, at, b)
	}
}

// newDataKey asks for a data key to seal with, which opens its own messages, too.
func (c *core) newDataKey(ctx context.Context, at name) (*budgeted, time.Duration, error) {
	asked := time.Now()
	k, err := c.Provider.NewDataKey(ctx, at.class, at.owner)
	if err != nil {
		return nil, 0, err
	}
	b := &budgeted{DataKey: k.Key, longest: lower(c.MaxBytes, k.MaxBytes)}
	b.messages.Store(lower(c.MaxMessages, k.MaxMessages))
	b.bytes.Store(b.longest)
	life := lower(c.MaxAge, k.MaxAge)
	c.openers.put(slot{at, [envelope.HeaderSize]byte(k.Key.Header())}, k.Key, asked, life)
	return b, life, nil
}

func (c *core) openDataKey(ctx context.Context, at slot) (*envelope.DataKey, time.Duration, error) {
	k, err := c.Provider.OpenDataKey(ctx, at.class, at.owner, at.header[:])
	return k.Key, lower(c.MaxAge, k.MaxAge), err
}

// lower of our limit and the provider's, of which zero is none.
func lower[N int64 | time.Duration](ours, theirs N) N {
	if theirs > 0 && theirs < ours {
		return theirs
	}
	return ours
}

// Unseal decrypts what Seal has made for the same place and owner.
func (c *Client) Unseal(ctx context.Context, sealed []byte, at Context) ([]byte, error) {
	if at.Service == "" {
		at.Service = c.service
	}
	if len(sealed) < envelope.Overhead {
		return nil, ErrDecrypt
	}
	d, err := c.opening(ctx, at.Class, sealed[:envelope.HeaderSize])
	if err != nil {
		return nil, err
	}
	return d.Open(at, sealed)
}

// opening returns the data key of a header.
func (c *Client) opening(ctx context.Context, class string, header []byte) (*envelope.DataKey, error) {
	in, err := envelope.Inspect(header)
	if err != nil || class == "" || in.Owned != (c.owner != "") || (in.Kind != envelope.Message && in.Kind != envelope.Stream) {
		return nil, ErrDecrypt
	}
	at := slot{name{class, c.owner}, [envelope.HeaderSize]byte(header)}
	at.header[1] = byte(envelope.Message) // one data key for both
	d, err := c.openers.get(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("unseal: %w", err)
	}
	return d, nil
}

// Rewrap seals a value anew if its key has had a newer version since, and returns sealed itself if it hasn't.
func (c *Client) Rewrap(ctx context.Context, sealed []byte, at Context) ([]byte, error) {
	value, err := c.Unseal(ctx, sealed, at)
	if err != nil {
		return nil, err
	}
	defer clear(value)
	if err := c.own(&at); err != nil {
		return nil, err
	}
	d, err := c.sealing(ctx, at.Class, len(value))
	if err != nil {
		return nil, err
	}
	if in, err := envelope.Inspect(sealed); err == nil && in.Key == d.ID() {
		return sealed, nil
	}
	return d.Seal(at, value)
}

// NewWriter encrypts a file or other long value, in constant memory. Without Close it is cut and will be refused; Close
// doesn't close w.
func (c *Client) NewWriter(ctx context.Context, w io.Writer, at Context) (*chunked.Writer, error) {
	if err := c.own(&at); err != nil {
		return nil, err
	}
	d, err := c.sealing(ctx, at.Class, 0) // its bytes are under keys of its own
	if err != nil {
		return nil, err
	}
	return d.NewWriter(w, at)
}

// NewReader decrypts what a Writer of the same place has made, from its beginning. It is whole when io.EOF comes, and
// not before.
func (c *Client) NewReader(ctx context.Context, r io.Reader, at Context) (*chunked.Reader, error) {
	return envelope.NewReader(r, c.placed(at), c.find(ctx, at.Class))
}

// NewReaderAt decrypts any part of a file of size bytes that a Writer of the same place has made. Its end has been checked when it returns.
func (c *Client) NewReaderAt(ctx context.Context, r io.ReaderAt, size int64, at Context) (*chunked.ReaderAt, error) {
	return envelope.NewReaderAt(r, size, c.placed(at), c.find(ctx, at.Class))
}

func (c *Client) placed(at Context) Context {
	if at.Service == "" {
		at.Service = c.service
	}
	return at
}

func (c *Client) find(ctx context.Context, class string) envelope.Find {
	return func(header []byte) (*envelope.DataKey, error) { return c.opening(ctx, class, header) }
}
