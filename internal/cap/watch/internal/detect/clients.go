package detect

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// Thresholds for one client. Each is above what people, browsers and crawlers do by mistake, and below what a scanner needs to find anything.
const (
	burstPaths   = 12 // different undeclared paths in burstSpan
	burstSpan    = time.Minute
	slowPaths    = 24 // different undeclared paths in slowSpan
	slowSpan     = 7 * 24 * time.Hour
	injections   = 3 // requests in payloadSpan
	payloadSpan  = 10 * time.Minute
	unreadable   = 10 // in burstSpan
	waitingConns = 20 // at once
	forced       = 20 // requests in burstSpan that pages may have made a browser send
)

// Thresholds for all clients together: a search that is spread over many addresses.
const (
	spreadPaths   = 100
	spreadClients = 10
	spreadSpan    = 10 * time.Minute
)

// client is what one client did.
type client struct {
	paths     []seenPath // different ones, oldest first
	payloads  times
	malformed times
	crossSite times
	example   seenRequest
	injection seenRequest
}

type seenPath struct {
	hash uint32
	at   time.Time
}

// seenRequest is one request, and the trace that shows it.
type seenRequest struct {
	text  string
	trace telemetry.TraceID
}

// maxPaths bounds the paths that are remembered of a client.
const maxPaths = 64

// sees notes undeclared paths and tells how many different ones there were in each span.
func (c *client) sees(hashes []uint32, now time.Time) (burst, slow int) {
	c.paths = slices.DeleteFunc(c.paths, func(p seenPath) bool { return now.Sub(p.at) > slowSpan })
	for _, h := range hashes {
		if !slices.ContainsFunc(c.paths, func(p seenPath) bool { return p.hash == h }) {
			c.paths = append(c.paths, seenPath{h, now})
		}
	}
	if over := len(c.paths) - maxPaths; over > 0 {
		c.paths = slices.Delete(c.paths, 0, over)
	}
	for _, p := range c.paths {
		if now.Sub(p.at) <= burstSpan {
			burst++
		}
	}
	return burst, len(c.paths)
}

// spread is a search by many clients together.
type spread struct {
	began   time.Time
	paths   map[uint32]bool
	clients map[netip.Prefix]bool
	told    bool
}

func (s *spread) sees(c netip.Prefix, hashes []uint32, now time.Time) bool {
	if now.Sub(s.began) > spreadSpan || s.paths == nil {
		*s = spread{began: now, paths: map[uint32]bool{}, clients: map[netip.Prefix]bool{}}
	}
	for _, h := range hashes {
		if len(s.paths) < 4*spreadPaths {
			s.paths[h] = true
		}
	}
	if len(s.clients) < 4*spreadClients {
		s.clients[c] = true
	}
	if s.told || len(s.paths) < spreadPaths || len(s.clients) < spreadClients {
		return false
	}
	s.told = true
	return true
}

// Sight looks at what one client of the gateway did.
func (d *Detector) Sight(s *wire.Sighting, now time.Time) []Signal {
	c := d.clients.get(s.Client, now)
	if s.Example != "" {
		c.example = seenRequest{s.Example, s.ExampleTrace}
	}
	if s.Injection != "" {
		c.injection = seenRequest{s.Injection, s.InjectionTrace}
	}
	var out []Signal
	who := text(s.Client)
	add := func(rule, what string) {
		shown := c.example
		switch rule {
		case "payload":
			shown = c.injection
		case "honey-path":
			shown = seenRequest{s.Honey, s.HoneyTrace}
		case "malformed", "slow-requests":
			shown = seenRequest{} // what was read is of other requests
		}
		if s.Tool != "" {
			shown.text = strings.TrimSpace(shown.text + " (it calls itself " + s.Tool + ")")
		}
		out = append(out, Signal{Rule: rule, Subject: who, Client: s.Client, What: what, Evidence: shown.text, Record: -1, Trace: shown.traced(), Time: now})
	}
	if s.Honey != "" {
		add("honey-path", fmt.Sprintf("%s asked for %s.", who, s.Honey))
	}
	if len(s.Undeclared) > 0 {
		burst, slow := c.sees(s.Undeclared, now)
		switch {
		case burst >= burstPaths:
			add("undeclared-routes", fmt.Sprintf("%s asked for %d different routes within a minute that ward.yaml doesn't declare.", who, burst))
		case slow >= slowPaths:
			add("undeclared-routes", fmt.Sprintf("%s asked for %d different routes within a week that ward.yaml doesn't declare.", who, slow))
		}
		if d.scan.sees(s.Client, s.Undeclared, now) {
			out = append(out, Signal{
				Rule: "undeclared-routes", Severity: finding.Medium, Subject: "many addresses", Record: -1, Time: now, Evidence: c.example.text, Trace: c.example.traced(),
				What: fmt.Sprintf("%d addresses together asked for more than %d different routes within ten minutes that ward.yaml doesn't declare.", len(d.scan.clients), spreadPaths-1),
			})
		}
	}
	if s.Payloads > 0 {
		if n := c.payloads.add(now, s.Payloads, payloadSpan); n >= injections {
			add("payload", fmt.Sprintf("%s sent %d requests within ten minutes that would inject something (%s).", who, n, s.Class))
		}
	}
	if s.Malformed > 0 {
		if n := c.malformed.add(now, s.Malformed, burstSpan); n >= unreadable {
			add("malformed", fmt.Sprintf("%s sent %d requests within a minute that can't be read.", who, n))
		}
	}
	if s.CrossSite > 0 {
		if n := c.crossSite.add(now, s.CrossSite, burstSpan); n >= forced {
			add("undeclared-routes", fmt.Sprintf("%s sent %d requests within a minute for what ward.yaml doesn't declare, or to inject something, that say they come from a page: its browser is made to, or it hides.", who, n))
			out[len(out)-1].Held = true
		}
	}
	if s.Slow >= waitingConns {
		add("slow-requests", fmt.Sprintf("%s keeps %d connections waiting for a request, its body, or room for an answer.", who, s.Slow))
	}
	return out
}

// traced is its trace, "" if that isn't known.
func (r *seenRequest) traced() string {
	if r.trace == (telemetry.TraceID{}) {
		return ""
	}
	return r.trace.String()
}

// text is a network as people write it: an address without a prefix that says all of it.
func text(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
