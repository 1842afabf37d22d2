package seal

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// cache holds what providers gave, each thing for a time, and at most max of them: the least recently used goes first.
// Callers that miss the same thing at once share one fetch; in the last fifth of its time one caller fetches it anew, while the others go on
// with what is there.
type cache[K comparable, V any] struct {
	max   int
	fetch func(context.Context, K) (V, time.Duration, error) // what a key stands for, and how long it may be used

	mu      sync.Mutex
	entries map[K]*list.Element // of *entry[K, V], the most recently used in front
	order   *list.List
	flights map[K]*flight[V]
}

type entry[K comparable, V any] struct {
	key     K
	value   V
	until   time.Time
	refresh time.Time // needs mu; the others never change
}

type flight[V any] struct {
	done  chan struct{}
	value V
	err   error
}

func newCache[K comparable, V any](size int, fetch func(context.Context, K) (V, time.Duration, error)) *cache[K, V] {
	return &cache[K, V]{max: size, fetch: fetch, entries: map[K]*list.Element{}, order: list.New(), flights: map[K]*flight[V]{}}
}

// get returns what is there, or fetches it. What the provider refuses to give again is forgotten at once; when it can't be asked, what is
// there serves until its time is over.
func (c *cache[K, V]) get(ctx context.Context, key K) (V, error) {
	for {
		now := time.Now()
		c.mu.Lock()
		have := c.lookup(key, now)
		f, flying := c.flights[key]
		switch {
		case have != nil && (flying || now.Before(have.refresh)):
			c.mu.Unlock()
			return have.value, nil
		case !flying:
			f = &flight[V]{done: make(chan struct{})}
			c.flights[key] = f
			c.mu.Unlock()
			c.fly(ctx, key, f)
		default:
			c.mu.Unlock()
			select {
			case <-f.done:
			case <-ctx.Done():
				var none V
				return none, ctx.Err()
			}
			if ctx.Err() == nil && (errors.Is(f.err, context.Canceled) || errors.Is(f.err, context.DeadlineExceeded)) {
				continue // the one who fetched gave up; we haven't
			}
		}
		if f.err != nil && have != nil && !final(f.err) && time.Now().Before(have.until) {
			return have.value, nil
		}
		return f.value, f.err
	}
}

// final tells whether asking again is no use: the provider has answered, and said no.
func final(err error) bool { return errors.Is(err, ErrRefused) || errors.Is(err, ErrDecrypt) }

// lookup needs mu. What is over is removed.
func (c *cache[K, V]) lookup(key K, now time.Time) *entry[K, V] {
	el, ok := c.entries[key]
	if !ok {
		return nil
	}
	e := el.Value.(*entry[K, V])
	if !now.Before(e.until) {
		c.remove(el)
		return nil
	}
	c.order.MoveToFront(el)
	return e
}

func (c *cache[K, V]) remove(el *list.Element) {
	delete(c.entries, el.Value.(*entry[K, V]).key)
	c.order.Remove(el)
}

// fly fetches for all who wait for f.
func (c *cache[K, V]) fly(ctx context.Context, key K, f *flight[V]) {
	f.err = errors.New("the provider panicked") // what the others see if it does
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.flights, key)
		close(f.done)
	}()
	asked := time.Now()
	var life time.Duration
	f.value, life, f.err = c.fetch(ctx, key)
	if f.err == nil {
		c.put(key, f.value, asked, life)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.entries[key]
	switch {
	case !ok:
	case final(f.err):
		c.remove(el)
	default: // not at every call that follows
		e := el.Value.(*entry[K, V])
		e.refresh = asked.Add(e.until.Sub(asked) / 4)
	}
}

// put keeps a value for its life, which began when it was asked for.
func (c *cache[K, V]) put(key K, value V, asked time.Time, life time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.entries[key]; ok {
		c.remove(el)
	}
	c.entries[key] = c.order.PushFront(&entry[K, V]{key, value, asked.Add(life), asked.Add(life / 5 * 4)})
	for c.order.Len() > c.max {
		c.remove(c.order.Back())
	}
}

// drop forgets a key if it has this value, so that the next get fetches it anew.
func drop[K, V comparable](c *cache[K, V], key K, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.entries[key]; ok && el.Value.(*entry[K, V]).value == value {
		c.remove(el)
	}
}
