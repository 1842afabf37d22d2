package flag

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// ways is how many entries a key may be in.
const ways = 8

// table is a map of bounded size by keyed hash: a set-associative cache. A new key takes the place of the least
// important of its eight; so a flood of keys that come once pushes out itself and not what has counted much.
type table[V any] struct {
	slots []slot[V]
}

type slot[V any] struct {
	key    uint64
	seen   int64 // seconds since 1970
	weight uint32
	value  V
}

func newTable[V any](size int) *table[V] { return &table[V]{slots: make([]slot[V], size)} }

// set is where a key may be.
func (t *table[V]) set(key uint64) []slot[V] {
	i := key % uint64(len(t.slots)/ways) * ways
	return t.slots[i : i+ways]
}

// find returns the value of a key, or nil. The pointer is good until the next touch.
func (t *table[V]) find(key uint64) *V {
	set := t.set(key)
	for i := range set {
		if set[i].key == key && set[i].seen != 0 {
			return &set[i].value
		}
	}
	return nil
}

// touch returns the value of a key, which is new if need be, and makes it more important.
func (t *table[V]) touch(key uint64, now time.Time) *V {
	set := t.set(key)
	at := now.Unix()
	least := &set[0]
	for i := range set {
		if s := &set[i]; s.key == key && s.seen != 0 {
			s.seen, s.weight = at, min(s.weight, 1<<20)+1
			return &s.value
		}
		if set[i].importance(at) < least.importance(at) {
			least = &set[i]
		}
	}
	*least = slot[V]{key: key, seen: at, weight: 1}
	return &least.value
}

// importance halves every six hours; a free slot has none.
func (s *slot[V]) importance(at int64) uint64 {
	return uint64(s.weight) << 20 >> min(uint64(max(at-s.seen, 0))/(6*3600), 63)
}

// hash is 64 bits of SHA-256 over key, tag and text: nobody without the key can choose what falls together.
func hash(key []byte, tag byte, text string) uint64 {
	b := make([]byte, 0, 128)
	b = append(append(append(b, key...), tag), text...)
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:])
}
