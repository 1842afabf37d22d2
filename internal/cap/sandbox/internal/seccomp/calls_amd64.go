package seccomp

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// x32Bit marks system calls of the x32 ABI, which would pass by number tests.
const x32Bit = 0x40000000

// allowedArch are the older calls that only amd64 still has.
var allowedArch = []int{
	unix.SYS_ACCESS, unix.SYS_ALARM, unix.SYS_ARCH_PRCTL, unix.SYS_CHOWN, unix.SYS_DUP2,
	unix.SYS_EPOLL_CREATE, unix.SYS_EPOLL_WAIT, unix.SYS_EVENTFD, unix.SYS_FORK, unix.SYS_GETDENTS, unix.SYS_GETPGRP,
	unix.SYS_INOTIFY_INIT, unix.SYS_LCHOWN, unix.SYS_LINK, unix.SYS_LSTAT, unix.SYS_MKDIR, unix.SYS_PAUSE,
	unix.SYS_PIPE, unix.SYS_POLL, unix.SYS_READLINK, unix.SYS_RENAME, unix.SYS_RMDIR, unix.SYS_SELECT, unix.SYS_SIGNALFD,
	unix.SYS_STAT, unix.SYS_SYMLINK, unix.SYS_TIME, unix.SYS_UNLINK, unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_FUTIMESAT, unix.SYS_VFORK,
}

// archRules are rules of argumentRules for those older calls.
var archRules = []argRule{
	{nr: unix.SYS_CHMOD, tests: []argTest{{arg: 1, mask: setIDBits, values: []uint32{0}}}, deny: unix.EPERM},
	{nr: unix.SYS_CREAT, tests: []argTest{{arg: 1, mask: setIDBits, values: []uint32{0}}}, deny: unix.EPERM},
	{nr: unix.SYS_OPEN, tests: []argTest{
		{arg: 1, mask: unix.O_CREAT | oTmpfile, values: []uint32{0}, last: true},
		{arg: 2, mask: setIDBits, values: []uint32{0}},
	}, deny: unix.EPERM},
}

// archWatched are those of watched that not every architecture has.
var archWatched = []watchedCall{
	{unix.SYS_KEXEC_FILE_LOAD, "kexec_file_load", kernel}, {unix.SYS_IOPL, "iopl", "the machine"}, {unix.SYS_IOPERM, "ioperm", "the machine"},
}

// archWriting are those of writing that not every architecture has.
var archWriting = []writingCall{
	{nr: unix.SYS_OPEN, dir: -1, path: 0, flags: 1},
	{nr: unix.SYS_CREAT, dir: -1, path: 0, flags: -1, what: replaces},
	{nr: unix.SYS_MKDIR, dir: -1, path: 0, flags: -1, what: makes},
	{nr: unix.SYS_SYMLINK, dir: -1, path: 1, flags: -1, what: makes},
	{nr: unix.SYS_LINK, dir: -1, path: 1, flags: -1, what: makes},
	{nr: unix.SYS_RMDIR, dir: -1, path: 0, flags: -1, what: removes},
	{nr: unix.SYS_UNLINK, dir: -1, path: 0, flags: -1, what: removes},
	{nr: unix.SYS_RENAME, dir: -1, path: 0, flags: -1, what: removes},
	{nr: unix.SYS_RENAME, dir: -1, path: 1, flags: -1, what: becomes},
}
