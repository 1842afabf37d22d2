package mesh

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/pki"
)

// Agents reaches services on other hosts through the agents there: TLS 1.3, the caller's SVID on this side, the
// target's on the other.
type Agents struct {
	TrustDomain string
	Clock       clock.Clock
	// Address is where the agent that runs a service listens; "" if nobody runs it.
	Address func(service string) string
	// Source is the identity of a service of this host.
	Source func(service string) (pki.Source, error)
}

// Dial opens a connection to a service's port at its own agent, as caller.
func (a *Agents) Dial(ctx context.Context, caller, target string, port int) (net.Conn, error) {
	address := a.Address(target)
	if address == "" {
		return nil, fmt.Errorf("no agent runs %s", target)
	}
	self, err := a.Source(caller)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("reach the agent of %s: %w", target, err)
	}
	id := "spiffe://" + a.TrustDomain + "/svc/" + target
	t := tls.Client(c, pki.Client(a.Clock, self, a.TrustDomain, id, pki.TargetName(target, port, a.TrustDomain)))
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("reach the agent of %s: %w", target, err)
	}
	return t, nil
}
