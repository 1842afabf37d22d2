// Package agent is the data plane's process on each host: it holds the identities of the services that its
// supervisor started, carries their calls by package mesh, and serves each its own
// Workload API.
//
// Guarantee: it decides on the last plan that control gave it, also while control is away; with none, it
// denies all; a service's identity goes only to the listener that its supervisor made for
// it. Sandboxed itself, it can start nothing and write only its spool.
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
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/pki"
	"github.com/wardhq/ward/internal/cap/identity"
	"github.com/wardhq/ward/internal/cap/mesh"
	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// Agent is one host's data plane.
type Agent struct {
	egress      *egress
	keys        *keyAPI
	accounts    *accounts
	trustDomain string
	control     *wire.Client
	bundles     *identity.Bundles
	clock       clock.Clock
	spool       *wire.Spool
	mesh        *mesh.Mesh
	meter       *telemetry.Meter
	allowed     *allowed
	intake      *watch.Intake
	owned       sync.WaitGroup

	mu      sync.Mutex
	sources map[string]sources         // guarded by mu: by service
	arrived map[wire.Instance]*arrival // guarded by mu: attachments that aren't complete
	serving map[wire.Instance]func()   // guarded by mu: ends an instance's Workload API
}

// sources are one service's identity, once for the agent's own connections and once for the
// service itself.
type sources struct{ link, workload *identity.Source }

// arrival gathers the messages of one Attach.
type arrival struct {
	inbound   *sandbox.Inbound
	workload  net.Listener
	listeners []net.Listener
}

// New connects to control and fetches the trust bundle.
func New(ctx context.Context, c *wire.Client, role *wire.RoleConfig, spoolDir string) (*Agent, error) {
	trustDomain := role.TrustDomain
	spool, err := wire.OpenSpool(spoolDir, "agent")
	if err != nil {
		return nil, err
	}
	bundles, err := identity.NewBundles(ctx, c, clock.System{})
	if err != nil {
		return nil, err
	}
	a := &Agent{
		trustDomain: trustDomain, control: c, bundles: bundles, clock: clock.System{}, spool: spool,
		sources: map[string]sources{}, arrived: map[wire.Instance]*arrival{}, serving: map[wire.Instance]func(){},
	}
	a.keys = &keyAPI{}
	a.accounts = newAccounts(c, a.clock)
	a.meter = telemetry.NewMeter(a.clock.Now())
	a.allowed = newAllowed("agent", a.meter)
	a.intake = watch.NewIntake(a.clock)
	a.mesh = mesh.New(mesh.Config{
		ServerTLS:   pki.Server(a.clock, trustDomain, bundles.Roots, a.choose),
		PeerService: a.peerService,
		Record:      spool.Append,
		Self:        &mesh.Self{Dial: c.Dial, Target: a.keys.target},
		Traces:      a.intake.Handler,
		Accounts:    a.accounts,
		Meter:       a.meter,
		Learn:       newLearner(role.LearnUntil, a.clock, spool.Append),
	})
	a.egress = newEgress(a.mesh.DialDatabase)
	return a, nil
}

// FollowPlan applies every plan that control has, until ctx ends; first is called after the first.
func FollowPlan(ctx context.Context, c *wire.Client, set func(*plan.Plan, string) error, first func()) {
	have, day := "", ""
	for ctx.Err() == nil {
		s, err := c.Plan(ctx, have)
		if err == nil && (s.Revision != have || s.Today != day) {
			// A new day may end observe rules.
			err = set(s.Plan, s.Today)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			slog.Warn("follow plan", "error", err)
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		have, day = s.Revision, s.Today
		if first != nil {
			first()
			first = nil
		}
	}
}

// tick writes the counts of denials each second, and the use of grants every few.
func (a *Agent) tick(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		a.mesh.FlushDenials()
		if n%5 == 0 {
			a.reportUse(ctx)
		}
	}
}

func (a *Agent) reportUse(ctx context.Context) {
	p, hits := a.mesh.Hits()
	u := wire.Usage{Hits: map[string]int64{}}
	for i, n := range hits {
		if n > 0 {
			u.Hits[wire.GrantKey(&p.Rules[i])] += n
		}
	}
	if len(u.Hits) == 0 {
		return
	}
	if err := a.control.Call(ctx, "POST", "/v1/usage", u, nil); err != nil {
		slog.Warn("report use of grants", "error", err)
	}
}

// choose finds the identity that a connection to the ingress asks for: only services that run here.
func (a *Agent) choose(serverName string) (pki.Source, error) {
	service, _, err := pki.ParseTargetName(serverName, a.trustDomain)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sources[service].link
	if s == nil {
		return nil, fmt.Errorf("service %s doesn't run here", service)
	}
	return s, nil
}

// peerService turns a verified peer into a caller of the plan.
func (a *Agent) peerService(cs tls.ConnectionState) (string, error) {
	id, err := pki.PeerID(cs)
	if err != nil {
		return "", err
	}
	if id == mesh.GatewayID(a.trustDomain) {
		return plan.Outside, nil
	}
	name, ok := strings.CutPrefix(id, "spiffe://"+a.trustDomain+"/svc/")
	if !ok {
		return "", fmt.Errorf("%s is no caller of services", id)
	}
	return name, nil
}

// attach takes one message of an instance's arrival; with the last, it serves.
func (a *Agent) attach(ctx context.Context, m *wire.Attach, files []*os.File) error {
	a.mu.Lock()
	arr := a.arrived[m.Instance]
	if arr == nil {
		arr = &arrival{}
		a.arrived[m.Instance] = arr
	}
	a.mu.Unlock()
	switch {
	case m.Inbound && len(files) == 1:
		arr.inbound = sandbox.OpenInbound(files[0])
	case m.Workload:
		ln, err := wire.Listener(files)
		if err != nil {
			return err
		}
		arr.workload = ln
	case m.Last:
		return a.complete(ctx, m, arr)
	default:
		for _, f := range files {
			ln, err := wire.Listener([]*os.File{f})
			if err != nil {
				return err
			}
			arr.listeners = append(arr.listeners, ln)
		}
	}
	return nil
}

func (a *Agent) complete(ctx context.Context, m *wire.Attach, arr *arrival) error {
	if arr.inbound == nil {
		return fmt.Errorf("attach %s: no channel into its sandbox came", m.Service)
	}
	a.mu.Lock()
	delete(a.arrived, m.Instance)
	src := a.sources[m.Service]
	if src.link == nil {
		id := "spiffe://" + a.trustDomain + "/svc/" + m.Service
		src.link = identity.NewLinkSource(id, a.control, a.bundles, a.clock)
		src.workload = identity.NewSource(id, a.control, a.bundles, a.clock)
		a.sources[m.Service] = src
		a.owned.Go(func() { src.link.Keep(ctx) })
		a.owned.Go(func() { src.workload.Keep(ctx) })
	}
	a.mu.Unlock()
	a.accounts.attach(m.Instance)
	a.mesh.Attach(m.Instance, m.Upstreams, arr.listeners, arr.inbound)
	if arr.workload != nil {
		run, stop := context.WithCancel(ctx)
		a.mu.Lock()
		a.serving[m.Instance] = stop
		a.mu.Unlock()
		a.owned.Go(func() {
			if err := identity.ServeWorkload(run, arr.workload, src.workload); err != nil {
				slog.Error("serve Workload API", "service", m.Service, "error", err)
			}
		})
	}
	return nil
}

func (a *Agent) detach(id wire.Instance) {
	a.mu.Lock()
	stop := a.serving[id]
	delete(a.serving, id)
	delete(a.arrived, id)
	a.mu.Unlock()
	if stop != nil {
		stop()
	}
	a.mesh.Detach(id)
	a.accounts.detach(id)
}

// Main is the agent's process.
func Main() error {
	return wire.RunRole(func(ctx context.Context, c *wire.RoleConfig, ready func()) (wire.Role, error) {
		a, err := New(ctx, wire.NewClient(filepath.Join(wire.ControlDir, wire.ControlSocket)), c, wire.SpoolDir)
		if err != nil {
			return nil, err
		}
		a.owned.Go(func() { a.bundles.Follow(ctx) })
		a.owned.Go(func() { a.spool.Send(ctx, a.control) })
		a.owned.Go(func() { a.tick(ctx) })
		a.owned.Go(func() { report(ctx, a.control, a.allowed, a.spool, a.intake) })
		followBoth(ctx, a.control, &a.owned, inForce{plan: a.setPlan, restrict: a.mesh.SetRestrictions, ready: ready})
		a.owned.Go(func() { FollowUsers(ctx, a.control, a.setUsers) })
		a.owned.Go(func() { a.followSecrets(ctx) })
		a.owned.Go(func() { followFingerprints(ctx, a.control, a.intake.SetFingerprints) })
		return a, nil
	})
}

// Drain lets requests end for a moment.
func (a *Agent) Drain() {
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	a.mesh.Shutdown(ctx)
	a.accounts.close()
}

// Close waits for everything.
func (a *Agent) Close() error {
	a.owned.Wait()
	return nil
}

// Obey carries out one order of the supervisor.
func (a *Agent) Obey(ctx context.Context, m *wire.ToRole, files []*os.File) error {
	switch {
	case m.Attach != nil:
		return a.attach(ctx, m.Attach, files)
	case m.Detach != nil:
		a.detach(*m.Detach)
		return nil
	case m.Listen != nil && m.Listen.Purpose == wire.ListenIngress:
		ln, err := wire.Listener(files)
		if err != nil {
			return err
		}
		go a.mesh.ServeIngress(ln) // ends with the process: the socket outlives us
		return nil
	case m.Listen != nil && m.Listen.Purpose == wire.ListenEgress:
		ln, err := wire.Listener(files)
		if err != nil {
			return err
		}
		go a.serveEgress(ctx, ln) // as above
		return nil
	}
	return errors.New("unexpected message")
}

var _ pki.Source = (*identity.Source)(nil)
