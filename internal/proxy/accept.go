package proxy

import (
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Accept hands every connection that arrives on ln to serve, which must not block, until ln is closed. While the
// process has no descriptor or memory left it waits: who opens many connections must not end the
// listener for everybody after.
func Accept(ln net.Listener, serve func(net.Conn)) {
	const shortest, longest = 5 * time.Millisecond, time.Second
	pause := shortest
	for {
		c, err := ln.Accept()
		switch {
		case err == nil:
			pause = shortest
			serve(c)
		case passing(err):
			time.Sleep(pause)
			pause = min(2*pause, longest)
		default:
			return
		}
	}
}

func passing(err error) bool {
	for _, e := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}
