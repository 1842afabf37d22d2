package account

import (
	"strings"
	"time"

	"github.com/wardhq/ward/internal/cap/identity/internal/throttle"
	"github.com/wardhq/ward/internal/wire"
)

// Attempt is one guess at something of somebody's.
type Attempt struct {
	What    string // "password", "factor"
	Who     string // identifier, as typed or known
	Device  []byte // hash of a device's cookie that belongs to that person; nil if unknown
	Visitor wire.Visitor
}

// limits of an attempt: those of its own, and those it shares with others. A device that was signed in before has its
// own, so that an attacker who fills the others can't keep its owner out.
func (a *Attempt) limits() (own, shared []throttle.Limit) {
	who, from := strings.Join([]string{a.What, emailKey(a.Who)}, "\x00"), network(a.Visitor)
	if a.Device != nil {
		return []throttle.Limit{{Key: "device\x00" + who + "\x00" + string(a.Device), Free: 8, First: 2 * time.Second, Most: 5 * time.Minute}}, nil
	}
	own = []throttle.Limit{{Key: "pair\x00" + who + "\x00" + from, Free: 5, First: 2 * time.Second, Most: 15 * time.Minute}}
	account := throttle.Limit{Key: "account\x00" + who, Free: 20, First: time.Second, Most: time.Minute}
	if a.What == "factor" {
		account.Most = 15 * time.Minute // codes are short
	}
	return own, []throttle.Limit{account, {Key: "network\x00" + a.What + "\x00" + from, Free: 50, First: time.Second, Most: 5 * time.Minute}}
}

// Try counts a guess and returns how long to wait instead, 0 to go on.
func (s *Service) Try(a Attempt) time.Duration {
	own, shared := a.limits()
	return s.limits.Take(append(own, shared...)...)
}

// Hasty tells whether a guess that has to wait came within the pause that earlier ones from the same place have made, on no device of the
// account's. Who is slowed down by others' guesses isn't hasty.
func (s *Service) Hasty(a Attempt) bool {
	own, _ := a.limits()
	return a.Device == nil && s.limits.Pause(own...) > 0
}

// Right says that the guess was right.
func (s *Service) Right(a Attempt) {
	own, shared := a.limits()
	s.limits.Forgive(own...)
	s.limits.Give(shared...)
}

// Ask counts something that costs us or somebody else: a message to an address, a registration.
func (s *Service) Ask(what, about string, v wire.Visitor) time.Duration {
	return s.limits.Take(
		throttle.Limit{Key: "ask\x00" + what + "\x00" + emailKey(about), Free: 4, First: 30 * time.Second, Most: time.Hour},
		throttle.Limit{Key: "ask-from\x00" + what + "\x00" + network(v), Free: 30, First: 10 * time.Second, Most: time.Hour},
		throttle.Limit{Key: "ask-all\x00" + what, Free: 2000, First: 50 * time.Millisecond, Most: time.Second},
	)
}
