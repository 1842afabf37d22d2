// Package backchannel tells clients of sessions that ended (OpenID Connect Back-Channel Logout 1.0).
//
// Guarantee: what was put into the queue is sent until the client took it or ten minutes are over, also across restarts;
// nothing is sent to another address than the client has at that moment, redirects aren't followed, and a client that
// hangs holds up no other for more than its timeout. Not guaranteed: that it is sent only once.
package backchannel

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Bounds.
const (
	timeout = 5 * time.Second
	life    = 10 * time.Minute // until it is given up
	claim   = time.Minute      // a replica that took one has so long for it
	batch   = 32
	atOnce  = 8
	maxBody = 64 << 10
)

// Note tells a client that a session of a person ended.
type Note struct{ Client, URI, Person, Session string }

// Config is what a Queue needs.
type Config struct {
	DB    *store.DB
	Clock clock.Clock
	Log   *slog.Logger
	// URI is where a client wants to hear of it now; "" for nowhere.
	URI func(ctx context.Context, client string) (string, error)
	// Token makes the logout token.
	Token func(ctx context.Context, n Note) (string, error)
	// Record says how it ended.
	Record func(n Note, sent bool)
	// Transport carries requests; nil for a plain one without a proxy.
	Transport http.RoundTripper
}

// Queue is the notes that are to be sent. Its methods are safe for concurrent use.
type Queue struct {
	Config
	calls *http.Client
	wake  chan struct{}
}

// Open prepares the tables.
func Open(ctx context.Context, c Config) (*Queue, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open back channel: %w", err)
	}
	if err := c.DB.Migrate(ctx, "backchannel", files); err != nil {
		return nil, fmt.Errorf("open back channel: %w", err)
	}
	if c.Transport == nil {
		c.Transport = &http.Transport{MaxIdleConns: 16, IdleConnTimeout: time.Minute}
	}
	return &Queue{Config: c, wake: make(chan struct{}, 1), calls: &http.Client{
		Transport: c.Transport, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Put puts notes into the queue, as part of a transaction.
func (q *Queue) Put(ctx context.Context, tx *store.Tx, notes []Note) error {
	now := q.Clock.Now()
	for _, n := range notes {
		sum := sha256.Sum256([]byte(n.Client + " " + n.Session))
		if _, err := tx.Exec(ctx, "INSERT INTO backchannel_logout (id, client, uri, person, session, tries, next_at, expires) VALUES (?, ?, ?, ?, ?, 0, ?, ?) ON CONFLICT DO NOTHING",
			base64.RawURLEncoding.EncodeToString(sum[:]), n.Client, n.URI, n.Person, n.Session, now.UnixMicro(), now.Add(life).UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}

// Wake has Run look at once.
func (q *Queue) Wake() {
	select {
	case q.wake <- struct{}{}:
	default: // it is awake
	}
}

// Run sends what is due until ctx ends.
func (q *Queue) Run(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if err := q.Send(ctx); err != nil && ctx.Err() == nil {
			q.Log.ErrorContext(ctx, "logouts were not sent", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		case <-q.wake:
		}
	}
}

// waiting is a note in the queue.
type waiting struct {
	Note
	id      string
	tries   int
	expires time.Time
}

// Send sends what is due, a few at a time, and waits for them.
func (q *Queue) Send(ctx context.Context) error {
	due, err := q.take(ctx)
	if err != nil {
		return fmt.Errorf("read logouts: %w", err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex // guards failed
	var failed error
	slots := make(chan struct{}, atOnce)
	for _, n := range due {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			err := q.settle(ctx, n, q.send(ctx, n))
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, err)
		})
	}
	all.Wait()
	return failed
}

// take takes what is due, so that no replica does.
func (q *Queue) take(ctx context.Context) ([]waiting, error) {
	now := q.Clock.Now()
	n := 0
	err := q.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error { // cheaper than Write, every second
		return tx.QueryRow(ctx, "SELECT count(*) FROM backchannel_logout WHERE next_at <= ?", now.UnixMicro()).Scan(&n)
	})
	if err != nil || n == 0 {
		return nil, err
	}
	var due []waiting
	err = q.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		due = nil
		rows, err := tx.Query(ctx, `UPDATE backchannel_logout SET next_at = ?, tries = tries + 1
			WHERE id IN (SELECT id FROM backchannel_logout WHERE next_at <= ? ORDER BY next_at LIMIT ?)
			RETURNING id, client, uri, person, session, tries, expires`, now.Add(claim).UnixMicro(), now.UnixMicro(), batch)
		if err != nil {
			return err
		}
		for rows.Next() {
			var w waiting
			var expires int64
			if err := rows.Scan(&w.id, &w.Client, &w.URI, &w.Person, &w.Session, &w.tries, &expires); err != nil {
				return err
			}
			w.expires = time.UnixMicro(expires)
			due = append(due, w)
		}
		return rows.Err()
	})
	return due, err
}

// settle forgets a note that was sent or given up, and puts off another.
func (q *Queue) settle(ctx context.Context, w waiting, failure error) error {
	next := q.Clock.Now().Add(time.Second << min(w.tries, 8))
	over := failure == nil || errors.Is(failure, errGone) || next.After(w.expires)
	if failure != nil && !over {
		q.Log.WarnContext(ctx, "a logout will be sent again", "client", w.Client, "tries", w.tries, "error", failure)
	}
	if over {
		q.Record(w.Note, failure == nil)
	}
	err := q.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		if over {
			_, err := tx.Exec(ctx, "DELETE FROM backchannel_logout WHERE id = ?", w.id)
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE backchannel_logout SET next_at = ? WHERE id = ?", next.UnixMicro(), w.id)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep a logout's outcome: %w", err)
	}
	return nil
}

// errGone says that a client doesn't want to hear of it any more.
var errGone = errors.New("the client has another address or is gone")

// send sends one, to nowhere but the address that the client has now.
func (q *Queue) send(ctx context.Context, w waiting) error {
	uri, err := q.URI(ctx, w.Client)
	if err != nil {
		return err
	}
	if uri != w.URI {
		return errGone
	}
	token, err := q.Token(ctx, w.Note)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, uri, strings.NewReader(url.Values{"logout_token": {token}}.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := q.calls.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxBody) // so that the connection can be used again
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the client answered %d", resp.StatusCode)
	}
	return nil
}
