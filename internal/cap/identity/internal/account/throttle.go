package account

import (
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/wire"
)

// limit slows down what is tried too often: after free tries, each doubles the pause before the next.
type limit struct {
	key         string
	free        int
	first, most time.Duration // of the pause
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

// throttle counts tries in bounded memory.
type throttle struct {
	clock clock.Clock
	mu    sync.Mutex // guards seen
	seen  map[[16]byte]entry
}

func newThrottle(c clock.Clock) *throttle {
	return &throttle{clock: c, seen: map[[16]byte]entry{}}
}

// take counts a try against each limit, before it is known how it ends, so that many at once are no way around; unless
// one of them says to wait: then nothing is counted.
func (t *throttle) take(limits ...limit) (wait time.Duration) {
	now := t.clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range limits {
		wait = max(wait, t.seen[id(l.key)].until.Sub(now))
	}
	if wait > 0 {
		return wait
	}
	for _, l := range limits {
		e := t.seen[id(l.key)]
		if now.Sub(e.last) > forget {
			e = entry{}
		}
		e.tries++
		e.last, e.until = now, time.Time{}
		if over := e.tries - l.free; over >= 0 {
			e.until = now.Add(min(l.most, l.first<<min(over, 20)))
		}
		t.makeRoom(now)
		t.seen[id(l.key)] = e
	}
	return 0
}

// makeRoom drops what is forgotten, or else the oldest of a few.
func (t *throttle) makeRoom(now time.Time) {
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

// forgive forgets the tries, after one that was right.
func (t *throttle) forgive(limits ...limit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range limits {
		delete(t.seen, id(l.key))
	}
}

// give undoes one try of each, after one that was right and says nothing about the others.
func (t *throttle) give(limits ...limit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range limits {
		if e, ok := t.seen[id(l.key)]; ok && e.tries > 0 {
			e.tries--
			e.until = time.Time{}
			t.seen[id(l.key)] = e
		}
	}
}

func id(key string) [16]byte {
	sum := sha256.Sum256([]byte(key))
	return [16]byte(sum[:16])
}

// Attempt is one guess at something of somebody's.
type Attempt struct {
	What    string // "password", "factor"
	Who     string // identifier, as typed or known
	Device  []byte // hash of a device's cookie that belongs to that person; nil if unknown
	Visitor wire.Visitor
}

// limits of an attempt: those of its own, and those it shares with others. A device that was signed in before has its
// own, so that an attacker who fills the others can't keep its owner out.
func (a *Attempt) limits() (own, shared []limit) {
	who, from := strings.Join([]string{a.What, emailKey(a.Who)}, "\x00"), network(a.Visitor)
	if a.Device != nil {
		return []limit{{key: "device\x00" + who + "\x00" + string(a.Device), free: 8, first: 2 * time.Second, most: 5 * time.Minute}}, nil
	}
	own = []limit{{key: "pair\x00" + who + "\x00" + from, free: 5, first: 2 * time.Second, most: 15 * time.Minute}}
	account := limit{key: "account\x00" + who, free: 20, first: time.Second, most: time.Minute}
	if a.What == "factor" {
		account.most = 15 * time.Minute // codes are short
	}
	return own, []limit{account, {key: "network\x00" + a.What + "\x00" + from, free: 50, first: time.Second, most: 5 * time.Minute}}
}

// Try counts a guess and returns how long to wait instead, 0 to go on.
func (s *Service) Try(a Attempt) time.Duration {
	own, shared := a.limits()
	return s.limits.take(append(own, shared...)...)
}

// Right says that the guess was right.
func (s *Service) Right(a Attempt) {
	own, shared := a.limits()
	s.limits.forgive(own...)
	s.limits.give(shared...)
}

// Ask counts something that costs us or somebody else: a message to an address, a registration.
func (s *Service) Ask(what, about string, v wire.Visitor) time.Duration {
	return s.limits.take(
		limit{key: "ask\x00" + what + "\x00" + emailKey(about), free: 4, first: 30 * time.Second, most: time.Hour},
		limit{key: "ask-from\x00" + what + "\x00" + network(v), free: 30, first: 10 * time.Second, most: time.Hour},
		limit{key: "ask-all\x00" + what, free: 2000, first: 50 * time.Millisecond, most: time.Second},
	)
}
