package pglogin

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wardhq/ward/internal/base/secret"
)

// Login is who logs in, and where.
type Login struct {
	User       string
	Password   secret.Bytes
	Database   string
	Parameters map[string]string // settings of the session
	TLS        *tls.Config       // nil: without
}

// Session is a connection to a server that is logged in and ready.
type Session struct {
	Conn       net.Conn          // nothing of it was read beyond the greeting
	Key        Key               // zero if the server gives none
	Parameters map[string]string // that the server told
	greeting   []byte            // what the server said, between the login and ready
}

// maxGreeting bounds the messages of a server until it is ready.
const maxGreeting = 256

// Connect logs in over c, at the latest when ctx ends. When it fails, c is still the caller's to close.
func Connect(ctx context.Context, c net.Conn, l Login) (*Session, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	s, err := connect(ctx, c, &l)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("log in to database %s: %w", l.Database, err)
	}
	return s, nil
}

func connect(ctx context.Context, c net.Conn, l *Login) (*Session, error) {
	c, err := startTLS(ctx, c, l.TLS)
	if err != nil {
		return nil, err
	}
	first := pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": l.User, "database": l.Database}}
	for k, v := range l.Parameters {
		first.Parameters[k] = v
	}
	if err := send(c, &first); err != nil {
		return nil, err
	}
	if err := authenticate(c, l); err != nil {
		return nil, err
	}
	s := &Session{Conn: c, Parameters: map[string]string{}}
	for range maxGreeting {
		m, err := readMessage(c)
		if err != nil {
			return nil, err
		}
		s.greeting = m.append(s.greeting)
		switch m.kind {
		case 'Z':
			return s, nil
		case 'E':
			return nil, serverError(m.body)
		case 'K':
			if len(m.body) < 8 {
				return nil, errors.New("the server's key is too short")
			}
			s.Key = Key{PID: binary.BigEndian.Uint32(m.body), Secret: m.body[4:]}
		case 'S':
			var p pgproto3.ParameterStatus
			if err := p.Decode(m.body); err != nil {
				return nil, fmt.Errorf("read from the server: %w", err)
			}
			s.Parameters[p.Name] = p.Value
		case 'N': // a notice is the client's to read
		default:
			return nil, fmt.Errorf("the server says %q while the connection begins", m.kind)
		}
	}
	return nil, errors.New("the server isn't ready after many messages")
}

// startTLS asks for TLS; a server that has none is refused.
func startTLS(ctx context.Context, c net.Conn, t *tls.Config) (net.Conn, error) {
	if t == nil {
		return c, nil
	}
	if err := send(c, &pgproto3.SSLRequest{}); err != nil {
		return nil, err
	}
	// One byte and no more: what came behind it in clear would be taken for the server's word under TLS.
	var answer [1]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return nil, fmt.Errorf("ask the server for TLS: %w", err)
	}
	if answer[0] != 'S' {
		return nil, errors.New("the server speaks no TLS, and the model says tls: verify")
	}
	over := tls.Client(c, t)
	if err := over.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS with the server: %w", err)
	}
	return over, nil
}

func send(c io.Writer, m pgproto3.FrontendMessage) error {
	b, err := m.Encode(nil)
	if err == nil {
		_, err = c.Write(b)
	}
	if err != nil {
		return fmt.Errorf("write to the server: %w", err)
	}
	return nil
}

// Kinds of authentication messages.
const (
	authOK       = 0
	authSASL     = 10
	authContinue = 11
	authFinal    = 12
)

// authenticate proves that Ward has the password, and that the server knows of it.
func authenticate(c net.Conn, l *Login) error {
	body, err := readAuth(c, authSASL)
	if err != nil {
		return err
	}
	var offer pgproto3.AuthenticationSASL
	if err := offer.Decode(body); err != nil {
		return fmt.Errorf("read from the server: %w", err)
	}
	x, err := newExchange(l.Password, offer.AuthMechanisms, channelBinding(c))
	if err != nil {
		return err
	}
	if err := send(c, &pgproto3.SASLInitialResponse{AuthMechanism: x.mechanism, Data: x.first()}); err != nil {
		return err
	}
	if body, err = readAuth(c, authContinue); err != nil {
		return err
	}
	final, err := x.final(body[4:])
	if err != nil {
		return err
	}
	if err := send(c, &pgproto3.SASLResponse{Data: final}); err != nil {
		return err
	}
	if body, err = readAuth(c, authFinal); err != nil {
		return err
	}
	if err := x.verify(body[4:]); err != nil {
		return err
	}
	_, err = readAuth(c, authOK)
	return err
}

// readAuth reads an authentication message of one kind; its body begins with the kind.
func readAuth(c io.Reader, want uint32) ([]byte, error) {
	m, err := readMessage(c)
	if err == nil && m.kind == 'v' { // the server has less of the protocol than 3.0, which we ask for: it can't
		err = errors.New("the server negotiates a protocol that nobody asked for")
	}
	switch {
	case err != nil:
		return nil, err
	case m.kind == 'E':
		return nil, serverError(m.body)
	case m.kind != 'R' || len(m.body) < 4:
		return nil, fmt.Errorf("the server says %q instead of how to log in", m.kind)
	}
	switch kind := binary.BigEndian.Uint32(m.body); {
	case kind == want:
		return m.body, nil
	case want == authSASL && kind == authOK:
		return nil, errors.New("the server asks for no password, so nothing shows that it is the right one; let it ask for scram-sha-256 (pg_hba.conf)")
	case want == authSASL:
		return nil, errors.New("the server asks for another login than scram-sha-256; it would learn the password, or too much of it (pg_hba.conf, password_encryption)")
	default:
		return nil, fmt.Errorf("the server is at step %d of the login instead of %d", kind, want)
	}
}

func serverError(body []byte) error {
	var e pgproto3.ErrorResponse
	if err := e.Decode(body); err != nil {
		return fmt.Errorf("read from the server: %w", err)
	}
	return &Error{Code: e.Code, Message: e.Message, server: true}
}

// Greet tells the client that it is logged in, and what the server said.
func (s *Session) Greet(c io.Writer, start *Startup) error {
	if _, err := c.Write(append(start.greeting(), s.greeting...)); err != nil {
		return fmt.Errorf("answer the client: %w", err)
	}
	return nil
}

// Cancel asks a server over c to end what a session does, and returns when it has heard it.
func Cancel(ctx context.Context, c net.Conn, t *tls.Config, k Key) error {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	c, err := startTLS(ctx, c, t)
	if err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	if err := send(c, &pgproto3.CancelRequest{ProcessID: k.PID, SecretKey: k.Secret}); err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c, 1)) // it closes without a word
	return nil
}
