package stage

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/seccomp"
)

// notification and response are struct seccomp_notif and seccomp_notif_resp
// (seccomp_unotify(2)).
type notification struct {
	ID    uint64
	PID   uint32
	Flags uint32
	Nr    int32
	Arch  uint32
	IP    uint64
	Args  [6]uint64
}

type response struct {
	ID    uint64
	Val   int64
	Error int32
	Flags uint32
}

const (
	ioctlRecv    = 0xc0502100
	ioctlSend    = 0xc0182101
	ioctlIDValid = 0x40082102
	flagContinue = 1
)

// supervisor answers for calls that a filter hands over.
type supervisor struct {
	binds  []int    // ports that listen: declares
	execs  []string // what may be executed
	ports  []int    // that TCP may be opened to
	writes []string // what may be written
	flag   func(kind, detail string)
}

// One call is answered after the other, by one goroutine, which is fastest. Where one takes longer than patience (a slow file system), another goroutine
// goes on with the others; there are at most mostSlow.
const (
	patience = 20 * time.Millisecond
	mostSlow = 16
)

// run answers until no process is left under the filter.
func (s *supervisor) run(f *os.File) {
	defer f.Close()
	var all sync.WaitGroup
	defer all.Wait()
	slow := make(chan struct{}, mostSlow)
	s.serve(int(f.Fd()), &all, slow)
}

// serve answers calls, and ends where another goroutine has gone on meanwhile.
func (s *supervisor) serve(fd int, all *sync.WaitGroup, slow chan struct{}) {
	for {
		pfd := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(pfd, -1); err != nil && err != unix.EINTR {
			return
		}
		if pfd[0].Revents&unix.POLLIN == 0 {
			if pfd[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 {
				return
			}
			continue
		}
		var n notification
		if ioctl(fd, ioctlRecv, unsafe.Pointer(&n)) != 0 {
			continue // the caller was killed meanwhile
		}
		all.Add(1)
		other := time.AfterFunc(patience, func() {
			defer all.Done()
			slow <- struct{}{}
			s.serve(fd, all, slow)
		})
		s.reply(fd, &n)
		if !other.Stop() {
			<-slow
			return
		}
		all.Done()
	}
}

func (s *supervisor) reply(fd int, n *notification) {
	r := response{ID: n.ID}
	if handled, errno := s.answer(fd, n); handled {
		r.Error = -int32(errno)
	} else {
		r.Flags = flagContinue
	}
	_ = ioctl(fd, ioctlSend, unsafe.Pointer(&r)) // ENOENT: the caller is gone
}

// answer carries a call out, or reports false for what the kernel is to do itself.
func (s *supervisor) answer(fd int, n *notification) (bool, unix.Errno) {
	if n.Nr == unix.SYS_BIND {
		return bindFor(fd, n, s.binds, s.flag)
	}
	if s.look(fd, n) {
		return false, 0 // the kernel decides: what is behind a pointer may change after it was looked at (seccomp_unotify(2))
	}
	// What else comes was refused; it is never for the kernel to do.
	errno, what := seccomp.Refused(int(n.Nr), n.Args)
	if what != "" {
		s.flag("syscall", what)
	}
	return true, errno
}

func ioctl(fd int, req uintptr, arg unsafe.Pointer) unix.Errno {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(arg))
	return e
}

// openThread opens the process of a thread: the notification names the thread that called, and
// pidfd_open takes only the first one of a process, unless PIDFD_THREAD is set (Linux 6.9).
func openThread(tid int) (int, error) {
	if fd, err := unix.PidfdOpen(tid, unix.PIDFD_THREAD); err == nil {
		return fd, nil
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/status")
	if err != nil {
		return -1, err
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "Tgid:"); ok {
			pid, err := strconv.Atoi(strings.TrimSpace(v))
			if err != nil {
				return -1, err
			}
			return unix.PidfdOpen(pid, 0)
		}
	}
	return -1, unix.ESRCH
}

// readMemory copies from the caller's address space.
func readMemory(pid int, at uintptr, b []byte) bool {
	local := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}
	remote := []unix.RemoteIovec{{Base: at, Len: len(b)}}
	n, err := unix.ProcessVMReadv(pid, local, remote, 0)
	return err == nil && n == len(b)
}

// maxString bounds a path, as the kernel does (PATH_MAX).
const maxString = 4096

// readString copies a string of C from the caller's address space, page by page: what lies behind its end may not be there.
func readString(pid int, at uintptr) (string, bool) {
	var out []byte
	page := uintptr(os.Getpagesize())
	for len(out) < maxString {
		b := make([]byte, min(page-at%page, uintptr(maxString-len(out))))
		if !readMemory(pid, at, b) {
			return "", false
		}
		if i := bytes.IndexByte(b, 0); i >= 0 {
			return string(append(out, b[:i]...)), true
		}
		out = append(out, b...)
		at += uintptr(len(b))
	}
	return "", false
}
