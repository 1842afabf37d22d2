package identity

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
)

// Pauses between attempts to reach a control that doesn't answer.
const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

var errPausing = errors.New("the last attempt has just come to nothing")

// pause keeps failing attempts apart, ever longer. Its owner's lock guards it.
type pause struct {
	failed time.Time
	length time.Duration
	last   error
}

// run calls f, unless f failed a moment ago: then it returns that error again, with errPausing in its chain.
func (p *pause) run(now time.Time, f func() error) error {
	// A clock that was set back must not make the pause longer.
	if since := now.Sub(p.failed); p.last != nil && since >= 0 && since < p.length {
		return fmt.Errorf("%w: %w", errPausing, p.last)
	}
	p.last = f()
	if p.last == nil {
		p.length = 0
		return nil
	}
	p.failed, p.length = now, min(max(2*p.length, minPause), maxPause)
	return p.last
}

// Bounds of one service's JWT-SVIDs: what is in memory, and how often control is asked.
const (
	maxTokens     = 64
	tokenBurst    = 64
	tokensASecond = 5
)

// tokens are the JWT-SVIDs of one identity, by audience. The zero tokens is ready.
type tokens struct {
	mu     sync.Mutex
	kept   map[string]token // guarded by mu
	credit float64          // guarded by mu: how many may be asked for now
	filled time.Time        // guarded by mu: when credit was reckoned
}

type token struct {
	text        string
	from, until time.Time // when it may be handed out
}

func (t *tokens) get(audience []string, now time.Time, issue func() (string, error)) (string, error) {
	var key strings.Builder
	for _, a := range audience {
		key.WriteString(strconv.Itoa(len(a)) + ":" + a)
	}
	t.mu.Lock()
	if k, ok := t.kept[key.String()]; ok && now.Before(k.until) && !now.Before(k.from) {
		t.mu.Unlock()
		return k.text, nil
	}
	ok := t.spend(now)
	t.mu.Unlock()
	if !ok {
		return "", fault.New(fault.Exhausted, fmt.Sprintf("too many different audiences: a service gets %d JWT-SVIDs a second", tokensASecond))
	}
	text, err := issue()
	if err != nil {
		return "", err
	}
	iat, exp := lifeOf(text)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.makeRoom(now)
	t.kept[key.String()] = token{text: text, from: iat, until: iat.Add(exp.Sub(iat) / 2)}
	return text, nil
}

// spend takes one from the credit; t.mu is held.
func (t *tokens) spend(now time.Time) bool {
	since := max(now.Sub(t.filled), 0) // the first time, for ever
	t.credit = min(t.credit+since.Seconds()*tokensASecond, tokenBurst)
	t.filled = now
	if t.credit < 1 {
		return false
	}
	t.credit--
	return true
}

// makeRoom forgets what is over, or else the one that will be next; t.mu is held.
func (t *tokens) makeRoom(now time.Time) {
	if t.kept == nil {
		t.kept = map[string]token{}
	}
	if len(t.kept) < maxTokens {
		return
	}
	var oldest string
	for k, v := range t.kept {
		if !now.Before(v.until) {
			delete(t.kept, k)
		} else if oldest == "" || v.until.Before(t.kept[oldest].until) {
			oldest = k
		}
	}
	if len(t.kept) >= maxTokens {
		delete(t.kept, oldest)
	}
}

// lifeOf reads iat and exp of a token that control has just made; zero times, and so no reuse, if it can't.
func lifeOf(jwt string) (iat, exp time.Time) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return iat, exp
	}
	var claims struct {
		Iat int64 `json:"iat"`
		Exp int64 `json:"exp"`
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(b, &claims) != nil {
		return iat, exp
	}
	return time.Unix(claims.Iat, 0), time.Unix(claims.Exp, 0)
}
