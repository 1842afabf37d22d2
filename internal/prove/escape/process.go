package escape

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func namespaces() []attempt {
	out := []attempt{
		{"clone-user", "make a user namespace by clone, for all capabilities in it", byFilter, inChild(unix.SYS_CLONE, unix.CLONE_NEWUSER|int(unix.SIGCHLD))},
		{"clone3-user", "make a user namespace by clone3, whose flags no filter sees", byFilter, clone3},
		{"setns", "join init's or the host's namespaces", byInit + ", " + byFilter, setns},
		{"mount", "mount a file system", byFilter, inChild(unix.SYS_MOUNT, "none", "/tmp", "tmpfs", 0, 0)},
		{"remount", "make a read-only mount writable", byFilter, inChild(unix.SYS_MOUNT, "none", "/", 0, unix.MS_REMOUNT|unix.MS_BIND, 0)},
		{"umount", "uncover what is masked", byFilter, inChild(unix.SYS_UMOUNT2, "/proc/sys", unix.MNT_DETACH)},
		{"fsopen", "mount by the new calls", byFilter, inChild(unix.SYS_FSOPEN, "tmpfs", 0)},
		{"open-tree", "clone a mount", byFilter, inChild(unix.SYS_OPEN_TREE, ^uintptr(99), "/", unix.OPEN_TREE_CLONE)},
		{"mount-setattr", "take attributes off a mount", byFilter, inChild(unix.SYS_MOUNT_SETATTR, ^uintptr(99), "/", 0, 0, 0)},
		{"pivot-root", "change the root", byFilter, inChild(unix.SYS_PIVOT_ROOT, "/tmp", "/tmp")},
		{"chroot", "change the root, to climb out of it", byFilter, inChild(unix.SYS_CHROOT, "/tmp")},
	}
	for _, n := range []struct {
		name string
		flag int
	}{
		{"user", unix.CLONE_NEWUSER},
		{"mount", unix.CLONE_NEWNS},
		{"network", unix.CLONE_NEWNET},
		{"pid", unix.CLONE_NEWPID},
		{"ipc", unix.CLONE_NEWIPC},
		{"uts", unix.CLONE_NEWUTS},
		{"cgroup", unix.CLONE_NEWCGROUP},
		{"time", unix.CLONE_NEWTIME},
	} {
		out = append(out, attempt{"unshare-" + n.name, "make a " + n.name + " namespace by unshare", byFilter, inChild(unix.SYS_UNSHARE, n.flag)})
	}
	return out
}

type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls uint64
}

func clone3(*Ground) Result {
	a := cloneArgs{flags: unix.CLONE_NEWUSER, exitSignal: uint64(unix.SIGCHLD)}
	c := call{nr: unix.SYS_CLONE3, args: [6]uintptr{uintptr(unsafe.Pointer(&a)), unsafe.Sizeof(a)}}
	e, sig := forked(c)
	if sig != 0 {
		return blocked("ended by %v", sig)
	}
	return reached(e)
}

func setns(*Ground) Result {
	return each([]string{"/proc/1/ns/mnt", "/proc/1/ns/net", "/proc/1/ns/pid", "/proc/1/ns/user", "/proc/self/ns/net"}, "", func(p string) Result {
		fd, err := unix.Open(p, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return blocked("%s: %v", p, err)
		}
		defer unix.Close(fd)
		e, _ := forked(call{nr: unix.SYS_SETNS, args: [6]uintptr{uintptr(fd)}})
		if e == unix.EPERM || e == unix.ENOSYS {
			return blocked("%s: %s", p, unix.ErrnoName(e))
		}
		return reached(e)
	})
}

func processes() []attempt {
	return []attempt{
		{"ptrace-init", "take init over by ptrace", byFilter, inChild(unix.SYS_PTRACE, unix.PTRACE_SEIZE, 1, 0, 0)},
		{"read-init", "read init's memory (process_vm_readv)", byFilter, vmReadv},
		{"write-init", "write init's memory (process_vm_writev)", byFilter, inChild(unix.SYS_PROCESS_VM_WRITEV, 1, 0, 0, 0, 0, 0)},
		{"init-pidfd", "take init's descriptors (pidfd_getfd)", byFilter, pidfdGetfd},
		{"compare-init", "compare kernel objects with init's (kcmp)", byFilter, inChild(unix.SYS_KCMP, uintptr(os.Getpid()), 1, 0, 0, 0)},
		{"signal-init", "signal init", byLandlock, func(*Ground) Result { return unlessError(unix.Kill(1, 0), "init can be signalled") }},
		{"limit-init", "take init's limits away (prlimit)", byFilter, func(*Ground) Result {
			var have unix.Rlimit
			return unlessError(unix.Prlimit(1, unix.RLIMIT_NOFILE, nil, &have), "init's limits are open")
		}},
		{"host-processes", "see processes of the host or of other services", byPIDs, seeProcesses},
		{"signal-host", "signal processes of the host", byPIDs, signalHost},
		{"inherited-descriptors", "use a descriptor that was left open", "close-on-exec", inherited},
		{"host-shared-memory", "attach System V memory of the host", byIPC, sharedMemory},
		{"host-message-queue", "open a POSIX message queue", byFilter, inChild(unix.SYS_MQ_OPEN, "ward", 0, 0, 0)},
		{"become-root", "become root", byRights, becomeRoot},
		{"join-group", "join the host's groups", byRights, inChildOr(unix.SYS_SETGROUPS, 1, "\x00\x00\x00\x00")},
		{"raise-capability", "raise capabilities", byRights, raise},
		{"ambient-capability", "raise an ambient capability", byRights, func(*Ground) Result {
			return unlessError(unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_SYS_ADMIN, 0, 0), "raised")
		}},
		{"privileges-again", "take no_new_privs off", "no_new_privs", func(*Ground) Result {
			return unlessError(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), "it is off")
		}},
		{"filter-off", "take the system-call filter off", byFilter, filterOff},
		{"realtime", "take the processor for itself", byRights, realtime},
		{"priority", "raise the priority", byRights, func(*Ground) Result {
			return unlessError(unix.Setpriority(unix.PRIO_PROCESS, 0, -20), "raised")
		}},
	}
}

// inChildOr is inChild for calls whose only right answers are EPERM and EINVAL.
func inChildOr(nr uintptr, args ...any) func(*Ground) Result {
	return func(*Ground) Result {
		e, sig := forked(newCall(nr, args...))
		return signalled(sig, e, "the kernel did it")
	}
}

func vmReadv(*Ground) Result {
	b := make([]byte, 8)
	local := []unix.Iovec{{Base: &b[0], Len: 8}}
	_, err := unix.ProcessVMReadv(1, local, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
	return reached(errnoOf(err))
}

func pidfdGetfd(*Ground) Result {
	fd, err := unix.PidfdOpen(1, 0)
	if err != nil {
		return blocked("pidfd_open: %v", err)
	}
	defer unix.Close(fd)
	got, err := unix.PidfdGetfd(fd, 3, 0)
	if err == nil {
		unix.Close(got)
	}
	return reached(errnoOf(err))
}

// started is the start time of a process that is visible here.
func started(pid int) (uint64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, fmt.Errorf("read start of process: %w", err)
	}
	_, rest, ok := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 20 {
		return 0, fmt.Errorf("read start of process: unexpected form")
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// ProcessOf describes a process of the host, to aim at.
func ProcessOf(pid int) (Process, error) {
	s, err := started(pid)
	return Process{PID: pid, Start: s}, err
}

func seeProcesses(g *Ground) Result {
	return each(g.Processes, "no process of the host is known", func(p Process) Result {
		if s, err := started(p.PID); err == nil && s == p.Start {
			return succeeded("process %d of the host is visible", p.PID)
		}
		return blocked("process %d isn't there", p.PID)
	})
}

func signalHost(g *Ground) Result {
	return each(g.Processes, "no process of the host is known", func(p Process) Result {
		err := unix.Kill(p.PID, 0)
		if err == nil {
			if s, e := started(p.PID); e != nil || s != p.Start {
				return blocked("%d is another process here", p.PID)
			}
		}
		return unlessError(err, fmt.Sprintf("process %d can be signalled", p.PID))
	})
}

// inherited looks for descriptors beyond the standard ones that this program didn't open.
func inherited(*Ground) Result {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return blocked("%v", err)
	}
	for _, n := range names {
		fd, err := strconv.Atoi(n.Name())
		if err != nil || fd < 3 || n.Name() == os.Getenv("WARD_SECRETS_FD") {
			continue
		}
		to, err := os.Readlink(filepath.Join("/proc/self/fd", n.Name()))
		// The runtime's poller, and the folder that is being listed.
		if err != nil || strings.HasPrefix(to, "anon_inode:[event") || strings.HasPrefix(to, "/proc/") || strings.HasPrefix(to, "anon_inode:[pidfd") || to == "pidfd:" {
			continue
		}
		return succeeded("descriptor %d is %s", fd, to)
	}
	return blocked("only the standard ones are open")
}

func sharedMemory(g *Ground) Result {
	if g.ShmKey == 0 {
		return notApplicable("no segment of the host is known")
	}
	id, err := unix.SysvShmGet(g.ShmKey, 0, 0)
	if err != nil {
		return blocked("%v", err)
	}
	return succeeded("segment %d", id)
}

func becomeRoot(*Ground) Result {
	for _, nr := range []uintptr{unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETFSUID} {
		e, _ := forked(call{nr: nr})
		if e == 0 && nr != unix.SYS_SETFSUID { // setfsuid tells no error
			return succeeded("call %d worked", nr)
		}
	}
	return blocked("%s", unix.ErrnoName(unix.EPERM))
}

func raise(*Ground) Result {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	all := [2]unix.CapUserData{{Effective: ^uint32(0), Permitted: ^uint32(0), Inheritable: ^uint32(0)}, {Effective: ^uint32(0), Permitted: ^uint32(0)}}
	c := call{nr: unix.SYS_CAPSET, args: [6]uintptr{uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&all[0]))}}
	e, sig := forked(c)
	return signalled(sig, e, "capabilities are raised")
}

// filterOff asks for mode 0, and for a listener that would take the supervision of bind over
// from init (seccomp_unotify(2)).
func filterOff(*Ground) Result {
	if err := unix.Prctl(unix.PR_SET_SECCOMP, 0, 0, 0, 0); err == nil {
		return succeeded("the filter is off")
	}
	const allow, notify = 0x7fff0000, 0x7fc00000
	prog := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_BIND},
		{Code: unix.BPF_RET, K: notify},
		{Code: unix.BPF_RET, K: allow},
	}
	p := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	c := call{nr: unix.SYS_SECCOMP, args: [6]uintptr{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&p))}}
	e, sig := forked(c)
	return signalled(sig, e, "a listener of its own supervises bind")
}

func realtime(*Ground) Result {
	attr := struct{ priority int32 }{50}
	_, _, e := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, 0, 1, uintptr(unsafe.Pointer(&attr)))
	if e == 0 {
		attr.priority = 0
		_, _, _ = unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, 0, 0, uintptr(unsafe.Pointer(&attr)))
		return succeeded("runs as SCHED_FIFO")
	}
	return blocked("%s", unix.ErrnoName(e))
}
