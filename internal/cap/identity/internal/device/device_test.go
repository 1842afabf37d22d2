package device

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDevicesAreNamedAsPeopleKnowThem(t *testing.T) {
	for _, c := range []struct{ ua, brands, platform, want string }{
		{"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "", "", "Firefox on Linux"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36", "", "", "Chrome on Windows"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", "", "", "Edge on Windows"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15", "", "", "Safari on macOS"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1", "", "", "Safari on iPhone"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0.0.0 Mobile/15E148 Safari/604.1", "", "", "Chrome on iPhone"},
		{"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36", "", "", "Samsung Internet on Android"},
		{"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36", "", "", "Chrome on ChromeOS"},
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36", `"Chromium";v="140", "Brave";v="140", "Not=A?Brand";v="24"`, `"Linux"`, "Brave on Linux"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36", `"Google Chrome";v="140"`, `"macOS"`, "Chrome on macOS"},
		{"curl/8.5.0", "", "", "curl"},
		{"", "", "", "an unknown device"},
		{"Something (X11; FreeBSD amd64)", "", "", "a browser on FreeBSD"},
		{"<script>alert(1)</script>\r\nx", "<b>", "<i>", "an unknown device"},
		{strings.Repeat("x", 2000) + "Firefox/1 Linux", "", "", "an unknown device"},
	} {
		if got := Parse(c.ua, c.brands, c.platform).String(); got != c.want {
			t.Errorf("%.80q: %s instead of %s", c.ua, got, c.want)
		}
	}
	if !Parse("Mozilla/5.0 (Linux; Android 10; K) Chrome/1 Mobile Safari/537.36", "", "").Mobile || Parse("Mozilla/5.0 (X11; Linux) Firefox/1", "", "").Mobile {
		t.Error("mobile")
	}
}

func TestNetworkOfAnAddress(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.77":           "192.0.2.0/24",
		"::ffff:192.0.2.77":    "192.0.2.0/24",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1::/48",
		"fe80::1%eth0":         "fe80::/48",
	} {
		if got := Network(netip.MustParseAddr(in)); got.String() != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	if Network(netip.Addr{}).IsValid() {
		t.Error("an invalid address has a network")
	}
}

func TestTravel(t *testing.T) {
	berlin := Place{City: "Berlin", Country: "DE", Lat: 52.52, Lon: 13.40, Located: true}
	sydney := Place{City: "Sydney", Country: "AU", Lat: -33.87, Lon: 151.21, Located: true}
	paris := Place{City: "Paris", Country: "FR", Lat: 48.86, Lon: 2.35, Located: true}
	vague := Place{Country: "FR", Lat: 48.86, Lon: 2.35, Radius: 500, Located: true}
	west, east := Place{Lon: -179.9, Located: true}, Place{Lon: 179.9, Located: true}
	for _, c := range []struct {
		name string
		a, b Place
		in   time.Duration
		want bool
	}{
		{"around the world in an hour", berlin, sydney, time.Hour, true},
		{"around the world in a day", berlin, sydney, 24 * time.Hour, false},
		{"880 km at once", berlin, paris, 0, true},
		{"880 km by plane", berlin, paris, time.Hour, false},
		{"a clock that went back", berlin, paris, -time.Hour, true},
		{"a country's middle", berlin, vague, 0, false},
		{"same place", berlin, berlin, 0, false},
		{"unknown", berlin, Place{}, 0, false},
		{"over the date line", west, east, 0, false},
	} {
		if got := Impossible(c.a, c.b, c.in); got != c.want || got != Impossible(c.b, c.a, c.in) {
			t.Errorf("%s: %v, %.0f km", c.name, got, Distance(c.a, c.b))
		}
	}
	if d := Distance(berlin, sydney); math.Abs(d-16_090) > 50 {
		t.Errorf("%f km", d)
	}
	if s := berlin.String() + "|" + vague.String() + "|" + (Place{}).String(); s != "Berlin, DE|FR|" {
		t.Error(s)
	}
}

// Values as the format writes them (MaxMind DB file format 2.0, "Output Data Section").
func text(s string) []byte {
	if len(s) >= 29 {
		return append([]byte{2<<5 | 29, byte(len(s) - 29)}, s...)
	}
	return append([]byte{2<<5 | byte(len(s))}, s...)
}

func double(f float64) []byte {
	return binary.BigEndian.AppendUint64([]byte{3<<5 | 8}, math.Float64bits(f))
}

func number(kind byte, v uint64) []byte { // 5 uint16, 6 uint32, 9 uint64
	size := map[byte]int{5: 2, 6: 4, 9: 8}[kind]
	b := binary.BigEndian.AppendUint64(nil, v)[8-size:]
	if kind > 7 {
		return append([]byte{byte(size), kind - 7}, b...)
	}
	return append([]byte{kind<<5 | byte(size)}, b...)
}

func object(pairs ...any) []byte {
	out := []byte{7<<5 | byte(len(pairs)/2)}
	for i := 0; i < len(pairs); i += 2 {
		out = append(append(out, text(pairs[i].(string))...), pairs[i+1].([]byte)...)
	}
	return out
}

// database has data for one IPv4 network, and none for the rest.
func database(network netip.Prefix, data []byte) []byte {
	bits, addr := network.Bits(), network.Addr().As4()
	var b bytes.Buffer
	record := func(v int) { b.Write([]byte{byte(v >> 16), byte(v >> 8), byte(v)}) }
	for i := range bits {
		next := i + 1
		if next == bits {
			next = bits + 16 // the first byte of the data
		}
		if addr[i/8]>>(7-i%8)&1 == 0 {
			record(next)
			record(bits)
		} else {
			record(bits)
			record(next)
		}
	}
	b.Write(make([]byte, 16))
	b.Write(data)
	b.WriteString("\xab\xcd\xefMaxMind.com")
	b.Write(object("node_count", number(6, uint64(bits)), "record_size", number(5, 24), "ip_version", number(5, 4),
		"database_type", text("Test-City"), "languages", []byte{0, 4}, "description", object("en", text("test")),
		"binary_format_major_version", number(5, 2), "binary_format_minor_version", number(5, 0), "build_epoch", number(9, 1_700_000_000)))
	return b.Bytes()
}

func city(lat float64) []byte {
	return object("city", object("names", object("en", text("Berlin"))), "country", object("iso_code", text("DE")),
		"location", object("latitude", double(lat), "longitude", double(13.4), "accuracy_radius", number(5, 20)))
}

func file(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "city.mmdb")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPlacesOfADatabase(t *testing.T) {
	p, err := OpenPlaces(file(t, database(netip.MustParsePrefix("192.0.2.0/24"), city(52.5))))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	berlin := Place{City: "Berlin", Country: "DE", Lat: 52.5, Lon: 13.4, Radius: 20, Located: true}
	for address, want := range map[string]Place{"192.0.2.77": berlin, "::ffff:192.0.2.77": berlin, "192.0.3.1": {}, "127.0.0.1": {}} {
		if got, err := p.Lookup(netip.MustParseAddr(address)); err != nil || got != want {
			t.Errorf("%s: %s %v", address, cmp.Diff(want, got), err)
		}
	}
	if got, err := p.Lookup(netip.Addr{}); err != nil || got != (Place{}) {
		t.Errorf("invalid address: %v %v", got, err)
	}
	if got, err := (*Places)(nil).Lookup(netip.MustParseAddr("192.0.2.1")); err != nil || got != (Place{}) {
		t.Errorf("no database: %v %v", got, err)
	}
}

func TestNonsenseOfADatabaseIsLeftOut(t *testing.T) {
	for name, lat := range map[string]float64{"north of the pole": 91, "not a number": math.NaN(), "infinite": math.Inf(1)} {
		p, err := OpenPlaces(file(t, database(netip.MustParsePrefix("192.0.2.0/24"), city(lat))))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Lookup(netip.MustParseAddr("192.0.2.1")); err == nil || got.Located || got.City != "Berlin" {
			t.Errorf("%s: %+v %v", name, got, err)
		}
		_ = p.Close()
	}
	good := database(netip.MustParsePrefix("192.0.2.0/24"), city(52.5))
	for name, b := range map[string][]byte{"empty": nil, "text": []byte("hello"), "cut": good[:len(good)/2], "tree cut": good[100:]} {
		if p, err := OpenPlaces(file(t, b)); err == nil {
			_ = p.Close()
			t.Errorf("%s: opened", name)
		}
	}
	if _, err := OpenPlaces(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("opened what isn't there")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", `"Brave";v="1"`, `"Linux"`)
	f.Fuzz(func(t *testing.T, ua, brands, platform string) {
		if s := Parse(ua, brands, platform).String(); len(s) > 40 || strings.ContainsAny(s, "<>\"\r\n") {
			t.Errorf("%q", s)
		}
	})
}

func FuzzOpenPlaces(f *testing.F) {
	good := database(netip.MustParsePrefix("192.0.2.0/24"), city(52.5))
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := OpenPlaces(file(t, b))
		if err != nil {
			return
		}
		defer func() { _ = p.Close() }()
		_, _ = p.Lookup(netip.MustParseAddr("192.0.2.1")) // doesn't panic
	})
}
