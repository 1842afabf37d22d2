package escape

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is one system call.
type call struct {
	nr   uintptr
	args [6]uintptr
	kept [][]byte // what args point to
}

// forked makes one system call in a process of its own, because it might change or end the
// caller. It reports how the call ended, or the signal that ended the process.
func forked(c call) (unix.Errno, unix.Signal) {
	pid, e := forkAndCall(&c)
	runtime.KeepAlive(&c)
	if e != 0 {
		return e, 0
	}
	var ws unix.WaitStatus
	for {
		if _, err := unix.Wait4(int(pid), &ws, 0, nil); err != unix.EINTR {
			break
		}
	}
	if ws.Signaled() {
		return 0, ws.Signal()
	}
	return unix.Errno(ws.ExitStatus()), 0
}

// forkAndCall must not grow the stack or call into the runtime in the child, which has one
// thread only.
//
//go:norace
//go:nosplit
func forkAndCall(c *call) (uintptr, unix.Errno) {
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 || pid != 0 {
		return pid, e
	}
	if c.nr == int80 {
		callInt80()
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	_, _, e = unix.RawSyscall6(c.nr, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], c.args[5])
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(e), 0, 0)
	}
}

// newCall makes a call; its arguments are int, uintptr, or a string, whose address is passed with a NUL
// at its end.
func newCall(nr uintptr, args ...any) call {
	c := call{nr: nr}
	for i, a := range args {
		switch a := a.(type) {
		case int:
			c.args[i] = uintptr(a)
		case uintptr:
			c.args[i] = a
		case string:
			b := append([]byte(a), 0)
			c.kept = append(c.kept, b)
			c.args[i] = uintptr(unsafe.Pointer(&b[0]))
		}
	}
	return c
}

// inChild is the attempt of one call that changes the caller.
func inChild(nr uintptr, args ...any) func(*Ground) Result {
	return func(*Ground) Result {
		e, sig := forked(newCall(nr, args...))
		if sig != 0 {
			return blocked("ended by %v", sig)
		}
		return reached(e)
	}
}

func signalled(sig unix.Signal, e unix.Errno, evidence string) Result {
	if sig != 0 {
		return blocked("ended by %v", sig)
	}
	if e != 0 {
		return blocked("%s", unix.ErrnoName(e))
	}
	return succeeded("%s", evidence)
}
