// Package scm carries small JSON messages with file descriptors between Ward's
// own processes, over a Unix SOCK_SEQPACKET pair (SCM_RIGHTS, unix(7)).
//
// Guarantee: a message arrives whole, with all of its descriptors (close-on-exec), or
// Recv returns an error and no descriptor leaks. Not guaranteed: any
// authenticity beyond who holds the other end.
package scm

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// MaxMessage is the largest message in bytes; MaxFiles the most descriptors in one.
const (
	MaxMessage = 128 << 10
	MaxFiles   = 64
)

// Conn is one end. Send and Recv may run at the same time; each may be called
// from several goroutines.
type Conn struct {
	f    *os.File
	send sync.Mutex // keeps the messages of several senders whole
	recv sync.Mutex // guards buf and oob
	buf  []byte
	oob  []byte
}

// Pair makes two connected ends: ours as a Conn, theirs as a file to hand to a
// child process, which opens it with Open.
func Pair() (ours *Conn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}
	for _, fd := range fds {
		// A message must fit the buffer; what the kernel refuses above its limit shows as EMSGSIZE later.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 2*MaxMessage)
	}
	return Open(os.NewFile(uintptr(fds[0]), "scm")), os.NewFile(uintptr(fds[1]), "scm-peer"), nil
}

// Open takes over a file that Pair made. The file must be in non-blocking mode.
func Open(f *os.File) *Conn { return &Conn{f: f} }

// Inherited takes over descriptor fd, which a parent process passed at start.
func Inherited(fd int, name string) (*Conn, error) {
	// Standard input may be known to the poller already, under its own number.
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(own, true)
	}
	if err != nil {
		return nil, fmt.Errorf("inherit %s: %w", name, err)
	}
	if fd > 2 {
		unix.Close(fd)
	}
	return Open(os.NewFile(uintptr(own), name)), nil
}

// File is the underlying file, to hand on; the Conn keeps owning it.
func (c *Conn) File() *os.File { return c.f }

// Close closes this end; the other end's Recv then returns io.EOF.
func (c *Conn) Close() error { return c.f.Close() }

// Send sends v with files, which stay open here. It blocks while the buffer is full.
func (c *Conn) Send(v any, files ...*os.File) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(b) > MaxMessage || len(files) > MaxFiles {
		return fmt.Errorf("send message: %d bytes and %d files are over the limit", len(b), len(files))
	}
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			// SyscallConn, unlike Fd, leaves the file in non-blocking mode.
			raw, err := f.SyscallConn()
			if err != nil {
				return fmt.Errorf("send message: %w", err)
			}
			if err := raw.Control(func(fd uintptr) { fds[i] = int(fd) }); err != nil {
				return fmt.Errorf("send message: %w", err)
			}
		}
		oob = unix.UnixRights(fds...)
	}
	c.send.Lock()
	defer c.send.Unlock()
	raw, err := c.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	var sendErr error
	err = raw.Write(func(fd uintptr) bool {
		sendErr = unix.Sendmsg(int(fd), b, oob, nil, unix.MSG_NOSIGNAL)
		return sendErr != unix.EAGAIN && sendErr != unix.EINTR
	})
	if err == nil {
		err = sendErr
	}
	if err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	return nil
}

// Recv waits for the next message, decodes it into v and returns its files,
// which the caller must close. It returns io.EOF when the other end is closed.
func (c *Conn) Recv(v any) ([]*os.File, error) {
	c.recv.Lock()
	defer c.recv.Unlock()
	if c.buf == nil {
		c.buf = make([]byte, MaxMessage)
		c.oob = make([]byte, unix.CmsgSpace(4*MaxFiles))
	}
	raw, err := c.f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("receive message: %w", err)
	}
	var n, oobn, flags int
	var recvErr error
	err = raw.Read(func(fd uintptr) bool {
		n, oobn, flags, _, recvErr = unix.Recvmsg(int(fd), c.buf, c.oob, unix.MSG_CMSG_CLOEXEC)
		return recvErr != unix.EAGAIN && recvErr != unix.EINTR
	})
	if err == nil {
		err = recvErr
	}
	if err == unix.ECONNRESET {
		return nil, io.EOF
	}
	if err != nil {
		return nil, fmt.Errorf("receive message: %w", err)
	}
	files, err := takeFiles(c.oob[:oobn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = fmt.Errorf("receive message: cut off")
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err == nil {
		if jsonErr := json.Unmarshal(c.buf[:n], v); jsonErr != nil {
			err = fmt.Errorf("decode message: %w", jsonErr)
		}
	}
	if err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
}

func takeFiles(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("receive files: %w", err)
	}
	var files []*os.File
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue // not SCM_RIGHTS
		}
		for _, fd := range fds {
			// Only sockets and pipes gain from the poller; a failure leaves the file usable.
			_ = unix.SetNonblock(fd, true)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
