package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// maxUsage bounds what is remembered of grants that no plan has any more.
const maxUsage = 200_000

// usage remembers when each grant was last used: without it, nobody dares to take one away.
type usage struct {
	path string

	mu    sync.Mutex
	state wire.UsageReport // guarded by mu
	dirty bool             // guarded by mu
}

// openUsage reads what was counted so far. What can't be read is set aside, and counting begins anew: then
// nothing counts as unused for a while, which harms nobody.
func openUsage(path string, now time.Time) (*usage, error) {
	u := &usage{path: path}
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("open usage: %w", err)
	default:
		if err := json.Unmarshal(b, &u.state); err != nil {
			slog.Error("counts of grants can't be read; counting begins anew", "error", err)
			if err := os.Rename(path, path+".bad"); err != nil {
				return nil, fmt.Errorf("open usage: %w", err)
			}
			u.state = wire.UsageReport{}
		}
	}
	if u.state.Since.IsZero() {
		u.state, u.dirty = wire.UsageReport{Since: now.UTC()}, true
	}
	if u.state.Grants == nil {
		u.state.Grants = map[string]wire.GrantUse{}
	}
	return u, nil
}

// expect begins to count for the grants of a plan that are new, and forgets those that it hasn't any more when
// there are too many of them.
func (u *usage) expect(p *plan.Plan, now time.Time) {
	if p == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	present := make(map[string]bool, len(p.Rules))
	for i := range p.Rules {
		key := wire.GrantKey(&p.Rules[i])
		present[key] = true
		g, ok := u.state.Grants[key]
		if !ok || g.Since.IsZero() || g.Gone {
			// A grant that was away begins anew: in between nobody could have used it.
			g.Since, g.Gone = now.UTC(), false
			u.state.Grants[key] = g
			u.dirty = true
		}
	}
	for key, g := range u.state.Grants {
		if present[key] {
			continue
		}
		if len(u.state.Grants) > maxUsage {
			delete(u.state.Grants, key)
		} else if !g.Gone {
			g.Gone = true
			u.state.Grants[key] = g
		}
		u.dirty = true
	}
}

func (u *usage) add(w wire.Usage, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, n := range w.Hits {
		g, ok := u.state.Grants[key]
		if !ok {
			if len(u.state.Grants) > maxUsage {
				continue
			}
			g.Since = now.UTC()
		}
		g.Count += n
		g.Last = now.UTC()
		u.state.Grants[key] = g
		u.dirty = true
	}
}

func (u *usage) report() wire.UsageReport {
	u.mu.Lock()
	defer u.mu.Unlock()
	return wire.UsageReport{Since: u.state.Since, Grants: maps.Clone(u.state.Grants)}
}

// save writes what has changed, as a whole or not at all. A crash loses the last seconds of counts, never the
// time when one began.
func (u *usage) save() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.dirty {
		return nil
	}
	b, err := json.Marshal(u.state)
	if err != nil {
		return fmt.Errorf("keep usage: %w", err)
	}
	tmp := u.path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("keep usage: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keep usage: %w", err)
	}
	if err := os.Rename(tmp, u.path); err != nil {
		return fmt.Errorf("keep usage: %w", err)
	}
	u.dirty = false
	return nil
}
