package up

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/wire"
)

// Paths is where one application's state and sockets are.
type Paths struct {
	File    string // ward.yaml, absolute
	Base    string // its folder
	State   string // <base>/.ward
	Control string // control's state
	Seal    string // the sealed root key; no role sees it
	Spool   string // the agent's events on their way to the ledger
	Logs    string
	// EdgeSpool is the gateway's spool: it must not see the agent's.
	EdgeSpool string
	Run       string // sockets; short, because a socket's path holds 107 bytes at most (unix(7))
	Ingress   string
	Egress    string
	Mail      string
}

// FindPaths derives the paths of an application from its file, and makes nothing.
func FindPaths(file string) (Paths, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return Paths{}, fmt.Errorf("find %s: %w", file, err)
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	base := filepath.Dir(abs)
	sum := sha256.Sum256([]byte(abs))
	p := Paths{File: abs, Base: base, State: filepath.Join(base, ".ward")}
	p.Control = filepath.Join(p.State, "control")
	p.Seal = filepath.Join(p.State, "seal")
	p.Spool = filepath.Join(p.State, "spool")
	p.EdgeSpool = filepath.Join(p.State, "edge-spool")
	p.Logs = filepath.Join(p.State, "logs")
	p.Run = filepath.Join(os.TempDir(), fmt.Sprintf("ward-%d", os.Getuid()), hex.EncodeToString(sum[:5]))
	p.Ingress = filepath.Join(p.Run, "ingress")
	p.Egress = filepath.Join(p.Run, "egress")
	p.Mail = filepath.Join(p.State, "mail")
	return p, nil
}

// OpenPaths makes the folders, for this user alone.
func OpenPaths(file string) (Paths, error) {
	p, err := FindPaths(file)
	if err != nil {
		return p, err
	}
	dirs := []string{p.State, p.Control, p.Seal, p.Spool, p.EdgeSpool, p.Logs, filepath.Dir(p.Run), p.Run, p.Ingress, p.Egress, p.Mail, p.forRole("agent"), p.forRole("gateway"), p.workloads()}
	for _, d := range dirs {
		if err := privateDir(d); err != nil {
			return p, err
		}
	}
	return p, nil
}

// privateDir makes a folder, or makes sure that nobody else can have prepared it.
func privateDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	st, err := ownFolder(dir)
	if err != nil {
		return err
	}
	if st.Mode().Perm() != 0o700 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("protect %s: %w", dir, err)
		}
	}
	return nil
}

func ownFolder(dir string) (os.FileInfo, error) {
	st, err := os.Lstat(dir)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", dir, err)
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !st.IsDir() || !ok || int(sys.Uid) != os.Getuid() {
		return nil, fault.New(fault.Refused, fmt.Sprintf("%s exists and is not a folder of this user; remove it", dir))
	}
	return st, nil
}

// isPrivate makes sure that nobody else can have put something into a folder.
func isPrivate(dir string) error {
	st, err := ownFolder(dir)
	if err == nil && st.Mode().Perm()&0o022 != 0 {
		err = fault.New(fault.Refused, dir+" can be written by others; remove it")
	}
	return err
}

func (p Paths) forRole(name string) string { return filepath.Join(p.Run, name) }

func (p Paths) workloads() string { return filepath.Join(p.Run, "svc") }

func (p Paths) adminSocket() string { return filepath.Join(p.Run, "admin.sock") }

func (p Paths) upSocket() string { return filepath.Join(p.Run, "up.sock") }

// Up returns a client of the running supervisor's API.
func (p Paths) Up() *wire.Client { return p.client(p.upSocket()) }

// Admin returns a client of control's API for administrators.
func (p Paths) Admin() *wire.Client { return p.client(p.adminSocket()) }

// client speaks to a socket below Run if that is this user's: while Ward isn't running, anybody could make the folders, answer
// there, and have a root certificate of theirs trusted.
func (p Paths) client(socket string) *wire.Client {
	return wire.NewClientDial(func(ctx context.Context) (net.Conn, error) {
		for _, dir := range []string{filepath.Dir(p.Run), p.Run} {
			if err := isPrivate(dir); err != nil {
				return nil, err
			}
		}
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	})
}

// openOwn opens a file of the state folder, or makes it. It must be a plain file: the folder may have come with a repository
// that somebody cloned, and a link in it would lead what we write, such as what services print, into any file of this user.
func openOwn(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if errors.Is(err, unix.ELOOP) {
		return nil, fault.New(fault.Refused, path+" is a symbolic link, which Ward didn't make; remove it")
	}
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fault.New(fault.Refused, path+" isn't a plain file, and Ward didn't make it; remove it")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lock makes sure that one supervisor runs per application.
func (p Paths) lock() (unlock func(), err error) {
	f, err := p.openLock()
	if err != nil {
		return nil, err
	}
	// Not flock(2): whether such a lock is held can't be asked without taking it, and who asked would keep a supervisor from starting.
	if err := setLock(f, unix.F_WRLCK); err != nil {
		defer f.Close()
		return nil, p.runs(f)
	}
	pid := fmt.Appendf(nil, "%d\n", os.Getpid())
	_, err = f.WriteAt(pid, 0)
	if err = errors.Join(err, f.Truncate(int64(len(pid)))); err != nil {
		f.Close()
		return nil, fmt.Errorf("write lock: %w", err)
	}
	return func() {
		// Closing alone isn't enough: a process that is being started at this moment still has the file, and with it the lock.
		_ = setLock(f, unix.F_UNLCK) // it can't fail on what is locked
		f.Close()
	}, nil
}

func (p Paths) openLock() (*os.File, error) {
	f, err := openOwn(filepath.Join(p.State, "up.lock"), os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	return f, nil
}

// setLock locks or unlocks a file for its open file description (fcntl_locking(2)).
func setLock(f *os.File, kind int16) error {
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind})
}

// runs is the error that says who runs.
func (p Paths) runs(f *os.File) error {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0) // it may not be written yet
	return fault.New(fault.Conflict, fmt.Sprintf(
		"Ward runs already for %s, as process %s; see 'ward status', or stop it with 'ward down'", p.File, strings.TrimSpace(string(b[:n]))))
}

// look returns an error that says who runs for the file, nil if nobody does, or another error if that can't be told.
func (p Paths) look() error {
	f, err := p.openLock()
	if err != nil {
		return err
	}
	defer f.Close()
	held := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &held); err != nil {
		return fmt.Errorf("look at lock: %w", err)
	}
	if held.Type == unix.F_UNLCK {
		return nil
	}
	return p.runs(f)
}

// Hidden is what no service may see, though its workdir may hold it: state, model, sockets and key.
func (p Paths) Hidden() []string {
	out := []string{p.State, p.File, p.Run}
	if key, err := keyFile(); err == nil {
		out = append(out, key)
	}
	for i := range out {
		if real, err := filepath.EvalSymlinks(out[i]); err == nil {
			out[i] = real
		}
	}
	return out
}

// openSockets opens every socket that a role serves, before any role starts and for
// longer than each lives: callers wait in the queue while a role restarts.
func (s *Supervisor) openSockets() error {
	g := s.plan.Gateway
	tcp := map[string]string{wire.ListenHTTPS: g.Listen, wire.ListenHTTP: g.HTTP}
	for purpose, address := range tcp {
		if address == "" {
			continue
		}
		ln, err := (&net.ListenConfig{}).Listen(bg, "tcp", address)
		if err != nil {
			return fault.Wrap(fault.Conflict, fmt.Sprintf("gateway: %s can't be opened (%v); choose another port in ward.yaml", address, rootCause(err)), err)
		}
		if err := s.keep(purpose, ln); err != nil {
			return err
		}
	}
	unixSockets := map[string]string{
		wire.ListenForAgent:   filepath.Join(s.paths.forRole("agent"), wire.ControlSocket),
		wire.ListenForGateway: filepath.Join(s.paths.forRole("gateway"), wire.ControlSocket),
		wire.ListenForAdmin:   s.paths.adminSocket(),
		wire.ListenPages:      filepath.Join(s.paths.forRole("gateway"), wire.PagesSocket),
		wire.ListenEgress:     filepath.Join(s.paths.Egress, wire.EgressSocket),
		wire.ListenIngress:    filepath.Join(s.paths.Ingress, wire.IngressSocket),
		"up":                  s.paths.upSocket(),
	}
	for purpose, path := range unixSockets {
		ln, err := listenUnix(path)
		if err != nil {
			return err
		}
		if err := s.keep(purpose, ln); err != nil {
			return err
		}
	}
	return nil
}

func listenUnix(path string) (net.Listener, error) {
	// The lock is ours: a socket that is left here is nobody's.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	ln.SetUnlinkOnClose(false)
	// The folder is private and is shown to one role only; that role may have another user ID.
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	return ln, nil
}

func (s *Supervisor) keep(purpose string, ln net.Listener) error {
	defer ln.Close()
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return fmt.Errorf("keep socket: %w", err)
	}
	s.sockets[purpose] = f
	return nil
}

func (s *Supervisor) closeSockets() {
	for _, f := range s.sockets {
		f.Close()
	}
	_ = os.RemoveAll(s.paths.Run) // everything that used it has ended
}

func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// Runs returns an error that says who runs for the file, nil if nobody does.
func (p Paths) Runs() error {
	if err := p.look(); fault.KindOf(err) == fault.Conflict {
		return err
	}
	return nil // there is no state: nobody has ever run
}

// AwaitEnd waits until no supervisor runs any more.
func (p Paths) AwaitEnd(ctx context.Context) error {
	for {
		if err := p.look(); fault.KindOf(err) != fault.Conflict {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
