package mesh

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/model"
)

func mustExternal(t *testing.T, x model.External) *external {
	t.Helper()
	e, err := newExternal(x, "")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestNamesMayOnlyLeadToPublicAddresses(t *testing.T) {
	open := mustExternal(t, model.External{Name: "x", Host: "api.example", Port: 443})
	named := mustExternal(t, model.External{Name: "x", Host: "db.corp", Port: 5432, Addresses: []string{"10.1.0.0/16", "fd12::7"}})
	for address, want := range map[string]struct{ open, named bool }{
		"93.184.216.34":        {true, false}, // the model says which, so no other
		"2606:2800:220:1::1":   {true, false},
		"10.1.2.3":             {false, true},
		"fd12::7":              {false, true},
		"10.2.0.1":             {false, false},
		"127.0.0.1":            {false, false},
		"::1":                  {false, false},
		"0.0.0.0":              {false, false},
		"169.254.169.254":      {false, false}, // metadata
		"fd00:ec2::254":        {false, false},
		"100.100.100.200":      {false, false},
		"192.168.1.1":          {false, false},
		"172.16.0.1":           {false, false},
		"fe80::1":              {false, false},
		"224.0.0.1":            {false, false},
		"255.255.255.255":      {false, false},
		"64:ff9b::a9fe:a9fe":   {false, false}, // 169.254.169.254 behind NAT64
		"2002:7f00:1::1":       {false, false}, // 127.0.0.1 in 6to4
		"198.18.0.1":           {false, false},
		"::ffff:169.254.169.1": {false, false},
	} {
		a := netip.MustParseAddr(address).Unmap()
		if got := open.mayDial(a); got != want.open {
			t.Errorf("%s without addresses: %v", address, got)
		}
		if got := named.mayDial(a); got != want.named {
			t.Errorf("%s with addresses: %v", address, got)
		}
	}
}

func TestServerNameIsReadAndReplayed(t *testing.T) {
	for _, name := range []string{"api.example", ""} {
		client, server := net.Pipe()
		go func() {
			c := tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true})
			_ = c.Handshake() // nobody answers
		}()
		c, got, err := readSNI(server)
		if err != nil || got != name {
			t.Fatalf("server name %q, %v; want %q", got, err, name)
		}
		b := make([]byte, 3)
		if _, err := io.ReadFull(c, b); err != nil || b[0] != 22 || b[1] != 3 {
			t.Errorf("replayed % x, %v; want a handshake record", b, err)
		}
		client.Close()
		server.Close()
	}
	client, server := net.Pipe()
	go func() { io.WriteString(client, "GET / HTTP/1.1\r\n\r\n"); client.Close() }()
	if _, name, err := readSNI(server); err == nil {
		t.Errorf("found server name %q in plain HTTP", name)
	}
}

func TestOriginatedTLSIsVerified(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	port := s.Listener.Addr().(*net.TCPAddr).Port
	own := string(pemOf(s))
	for _, c := range []struct {
		name, host, ca string
		ok             bool
	}{
		{"its own authority", "example.com", own, true},
		{"unknown authority", "example.com", "", false},
		{"another name", "other.example", own, false},
	} {
		x := model.External{Name: "x", Host: c.host, Port: port, TLS: model.TLSOriginate, Addresses: []string{"127.0.0.1"}}
		if c.ca != "" {
			x.CAFile = "ca.pem"
		}
		e, err := newExternal(x, c.ca)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := e.dial(context.Background())
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			conn.Close()
		}
	}
	if _, err := newExternal(model.External{Name: "x", Host: "h", TLS: model.TLSOriginate, CAFile: "ca.pem"}, "nonsense"); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("a CA file without certificate: %v", err)
	}
}

func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
