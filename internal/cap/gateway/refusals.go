package gateway

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// maxKinds bounds the refusals that are told apart between two flushes: a scanner finds
// ever new paths.
const maxKinds = 2048

// refusal is one kind of refused request from outside.
type refusal struct {
	method, path, host string
	status             int
}

// refusals brings refused requests to the ledger: the first of a kind at once, the rest as
// counts.
type refusals struct {
	record func(wire.Event)

	mu   sync.Mutex
	seen map[refusal]int64 // guarded by mu: since the last event
}

func (f *refusals) note(r refusal) string {
	r.method, r.path, r.host = strings.Clone(r.method), strings.Clone(clip(r.path)), strings.Clone(clip(r.host))
	f.mu.Lock()
	_, known := f.seen[r]
	if !known && len(f.seen) >= maxKinds {
		r.method, r.path, r.host = "*", "*", "*"
		_, known = f.seen[r]
	}
	if known {
		f.seen[r]++
	} else {
		f.seen[r] = 0
	}
	f.mu.Unlock()
	if !known {
		f.record(r.event(1))
	}
	return r.id()
}

func (r *refusal) id() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v", *r))
	return "g-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:6]))
}

func (r *refusal) event(count int64) wire.Event {
	return wire.Event{Kind: "request.denied", Subject: plan.Outside, Count: count, Detail: map[string]string{
		"id": r.id(), "method": r.method, "path": r.path, "host": r.host, "status": strconv.Itoa(r.status), "end": "gateway",
	}}
}

func (f *refusals) flush() {
	var events []wire.Event
	f.mu.Lock()
	for r, n := range f.seen {
		if n == 0 {
			delete(f.seen, r)
			continue
		}
		events = append(events, r.event(n))
		f.seen[r] = 0
	}
	f.mu.Unlock()
	for _, e := range events {
		f.record(e)
	}
}

// clip bounds what an attacker can write into the ledger.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
