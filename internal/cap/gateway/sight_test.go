package gateway

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/telemetry"
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

// TestNoPageClosesItsReadersOut: what a page can make a browser send is counted apart, and what can't be told from it not at all.
func TestNoPageClosesItsReadersOut(t *testing.T) {
	e := newEdge(t)
	sighted := func(path string, fields ...string) wire.Sighting {
		t.Helper()
		e.ask("localhost", "GET", path, fields...)
		var all wire.Sightings
		for end := time.Now().Add(10 * time.Second); len(all) == 0 && time.Now().Before(end); { // it is noted after the answer
			all = e.g.Sightings()
		}
		if len(all) != 1 {
			t.Fatalf("%s %q: %+v", path, fields, all)
		}
		return all[0]
	}
	for _, path := range []string{"/.env", "/open/x?id=1%27%20OR%20%271%27=%271", "/%00"} {
		for _, fields := range [][]string{
			{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "image"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
		} {
			if s := sighted(path, fields...); s.CrossSite != 1 || s.Honey != "" || s.Payloads+s.Malformed+len(s.Undeclared) != 0 {
				t.Errorf("%s with %q: %+v", path, fields, s)
			}
		}
		for _, fields := range [][]string{nil, {"Sec-Fetch-Site", "none", "Sec-Fetch-Dest", "document"}, {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "empty"}} {
			if s := sighted(path, fields...); s.CrossSite != 0 || s.Payloads+s.Malformed+len(s.Undeclared) != 1 {
				t.Errorf("%s with %q: %+v", path, fields, s)
			}
		}
	}
	if s := sighted("/open/x?id=1%27%20OR%20%271%27=%271"); s.Injection != "GET /open/x?id=1%27%20OR%20%271%27=%271" || s.Example != "" || s.InjectionTrace == (telemetry.TraceID{}) || s.ExampleTrace != (telemetry.TraceID{}) {
		t.Errorf("which request it was: %+v", s)
	}
	if s := sighted("/.env", "Origin", "https://localhost:8443"); s.CrossSite != 0 || s.Honey == "" || s.HoneyTrace == (telemetry.TraceID{}) || s.ExampleTrace != s.HoneyTrace {
		t.Errorf("of the application itself: %+v", s)
	}
	send := func(b string) {
		c, err := net.Dial("tcp", e.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = c.Write([]byte(b))
		_, _ = io.ReadAll(c) // until it is closed
	}
	half := func() { // a handshake that its client breaks off
		c, err := net.Dial("tcp", e.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := tls.Client(c, &tls.Config{ServerName: "localhost"}).Handshake(); err == nil {
			t.Error("the certificate is trusted")
		}
		_, _ = io.ReadAll(c)
	}
	send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	half()
	send("HELP\r\n\r\n")
	total := wire.Sighting{}
	for end := time.Now().Add(10 * time.Second); total.Malformed == 0 && time.Now().Before(end); {
		for _, s := range e.g.Sightings() {
			total.Malformed += s.Malformed
		}
	}
	e.ask("localhost", "GET", "/open/"+strings.Repeat("x", 100_000))
	e.g.Shutdown(t.Context()) // waits for what is noted after answers
	for _, s := range e.g.Sightings() {
		total.Malformed += s.Malformed
	}
	if total.Malformed != 1 {
		t.Errorf("%d are malformed", total.Malformed)
	}
}
