package up

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wardhq/ward/internal/base/scm"
	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// bg is for calls that take a context but don't wait.
var bg = context.Background()

// State is where a service instance stands.
type State string

// The states.
const (
	Starting State = "starting"
	Ready    State = "ready"
	Backoff  State = "restarting"
	Ended    State = "ended"
)

// stopGrace is how long a service may take to end after SIGTERM.
const stopGrace = 8 * time.Second

// maxReplicas is the model's bound.
const maxReplicas = 64

// instance is one replica of a service, restarted as its restart: says.
type instance struct {
	up      *Supervisor
	service plan.Service
	replica int
	uid     int
	socket  *os.File // the Workload API's listener
	dir     string   // its folder
	log     *logFile

	mu        sync.Mutex
	state     State            // guarded by mu
	box       *sandbox.Sandbox // guarded by mu
	listeners []*os.File       // guarded by mu: kept for the next agent
	run       uint64           // guarded by mu
	restarts  int              // guarded by mu
	since     time.Time        // guarded by mu
	reason    string           // guarded by mu
	failed    bool             // guarded by mu: how the last run ended
	delivered map[string]int64 // guarded by mu: the versions of the secrets that the run has
	asked     bool             // guarded by mu: somebody wants box to end, and the service to begin anew
	past      int64            // guarded by mu: how often something in box found no route

	stop  context.CancelFunc
	ended chan struct{}
}

func (s *Supervisor) host(uid int) sandbox.Host {
	h := sandbox.Host{Base: s.paths.Base, Path: os.Getenv("PATH"), UID: os.Getuid(), GID: os.Getgid(), Off: s.config.Off}
	if h.UID == 0 {
		h.Root, h.UID, h.GID = true, uid, uid
	}
	p := s.currentPlan()
	for i := range p.Services {
		for _, w := range p.Services[i].Files.Write {
			path := w.Path
			if !filepath.IsAbs(path) {
				path = filepath.Join(h.Base, path)
			}
			h.Write = append(h.Write, path)
		}
	}
	return h
}

// startServices starts every service of the plan, each after those it calls are ready;
// what doesn't depend on each other starts side by side.
func (s *Supervisor) startServices(ctx context.Context, p *plan.Plan) error {
	ready := map[string]chan struct{}{}
	for i := range p.Services {
		ready[string(p.Services[i].Name)] = make(chan struct{})
	}
	errs := make(chan error, len(p.Services))
	for i := range p.Services {
		svc := &p.Services[i]
		go func() {
			defer close(ready[string(svc.Name)])
			for _, before := range svc.StartAfter {
				select {
				case <-ready[before]:
				case <-ctx.Done():
				}
			}
			errs <- s.startService(ctx, svc)
		}()
	}
	var first error
	for range p.Services {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// startService starts all replicas and waits until they are ready, or have
// failed once; a failed one goes on being restarted.
func (s *Supervisor) startService(ctx context.Context, svc *plan.Service) error {
	if ctx.Err() != nil {
		return nil
	}
	for n := range max(svc.Replicas, 1) {
		in, err := s.newInstance(svc, n, firstServiceUID+s.slot(string(svc.Name))*maxReplicas+n)
		if err != nil {
			return err
		}
		run, stop := context.WithCancel(context.WithoutCancel(ctx))
		in.stop = stop
		s.mu.Lock()
		s.services[string(svc.Name)] = append(s.services[string(svc.Name)], in)
		s.mu.Unlock()
		first := make(chan struct{})
		s.owned.Go(func() { in.keepRunning(run, first) })
		select {
		case <-first:
		case <-ctx.Done():
		}
	}
	return nil
}

// slot is a number of the service's own for as long as the supervisor runs: no two services
// ever have the same user ID.
func (s *Supervisor) slot(service string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.slots[service]
	if !ok {
		n = len(s.slots)
		s.slots[service] = n
	}
	return n
}

func (s *Supervisor) newInstance(svc *plan.Service, n, uid int) (*instance, error) {
	in := &instance{up: s, service: *svc, replica: n, uid: uid, state: Starting, since: time.Now(), ended: make(chan struct{})}
	in.dir = filepath.Join(s.paths.workloads(), fmt.Sprintf("%s.%d", svc.Name, n))
	if err := os.MkdirAll(in.dir, 0o755); err != nil {
		return nil, fmt.Errorf("start %s: %w", svc.Name, err)
	}
	// The parent folder is private; the service sees only this one.
	if err := os.Chmod(in.dir, 0o755); err != nil {
		return nil, fmt.Errorf("start %s: %w", svc.Name, err)
	}
	ln, err := listenUnix(filepath.Join(in.dir, "workload.sock"))
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", svc.Name, err)
	}
	defer ln.Close()
	if in.socket, err = ln.(*net.UnixListener).File(); err != nil {
		return nil, fmt.Errorf("start %s: %w", svc.Name, err)
	}
	if in.log, err = openLog(s.paths.Logs, in.label()); err != nil {
		return nil, err
	}
	return in, nil
}

// label is the service's name, with the replica's number if there are several.
func (in *instance) label() string {
	if in.service.Replicas <= 1 {
		return string(in.service.Name)
	}
	return fmt.Sprintf("%s.%d", in.service.Name, in.replica)
}

// keep keeps a line that the instance printed.
func (in *instance) keep(line string) {
	in.log.write(line)
	in.up.logs.Add(string(in.service.Name), in.replica, time.Now(), line)
}

// refused tells whether the instance may not be started at all, and says so.
func (in *instance) refused() bool {
	if in.up.config.Refuse == nil {
		return false
	}
	why := in.up.config.Refuse(string(in.service.Name))
	if why == "" {
		return false
	}
	in.mu.Lock()
	in.failed = true
	in.mu.Unlock()
	in.set(Ended, "refused: "+why)
	in.up.printer.Line(in.label(), "isn't started: "+why)
	in.up.record(wire.Event{Kind: "service.refused", Subject: "up", Object: string(in.service.Name), Detail: map[string]string{"reason": why}})
	return true
}

// keepRunning runs the instance until ctx ends; first is closed after the first
// attempt came to something.
func (in *instance) keepRunning(ctx context.Context, first chan struct{}) {
	defer close(in.ended)
	defer in.log.Close()
	defer in.socket.Close()
	once := sync.OnceFunc(func() { close(first) })
	defer once()
	pause := firstBackoff
	for ctx.Err() == nil {
		if in.refused() {
			return
		}
		began := time.Now()
		come := in.up.valuesToCome()
		exit, err := in.runOnce(ctx, once)
		if ctx.Err() != nil {
			break
		}
		if in.wasAsked() {
			in.up.printer.Line(in.label(), "ended, as asked")
			pause = firstBackoff
			continue
		}
		in.mu.Lock()
		in.failed = err != nil || exit.Code != 0
		in.mu.Unlock()
		in.sayEnd(exit, err)
		again := in.service.Restart == model.RestartAlways || in.service.Restart == model.RestartOnFailure && (err != nil || exit.Code != 0)
		if !again {
			in.set(Ended, "")
			return
		}
		once()
		if time.Since(began) > calm {
			pause = firstBackoff
		}
		in.set(Backoff, in.currentReason())
		if in.awaitValue(ctx, err, come) {
			continue
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, maxBackoff)
		in.mu.Lock()
		in.restarts++
		in.mu.Unlock()
	}
	in.set(Ended, "stopped")
}

// wasAsked tells, once, whether the run that has just ended was asked to: that is neither a failure nor a restart to count.
func (in *instance) wasAsked() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	asked := in.asked
	in.asked = false
	return asked
}

func (in *instance) sayEnd(exit sandbox.Exit, err error) {
	reason := fmt.Sprintf("exit code %d", exit.Code)
	if exit.Signal != 0 {
		reason = "killed by " + syscall.Signal(exit.Signal).String()
	}
	if err != nil {
		reason = err.Error()
	}
	in.set(Backoff, reason)
	in.up.printer.Line(in.label(), "ended: "+reason)
	in.up.record(wire.Event{Kind: "service.exit", Subject: "up", Object: in.label(), Detail: map[string]string{"reason": reason}})
}

// runOnce builds a sandbox, runs the service in it and waits for its end.
func (in *instance) runOnce(ctx context.Context, ready func()) (sandbox.Exit, error) {
	in.set(Starting, "")
	box, err := in.build(ctx)
	if err != nil {
		return sandbox.Exit{}, err
	}
	defer in.cleanUp(box)
	if err := in.deliver(ctx, box); err != nil {
		return sandbox.Exit{}, err
	}
	if err := in.attach(); err != nil {
		slog.Error("attach service to the agent", "service", in.label(), "error", err) // the agent is restarting: it gets all then
	}
	if err := box.Run(); err != nil {
		return sandbox.Exit{}, err
	}
	in.up.record(wire.Event{Kind: "service.start", Subject: "up", Object: in.label(), Detail: map[string]string{"id": in.service.ID}})
	probing, stopProbing := context.WithCancel(ctx)
	defer stopProbing()
	go func() {
		if in.waitReady(probing, box) == nil {
			in.set(Ready, "")
			in.up.printer.Line(in.label(), "ready")
			ready()
		}
	}()
	select {
	case <-box.Done():
	case <-ctx.Done():
		in.terminate(box)
	}
	exit, reason := box.Exit()
	if exit.Code == 125 && reason != "" {
		return exit, fmt.Errorf("%s", reason)
	}
	return exit, nil
}

func (in *instance) build(ctx context.Context) (*sandbox.Sandbox, error) {
	h := in.up.host(in.uid)
	h.WorkloadDir = in.dir
	h.Hide = in.up.paths.Hidden()
	service := in.service
	service.Env = in.trapped(ctx)
	spec, err := sandbox.Prepare(&service, h)
	if err != nil {
		return nil, err
	}
	out := in.up.printer.Pipe(in.label(), in.keep)
	defer out.Close()
	box, err := in.up.launcher.Start(ctx, sandbox.Config{
		Spec: spec, Stdout: out, Stderr: out, CgroupName: in.label(), CPU: in.service.Limits.CPU,
		Flag: in.up.flag(in.label()),
	})
	if err != nil {
		return nil, err
	}
	if in.service.Limits.CPU > 0 && !box.CPULimited() {
		in.up.printer.Line(in.label(), "limits: cpu is not in force: this user may make no control group with it; see README of the sandbox")
	}
	in.up.mu.Lock()
	in.up.runs++
	run := in.up.runs
	in.up.mu.Unlock()
	in.mu.Lock()
	defer in.mu.Unlock()
	in.box, in.listeners, in.run, in.past = box, box.Listeners, run, 0
	return box, nil
}

// trapped is the service's environment with the trap that has no use; without it where the service has a variable of this name itself.
func (in *instance) trapped(ctx context.Context) []model.EnvVar {
	all := in.service.Env
	if slices.ContainsFunc(all, func(v model.EnvVar) bool { return v.Name == plan.CanaryEnv }) {
		return all
	}
	c, err := in.up.admin.Canary(ctx, wire.DeliveryRequest{Service: string(in.service.Name)})
	switch {
	case err != nil:
		slog.Warn("no trap is laid", "service", in.service.Name, "error", err)
		return all
	case c.URL == "":
		return all
	}
	return append(slices.Clone(all), model.EnvVar{Name: plan.CanaryEnv, Value: c.URL})
}

// cleanUp tells the agent that the run has ended.
func (in *instance) cleanUp(box *sandbox.Sandbox) {
	box.Kill()
	<-box.Done()
	in.mu.Lock()
	files := in.listeners
	id := in.id()
	in.listeners, in.box, in.delivered = nil, nil, nil
	in.mu.Unlock()
	for _, f := range files {
		f.Close()
	}
	_ = in.up.agent.tell(wire.ToRole{Detach: &id}) // a dead agent has forgotten it anyway
}

// id identifies the current run; in.mu is held.
func (in *instance) id() wire.Instance {
	return wire.Instance{Service: string(in.service.Name), Replica: in.replica, Run: in.run}
}

// attach hands the running instance to the agent.
func (in *instance) attach() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.box == nil {
		return nil
	}
	inbound, err := in.box.AttachAgent()
	if err != nil {
		return err
	}
	defer inbound.Close()
	agent := in.up.agent
	if err := agent.tell(wire.ToRole{Attach: &wire.Attach{Instance: in.id(), Inbound: true}}, inbound); err != nil {
		return err
	}
	if err := agent.tell(wire.ToRole{Attach: &wire.Attach{Instance: in.id(), Workload: true}}, in.socket); err != nil {
		return err
	}
	for i := 0; i < len(in.listeners); i += scm.MaxFiles {
		part := in.listeners[i:min(i+scm.MaxFiles, len(in.listeners))]
		if err := agent.tell(wire.ToRole{Attach: &wire.Attach{Instance: in.id(), First: i}}, part...); err != nil {
			return err
		}
	}
	return agent.tell(wire.ToRole{Attach: &wire.Attach{Instance: in.id(), Last: true, Upstreams: sandbox.ListenerOrder(&in.service)}})
}

// reattach hands everything that runs to an agent that has just started.
func (s *Supervisor) reattach() error {
	for _, in := range s.instances() {
		if err := in.attach(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Supervisor) instances() []*instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*instance
	for i := range s.plan.Services {
		all = append(all, s.services[string(s.plan.Services[i].Name)]...)
	}
	return all
}

// waitReady asks the service's probe until it answers.
func (in *instance) waitReady(ctx context.Context, box *sandbox.Sandbox) error {
	r := in.service.Ready
	if r.Kind == model.ReadyDefault && len(in.service.Listen) > 0 {
		r.Kind = model.ReadyTCP
	}
	if r.Kind == model.ReadyNone || r.Kind == model.ReadyDefault {
		return nil
	}
	if r.Port == 0 {
		r.Port = in.service.Listen[0].Port
	}
	ch, err := box.AttachAgent()
	if err != nil {
		return err
	}
	inbound := sandbox.OpenInbound(ch)
	defer inbound.Close()
	began := time.Now()
	pause := 5 * time.Millisecond
	for !in.answers(ctx, inbound, r) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(pause*3/2, 250*time.Millisecond)
		limit := time.Duration(max(r.TimeoutSeconds, 1)) * time.Second
		if time.Since(began) > limit {
			in.up.printer.Line(in.label(), fmt.Sprintf("isn't ready after %s: does it listen on port %d?", limit, r.Port))
			began = time.Now()
		}
	}
	return nil
}

func (in *instance) answers(ctx context.Context, inbound *sandbox.Inbound, r model.Ready) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := inbound.Dial(ctx, r.Port)
	if err != nil {
		return false
	}
	defer c.Close()
	if r.Kind == model.ReadyTCP {
		return true
	}
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := io.WriteString(c, "GET "+r.Path+" HTTP/1.1\r\nHost: "+string(in.service.Name)+"\r\nConnection: close\r\n\r\n"); err != nil {
		return false
	}
	// Only the first bytes are read here: this process doesn't parse what services say.
	line, err := bufio.NewReaderSize(io.LimitReader(c, 64), 64).Peek(len("HTTP/1.1 200"))
	return err == nil && strings.HasPrefix(string(line), "HTTP/1.") && (line[9] == '2' || line[9] == '3')
}

// terminate ends the service gently, then surely.
func (in *instance) terminate(box *sandbox.Sandbox) {
	_ = box.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-box.Done():
	case <-time.After(stopGrace):
	}
	box.Kill()
	<-box.Done()
}

// stopInstances stops them side by side and waits.
func stopInstances(all []*instance) {
	for _, in := range all {
		in.stop()
	}
	for _, in := range all {
		<-in.ended
	}
}

// stopServices stops callers before those that they call.
func (s *Supervisor) stopServices() {
	p := s.currentPlan()
	left := map[string]bool{}
	for i := range p.Services {
		left[string(p.Services[i].Name)] = true
	}
	for len(left) > 0 {
		var wave []*instance
		var names []string
		for i := range p.Services {
			name := string(p.Services[i].Name)
			needed := slices.ContainsFunc(p.Services, func(o plan.Service) bool {
				return left[string(o.Name)] && slices.Contains(o.StartAfter, name)
			})
			if left[name] && !needed {
				names = append(names, name)
				s.mu.Lock()
				wave = append(wave, s.services[name]...)
				s.mu.Unlock()
			}
		}
		stopInstances(wave)
		for _, n := range names {
			delete(left, n)
		}
		if len(names) == 0 {
			return // StartAfter has no cycles, so this doesn't happen
		}
	}
	s.flushEvents()
}

func (in *instance) set(st State, reason string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.state != st {
		in.since = time.Now()
	}
	in.state, in.reason = st, reason
}

func (in *instance) currentReason() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.reason
}
