package message

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
)

// QueueConfig of a Queue. Zero numbers mean the defaults.
type QueueConfig struct {
	Sender     Sender
	Clock      clock.Clock
	Log        *slog.Logger
	Size       int // messages that wait or are being sent; default 1,000
	Concurrent int // messages being sent; default 4
}

// Queue sends messages in the background.
type Queue struct {
	c        QueueConfig
	places   chan struct{} // one taken for each message in the queue
	incoming chan Message  // as long as places, so a put with a place never waits
	counts   [3]atomic.Int64

	mu     sync.Mutex // guards closed against a Put at the same time
	closed bool
}

// Counts of what became of messages.
type Counts struct{ Sent, Failed, Dropped int64 }

const (
	sent = iota
	failed
	dropped
)

// pauses between attempts.
func pauses() []time.Duration {
	return []time.Duration{2 * time.Second, 8 * time.Second, 30 * time.Second, 2 * time.Minute, 8 * time.Minute}
}

// NewQueue returns a Queue; nothing is sent before Run.
func NewQueue(c QueueConfig) *Queue {
	if c.Size <= 0 {
		c.Size = 1000
	}
	if c.Concurrent <= 0 {
		c.Concurrent = 4
	}
	return &Queue{c: c, places: make(chan struct{}, c.Size), incoming: make(chan Message, c.Size)}
}

// Put queues a message and doesn't wait. A full queue is a fault of kind Exhausted, a stopped one Unavailable.
func (q *Queue) Put(m Message) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return fault.New(fault.Unavailable, "messages can't be sent at this moment")
	}
	select {
	case q.places <- struct{}{}:
		q.incoming <- m
		return nil
	default:
		q.counts[dropped].Add(1)
		return fault.New(fault.Exhausted, "too many messages are waiting to be sent; try again later")
	}
}

// Counts so far.
func (q *Queue) Counts() Counts {
	return Counts{Sent: q.counts[sent].Load(), Failed: q.counts[failed].Load(), Dropped: q.counts[dropped].Load()}
}

// Run sends until ctx ends; then it finishes the attempts under way, drops what waits, and returns. It is called once.
func (q *Queue) Run(ctx context.Context) {
	var all sync.WaitGroup
	sending := make(chan struct{}, q.c.Concurrent)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case m := <-q.incoming:
			all.Go(func() {
				q.deliver(ctx, sending, m)
				<-q.places
			})
		}
	}
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	all.Wait()
	for len(q.incoming) > 0 {
		<-q.incoming
		<-q.places
		q.counts[dropped].Add(1)
	}
	if n := q.counts[dropped].Load(); n > 0 {
		q.c.Log.Warn("messages were dropped", "count", n)
	}
}

// deliver tries until it's sent, refused for good, out of date, or ctx ends.
func (q *Queue) deliver(ctx context.Context, sending chan struct{}, m Message) {
	for attempt, pause := range append(pauses(), 0) {
		select {
		case sending <- struct{}{}:
		case <-ctx.Done():
			q.counts[dropped].Add(1)
			return
		}
		if !m.Expires.IsZero() && !q.c.Clock.Now().Before(m.Expires) {
			<-sending
			q.counts[dropped].Add(1)
			return
		}
		// An attempt under way is finished even when Ward stops: half a dialogue could send it twice.
		try, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxSending)
		err := q.c.Sender.Send(try, m)
		cancel()
		<-sending
		if err == nil {
			q.counts[sent].Add(1)
			return
		}
		q.c.Log.Warn("message not sent", "attempt", attempt+1, "error", err)
		if pause == 0 || errors.Is(err, ErrPermanent) {
			break
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			q.counts[dropped].Add(1)
			return
		}
	}
	q.counts[failed].Add(1)
}
