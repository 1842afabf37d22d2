package seccomp

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestWhatIsRefusedStaysSoWithoutItsSupervisor, also for who inside would like to become it.
func TestWhatIsRefusedStaysSoWithoutItsSupervisor(t *testing.T) {
	if how := os.Getenv("WARD_TEST_CHILD"); how != "" {
		orphan(t, Options{Supervised: true, Outer: how == "open"})
		return
	}
	for how, want := range map[string]string{
		"as services have it": "refused: function not implemented, a listener of its own: device or resource busy, refused: function not implemented",
		// The guard off: the same filter lets a new supervisor in.
		"open": "refused: function not implemented, a listener of its own: errno 0, done",
	} {
		t.Run(how, func(t *testing.T) {
			c := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestWhatIsRefusedStaysSoWithoutItsSupervisor$")
			c.Env = append(os.Environ(), "WARD_TEST_CHILD="+how)
			out, err := c.CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%v, want %q in\n%s", err, want, out)
			}
		})
	}
}

// orphan puts a filter on this thread, lets go of its supervision, and attacks.
func orphan(t *testing.T, o Options) {
	runtime.LockOSThread() // for good: the thread ends with the test
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	fd, err := Install(o)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	attempt := func() string {
		if _, err := unix.PidfdGetfd(self, 1, 0); err != nil {
			return "refused: " + err.Error()
		}
		return "done"
	}
	said := attempt()
	filter := []unix.SockFilter{ // hands over pidfd_getfd, allows the rest
		{Code: 0x20, K: offNr}, {Code: 0x15, Jf: 1, K: unix.SYS_PIDFD_GETFD}, {Code: 0x06, K: retNotify}, {Code: 0x06, K: retAllow},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	own, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	said += ", a listener of its own: " + e.Error()
	if e == 0 {
		go letPass(own)
	}
	println(said + ", " + attempt())
}

// letPass answers every call of a listener with "go on".
func letPass(fd uintptr) {
	const recv, send, goOn = 0xc0502100, 0xc0182101, 1 // seccomp_unotify(2)
	for {
		var call [10]uint64 // struct seccomp_notif
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, fd, recv, uintptr(unsafe.Pointer(&call))); e != 0 {
			continue
		}
		answer := struct {
			id    uint64
			val   int64
			err   int32
			flags uint32
		}{id: call[0], flags: goOn}
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, fd, send, uintptr(unsafe.Pointer(&answer)))
	}
}
