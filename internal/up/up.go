// Package up supervises Ward on one machine: it starts control, gateway and agent,
// each in its own sandbox, and the services in theirs; hands descriptors from one to the
// other; restarts what dies.
//
// Guarantee: nothing outlives Run, also when the process is killed; a service gets no connection in or out
// but through the agent. This process holds the right to make sandboxes and the key of control's
// state for a moment; it reads no byte from the network. Not guaranteed: defence
// against another process of the same user.
package up

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/pki"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/ledger/anchor"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/up/output"
	"github.com/wardhq/ward/internal/wire"
)

// Config says what to run.
type Config struct {
	File string // ward.yaml
	// Load reads and checks File; its error is shown as it is.
	Load  func() (*plan.Plan, error)
	Out   io.Writer // one line per service, then their logs
	Color bool
	// Refuse tells why a service may not be started, "" if it may; nil refuses none. It is asked before each start.
	Refuse func(service string) string
	// Ready, if not nil, is closed when every service has been ready at the same time, or has done its work: never,
	// if one keeps failing.
	Ready chan<- struct{}
	// SVIDSeconds is the life of SVIDs, for tests; 0 for the default.
	SVIDSeconds int
	// LearnUntil: see wire.RoleConfig. Load then returns a plan that package learn has widened.
	LearnUntil time.Time
	// Passphrase asks for the passphrase that seals the root key, where one does.
	Passphrase Ask
	// FirstKit shows a person the recovery kit of a root key that was just made; nil where nobody is reading.
	FirstKit func(kit secret.Bytes)
	// Off switches single guards off, for tests that show what each stops.
	Off sandbox.Off
}

// Supervisor is one running `ward up`.
type Supervisor struct {
	config   Config
	paths    Paths
	flags    *flags
	launcher *sandbox.Launcher
	printer  *output.Printer
	leaks    *output.Leaks
	logs     *wire.LogSender
	arena    *secret.Arena // the root key, while this runs
	admin    *wire.Client
	sockets  map[string]*os.File // by purpose; they outlive the roles that use them, and don't change once those run
	control  *role
	gateway  *role
	agent    *role
	events   chan wire.Event

	mu       sync.Mutex
	plan     *plan.Plan             // guarded by mu
	services map[string][]*instance // guarded by mu: by service, one a replica
	runs     uint64                 // guarded by mu
	slots    map[string]int         // guarded by mu: see slot
	// newValues is closed and replaced when any secret gets a new value; guarded by mu.
	newValues chan struct{}
	applying  sync.Mutex // one change of plan at a time
	stop      context.CancelCauseFunc
	owned     sync.WaitGroup
}

// errDown ends Run without an error.
var errDown = errors.New("asked to stop")

// Run guards the application until ctx ends or `ward down`.
func Run(ctx context.Context, c Config) error {
	p, err := c.Load()
	if err != nil {
		return err
	}
	paths, err := OpenPaths(c.File)
	if err != nil {
		return err
	}
	unlock, err := paths.lock()
	if err != nil {
		return err
	}
	defer unlock()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s := &Supervisor{
		config: c, paths: paths, launcher: sandbox.NewLauncher(), leaks: &output.Leaks{},
		sockets: map[string]*os.File{}, services: map[string][]*instance{}, slots: map[string]int{}, plan: p, stop: stop,
		events: make(chan wire.Event, 1024), newValues: make(chan struct{}),
	}
	s.flags = newFlags(s.record)
	s.leaks.Found = s.foundInLog
	s.leaks.Shown = s.shownInLog
	s.logs = wire.NewLogSender(func(ctx context.Context, all []wire.LogLine) error { return s.admin.ReportLogs(ctx, all) })
	s.printer = output.NewPrinter(c.Out, c.Color, s.leaks)
	defer s.closeSockets()
	if s.arena, err = secret.NewArena(1); err != nil {
		return err
	}
	defer s.arena.Close() // after everything has ended
	err = s.run(ctx)
	if errors.Is(context.Cause(ctx), errDown) {
		return nil
	}
	return err
}

func (s *Supervisor) run(ctx context.Context) error {
	began := time.Now()
	if err := s.openSockets(); err != nil {
		return err
	}
	// What Run started must end before it returns, whatever happens: services first, then those that
	// they need.
	roles, stopRoles := context.WithCancel(context.WithoutCancel(ctx))
	defer func() { s.stopRoles(); stopRoles(); s.owned.Wait() }()
	if err := s.startRoles(roles); err != nil {
		return err
	}
	s.owned.Go(func() { s.sendEvents(roles) })
	s.owned.Go(func() { s.followSecrets(ctx) })
	s.owned.Go(func() { s.reportUse(ctx) })
	s.owned.Go(func() { anchor.KeepFiles(ctx, s.admin.Call, s.inBase, filepath.Join(s.paths.Control, "ledger")) })
	s.owned.Go(func() { s.logs.Run(roles) })
	s.owned.Go(func() { s.leaks.Follow(ctx, s.admin) })
	s.owned.Go(func() { s.tellCertificate(ctx) })
	s.record(wire.Event{Kind: "ward.start", Subject: "up", Detail: map[string]string{"pid": fmt.Sprint(os.Getpid())}})
	if err := s.serveAPI(roles); err != nil {
		return err
	}
	defer func() { s.stopServices(); s.logs.Flush() }()
	if err := s.startServices(ctx, s.currentPlan()); err != nil {
		return err
	}
	if ctx.Err() == nil {
		s.announce(ctx, began)
	}
	s.watch(ctx)
	s.printer.Say("stopping")
	s.record(wire.Event{Kind: "ward.stop", Subject: "up"})
	return nil
}

// announce says that everything is ready, or what isn't; then it goes on looking.
func (s *Supervisor) announce(ctx context.Context, began time.Time) {
	ready := func() {
		s.printer.Say("ready in %s: %s", time.Since(began).Round(10*time.Millisecond), s.url())
		if p := s.currentPlan(); p.Watch.Console.On() {
			s.printer.Say("the console is at %s", p.Origin(p.Watch.Console.Host))
		}
		s.offerFirstAdmin(ctx)
		if s.config.Ready != nil {
			close(s.config.Ready)
		}
	}
	missing := s.missing()
	if len(missing) == 0 {
		ready()
		return
	}
	s.printer.Say("started, but not ready: %s; what is ready answers at %s", strings.Join(missing, ", "), s.url())
	s.owned.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for len(s.missing()) > 0 {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		ready()
	})
}

// missing names the instances that are neither ready nor done.
func (s *Supervisor) missing() []string {
	var out []string
	for _, in := range s.instances() {
		in.mu.Lock()
		if in.state != Ready && (in.state != Ended || in.failed) {
			out = append(out, in.label())
		}
		in.mu.Unlock()
	}
	return out
}

// url is where the application answers.
func (s *Supervisor) url() string {
	if len(s.exposed()) == 0 {
		return "nothing is exposed to the outside"
	}
	p := s.currentPlan()
	return p.Origin(p.Gateway.Host)
}

func (s *Supervisor) exposed() []plan.Rule {
	return slices.DeleteFunc(slices.Clone(s.currentPlan().Rules), func(r plan.Rule) bool { return r.Caller != plan.Outside })
}

func (s *Supervisor) currentPlan() *plan.Plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan
}

// startRoles starts control, puts the plan into force there, and starts agent
// and gateway.
func (s *Supervisor) startRoles(ctx context.Context) error {
	root, made, err := s.paths.OpenRoot(ctx, s.config.Passphrase)
	if err != nil {
		return err
	}
	if made {
		s.printer.Say("a new root key seals the state; it lies in a key file, for whoever reads that and the state: see 'ward seal status'")
		if err := s.firstKit(ctx); err != nil {
			return err
		}
	}
	base := wire.RoleConfig{TrustDomain: s.plan.TrustDomain, SVIDSeconds: s.config.SVIDSeconds, Agent: "local", LearnUntil: s.config.LearnUntil}
	s.control = s.newRole("control", base, []string{wire.ListenForAgent, wire.ListenForGateway, wire.ListenForAdmin, wire.ListenPages},
		sandbox.Folder{Host: s.paths.Control, Inside: "/state", Write: true},
		sandbox.Folder{Host: s.paths.Egress, Inside: wire.EgressDir},
		sandbox.Folder{Host: s.paths.Mail, Inside: wire.MailDir, Write: true})
	if s.control.key, err = s.arena.Keep(root.Reveal()); err != nil { // for when control has to be started again
		return err
	}
	s.agent = s.newRole("agent", base, []string{wire.ListenIngress, wire.ListenEgress},
		sandbox.Folder{Host: s.paths.forRole("agent"), Inside: wire.ControlDir},
		sandbox.Folder{Host: s.paths.Spool, Inside: "/spool", Write: true})
	s.agent.network = true
	s.agent.onStart = s.reattach
	s.gateway = s.newRole("gateway", base, []string{wire.ListenHTTPS, wire.ListenHTTP},
		sandbox.Folder{Host: s.paths.forRole("gateway"), Inside: wire.ControlDir},
		sandbox.Folder{Host: s.paths.Ingress, Inside: wire.IngressDir},
		sandbox.Folder{Host: s.paths.EdgeSpool, Inside: wire.SpoolDir, Write: true})
	if err := s.addCertificateFolder(); err != nil {
		return err
	}
	if err := s.addUsersFolders(); err != nil {
		return err
	}
	s.admin = wire.NewClient(s.paths.adminSocket())
	if err := s.control.start(ctx); err != nil {
		return err
	}
	state, err := s.planState(s.plan)
	if err != nil {
		return err
	}
	if err := s.admin.SetPlan(ctx, state); err != nil {
		return fmt.Errorf("hand the plan to control: %w", err)
	}
	if err := s.agent.start(ctx); err != nil {
		return err
	}
	return s.gateway.start(ctx)
}

// firstKit shows the first recovery kit, or says that there is none.
func (s *Supervisor) firstKit(ctx context.Context) error {
	if s.config.FirstKit == nil {
		s.printer.Say("there is no recovery kit yet; make one with 'ward seal kit'")
		return nil
	}
	kit, err := s.paths.NewKit(ctx, s.config.Passphrase)
	if err == nil {
		s.config.FirstKit(kit)
	}
	return err
}

// stopRoles ends each role before those that it calls.
func (s *Supervisor) stopRoles() {
	for _, r := range []*role{s.gateway, s.agent, s.control} {
		if r != nil {
			r.stop()
		}
	}
}

// addCertificateFolder shows the gateway the certificate files that the model names.
func (s *Supervisor) addCertificateFolder() error {
	g := s.plan.Gateway
	if g.TLS != "files" {
		return nil
	}
	for i, f := range []string{g.CertFile, g.KeyFile} {
		path := s.inBase(f)
		if _, err := os.Stat(path); err != nil {
			return fault.Wrap(fault.Invalid, fmt.Sprintf("gateway: tls: %s can't be read", f), err)
		}
		s.gateway.folders = append(s.gateway.folders, sandbox.Folder{Host: path, Inside: wire.GatewayTLS[i]})
	}
	return nil
}

// tellCertificate tells, now and twice a day, when the certificate ends that the model names: nobody renews it but people.
func (s *Supervisor) tellCertificate(ctx context.Context) {
	t := time.NewTicker(12 * time.Hour)
	defer t.Stop()
	for {
		g := s.currentPlan().Gateway
		if g.TLS == "files" {
			if end, err := pki.FileEnds(s.inBase(g.CertFile)); err != nil {
				slog.Warn("read the gateway's certificate", "error", err)
			} else {
				s.record(wire.Event{Kind: "certificate.in_use", Subject: "up", Object: g.Host, Detail: map[string]string{"not_after": end.UTC().Format(time.RFC3339)}})
			}
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// record queues an event for the ledger; it never blocks the supervisor.
func (s *Supervisor) record(e wire.Event) {
	e.Source, e.Time = "up", time.Now().UTC()
	select {
	case s.events <- e:
	default:
		slog.Error("event lost: the queue to the ledger is full", "kind", e.Kind)
	}
}

// sendEvents brings the events to control, which may be away for a while.
func (s *Supervisor) sendEvents(ctx context.Context) {
	source, seq := fmt.Sprintf("up-%d-%d", os.Getpid(), time.Now().UnixNano()), uint64(0)
	for {
		var e wire.Event
		select {
		case e = <-s.events:
		case <-ctx.Done():
			return
		}
		seq++
		e.Source, e.Seq = source, seq
		for s.admin.Record(ctx, []wire.Event{e}) != nil {
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
	}
}

// flushEvents waits for the queue to empty, for a moment.
func (s *Supervisor) flushEvents() {
	for range 50 {
		if len(s.events) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *Supervisor) serveAPI(ctx context.Context) error {
	ln, err := wire.Listener([]*os.File{s.sockets["up"]})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	s.routes(mux)
	s.owned.Go(func() {
		if err := wire.Serve(ctx, ln, mux); err != nil {
			slog.Error("serve commands", "error", err)
		}
	})
	return nil
}
