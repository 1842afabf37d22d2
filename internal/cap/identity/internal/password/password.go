// Package password hashes, verifies, normalises and judges passwords.
//
// Guarantee: new hashes are argon2id (19 MiB, t=2, p=1) in PHC form; no more hashes run at once than the Hasher
// has places, and no more wait than its queue holds; an unknown user costs the same work as one whose hash is
// current; a hostile imported hash is refused by Parse before it costs memory or time (its limits are in
// encoded.go). Not guaranteed: equal time for hashes imported from elsewhere until their user has signed in once,
// nor that passwords leave memory.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

// Parameters of new hashes (OWASP Password Storage Cheat Sheet; RFC 9106).
const (
	currentMemory = 19 * 1024 // KiB
	currentTime   = 2
	currentSalt   = 16 // bytes
	currentKey    = 32 // bytes
)

// perHash is a cautious guess of one hash's time, for Retry-After.
const perHash = 50 * time.Millisecond

// Config of a Hasher. Zero values mean the defaults.
type Config struct {
	Places int // hashes at once, 19 MiB each; default GOMAXPROCS-1, at least 1: the last core is for who wants no password checked
	Queue  int // calls that may wait; default 32 a place
}

// Hasher hashes and verifies. It is safe for concurrent use.
type Hasher struct {
	places  chan struct{}
	large   chan struct{} // one place for imported hashes that need more memory than ours
	waiting atomic.Int64
	queue   int64
	dummy   Encoded
	derive  func(Encoded, []byte) bool // reports whether the password matches; tests count its calls
}

// New returns a Hasher.
func New(c Config) *Hasher {
	if c.Places <= 0 {
		c.Places = max(1, runtime.GOMAXPROCS(0)-1)
	}
	if c.Queue <= 0 {
		c.Queue = 32 * c.Places
	}
	return &Hasher{
		places: make(chan struct{}, c.Places),
		large:  make(chan struct{}, 1),
		queue:  int64(c.Queue),
		dummy:  current(make([]byte, currentSalt)),
		derive: Encoded.matches,
	}
}

// BusyError says that the queue is full. It comes inside a fault.Error of kind Exhausted.
type BusyError struct{ RetryAfter time.Duration }

// Error says so in words.
func (e *BusyError) Error() string { return "password queue is full" }

// Hash returns the PHC string of a password. It normalises, and refuses what Normalise refuses; length and
// strength are the caller's to ask of Check. A full queue gives a BusyError.
func (h *Hasher) Hash(ctx context.Context, password secret.Bytes) (string, error) {
	plain, err := Normalise(password)
	if err != nil {
		return "", err
	}
	salt := make([]byte, currentSalt)
	_, _ = rand.Read(salt) // never returns an error (crypto/rand)
	e := current(salt)
	leave, err := h.enter(ctx, e)
	if err != nil {
		return "", err
	}
	defer leave()
	e.key = e.argon2(plain.Reveal())
	return e.phc(), nil
}

// Verify reports whether the password belongs to the encoded hash, and whether the caller should now store a new
// Hash of it. An empty encoded hash stands for a user who doesn't exist or has no password: the same work is done
// against a fixed hash, and the answer is no. An unreadable hash is an error; a full queue gives a BusyError.
func (h *Hasher) Verify(ctx context.Context, encoded string, password secret.Bytes) (ok, upgrade bool, err error) {
	e, known := h.dummy, encoded != ""
	if known {
		if e, err = Parse(encoded); err != nil {
			return false, false, fmt.Errorf("verify password: %w", err)
		}
	}
	candidates := candidates(password)
	if len(candidates) == 0 {
		return false, false, nil // no such password can exist, whoever the user is
	}
	leave, err := h.enter(ctx, e)
	if err != nil {
		return false, false, err
	}
	defer leave()
	for i, c := range candidates {
		// An earlier system may have hashed the bytes as they were typed.
		if h.derive(e, c) && known {
			return true, i > 0 || !e.Current(), nil
		}
	}
	return false, false, nil
}

// candidates are the normalised password and, where it differs, the password as typed.
func candidates(password secret.Bytes) [][]byte {
	raw := password.Reveal()
	if len(raw) == 0 || len(raw) > MaxBytes {
		return nil
	}
	plain, err := Normalise(password)
	if err != nil {
		return [][]byte{raw}
	}
	if subtle.ConstantTimeCompare(plain.Reveal(), raw) == 1 {
		return [][]byte{raw}
	}
	return [][]byte{plain.Reveal(), raw}
}

// enter waits for a place. The returned function must be called once.
func (h *Hasher) enter(ctx context.Context, e Encoded) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("wait for a password place: %w", err)
	}
	if e.memory() <= currentMemory {
		return h.take(ctx, h.places)
	}
	// The large place comes first: whoever waits for it must not hold one of the others.
	leaveLarge, err := h.take(ctx, h.large)
	if err != nil {
		return nil, err
	}
	leavePlace, err := h.take(ctx, h.places)
	if err != nil {
		leaveLarge()
		return nil, err
	}
	return func() { leavePlace(); leaveLarge() }, nil
}

func (h *Hasher) take(ctx context.Context, places chan struct{}) (leave func(), err error) {
	leave = func() { <-places }
	select {
	case places <- struct{}{}:
		return leave, nil
	default:
	}
	if h.waiting.Add(1) > h.queue {
		h.waiting.Add(-1)
		after := (time.Duration(h.queue) * perHash / time.Duration(cap(h.places))).Round(time.Second)
		return nil, fault.Wrap(fault.Exhausted, "too many people are signing in at this moment; try again shortly", &BusyError{max(after, time.Second)})
	}
	defer h.waiting.Add(-1)
	select {
	case places <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a password place: %w", ctx.Err())
	}
}
