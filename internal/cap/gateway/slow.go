package gateway

import (
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/proxy"
)

const (
	// slowSpan is how long a connection may keep the gateway waiting before it counts as slow.
	slowSpan = 3 * time.Second
	// slowLeast is what a connection that brings no request has sent by then, in bytes, if it is no browser's that keeps one ready.
	slowLeast = 300
	// slowTaken is what a connection on which an answer lies has taken of all answers, in bytes. Who has room for as much is a browser that has stopped
	// a film, or a link that is slow; a tool that keeps answers waiting makes its window small.
	slowTaken = 64 << 10
	// bodyRate is what a client has to bring of a body, in bytes a second; a modem of 1993 brings six times as much.
	bodyRate = 240
)

// slowBody hears of a client that brings a body slowly, and of the end of that body.
func slowBody(c *proxy.Conn, slow bool) {
	who, ok := c.Peer.(*client)
	if !ok {
		return
	}
	if slow {
		who.bodies.Add(1)
	} else {
		who.bodies.Add(-1)
	}
}

// slow counts the connections of each client that keep the gateway waiting: for a request, for its body, or for its answer to be taken.
func (s *sights) slow(now time.Time) map[netip.Prefix]int {
	out := map[netip.Prefix]int{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		switch {
		case !c.asked.Load():
			if now.Sub(c.since) > slowSpan && c.got.Load() > slowLeast && !c.h2.Load() {
				out[c.from]++
			}
		case c.bodies.Load() > 0, c.leaves(now):
			out[c.from]++
		}
	}
	return out
}

// leaves tells whether an answer lies there, because its client makes room for a few bytes only. A connection is asked once after it was sent
// something, and then as long as anything lies there.
func (c *client) leaves(now time.Time) bool {
	wrote := c.wrote.Load()
	if wrote == c.taken || now.UnixMilli()-wrote < slowSpan.Milliseconds() {
		return false
	}
	info, err := c.tcp()
	if err != nil || info.Notsent_bytes == 0 {
		c.taken = wrote
		return false
	}
	return info.Rwnd_limited >= uint64(slowSpan.Microseconds()) && info.Bytes_acked < slowTaken
}

// tcp is what the kernel knows of the connection.
func (c *client) tcp() (info *unix.TCPInfo, err error) {
	sc, ok := c.conn.(syscall.Conn)
	if !ok {
		return nil, unix.ENOTSOCK
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	if e := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); e != nil {
		return nil, e
	}
	return info, err
}
