// Package sandbox starts services in sandboxes of their own: network, PID, IPC,
// UTS, cgroup and mount namespaces (with a user namespace where Ward isn't
// root), a private root, no capabilities, Landlock, seccomp and limits.
//
// Guarantee: a service that Start returned has no way out but the listeners in
// Sandbox.Listeners and the sockets that its agent asks for; if any layer can't be
// built, Start fails and nothing runs; when the launching process dies, so does
// everything in the sandbox. Not guaranteed: defence against a bug in the kernel.
package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/base/scm"
	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
	"github.com/wardhq/ward/internal/cap/sandbox/internal/stage"
)

// Stage runs this process as a stage of a sandbox if argv[0] says so, and then doesn't
// return. The binary's main calls it first. probe is the program that Sandbox.Probe
// runs inside.
func Stage(args []string, probe func(args []string) int) { stage.Main(args, probe) }

// Off switches single guards off, for tests that show what each guard stops.
type Off = spec.Off

// Exit is how a program inside ended.
type Exit = spec.Exit

// Flag is a sign of intrusion, or of a forgotten grant, from inside a sandbox.
type Flag = spec.Flag

// Launcher makes sandboxes. It is safe for concurrent use.
type Launcher struct {
	spawn chan func() // runs on one OS thread that lives as long as the process
}

// NewLauncher returns a Launcher. Its thread is never given back: the kernel ties the
// death signal of children to the thread that made them (PR_SET_PDEATHSIG, prctl(2)).
func NewLauncher() *Launcher {
	l := &Launcher{spawn: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for f := range l.spawn {
			f()
		}
	}()
	return l
}

// Close ends the launcher's thread, and with it every sandbox that it made.
func (l *Launcher) Close() { close(l.spawn) }

// Sandbox is one running sandbox. Its methods are safe for concurrent use.
type Sandbox struct {
	// Listeners are the sockets for the upstreams, in the order of Config.Upstream. The
	// caller owns them.
	Listeners []*os.File
	// Landlock is the ABI version in force, 0 for none.
	Landlock int

	cmd     *exec.Cmd
	control *scm.Conn
	cgroup  *cgroup
	flag    func(Flag)
	started chan struct{}
	done    chan struct{}

	startOnce sync.Once

	mu     sync.Mutex
	exit   Exit              // guarded by mu; valid when done is closed
	probes map[int]chan Exit // guarded by mu
	next   int               // guarded by mu
	reason string            // guarded by mu: what a stage said of its failure
}

// Config is what to run and what it may see.
type Config struct {
	Spec   spec.Spec
	Stdin  *os.File // nil for /dev/null
	Stdout *os.File
	Stderr *os.File
	Flag   func(Flag) // may be nil; called from one goroutine
	// CgroupName is the service's name among the host's control groups.
	CgroupName string
	CPU        float64 // cores; 0 for no limit
}

// Start builds the sandbox up to, but without, the service itself: see Run.
func (l *Launcher) Start(ctx context.Context, c Config) (*Sandbox, error) {
	maps, err := l.idMaps(&c.Spec)
	if err != nil {
		return nil, fmt.Errorf("sandbox of %s: %w", c.Spec.Name, err)
	}
	defer closeFiles(maps)
	ours, theirs, err := scm.Pair()
	if err != nil {
		return nil, err
	}
	said, saidW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start sandbox: %w", err)
	}
	cmd := exec.Command(stage.Self)
	cmd.Args = []string{stage.ArgvSetup}
	cmd.Env = []string{"GOMAXPROCS=1", "GOGC=50"}
	cmd.Stderr = saidW
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = processAttributes(&c.Spec)
	err = l.startProcess(cmd)
	theirs.Close()
	saidW.Close()
	if err != nil {
		ours.Close()
		said.Close()
		return nil, startError(err)
	}
	s := &Sandbox{cmd: cmd, control: ours, flag: c.Flag, started: make(chan struct{}), done: make(chan struct{}), probes: map[int]chan Exit{}}
	go s.listenToStages(said)
	if err := s.setUp(ctx, &c, maps); err != nil {
		s.Kill()
		_ = cmd.Wait() // killed: its status says nothing
		ours.Close()
		s.cgroup.remove()
		closeFiles(s.Listeners)
		return nil, fmt.Errorf("sandbox of %s: %w", c.Spec.Name, err)
	}
	go s.follow()
	return s, nil
}

// startProcess starts cmd on the launcher's thread.
func (l *Launcher) startProcess(cmd *exec.Cmd) error {
	started := make(chan error, 1)
	l.spawn <- func() { started <- cmd.Start() }
	return <-started
}

func startError(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS) {
		return fmt.Errorf("start sandbox: this machine lets an ordinary user make no user namespace "+
			"(sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone or kernel.apparmor_restrict_unprivileged_userns); "+
			"allow it, or run Ward as root: %w", err)
	}
	return fmt.Errorf("start sandbox: %w", err)
}

// setupCapabilities is what building a sandbox needs inside its own user namespace.
var setupCapabilities = []uintptr{
	unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_NET_BIND_SERVICE, unix.CAP_SETPCAP,
	unix.CAP_SYS_CHROOT, unix.CAP_DAC_OVERRIDE, unix.CAP_SYS_RESOURCE,
}

func processAttributes(s *spec.Spec) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true,
	}
	if !s.Off.Network {
		a.Cloneflags |= unix.CLONE_NEWNET
	}
	if !s.HostRoot {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: s.UID, HostID: s.UID, Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: s.GID, HostID: s.GID, Size: 1}}
		a.AmbientCaps = setupCapabilities
	}
	return a
}

func (s *Sandbox) setUp(ctx context.Context, c *Config, maps []*os.File) error {
	limits := &c.Spec.Limits
	if c.Stdin == nil {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return err
		}
		defer null.Close()
		c.Stdin = null
	}
	s.cgroup = joinCgroup(c.CgroupName, s.cmd.Process.Pid, limits, c.CPU)
	if err := s.control.Send(spec.ToInit{Spec: &c.Spec}, append([]*os.File{c.Stdin, c.Stdout, c.Stderr}, maps...)...); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.cmd.Process.Kill() })
	defer stop()
	for {
		var m spec.FromInit
		files, err := s.control.Recv(&m)
		if err != nil {
			return fmt.Errorf("the setup stage ended: %w; %s", err, s.said())
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
		if m.Ready == nil {
			return fmt.Errorf("unexpected message from the setup stage")
		}
		s.Listeners = append(s.Listeners, files...)
		s.Landlock = m.Ready.Landlock
		if !m.Ready.More {
			break
		}
	}
	if len(s.Listeners) != len(c.Spec.Upstream) {
		return fmt.Errorf("%d listeners came instead of %d", len(s.Listeners), len(c.Spec.Upstream))
	}
	return nil
}

// listenToStages keeps the last line that a stage wrote to its standard error.
func (s *Sandbox) listenToStages(r *os.File) {
	defer r.Close()
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		s.mu.Lock()
		s.reason = sc.Text()
		s.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, r) // an over-long line ends the scanner, not the stage
}

func (s *Sandbox) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

// follow takes what init says until the sandbox ends.
func (s *Sandbox) follow() {
	for {
		var m spec.FromInit
		files, err := s.control.Recv(&m)
		if err != nil {
			break
		}
		for _, f := range files {
			f.Close()
		}
		s.take(&m)
	}
	_ = s.cmd.Wait() // the service's own exit came as a message
	s.control.Close()
	s.cgroup.remove()
	s.mu.Lock()
	for _, c := range s.probes {
		close(c)
	}
	s.probes = nil
	s.mu.Unlock()
	close(s.done)
}

func (s *Sandbox) take(m *spec.FromInit) {
	switch {
	case m.Started != 0:
		s.startOnce.Do(func() { close(s.started) }) // whatever init says, it may not end the supervisor
	case m.Flag != nil && s.flag != nil:
		if !slices.Contains(spec.FlagKinds(), m.Flag.Kind) {
			m.Flag.Kind = "unknown" // init speaks for nobody else, and invents no kinds
		}
		s.flag(*m.Flag)
	case m.Error != "":
		s.mu.Lock()
		s.reason = m.Error
		s.exit = Exit{Code: 125}
		s.mu.Unlock()
	case m.Exit != nil:
		s.mu.Lock()
		if m.Exit.Probe == 0 {
			s.exit = *m.Exit
		} else if c := s.probes[m.Exit.Probe]; c != nil {
			c <- *m.Exit
			delete(s.probes, m.Exit.Probe)
		}
		s.mu.Unlock()
	}
}

// Run starts the service.
func (s *Sandbox) Run() error {
	if err := s.control.Send(spec.ToInit{Start: true}); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	select {
	case <-s.started:
		return nil
	case <-s.done:
		return fmt.Errorf("run: the sandbox ended: %s", s.said())
	}
}

// AttachAgent returns the end of a channel on which an agent asks for sockets; the caller
// hands it to the agent and closes it.
func (s *Sandbox) AttachAgent() (*os.File, error) {
	ours, theirs, err := scm.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	if err := s.control.Send(spec.ToInit{Agent: true}, theirs); err != nil {
		ours.Close()
		return nil, fmt.Errorf("attach agent: %w", err)
	}
	return ours.File(), nil
}

// Signal sends a signal to the service's process group.
func (s *Sandbox) Signal(sig syscall.Signal) error {
	return s.control.Send(spec.ToInit{Signal: int(sig)})
}

// Kill ends everything in the sandbox at once.
func (s *Sandbox) Kill() {
	_ = s.cmd.Process.Kill() // already ended is as good
}

// Done is closed when everything in the sandbox has ended.
func (s *Sandbox) Done() <-chan struct{} { return s.done }

// CPULimited tells whether a limit of CPU is in force: only a control group carries one.
func (s *Sandbox) CPULimited() bool { return s.cgroup != nil && s.cgroup.cpu }

// PID is the host's process ID of the sandbox's init.
func (s *Sandbox) PID() int { return s.cmd.Process.Pid }

// Exit tells how the service ended, after Done; if a stage failed, reason says why.
func (s *Sandbox) Exit() (e Exit, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exit, s.reason
}

// Probe runs the binary's probe program under exactly the service's
// restrictions, and waits for it.
func (s *Sandbox) Probe(ctx context.Context, args []string, stdin, stdout, stderr *os.File) (Exit, error) {
	s.mu.Lock()
	if s.probes == nil {
		s.mu.Unlock()
		return Exit{}, fmt.Errorf("probe: the sandbox has ended")
	}
	s.next++
	id, c := s.next, make(chan Exit, 1)
	s.probes[id] = c
	s.mu.Unlock()
	if err := s.control.Send(spec.ToInit{Probe: &spec.Probe{ID: id, Args: args}}, stdin, stdout, stderr); err != nil {
		return Exit{}, fmt.Errorf("probe: %w", err)
	}
	select {
	case e, ok := <-c:
		if !ok {
			return Exit{}, fmt.Errorf("probe: the sandbox ended: %s", s.said())
		}
		return e, nil
	case <-ctx.Done():
		return Exit{}, fmt.Errorf("probe: %w", ctx.Err())
	}
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
