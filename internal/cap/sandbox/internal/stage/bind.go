package stage

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A service that listens on all addresses takes the port on every address of the
// namespace, also on those where Ward listens for it (all services listen on 8080, say).
// bind(2) is therefore carried out here: "all addresses" becomes the loopback address, which
// is all that anybody could reach. The caller sees an ordinary bind.

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
	sock, ok := socketOf(fd, n)
	if !ok {
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
	if e, ok := unix.Bind(sock, sa).(unix.Errno); ok {
		return true, e
	}
	return true, 0
}

// socketOf is the socket that the caller's first argument names; false if the caller is gone.
func socketOf(fd int, n *notification) (int, bool) {
	pidfd, err := openThread(int(n.PID))
	if err != nil {
		return -1, false
	}
	defer unix.Close(pidfd)
	// From here on the caller must still be the one that asked.
	if ioctl(fd, ioctlIDValid, unsafe.Pointer(&n.ID)) != 0 {
		return -1, false
	}
	sock, err := unix.PidfdGetfd(pidfd, int(n.Args[0]), 0)
	return sock, err == nil
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
