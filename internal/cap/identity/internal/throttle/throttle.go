// Package throttle slows down what is tried too often.
//
// Guarantee: a try is counted before it is known how it ends, so that many at once are no way around; memory is
// bounded; nothing that is a key is kept, only its hash. Not guaranteed: that counts outlive the process, or that
// somebody with a great many keys doesn't push out the oldest counts.
package throttle

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
)

// Limit slows down one thing: after Free tries, each doubles the pause before the next.
type Limit struct {
	Key         string
	Free        int
	First, Most time.Duration // of the pause
}

const (
	forget     = time.Hour // without a try
	maxEntries = 200_000   // 12 MB or so
)

type entry struct {
	tries int
	last  time.Time
	until time.Time
}

// Throttle counts tries. It is safe for concurrent use.
type Throttle struct {
	clock clock.Clock
	mu    sync.Mutex // guards seen
	seen  map[[16]byte]entry
}

// New returns a Throttle.
func New(c clock.Clock) *Throttle {
	return &Throttle{clock: c, seen: map[[16]byte]entry{}}
}

// Take counts a try against each limit, before it is known how it ends, so that many at once are no way around; unless
// one of them says to wait: then nothing is counted.
func (t *Throttle) Take(limits ...Limit) (wait time.Duration) {
	now := t.clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if wait = t.pause(now, limits); wait > 0 {
		return wait
	}
	for _, l := range limits {
		e := t.seen[id(l.Key)]
		if now.Sub(e.last) > forget {
			e = entry{}
		}
		e.tries++
		e.last, e.until = now, time.Time{}
		if over := e.tries - l.Free; over >= 0 {
			e.until = now.Add(min(l.Most, l.First<<min(over, 20)))
		}
		t.makeRoom(now)
		t.seen[id(l.Key)] = e
	}
	return 0
}

// Pause is how long the limits say to wait, 0 to go on. It counts nothing.
func (t *Throttle) Pause(limits ...Limit) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pause(t.clock.Now(), limits)
}

// pause needs t.mu.
func (t *Throttle) pause(now time.Time, limits []Limit) (wait time.Duration) {
	for _, l := range limits {
		wait = max(wait, t.seen[id(l.Key)].until.Sub(now))
	}
	return wait
}

// makeRoom drops what is forgotten, or else the oldest of a few.
func (t *Throttle) makeRoom(now time.Time) {
	if len(t.seen) < maxEntries {
		return
	}
	looked, oldest, last := 0, [16]byte{}, now
	for k, e := range t.seen {
		if now.Sub(e.last) > forget {
			delete(t.seen, k)
		} else if !e.last.After(last) {
			oldest, last = k, e.last
		}
		if looked++; looked == 16 {
			break
		}
	}
	if len(t.seen) >= maxEntries {
		delete(t.seen, oldest)
	}
}

// Forgive forgets the tries, after one that was right.
func (t *Throttle) Forgive(limits ...Limit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range limits {
		delete(t.seen, id(l.Key))
	}
}

// Give undoes one try of each, after one that was right and says nothing about the others.
func (t *Throttle) Give(limits ...Limit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range limits {
		if e, ok := t.seen[id(l.Key)]; ok && e.tries > 0 {
			e.tries--
			e.until = time.Time{}
			t.seen[id(l.Key)] = e
		}
	}
}

func id(key string) [16]byte {
	sum := sha256.Sum256([]byte(key))
	return [16]byte(sum[:16])
}
