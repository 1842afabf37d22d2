package stage

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path"
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
	all := seccomp.Written(int(n.Nr), n.Args)
	for _, f := range all {
		if path, bad := s.readOnly(fd, n, f); bad {
			s.flag("write", path)
			break
		}
	}
	return len(all) > 0
}

// shells are what an intruder asks for first, whether or not it is there.
func shells() []string { return []string{"sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"} }

// foreign tells whether execve is asked for a program that isn't among those that may be executed, and its path. What isn't there is only a search
// along PATH, unless it is a shell.
func (s *supervisor) foreign(fd int, n *notification) (string, bool) {
	w, ok := wayOf(fd, n, unix.AT_FDCWD, n.Args[0])
	if !ok {
		return "", false
	}
	defer w.close()
	if strings.HasPrefix(w.said, "/proc/self/") || strings.HasPrefix(w.said, "/proc/thread-self/") {
		return w.said, w.said != "/proc/self/exe" // which is what runs already
	}
	real, _, err := w.find(w.path, 0)
	if err != nil {
		return w.said, slices.Contains(shells(), path.Base(w.said))
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
	return w.said, !slices.ContainsFunc(s.execs, allowed)
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

// readOnly tells whether a file that may not be written is to be, and where it really is. What a process may say about itself below /proc isn't meant,
// nor what Python would like to keep beside its sources.
func (s *supervisor) readOnly(fd int, n *notification, f seccomp.File) (string, bool) {
	w, ok := wayOf(fd, n, f.Dir, f.Path)
	if !ok {
		return "", false
	}
	defer w.close()
	follow := 0
	if f.Entry {
		follow = unix.O_NOFOLLOW
	}
	real, fixed, err := w.find(w.path, follow)
	there := err == nil
	if there && f.Keeps || !there && !f.Makes {
		return "", false // nothing happens, or there is nothing for it to happen to
	}
	if !there || f.Entry { // it is the folder that changes
		dir, name := path.Split(strings.TrimRight(w.path, "/"))
		if real, fixed, err = w.find(cmp.Or(dir, "."), unix.O_DIRECTORY); err != nil {
			return "", false
		}
		real = path.Join(real, name)
	}
	below := func(p string) bool { return real == p || strings.HasPrefix(real, p+"/") }
	if !strings.HasPrefix(real, "/") || strings.HasPrefix(real, "/memfd:") || aboutAProcess(real) || strings.Contains(real+"/", "/__pycache__/") {
		return "", false
	}
	return real, fixed || !slices.ContainsFunc(s.writes, below)
}

// aboutAProcess tells whether a path, free of links, is in a process' own folder below /proc.
func aboutAProcess(real string) bool {
	rest, ok := strings.CutPrefix(real, "/proc/")
	whose, _, _ := strings.Cut(rest, "/")
	_, err := strconv.Atoi(whose)
	return ok && err == nil
}

// way is a path as a call names it: from the folder of a descriptor, or from the root.
type way struct {
	base int    // O_PATH, or AT_FDCWD for a path from the root
	path string // as the kernel walks it
	said string // as it was said, made absolute
}

// wayOf reads a path from the caller's memory. It is not cleaned: the kernel takes ".." after it has followed a link.
func wayOf(fd int, n *notification, dir int32, at uint64) (way, bool) {
	said, ok := readString(int(n.PID), uintptr(at))
	if !ok || said == "" {
		return way{}, false
	}
	own := "/proc/" + strconv.Itoa(int(n.PID))
	w := way{base: unix.AT_FDCWD, path: said, said: said}
	for _, self := range []string{"/proc/self", "/proc/thread-self"} { // here it would be init's
		if rest, ok := strings.CutPrefix(said, self+"/"); ok {
			w.path = own + "/" + rest
		}
	}
	if rest, ok := strings.CutPrefix(said, "/dev/fd/"); ok {
		w.path = own + "/fd/" + rest
	}
	if i := slices.Index([]string{"/dev/stdin", "/dev/stdout", "/dev/stderr"}, said); i >= 0 {
		w.path = fmt.Sprintf("%s/fd/%d", own, i)
	}
	if !path.IsAbs(said) {
		link := own + "/cwd"
		if dir != unix.AT_FDCWD {
			link = fmt.Sprintf("%s/fd/%d", own, dir)
		}
		var err error
		if w.base, err = unix.Open(link, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return way{}, false
		}
		if folder, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", w.base)); err == nil {
			w.said = path.Join(folder, said)
		}
	}
	if ioctl(fd, ioctlIDValid, unsafe.Pointer(&n.ID)) != 0 { // it was another process' memory and folder
		w.close()
		return way{}, false
	}
	return w, true
}

func (w *way) close() {
	if w.base != unix.AT_FDCWD {
		_ = unix.Close(w.base)
	}
}

// find walks a path as the kernel does, without opening what is at its end: where that really is, and whether it is mounted for reading only, which
// also holds for what is shown of the host in a scratch folder.
func (w *way) find(p string, flags int) (real string, fixed bool, err error) {
	fd, err := unix.Openat(w.base, p, unix.O_PATH|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return "", false, err
	}
	defer unix.Close(fd)
	if real, err = os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)); err != nil {
		return "", false, err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return "", false, err
	}
	return real, st.Flags&unix.ST_RDONLY != 0, nil
}
