package agent

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/mesh"
	"github.com/wardhq/ward/internal/learn"
	"github.com/wardhq/ward/internal/wire"
)

// Bounds of what is learnt: a call that can't be recorded isn't let pass.
const (
	maxLearnt     = 20_000 // different calls
	maxLearntPath = 1024   // bytes
)

// learner lets calls between services pass until an end, and records each kind of call once.
type learner struct {
	until  time.Time
	clock  clock.Clock
	record func(wire.Event)

	mu   sync.Mutex
	seen map[learnt]bool // guarded by mu
}

type learnt struct {
	caller, target string
	port           int
	method, path   string
}

// newLearner returns nil when nothing is to be learnt.
func newLearner(until time.Time, c clock.Clock, record func(wire.Event)) mesh.Learner {
	if until.IsZero() {
		return nil
	}
	record(wire.Event{Kind: "learn.start", Subject: "agent", Detail: map[string]string{"until": until.UTC().Format(time.RFC3339Nano)}})
	return &learner{until: until, clock: c, record: record, seen: map[learnt]bool{}}
}

// Learn implements mesh.Learner.
func (l *learner) Learn(caller, target string, port int, r *canon.Request) bool {
	if !l.clock.Now().Before(l.until) {
		return false
	}
	k := learnt{caller: caller, target: target, port: port, method: r.Method}
	switch r.Protocol {
	case canon.TCP:
		k.method = "TCP"
	case canon.GRPC:
		k.method, k.path = "GRPC", strings.Clone(r.Path)
	case canon.WebSocket:
		k.method, k.path = "WS", learn.Generalise(r.Path)
	default:
		k.method, k.path = strings.Clone(r.Method), learn.Generalise(r.Path)
	}
	if len(k.path) > maxLearntPath || len(k.method) > 64 {
		return false
	}
	l.mu.Lock()
	known := l.seen[k]
	full := !known && len(l.seen) >= maxLearnt
	if !known && !full {
		l.seen[k] = true
	}
	l.mu.Unlock()
	if full {
		return false
	}
	if !known {
		l.record(wire.Event{Kind: "request.learned", Subject: caller, Object: target, Detail: map[string]string{
			"method": k.method, "path": k.path, "port": strconv.Itoa(port), "until": l.until.UTC().Format(time.RFC3339Nano),
		}})
	}
	return true
}
