package wire

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Bounds of what waits for control.
const (
	shipEvery   = 250 * time.Millisecond
	shipAt      = 64 << 10 // bytes that don't wait so long
	maxShipped  = 1 << 20  // bytes in a report
	maxWaiting  = 16 << 20 // bytes that wait
	mayWait     = 2 << 20  // bytes of one service that wait
	lineExtra   = 64       // bytes that a line takes beside its text
	flushAtMost = time.Second
)

// LogSender brings what services print to control. It never waits for it: what there is no room for while control is away or slow is counted by
// service, and told in its place; the text files have it.
type LogSender struct {
	send func(context.Context, []LogLine) error

	mu      sync.Mutex
	waiting []LogLine         // guarded by mu: oldest first
	sizes   map[string]int    // guarded by mu: bytes of a service that wait, or are on their way
	size    int               // guarded by mu: of all
	lost    map[string]uint64 // guarded by mu
	much    chan struct{}     // has a place for the sign that there is enough for a report
}

// NewLogSender returns one that hands reports to send, which is Client.ReportLogs.
func NewLogSender(send func(context.Context, []LogLine) error) *LogSender {
	return &LogSender{send: send, sizes: map[string]int{}, lost: map[string]uint64{}, much: make(chan struct{}, 1)}
}

// Add takes a line.
func (h *LogSender) Add(service string, replica int, at time.Time, text string) {
	n := len(text) + lineExtra
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.size+n > maxWaiting || h.sizes[service]+n > mayWait {
		h.lost[service]++
		return
	}
	if lost := h.lost[service]; lost > 0 {
		delete(h.lost, service)
		h.waiting = append(h.waiting, LogLine{Service: service, Replica: replica, Time: at.UnixMicro(), Lost: lost})
	}
	h.waiting = append(h.waiting, LogLine{Service: service, Replica: replica, Time: at.UnixMicro(), Text: text})
	h.size += n
	h.sizes[service] += n
	if h.size >= shipAt {
		select {
		case h.much <- struct{}{}:
		default:
		}
	}
}

// take returns the oldest lines that fit in a report.
func (h *LogSender) take(now time.Time) []LogLine {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, size := 0, 0
	for n < len(h.waiting) && size < maxShipped {
		size += len(h.waiting[n].Text) + lineExtra
		n++
	}
	out := h.waiting[:n:n]
	if h.waiting = h.waiting[n:]; len(h.waiting) == 0 {
		h.waiting = nil
		for service, lost := range h.lost {
			out = append(out, LogLine{Service: service, Time: now.UnixMicro(), Lost: lost})
		}
		clear(h.lost)
	}
	return out
}

// done frees the room of lines that are no longer on their way; those that weren't kept are counted.
func (h *LogSender) done(lines []LogLine, kept bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range lines {
		l := &lines[i]
		if l.Lost == 0 {
			n := len(l.Text) + lineExtra
			h.size -= n
			if h.sizes[l.Service] -= n; h.sizes[l.Service] == 0 {
				delete(h.sizes, l.Service)
			}
		}
		if !kept {
			h.lost[l.Service] += max(1, l.Lost)
		}
	}
}

// Run ships until ctx ends.
func (h *LogSender) Run(ctx context.Context) {
	t := time.NewTicker(shipEvery)
	defer t.Stop()
	isTold := false
	for {
		select {
		case <-t.C:
		case <-h.much:
		case <-ctx.Done():
			return
		}
		for lines := h.take(time.Now()); len(lines) > 0; lines = h.take(time.Now()) {
			err := h.ship(ctx, lines)
			h.done(lines, err == nil)
			if ctx.Err() != nil {
				return
			}
			if err != nil && !isTold {
				slog.Warn("control doesn't keep what services print", "error", err)
			}
			if isTold = err != nil; isTold {
				break
			}
		}
	}
}

// ship sends lines again until control answers.
func (h *LogSender) ship(ctx context.Context, lines []LogLine) error {
	for {
		err := h.send(ctx, lines)
		if err == nil || !errors.Is(err, ErrNoAnswer) {
			return err
		}
		select {
		case <-time.After(shipEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Flush waits until nothing waits, for a moment.
func (h *LogSender) Flush() {
	for end := time.Now().Add(flushAtMost); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		h.mu.Lock()
		size := h.size
		h.mu.Unlock()
		if size == 0 {
			return
		}
	}
}

// LogLine is a line that a service printed, with what is secret masked. Where Lost isn't 0 there is no text: so many lines before it didn't come.
type LogLine struct {
	Service string `json:"s"`
	Replica int    `json:"r,omitempty"`
	Time    int64  `json:"t"` // µs since 1970
	Text    string `json:"x,omitempty"`
	Lost    uint64 `json:"l,omitempty"`
}

// ReportLogs tells control what services printed (the supervisor only).
func (c *Client) ReportLogs(ctx context.Context, lines []LogLine) error {
	return c.Call(ctx, http.MethodPost, "/v1/logs", lines, nil)
}
