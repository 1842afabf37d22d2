package identity

import (
	"context"
	"crypto/x509"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/wire"
)

// Bundles keeps the trust bundle, renewed as control changes it. Safe for concurrent use.
type Bundles struct {
	issuer Issuer
	clock  clock.Clock
	retry  pause

	fetching sync.Mutex // one fetch on demand at a time
	mu       sync.Mutex
	bundle   wire.Bundle    // guarded by mu
	pool     *x509.CertPool // guarded by mu
	ends     time.Time      // guarded by mu: when the last root ends
	changed  chan struct{}  // guarded by mu: closed and replaced at each change
}

// NewBundles fetches the bundle once.
func NewBundles(ctx context.Context, i Issuer, c clock.Clock) (*Bundles, error) {
	b := &Bundles{issuer: i, clock: c, changed: make(chan struct{})}
	if err := b.fetch(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *Bundles) fetch(ctx context.Context) error {
	got, err := b.issuer.Bundle(ctx, "")
	if err == nil {
		err = b.set(got)
	}
	if err != nil {
		return fmt.Errorf("fetch trust bundle: %w", err)
	}
	return nil
}

// Follow keeps the bundle up to date until ctx ends.
func (b *Bundles) Follow(ctx context.Context) {
	for ctx.Err() == nil {
		have, _ := b.Current()
		got, err := b.issuer.Bundle(ctx, strconv.FormatUint(have.Sequence, 10))
		if err == nil {
			err = b.set(got)
		}
		if err != nil {
			select {
			case <-time.After(time.Second): // control is away: the last bundle stands
			case <-ctx.Done():
			}
		}
	}
}

func (b *Bundles) set(w wire.Bundle) error {
	pool := x509.NewCertPool()
	var ends time.Time
	for _, der := range w.X509 {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("read trust bundle: %w", err)
		}
		pool.AddCert(c)
		if c.NotAfter.After(ends) {
			ends = c.NotAfter
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.Sequence == b.bundle.Sequence && b.pool != nil {
		return nil
	}
	b.bundle, b.pool, b.ends = w, pool, ends
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

// Current is the bundle in force, and a channel that is closed at the next change.
func (b *Bundles) Current() (wire.Bundle, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bundle, b.changed
}

// Roots is the bundle's X.509 part. It is fetched first if every root of it has ended, as after a
// clock jump.
func (b *Bundles) Roots() (*x509.CertPool, error) {
	if pool, live := b.pooled(); live {
		return pool, nil
	}
	b.fetching.Lock()
	defer b.fetching.Unlock()
	if pool, live := b.pooled(); live {
		return pool, nil // somebody else has fetched it meanwhile
	}
	if err := b.retry.run(b.clock.Now(), func() error {
		ctx, cancel := context.WithTimeout(context.Background(), signIn)
		defer cancel()
		return b.fetch(ctx)
	}); err != nil {
		return nil, err
	}
	pool, _ := b.pooled()
	return pool, nil
}

func (b *Bundles) pooled() (pool *x509.CertPool, live bool) {
	now := b.clock.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pool, now.Before(b.ends)
}
