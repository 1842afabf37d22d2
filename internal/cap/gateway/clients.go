package gateway

import (
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
)

// maxPerClient bounds the connections of one address (of one /64 in IPv6): a tenth of what the gateway serves at
// once. Many people share an address behind a NAT, so it isn't small.
const maxPerClient = 2000

// clients counts connections by address.
type clients struct {
	mu   sync.Mutex
	open map[netip.Prefix]int // guarded by mu
}

// enter takes a place for an address; leave gives it back. It reports false when there is none left.
func (c *clients) enter(a net.Addr) (leave func(), ok bool) {
	p := clientOf(a)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[p] >= maxPerClient {
		return nil, false
	}
	c.open[p]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.open[p]--; c.open[p] == 0 {
			delete(c.open, p)
		}
	}, true
}

// clientOf is the network that one client can choose addresses from. What has no address counts as one.
func clientOf(a net.Addr) netip.Prefix {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	return networkOf(t.AddrPort().Addr())
}

// networkOf is clientOf of an address.
func networkOf(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// One network begins beginBurst sign-ins at once, and then one each beginPause: enough for an office behind one address,
// and far less than control can write. Of maxBegins networks the pace is kept.
const (
	beginBurst = 300
	beginPause = 50 * time.Millisecond
	maxBegins  = 50_000
)

var errBegins = fault.New(fault.Exhausted, "too many sign-ins were begun from this network; try again soon")

// begins bounds the sign-ins that anybody may begin. The zero begins is ready.
type begins struct {
	mu   sync.Mutex
	free map[netip.Prefix]time.Time // guarded by mu: when the network's burst is whole again
}

// take tells whether an address may begin one more. What has no address counts as one.
func (b *begins) take(address string, now time.Time) bool {
	ip, _ := netip.ParseAddr(address)
	from := networkOf(ip)
	b.mu.Lock()
	defer b.mu.Unlock()
	whole := b.free[from]
	if whole.Before(now) {
		whole = now
	}
	if whole = whole.Add(beginPause); whole.Sub(now) > beginBurst*beginPause {
		return false
	}
	if len(b.free) >= maxBegins {
		maps.DeleteFunc(b.free, func(_ netip.Prefix, t time.Time) bool { return !t.After(now) })
		if len(b.free) >= maxBegins {
			clear(b.free)
		}
	}
	if b.free == nil {
		b.free = map[netip.Prefix]time.Time{}
	}
	b.free[from] = whole
	return true
}
