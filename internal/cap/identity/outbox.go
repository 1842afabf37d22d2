package identity

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/wire"
)

// outbox queues messages for a sender that a new plan may replace.
type outbox struct {
	queue  *message.Queue
	sender atomic.Pointer[message.Sender]
}

func newOutbox(c UsersConfig) *outbox {
	o := &outbox{}
	o.queue = message.NewQueue(message.QueueConfig{Sender: o, Clock: c.Clock, Log: c.Log})
	return o
}

func (o *outbox) use(s message.Sender) { o.sender.Store(&s) }

// Put queues a message.
func (o *outbox) Put(m message.Message) error { return o.queue.Put(m) }

// Send gives a message to the sender of now.
func (o *outbox) Send(ctx context.Context, m message.Message) error {
	s := o.sender.Load()
	if s == nil || *s == nil {
		return fmt.Errorf("send message: %w", message.ErrPermanent)
	}
	return (*s).Send(ctx, m)
}

// mailSender is the one that ward.yaml names, or a folder.
func (x *parts) mailSender(u *model.Users, files map[string][]byte) (message.Sender, error) {
	c := x.users.config
	if u.Mail.SMTP == "" {
		return &message.Folder{Path: c.MailDir, Clock: c.Clock}, nil
	}
	at, err := url.Parse(u.Mail.SMTP)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "users: mail: smtp isn't an address", err)
	}
	from, err := mail.ParseAddress(u.Mail.From)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "users: mail: from isn't a mail address", err)
	}
	port, _ := strconv.Atoi(at.Port()) // 0 is the usual one
	config := message.SMTPConfig{
		Host: at.Hostname(), Port: port, From: from.Address, FromName: from.Name, User: u.Mail.User,
		Password: line(files[u.Mail.PasswordFile]), Clock: c.Clock, Dial: egressDial(c.Egress),
	}
	switch {
	case at.Scheme == "smtps":
		config.Security = message.TLS
	case isLoopback(at.Hostname()):
		config.Security = message.Plain
	}
	s, err := message.NewSMTP(config)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "users: mail: "+err.Error(), err)
	}
	return s, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// line is the content of a file of one line.
func line(b []byte) secret.Bytes { return secret.New([]byte(strings.TrimRight(string(b), "\r\n"))) }

func (x *parts) smsSender(u *model.Users, files map[string][]byte) (message.Sender, error) {
	c := x.users.config
	transport := egressTransport(c.Egress)
	key := line(files[u.SMS.SecretFile])
	switch {
	case u.SMS.Webhook != "":
		s, err := message.NewWebhook(u.SMS.Webhook, key, c.Clock, transport)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "users: sms: "+err.Error(), err)
		}
		return s, nil
	case u.SMS.Twilio != "":
		s, err := message.NewTwilio(message.TwilioConfig{Base: u.SMS.Twilio, Account: u.SMS.Account, Token: key, From: u.SMS.From, Transport: transport})
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "users: sms: "+err.Error(), err)
		}
		return s, nil
	}
	return nil, nil
}

// egressDial dials through the agent.
func egressDial(socket string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		return wire.DialEgress(ctx, socket, address)
	}
}

// egressTransport is HTTP on the way out.
func egressTransport(socket string) *http.Transport {
	return &http.Transport{
		DialContext: egressDial(socket), MaxIdleConns: 16, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
		ResponseHeaderTimeout: 15 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
}
