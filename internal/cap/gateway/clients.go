package gateway

import (
	"net"
	"net/netip"
	"sync"
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
	ip := t.AddrPort().Addr().Unmap().WithZone("")
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
