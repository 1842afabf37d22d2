package stage

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/seccomp"
)

// What the private root, Landlock or a missing route refuses, the kernel tells nobody (Landlock's own records go to the audit system, which is off by
// default, and a read-only mount says nothing). So the supervisor looks at programs, connections and writes before the kernel decides on them, and
// tells of those that it will refuse. It decides on none.

// look looks at a call that the kernel carries out; false for others.
func (s *supervisor) look(fd int, n *notification) bool {
	switch n.Nr {
	case unix.SYS_EXECVE:
		if path, bad := s.foreign(fd, n); bad {
			s.flag("exec", path)
		}
		return true
	case unix.SYS_CONNECT:
		if to, bad := s.past(fd, n); bad {
			s.flag("connect", to.String())
		}
		return true
	}
	f, ok := seccomp.Written(int(n.Nr), n.Args)
	if !ok {
		return false
	}
	if path, bad := s.readOnly(fd, n, f); bad {
		s.flag("write", path)
	}
	return true
}

// shells are what an intruder asks for first, whether or not it is there.
func shells() []string { return []string{"sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"} }

// foreign tells whether execve is asked for a program that isn't among those that may be executed, and its path. What isn't there is only a search
// along PATH, unless it is a shell.
func (s *supervisor) foreign(fd int, n *notification) (string, bool) {
	path, ok := pathOf(fd, n, unix.AT_FDCWD, n.Args[0])
	if !ok {
		return "", false
	}
	if strings.HasPrefix(path, "/proc/self/") || strings.HasPrefix(path, "/proc/thread-self/") {
		return path, path != "/proc/self/exe" // which is what runs already
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return path, slices.Contains(shells(), filepath.Base(path))
	}
	st, err := os.Stat(real)
	if err != nil {
		return "", false
	}
	allowed := func(p string) bool {
		if strings.HasPrefix(real, strings.TrimSuffix(p, "/")+"/") {
			return true
		}
		other, err := os.Stat(p) // by the file itself, as Landlock does: it may be mounted under two names
		return err == nil && os.SameFile(st, other)
	}
	return path, !slices.ContainsFunc(s.execs, allowed)
}

// past tells whether TCP is opened to an address that nothing leads to, and which. UDP is seen by the kernel's count of missing routes.
func (s *supervisor) past(fd int, n *notification) (netip.AddrPort, bool) {
	addr := make([]byte, min(n.Args[2], unix.SizeofSockaddrInet6))
	if len(addr) < unix.SizeofSockaddrInet4 || !readMemory(int(n.PID), uintptr(n.Args[1]), addr) {
		return netip.AddrPort{}, false
	}
	var ip netip.Addr
	switch family := binary.NativeEndian.Uint16(addr); {
	case family == unix.AF_INET:
		ip = netip.AddrFrom4([4]byte(addr[4:8]))
	case family == unix.AF_INET6 && len(addr) >= 24:
		ip = netip.AddrFrom16([16]byte(addr[8:24])).Unmap()
	default:
		return netip.AddrPort{}, false
	}
	to := netip.AddrPortFrom(ip, binary.BigEndian.Uint16(addr[2:]))
	if (ip.IsLoopback() || ip.IsUnspecified()) && slices.Contains(s.ports, int(to.Port())) {
		return to, false
	}
	kind, ok := socketKind(fd, n)
	return to, ok && kind == unix.SOCK_STREAM
}

// socketKind is the type of the socket that the call names.
func socketKind(fd int, n *notification) (int, bool) {
	sock, ok := socketOf(fd, n)
	if !ok {
		return 0, false
	}
	defer unix.Close(sock)
	kind, err := unix.GetsockoptInt(sock, unix.SOL_SOCKET, unix.SO_TYPE)
	return kind, err == nil
}

// readOnly tells whether a file that may not be written is to be, and its path. What a process may say about itself below /proc isn't meant, nor what
// Python would like to keep beside its sources.
func (s *supervisor) readOnly(fd int, n *notification, f seccomp.File) (string, bool) {
	path, ok := pathOf(fd, n, f.Dir, f.Path)
	if !ok || aboutItself(path) || strings.Contains(path+"/", "/__pycache__/") {
		return "", false
	}
	real := path
	st, err := os.Lstat(path)
	switch {
	case err == nil && st.Mode()&os.ModeSymlink != 0:
		real, err = filepath.EvalSymlinks(path)
	case err == nil || f.Makes:
		real, err = filepath.EvalSymlinks(filepath.Dir(path))
		real = filepath.Join(real, filepath.Base(path))
	}
	if err != nil {
		return "", false // there is nothing to write
	}
	below := func(p string) bool { return real == p || strings.HasPrefix(real, p+"/") }
	return path, !slices.ContainsFunc(s.writes, below) || onReadOnly(real)
}

// onReadOnly tells whether a file, or the folder that it is to be in, is mounted for reading: also in a scratch folder, where what is shown of the
// host may lie.
func onReadOnly(path string) bool {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil && unix.Statfs(filepath.Dir(path), &st) != nil {
		return false
	}
	return st.Flags&unix.ST_RDONLY != 0
}

// aboutItself tells whether a path is a process' own folder below /proc, or a descriptor.
func aboutItself(path string) bool {
	rest, ok := strings.CutPrefix(path, "/proc/")
	if !ok {
		return strings.HasPrefix(path, "/dev/fd/")
	}
	whose, _, _ := strings.Cut(rest, "/")
	_, err := strconv.Atoi(whose)
	return err == nil || whose == "self" || whose == "thread-self"
}

// pathOf is a path in the caller's memory, made absolute by the caller's folder or that of a descriptor of the caller's.
func pathOf(fd int, n *notification, dir int32, at uint64) (string, bool) {
	path, ok := readString(int(n.PID), uintptr(at))
	if !ok || path == "" {
		return "", false
	}
	if !filepath.IsAbs(path) {
		link := "cwd"
		if dir != unix.AT_FDCWD {
			link = fmt.Sprintf("fd/%d", dir)
		}
		base, err := os.Readlink("/proc/" + strconv.Itoa(int(n.PID)) + "/" + link)
		if err != nil {
			return "", false
		}
		path = filepath.Join(base, path)
	}
	// Else it was another process' memory and folder.
	return filepath.Clean(path), ioctl(fd, ioctlIDValid, unsafe.Pointer(&n.ID)) == 0
}
