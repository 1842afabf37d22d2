package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/pki"
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

// Source is one identity whose key never leaves this process's memory. It implements pki.Source
// and is safe for concurrent use.
type Source struct {
	*Bundles
	id     string
	link   bool
	issuer Issuer
	clock  clock.Clock
	tokens tokens
	retry  pause

	renewing sync.Mutex // one renewal at a time; guards retry
	mu       sync.Mutex
	cert     *tls.Certificate // guarded by mu
	due      time.Time        // guarded by mu: when cert is to be renewed
	updated  chan struct{}    // guarded by mu: closed and replaced at each renewal
}

// NewSource returns the source of a SPIFFE ID; it fetches at first use.
func NewSource(id string, i Issuer, b *Bundles, c clock.Clock) *Source {
	return &Source{Bundles: b, id: id, issuer: i, clock: c, updated: make(chan struct{})}
}

// NewLinkSource returns the source of an identity for Ward's own connections, which never leaves Ward's processes: its
// certificates live longer, so that traffic goes on while control is away.
func NewLinkSource(id string, i Issuer, b *Bundles, c clock.Clock) *Source {
	s := NewSource(id, i, b, c)
	s.link = true
	return s
}

// ID is the SPIFFE ID.
func (s *Source) ID() string { return s.id }

// Certificate is the SVID in force. Around half of its life Keep renews it in the
// background; past its end, it is renewed first.
func (s *Source) Certificate() (*tls.Certificate, error) {
	now := s.clock.Now()
	s.mu.Lock()
	c := s.cert
	s.mu.Unlock()
	if inForce(c, now) {
		return c, nil
	}
	return s.renew(c)
}

func inForce(c *tls.Certificate, now time.Time) bool {
	return c != nil && now.Before(c.Leaf.NotAfter) && !now.Before(c.Leaf.NotBefore)
}

// renewalDue is between 40 and 50 % of a certificate's life, so that those which were
// issued together aren't renewed together.
func renewalDue(leaf *x509.Certificate) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	spread := time.Duration(leaf.SerialNumber.Bits()[0]%1000) * (life / 10) / 1000
	return leaf.NotBefore.Add(life/2 - spread)
}

// renew replaces the certificate old, unless somebody has done so already, and returns the one in force.
func (s *Source) renew(old *tls.Certificate) (*tls.Certificate, error) {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	s.mu.Lock()
	c := s.cert
	s.mu.Unlock()
	if c != old {
		return c, nil
	}
	var fresh *tls.Certificate
	err := s.retry.run(s.clock.Now(), func() (err error) {
		fresh, err = s.fetchSVID()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("get SVID of %s: %w", s.id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cert, s.due = fresh, renewalDue(fresh.Leaf)
	close(s.updated)
	s.updated = make(chan struct{})
	return fresh, nil
}

func (s *Source) fetchSVID() (*tls.Certificate, error) {
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
	reply, err := s.issuer.SignX509(ctx, wire.SignRequest{ID: s.id, CSR: csr, Link: s.link})
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for _, der := range reply.Chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 || !key.PublicKey.Equal(chain[0].PublicKey) {
		return nil, errors.New("control sent no certificate of the key that it was asked for")
	}
	if err := s.check(ctx, chain); err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: reply.Chain, PrivateKey: key, Leaf: chain[0]}, nil
}

// check keeps a certificate that no peer would take from replacing one that works. A root that is
// newer than our bundle makes us fetch it.
func (s *Source) check(ctx context.Context, chain []*x509.Certificate) error {
	rest := strings.TrimPrefix(s.id, "spiffe://")
	trustDomain, _, _ := strings.Cut(rest, "/")
	for last := false; ; last = true {
		pool, _ := s.pooled()
		id, err := pki.Verify(chain, pool, trustDomain, s.clock.Now())
		if err == nil && id != s.id {
			return fmt.Errorf("control sent a certificate of %s", id)
		}
		if err == nil || last {
			return err
		}
		if err := s.fetch(ctx); err != nil {
			return err
		}
	}
}

// Updated is closed when the certificate is next renewed.
func (s *Source) Updated() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.updated
}

// Keep renews the SVID around half its life, also while nobody asks for it, until ctx ends.
func (s *Source) Keep(ctx context.Context) {
	for ctx.Err() == nil {
		wait := s.keepOnce()
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// keepOnce renews if it is time to, and tells when to look again.
func (s *Source) keepOnce() time.Duration {
	now := s.clock.Now()
	s.mu.Lock()
	c, due := s.cert, s.due
	s.mu.Unlock()
	if !inForce(c, now) || now.After(due) {
		if _, err := s.renew(c); err != nil {
			if !errors.Is(err, errPausing) { // said when it happened
				slog.Warn("renew SVID", "id", s.id, "error", err, "in_force", inForce(c, now))
			}
			s.renewing.Lock()
			defer s.renewing.Unlock()
			return max(s.retry.length, minPause)
		}
		s.mu.Lock()
		due = s.due
		s.mu.Unlock()
	}
	// Not longer than a minute: the clock may jump.
	return min(max(due.Sub(now)+time.Millisecond, minPause), time.Minute)
}

// JWT gets a JWT-SVID for an audience. The same is returned until half of its life is over.
func (s *Source) JWT(ctx context.Context, audience []string) (string, error) {
	return s.tokens.get(audience, s.clock.Now(), func() (string, error) {
		r, err := s.issuer.SignJWT(ctx, wire.JWTRequest{ID: s.id, Audience: audience})
		return r.Token, err
	})
}
