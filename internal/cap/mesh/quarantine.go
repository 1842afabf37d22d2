package mesh

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/wardhq/ward/internal/wire"
)

// quarantine is what answers do to services: one that is in it calls nobody, and nobody calls it. The zero quarantine is empty.
type quarantine struct {
	services atomic.Pointer[map[string]bool]

	mu   sync.Mutex
	open map[net.Conn]*link // guarded by mu: connections that are served
}

// holds tells whether a link's caller or target is in quarantine.
func (q *quarantine) holds(l *link) bool {
	in := q.services.Load()
	return in != nil && ((*in)[l.caller] || (*in)[l.target])
}

// enter remembers a connection until leave is called.
func (q *quarantine) enter(c net.Conn, l *link) (leave func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open == nil {
		q.open = map[net.Conn]*link{}
	}
	q.open[c] = l
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.open, c)
	}
}

// SetRestrictions puts what answers do to services into force, in place of what was, and breaks off what they have open.
func (m *Mesh) SetRestrictions(all wire.Restrictions) {
	in := map[string]bool{}
	for _, r := range all.All {
		if r.Service != "" {
			in[r.Service] = true // control takes away what has ended
		}
	}
	q := &m.quarantine
	q.services.Store(&in)
	q.mu.Lock()
	defer q.mu.Unlock()
	for c, l := range q.open {
		if in[l.caller] || in[l.target] {
			m.wg.Go(func() { c.Close() }) // TLS takes leave, for which one who doesn't read makes it wait: the others mustn't
		}
	}
}
