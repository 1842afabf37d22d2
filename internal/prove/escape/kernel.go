package escape

import (
	"golang.org/x/sys/unix"
)

// kernel are calls into parts of the kernel that no service needs. Their arguments mean nothing, so
// that they do nothing even where no guard stands.
func kernel() []attempt {
	nothing := ^uintptr(0)
	out := []attempt{
		{"io-uring", "do I/O past the filter by io_uring", byFilter, inChild(unix.SYS_IO_URING_SETUP, 1, string(make([]byte, 128)))},
		{"bpf", "load a BPF program", byFilter, inChild(unix.SYS_BPF, 5, 0, 0)},
		{"perf-event", "count the processor's events", byFilter, inChild(unix.SYS_PERF_EVENT_OPEN, 0, 0, nothing, nothing, 0)},
		{"userfaultfd", "hold the kernel up at page faults", byFilter, inChild(unix.SYS_USERFAULTFD, 1)},
		{"add-key", "put a key into the kernel's keyring", byFilter, inChild(unix.SYS_ADD_KEY, "user", "ward-attack", "x", 1, ^uintptr(1))},
		{"keyctl", "read the user's keyring", byFilter, inChild(unix.SYS_KEYCTL, 0, ^uintptr(3), 0)},
		{"request-key", "have the kernel run /sbin/request-key", byFilter, inChild(unix.SYS_REQUEST_KEY, "user", "ward-attack", 0, 0)},
		{"kexec", "boot another kernel", byFilter, inChild(unix.SYS_KEXEC_LOAD, 0, nothing, 0, nothing)},
		{"kernel-module", "load a kernel module", byFilter, inChild(unix.SYS_FINIT_MODULE, nothing, 0, 0)},
		{"module-from-memory", "load a kernel module from memory", byFilter, inChild(unix.SYS_INIT_MODULE, 0, 0, 0)},
		{"module-unload", "unload a kernel module", byFilter, inChild(unix.SYS_DELETE_MODULE, 0, 0)},
		{"reboot", "reboot the host", byFilter, inChild(unix.SYS_REBOOT, 0, 0, 0, 0)},
		{"swap", "take swap space", byFilter, inChild(unix.SYS_SWAPON, 0, 0)},
		{"quota", "change disk quotas", byFilter, inChild(unix.SYS_QUOTACTL, 0, 0, 0, 0)},
		{"accounting", "switch process accounting", byFilter, inChild(unix.SYS_ACCT, "/nonexistent/ward")},
		{"clock", "set the host's clock", byFilter, inChild(unix.SYS_CLOCK_SETTIME, nothing, 0)},
		{"clock-adjust", "skew the host's clock", byFilter, inChild(unix.SYS_ADJTIMEX, 0)},
		{"time-of-day", "set the host's time", byFilter, inChild(unix.SYS_SETTIMEOFDAY, 0, 0)},
		{"host-name", "change the host's name", byFilter, inChild(unix.SYS_SETHOSTNAME, 0, nothing)},
		{"kernel-log-call", "read the kernel's log by syslog", byFilter, inChild(unix.SYS_SYSLOG, 10, 0, 0)},
		{"personality", "switch address randomisation off", byFilter, inChild(unix.SYS_PERSONALITY, 0x0040000)},
		{"fanotify", "watch every file that is opened", byFilter, inChild(unix.SYS_FANOTIFY_INIT, 0, 0)},
		{"name-to-handle", "learn file handles", byFilter, inChild(unix.SYS_NAME_TO_HANDLE_AT, ^uintptr(99), "/", 0, 0, 0)},
		{"move-pages", "move another process's pages", byFilter, inChild(unix.SYS_MOVE_PAGES, 1, 0, 0, 0, 0, 0)},
		{"memory-policy", "steer the memory of other processes", byFilter, inChild(unix.SYS_MIGRATE_PAGES, 1, 0, 0, 0)},
		{"secret-memory", "hide memory from the kernel", byFilter, inChild(unix.SYS_MEMFD_SECRET, 0)},
		{"future-call", "make a call that is newer than the filter", byFilter, futureCall},
	}
	return append(out, foreign()...)
}

// futureCall: with no filter the kernel says ENOSYS too, so this only shows that nothing is there.
func futureCall(*Ground) Result {
	e, sig := forked(call{nr: 999})
	if sig != 0 {
		return blocked("ended by %v", sig)
	}
	return reached(e)
}

// foreign instruction sets have other numbers for the same calls, past a filter on numbers.
func foreign() []attempt {
	if x32Bit == 0 {
		return nil
	}
	return []attempt{
		{"x32-call", "call by the x32 numbers, past the filter", byFilter, inChild(unix.SYS_GETPID | x32Bit)},
		{"32-bit-call", "call by the 32-bit gate, past the filter", byFilter, func(*Ground) Result {
			e, sig := forked(call{nr: int80})
			if sig == unix.SIGSEGV {
				return notApplicable("this kernel has no 32-bit gate")
			}
			return signalled(sig, e, "the call was made")
		}},
	}
}
