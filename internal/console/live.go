package console

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch"
)

// Limits of what consoles hear.
const (
	maxOpen   = 100             // consoles that listen
	maxOwn    = 20              // of one person's
	liveEvery = 2 * time.Second // between looks at what is new
	beatEvery = 20 * time.Second
	// peopleEvery is how long people may be shown as they were: that they come and go makes no record.
	peopleEvery = 5 * time.Second
)

// news are the versions of what pages show: another version is something new.
type news map[string]uint64

// live tells all open consoles what is new; one goroutine looks for all of them.
type live struct {
	mu     sync.Mutex
	open   int            // guarded by mu
	own    map[string]int // guarded by mu: of open, by person
	latest []byte         // guarded by mu: the news as JSON
	told   chan struct{}  // guarded by mu: closed and replaced with each change
}

func newLive() *live {
	return &live{own: map[string]int{}, latest: []byte("{}"), told: make(chan struct{})}
}

// enter makes room for one more listener of a person; exit gives it back.
func (l *live) enter(who string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= maxOpen || l.own[who] >= maxOwn {
		return false
	}
	l.open++
	l.own[who]++
	return true
}

func (l *live) exit(who string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.own[who]--; l.own[who] == 0 {
		delete(l.own, who)
	}
}

func (l *live) read() (latest []byte, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latest, l.told
}

func (l *live) listeners() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// tell replaces the news, if they are others.
func (l *live) tell(n news) {
	b, err := json.Marshal(n)
	if err != nil {
		return // numbers can be written
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if string(b) == string(l.latest) {
		return
	}
	l.latest = b
	close(l.told)
	l.told = make(chan struct{})
}

// Run looks for what is new until ctx ends, while somebody listens.
func (c *Console) Run(ctx context.Context) {
	t := time.NewTicker(liveEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if c.live.listeners() > 0 {
			c.look(ctx)
		}
	}
}

// look computes what all consoles show, once.
func (c *Console) look(ctx context.Context) {
	n := news{}
	standing, _ := c.config.Standing.Restrictions()
	if p, err := c.draw(time.Time{}); err == nil {
		n["map"] = version(p)
	}
	if all, err := c.config.Inbox.List(ctx, watch.FindingQuery{}); err == nil {
		n["findings"] = version([]any{all, standing, c.config.Standing.Silences()})
	}
	if lines, err := c.config.Kept.Logs(ctx, watch.LogQuery{Limit: 1}); err == nil {
		n["logs"] = lines.Last
	}
	now := c.config.Clock.Now()
	n["traces"] = c.config.Kept.Spans()
	n["people"] = uint64(now.Unix() / int64(peopleEvery/time.Second))
	n["posture"] = version([]any{c.config.Plan(), standing, now.UTC().Format(time.DateOnly)})
	n["ledger"] = version([]any{c.config.Ledger.Status().Records, c.config.Checks.State(), c.config.Anchors()})
	c.live.tell(n)
}

// version is a number that another state doesn't have, as far as people can tell.
func version(of any) uint64 {
	h := fnv.New64a()
	if err := json.NewEncoder(h).Encode(of); err != nil {
		return 0
	}
	return h.Sum64() >> 12 // exact in JavaScript
}

// events tells a console what is new, as long as it is open and its session lasts (Server-Sent Events, WHATWG HTML 9.2).
func (d door) events(w http.ResponseWriter, r *http.Request) {
	s := d.who(r, false)
	if s == nil {
		d.fail(w, nil, errNobody)
		return
	}
	if !d.live.enter(s.Name) {
		d.fail(w, nil, fault.New(fault.Exhausted, fmt.Sprintf("%d consoles are open already, or %d of yours; this one shows news when it is opened again", maxOpen, maxOwn)))
		return
	}
	defer d.live.exit(s.Name)
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		latest, changed := d.live.read()
		_ = out.SetWriteDeadline(time.Now().Add(beatEvery)) // who doesn't read must not hold a place
		if _, err := fmt.Fprintf(w, "retry: 5000\ndata: %s\n\n", latest); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-beat.C:
		case <-r.Context().Done():
			return
		}
		if d.who(r, false) == nil {
			return
		}
	}
}
