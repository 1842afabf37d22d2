package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/gateway"
	"github.com/wardhq/ward/internal/cap/identity"
	"github.com/wardhq/ward/internal/cap/mesh"
	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// GatewayMain is the gateway's process.
func GatewayMain() error {
	return wire.RunRole(func(ctx context.Context, c *wire.RoleConfig, ready func()) (wire.Role, error) {
		e, err := newEdge(ctx, wire.NewClient(filepath.Join(wire.ControlDir, wire.ControlSocket)), c.TrustDomain)
		if err != nil {
			return nil, err
		}
		e.run(ctx, ready)
		return e, nil
	})
}

// edge is the gateway with what it lives on.
type edge struct {
	client    *wire.Client
	gateway   *gateway.Gateway
	meter     *telemetry.Meter
	source    *identity.Source
	bundles   *identity.Bundles
	spool     *wire.Spool
	listeners []net.Listener
	owned     sync.WaitGroup
}

func newEdge(ctx context.Context, c *wire.Client, trustDomain string) (*edge, error) {
	spool, err := wire.OpenSpool(wire.SpoolDir, "gateway")
	if err != nil {
		return nil, err
	}
	bundles, err := identity.NewBundles(ctx, c, clock.System{})
	if err != nil {
		return nil, err
	}
	e := &edge{client: c, bundles: bundles, spool: spool, meter: telemetry.NewMeter(time.Now())}
	e.source = identity.NewLinkSource(mesh.GatewayID(trustDomain), c, bundles, clock.System{})
	if _, err := e.source.Certificate(); err != nil {
		return nil, err
	}
	cert, err := ownCertificate()
	if err != nil {
		return nil, err
	}
	e.gateway, err = gateway.New(gateway.Config{
		Self: e.source, Roots: e.bundles.Roots, Clock: clock.System{}, Certificate: cert, Record: spool.Append, Log: slog.Default(), Meter: e.meter,
		DialAgent: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", filepath.Join(wire.IngressDir, wire.IngressSocket))
		},
		SignIn: c,
		DialPages: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", filepath.Join(wire.ControlDir, wire.PagesSocket))
		},
	})
	return e, err
}

// ownCertificate is the one that the model names under tls:, nil if it names none.
func ownCertificate() (*tls.Certificate, error) {
	if _, err := os.Stat(wire.GatewayTLS[0]); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	c, err := tls.LoadX509KeyPair(wire.GatewayTLS[0], wire.GatewayTLS[1])
	if err != nil {
		return nil, fmt.Errorf("gateway: tls: %w", err)
	}
	return &c, nil
}

func (e *edge) run(ctx context.Context, ready func()) {
	calls := newAllowed("gateway", e.meter)
	set := func(p *plan.Plan, today string) error {
		calls.set(p)
		return e.gateway.SetPlan(p, today)
	}
	followBoth(ctx, e.client, &e.owned, inForce{plan: set, restrict: e.gateway.SetRestrictions, ready: ready})
	e.owned.Go(func() { FollowUsers(ctx, e.client, e.gateway.SetUsers) })
	e.owned.Go(func() { followFingerprints(ctx, e.client, e.gateway.SetFingerprints) })
	e.owned.Go(func() { e.publishKey(ctx) })
	e.owned.Go(func() { e.gateway.Run(ctx) })
	e.owned.Go(func() { e.tellSightings(ctx) })
	e.owned.Go(func() { report(ctx, e.client, calls, e.spool, nil) })
	e.owned.Go(func() { e.bundles.Follow(ctx) })
	e.owned.Go(func() { e.source.Keep(ctx) })
	e.owned.Go(func() { e.spool.Send(ctx, e.client) })
	e.owned.Go(func() {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				e.gateway.Flush()
			case <-ctx.Done():
				return
			}
		}
	})
}

// followFingerprints hands on what no response and no span may show until ctx ends.
func followFingerprints(ctx context.Context, c *wire.Client, set func(*leak.Fingerprints)) {
	wire.Follow(ctx, "follow fingerprints", func(have string) (uint64, error) {
		f, err := c.Fingerprints(ctx, have)
		if err != nil || ctx.Err() != nil {
			return 0, err
		}
		prints, err := leak.Unmarshal(f.Prints)
		if err == nil {
			set(prints)
		}
		return f.Sequence, err
	})
}

// sightEvery is how often control hears of clients that may be attacking: an answer is to come within a second.
const sightEvery = 250 * time.Millisecond

// tellSightings tells control what clients did until ctx ends. What control doesn't hear is lost.
func (e *edge) tellSightings(ctx context.Context) {
	t := time.NewTicker(sightEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if all := e.gateway.Sightings(); len(all) > 0 {
			if err := e.client.ReportSightings(ctx, all); err != nil && ctx.Err() == nil {
				slog.Warn("report sightings", "error", err)
			}
		}
	}
}

// FollowRestrictions applies what answers to attacks restrict, until ctx ends; first is called after the first. What control last said stays in
// force while it is away.
func FollowRestrictions(ctx context.Context, c *wire.Client, set func(wire.Restrictions), first func()) {
	wire.Follow(ctx, "follow restrictions", func(have string) (uint64, error) {
		all, err := c.Restrictions(ctx, have)
		if err == nil && ctx.Err() == nil {
			set(all)
			if first != nil {
				first()
				first = nil
			}
		}
		return all.Sequence, err
	})
}

// inForce puts what control says into force.
type inForce struct {
	plan     func(*plan.Plan, string) error
	restrict func(wire.Restrictions)
	ready    func() // both are
}

// followBoth applies what control says of the plan and of what answers restrict, until ctx ends; ready is called once both are in force. Sockets
// are served from the start, and refuse all while there is no plan: it waits, so that who was closed out isn't let in meanwhile.
func followBoth(ctx context.Context, c *wire.Client, owned *sync.WaitGroup, to inForce) {
	known := make(chan struct{})
	owned.Go(func() { FollowRestrictions(ctx, c, to.restrict, func() { close(known) }) })
	owned.Go(func() {
		select {
		case <-known:
			FollowPlan(ctx, c, to.plan, to.ready)
		case <-ctx.Done():
		}
	})
}

// publishKey gives control the public key of this gateway's transaction tokens, again and again until it has it.
func (e *edge) publishKey(ctx context.Context) {
	key, err := e.gateway.TxnKey()
	if err != nil {
		slog.Error("publish key of transaction tokens", "error", err)
		return
	}
	for ctx.Err() == nil {
		if err = e.client.PublishKey(ctx, key); err == nil {
			e.gateway.Published()
			return
		}
		slog.Warn("publish key of transaction tokens", "error", err)
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// Obey carries out one order of the supervisor.
func (e *edge) Obey(ctx context.Context, m *wire.ToRole, files []*os.File) error {
	if m.Listen == nil {
		return errors.New("unexpected message")
	}
	ln, err := wire.Listener(files)
	if err != nil {
		return err
	}
	e.listeners = append(e.listeners, ln)
	switch m.Listen.Purpose {
	case wire.ListenHTTPS:
		e.owned.Go(func() { e.gateway.ServeHTTPS(ln) })
	case wire.ListenHTTP:
		e.owned.Go(func() { e.gateway.ServeRedirect(ctx, ln) })
	default:
		return errors.New("a socket for something else came")
	}
	return nil
}

// Drain lets requests end for a moment.
func (e *edge) Drain() {
	for _, ln := range e.listeners {
		ln.Close()
	}
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	e.gateway.Shutdown(ctx)
}

// Close waits for everything.
func (e *edge) Close() error {
	e.owned.Wait()
	return nil
}
