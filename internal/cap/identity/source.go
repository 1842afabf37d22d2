package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/wire"
)

// Issuer is control, as the data plane sees it.
type Issuer interface {
	SignX509(context.Context, wire.SignRequest) (wire.SignReply, error)
	SignJWT(context.Context, wire.JWTRequest) (wire.JWTReply, error)
	Bundle(ctx context.Context, have string) (wire.Bundle, error)
}

// signIn bounds one request for a certificate.
const signIn = 5 * time.Second

// Bundles keeps the trust bundle, renewed as control changes it. Safe for concurrent use.
type Bundles struct {
	issuer Issuer

	mu      sync.Mutex
	bundle  wire.Bundle    // guarded by mu
	pool    *x509.CertPool // guarded by mu
	changed chan struct{}  // guarded by mu: closed and replaced at each change
}

// NewBundles fetches the bundle once.
func NewBundles(ctx context.Context, i Issuer) (*Bundles, error) {
	b := &Bundles{issuer: i, changed: make(chan struct{})}
	got, err := i.Bundle(ctx, "")
	if err == nil {
		err = b.set(got)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch trust bundle: %w", err)
	}
	return b, nil
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
	for _, der := range w.X509 {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("read trust bundle: %w", err)
		}
		pool.AddCert(c)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.Sequence == b.bundle.Sequence && b.pool != nil {
		return nil
	}
	b.bundle, b.pool = w, pool
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

// Roots is the bundle's X.509 part.
func (b *Bundles) Roots() (*x509.CertPool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pool, nil
}

// Source is one identity whose key never leaves this process's memory. It implements pki.Source
// and is safe for concurrent use.
type Source struct {
	*Bundles
	id     string
	issuer Issuer
	clock  clock.Clock

	renewing sync.Mutex // one renewal at a time
	mu       sync.Mutex
	cert     *tls.Certificate // guarded by mu
	updated  chan struct{}    // guarded by mu: closed and replaced at each renewal
	asked    bool             // guarded by mu: a renewal is under way
}

// NewSource returns the source of a SPIFFE ID; it fetches at first use.
func NewSource(id string, i Issuer, b *Bundles, c clock.Clock) *Source {
	return &Source{Bundles: b, id: id, issuer: i, clock: c, updated: make(chan struct{})}
}

// ID is the SPIFFE ID.
func (s *Source) ID() string { return s.id }

// Certificate is the SVID in force. Past half of its life it is renewed in the
// background; past its end, first.
func (s *Source) Certificate() (*tls.Certificate, error) {
	now := s.clock.Now()
	s.mu.Lock()
	c := s.cert
	half := c != nil && now.After(midlife(c.Leaf))
	ask := half && !s.asked
	s.asked = s.asked || ask
	s.mu.Unlock()
	if c != nil && now.Before(c.Leaf.NotAfter) && now.After(c.Leaf.NotBefore) {
		if ask {
			go func() {
				if err := s.renew(c); err != nil {
					slog.Warn("renew SVID", "id", s.id, "error", err)
				}
			}()
		}
		return c, nil
	}
	if err := s.renew(c); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cert, nil
}

func midlife(leaf *x509.Certificate) time.Time {
	return leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)
}

// renew replaces the certificate old, unless somebody has done so already.
func (s *Source) renew(old *tls.Certificate) error {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	s.mu.Lock()
	done := s.cert != old
	s.mu.Unlock()
	if done {
		return nil
	}
	fresh, err := s.fetch()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = false
	if err != nil {
		return fmt.Errorf("get SVID of %s: %w", s.id, err)
	}
	s.cert = fresh
	close(s.updated)
	s.updated = make(chan struct{})
	return nil
}

func (s *Source) fetch() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), signIn)
	defer cancel()
	reply, err := s.issuer.SignX509(ctx, wire.SignRequest{ID: s.id, CSR: csr})
	if err != nil {
		return nil, err
	}
	if len(reply.Chain) == 0 {
		return nil, fmt.Errorf("control sent no certificate")
	}
	leaf, err := x509.ParseCertificate(reply.Chain[0])
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: reply.Chain, PrivateKey: key, Leaf: leaf}, nil
}

// Updated is closed when the certificate is next renewed.
func (s *Source) Updated() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.updated
}

// Keep renews the SVID at half its life, also while nobody asks for it, until ctx ends.
func (s *Source) Keep(ctx context.Context) {
	for ctx.Err() == nil {
		wait := time.Second
		if c, err := s.Certificate(); err != nil {
			slog.Warn("get SVID", "id", s.id, "error", err)
		} else {
			wait = min(max(midlife(c.Leaf).Sub(s.clock.Now())+time.Millisecond, 100*time.Millisecond), time.Minute)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// JWT gets a JWT-SVID for an audience.
func (s *Source) JWT(ctx context.Context, audience []string) (string, error) {
	r, err := s.issuer.SignJWT(ctx, wire.JWTRequest{ID: s.id, Audience: audience})
	return r.Token, err
}
