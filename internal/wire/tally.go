package wire

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
	"sync"
)

// Tally brings what repeats to the ledger without letting it flood: the first of a kind at once, the rest as counts. A kind
// is a value of K; its strings are kept, so they must not alias buffers. Safe for concurrent use.
type Tally[K comparable] struct {
	// Prefix begins every ID.
	Prefix string
	// Most bounds the kinds that are told apart between two flushes; Rest is what a further one counts as. Over time a
	// small share of it may be new with each flush: whoever invents kinds must not fill the disk.
	Most int
	Rest func(K) K
	// Event describes a kind, with a Detail of its own; Record keeps it.
	Event  func(k K, id string, count int64) Event
	Record func(Event)

	mu   sync.Mutex
	seen map[K]int64 // guarded by mu: since the last event
	used int         // guarded by mu: how much of Most is used up
}

// share of Most comes back with each flush.
const share = 256

// Note counts k and returns its ID, the same for every one of its kind. It returns after the first of a kind
// has been kept.
func (t *Tally[K]) Note(k K) string { return t.NoteIn(k, "") }

// NoteIn is Note of what belongs to a trace, "" for none: the event of the first of a kind says which in its detail "trace"; counts say none.
func (t *Tally[K]) NoteIn(k K, trace string) string {
	t.mu.Lock()
	if t.seen == nil {
		t.seen = map[K]int64{}
	}
	_, known := t.seen[k]
	if !known {
		if t.used >= t.Most || len(t.seen) >= t.Most {
			k = t.Rest(k)
			_, known = t.seen[k]
		} else {
			t.used++
		}
	}
	if known {
		t.seen[k]++
	} else {
		t.seen[k] = 0
	}
	t.mu.Unlock()
	id := t.id(k)
	if !known {
		e := t.Event(k, id, 1)
		if trace != "" {
			e.Detail["trace"] = trace
		}
		t.Record(e)
	}
	return id
}

func (t *Tally[K]) id(k K) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v", k))
	return t.Prefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:6]))
}

// Flush writes the counts since the last flush, and forgets kinds that were quiet.
func (t *Tally[K]) Flush() {
	var events []Event
	t.mu.Lock()
	t.used = max(0, t.used-max(1, t.Most/share))
	for k, n := range t.seen {
		if n == 0 {
			delete(t.seen, k)
			continue
		}
		events = append(events, t.Event(k, t.id(k), n))
		t.seen[k] = 0
	}
	t.mu.Unlock()
	for _, e := range events {
		t.Record(e)
	}
}

// Clip bounds what an attacker can write into the ledger, and copies it.
func Clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most] + "…"
	}
	return strings.Clone(s)
}
