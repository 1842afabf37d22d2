package notify

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/model"
)

// heartbeat asks for a URL while Ward lives: who watches it there raises the alarm when it no longer comes. The zero value is none.
type heartbeat struct {
	mu     sync.Mutex // guards what follows
	url    string
	every  time.Duration
	client *http.Client
	last   time.Time // the last try
	state  Status
}

const heartbeatEvery = time.Minute

// set says where to, and how often.
func (h *heartbeat) set(m model.Heartbeat, way Way) error {
	host := ""
	if m.URL != "" {
		u, err := address(m.URL)
		if err != nil {
			return fault.Wrap(fault.Invalid, "watch: heartbeat: "+err.Error(), err)
		}
		host = u.Host
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.url != m.URL {
		h.last, h.state = time.Time{}, Status{To: "heartbeat", Host: host}
	}
	h.url, h.every, h.client = m.URL, heartbeatEvery, noRedirects(way.Transport)
	if m.Every > 0 {
		h.every = time.Duration(m.Every) * time.Second
	}
	return nil
}

// run beats until ctx ends.
func (h *heartbeat) run(ctx context.Context, c clock.Clock, alive func() bool) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		h.step(ctx, c, alive)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// step beats if it is time to, and all parts of Ward live.
func (h *heartbeat) step(ending context.Context, c clock.Clock, alive func() bool) {
	now := c.Now()
	h.mu.Lock()
	url, client, due := h.url, h.client, h.url != "" && now.Sub(h.last) >= h.every
	h.mu.Unlock()
	if !due || !alive() {
		return
	}
	ctx, stop := context.WithTimeout(ending, patience)
	defer stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		err = &Failure{Text: "the URL can't be used"}
	} else {
		r.Header.Set("User-Agent", "ward")
		err = do(client, r, c)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.url != url {
		return
	}
	h.last = now
	switch {
	case err == nil:
		h.state.Sent, h.state.Error = now, ""
	case ending.Err() != nil: // Ward ends
	default:
		if h.state.Error == "" {
			slog.Warn("the heartbeat isn't taken", "host", h.state.Host, "error", err)
		}
		h.state.Failed, h.state.Error = now, err.Error()
	}
}

// status is how it is; on if there is one.
func (h *heartbeat) status() (s Status, on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state, h.url != ""
}
