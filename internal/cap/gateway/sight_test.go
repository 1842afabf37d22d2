package gateway

import (
	"net/netip"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/wire"
)

// TestAnswersStandAgainstAddressesAndNetworks of the given width, while they last.
func TestAnswersStandAgainstAddressesAndNetworks(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	g := &Gateway{config: Config{Clock: clock.Func(func() time.Time { return now })}}
	until := now.Add(time.Minute)
	one := func(id, client string, slow bool) wire.Restriction {
		return wire.Restriction{ID: id, Client: netip.MustParsePrefix(client), Slow: slow, Until: until}
	}
	over := one("over", "192.0.2.0/25", false)
	over.Until = now
	g.SetRestrictions(wire.Restrictions{All: []wire.Restriction{
		one("address", "203.0.113.7/32", false), one("network", "198.51.100.0/24", false), one("six", "2001:db8::/64", false), one("wide", "2001:db8:9::/48", false), over, one("slow", "192.0.2.0/24", true), {Service: "web"},
	}})
	for client, want := range map[string]string{
		"203.0.113.7": "address", "203.0.113.8": "", "198.51.100.9": "network", "198.51.101.9": "", "2001:db8::9": "six", "2001:db8:0:1::9": "", "2001:db8:9:7::1": "wide", "::ffff:203.0.113.7": "address",
	} {
		if wait, id := g.standing.Load().refuses(networkOf(netip.MustParseAddr(client))); id != want || (wait == time.Minute) != (want != "") {
			t.Errorf("%s: %s for %s, want %q", client, id, wait, want)
		}
	}
	for i, want := range []string{"", "slow"} { // one request a second, for all of the network
		if _, id := g.standing.Load().refuses(networkOf(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))); id != want {
			t.Errorf("request %d of a slowed network: %q", i, id)
		}
	}
	now = now.Add(time.Second)
	if _, id := g.standing.Load().refuses(networkOf(netip.MustParseAddr("192.0.2.9"))); id != "" {
		t.Error("it never gets a turn again")
	}
	other := netip.MustParsePrefix("203.0.113.9/32")
	if n := testing.AllocsPerRun(100, func() { g.standing.Load().refuses(other) }); n > 0 {
		t.Errorf("%f allocations a request", n)
	}
}
