package stage

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/base/scm"
	"github.com/wardhq/ward/internal/cap/sandbox/internal/root"
	"github.com/wardhq/ward/internal/cap/sandbox/internal/seccomp"
	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
)

// setup builds the sandbox around this process and becomes its init.
func setup() error {
	// Credentials and filters below are set on this thread only; execve keeps it.
	runtime.LockOSThread()
	control, err := scm.Inherited(fdControl, "control")
	if err != nil {
		return err
	}
	var msg spec.ToInit
	files, err := control.Recv(&msg)
	if err != nil {
		return fmt.Errorf("receive spec: %w", err)
	}
	if msg.Spec == nil || len(files) < 3 {
		return fmt.Errorf("receive spec: unexpected first message")
	}
	s := msg.Spec
	secrets, err := build(s, control, files[3:])
	if err != nil {
		_ = control.Send(spec.FromInit{Error: err.Error()}) // the launcher may be gone: then nobody is left to tell
		return err
	}
	specFile, err := specFile(s)
	if err == nil {
		err = drop(s)
	}
	if err == nil {
		err = becomeInit(control, specFile, files[:3], secrets)
	}
	_ = control.Send(spec.FromInit{Error: err.Error()})
	return err
}

// build makes namespaces and root ready; secrets is the folder of secrets, nil for none.
func build(s *spec.Spec, control *scm.Conn, idMaps []*os.File) (secrets *os.File, err error) {
	if !s.Off.Network {
		if err := loopbackUp(); err != nil {
			return nil, err
		}
		// Services may listen on ports below 1024 without a right.
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0); err != nil {
			return nil, fmt.Errorf("open low ports: %w", err)
		}
		if err := unix.Sethostname([]byte(s.Name)); err != nil {
			return nil, fmt.Errorf("set host name: %w", err)
		}
	}
	listeners, err := listenAll(s.Upstream)
	if err != nil {
		return nil, err
	}
	if s.Off.Root {
		err = root.KeepHost()
	} else {
		secrets, err = root.Enter(s, idMaps)
	}
	if err != nil {
		return nil, err
	}
	return secrets, sendListeners(control, listeners)
}

func sendListeners(control *scm.Conn, listeners []*os.File) error {
	abi := landlockABI()
	for {
		n := min(len(listeners), scm.MaxFiles)
		ready := spec.Ready{Landlock: abi, Listen: n, More: n < len(listeners)}
		if err := control.Send(spec.FromInit{Ready: &ready}, listeners[:n]...); err != nil {
			return err
		}
		for _, l := range listeners[:n] {
			l.Close()
		}
		if listeners = listeners[n:]; len(listeners) == 0 {
			return nil
		}
	}
}

// loopbackUp brings up lo, the only interface of the namespace (netdevice(7)).
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring up loopback: %w", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("bring up loopback: %w", err)
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bring up loopback: %w", err)
	}
	return nil
}

func listenAll(addresses []spec.Address) ([]*os.File, error) {
	var out []*os.File
	for _, a := range addresses {
		f, err := listen(a)
		if err != nil {
			return nil, fmt.Errorf("listen on %s:%d in the sandbox: %w", a.IP, a.Port, err)
		}
		out = append(out, f)
	}
	return out, nil
}

func listen(a spec.Address) (*os.File, error) {
	ip, err := netip.ParseAddr(a.IP)
	if err != nil || !ip.Is4() {
		return nil, fmt.Errorf("not an IPv4 address")
	}
	// Plain TCP, not Go's default of MPTCP.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "listener")
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: a.Port, Addr: ip.As4()}); err != nil {
		f.Close()
		return nil, err
	}
	if err := unix.Listen(fd, 1024); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// specFile keeps the spec for init, sealed against change.
func specFile(s *spec.Spec) (*os.File, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("keep spec: %w", err)
	}
	fd, err := unix.MemfdCreate("spec", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("keep spec: %w", err)
	}
	f := os.NewFile(uintptr(fd), "spec")
	if _, err := f.Write(b); err != nil {
		return nil, fmt.Errorf("keep spec: %w", err)
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("keep spec: %w", err)
	}
	return f, nil
}

// drop gives up every right for good: groups, user, bounding set, capabilities, the right
// to gain any by execve; and takes on the system-call filter.
func drop(s *spec.Spec) error {
	for c := 0; c <= unix.CAP_LAST_CAP+8; c++ {
		// EINVAL: the kernel doesn't know so many.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("drop bounding capability %d: %w", c, err)
		}
	}
	if s.HostRoot {
		if _, _, e := unix.Syscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 {
			return fmt.Errorf("drop groups: %w", e)
		}
		if _, _, e := unix.Syscall(unix.SYS_SETRESGID, uintptr(s.GID), uintptr(s.GID), uintptr(s.GID)); e != 0 {
			return fmt.Errorf("drop group: %w", e)
		}
		if _, _, e := unix.Syscall(unix.SYS_SETRESUID, uintptr(s.UID), uintptr(s.UID), uintptr(s.UID)); e != 0 {
			return fmt.Errorf("drop user: %w", e)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("drop ambient capabilities: %w", err)
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&hdr, &none[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if s.Off.Seccomp {
		return nil
	}
	// For the supervision of bind.
	_, err := seccomp.Install(seccomp.Options{Outer: true, Allow: []int{unix.SYS_PIDFD_GETFD, unix.SYS_PROCESS_VM_READV}})
	return err
}

// becomeInit executes init with the descriptors that it needs, and tells it their numbers. None is moved to
// a number of our choice: the runtime's own poller may have it, and dies of losing it.
func becomeInit(control *scm.Conn, specFile *os.File, streams []*os.File, secrets *os.File) error {
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close descriptors: %w", err)
	}
	argv := []string{argvInit}
	for _, f := range append([]*os.File{control.File(), specFile}, append(streams[:3:3], secrets)...) {
		if f == nil {
			break
		}
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD, 3)
		if err != nil {
			return fmt.Errorf("hand descriptors on: %w", err)
		}
		argv = append(argv, strconv.Itoa(fd))
	}
	return fmt.Errorf("start init: %w", unix.Exec(Self, argv, goEnv()))
}

// inheritedByInit reads what becomeInit told: the numbers of control, spec, standard input, output and error, and of the folder of
// secrets if there is one.
func inheritedByInit(args []string) (fds []int, err error) {
	if len(args) != 5 && len(args) != 6 {
		return nil, fmt.Errorf("take descriptors: %d instead of 5 or 6", len(args))
	}
	for _, a := range args {
		fd, err := strconv.Atoi(a)
		if err != nil {
			return nil, fmt.Errorf("take descriptors: %w", err)
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// goEnv keeps Ward's own helper processes small.
// GORACE: a binary with the race detector would wait a second at each exit.
func goEnv() []string {
	return []string{"GOMAXPROCS=1", "GOGC=50", "GODEBUG=madvdontneed=1", "GORACE=atexit_sleep_ms=0"}
}

func landlockABI() int {
	v, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return 0
	}
	return int(v)
}

// readSpec decodes the spec that setup kept.
func readSpec(f *os.File) (*spec.Spec, error) {
	// Other stages read the same open file at the same time: its offset is not ours.
	b, err := io.ReadAll(io.NewSectionReader(f, 0, math.MaxInt64))
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	s := new(spec.Spec)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("decode spec: %w", err)
	}
	return s, nil
}
