package stage

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A service that listens on all addresses takes the port on every address of the
// namespace, also on those where Ward listens for it (all services listen on 8080, say).
// bind(2) is therefore carried out here: "all addresses" becomes the loopback address, which
// is all that anybody could reach. The caller sees an ordinary bind.

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

// superviseBind answers until no process is left under the filter.
func superviseBind(f *os.File, declared []int, flag func(kind, detail string)) {
	defer f.Close()
	fd := int(f.Fd())
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
		r := response{ID: n.ID}
		handled, errno := bindFor(fd, &n, declared, flag)
		if handled {
			r.Error = -int32(errno)
		} else {
			r.Flags = flagContinue
		}
		_ = ioctl(fd, ioctlSend, unsafe.Pointer(&r)) // ENOENT: the caller is gone
	}
}

func ioctl(fd int, req uintptr, arg unsafe.Pointer) unix.Errno {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(arg))
	return e
}

// bindFor binds the caller's TCP socket; it reports false for what isn't TCP, which the
// kernel then does itself: UDP and Unix sockets reach nothing outside either.
func bindFor(fd int, n *notification, declared []int, flag func(kind, detail string)) (bool, unix.Errno) {
	addr := make([]byte, min(n.Args[2], 128))
	if len(addr) < 8 {
		return false, 0
	}
	if !readMemory(int(n.PID), uintptr(n.Args[1]), addr) {
		return false, 0
	}
	family := binary.NativeEndian.Uint16(addr)
	if family != unix.AF_INET && family != unix.AF_INET6 {
		return false, 0
	}
	pidfd, err := openThread(int(n.PID))
	if err != nil {
		return false, 0
	}
	defer unix.Close(pidfd)
	// From here on the caller must still be the one that asked.
	if ioctl(fd, ioctlIDValid, unsafe.Pointer(&n.ID)) != 0 {
		return true, unix.EINTR
	}
	sock, err := unix.PidfdGetfd(pidfd, int(n.Args[0]), 0)
	if err != nil {
		return false, 0
	}
	defer unix.Close(sock)
	if kind, err := unix.GetsockoptInt(sock, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return false, 0
	}
	sa, port := loopbackFor(sock, family, addr)
	if sa == nil {
		return false, 0
	}
	if port != 0 && !slices.Contains(declared, port) {
		flag("bind", fmt.Sprintf("port %d, which listen: doesn't declare", port))
	}
	err = unix.Bind(sock, sa)
	if e, ok := err.(unix.Errno); ok {
		return true, e
	}
	return true, 0
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

// loopbackFor is the address to bind instead of "all addresses"; others stay.
func loopbackFor(sock int, family uint16, addr []byte) (unix.Sockaddr, int) {
	port := int(binary.BigEndian.Uint16(addr[2:]))
	if family == unix.AF_INET {
		sa := &unix.SockaddrInet4{Port: port, Addr: [4]byte(addr[4:8])}
		if sa.Addr == [4]byte{} {
			sa.Addr = [4]byte{127, 0, 0, 1}
		}
		return sa, port
	}
	if len(addr) < 24 {
		return nil, 0
	}
	sa := &unix.SockaddrInet6{Port: port, Addr: [16]byte(addr[8:24])}
	if sa.Addr != [16]byte{} {
		return sa, port
	}
	only, err := unix.GetsockoptInt(sock, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	if err != nil {
		return nil, 0
	}
	if only != 0 {
		sa.Addr[15] = 1 // ::1
	} else {
		sa.Addr = [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1} // ::ffff:127.0.0.1
	}
	return sa, port
}
