package inbox

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// LongestAnswer is how long an answer may last, and a service stays in quarantine unless somebody lifts it.
const LongestAnswer = 30 * 24 * time.Hour

// Lives of answers to clients: the first one lasts blockLeast, each further one within a day of the last twice as long, up to blockMost.
const (
	blockLeast = 10 * time.Minute
	blockMost  = 24 * time.Hour
	// maxAnswers are in force at once. Beyond it one that Ward gave a client by itself gives way: who has addresses enough must not keep
	// a service from being cut off, nor a person from acting.
	maxAnswers = 10_000
)

// target is what a restriction is about, as the database tells them apart.
func target(r *wire.Restriction) string {
	if r.Service != "" {
		return "service " + r.Service
	}
	return "client " + r.Client.String()
}

// Restrict puts an answer into force; what Ward gives by itself doesn't weaken one that stands. A zero Until takes the usual life.
func (b *Inbox) Restrict(ctx context.Context, r wire.Restriction) (wire.Restriction, bool, error) {
	now := b.clock.Now()
	b.mu.Lock()
	have, ok := b.answers[target(&r)]
	b.mu.Unlock()
	if ok && r.By == "" && now.Before(have.Until) && (!have.Slow || r.Slow) && (r.Until.IsZero() || !r.Until.After(have.Until)) {
		return have, false, nil
	}
	r.ID = answerID()
	err := b.db.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		until := r.Until
		if until.IsZero() {
			life, err := nextLife(ctx, tx, &r, now)
			if err != nil {
				return err
			}
			until = now.Add(life)
		}
		kept := r
		kept.Until = until
		if r.By != "" { // what it takes the place of doesn't come back with a restart
			if _, err := tx.Exec(ctx, "UPDATE watch_restriction SET until = ? WHERE target = ? AND until > ?", now.UnixMicro(), target(&r), now.UnixMicro()); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "INSERT INTO watch_restriction (id, target, began, until, body) VALUES (?, ?, ?, ?, ?)", r.ID, target(&r), now.UnixMicro(), until.UnixMicro(), marshal(kept)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DELETE FROM watch_restriction WHERE until < ?", now.Add(-LongestAnswer).UnixMicro())
		r.Until = until
		return err
	})
	if err != nil {
		return r, false, fmt.Errorf("keep answer: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(r)
	b.tell()
	return r, true, nil
}

// put puts an answer in place of what stood; b.mu is held.
func (b *Inbox) put(r wire.Restriction) {
	if _, stood := b.answers[target(&r)]; !stood && len(b.answers) >= maxAnswers {
		for k, a := range b.answers {
			if a.Service == "" && a.By == "" {
				delete(b.answers, k)
				break
			}
		}
	}
	b.answers[target(&r)] = r
}

// nextLife is how long an answer lasts, from how long those before did.
func nextLife(ctx context.Context, tx *store.Tx, r *wire.Restriction, now time.Time) (time.Duration, error) {
	if r.Service != "" {
		return LongestAnswer, nil
	}
	rows, err := tx.Query(ctx, "SELECT began, until FROM watch_restriction WHERE target = ? AND until > ? ORDER BY until DESC LIMIT 1", target(r), now.Add(-24*time.Hour).UnixMicro())
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }() // rows.Err says what is wrong
	life := blockLeast
	for rows.Next() {
		var began, until int64
		if err := rows.Scan(&began, &until); err != nil {
			return 0, err
		}
		life = min(max(2*time.Duration(until-began)*time.Microsecond, blockLeast), blockMost)
	}
	return life, rows.Err()
}

// Lift ends an answer before its time.
func (b *Inbox) Lift(ctx context.Context, id string) (wire.Restriction, error) {
	var r wire.Restriction
	b.mu.Lock()
	for _, a := range b.answers {
		if a.ID == id {
			r = a
		}
	}
	if r.ID == "" {
		b.mu.Unlock()
		return r, fault.New(fault.NotFound, fmt.Sprintf("no answer %.40q is in force", id))
	}
	delete(b.answers, target(&r))
	b.tell()
	b.mu.Unlock()
	now := b.clock.Now()
	err := b.db.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		// What was taken back doesn't count against the next one, and what it had taken the place of doesn't come back with a restart.
		_, err := tx.Exec(ctx, "DELETE FROM watch_restriction WHERE target = ? AND until > ?", target(&r), now.UnixMicro())
		return err
	})
	if err != nil {
		return r, fmt.Errorf("lift answer: %w", err)
	}
	r.Until = now
	return r, nil
}

// Restrictions are those in force, and a channel that is closed at the next change.
func (b *Inbox) Restrictions() (wire.Restrictions, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	out := wire.Restrictions{Sequence: b.sequence}
	for _, r := range b.answers {
		if now.Before(r.Until) {
			out.All = append(out.All, r)
		}
	}
	slices.SortFunc(out.All, byTime)
	return out, b.changed
}

// Quarantined tells whether a service is cut off.
func (b *Inbox) Quarantined(service string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	r, ok := b.answers[target(&wire.Restriction{Service: service})]
	return ok && service != "" && now.Before(r.Until)
}

// dropEnded forgets answers that have ended, and says so to who follows.
func (b *Inbox) dropEnded(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.answers)
	maps.DeleteFunc(b.answers, func(_ string, r wire.Restriction) bool { return !now.Before(r.Until) })
	if len(b.answers) != n {
		b.tell()
	}
}

// tell wakes who follows; b.mu is held.
func (b *Inbox) tell() {
	b.sequence++
	close(b.changed)
	b.changed = make(chan struct{})
}

func answerID() string {
	x := make([]byte, 5)
	_, _ = rand.Read(x) // never returns an error (crypto/rand)
	return "a-" + strings.ToLower(base32.StdEncoding.EncodeToString(x))
}

// byTime orders answers, the latest end first.
func byTime(a, b wire.Restriction) int {
	return cmp.Or(b.Until.Compare(a.Until), strings.Compare(a.ID, b.ID))
}
