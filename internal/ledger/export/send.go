package export

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/ledger"
)

// Target is a receiver.
type Target struct {
	network string // udp, tcp or tls
	address string
	name    string // that its certificate is for
	roots   *x509.CertPool
}

// ParseTarget reads udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT. roots, PEM, are the authorities of a receiver's certificate; nil for
// this machine's.
func ParseTarget(s string, roots []byte) (Target, error) {
	bad := fault.New(fault.Usage, fmt.Sprintf("a receiver is udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT, not %q", s))
	u, err := url.Parse(s)
	if err != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Hostname() == "" || u.Opaque != "" {
		return Target{}, bad
	}
	if n, err := strconv.Atoi(u.Port()); err != nil || n < 1 || n > 65535 {
		return Target{}, bad
	}
	t := Target{network: u.Scheme, address: u.Host, name: u.Hostname()}
	switch {
	case u.Scheme == "tls" && roots != nil:
		t.roots = x509.NewCertPool()
		if !t.roots.AppendCertsFromPEM(roots) {
			return Target{}, fault.New(fault.Usage, "the file of authorities has no certificate")
		}
	case u.Scheme != "tls" && (u.Scheme != "udp" && u.Scheme != "tcp" || roots != nil):
		return Target{}, bad
	}
	return t, nil
}

// maxDatagram is what every receiver over UDP has to take (RFC 5426 §3.2: 2,048 octets should be, 480 must); longer ones are sent whole as
// far as a datagram goes.
const maxDatagram = 65_000

// Sender writes events somewhere, one by one. It isn't safe for concurrent use.
type Sender struct {
	format Format
	host   string
	target *Target
	conn   net.Conn
	out    *bufio.Writer
	frame  func(event []byte) []byte
}

// NewWriter returns a Sender of lines.
func NewWriter(w io.Writer, format Format) *Sender {
	return &Sender{format: format, host: hostName(), out: bufio.NewWriter(w), frame: func(b []byte) []byte { return append(b, '\n') }}
}

// Dial returns a Sender to a receiver. Over TCP and TLS events are framed by octet counting (RFC 6587 §3.4.1).
func Dial(ctx context.Context, t Target, format Format) (*Sender, error) {
	s := &Sender{format: format, host: hostName(), target: &t, frame: func(b []byte) []byte { return append(append(strconv.AppendInt(nil, int64(len(b)), 10), ' '), b...) }}
	if t.network == "udp" {
		s.frame = func(b []byte) []byte { return b[:min(len(b), maxDatagram)] }
	}
	return s, s.dial(ctx)
}

func (s *Sender) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d := net.Dialer{}
	network := s.target.network
	if network == "tls" {
		network = "tcp"
	}
	c, err := d.DialContext(ctx, network, s.target.address)
	if err != nil {
		return fmt.Errorf("reach receiver: %w", err)
	}
	if s.target.network == "tls" {
		t := tls.Client(c, &tls.Config{ServerName: s.target.name, RootCAs: s.target.roots, MinVersion: tls.VersionTLS12})
		if err := t.HandshakeContext(ctx); err != nil {
			c.Close()
			return fmt.Errorf("reach receiver: %w", err)
		}
		c = t
	}
	s.conn = c
	if s.out = bufio.NewWriterSize(c, 1<<16); network == "udp" {
		s.out = nil
	}
	return nil
}

func hostName() string {
	h, err := os.Hostname()
	if err != nil {
		return ""
	}
	return h
}

// Send writes a record. What it returns no error for may still wait for Flush.
func (s *Sender) Send(r *ledger.Record) error {
	b := s.frame(s.format(s.host, r))
	if s.conn != nil {
		_ = s.conn.SetWriteDeadline(time.Now().Add(patience)) // a closed connection shows below
	}
	var err error
	if s.out == nil {
		_, err = s.conn.Write(b)
	} else {
		_, err = s.out.Write(b)
	}
	if err != nil {
		return fmt.Errorf("send record %d: %w", r.Index, err)
	}
	return nil
}

// Flush hands everything over.
func (s *Sender) Flush() error {
	if s.out == nil {
		return nil
	}
	if err := s.out.Flush(); err != nil {
		return fmt.Errorf("send records: %w", err)
	}
	return nil
}

// Close flushes, and ends the connection.
func (s *Sender) Close() error {
	err := s.Flush()
	if s.conn != nil {
		if cerr := s.conn.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("send records: %w", cerr)
		}
	}
	return err
}
