package mesh

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/phrase"
)

// external is a destination outside, with what its answers may be.
type external struct {
	model.External
	allowed []netip.Prefix // addresses that the model names
	tls     *tls.Config    // for TLSOriginate
	// credential is what Ward adds to calls; nil for nothing.
	credential *credential
}

// with is the external with the values that secrets have now.
func (x *external) with(values map[string][]byte) (*external, error) {
	if x.Auth == nil {
		return x, nil
	}
	c, err := newCredential(&x.External, values)
	if err != nil {
		return nil, err
	}
	out := *x
	out.credential = c
	if x.Auth.Kind == phrase.Certificate {
		out.tls = x.tls.Clone()
		out.tls.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.certificate, nil }
	}
	return &out, nil
}

func newExternal(x model.External, ca string) (*external, error) {
	e := &external{External: x}
	for _, a := range x.Addresses {
		p, err := netip.ParsePrefix(a)
		if err != nil {
			ip, ipErr := netip.ParseAddr(a)
			if ipErr != nil {
				return nil, fmt.Errorf("external %s: address %q: %w", x.Name, a, ipErr)
			}
			p = netip.PrefixFrom(ip, ip.BitLen())
		}
		e.allowed = append(e.allowed, p)
	}
	if ip, err := netip.ParseAddr(x.Host); err == nil {
		e.allowed = append(e.allowed, netip.PrefixFrom(ip, ip.BitLen()))
	}
	if x.TLS == model.TLSOriginate {
		e.tls = &tls.Config{ServerName: x.Host, MinVersion: tls.VersionTLS12}
		if x.CAFile != "" {
			e.tls.RootCAs = x509.NewCertPool()
			if !e.tls.RootCAs.AppendCertsFromPEM([]byte(ca)) {
				return nil, fmt.Errorf("external %s: ca: %s holds no certificate", x.Name, x.CAFile)
			}
		}
		if x.Protocol == model.GRPC || x.Protocol == model.H2C {
			e.tls.NextProtos = []string{"h2"}
		}
	}
	return e, nil
}

// showsAnother tells whether a new connection shows another certificate.
func (x *external) showsAnother(now *external) bool {
	if x == nil || x.credential == nil || x.Auth.Kind != phrase.Certificate {
		return false
	}
	before, after := x.credential.certificate, now.credential.certificate
	return before == nil || after == nil || !slices.EqualFunc(before.Certificate, after.Certificate, bytes.Equal)
}

// isHost tells whether a Host header or SNI names this external.
func (x *external) isHost(h string) bool {
	h = strings.TrimSuffix(h, ".")
	return strings.EqualFold(h, x.Host) || h == string(x.Name)
}

// checksSNI: a service that speaks TLS itself must ask for the host that it was granted, or else it could
// talk to any other site behind the same address.
func (x *external) checksSNI() bool { return x.TLS == model.TLSPassthrough }

// dial resolves the name outside, checks every answer, and connects.
func (x *external) dial(ctx context.Context) (net.Conn, error) {
	if c := x.credential; c != nil && c.missing != "" && c.auth.Kind == phrase.Certificate {
		return nil, fmt.Errorf("external %s: %s", x.Name, c.missing)
	}
	addresses, err := x.resolve(ctx)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	var last error
	for _, a := range addresses {
		c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), strconv.Itoa(x.Port)))
		if err != nil {
			last = err
			continue
		}
		if x.tls == nil {
			return c, nil
		}
		t := tls.Client(c, x.tls)
		if err := t.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, fmt.Errorf("external %s: TLS: %w", x.Name, err)
		}
		return t, nil
	}
	return nil, fmt.Errorf("external %s: %w", x.Name, last)
}

// resolve returns the addresses of the name that may be dialled. One forbidden answer among
// allowed ones is left out; none left is an error.
func (x *external) resolve(ctx context.Context) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(x.Host); err == nil {
		return []netip.Addr{ip}, nil
	}
	if fixed := x.fixed(); len(fixed) > 0 {
		return fixed, nil
	}
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", x.Host)
	if err != nil {
		return nil, fmt.Errorf("external %s: %w", x.Name, err)
	}
	own := ownAddresses()
	var ok []netip.Addr
	for _, a := range all {
		if x.mayDial(a.Unmap()) && (!own[a.Unmap()] || x.names(a.Unmap())) {
			ok = append(ok, a.Unmap())
		}
	}
	if len(ok) == 0 {
		return nil, fmt.Errorf("external %s: its name leads to %v, which is not a public address; name it under addresses: to allow it", x.Name, all)
	}
	return ok, nil
}

// ResolvePublic returns the public addresses of a name; none is an error.
func ResolvePublic(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return nil, fmt.Errorf("%s is an address, not a name", ip)
	}
	x := external{External: model.External{Name: "a provider", Host: host}}
	return x.resolve(ctx)
}

// fixed are the single addresses that the model names: then nobody's DNS is asked.
func (x *external) fixed() []netip.Addr {
	var out []netip.Addr
	for _, p := range x.allowed {
		if !p.IsSingleIP() {
			return nil
		}
		out = append(out, p.Addr())
	}
	return out
}

// notPublic are ranges that netip has no word for: shared, benchmarking, documentation, reserved,
// and the metadata services' IPv6 address (RFC 6890, and the clouds' documentation).
var notPublic = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("fd00:ec2::/32"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"),
}

// ownAddresses are this host's: a name outside that leads back here would reach what trusts its own machine.
func ownAddresses() map[netip.Addr]bool {
	own := map[netip.Addr]bool{}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return own // the ranges below still hold
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				own[ip.Unmap()] = true
			}
		}
	}
	return own
}

// names tells whether the model names the address.
func (x *external) names(a netip.Addr) bool {
	for _, p := range x.allowed {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// mayDial refuses what a name outside has no business to point at, unless the model names it.
func (x *external) mayDial(a netip.Addr) bool {
	if x.names(a) {
		return true
	}
	if len(x.Addresses) > 0 {
		return false // the model says which, and this is none of them
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return a.IsGlobalUnicast() && !a.IsPrivate()
}

// maxClientHello bounds the bytes that are read to find the server name.
const maxClientHello = 16 << 10

var errHelloRead = errors.New("client hello read")

// readSNI reads a TLS ClientHello (RFC 8446 §4.1.2) for its server name (RFC 6066
// §3) and returns a connection that yields the same bytes again.
func readSNI(c net.Conn) (net.Conn, string, error) {
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	var seen bytes.Buffer
	var name string
	got := false
	err := tls.Server(helloConn{Conn: c, r: io.TeeReader(io.LimitReader(c, maxClientHello), &seen)}, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			name, got = h.ServerName, true
			return nil, errHelloRead
		},
	}).Handshake()
	_ = c.SetReadDeadline(time.Time{})
	if !got {
		return nil, "", fmt.Errorf("read server name: %w", err)
	}
	return replayConn{Conn: c, r: io.MultiReader(&seen, c)}, name, nil
}

// helloConn lets crypto/tls read, and swallows the alert that it would send.
type helloConn struct {
	net.Conn
	r io.Reader
}

func (c helloConn) Read(b []byte) (int, error)  { return c.r.Read(b) }
func (c helloConn) Write(b []byte) (int, error) { return len(b), nil }

// replayConn yields what was read ahead, then the connection.
type replayConn struct {
	net.Conn
	r io.Reader
}

func (c replayConn) Read(b []byte) (int, error) { return c.r.Read(b) }

// CloseWrite passes a half-close on.
func (c replayConn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}
