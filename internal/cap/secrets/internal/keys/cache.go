package keys

import (
	"container/list"
	"sync"
	"sync/atomic"

	"github.com/wardhq/ward/sdk/seal/envelope"
)

type flag = atomic.Bool

// cache keeps what was used last, up to a number.
type cache[K comparable, V any] struct {
	most int

	mu    sync.Mutex // guards what follows
	by    map[K]*list.Element
	order *list.List // of pair[K, V], the last used first
}

type pair[K comparable, V any] struct {
	key   K
	value V
}

func newCache[K comparable, V any](most int) *cache[K, V] {
	return &cache[K, V]{most: most, by: map[K]*list.Element{}, order: list.New()}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.by[k]
	if !ok {
		var none V
		return none, false
	}
	c.order.MoveToFront(e)
	return e.Value.(pair[K, V]).value, true
}

func (c *cache[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.by[k]; ok {
		e.Value = pair[K, V]{k, v}
		c.order.MoveToFront(e)
		return
	}
	c.by[k] = c.order.PushFront(pair[K, V]{k, v})
	if len(c.by) > c.most {
		delete(c.by, c.order.Remove(c.order.Back()).(pair[K, V]).key)
	}
}

func (c *cache[K, V]) drop(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.by[k]; ok {
		c.order.Remove(e)
		delete(c.by, k)
	}
}

// caches are what a key at a generation has opened. They go with it, so that nothing of it outlives a change.
type caches struct {
	making  sync.Mutex // held by who makes the next version
	owners  *cache[ownerRef, *envelope.Wrapper]
	sealers *cache[string, *sealer]
	openers *cache[openRef, *envelope.DataKey]
}

type ownerRef struct {
	version int64
	owner   string
}

// openRef holds the owner too: a data key opens for its owner only.
type openRef struct {
	header [envelope.HeaderSize]byte
	owner  string
}

func newCaches() *caches {
	return &caches{
		owners: newCache[ownerRef, *envelope.Wrapper](maxOwners), sealers: newCache[string, *sealer](maxSealers),
		openers: newCache[openRef, *envelope.DataKey](maxOpeners),
	}
}
