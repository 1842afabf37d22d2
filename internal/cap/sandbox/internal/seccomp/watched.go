package seccomp

import (
	"cmp"

	"golang.org/x/sys/unix"
)

// watchedCall is refused, and no ordinary program tries it.
type watchedCall struct {
	nr   int
	name string
	into string // what it leads to
}

// watched are the calls that an intruder tries to get out of a sandbox, or deeper into the kernel. What runtimes, libraries and databases try
// when they start isn't among them (io_uring, memfd_create, clone3, NUMA policy, kcmp, MPTCP, netlink of other kinds): it must stay quiet.
var watched = []watchedCall{
	{unix.SYS_PTRACE, "ptrace", otherProcess},
	{unix.SYS_PROCESS_VM_READV, "process_vm_readv", otherProcess},
	{unix.SYS_PROCESS_VM_WRITEV, "process_vm_writev", otherProcess},
	{unix.SYS_PIDFD_GETFD, "pidfd_getfd", otherProcess},
	{unix.SYS_MOUNT, "mount", otherFiles},
	{unix.SYS_UMOUNT2, "umount2", otherFiles},
	{unix.SYS_PIVOT_ROOT, "pivot_root", otherFiles},
	{unix.SYS_CHROOT, "chroot", otherFiles},
	{unix.SYS_MOVE_MOUNT, "move_mount", otherFiles},
	{unix.SYS_OPEN_TREE, "open_tree", otherFiles},
	{unix.SYS_FSOPEN, "fsopen", otherFiles},
	{unix.SYS_FSCONFIG, "fsconfig", otherFiles},
	{unix.SYS_FSMOUNT, "fsmount", otherFiles},
	{unix.SYS_FSPICK, "fspick", otherFiles},
	{unix.SYS_MOUNT_SETATTR, "mount_setattr", otherFiles},
	{unix.SYS_OPEN_BY_HANDLE_AT, "open_by_handle_at", otherFiles},
	{unix.SYS_UNSHARE, "unshare", newNamespace},
	{unix.SYS_SETNS, "setns", "another namespace"},
	{unix.SYS_BPF, "bpf", kernel},
	{unix.SYS_PERF_EVENT_OPEN, "perf_event_open", kernel},
	{unix.SYS_USERFAULTFD, "userfaultfd", kernel},
	{unix.SYS_KEYCTL, "keyctl", kernelKeys},
	{unix.SYS_ADD_KEY, "add_key", kernelKeys},
	{unix.SYS_REQUEST_KEY, "request_key", kernelKeys},
	{unix.SYS_INIT_MODULE, "init_module", kernel},
	{unix.SYS_FINIT_MODULE, "finit_module", kernel},
	{unix.SYS_DELETE_MODULE, "delete_module", kernel},
	{unix.SYS_KEXEC_LOAD, "kexec_load", kernel},
	{unix.SYS_REBOOT, "reboot", "the machine"},
}

const (
	otherProcess = "another process"
	otherFiles   = "other files"
	newNamespace = "a new namespace"
	kernel       = "the kernel"
	kernelKeys   = "the kernel's keys"
)

// allNamespaces are those that unshare(2) can make: clone(2) has no room for the one of time.
const allNamespaces = namespaceFlags | unix.CLONE_NEWTIME

// Refused is the error of a call that the filter handed over in order to refuse it, and what was tried, one of few sentences; "" for what ordinary
// programs try too. Calls that it knows nothing of are EPERM: it is never 0.
func Refused(nr int, args [6]uint64) (e unix.Errno, what string) {
	e = unix.EPERM
	for i := range argumentRules {
		if r := &argumentRules[i]; r.nr == nr && (len(r.when.values) == 0 || r.when.passes(args)) {
			e = r.refusal(args)
			break
		}
	}
	switch nr {
	case unix.SYS_CLONE:
		return e, "clone: " + newNamespace
	case unix.SYS_UNSHARE:
		if args[0]&allNamespaces == 0 {
			return e, "" // its own descriptors or folder
		}
	case unix.SYS_SOCKET:
		return e, socketKind(uint32(args[0]), uint32(args[1])&socketType)
	}
	for _, all := range [][]watchedCall{watched, archWatched} {
		for _, w := range all {
			if w.nr == nr {
				return e, w.name + ": " + w.into
			}
		}
	}
	return e, ""
}

// refusal is the error of the first test that fails.
func (r *argRule) refusal(args [6]uint64) unix.Errno {
	for i := range r.tests {
		if t := &r.tests[i]; !t.last && !t.passes(args) {
			return cmp.Or(t.deny, r.deny)
		}
	}
	return r.deny
}

// socketKind names a socket that leads past TCP and UDP.
func socketKind(family, kind uint32) string {
	switch family {
	case unix.AF_UNIX, unix.AF_NETLINK:
		return "" // libraries ask for netlink of many kinds
	case unix.AF_INET, unix.AF_INET6:
		if kind == unix.SOCK_RAW || kind == unix.SOCK_PACKET {
			return "socket: raw packets"
		}
		return "" // MPTCP, which Go's listeners try first; SCTP
	case unix.AF_PACKET:
		return "socket: raw packets"
	case unix.AF_VSOCK:
		return "socket: the virtual machine's host"
	case unix.AF_ALG, unix.AF_XDP, unix.AF_KEY:
		return "socket: " + kernel
	}
	return "socket: an unusual family"
}
