package seccomp

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// verdict runs the filter on one call, as the kernel would.
func verdict(t *testing.T, o Options, nr int, args ...uint32) uint32 {
	t.Helper()
	raw, err := Program(o)
	if err != nil {
		t.Fatal(err)
	}
	var program []bpf.Instruction
	for _, r := range raw {
		program = append(program, r.Disassemble())
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	// The VM reads big-endian words, as packets are; the kernel reads seccomp_data in host order.
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offNr:], uint32(nr))
	binary.BigEndian.PutUint32(data[offArch:], auditArch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[16+8*i:], a)
	}
	out, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(out)
}

func TestVerdicts(t *testing.T) {
	const eperm, enosys = retErrno | uint32(unix.EPERM), retErrno | uint32(unix.ENOSYS)
	const noproto = retErrno | uint32(unix.EPROTONOSUPPORT)
	for name, c := range map[string]struct {
		nr   int
		args []uint32
		want uint32
	}{
		"read is allowed":              {unix.SYS_READ, nil, retAllow},
		"execve is allowed":            {unix.SYS_EXECVE, nil, retAllow},
		"plain clone is allowed":       {unix.SYS_CLONE, []uint32{unix.CLONE_VM | uint32(unix.SIGCHLD)}, retAllow},
		"clone of a user namespace":    {unix.SYS_CLONE, []uint32{unix.CLONE_NEWUSER}, eperm},
		"clone of a network namespace": {unix.SYS_CLONE, []uint32{unix.CLONE_NEWNET | uint32(unix.SIGCHLD)}, eperm},
		"clone3 seems absent":          {unix.SYS_CLONE3, nil, enosys},
		"unshare":                      {unix.SYS_UNSHARE, []uint32{unix.CLONE_NEWUSER}, eperm},
		"setns":                        {unix.SYS_SETNS, nil, eperm},
		"mount":                        {unix.SYS_MOUNT, nil, eperm},
		"ptrace":                       {unix.SYS_PTRACE, nil, eperm},
		"process_vm_readv":             {unix.SYS_PROCESS_VM_READV, nil, eperm},
		"pidfd_getfd":                  {unix.SYS_PIDFD_GETFD, nil, eperm},
		"its own limits":               {unix.SYS_PRLIMIT64, []uint32{0}, retAllow},
		"init's limits":                {unix.SYS_PRLIMIT64, []uint32{1}, eperm},
		"bpf":                          {unix.SYS_BPF, nil, eperm},
		"keyctl":                       {unix.SYS_KEYCTL, nil, eperm},
		"memfd_create seems absent":    {unix.SYS_MEMFD_CREATE, nil, enosys},
		"io_uring seems absent":        {unix.SYS_IO_URING_SETUP, nil, enosys},
		"a mode":                       {unix.SYS_FCHMODAT, []uint32{0, 0, 0o755}, retAllow},
		"a set-user-ID mode":           {unix.SYS_FCHMODAT, []uint32{0, 0, 0o4755}, eperm},
		"a set-group-ID mode":          {unix.SYS_FCHMOD, []uint32{0, 0o2755}, eperm},
		"open to read":                 {unix.SYS_OPENAT, []uint32{0, 0, unix.O_RDONLY | unix.O_DIRECTORY, 0xffffffff}, retAllow},
		"open to make":                 {unix.SYS_OPENAT, []uint32{0, 0, unix.O_CREAT | unix.O_WRONLY, 0o644}, retAllow},
		"open to make set-user-ID":     {unix.SYS_OPENAT, []uint32{0, 0, unix.O_CREAT | unix.O_WRONLY, 0o4755}, eperm},
		"a nameless set-user-ID file":  {unix.SYS_OPENAT, []uint32{0, 0, unix.O_TMPFILE | unix.O_WRONLY, 0o4755}, eperm},
		"openat2 seems absent":         {unix.SYS_OPENAT2, nil, enosys},
		"a call of the future":         {999, nil, enosys},
		"tcp socket":                   {unix.SYS_SOCKET, []uint32{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, unix.IPPROTO_TCP}, retAllow},
		"mptcp socket":                 {unix.SYS_SOCKET, []uint32{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, noproto},
		"sctp socket":                  {unix.SYS_SOCKET, []uint32{unix.AF_INET, unix.SOCK_STREAM, 132}, noproto},
		"vsock":                        {unix.SYS_SOCKET, []uint32{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, noproto},
		"packet socket":                {unix.SYS_SOCKET, []uint32{unix.AF_PACKET, unix.SOCK_RAW, 0}, noproto},
		"kernel crypto socket":         {unix.SYS_SOCKET, []uint32{unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, noproto},
		"netfilter netlink":            {unix.SYS_SOCKET, []uint32{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, noproto},
		"routing netlink":              {unix.SYS_SOCKET, []uint32{unix.AF_NETLINK, unix.SOCK_RAW, 0}, retAllow},
	} {
		t.Run(name, func(t *testing.T) {
			if got := verdict(t, Options{}, c.nr, c.args...); got != c.want {
				t.Errorf("verdict %#x, want %#x", got, c.want)
			}
		})
	}
	if got := verdict(t, Options{NotifyBind: true}, unix.SYS_BIND); got != retNotify {
		t.Errorf("bind under supervision: %#x, want notify", got)
	}
}
