// Package notify tells people what was found: by Slack, Microsoft Teams, PagerDuty, ntfy, mail, or a signed webhook; and says again and again
// to a dead-man's switch that Ward lives.
//
// Guarantee: what is told follows from the findings that are open (Policy), so that a restart neither forgets one nor says it twice, but for a
// message whose receipt a crash hid; a message waits in the database until it is taken, refused for good, or a day old, and then that is said;
// channels don't wait for each other; redirects aren't followed; keys and secret URLs are in no error, log or row; what strangers chose can't
// name people, make links or markup. Bounded: messages, what waits, answers, time. Not guaranteed: that anybody reads it.
package notify

import (
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch/internal/inbox"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Bounds of what waits, and of tries.
const (
	lookEvery   = time.Second
	giveUp      = 24 * time.Hour
	maxWaiting  = 200 // messages of a channel
	firstWait   = time.Second
	longestWait = 10 * time.Minute
)

// Config is what a Notifier needs.
type Config struct {
	DB      *store.DB
	Clock   clock.Clock
	Open    func() []inbox.Finding    // all that are
	Answers func() []wire.Restriction // in force
	Alive   func() bool               // whether gateway and agent report
	Record  func(wire.Event)          // takes what was done to the ledger; must not block
	Way     Way                       // its Clock is set
}

// Notifier tells. Its methods are safe for concurrent use.
type Notifier struct {
	config Config
	flush  sync.Mutex // held while the database is written

	mu       sync.Mutex
	channels []*channel        // guarded by mu, and so is what is in them
	saved    map[string]*state // guarded by mu: of channels, before a plan is in force
	changed  chan struct{}     // guarded by mu: closed and replaced when channels are others
	app      string            // guarded by mu
	console  string            // guarded by mu: its origin, "" if it isn't behind the gateway
	stale    bool              // guarded by mu: the database may have channels that are gone
	beat     heartbeat         // has its own lock
}

// channel is one with what waits for it.
type channel struct {
	id, to, host string
	sends        Channel
	policy       *Policy
	state        *state
	wake         chan struct{}
	failures     int // in a row
}

// state is what outlives a process.
type state struct {
	Told   map[int64]Telling `json:"told"`
	Status Status            `json:"status"`
	queue  []Message         // oldest first
	dirty  bool
}

// Status is how a channel is.
type Status struct {
	To      string    `json:"to"` // its kind
	Host    string    `json:"host"`
	Sent    time.Time `json:"sent,omitzero"`   // the last message that was taken
	Failed  time.Time `json:"failed,omitzero"` // the last try that wasn't
	Error   string    `json:"error,omitempty"` // why; "" if the last try succeeded
	Waiting int       `json:"waiting"`
	Lost    int64     `json:"lost,omitempty"` // messages that were given up
}

// Open reads what waits. Nothing is told until SetPlan, and Run.
func Open(ctx context.Context, c Config) (*Notifier, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open notifications: %w", err)
	}
	if err := c.DB.Migrate(ctx, "notify", files); err != nil {
		return nil, fmt.Errorf("open notifications: %w", err)
	}
	c.Way.Clock = c.Clock
	n := &Notifier{config: c, changed: make(chan struct{})}
	if n.saved, err = load(ctx, c.DB); err != nil {
		return nil, fmt.Errorf("open notifications: %w", err)
	}
	return n, nil
}

// SetPlan puts into force whom ward.yaml names; files are those that it names. A channel that stays keeps what waits for it. An error is
// fault.Invalid, and then nothing has changed.
func (n *Notifier) SetPlan(app, console string, w *model.Watch, files map[string][]byte) error {
	var next []*channel
	for i := range w.Notify {
		t := &w.Notify[i]
		sends, host, err := newChannel(t, files, n.config.Way)
		if err != nil {
			return fault.Wrap(fault.Invalid, "watch: notify: "+err.Error(), err)
		}
		terms, err := termsOf(app, t)
		if err != nil {
			return fault.Wrap(fault.Invalid, "watch: notify: "+err.Error(), err)
		}
		c := &channel{id: identity(t), to: t.To, host: host, sends: sends, policy: NewPolicy(terms, nil), wake: make(chan struct{}, 1)}
		if slices.ContainsFunc(next, func(o *channel) bool { return o.id == c.id }) {
			return fault.New(fault.Invalid, fmt.Sprintf("watch: notify: %s at %s is named twice", c.to, c.host))
		}
		next = append(next, c)
	}
	if err := n.beat.set(w.Heartbeat, n.config.Way); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.console = console
	for _, c := range next {
		if c.state = n.saved[c.id]; c.state == nil {
			c.state = &state{}
		}
		if i := slices.IndexFunc(n.channels, func(o *channel) bool { return o.id == c.id }); i >= 0 {
			c.state, c.wake = n.channels[i].state, n.channels[i].wake
			c.policy.paces = n.channels[i].policy.paces
		}
		if c.state.Told == nil {
			c.state.Told = map[int64]Telling{}
		}
		c.policy.told = c.state.Told
		c.state.Status.To, c.state.Status.Host = c.to, c.host
		c.state.dirty = true
	}
	n.channels, n.app, n.saved, n.stale = next, app, nil, true
	close(n.changed)
	n.changed = make(chan struct{})
	return nil
}

// identity tells channels apart, whatever their keys are.
func identity(t *model.Notify) string {
	h := sha256.Sum256([]byte(strings.Join([]string{t.To, t.URL, t.URLFile, t.Host, t.Address, t.SMTP}, "\x00")))
	return t.To + "-" + hex.EncodeToString(h[:8])
}

// Run tells until ctx ends; what waits then goes on waiting.
func (n *Notifier) Run(ctx context.Context) {
	var owned sync.WaitGroup
	defer owned.Wait()
	owned.Go(func() { n.beat.run(ctx, n.config.Clock, n.config.Alive) })
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	running := map[string]context.CancelFunc{}
	for {
		n.mu.Lock()
		all, changed := slices.Clone(n.channels), n.changed
		n.mu.Unlock()
		stays := map[string]bool{}
		for _, c := range all {
			if stays[c.id] = true; running[c.id] == nil {
				run, stop := context.WithCancel(ctx)
				running[c.id] = stop
				owned.Go(func() { n.deliver(run, c.id, c.wake) })
			}
		}
		for id, stop := range running {
			if !stays[id] {
				stop()
				delete(running, id)
			}
		}
		n.step(ctx)
		select {
		case <-t.C:
		case <-changed:
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			return
		}
	}
}

// step queues what is to be told now.
func (n *Notifier) step(ctx context.Context) {
	open, now := n.config.Open(), n.config.Clock.Now()
	n.mu.Lock()
	for _, c := range n.channels {
		messages, changed := c.policy.Step(open, now)
		n.explain(messages)
		c.state.dirty = c.state.dirty || changed
		c.state.queue = append(c.state.queue, messages...)
		spare := len(c.state.queue) - maxWaiting
		n.lose(c, "they waited for a day, or more than can wait", func(m *Message) bool {
			spare--
			return spare >= 0 || now.Sub(m.Time) >= giveUp
		})
	}
	n.mu.Unlock()
	n.keep(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.channels {
		if len(c.state.queue) > 0 {
			select {
			case c.wake <- struct{}{}:
			default:
			}
		}
	}
}

// explain says what was done about findings, and where their pages are; n.mu is held.
func (n *Notifier) explain(messages []Message) {
	var standing []wire.Restriction
	if len(messages) > 0 {
		standing = n.config.Answers()
	}
	for i := range messages {
		for _, all := range [][]Item{messages[i].Items, messages[i].Also} {
			for k := range all {
				var of []wire.Restriction
				for _, r := range standing {
					if r.Finding == all[k].ID {
						of = append(of, r)
					}
				}
				all[k].Done = done(of)
				if n.console != "" {
					all[k].Link = fmt.Sprintf("%s/findings/%d", n.console, all[k].ID)
				}
			}
		}
	}
}

// deliver sends what waits for a channel until ctx ends.
func (n *Notifier) deliver(ctx context.Context, id string, wake <-chan struct{}) {
	for ctx.Err() == nil {
		pause, tried := n.try(ctx, id)
		if !tried {
			select {
			case <-wake:
			case <-ctx.Done():
			}
			continue
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// try sends what a channel's oldest message is, and says how long to wait with the next one.
func (n *Notifier) try(ctx context.Context, id string) (pause time.Duration, tried bool) {
	sends, m := n.first(id)
	if m == nil {
		return 0, false
	}
	try, stop := context.WithTimeout(ctx, patience)
	defer stop()
	err := sends.Send(try, m)
	if ctx.Err() != nil {
		return 0, true // it isn't known whether it was taken
	}
	pause = n.settle(id, m, err)
	n.keep(ctx)
	return pause, true
}

// first is what a channel sends next, or nil.
func (n *Notifier) first(id string) (Channel, *Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.find(id)
	if c == nil || len(c.state.queue) == 0 {
		return nil, nil
	}
	m := c.state.queue[0]
	return c.sends, &m
}

func (n *Notifier) find(id string) *channel {
	if i := slices.IndexFunc(n.channels, func(c *channel) bool { return c.id == id }); i >= 0 {
		return n.channels[i]
	}
	return nil
}

// settle notes what became of a try, and says how long to wait with the next one.
func (n *Notifier) settle(id string, m *Message, err error) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.find(id)
	if c == nil {
		return 0
	}
	now := n.config.Clock.Now()
	s := &c.state.Status
	c.state.dirty = true
	if err == nil {
		c.failures = 0
		s.Sent, s.Error = now, ""
		c.drop(func(x *Message) bool { return x.ID == m.ID })
		n.config.Record(c.event("notify.sent", map[string]string{"message": m.ID, "kind": string(m.Kind), "findings": fmt.Sprint(m.Count)}))
		return 0
	}
	f := &Failure{Text: "it failed", Again: true}
	_ = errors.As(err, &f)
	c.failures++
	s.Failed, s.Error = now, f.Text
	if !f.Again {
		n.lose(c, f.Text, func(x *Message) bool { return x.ID == m.ID })
		return 0
	}
	if c.failures == 1 {
		slog.Warn("notification not taken; it is tried again", "to", c.to, "host", c.host, "error", f.Text)
		n.config.Record(c.event("notify.failed", map[string]string{"message": m.ID, "error": f.Text}))
	}
	return cmp.Or(min(f.After, maxAfter), min(firstWait<<min(c.failures-1, 20), longestWait))
}

// lose gives messages up, and says so; n.mu is held.
func (n *Notifier) lose(c *channel, why string, which func(*Message) bool) {
	lost := c.drop(which)
	if lost == 0 {
		return
	}
	c.state.dirty = true
	c.state.Status.Lost += int64(lost)
	slog.Error("notifications are given up", "to", c.to, "host", c.host, "messages", lost, "error", why)
	n.config.Record(c.event("notify.failed", map[string]string{"given_up": fmt.Sprint(lost), "error": why}))
}

// drop takes messages out of what waits, and says how many.
func (c *channel) drop(which func(*Message) bool) int {
	before := len(c.state.queue)
	c.state.queue = slices.DeleteFunc(c.state.queue, func(m Message) bool { return which(&m) })
	return before - len(c.state.queue)
}

// event is one for the ledger: the kind of channel and its host, and no more of it.
func (c *channel) event(kind string, detail map[string]string) wire.Event {
	return wire.Event{Kind: kind, Subject: "watch", Object: c.to + " " + c.host, Detail: detail}
}

// Status is how the channels are, in the order of ward.yaml, and the heartbeat last.
func (n *Notifier) Status() []Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := []Status{}
	for _, c := range n.channels {
		s := c.state.Status
		s.Waiting = len(c.state.queue)
		out = append(out, s)
	}
	if s, on := n.beat.status(); on {
		out = append(out, s)
	}
	return out
}

// Test sends a message to every channel, or to those of one kind, now; the answer says of each what came of it.
func (n *Notifier) Test(ctx context.Context, to string) ([]Status, error) {
	n.mu.Lock()
	all := slices.DeleteFunc(slices.Clone(n.channels), func(c *channel) bool { return to != "" && c.to != to })
	m := Message{ID: newID(), Kind: Tried, App: n.app, Severity: finding.Low, Time: n.config.Clock.Now()}
	n.mu.Unlock()
	if len(all) == 0 {
		return nil, fault.New(fault.NotFound, "ward.yaml names nobody to tell (of this kind); write watch: {notify: ...}")
	}
	out := make([]Status, len(all))
	var sending sync.WaitGroup
	for i, c := range all {
		sending.Go(func() {
			try, stop := context.WithTimeout(ctx, patience)
			defer stop()
			now := n.config.Clock.Now()
			if err := c.sends.Send(try, &m); err != nil {
				out[i] = Status{To: c.to, Host: c.host, Failed: now, Error: err.Error()}
			} else {
				out[i] = Status{To: c.to, Host: c.host, Sent: now}
			}
		})
	}
	sending.Wait()
	for i, c := range all {
		kind, detail := "notify.sent", map[string]string{"message": m.ID, "kind": string(m.Kind)}
		if out[i].Error != "" {
			kind, detail["error"] = "notify.failed", out[i].Error
		}
		n.config.Record(c.event(kind, detail))
	}
	return out, nil
}

// load reads what the database has.
func load(ctx context.Context, db *store.DB) (map[string]*state, error) {
	var out map[string]*state
	err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		out = map[string]*state{}
		for _, q := range []string{"SELECT id, '', body FROM notify_channel", "SELECT channel, id, body FROM notify_message ORDER BY made, number"} {
			r, err := tx.Query(ctx, q)
			if err != nil {
				return err
			}
			for r.Next() {
				var id, message, body string
				if err := r.Scan(&id, &message, &body); err != nil {
					return err
				}
				s := out[id]
				if s == nil {
					s = &state{}
					out[id] = s
				}
				into, m := any(s), Message{}
				if message != "" {
					into = &m
				}
				if err := json.Unmarshal([]byte(body), into); err != nil {
					return fmt.Errorf("read what waits for %s: %w", id, err)
				}
				if message != "" {
					s.queue = append(s.queue, m)
				}
			}
			if err := errors.Join(r.Err(), r.Close()); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// keep brings what has changed to the database. What can't be kept is told nevertheless.
func (n *Notifier) keep(ctx context.Context) {
	n.flush.Lock()
	defer n.flush.Unlock()
	type row struct {
		id, body string
		queue    []Message
	}
	n.mu.Lock()
	var rows []row
	known := []any{""}
	for _, c := range n.channels {
		known = append(known, c.id)
		if c.state.dirty {
			c.state.dirty = false
			rows = append(rows, row{c.id, marshal(c.state), slices.Clone(c.state.queue)})
		}
	}
	stale := n.stale
	n.stale = false
	n.mu.Unlock()
	if len(rows) == 0 && !stale {
		return
	}
	err := n.config.DB.Write(context.WithoutCancel(ctx), func(ctx context.Context, tx *store.Tx) error {
		marks := strings.TrimSuffix(strings.Repeat("?, ", len(known)), ", ")
		for _, q := range []string{"DELETE FROM notify_channel WHERE id NOT IN (" + marks + ")", "DELETE FROM notify_message WHERE channel NOT IN (" + marks + ")"} {
			if _, err := tx.Exec(ctx, q, known...); err != nil {
				return err
			}
		}
		for _, r := range rows {
			if _, err := tx.Exec(ctx, "INSERT INTO notify_channel (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body", r.id, r.body); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "DELETE FROM notify_message WHERE channel = ?", r.id); err != nil {
				return err
			}
			for i := range r.queue {
				m := &r.queue[i]
				if _, err := tx.Exec(ctx, "INSERT INTO notify_message (id, channel, made, number, body) VALUES (?, ?, ?, ?, ?)", m.ID, r.id, m.Time.UnixMicro(), i, marshal(m)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		slog.Error("notifications not kept", "error", err)
	}
}

// marshal writes JSON, without longer forms for signs of HTML. It can't fail: what is written has no type that JSON lacks.
func marshal(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// noRedirects is a client that goes nowhere but where it was sent.
func noRedirects(t http.RoundTripper) *http.Client {
	return &http.Client{Transport: t, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
