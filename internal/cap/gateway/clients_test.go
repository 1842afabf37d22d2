package gateway

import (
	"net"
	"net/netip"
	"testing"
)

func address(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

func TestOneClientCantTakeEveryConnection(t *testing.T) {
	c := clients{open: map[netip.Prefix]int{}}
	var leave []func()
	for range maxPerClient {
		l, ok := c.enter(address("203.0.113.7:1234"))
		if !ok {
			t.Fatal("refused within the bound")
		}
		leave = append(leave, l)
	}
	for a, want := range map[string]bool{
		"203.0.113.7:9":          false,
		"[::ffff:203.0.113.7]:9": false,
		"203.0.113.8:9":          true,
		"[2001:db8::1]:9":        true,
	} {
		if _, ok := c.enter(address(a)); ok != want {
			t.Errorf("%s: %v", a, ok)
		}
	}
	leave[0]()
	if _, ok := c.enter(address("203.0.113.7:9")); !ok {
		t.Error("a place that was given back isn't free")
	}
}

func TestOneClientOfIPv6HasAWholeNetwork(t *testing.T) {
	if clientOf(address("[2001:db8:1:2::1]:1")) != clientOf(address("[2001:db8:1:2:ffff::9]:2")) || clientOf(address("[2001:db8:1:2::1]:1")) == clientOf(address("[2001:db8:1:3::1]:1")) {
		t.Error("not told apart by /64")
	}
}
