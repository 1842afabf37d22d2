package stage

import (
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
	"github.com/wardhq/ward/internal/plan"
)

// Each sign is a record in the ledger, so that of each kind maxSigns at most are told apart at a time; many of one kind don't hide another, nor
// names a trap's. What goes on is told again, so that a finding that was closed, or an answer that was lifted, comes again: every signAgain, and each
// use of a trap. A sign that was quiet for signForgotten makes room for others.
const (
	maxSigns      = 128
	maxTraps      = 16
	signAgain     = 30 * time.Second
	trapAgain     = time.Second
	signForgotten = 10 * time.Minute
)

// signs are those that were told. Safe for concurrent use.
type signs struct {
	mu   sync.Mutex
	told map[share]map[spec.Flag]time.Time // guarded by mu: when last
}

// share is what is bounded by itself.
type share struct {
	kind string
	trap bool
}

// news tells whether a sign is to be told, and as what: beyond those that are told apart it is about further ones. It takes it as told.
func (s *signs) news(f spec.Flag, now time.Time) (spec.Flag, bool) {
	of, most, again := share{f.Kind, strings.HasPrefix(f.Detail, plan.CanaryPrefix)}, maxSigns, signAgain
	if of.trap {
		most, again = maxTraps, trapAgain
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told == nil {
		s.told = map[share]map[spec.Flag]time.Time{}
	}
	all := s.told[of]
	if all == nil {
		all = map[spec.Flag]time.Time{}
		s.told[of] = all
	}
	if _, known := all[f]; !known && len(all) >= most {
		for old, last := range all {
			if now.Sub(last) >= signForgotten {
				delete(all, old)
			}
		}
		if len(all) >= most {
			f.Detail, again = plan.Further, signAgain
		}
	}
	if last, known := all[f]; known && now.Sub(last) < again {
		return f, false
	}
	all[f] = now
	return f, true
}
