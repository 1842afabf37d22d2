package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/wardhq/ward/internal/store"
)

// errStale says that a key has changed under a use, which begins again.
var errStale = errors.New("the key has changed")

// tally is what one use has done, before it counts.
type tally struct {
	key     *key
	version *version // the current one
	caller  Caller
	op      Op

	done, refused             int64
	sample                    *Item // one of them
	dataKeys, messages, bytes int64
	sealers                   []*sealer // not surely counted before
}

// item counts one, done or refused.
func (t *tally) item(it *Item, err error) {
	if err != nil {
		t.refused++
	} else {
		t.done++
	}
	t.sample = it
}

// wrapped counts a data key that stays here, once for each use that finds it uncounted: rather too often than not.
func (t *tally) wrapped(s *sealer) {
	if s.counted.Load() || slices.Contains(t.sealers, s) {
		return
	}
	t.sealers = append(t.sealers, s)
	t.dataKeys++
}

// counter makes uses durable, all that wait at once with one commit and one record.
type counter struct {
	commits func(context.Context, *group) error
	turn    chan struct{} // holds one while somebody commits

	mu   sync.Mutex // guards open
	open *group     // takes tallies; nil when there is none
}

func newCounter(commits func(context.Context, *group) error) *counter {
	return &counter{commits: commits, turn: make(chan struct{}, 1)}
}

// group is tallies that share a commit.
type group struct {
	uses   map[useRef]*Use
	spends map[*version]*spend
	keys   map[*key]bool // whether it is stale
	done   chan struct{}
	err    error // to be read after done
}

type useRef struct {
	key     *key
	service string
	op      Op
}

type spend struct {
	key *key
	Budget
}

// add returns when the tally is durable; errStale if its key wasn't the same any more, and then it isn't counted. Who finds no
// group begins one and commits it when the one before is through; it serves all who came meanwhile, whatever becomes of its ctx.
func (c *counter) add(ctx context.Context, t *tally) error {
	c.mu.Lock()
	g, leads := c.open, c.open == nil
	if leads {
		g = &group{uses: map[useRef]*Use{}, spends: map[*version]*spend{}, keys: map[*key]bool{}, done: make(chan struct{})}
		c.open = g
	}
	g.take(t)
	c.mu.Unlock()
	if leads {
		c.lead(context.WithoutCancel(ctx), g)
	}
	<-g.done
	if g.err != nil {
		return g.err
	}
	if g.keys[t.key] {
		return errStale
	}
	for _, s := range t.sealers {
		s.counted.Store(true)
	}
	return nil
}

func (c *counter) lead(ctx context.Context, g *group) {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	defer close(g.done)
	c.mu.Lock()
	c.open = nil
	c.mu.Unlock()
	g.err = errors.New("count use of key: the commit broke off") // if it panics
	g.err = c.commits(ctx, g)
}

// take merges a tally in; the counter's lock is held.
func (g *group) take(t *tally) {
	g.keys[t.key] = false
	for op, n := range map[Op]int64{t.op: t.done, t.op.refused(): t.refused} {
		if n == 0 {
			continue
		}
		ref := useRef{t.key, t.caller.Service, op}
		u := g.uses[ref]
		if u == nil {
			u = &Use{Key: t.key.name, Version: t.version.number, Service: t.caller.Service, Op: op, Instance: t.caller.Instance}
			if t.sample != nil {
				u.Class, u.Table, u.Column = t.sample.Context.Class, t.sample.Context.Table, t.sample.Context.Column
			}
			g.uses[ref] = u
		}
		u.Count += n
	}
	if t.dataKeys|t.messages == 0 {
		return
	}
	s := g.spends[t.version]
	if s == nil {
		s = &spend{key: t.key}
		g.spends[t.version] = s
	}
	s.DataKeys += t.dataKeys
	s.Messages += t.messages
	s.Bytes += t.bytes
}

// commit makes a group durable: first in the budgets and counts, if the keys are still what they were, then in the record.
func (r *Ring) commit(ctx context.Context, g *group) error {
	totals := map[*version]Budget{}
	now := r.config.Clock.Now().UnixMicro()
	err := r.config.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		// In one order everywhere, or replicas would lock each other.
		for _, k := range slices.SortedFunc(maps.Keys(g.keys), func(a, b *key) int { return cmp.Compare(a.name, b.name) }) {
			var generation int64
			if err := tx.QueryRow(ctx, "SELECT generation FROM keys_key WHERE name = ?", k.name).Scan(&generation); err != nil {
				return err
			}
			g.keys[k] = generation != k.generation
		}
		for _, v := range slices.SortedFunc(maps.Keys(g.spends), func(a, b *version) int { return slices.Compare(a.id[:], b.id[:]) }) {
			s := g.spends[v]
			if g.keys[s.key] {
				continue
			}
			var b Budget
			err := tx.QueryRow(ctx, "UPDATE keys_version SET data_keys = data_keys + ?, messages = messages + ?, bytes = bytes + ? WHERE id = ? RETURNING data_keys, messages, bytes",
				s.DataKeys, s.Messages, s.Bytes, v.id[:]).Scan(&b.DataKeys, &b.Messages, &b.Bytes)
			if err != nil {
				return err
			}
			totals[v] = b
		}
		for _, u := range g.sorted() {
			_, err := tx.Exec(ctx, `INSERT INTO keys_use (name, service, op, count, last_at) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (name, service, op) DO UPDATE SET count = keys_use.count + excluded.count, last_at = excluded.last_at`,
				u.Key, u.Service, string(u.Op), u.Count, now)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count use of key: %w", err)
	}
	for v, b := range totals {
		if r.config.Budget.spentBy(b) {
			v.spent.Store(true)
		}
	}
	if uses := g.sorted(); len(uses) > 0 {
		if err := r.config.Record(ctx, uses); err != nil {
			return fmt.Errorf("record use of key: %w", err)
		}
	}
	return nil
}

// sorted are the uses of keys that aren't stale.
func (g *group) sorted() []Use {
	var out []Use
	for ref, u := range g.uses {
		if !g.keys[ref.key] {
			out = append(out, *u)
		}
	}
	slices.SortFunc(out, func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Op, b.Op))
	})
	return out
}
