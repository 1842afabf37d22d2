package gateway

import (
	"hash/fnv"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/cap/gateway/internal/signature"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// sights are what clients did since the last report that may be part of an attack. Requests that are let pass and look like any
// other leave no trace here.
type sights struct {
	mu   sync.Mutex
	of   map[netip.Prefix]*wire.Sighting // guarded by mu; at most wire.MaxSighted
	open map[*client]struct{}            // guarded by mu: all connections

	clock atomic.Int64 // see client.clock
}

// note changes the sighting of a client; of more clients than a report holds it is lost, which is a flood that counts show.
func (s *sights) note(c netip.Prefix, change func(*wire.Sighting)) {
	if !c.IsValid() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.of[c]
	if x == nil {
		if len(s.of) >= wire.MaxSighted {
			return
		}
		if s.of == nil {
			s.of = map[netip.Prefix]*wire.Sighting{}
		}
		x = &wire.Sighting{Client: c}
		s.of[c] = x
	}
	change(x)
}

// connected remembers a connection until it ends.
func (s *sights) connected(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*client]struct{}{}
	}
	s.open[c] = struct{}{}
}

// gone forgets a connection. One whose client sent something that is no TLS can't be read; but who breaks a handshake off may be a browser whose
// user went on, or that doesn't like the certificate, and who speaks HTTP may be made to by a page (http://host:443/).
func (s *sights) gone(c *client) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	if c.got.Load() > 0 && c.print() == "" && !c.plain.Load() {
		s.note(c.from, func(x *wire.Sighting) { x.Malformed++ })
	}
}

// Sightings returns what clients did since the last call, and begins anew.
func (g *Gateway) Sightings() wire.Sightings {
	s := &g.sights
	now := g.config.Clock.Now()
	s.clock.Store(now.UnixMilli())
	for c, n := range s.slow(now) {
		s.note(c, func(x *wire.Sighting) { x.Slow = n })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(wire.Sightings, 0, len(s.of))
	for _, x := range s.of {
		out = append(out, *x)
	}
	s.of = nil
	return out
}

// sight notes what of a request may be part of an attack, and the trace that shows it.
func (g *Gateway) sight(r *proxy.Request, v *proxy.Verdict, to routed, trace telemetry.TraceID) {
	agent, _ := r.Get("User-Agent")
	referer, _ := r.Get("Referer")
	class := signature.Of(r.Target(), agent, referer)
	undeclared := to.own == notOwn && to.rule < 0 && (v.Status == http.StatusNotFound || v.Status == http.StatusMisdirectedRequest || v.Status == http.StatusMethodNotAllowed)
	if class == "" && (!undeclared || signature.Usual(r.Path)) {
		return
	}
	made := madeTo(r)
	g.sights.note(clientOf(r.Conn.Remote), func(x *wire.Sighting) {
		request := wire.Clip(r.Method + " " + r.Target())
		if x.Example == "" && (undeclared || made) {
			x.Example, x.ExampleTrace = request, trace
		}
		if made {
			x.CrossSite++
			return
		}
		if x.Tool == "" {
			x.Tool = signature.Tool(agent)
		}
		if class != "" {
			if x.Payloads++; x.Class == "" {
				x.Class, x.Injection, x.InjectionTrace = string(class), request, trace
			}
		}
		if !undeclared {
			return
		}
		if len(x.Undeclared) < wire.MaxSightedPaths {
			h := fnv.New32a()
			_, _ = h.Write([]byte(r.Path)) // never returns an error
			x.Undeclared = append(x.Undeclared, h.Sum32())
		}
		if x.Honey == "" && signature.Honey(r.Path) {
			x.Honey, x.HoneyTrace = wire.Clip(r.Path), trace
		}
	})
}

// madeTo tells whether a page may have made a browser send a request without its user's doing: one of another site, or one that shows what
// others wrote. An image must not close out who sees it. Browsers say so (Fetch Metadata; of WebSockets some say only their Origin); who says so
// falsely isn't closed out either, but found.
func madeTo(r *proxy.Request) bool {
	if site, _ := r.Get("Sec-Fetch-Site"); site == "cross-site" {
		return true
	}
	if origin, n := r.Get("Origin"); n > 0 {
		if u, err := url.Parse(origin); err != nil || r.Host == "" || !strings.EqualFold(u.Hostname(), r.Host) {
			return true
		}
	}
	switch dest, _ := r.Get("Sec-Fetch-Dest"); dest {
	case "", "document", "empty":
		return false
	}
	return true
}

// unread notes a request that was refused before it was understood. What is only too long counts for nothing: any page can make a browser send it,
// and its fields can't be asked.
func (g *Gateway) unread(r *proxy.Record) {
	if r.Request == nil || r.Request.Conn == nil || r.Status != http.StatusBadRequest && r.Status != http.StatusNotImplemented {
		return
	}
	made := madeTo(r.Request)
	g.sights.note(clientOf(r.Request.Conn.Remote), func(x *wire.Sighting) {
		if made {
			x.CrossSite++
		} else {
			x.Malformed++
		}
	})
}

// standing is what answers do to clients.
type standing struct {
	clients map[netip.Prefix]wire.Restriction
	widths  []int // lengths of the prefixes in clients
	now     func() time.Time

	mu   sync.Mutex
	next map[netip.Prefix]time.Time // guarded by mu: when a slowed client may ask again
}

// SetRestrictions puts what answers do to clients into force, in place of what was. Of who is closed out nothing goes on: what stands open is cut.
func (g *Gateway) SetRestrictions(all wire.Restrictions) {
	s := &standing{clients: map[netip.Prefix]wire.Restriction{}, next: map[netip.Prefix]time.Time{}, now: g.config.Clock.Now}
	for _, r := range all.All {
		if r.Client.IsValid() {
			s.clients[r.Client] = r
			if n := r.Client.Bits(); !slices.Contains(s.widths, n) {
				s.widths = append(s.widths, n)
			}
		}
	}
	g.standing.Store(s) // first: who connects from now on is refused by it
	g.sights.cut(s.closedOut)
}

// cut closes the connections of clients.
func (s *sights) cut(those func(netip.Prefix) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		if those(c.from) {
			_ = c.conn.Close() // whoever serves it sees that
		}
	}
}

// closedOut tells whether a client may ask for nothing now.
func (s *standing) closedOut(c netip.Prefix) bool {
	r, ok := s.against(c, s.now())
	return ok && !r.Slow
}

// refuses tells what stands against a request of a client now: how long it has to wait, and the answer's ID.
func (s *standing) refuses(c netip.Prefix) (wait time.Duration, answer string) {
	if s == nil || len(s.clients) == 0 {
		return 0, ""
	}
	now := s.now()
	r, ok := s.against(c, now)
	switch {
	case !ok:
		return 0, ""
	case r.Slow:
		wait = s.turn(r.Client, now)
	default:
		wait = r.Until.Sub(now)
	}
	if wait == 0 {
		return 0, ""
	}
	return wait, r.ID
}

// against is what stands against a client now; of several, a block.
func (s *standing) against(c netip.Prefix, now time.Time) (found wire.Restriction, ok bool) {
	for _, n := range s.widths {
		if n > c.Bits() {
			continue
		}
		p, err := c.Addr().Prefix(n)
		if err != nil {
			continue
		}
		if r, has := s.clients[p]; has && now.Before(r.Until) && (!ok || found.Slow) {
			found, ok = r, true
		}
	}
	return found, ok
}

// turn is how long a slowed network has to wait for its next request; 0 takes its turn.
func (s *standing) turn(p netip.Prefix, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next := s.next[p]; now.Before(next) {
		return next.Sub(now)
	}
	s.next[p] = now.Add(time.Second)
	return 0
}
