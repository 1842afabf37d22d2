package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"github.com/wardhq/ward/internal/base/pki"
)

func (a *Authority) newRoot(now, from time.Time) (*issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := a.caTemplate("Ward root CA of "+a.config.TrustDomain, now, rootLife)
	t.MaxPathLen = 1
	cert, err := sign(t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &issuer{cert, key, from}, nil
}

// signingRoot returns the root that signs now. A new one is published at half the life of the
// newest, and signs a day later; if the clock has passed them all, a new one signs at once. a.mu is held.
func (a *Authority) signingRoot(now time.Time) (*issuer, error) {
	newest := a.roots[0]
	middle := newest.cert.NotBefore.Add(rootLife / 2)
	current := a.currentRoot(now)
	if current != nil && now.Before(middle) {
		return current, nil
	}
	if current != nil && now.Before(newest.from) {
		return current, nil // its successor is published already
	}
	from := now
	if current != nil {
		from = now.Add(rootNotice)
	}
	next, err := a.newRoot(now, from)
	if err == nil {
		err = a.publish(next, now)
	}
	switch {
	case err == nil && current == nil:
		return next, nil
	case err == nil:
		return current, nil
	case current != nil:
		slog.Error("renew root", "error", err) // years are left to try again
		return current, nil
	}
	return nil, fmt.Errorf("renew root: %w", err)
}

// currentRoot is the newest root that is valid and whose time has come, else the newest valid one, else nil.
func (a *Authority) currentRoot(now time.Time) *issuer {
	var early *issuer
	for _, r := range a.roots {
		if !r.validAt(now) {
			continue
		}
		if !now.Before(r.from) {
			return r
		}
		if early == nil {
			early = r
		}
	}
	return early
}

// publish puts a root before the others, and takes away those that have ended; the last one before it
// stays, for handshakes that the clock overtook.
func (a *Authority) publish(next *issuer, now time.Time) error {
	old := a.roots
	kept := []*issuer{next}
	for i, r := range old {
		if i == 0 || len(kept) < maxRoots && now.Before(r.cert.NotAfter.Add(pki.Leeway)) {
			kept = append(kept, r)
		}
	}
	a.roots = kept
	a.sequence++
	if err := a.save(); err != nil {
		a.roots = old
		a.sequence--
		return err
	}
	return nil
}
