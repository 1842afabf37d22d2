package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/base/scm"
	"github.com/wardhq/ward/internal/base/secret"
)

// Role is one of Ward's own processes, as its supervisor drives it.
type Role interface {
	// Obey carries out one order. It owns the files; ctx ends with the role.
	Obey(ctx context.Context, m *ToRole, files []*os.File) error
	// Drain finishes what has begun, within a moment.
	Drain()
	// Close waits for everything; the role's context has ended.
	Close() error
}

// RunRole is a role's main: it takes orders from standard input until they end or one says to drain. begin
// starts the role, which calls ready once when it serves.
func RunRole(begin func(ctx context.Context, c *RoleConfig, ready func()) (Role, error)) error {
	// Other processes of the user must not look into this one, and no dump may hold what it has (prctl(2)).
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("become undumpable: %w", err)
	}
	conn, err := scm.Inherited(int(os.Stdin.Fd()), "orders")
	if err != nil {
		return fmt.Errorf("take orders from standard input: %w", err)
	}
	var first ToRole
	files, err := conn.Recv(&first)
	if err != nil || first.Config == nil {
		return fmt.Errorf("take orders: no configuration came first: %v", err)
	}
	for _, f := range files {
		first.Config.Key = make([]byte, secret.KeySize)
		_, err := f.ReadAt(first.Config.Key, 0)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("take key: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// When nobody listens the orders end too, which is noticed below.
	role, err := begin(ctx, first.Config, func() { _ = conn.Send(FromRole{Ready: true}) })
	if err != nil {
		_ = conn.Send(FromRole{Fatal: err.Error()})
		return err
	}
	for {
		var m ToRole
		files, err := conn.Recv(&m)
		if errors.Is(err, io.EOF) || m.Drain {
			role.Drain()
			cancel()
			return role.Close()
		}
		if err == nil {
			err = role.Obey(ctx, &m, files)
		}
		if err != nil {
			return fmt.Errorf("take orders: %w", err)
		}
	}
}

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
