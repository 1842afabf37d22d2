package escape

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bounds are attempts to use up the host, or to break the part of Ward that lives inside.
func bounds() []attempt {
	return []attempt{
		{"fork-bomb", "fill the host with processes", byLimits, forkBomb},
		{"descriptors", "use up the host's descriptors", byLimits, descriptors},
		{"raise-limits", "raise its own limits", byRights, raiseLimits},
		{"core-dump", "write the memory of the service to disk", byLimits, coreDump},
		{"bind-nonsense", "break init by senseless bind calls", "init checks", bindNonsense},
		{"bind-by-thread", "bind all addresses from a second thread, past init's supervision", "init checks", bindByThread},
		{"bind-race", "change the address while init looks at it", "init checks", bindRace},
		{"name-nonsense", "break init by malformed DNS queries", "init checks", nameNonsense},
	}
}

// forkBomb stops a little above the limit, and leaves nothing behind.
func forkBomb(g *Ground) Result {
	if g.PIDs == 0 {
		return notApplicable("left out: it would disturb the running service")
	}
	var pids []int
	defer func() {
		for _, p := range pids {
			_ = unix.Kill(p, unix.SIGKILL)
		}
		for _, p := range pids {
			_, _ = unix.Wait4(p, nil, 0, nil)
		}
	}()
	c := newCall(unix.SYS_RT_SIGSUSPEND, string(make([]byte, 8)), 8)
	for range g.PIDs + 64 {
		pid, e := forkAndCall(&c)
		if e != 0 {
			return blocked("%s after %d processes", unix.ErrnoName(e), len(pids))
		}
		pids = append(pids, int(pid))
	}
	return succeeded("%d processes where %d are granted", len(pids), g.PIDs)
}

func descriptors(*Ground) Result {
	const most = 1 << 17
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for range most {
		fd, err := unix.Dup(0)
		if err != nil {
			return blocked("%v after %d", err, len(fds))
		}
		fds = append(fds, fd)
	}
	return succeeded("%d descriptors are open", len(fds))
}

func raiseLimits(*Ground) Result {
	return each([]int{unix.RLIMIT_NOFILE, unix.RLIMIT_NPROC, unix.RLIMIT_CORE}, "", func(what int) Result {
		var have unix.Rlimit
		if err := unix.Getrlimit(what, &have); err != nil || have.Max == unix.RLIM_INFINITY {
			return blocked("limit %d is carried by a control group", what)
		}
		have.Max++
		err := unix.Setrlimit(what, &have)
		return unlessError(err, "a limit is raised")
	})
}

func coreDump(*Ground) Result {
	var have unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &have); err != nil {
		return blocked("%v", err)
	}
	if have.Max == 0 {
		return blocked("the limit is 0")
	}
	return succeeded("core dumps of %d bytes are allowed", have.Max)
}

// stillBinds tells whether init's supervision still answers.
func stillBinds() Result {
	done := make(chan error, 1)
	go func() {
		ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp4", "127.0.0.1:0")
		if err == nil {
			ln.Close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return succeeded("bind doesn't work any more: %v", err)
		}
		return blocked("bind works as before")
	case <-time.After(3 * time.Second):
		return succeeded("bind hangs: its supervisor is gone")
	}
}

func bindNonsense(*Ground) Result {
	page, err := unix.Mmap(-1, 0, 2*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return blocked("%v", err)
	}
	defer func() { _ = unix.Munmap(page) }()
	if err := unix.Mprotect(page[os.Getpagesize():], unix.PROT_NONE); err != nil {
		return blocked("%v", err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	base := uintptr(unsafe.Pointer(&page[0]))
	end := base + uintptr(os.Getpagesize())
	lengths := []uintptr{0, 1, 2, 7, 8, 15, 16, 24, 27, 28, 110, 128, 129, 4096, 1 << 31, ^uintptr(0)}
	kinds := []struct{ family, kind int }{{unix.AF_INET, unix.SOCK_STREAM}, {unix.AF_INET6, unix.SOCK_STREAM}, {unix.AF_INET, unix.SOCK_DGRAM}, {unix.AF_UNIX, unix.SOCK_STREAM}, {unix.AF_NETLINK, unix.SOCK_RAW}}
	for i := range 400 {
		k := kinds[i%len(kinds)]
		fd, err := unix.Socket(k.family, k.kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return blocked("%v", err)
		}
		for j := range 32 {
			page[j] = byte(random.IntN(256))
		}
		page[2], page[3] = 0, 0 // any port: a number that isn't declared would be told of
		page[0], page[1] = byte([]int{0, 1, 2, 10, 16, 255}[random.IntN(6)]), 0
		at := []uintptr{base, 0, 8, end - 4, end - 16, end, ^uintptr(0) - 8}[random.IntN(7)]
		fds := []uintptr{uintptr(fd), uintptr(fd), ^uintptr(0), 999999}[random.IntN(4)]
		_, _, _ = unix.Syscall(unix.SYS_BIND, fds, at, lengths[random.IntN(len(lengths))])
		unix.Close(fd)
	}
	return stillBinds()
}

// bindByThread: a supervisor that looks for the caller by its thread's number finds no process.
func bindByThread(*Ground) Result {
	done := make(chan Result)
	var wg sync.WaitGroup
	for range 2 { // one of them isn't the first thread
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if unix.Gettid() == os.Getpid() {
				time.Sleep(patience / 10) // leave the other one its own thread
			}
			done <- bindAll()
		})
	}
	a, b := <-done, <-done
	wg.Wait()
	if b.Verdict == Succeeded {
		return b
	}
	return a
}

func bindAll() Result {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return blocked("%v", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
		return blocked("%v", err)
	}
	at, err := unix.Getsockname(fd)
	if a, ok := at.(*unix.SockaddrInet4); err == nil && ok && a.Addr == [4]byte{} {
		return succeeded("bound to all addresses")
	}
	return blocked("bound to the loopback address")
}

// bindRace flips the address between loopback and all addresses under init's eyes. Whatever comes
// of it must stay in this sandbox's own network, and init must go on.
func bindRace(*Ground) Result {
	addr := [16]byte{0: unix.AF_INET, 4: 127, 7: 1}
	var stop sync.WaitGroup
	quit := make(chan struct{})
	stop.Go(func() { flip(&addr, quit) })
	for range 300 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			break
		}
		_, _, _ = unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&addr[0])), 16)
		unix.Close(fd)
	}
	close(quit)
	stop.Wait()
	return stillBinds()
}

// flip is a race on purpose: the attacker's.
//
//go:norace
func flip(addr *[16]byte, quit <-chan struct{}) {
	for {
		select {
		case <-quit:
			return
		default:
			addr[0] ^= 8 // AF_INET, AF_INET6
			addr[4] ^= 127
			addr[7] ^= 1
		}
	}
}

func nameNonsense(*Ground) Result {
	c, err := net.Dial("udp4", "127.63.0.1:53")
	if err != nil {
		return notApplicable("no name responder: " + err.Error())
	}
	defer c.Close()
	random := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		b := make([]byte, random.IntN(600))
		for i := range b {
			b[i] = byte(random.IntN(256))
		}
		if len(b) > 12 {
			b[2] &= 0x7f // a query
			b[4], b[5] = 0, 1
		}
		_, _ = c.Write(b) // the queue may be full
	}
	// A query that is well formed must be answered, whatever came before; the first ones may be lost
	// with the nonsense that fills the queue.
	query := []byte{7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 'w', 'a', 'r', 'd', 0, 0, 1, 0, 1}
	for range 15 {
		if _, err := c.Write(query); err != nil {
			return succeeded("the name responder is gone: %v", err)
		}
		if answers(c, 200*time.Millisecond) {
			return blocked("names are answered as before")
		}
	}
	return succeeded("the name responder is gone")
}

// answers waits for the answer to query 0x0707.
func answers(c net.Conn, limit time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(limit))
	b := make([]byte, 1500)
	for {
		n, err := c.Read(b)
		if err != nil {
			return false
		}
		if n > 2 && b[0] == 7 && b[1] == 7 {
			return true
		}
	}
}
