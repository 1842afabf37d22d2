package stage

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"

	"github.com/wardhq/ward/internal/base/scm"
	"github.com/wardhq/ward/internal/cap/sandbox/internal/seccomp"
	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
)

// Where an exec stage finds the spec, and the secrets if there are any.
const (
	fdExecSpec    = 4
	fdExecSecrets = 5
)

// execMain restricts this process for good and becomes the service, or the probe.
func execMain() error {
	runtime.LockOSThread()
	args := os.Args[1:]
	s, err := readSpec(os.NewFile(fdExecSpec, "spec"))
	if err != nil {
		return err
	}
	init, err := scm.Inherited(fdExec, "init")
	if err != nil {
		return err
	}
	probe := len(args) > 0 && args[0] == argvProbe
	told, err := secretEnv(s)
	if err != nil {
		return err
	}
	exe, argv, env := s.Exe, s.Argv, append(s.Env, told...)
	if probe {
		exe, argv, env = Self, args, append(goEnv(), env...)
	}
	if err := unix.Chdir(s.Dir); err != nil {
		return fmt.Errorf("enter workdir %s: %w", s.Dir, err)
	}
	if probe {
		s.Limits.MemoryBytes = 0 // Ward's own runtime may need more to start than the service is given
	}
	if err := setLimits(s.Limits); err != nil {
		return err
	}
	if !s.Off.Landlock {
		if err := restrict(s, probe); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if !s.Off.Seccomp {
		o := seccomp.Options{Supervised: true, Bind: !s.Off.Network, Look: !s.Off.Network && s.Watched}
		if s.SecretMemory {
			o.Allow = []int{unix.SYS_MEMFD_SECRET}
		}
		notify, err := seccomp.Install(o)
		if err != nil {
			return err
		}
		if notify >= 0 {
			f := os.NewFile(uintptr(notify), "notify")
			if err := init.Send(true, f); err != nil {
				return err
			}
		}
	}
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close descriptors: %w", err)
	}
	if s.Secrets {
		if _, err := unix.FcntlInt(fdExecSecrets, unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("hand the secrets on: %w", err)
		}
	}
	err = unix.Exec(exe, argv, env)
	return fmt.Errorf("execute %s: %w", exe, err)
}

func setLimits(l spec.Limits) error {
	set := func(resource int, v int64) error {
		if v <= 0 {
			return nil
		}
		var have unix.Rlimit
		if err := unix.Getrlimit(resource, &have); err != nil {
			return err
		}
		n := min(uint64(v), have.Max)
		return unix.Setrlimit(resource, &unix.Rlimit{Cur: n, Max: n})
	}
	if err := set(unix.RLIMIT_DATA, l.MemoryBytes); err != nil {
		return fmt.Errorf("limit memory: %w", err)
	}
	if err := set(unix.RLIMIT_NPROC, int64(l.PIDs)); err != nil {
		return fmt.Errorf("limit processes: %w", err)
	}
	if err := set(unix.RLIMIT_NOFILE, int64(l.OpenFiles)); err != nil {
		return fmt.Errorf("limit open files: %w", err)
	}
	// No core dumps: they would hold secrets.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("limit core dumps: %w", err)
	}
	return nil
}

// Rights of landlock(7), by what a service does with a path.
const (
	readFile  = landlock.AccessFSSet(llsys.AccessFSReadFile)
	readDir   = readFile | llsys.AccessFSReadDir
	execFile  = readFile | llsys.AccessFSExecute
	writeFile = readFile | llsys.AccessFSWriteFile | llsys.AccessFSTruncate
	writeDir  = writeFile | llsys.AccessFSReadDir | llsys.AccessFSRemoveDir | llsys.AccessFSRemoveFile | llsys.AccessFSMakeDir |
		llsys.AccessFSMakeReg | llsys.AccessFSMakeSock | llsys.AccessFSMakeFifo | llsys.AccessFSMakeSym | llsys.AccessFSRefer
)

// restrict puts the second lock on what the private root shows: reading everywhere,
// execution of the listed programs only, writing where the model says, connections to the granted ports only.
func restrict(s *spec.Spec, probe bool) error {
	rules := []landlock.Rule{landlock.PathAccess(readDir, "/")}
	for _, p := range s.Execs {
		rules = append(rules, landlock.PathAccess(execFile, p).IgnoreIfMissing())
	}
	if probe {
		rules = append(rules, landlock.PathAccess(execFile, Self))
	}
	for _, p := range writable(s) {
		right := writeDir
		if st, err := os.Stat(p); err == nil && !st.IsDir() {
			right = writeFile
		}
		rules = append(rules, landlock.PathAccess(right, p).IgnoreIfMissing())
	}
	// One set of rules for all: each further set would by itself forbid to move files from folder to folder (landlock(7), LANDLOCK_ACCESS_FS_REFER).
	handled := []any{landlock.V7.HandledAccessFS}
	if !s.Off.Network || s.Scoped {
		handled = append(handled, landlock.V7.Scoped)
	}
	if !s.Off.Network && !(s.Alone && len(s.Upstream) == 0) {
		handled = append(handled, landlock.AccessNetSet(llsys.AccessNetConnectTCP))
		rules = append(rules, connections(s)...)
	}
	cfg, err := landlock.NewConfig(handled...)
	if err != nil {
		return fmt.Errorf("restrict paths and connections: %w", err)
	}
	if err := cfg.BestEffort().Restrict(rules...); err != nil {
		return fmt.Errorf("restrict paths and connections: %w", err)
	}
	return nil
}

// writable are the folders and files that may be written.
func writable(s *spec.Spec) []string {
	all := []string{"/tmp", "/var/tmp", "/dev/shm", "/run", "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}
	for _, m := range s.Mounts {
		if m.Write {
			all = append(all, m.Target)
		}
	}
	return all
}

// connections are those to the granted ports.
func connections(s *spec.Spec) []landlock.Rule {
	var net []landlock.Rule
	for _, p := range ports(s) {
		net = append(net, landlock.ConnectTCP(uint16(p)))
	}
	return net
}

// ports are those that TCP may be opened to: the upstreams', the service's own and DNS. Binding is init's to decide: see bind.go.
func ports(s *spec.Spec) []int {
	all := append([]int{53}, s.Binds...)
	for _, a := range s.Upstream {
		all = append(all, a.Port)
	}
	return all
}
