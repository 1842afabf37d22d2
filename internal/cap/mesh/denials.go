package mesh

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/wire"
)

// maxGroups bounds the kinds of denials that are told apart between two flushes; what is
// beyond counts under its caller and target alone.
const maxGroups = 4096

// denied is one kind of denial. Equal ones are one group: the first is in the
// ledger before its answer leaves, the rest as counts.
type denied struct {
	caller, target string
	port           int
	method, path   string
	host           string // where the host was the reason
	malformed      string // where the request had no one reading
	reason         policy.Reason
	end            string // "outbound", "inbound" or "parse"
	observed       bool   // not a denial: an observe rule let it pass
}

type denials struct {
	record func(wire.Event)

	mu     sync.Mutex
	groups map[denied]*group // guarded by mu
}

type group struct {
	id    string
	count int64 // since the last event
}

func newDenials(record func(wire.Event)) *denials {
	return &denials{record: record, groups: map[denied]*group{}}
}

// note counts a denial and returns its ID. It returns after the first of its
// kind has been kept for the ledger.
func (d *denials) note(n denied) string {
	n.caller, n.target = strings.Clone(n.caller), strings.Clone(n.target)
	n.path, n.host, n.method = strings.Clone(clip(n.path)), strings.Clone(clip(n.host)), strings.Clone(n.method)
	d.mu.Lock()
	g := d.groups[n]
	if g == nil && len(d.groups) >= maxGroups {
		n.method, n.path, n.host, n.malformed = "*", "", "", ""
		g = d.groups[n]
	}
	first := g == nil
	if first {
		g = &group{id: n.id()}
		d.groups[n] = g
	} else {
		g.count++
	}
	d.mu.Unlock()
	if first {
		d.record(n.event(n.kind(), g.id, 1))
	}
	return g.id
}

func (n *denied) kind() string {
	switch {
	case n.observed:
		return "request.observed"
	case n.malformed != "":
		return "request.malformed"
	}
	return "request.denied"
}

// id is the same for every denial of a group, so that each can be explained.
func (n *denied) id() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v", *n))
	return "d-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:6]))
}

// flush writes the counts since the last flush, and forgets groups that were quiet.
func (d *denials) flush() {
	var events []wire.Event
	d.mu.Lock()
	for n, g := range d.groups {
		if g.count == 0 {
			delete(d.groups, n)
			continue
		}
		events = append(events, n.event(n.kind(), g.id, g.count))
		g.count = 0
	}
	d.mu.Unlock()
	for _, e := range events {
		d.record(e)
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

func itoa(n int) string { return strconv.Itoa(n) }
