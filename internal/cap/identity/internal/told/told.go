// Package told keeps what gateways and agents are told of people, so that they decide without control: the keys that
// verify tokens, and what has ended before its time.
//
// Guarantee: what End acknowledged is told to every follower at once, and again after a restart, until nothing of it
// could still be valid; a key is told to the agents before Publish returns, as long as they follow.
package told

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Life is how long an ended session or token is told of: as long as an access token may live, and more.
const Life = 2 * time.Hour

// maxKeys bounds the gateways' keys; the newest are kept.
const maxKeys = 8

// longPoll is how long a follower waits for something newer; publishWait is how long Publish waits for the agents.
const (
	longPoll    = 25 * time.Second
	publishWait = 2 * time.Second
)

// Config is what a Board needs.
type Config struct {
	DB    *store.DB
	Clock clock.Clock
	// Issuer is that of access tokens, as it is now.
	Issuer func() string
	// TokenKeys is the JWKS of access tokens as it is now.
	TokenKeys func() json.RawMessage
	// Foreign are the declared authorities as they are now; may be nil.
	Foreign func() []wire.ForeignIssuer
}

// Board is what is told. Its methods are safe for concurrent use.
type Board struct {
	config Config

	mu       sync.Mutex
	sequence uint64               // guarded by mu
	ended    map[string]time.Time // guarded by mu: until when it is told
	renewed  map[string]time.Time // guarded by mu: until when it is told
	keys     map[string]key       // guarded by mu: by kid
	changed  chan struct{}        // guarded by mu: closed and replaced at each change
	agent    uint64               // guarded by mu: the newest sequence that an agent has
}

type key struct {
	jwk  json.RawMessage
	made time.Time
}

// Open reads the board's tables.
func Open(ctx context.Context, c Config) (*Board, error) {
	b := &Board{
		config: c, ended: map[string]time.Time{}, renewed: map[string]time.Time{}, keys: map[string]key{}, changed: make(chan struct{}),
		sequence: uint64(c.Clock.Now().UnixMicro()), // grows over restarts
	}
	if err := c.DB.Migrate(ctx, "told", sub()); err != nil {
		return nil, err
	}
	err := c.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := each(ctx, tx, `SELECT id, until FROM told_ended`, func(id string, until int64) {
			b.ended[id] = time.UnixMicro(until)
		}); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT kid, jwk, made FROM told_key`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var kid, jwk string
			var made int64
			if err := rows.Scan(&kid, &jwk, &made); err != nil {
				return err
			}
			b.keys[kid] = key{json.RawMessage(jwk), time.UnixMicro(made)}
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("open board: %w", err)
	}
	return b, nil
}

func each(ctx context.Context, tx *store.Tx, query string, f func(string, int64)) error {
	rows, err := tx.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var n int64
		if err := rows.Scan(&id, &n); err != nil {
			return err
		}
		f(id, n)
	}
	return rows.Err()
}

// bump needs b.mu.
func (b *Board) bump() {
	b.sequence++
	close(b.changed)
	b.changed = make(chan struct{})
}

// Refresh tells followers to look again: the keys of access tokens have changed.
func (b *Board) Refresh() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bump()
}

// End tells that sessions or tokens have ended. It returns when that is durable; followers hear of it even if it is not.
func (b *Board) End(ctx context.Context, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	now := b.config.Clock.Now()
	until := now.Add(Life)
	b.mu.Lock()
	for id, end := range b.ended {
		if now.After(end) {
			delete(b.ended, id)
		}
	}
	for _, id := range ids {
		b.ended[id] = until
	}
	b.bump()
	b.mu.Unlock()
	err := b.config.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM told_ended WHERE until < ?`, now.UnixMicro()); err != nil {
			return err
		}
		for _, id := range ids {
			if _, err := tx.Exec(ctx, `INSERT INTO told_ended (id, until) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET until = excluded.until`, id, until.UnixMicro()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tell of ends: %w", err)
	}
	return nil
}

// Renew tells that sessions have to be asked about again. It isn't kept: a gateway that wasn't there remembers nothing.
func (b *Board) Renew(ids ...string) {
	now := b.config.Clock.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, until := range b.renewed {
		if now.After(until) {
			delete(b.renewed, id)
		}
	}
	for _, id := range ids {
		b.renewed[id] = now.Add(time.Minute)
	}
	if len(ids) > 0 {
		b.bump()
	}
}

// HasEnded tells whether a session or token has ended before its time.
func (b *Board) HasEnded(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, over := b.ended[id]
	return over && id != ""
}

// Publish takes a gateway's public key, and returns when the agents have it (or don't follow).
func (b *Board) Publish(ctx context.Context, jwk json.RawMessage) error {
	k, err := jose.ParseJWK(jwk)
	if err != nil || k.Alg != jose.EdDSA || k.ID == "" {
		return fault.Wrap(fault.Invalid, "not a public Ed25519 key with a kid", err)
	}
	now := b.config.Clock.Now()
	b.mu.Lock()
	b.keys[k.ID] = key{jwk, now}
	gone := b.oldest()
	b.bump()
	want := b.sequence
	b.mu.Unlock()
	err = b.config.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, kid := range gone {
			if _, err := tx.Exec(ctx, `DELETE FROM told_key WHERE kid = ?`, kid); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `INSERT INTO told_key (kid, jwk, made) VALUES (?, ?, ?) ON CONFLICT (kid) DO NOTHING`, k.ID, string(jwk), now.UnixMicro())
		return err
	})
	if err != nil {
		return fmt.Errorf("publish key: %w", err)
	}
	b.awaitAgent(ctx, want)
	return nil
}

// oldest takes out the keys beyond maxKeys, and needs b.mu.
func (b *Board) oldest() (gone []string) {
	kids := slices.SortedFunc(maps.Keys(b.keys), func(x, y string) int { return b.keys[y].made.Compare(b.keys[x].made) })
	for _, kid := range kids[min(maxKeys, len(kids)):] {
		delete(b.keys, kid)
		gone = append(gone, kid)
	}
	return gone
}

func (b *Board) awaitAgent(ctx context.Context, want uint64) {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for {
		b.mu.Lock()
		has := b.agent >= want
		b.mu.Unlock()
		if has {
			return
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// Follow returns the state once it is newer than have, or after a while. An agent that asks has what it names.
func (b *Board) Follow(ctx context.Context, have string, agent bool) (wire.UserState, error) {
	n, _ := strconv.ParseUint(have, 10, 64) // "" is 0: nothing yet
	limit := time.NewTimer(longPoll)
	defer limit.Stop()
	for {
		b.mu.Lock()
		if agent {
			b.agent = max(b.agent, min(n, b.sequence))
		}
		s, changed, fresh := b.state(), b.changed, b.sequence != n
		b.mu.Unlock()
		if fresh {
			return s, nil
		}
		select {
		case <-changed:
		case <-limit.C:
			return s, nil
		case <-ctx.Done():
			return s, nil
		}
	}
}

// state needs b.mu.
func (b *Board) state() wire.UserState {
	s := wire.UserState{Sequence: b.sequence, Issuer: b.config.Issuer(), TokenKeys: b.config.TokenKeys(), Ended: slices.Sorted(maps.Keys(b.ended)), Renewed: slices.Sorted(maps.Keys(b.renewed))}
	if b.config.Foreign != nil {
		s.Foreign = b.config.Foreign()
	}
	var keys []json.RawMessage
	for _, kid := range slices.Sorted(maps.Keys(b.keys)) {
		keys = append(keys, b.keys[kid].jwk)
	}
	if keys == nil {
		keys = []json.RawMessage{}
	}
	s.TxnKeys, _ = json.Marshal(map[string]any{"keys": keys}) // valid JSON within valid JSON
	return s
}

// Keys is the JWKS of transaction tokens, for services.
func (b *Board) Keys() json.RawMessage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state().TxnKeys
}

func sub() fs.FS {
	f, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // embedded
	}
	return f
}
