package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/model"
)

// mailbox is told by SMTP: with TLS from the first byte (smtps), else with STARTTLS or not at all, but for a server on this machine.
type mailbox struct {
	host      string
	port      int
	implicit  bool // TLS from the first byte
	plain     bool // none: the server is this machine's
	user      string
	password  secret.Bytes
	from      *netmail.Address
	to        string
	roots     *x509.CertPool // nil: the machine's
	dialPlain func(ctx context.Context, network, address string) (net.Conn, error)
	clock     clock.Clock
}

// newMail makes a channel of mail; host is the server's.
func newMail(n *model.Notify, password secret.Bytes, way Way) (Channel, string, error) {
	at, err := url.Parse(n.SMTP)
	if err != nil || at.Hostname() == "" || at.Scheme != "smtp" && at.Scheme != "smtps" {
		return nil, "", errors.New("mail: smtp: isn't smtp://host:port or smtps://host:port")
	}
	from, err := netmail.ParseAddress(n.From)
	if err != nil {
		return nil, "", errors.New("mail: from: isn't a mail address")
	}
	to, err := netmail.ParseAddress(n.Address)
	if err != nil || to.Address != n.Address {
		return nil, "", errors.New("mail: address: isn't a plain mail address")
	}
	m := &mailbox{host: at.Hostname(), implicit: at.Scheme == "smtps", user: n.User, password: password, from: from, to: to.Address, dialPlain: way.Dial, clock: way.Clock}
	ip, err := netip.ParseAddr(m.host) // "localhost" is what a resolver says it is
	m.plain = !m.implicit && err == nil && ip.IsLoopback()
	if m.plain && m.user != "" {
		return nil, "", errors.New("mail: a password needs TLS; write smtps://, or leave out user: for a server on this machine")
	}
	m.port, _ = strconv.Atoi(at.Port())
	if m.port == 0 {
		m.port = 587
		if m.implicit {
			m.port = 465
		}
	}
	return m, at.Host, nil
}

// Send implements Channel.
func (b *mailbox) Send(ctx context.Context, m *Message) error {
	if m.Kind == Resolved {
		return nil
	}
	msg, err := b.compose(m)
	if err != nil {
		return &Failure{Text: "the mail can't be composed"} // the cause has the addresses
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel() // it also closes the connection: see dial
	client, err := mail.NewClient(b.host, b.options(ctx)...)
	if err != nil {
		return &Failure{Text: "the SMTP configuration isn't usable"}
	}
	conn, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return refused(err)
	}
	err = client.SendWithSMTPClient(conn, msg)
	_ = client.CloseWithSMTPClient(conn) // if it was accepted, an untidy farewell mustn't send it twice
	if err != nil {
		return refused(err)
	}
	return nil
}

func (b *mailbox) compose(m *Message) (*mail.Msg, error) {
	_, domain, _ := strings.Cut(b.from.Address, "@")
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := errors.Join(msg.FromFormat(b.from.Name, b.from.Address), msg.EnvelopeFrom(b.from.Address), msg.To(b.to)); err != nil {
		return nil, err
	}
	msg.Subject(clip("[ward] "+m.Title(), 200))
	msg.SetDateWithValue(b.clock.Now())
	msg.SetMessageIDWithValue(m.ID + "@" + domain) // a second try is the same mail
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(mail.TypeTextPlain, m.Title()+"\n\n"+m.text()+"\n")
	return msg, nil
}

func (b *mailbox) options(ctx context.Context) []mail.Option {
	_, domain, _ := strings.Cut(b.from.Address, "@")
	o := []mail.Option{mail.WithTimeout(patience), mail.WithHELO(domain), mail.WithTLSConfig(b.tls()), mail.WithoutNoop(), mail.WithDialContextFunc(b.dial(ctx))}
	switch {
	case b.implicit:
		o = append(o, mail.WithSSL())
	case b.plain:
		o = append(o, mail.WithTLSPolicy(mail.NoTLS))
	default:
		o = append(o, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	o = append(o, mail.WithPort(b.port))
	if b.user != "" { // of these go-mail sends a password over TLS only
		o = append(o, mail.WithOpportunisticSMTPAuth(mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthPlain, mail.SMTPAuthLogin), mail.WithUsername(b.user), mail.WithPassword(string(b.password.Reveal())))
	}
	return o
}

func (b *mailbox) tls() *tls.Config {
	return &tls.Config{ServerName: b.host, RootCAs: b.roots, MinVersion: tls.VersionTLS12}
}

// dial makes connections that end with ctx: go-mail minds its own context only until it is connected.
func (b *mailbox) dial(ctx context.Context) mail.DialContextFunc {
	return func(dialing context.Context, network, address string) (net.Conn, error) {
		conn, err := b.dialPlain(dialing, network, address)
		if err != nil {
			return nil, err
		}
		if b.implicit {
			secure := tls.Client(conn, b.tls())
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

// refused says what happened without the server's own words, which have addresses in them.
func refused(err error) *Failure {
	if e, ok := errors.AsType[*mail.SendError](err); ok && e.ErrorCode() != 0 {
		return &Failure{Text: fmt.Sprintf("the mail server said %d", e.ErrorCode()), Again: e.IsTemp()}
	}
	f := unreached(err)
	if strings.HasPrefix(f.Text, "it doesn't speak HTTP") {
		f.Text = "the mail server refused TLS (STARTTLS is needed), or the sign-in"
	}
	return f
}
