package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/base/scm"
	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
)

// batch is how many sockets one request to a sandbox's init brings.
const batch = 16

// Inbound reaches into a sandbox: it connects sockets that the sandbox's init
// made. Safe for concurrent use.
type Inbound struct {
	conn *scm.Conn

	mu   sync.Mutex
	free []*os.File // guarded by mu
}

// OpenInbound takes over the channel of Sandbox.AttachAgent.
func OpenInbound(f *os.File) *Inbound { return &Inbound{conn: scm.Open(f)} }

// Close gives the channel and the unused sockets up.
func (in *Inbound) Close() {
	in.conn.Close()
	in.mu.Lock()
	defer in.mu.Unlock()
	closeFiles(in.free)
	in.free = nil
}

// Dial connects to a port of the service.
func (in *Inbound) Dial(ctx context.Context, port int) (net.Conn, error) {
	f, err := in.take()
	if err != nil {
		return nil, fmt.Errorf("dial into the sandbox: %w", err)
	}
	defer f.Close() // net.FileConn has its own descriptor
	if err := connect(ctx, f, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, fmt.Errorf("dial port %d in the sandbox: %w", port, err)
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("dial into the sandbox: %w", err)
	}
	return c, nil
}

func (in *Inbound) take() (*os.File, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.free) == 0 {
		if err := in.conn.Send(spec.SocketRequest{N: batch}); err != nil {
			return nil, err
		}
		var got spec.SocketRequest
		files, err := in.conn.Recv(&got)
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, errors.New("its init has no sockets left")
		}
		in.free = files
	}
	f := in.free[len(in.free)-1]
	in.free = in.free[:len(in.free)-1]
	return f, nil
}

// connect waits for the connection without blocking a thread.
func connect(ctx context.Context, f *os.File, to unix.Sockaddr) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	// Closing is the only thing that ends the wait below early.
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	var connErr error
	err = raw.Write(func(fd uintptr) bool {
		connErr = unix.Connect(int(fd), to)
		switch connErr {
		case unix.EISCONN:
			connErr = nil
		case unix.EINPROGRESS, unix.EALREADY, unix.EINTR:
			return false
		}
		return true
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return connErr
}
