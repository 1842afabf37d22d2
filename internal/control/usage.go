package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/wire"
)

// usage remembers when each grant was last used: without it, nobody dares to take one away.
type usage struct {
	path string

	mu    sync.Mutex
	state wire.UsageReport // guarded by mu
	dirty bool             // guarded by mu
}

func openUsage(path string) (*usage, error) {
	u := &usage{path: path, state: wire.UsageReport{Grants: map[string]wire.GrantUse{}}}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		u.state.Since = time.Now().UTC()
		return u, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &u.state)
	}
	if err != nil {
		return nil, fmt.Errorf("open usage: %w", err)
	}
	if u.state.Grants == nil {
		u.state.Grants = map[string]wire.GrantUse{}
	}
	return u, nil
}

func (u *usage) add(w wire.Usage, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, n := range w.Hits {
		g := u.state.Grants[key]
		g.Count += n
		g.Last = now.UTC()
		u.state.Grants[key] = g
		u.dirty = true
	}
}

func (u *usage) report() wire.UsageReport {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := wire.UsageReport{Since: u.state.Since, Grants: map[string]wire.GrantUse{}}
	for k, v := range u.state.Grants {
		out.Grants[k] = v
	}
	return out
}

func (u *usage) save() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.dirty && u.state.Since.IsZero() {
		return nil
	}
	b, err := json.Marshal(u.state)
	if err != nil {
		return fmt.Errorf("keep usage: %w", err)
	}
	tmp := u.path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("keep usage: %w", err)
	}
	if err := os.Rename(tmp, u.path); err != nil {
		return fmt.Errorf("keep usage: %w", err)
	}
	u.dirty = false
	return nil
}
