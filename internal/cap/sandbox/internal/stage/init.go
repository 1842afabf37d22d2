package stage

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/base/scm"
	"github.com/wardhq/ward/internal/cap/sandbox/internal/names"
	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
)

// maxSockets bounds one request for sockets.
const maxSockets = scm.MaxFiles

// initProcess is process 1 of a sandbox. It ends with the service, or when the launcher's
// end of the control socket closes; the kernel then ends everything in the
// namespace.
type initProcess struct {
	spec    *spec.Spec
	file    *os.File // the spec's sealed file, handed to exec stages
	control *scm.Conn
	streams [3]*os.File // the service's standard input, output and error
	folder  *os.File    // of secrets, writable; nil for none

	mu     sync.Mutex
	main   int         // guarded by mu: the service's pid, 0 before Start
	probes map[int]int // guarded by mu: pid → Probe.ID
	memfd  *os.File    // guarded by mu: the secrets, nil before any came

	signs signs
}

func initMain(args []string) error {
	// The service has the same user: it must not look into this process.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("become undumpable: %w", err)
	}
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGQUIT)
	fds, err := inheritedByInit(args)
	if err != nil {
		return err
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	for _, fd := range fds[2:5] { // received ones are non-blocking; programs expect to wait, and lose what they print to EAGAIN
		if err := unix.SetNonblock(fd, false); err != nil {
			return fmt.Errorf("make the service's streams wait: %w", err)
		}
	}
	control, err := scm.Inherited(fds[0], "control")
	if err != nil {
		return err
	}
	p := &initProcess{
		control: control,
		file:    os.NewFile(uintptr(fds[1]), "spec"),
		streams: [3]*os.File{os.NewFile(uintptr(fds[2]), "stdin"), os.NewFile(uintptr(fds[3]), "stdout"), os.NewFile(uintptr(fds[4]), "stderr")},
		probes:  map[int]int{},
	}
	if len(fds) > 5 {
		p.folder = os.NewFile(uintptr(fds[5]), "secrets")
	}
	if p.spec, err = readSpec(p.file); err != nil {
		return err
	}
	if !p.spec.Off.Network {
		if err := names.Serve(p.spec.Names, p.flag); err != nil {
			return err
		}
	}
	return p.obey()
}

// obey carries out the launcher's messages until it goes away.
func (p *initProcess) obey() error {
	for {
		var m spec.ToInit
		files, err := p.control.Recv(&m)
		if err != nil {
			os.Exit(0) // the launcher is gone, and with it the reason to run
		}
		if err := p.carryOut(&m, files); err != nil {
			_ = p.control.Send(spec.FromInit{Error: err.Error()})
			return err
		}
	}
}

func (p *initProcess) carryOut(m *spec.ToInit, files []*os.File) error {
	defer func() {
		if !m.Agent && !m.Deliver {
			for _, f := range files {
				f.Close()
			}
		}
	}()
	switch {
	case m.Start:
		return p.start()
	case m.Signal != 0:
		p.mu.Lock()
		pid := p.main
		p.mu.Unlock()
		if pid > 0 {
			_ = unix.Kill(-pid, unix.Signal(m.Signal)) // it may have just ended
		}
		return nil
	case m.Deliver && len(files) == 1:
		return p.deliver(files[0])
	case m.Agent && len(files) == 1:
		go serveSockets(scm.Open(files[0]))
		return nil
	case m.Probe != nil && len(files) == 3:
		return p.probe(m.Probe, files)
	}
	return fmt.Errorf("unexpected message from the launcher")
}

func (p *initProcess) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.main != 0 {
		return fmt.Errorf("start the service: it has been started")
	}
	pid, err := p.spawn([]string{argvExec}, p.streams[:])
	if err != nil {
		return fmt.Errorf("start the service: %w", err)
	}
	p.main = pid
	// Only now is there a child to wait for.
	go p.reap()
	return p.control.Send(spec.FromInit{Started: pid})
}

func (p *initProcess) probe(pr *spec.Probe, files []*os.File) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.main == 0 {
		return fmt.Errorf("probe: the service has not been started")
	}
	pid, err := p.spawn(append([]string{argvProbe}, pr.Args...), files)
	if err != nil {
		return p.control.Send(spec.FromInit{Exit: &spec.Exit{Probe: pr.ID, Code: -1}})
	}
	p.probes[pid] = pr.ID
	return nil
}

// spawn starts an exec stage; args[0] says what it becomes. p.mu is held.
func (p *initProcess) spawn(args []string, streams []*os.File) (int, error) {
	ours, theirs, err := scm.Pair()
	if err != nil {
		return 0, err
	}
	defer theirs.Close()
	proc, err := os.StartProcess(Self, append([]string{argvExec}, args...), &os.ProcAttr{
		Dir:   "/",
		Env:   goEnv(),
		Files: append(slices.Clone(streams), theirs, p.file, p.memfd),
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		ours.Close()
		return 0, err
	}
	pid := proc.Pid
	_ = proc.Release() // reap waits for all
	go p.supervise(ours, args[0] == argvProbe)
	return pid, nil
}

// supervise takes the notify descriptor of an exec stage and answers for it.
func (p *initProcess) supervise(c *scm.Conn, probe bool) {
	var ok bool
	files, err := c.Recv(&ok)
	c.Close()
	if err != nil || len(files) != 1 {
		return // filter off, or the stage failed and says so on its standard error
	}
	sup := supervisor{binds: p.spec.Binds, execs: p.spec.Execs, ports: ports(p.spec), writes: writable(p.spec), flag: p.flag}
	if probe {
		sup.execs = append(slices.Clone(sup.execs), Self)
	}
	sup.run(files[0])
}

// reap waits for every child, as process 1 must, and ends with the service.
func (p *initProcess) reap() {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return // no child is left; obey goes on
		}
		p.mu.Lock()
		isMain := pid == p.main
		id, isProbe := p.probes[pid]
		delete(p.probes, pid)
		p.mu.Unlock()
		if !isMain && !isProbe {
			continue
		}
		_ = p.control.Send(spec.FromInit{Exit: exitOf(ws, id)})
		if isMain {
			os.Exit(0)
		}
	}
}

func exitOf(ws unix.WaitStatus, probe int) *spec.Exit {
	if ws.Signaled() {
		return &spec.Exit{Probe: probe, Code: -1, Signal: int(ws.Signal())}
	}
	return &spec.Exit{Probe: probe, Code: ws.ExitStatus()}
}

// flag tells of a sign, unless that was done lately.
func (p *initProcess) flag(kind, detail string) {
	if f, news := p.signs.news(spec.Flag{Kind: kind, Detail: detail}, time.Now()); news {
		_ = p.control.Send(spec.FromInit{Flag: &f})
	}
}

// serveSockets hands unconnected TCP sockets of this namespace to the agent,
// which connects them to the service.
func serveSockets(c *scm.Conn) {
	defer c.Close()
	for {
		var req spec.SocketRequest
		if _, err := c.Recv(&req); err != nil {
			return // the agent is gone; the launcher attaches the next one
		}
		files, err := makeSockets(min(max(req.N, 1), maxSockets))
		if err == nil {
			err = c.Send(spec.SocketRequest{N: len(files)}, files...)
		}
		for _, f := range files {
			f.Close()
		}
		if err != nil && !errors.Is(err, unix.EMFILE) {
			return
		}
	}
}

func makeSockets(n int) ([]*os.File, error) {
	var files []*os.File
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
		if err != nil {
			return files, fmt.Errorf("make socket: %w", err)
		}
		files = append(files, os.NewFile(uintptr(fd), "socket"))
	}
	return files, nil
}
