package proxy_test

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/proxy"
)

// shortListener fails as a listener does whose process has no descriptors left, then accepts, then is closed.
type shortListener struct {
	net.Listener
	n int
}

func (l *shortListener) Accept() (net.Conn, error) {
	l.n++
	switch l.n {
	case 1, 2:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", unix.EMFILE)}
	case 3:
		c, _ := net.Pipe()
		return c, nil
	}
	return nil, net.ErrClosed
}

func TestListenerOutlivesALackOfDescriptors(t *testing.T) {
	served := 0
	proxy.Accept(&shortListener{}, func(c net.Conn) { served++; c.Close() })
	if served != 1 {
		t.Errorf("%d connections served after the lack, want 1", served)
	}
}
