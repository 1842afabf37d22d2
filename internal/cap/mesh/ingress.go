package mesh

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/wardhq/ward/internal/base/pki"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/proxy"
)

// ServeIngress accepts the gateway and other agents, mutual TLS on each connection, until
// ln is closed.
func (m *Mesh) ServeIngress(ln net.Listener) {
	proxy.Accept(ln, func(c net.Conn) {
		m.wg.Go(func() { m.serveIngress(c) })
	})
}

func (m *Mesh) serveIngress(c net.Conn) {
	t := tls.Server(c, m.config.ServerTLS)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	err := t.HandshakeContext(ctx)
	cancel()
	if err != nil {
		m.config.Log.Warn("ingress handshake", "error", err)
		c.Close()
		return
	}
	l, err := m.ingressLink(t.ConnectionState())
	if err != nil {
		m.config.Log.Warn("ingress refused", "error", err)
		t.Close()
		return
	}
	// The engine would look for ALPN on a TLS connection; inside, both ends know the protocol from the plan.
	m.serve(tunnelConn{t}, l)
}

func (m *Mesh) ingressLink(cs tls.ConnectionState) (*link, error) {
	s := m.state.Load()
	if s == nil {
		return nil, errNoPlan
	}
	caller, err := m.config.PeerService(cs)
	if err != nil {
		return nil, err
	}
	target, port, err := pki.ParseTargetName(cs.ServerName, s.plan.TrustDomain)
	if err != nil {
		return nil, err
	}
	return &link{caller: caller, target: target, port: port, protocol: s.protocol(target, port), via: "ingress"}, nil
}

// protocol is what a service's port speaks; TCP, which is decided per connection, for one that isn't
// in the plan: no rule allows it.
func (s *state) protocol(service string, port int) model.Protocol {
	for i := range s.plan.Services {
		if string(s.plan.Services[i].Name) != service {
			continue
		}
		for _, l := range s.plan.Services[i].Listen {
			if l.Port == port {
				return l.Protocol
			}
		}
	}
	return model.TCP
}

// tunnelConn is a TLS connection that doesn't look like one.
type tunnelConn struct{ t *tls.Conn }

func (c tunnelConn) Read(b []byte) (int, error)         { return c.t.Read(b) }
func (c tunnelConn) Write(b []byte) (int, error)        { return c.t.Write(b) }
func (c tunnelConn) Close() error                       { return c.t.Close() }
func (c tunnelConn) CloseWrite() error                  { return c.t.CloseWrite() }
func (c tunnelConn) LocalAddr() net.Addr                { return c.t.LocalAddr() }
func (c tunnelConn) RemoteAddr() net.Addr               { return c.t.RemoteAddr() }
func (c tunnelConn) SetDeadline(t time.Time) error      { return c.t.SetDeadline(t) }
func (c tunnelConn) SetReadDeadline(t time.Time) error  { return c.t.SetReadDeadline(t) }
func (c tunnelConn) SetWriteDeadline(t time.Time) error { return c.t.SetWriteDeadline(t) }
