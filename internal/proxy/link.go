package proxy

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/proxy/internal/pace"
)

// link is a connection whose deadlines are set seldom: one that lasts at least as
// long as asked, and at most a quarter longer, is left as it is. Setting them on
// every read would cost more than parsing a head.
type link struct {
	net.Conn
	readBy, writeBy time.Time
	raw             syscall.RawConn // nil if the transport has no descriptor
	asked           bool            // raw was looked for
	pace            *pace.Pace      // of the body that is read; nil for none
}

func (l *link) Read(b []byte) (int, error) {
	if l.pace == nil {
		return l.Conn.Read(b)
	}
	return l.pace.Read(l.Conn, b)
}

func (l *link) armRead(now time.Time, d time.Duration) {
	if left := l.readBy.Sub(now); left < d || left > d+d/4 {
		l.readBy = now.Add(d + d/4)
		_ = l.SetReadDeadline(l.readBy) // an error shows in the read
	}
}

// strictRead sets a deadline that isn't put off by further reads.
func (l *link) strictRead(now time.Time, d time.Duration) {
	l.readBy = now.Add(d)
	_ = l.SetReadDeadline(l.readBy)
}

func (l *link) armWrite(now time.Time, d time.Duration) {
	if left := l.writeBy.Sub(now); left < d || left > d+d/4 {
		l.writeBy = now.Add(d + d/4)
		_ = l.SetWriteDeadline(l.writeBy)
	}
}

func (l *link) control() syscall.RawConn {
	if l.asked {
		return l.raw
	}
	l.asked = true
	c := l.Conn
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn() // of a tls.Conn
	}
	if sc, ok := c.(syscall.Conn); ok {
		l.raw, _ = sc.SyscallConn()
	}
	return l.raw
}

// poll asks for events of the connection without waiting. A closed connection has
// all of them, one without a descriptor none.
func (l *link) poll(events int16) bool {
	raw := l.control()
	if raw == nil {
		return false
	}
	var n int
	err := raw.Control(func(fd uintptr) {
		fds := [1]unix.PollFd{{Fd: int32(fd), Events: events}}
		n, _ = unix.Poll(fds[:], 0)
	})
	return err != nil || n > 0
}

// gone tells whether the peer closed its side.
func (l *link) gone() bool { return l.poll(unix.POLLRDHUP) }

// stirred tells whether there is something to read, or the peer has closed.
func (l *link) stirred() bool { return l.poll(unix.POLLIN | unix.POLLRDHUP) }

func (l *link) closeWrite() {
	if c, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
		return
	}
	_ = l.Close()
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
