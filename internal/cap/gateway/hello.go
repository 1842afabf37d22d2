package gateway

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

// client is what the gateway knows of the other end of a connection, once TLS is up.
type client struct {
	fingerprint atomic.Pointer[string]
	certs       atomic.Pointer[[]*x509.Certificate] // shown in the handshake, and so the first is possessed; not verified

	from  netip.Prefix
	since time.Time
	got   atomic.Int64 // bytes that came, as they came
	h2    atomic.Bool  // it offers HTTP/2, and so may keep a connection ready
	plain atomic.Bool  // it began with HTTP, as a browser does that takes the port for another
	asked atomic.Bool  // it has brought a whole request

	bodies atomic.Int32  // that it brings slowly
	conn   net.Conn      // without TLS
	clock  *atomic.Int64 // the time of the last report, in Unix ms: near enough
	wrote  atomic.Int64  // when something was last sent to it, by clock
	taken  int64         // guarded by sights.mu: of wrote, when all of it had been taken
}

// print is the fingerprint of the client's hello, "" if there is none.
func (c *client) print() string {
	if p := c.fingerprint.Load(); p != nil {
		return *p
	}
	return ""
}

// edgeConn carries the client through crypto/tls, whose callbacks know only the connection.
type edgeConn struct {
	net.Conn
	client *client
}

// Read counts what comes.
func (e *edgeConn) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	if e.client.got.Add(int64(n)) == int64(n) && (bytes.HasPrefix(b[:n], []byte("GET ")) || bytes.HasPrefix(b[:n], []byte("POST"))) {
		e.client.plain.Store(true)
	}
	return n, err
}

// Write notes when something was sent.
func (e *edgeConn) Write(b []byte) (int, error) {
	e.client.wrote.Store(e.client.clock.Load())
	return e.Conn.Write(b)
}

// SyscallConn is the connection's own: by it the engine sees that a client has gone while its service says nothing.
func (e *edgeConn) SyscallConn() (syscall.RawConn, error) {
	if c, ok := e.Conn.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// hello notes who is there, and asks for a certificate of the application's own authority: with it services authenticate at
// the token endpoint, and prove bound tokens everywhere (RFC 8705). A browser has none of that authority, and so asks nobody.
func (g *Gateway) hello(h *tls.ClientHelloInfo) (*tls.Config, error) {
	e, ok := h.Conn.(*edgeConn)
	if !ok {
		return nil, nil
	}
	p := fingerprint(h)
	e.client.fingerprint.Store(&p)
	e.client.h2.Store(slices.Contains(h.SupportedProtos, "h2"))
	s := g.state.Load()
	if s == nil || !s.plan.Users.On() || g.config.Roots == nil {
		return nil, nil
	}
	roots, err := g.config.Roots()
	if err != nil {
		return nil, fmt.Errorf("ask for a certificate: %w", err)
	}
	c := g.tls.Clone()
	c.ClientCAs = roots
	c.GetConfigForClient = nil
	c.ClientAuth = tls.RequestClientCert
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) > 0 {
			e.client.certs.Store(&cs.PeerCertificates)
		}
		return nil
	}
	return c, nil
}

// fingerprint tells kinds of TLS clients apart, as JA4 does: by what they offer, sorted, without GREASE (RFC 8701), which
// browsers shuffle. A cookie that moves to another program shows another one.
func fingerprint(h *tls.ClientHelloInfo) string {
	sorted := func(in []uint16) []uint16 {
		out := slices.DeleteFunc(slices.Clone(in), func(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff })
		slices.Sort(out)
		return out
	}
	curves := make([]uint16, len(h.SupportedCurves))
	for i, c := range h.SupportedCurves {
		curves[i] = uint16(c)
	}
	// Resumption adds pre_shared_key (41) and early_data (42), padding (21) comes and goes, and cookies come on retry.
	extensions := slices.DeleteFunc(sorted(h.Extensions), func(v uint16) bool { return v == 41 || v == 42 || v == 21 || v == 44 || v == 35 })
	schemes := make([]uint16, len(h.SignatureSchemes))
	for i, s := range h.SignatureSchemes {
		schemes[i] = uint16(s)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%v %v %v %v %v", sorted(h.CipherSuites), extensions, sorted(curves), sorted(schemes), sorted(h.SupportedVersions)))
	return hex.EncodeToString(sum[:12])
}
