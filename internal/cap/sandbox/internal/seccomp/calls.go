package seccomp

import "golang.org/x/sys/unix"

const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// setIDBits are S_ISUID and S_ISGID of a file's mode.
const setIDBits = unix.S_ISUID | unix.S_ISGID

// oTmpfile is O_TMPFILE's own bit: the rest of it is O_DIRECTORY (open(2)).
const oTmpfile = unix.O_TMPFILE &^ unix.O_DIRECTORY

// socketType is the type of a socket; the rest are SOCK_CLOEXEC and SOCK_NONBLOCK.
const socketType = 0xff

// argumentRules are the calls that depend on their arguments.
var argumentRules = []argRule{
	// No new namespaces: each is a new piece of kernel to attack.
	{nr: unix.SYS_CLONE, tests: []argTest{{arg: 0, mask: namespaceFlags, values: []uint32{0}}}, deny: unix.EPERM, watch: true},
	// Of netlink what getifaddrs needs, NETLINK_ROUTE.
	{nr: unix.SYS_SOCKET, when: argTest{arg: 0, values: []uint32{unix.AF_NETLINK}}, tests: []argTest{
		{arg: 1, mask: socketType, values: []uint32{unix.SOCK_DGRAM, unix.SOCK_RAW}},
		{arg: 2, values: []uint32{unix.NETLINK_ROUTE}},
	}, deny: unix.EPROTONOSUPPORT, watch: true},
	// Unix and IP sockets. Not vsock, packet, alg, xdp, bluetooth, which no network namespace holds back or which are big kernel surfaces.
	{nr: unix.SYS_SOCKET, tests: []argTest{
		{arg: 0, values: []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6}},
		{arg: 1, mask: socketType, values: []uint32{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET}, deny: unix.EPERM},
		// Protocol 0, TCP or UDP: MPTCP (262) passes by Landlock's TCP rules
		// (https://github.com/landlock-lsm/linux/issues/54).
		{arg: 2, values: []uint32{0, unix.IPPROTO_TCP, unix.IPPROTO_UDP}},
	}, deny: unix.EPROTONOSUPPORT, watch: true},
	{nr: unix.SYS_SOCKETPAIR, tests: []argTest{{arg: 0, values: []uint32{unix.AF_UNIX}}}, deny: unix.EPERM},
	// Its own limits only: init has the same user, and could be starved by another number.
	{nr: unix.SYS_PRLIMIT64, tests: []argTest{{arg: 0, values: []uint32{0}}}, deny: unix.EPERM},
	// A set-user-ID file in a folder that is shown for writing would be the team's, or root's, on the host: whoever
	// has a shell there could become its owner.
	{nr: unix.SYS_FCHMOD, tests: []argTest{{arg: 1, mask: setIDBits, values: []uint32{0}}}, deny: unix.EPERM},
	{nr: unix.SYS_FCHMODAT, tests: []argTest{{arg: 2, mask: setIDBits, values: []uint32{0}}}, deny: unix.EPERM},
	{nr: unix.SYS_OPENAT, tests: []argTest{
		// Without these flags the mode is whatever the register held.
		{arg: 2, mask: unix.O_CREAT | oTmpfile, values: []uint32{0}, last: true},
		{arg: 3, mask: setIDBits, values: []uint32{0}},
	}, deny: unix.EPERM},
	// PER_LINUX, and the query; others switch off address randomisation.
	{nr: unix.SYS_PERSONALITY, tests: []argTest{{arg: 0, values: []uint32{0, 0xffffffff}}}, deny: unix.EPERM},
}

// absent calls answer ENOSYS, because programs then use an older way that the filter can see through.
var absent = []int{
	unix.SYS_CLONE3,       // flags are behind a pointer
	unix.SYS_OPENAT2,      // so is the mode of the file that it makes
	unix.SYS_MEMFD_CREATE, // memfd and exec get round Landlock's execute right
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
}

// firstUnknown is the first number past the calls that this list was made from (Linux 6.11).
const firstUnknown = 463

// allowed are the calls of every architecture.
var allowed = []int{
	unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_BIND, unix.SYS_BRK, unix.SYS_CAPGET, unix.SYS_CAPSET,
	unix.SYS_CHDIR, unix.SYS_CLOCK_GETRES, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_NANOSLEEP,
	unix.SYS_CLOSE, unix.SYS_CLOSE_RANGE, unix.SYS_CONNECT, unix.SYS_COPY_FILE_RANGE, unix.SYS_DUP, unix.SYS_DUP3,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_EVENTFD2,
	unix.SYS_EXECVE, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2,
	unix.SYS_FADVISE64, unix.SYS_FALLOCATE, unix.SYS_FCHDIR, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT,
	unix.SYS_FCNTL, unix.SYS_FDATASYNC, unix.SYS_FGETXATTR, unix.SYS_FLISTXATTR, unix.SYS_FLOCK,
	unix.SYS_FREMOVEXATTR, unix.SYS_FSETXATTR, unix.SYS_FSTAT, unix.SYS_FSTATFS, unix.SYS_FSYNC, unix.SYS_FTRUNCATE,
	unix.SYS_FUTEX, unix.SYS_FUTEX_WAITV, unix.SYS_GETCPU, unix.SYS_GETCWD, unix.SYS_GETDENTS64, unix.SYS_GETEGID, unix.SYS_GETEUID,
	unix.SYS_GETGID, unix.SYS_GETGROUPS, unix.SYS_GETITIMER, unix.SYS_GETPEERNAME, unix.SYS_GETPGID,
	unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETPRIORITY, unix.SYS_GETRANDOM, unix.SYS_GETRESGID, unix.SYS_GETRESUID,
	unix.SYS_GETRLIMIT, unix.SYS_GET_ROBUST_LIST, unix.SYS_GETRUSAGE, unix.SYS_GETSID, unix.SYS_GETSOCKNAME,
	unix.SYS_GETSOCKOPT, unix.SYS_GETTID, unix.SYS_GETTIMEOFDAY, unix.SYS_GETUID, unix.SYS_GETXATTR,
	unix.SYS_INOTIFY_ADD_WATCH, unix.SYS_INOTIFY_INIT1, unix.SYS_INOTIFY_RM_WATCH,
	unix.SYS_IO_CANCEL, unix.SYS_IO_DESTROY, unix.SYS_IO_GETEVENTS, unix.SYS_IO_SETUP, unix.SYS_IO_SUBMIT, unix.SYS_IO_PGETEVENTS,
	unix.SYS_IOCTL, unix.SYS_IOPRIO_GET, unix.SYS_IOPRIO_SET, unix.SYS_KILL,
	unix.SYS_LANDLOCK_CREATE_RULESET, unix.SYS_LANDLOCK_ADD_RULE, unix.SYS_LANDLOCK_RESTRICT_SELF,
	unix.SYS_LGETXATTR, unix.SYS_LINKAT, unix.SYS_LISTEN, unix.SYS_LISTXATTR, unix.SYS_LLISTXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_LSEEK, unix.SYS_LSETXATTR,
	unix.SYS_MADVISE, unix.SYS_MEMBARRIER, unix.SYS_MINCORE, unix.SYS_MKDIRAT, unix.SYS_MLOCK, unix.SYS_MLOCK2, unix.SYS_MLOCKALL,
	unix.SYS_MMAP, unix.SYS_MPROTECT, unix.SYS_MREMAP, unix.SYS_MSYNC, unix.SYS_MUNLOCK, unix.SYS_MUNLOCKALL, unix.SYS_MUNMAP,
	unix.SYS_MSGCTL, unix.SYS_MSGGET, unix.SYS_MSGRCV, unix.SYS_MSGSND,
	unix.SYS_NANOSLEEP, unix.SYS_NEWFSTATAT,
	unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_PIPE2,
	unix.SYS_PKEY_ALLOC, unix.SYS_PKEY_FREE, unix.SYS_PKEY_MPROTECT, unix.SYS_PPOLL, unix.SYS_PRCTL,
	unix.SYS_PREAD64, unix.SYS_PREADV, unix.SYS_PREADV2, unix.SYS_PSELECT6, unix.SYS_PWRITE64, unix.SYS_PWRITEV, unix.SYS_PWRITEV2,
	unix.SYS_READ, unix.SYS_READAHEAD, unix.SYS_READLINKAT, unix.SYS_READV, unix.SYS_RECVFROM, unix.SYS_RECVMMSG, unix.SYS_RECVMSG,
	unix.SYS_REMOVEXATTR, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_RESTART_SYSCALL, unix.SYS_RSEQ,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPENDING, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_SIGRETURN,
	unix.SYS_RT_SIGSUSPEND, unix.SYS_RT_SIGTIMEDWAIT, unix.SYS_RT_TGSIGQUEUEINFO,
	unix.SYS_SCHED_GETAFFINITY, unix.SYS_SCHED_GETATTR, unix.SYS_SCHED_GETPARAM, unix.SYS_SCHED_GET_PRIORITY_MAX, unix.SYS_SCHED_GET_PRIORITY_MIN,
	unix.SYS_SCHED_GETSCHEDULER, unix.SYS_SCHED_RR_GET_INTERVAL, unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_SETATTR, unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETSCHEDULER, unix.SYS_SCHED_YIELD,
	unix.SYS_SECCOMP, unix.SYS_SEMCTL, unix.SYS_SEMGET, unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP,
	unix.SYS_SENDFILE, unix.SYS_SENDMMSG, unix.SYS_SENDMSG, unix.SYS_SENDTO,
	unix.SYS_SETFSGID, unix.SYS_SETFSUID, unix.SYS_SETGID, unix.SYS_SETGROUPS, unix.SYS_SETITIMER, unix.SYS_SETPGID, unix.SYS_SETPRIORITY,
	unix.SYS_SETREGID, unix.SYS_SETRESGID, unix.SYS_SETRESUID, unix.SYS_SETREUID, unix.SYS_SETRLIMIT, unix.SYS_SET_ROBUST_LIST,
	unix.SYS_SETSID, unix.SYS_SETSOCKOPT, unix.SYS_SET_TID_ADDRESS, unix.SYS_SETUID, unix.SYS_SETXATTR,
	unix.SYS_SHMAT, unix.SYS_SHMCTL, unix.SYS_SHMDT, unix.SYS_SHMGET, unix.SYS_SHUTDOWN, unix.SYS_SIGALTSTACK,
	unix.SYS_SIGNALFD4, unix.SYS_SPLICE, unix.SYS_STATFS, unix.SYS_STATX, unix.SYS_SYMLINKAT, unix.SYS_SYNC, unix.SYS_SYNC_FILE_RANGE, unix.SYS_SYNCFS,
	unix.SYS_SYSINFO, unix.SYS_TEE, unix.SYS_TGKILL, unix.SYS_TIMER_CREATE, unix.SYS_TIMER_DELETE, unix.SYS_TIMERFD_CREATE,
	unix.SYS_TIMERFD_GETTIME, unix.SYS_TIMERFD_SETTIME, unix.SYS_TIMER_GETOVERRUN, unix.SYS_TIMER_GETTIME, unix.SYS_TIMER_SETTIME,
	unix.SYS_TIMES, unix.SYS_TKILL, unix.SYS_TRUNCATE, unix.SYS_UMASK, unix.SYS_UNAME, unix.SYS_UNLINKAT, unix.SYS_UTIMENSAT,
	unix.SYS_VMSPLICE, unix.SYS_WAIT4, unix.SYS_WAITID, unix.SYS_WRITE, unix.SYS_WRITEV,
}
