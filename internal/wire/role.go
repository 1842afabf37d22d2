package wire

import (
	"fmt"
	"net"
	"os"

	"github.com/wardhq/ward/internal/base/scm"
)

// Orders is a role's end of the supervisor's channel.
type Orders struct{ conn *scm.Conn }

// OpenOrders takes the channel from standard input.
func OpenOrders() (*Orders, error) {
	c, err := scm.Inherited(int(os.Stdin.Fd()), "orders")
	if err != nil {
		return nil, fmt.Errorf("take orders from standard input: %w", err)
	}
	return &Orders{conn: c}, nil
}

// Next waits for the next order. The caller owns the files. io.EOF tells that the supervisor is gone.
func (o *Orders) Next() (ToRole, []*os.File, error) {
	var m ToRole
	files, err := o.conn.Recv(&m)
	return m, files, err
}

// Report tells the supervisor.
func (o *Orders) Report(m FromRole) error { return o.conn.Send(m) }

// Listener turns the one file of a Listen order into a listener.
func Listener(files []*os.File) (net.Listener, error) {
	if len(files) != 1 {
		return nil, fmt.Errorf("take listener: %d files instead of one", len(files))
	}
	defer files[0].Close() // net.FileListener has its own descriptor
	ln, err := net.FileListener(files[0])
	if err != nil {
		return nil, fmt.Errorf("take listener: %w", err)
	}
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the path is the supervisor's
	}
	return ln, nil
}
