package message

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
)

// Security is how an SMTP connection is protected.
type Security uint8

// The ways. There is none that falls back.
const (
	StartTLS Security = iota // STARTTLS or nothing, port 587
	TLS                      // TLS from the first byte, port 465 (RFC 8314)
	Plain                    // none: to an address of this machine only
)

// SMTPConfig says where mail goes out.
type SMTPConfig struct {
	Host     string
	Port     int // 0 is the port of the Security
	Security Security
	User     string // empty: no authentication
	Password secret.Bytes
	From     string         // a plain address
	FromName string         // shown beside it; may be empty
	Roots    *x509.CertPool // nil: the machine's
	Clock    clock.Clock
	// Dial connects, without TLS; nil: from this machine.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// SMTP sends mail. Each message has its own connection.
type SMTP struct {
	c      SMTPConfig
	domain string
}

// NewSMTP checks the configuration.
func NewSMTP(c SMTPConfig) (*SMTP, error) {
	if _, err := ParseAddress(c.From); err != nil {
		return nil, fmt.Errorf("configure SMTP: from: %w", err)
	}
	if c.Host == "" || hasControl(c.FromName) || hasControl(c.Host) || c.Port < 0 || c.Port > 65535 {
		return nil, errors.New("configure SMTP: it needs a host, a port up to 65535, and a name without control characters")
	}
	if c.Security > Plain {
		return nil, errors.New("configure SMTP: unknown security")
	}
	if c.Security == Plain && (!loopback(c.Host) || c.User != "") {
		return nil, errors.New("configure SMTP: without TLS only 127.0.0.1 and ::1, and no password")
	}
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	_, domain, _ := strings.Cut(c.From, "@")
	return &SMTP{c: c, domain: domain}, nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback() // not "localhost", which is what a resolver says it is
}

// Send implements Sender.
func (s *SMTP) Send(ctx context.Context, m Message) error {
	msg, err := compose(s.c, s.domain, m, mail.EncodingQP)
	if err != nil {
		return fmt.Errorf("send mail: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, maxSending)
	defer cancel() // it also closes the connection: see dial
	client, err := mail.NewClient(s.c.Host, append(s.options(), mail.WithDialContextFunc(s.dial(ctx)))...)
	if err != nil {
		return errors.New("send mail: the SMTP configuration is not usable")
	}
	conn, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return fmt.Errorf("send mail: connect: %w", reason(err))
	}
	if err := client.SendWithSMTPClient(conn, msg); err != nil {
		_ = client.CloseWithSMTPClient(conn)
		return fmt.Errorf("send mail: %w", reason(err))
	}
	_ = client.CloseWithSMTPClient(conn) // it was accepted: an untidy farewell mustn't send it twice
	return nil
}

// dial makes connections that end with ctx. go-mail minds the context only until it is connected, and leaves the
// connection open when the server refuses TLS or the sign-in.
func (s *SMTP) dial(ctx context.Context) mail.DialContextFunc {
	return func(dialing context.Context, network, address string) (net.Conn, error) {
		plain := s.c.Dial
		if plain == nil {
			plain = new(net.Dialer).DialContext
		}
		conn, err := plain(dialing, network, address)
		if err != nil {
			return nil, err
		}
		if s.c.Security == TLS {
			secure := tls.Client(conn, s.tls())
			if err := secure.HandshakeContext(dialing); err != nil {
				conn.Close()
				return nil, err
			}
			conn = secure
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		return conn, nil
	}
}

func (s *SMTP) tls() *tls.Config {
	return &tls.Config{ServerName: s.c.Host, RootCAs: s.c.Roots, MinVersion: tls.VersionTLS12}
}

func (s *SMTP) options() []mail.Option {
	o := []mail.Option{
		mail.WithTimeout(15 * time.Second),
		mail.WithHELO(s.domain), // and not this machine's name
		mail.WithTLSConfig(s.tls()),
		mail.WithoutNoop(),
	}
	switch s.c.Security {
	case TLS:
		o = append(o, mail.WithSSL(), mail.WithPort(or(s.c.Port, 465)))
	case StartTLS:
		o = append(o, mail.WithTLSPolicy(mail.TLSMandatory), mail.WithPort(or(s.c.Port, 587)))
	case Plain:
		o = append(o, mail.WithTLSPolicy(mail.NoTLS), mail.WithPort(or(s.c.Port, 25)))
	}
	if s.c.User != "" {
		// Of these go-mail sends a password over TLS only.
		o = append(o, mail.WithOpportunisticSMTPAuth(mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthPlain, mail.SMTPAuthLogin), mail.WithUsername(s.c.User), mail.WithPassword(string(s.c.Password.Reveal())))
	}
	return o
}

func or(v, otherwise int) int {
	if v == 0 {
		return otherwise
	}
	return v
}

// reason says what happened without the library's text, which has the recipient and the server's own words in it.
func reason(err error) error {
	if e, ok := errors.AsType[*mail.SendError](err); ok {
		if e.IsTemp() || e.ErrorCode() == 0 {
			return fmt.Errorf("the server said %d", e.ErrorCode())
		}
		return fmt.Errorf("%w: the server said %d", ErrPermanent, e.ErrorCode())
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("the server's certificate isn't accepted: %w", e.Err)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e
	}
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errors.New("the server refused TLS or the sign-in")
}

// compose makes the mail. Addresses and subject were checked, and go-mail encodes the headers once more.
func compose(c SMTPConfig, domain string, m Message, encoding mail.Encoding) (*mail.Msg, error) {
	if err := m.checkMail(); err != nil {
		return nil, err
	}
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent(), mail.WithEncoding(encoding))
	if err := errors.Join(msg.FromFormat(c.FromName, c.From), msg.EnvelopeFrom(c.From), msg.To(m.To)); err != nil {
		return nil, fmt.Errorf("%w: the addresses can't be used", ErrPermanent)
	}
	msg.Subject(m.Subject)
	msg.SetDateWithValue(c.Clock.Now())
	msg.SetMessageIDWithValue(rand.Text() + "@" + domain)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office answers
	msg.SetBodyString(mail.TypeTextPlain, string(m.Text.Reveal()))
	if html := m.HTML.Reveal(); len(html) > 0 {
		msg.AddAlternativeString(mail.TypeTextHTML, string(html))
	}
	return msg, nil
}
