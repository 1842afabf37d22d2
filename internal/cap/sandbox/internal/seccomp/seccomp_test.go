package seccomp

import (
	"encoding/binary"
	"slices"
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
}

func TestVerdictsUnderSupervision(t *testing.T) {
	const enosys = retErrno | uint32(unix.ENOSYS)
	tcp := []uint32{unix.AF_INET, unix.SOCK_STREAM, 0}
	for name, c := range map[string]struct {
		nr                 int
		args               []uint32
		plain, sup, before uint32 // of the last filter, of the same when supervised, and of the one before it
	}{
		"bind":                  {unix.SYS_BIND, nil, retAllow, retNotify, retAllow},
		"read":                  {unix.SYS_READ, nil, retAllow, retAllow, retAllow},
		"tcp socket":            {unix.SYS_SOCKET, tcp, retAllow, retAllow, retAllow},
		"ptrace":                {unix.SYS_PTRACE, nil, errno(unix.EPERM), retNotify, retTrace},
		"packet socket":         {unix.SYS_SOCKET, []uint32{unix.AF_PACKET, unix.SOCK_RAW, 0}, errno(unix.EPROTONOSUPPORT), retNotify, retTrace},
		"raw TCP":               {unix.SYS_SOCKET, []uint32{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP}, errno(unix.EPERM), retNotify, retTrace},
		"transforming netlink":  {unix.SYS_SOCKET, []uint32{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM}, errno(unix.EPROTONOSUPPORT), retNotify, retTrace},
		"user namespace":        {unix.SYS_CLONE, []uint32{unix.CLONE_NEWUSER}, errno(unix.EPERM), retNotify, retTrace},
		"what runtimes try":     {unix.SYS_IO_URING_SETUP, nil, enosys, enosys, enosys},
		"clone3":                {unix.SYS_CLONE3, nil, enosys, enosys, enosys},
		"what nobody watches":   {unix.SYS_SWAPON, nil, errno(unix.EPERM), errno(unix.EPERM), errno(unix.EPERM)},
		"a filter of one's own": {unix.SYS_SECCOMP, []uint32{unix.SECCOMP_SET_MODE_FILTER, 0}, retAllow, retAllow, retAllow},
		"a supervisor's":        {unix.SYS_SECCOMP, []uint32{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER}, errno(unix.EBUSY), errno(unix.EBUSY), retAllow},
	} {
		t.Run(name, func(t *testing.T) {
			for _, x := range []struct {
				o    Options
				want uint32
			}{{Options{}, c.plain}, {Options{Supervised: true, Bind: true}, c.sup}, {Options{Outer: true}, c.before}} {
				if got := verdict(t, x.o, c.nr, c.args...); got != x.want {
					t.Errorf("%+v: verdict %#x, want %#x", x.o, got, x.want)
				}
			}
		})
	}
}

// TestLooks: what writes, connects or executes is looked at; what the filter refuses is so before anybody looks, for who looks lets it pass.
func TestLooks(t *testing.T) {
	const eperm = retErrno | uint32(unix.EPERM)
	const at = 1 << 20
	for name, c := range map[string]struct {
		nr         int
		args       []uint32
		plain, sup uint32
		writes     bool
	}{
		"execve":                       {unix.SYS_EXECVE, nil, retAllow, retNotify, false},
		"connect":                      {unix.SYS_CONNECT, nil, retAllow, retNotify, false},
		"open to read":                 {unix.SYS_OPENAT, []uint32{at, at, unix.O_RDONLY | unix.O_CLOEXEC | unix.O_DIRECTORY, 0o4755}, retAllow, retAllow, false},
		"open to write":                {unix.SYS_OPENAT, []uint32{at, at, unix.O_WRONLY}, retAllow, retNotify, true},
		"open to append":               {unix.SYS_OPENAT, []uint32{at, at, unix.O_RDWR | unix.O_APPEND}, retAllow, retNotify, true},
		"open to make":                 {unix.SYS_OPENAT, []uint32{at, at, unix.O_CREAT, 0o644}, retAllow, retNotify, true},
		"open to cut":                  {unix.SYS_OPENAT, []uint32{at, at, unix.O_TRUNC}, retAllow, retNotify, true},
		"open to make set-user-ID":     {unix.SYS_OPENAT, []uint32{at, at, unix.O_CREAT | unix.O_WRONLY, 0o4755}, eperm, eperm, true},
		"a nameless set-user-ID file":  {unix.SYS_OPENAT, []uint32{at, at, unix.O_TMPFILE | unix.O_WRONLY, 0o4755}, eperm, eperm, true},
		"mkdir":                        {unix.SYS_MKDIRAT, []uint32{at, at, 0o755}, retAllow, retNotify, true},
		"unlink":                       {unix.SYS_UNLINKAT, []uint32{at, at}, retAllow, retNotify, true},
		"rename":                       {unix.SYS_RENAMEAT2, []uint32{at, at, at, at}, retAllow, retNotify, true},
		"truncate":                     {unix.SYS_TRUNCATE, []uint32{at}, retAllow, retNotify, true},
		"write":                        {unix.SYS_WRITE, nil, retAllow, retAllow, false},
		"a set-user-ID mode afterward": {unix.SYS_FCHMOD, []uint32{1, 0o4755}, eperm, eperm, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := verdict(t, Options{Supervised: true}, c.nr, c.args...); got != c.plain {
				t.Errorf("unlooked: %#x, want %#x", got, c.plain)
			}
			if got := verdict(t, Options{Supervised: true, Look: true}, c.nr, c.args...); got != c.sup {
				t.Errorf("looked at: %#x, want %#x", got, c.sup)
			}
			var args [6]uint64
			for i, a := range c.args {
				args[i] = uint64(a)
			}
			if got := Written(c.nr, args); len(got) > 0 != c.writes {
				t.Errorf("writes: %+v", got)
			}
		})
	}
	for name, c := range map[string]struct {
		nr   int
		args [6]uint64
		want []File
	}{
		"open to write":                       {unix.SYS_OPENAT, [6]uint64{1<<64 - 100, at, unix.O_WRONLY}, []File{{Dir: unix.AT_FDCWD, Path: at}}},
		"open to make, or read what is there": {unix.SYS_OPENAT, [6]uint64{7, at, unix.O_CREAT}, []File{{Dir: 7, Path: at, Makes: true, Keeps: true}}},
		"open to make alone":                  {unix.SYS_OPENAT, [6]uint64{7, at, unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY}, []File{{Dir: 7, Path: at, Makes: true, Keeps: true}}},
		"open to make or write":               {unix.SYS_OPENAT, [6]uint64{7, at, unix.O_CREAT | unix.O_WRONLY}, []File{{Dir: 7, Path: at, Makes: true}}},
		"mkdir":                               {unix.SYS_MKDIRAT, [6]uint64{7, at}, []File{{Dir: 7, Path: at, Makes: true, Keeps: true, Entry: true}}},
		"unlink":                              {unix.SYS_UNLINKAT, [6]uint64{7, at}, []File{{Dir: 7, Path: at, Entry: true}}},
		"rename":                              {unix.SYS_RENAMEAT2, [6]uint64{7, at, 8, at + 1}, []File{{Dir: 7, Path: at, Entry: true}, {Dir: 8, Path: at + 1, Makes: true, Entry: true}}},
		"link":                                {unix.SYS_LINKAT, [6]uint64{7, at, 8, at + 1}, []File{{Dir: 8, Path: at + 1, Makes: true, Keeps: true, Entry: true}}},
	} {
		if got := Written(c.nr, c.args); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestWhatIsLookedAtWasAllowed: what is handed over to be looked at isn't refused any more, so that nothing may be but what the filter allows.
func TestWhatIsLookedAtWasAllowed(t *testing.T) {
	looked := 0
	for nr := range 600 {
		for _, args := range [][]uint32{nil, {0, 0, 0, 0, 0, 0}, {1, 1, unix.O_WRONLY, 0}, {1, unix.O_WRONLY, 0}, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {1, unix.O_CREAT | unix.O_RDWR, 0o4755}, {1, 1, unix.O_CREAT | unix.O_RDWR, 0o2755}, {1, 0o6755}} {
			before, after := verdict(t, Options{Supervised: true}, nr, args...), verdict(t, Options{Supervised: true, Look: true}, nr, args...)
			if before == after {
				continue
			}
			looked++
			if before != retAllow || after != retNotify {
				t.Errorf("call %d %x: %#x became %#x", nr, args, before, after)
			}
		}
	}
	if looked < 60 {
		t.Errorf("%d calls were looked at", looked)
	}
}

// TestRefusedIsWhatTheFilterWouldSay of every call that it hands over, so that a supervised service meets the same errors.
func TestRefusedIsWhatTheFilterWouldSay(t *testing.T) {
	numbers := []int{unix.SYS_CLONE, unix.SYS_SOCKET}
	for _, w := range slices.Concat(watched, archWatched) {
		numbers = append(numbers, w.nr)
	}
	seen := map[string]bool{}
	for _, nr := range numbers {
		for _, args := range [][6]uint64{
			{},
			{unix.CLONE_NEWUSER},
			{unix.CLONE_FS},
			{unix.AF_PACKET, unix.SOCK_RAW},
			{unix.AF_VSOCK, unix.SOCK_STREAM},
			{unix.AF_ALG, unix.SOCK_SEQPACKET},
			{1 << 20, 1},
			{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP},
			{unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_RAW},
			{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER},
			{unix.AF_NETLINK, unix.SOCK_STREAM},
			{unix.AF_UNIX | 1<<32, unix.SOCK_RAW},
		} {
			low := []uint32{uint32(args[0]), uint32(args[1]), uint32(args[2])}
			if verdict(t, Options{Supervised: true}, nr, low...) != retNotify {
				continue
			}
			e, what := Refused(nr, args)
			seen[what] = true
			if want := verdict(t, Options{}, nr, low...); want != errno(e) || e == 0 {
				t.Errorf("call %d %v: %v, the filter says %#x", nr, args, e, want)
			}
		}
	}
	for _, what := range []string{"ptrace: another process", "clone: a new namespace", "unshare: a new namespace", "socket: raw packets", "socket: an unusual family", "socket: the kernel", ""} {
		if !seen[what] {
			t.Errorf("nothing is %q: %v", what, seen)
		}
	}
}

// FuzzRefused: a call that was handed over to be refused is refused, whatever it is.
func FuzzRefused(f *testing.F) {
	f.Add(unix.SYS_PTRACE, uint64(0), uint64(0), uint64(0))
	f.Add(unix.SYS_SOCKET, uint64(unix.AF_PACKET), uint64(unix.SOCK_RAW), uint64(0))
	f.Fuzz(func(t *testing.T, nr int, a, b, c uint64) {
		if e, what := Refused(nr, [6]uint64{a, b, c}); e == 0 || len(what) > 64 {
			t.Errorf("%v %q", e, what)
		}
	})
}
