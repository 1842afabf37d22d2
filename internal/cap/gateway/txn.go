package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/txn"
	"github.com/wardhq/ward/internal/wire"
)

// TxnKey is the public key (JWK) that this gateway signs transaction tokens with. It is made at the start and never leaves
// the process: control has to publish it before agents believe a token.
func (g *Gateway) TxnKey() (json.RawMessage, error) {
	return json.Marshal(g.key.Public())
}

// Published says that agents believe TxnKey from now on; before, no request passes that needs a token.
func (g *Gateway) Published() { g.published.Store(true) }

var errNotPublished = fault.New(fault.Unavailable, "the gateway is starting")

// SetUsers takes control's state of people. What has ended counts also where an error says that keys couldn't be read.
func (g *Gateway) SetUsers(s *wire.UserState) error {
	foreign := map[string]issuer{}
	var problems []error
	for _, f := range s.Foreign {
		keys, err := jose.ParseKeySet(f.Keys)
		if err != nil {
			problems = append(problems, fmt.Errorf("take keys of %s: %w", f.Issuer, err))
			continue
		}
		foreign[f.Issuer] = issuer{keys: keys, audience: []string{f.Audience}}
	}
	return errors.Join(append(problems, g.people.set(s, foreign))...)
}

// mint makes the request's transaction token.
func (g *Gateway) mint(r *proxy.Request, id identified, rule *plan.Rule) (proxy.Header, error) {
	c := txn.Context{Context: policy.Context{Person: id.person, IP: addressOf(r.Conn.Remote)}, Session: id.session, Name: id.name}
	s := g.state.Load()
	m := txn.Minter{Key: g.key, Issuer: "spiffe://" + s.plan.TrustDomain + "/ward/gateway", TrustDomain: s.plan.TrustDomain, Clock: g.config.Clock}
	if err := m.Mint(&c, rule.Grant.String()); err != nil {
		return proxy.Header{}, err
	}
	return proxy.Header{Name: txn.Header, Value: c.Token}, nil
}

// addressOf is the IP address of a peer, "" if it has none.
func addressOf(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return ""
	}
	return strings.Clone(t.AddrPort().Addr().Unmap().WithZone("").String())
}

// newKey makes the key of this run.
func newKey() (*jose.Key, error) { return jose.GenerateKey(jose.EdDSA) }
