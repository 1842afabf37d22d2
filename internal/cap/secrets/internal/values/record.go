package values

import (
	"context"
	"sync"

	"github.com/wardhq/ward/internal/wire"
)

// recorder brings events to the ledger, those that wait at once in one call. Equal reads become one event that says how
// many; events of changes are forgotten in the database when the ledger has them.
type recorder struct {
	record func(context.Context, []wire.Event) error
	forget func(context.Context, []string) error

	turn chan struct{} // who puts something in writes

	mu   sync.Mutex // guards next
	next *batch     // what the next turn takes
}

type batch struct {
	events []wire.Event
	reads  map[read]int // where in events
	kept   []string     // IDs of rows to forget
	done   chan struct{}
	err    error // to be read after done
}

// read is what makes two reads equal.
type read struct{ who, object, version, why string }

// maxBatch bounds the events of one call.
const maxBatch = 1000

// add returns when the event is durable. kept is the row that holds it until then, or "". When ctx ends first, the event
// may still be recorded.
func (r *recorder) add(ctx context.Context, kept string, events ...wire.Event) error {
	r.mu.Lock()
	first := r.next == nil || len(r.next.events) >= maxBatch
	if first {
		r.next = &batch{reads: map[read]int{}, done: make(chan struct{})}
	}
	b := r.next
	for _, e := range events {
		b.put(e)
	}
	if kept != "" {
		b.kept = append(b.kept, kept)
	}
	r.mu.Unlock()
	if first { // it writes for all who come while others write
		r.write(context.WithoutCancel(ctx), b)
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *batch) put(e wire.Event) {
	if e.Kind == eventRead {
		key := read{e.Subject, e.Object, e.Detail["version"], e.Detail["why"]}
		if at, ok := b.reads[key]; ok {
			b.events[at].Count = max(b.events[at].Count, 1) + 1
			return
		}
		b.reads[key] = len(b.events)
	}
	b.events = append(b.events, e)
}

func (r *recorder) write(ctx context.Context, b *batch) {
	r.turn <- struct{}{}
	r.mu.Lock()
	if r.next == b {
		r.next = nil
	}
	r.mu.Unlock()
	b.err = r.record(ctx, b.events)
	<-r.turn
	close(b.done)
	if b.err == nil && len(b.kept) > 0 {
		_ = r.forget(ctx, b.kept) // what stays is recorded once more, which is no harm
	}
}
