package notify

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/wardtest/smtp"
)

// box is a channel to a server, that trusts its certificate.
func box(t *testing.T, s *smtp.Server, scheme, user string) *mailbox {
	t.Helper()
	n := model.Notify{To: "mail", SMTP: fmt.Sprintf("%s://127.0.0.1:%d", scheme, s.Port), User: user, From: "Wärd <ward@shop.example>", Address: "anna@example.org", KeyFile: "k"}
	if user == "" {
		n.KeyFile = ""
	}
	if scheme == "starttls" { // which by an address of this machine isn't asked for
		n.SMTP = fmt.Sprintf("smtps://127.0.0.1:%d", s.Port)
	}
	c, ok := open(t, n, map[string]string{"k": smtp.Password}).(*mailbox)
	if !ok {
		t.Fatal("no mail")
	}
	c.roots, c.implicit = s.Roots, scheme == "smtps"
	return c
}

func TestMailArrivesAtARealServer(t *testing.T) {
	for mode, scheme := range map[string]string{"starttls": "starttls", "tls": "smtps", "plain": "smtp"} {
		t.Run(mode, func(t *testing.T) {
			s, user := smtp.Start(t, mode), smtp.User
			if mode == "plain" {
				user = ""
			}
			b := box(t, s, scheme, user)
			if err := b.Send(t.Context(), sample()); err != nil {
				t.Fatal(err)
			}
			got := s.Next(t)
			if got.From != "ward@shop.example" || fmt.Sprint(got.To) != "[anna@example.org]" || got.Auth != (mode != "plain") || got.TLS != (mode != "plain") {
				t.Errorf("%+v", got)
			}
			m, err := netmail.ReadMessage(strings.NewReader(got.Data))
			if err != nil {
				t.Fatal(err)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
			body, err2 := io.ReadAll(quotedprintable.NewReader(m.Body))
			if errors.Join(err, err2) != nil || !strings.HasPrefix(subject, "[ward] HIGH in shop: web called catalog") || m.Header.Get("Message-ID") != "<msg_1@shop.example>" || m.Header.Get("Auto-Submitted") != "auto-generated" {
				t.Errorf("%q %v %v", subject, err, m.Header)
			}
			if !strings.Contains(string(body), "ward findings 7") || strings.Contains(string(body), "://") {
				t.Errorf("%s", body)
			}
		})
	}
}

func TestAMailServerThatRefusesIsSaid(t *testing.T) {
	s := smtp.Start(t, "starttls")
	for name, tt := range map[string]struct {
		change func(*mailbox)
		text   string
		again  bool
	}{
		"an unknown recipient":                      {func(b *mailbox) { b.to = "nobody@example.org" }, "550", false},
		"one that is busy":                          {func(b *mailbox) { b.to = "busy@example.org" }, "451", true},
		"a certificate of nobody that is trusted":   {func(b *mailbox) { b.roots = x509.NewCertPool() }, "certificate isn't accepted", true},
		"nobody who listens":                        {func(b *mailbox) { b.port = 1 }, "can't be reached", true},
		"a password in clear, that it doesn't take": {func(b *mailbox) { b.plain = true }, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			b := box(t, s, "starttls", smtp.User)
			tt.change(b)
			err := b.Send(t.Context(), sample())
			checkFailure(t, err, tt.text, tt.again, 0)
			if strings.Contains(fmt.Sprint(err), "example.org") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAServerWithoutSTARTTLSGetsNoMail(t *testing.T) { // as after somebody on the way has cut it out
	s := smtp.Start(t, "plain")
	err := box(t, s, "starttls", "").Send(t.Context(), sample())
	checkFailure(t, err, "", true, 0)
	c, _, err := newChannel(&model.Notify{To: "mail", SMTP: "smtp://mail.example", From: "a@b.example", Address: "c@d.example"}, nil, way())
	if b, ok := c.(*mailbox); err != nil || !ok || b.plain || b.implicit || b.port != 587 {
		t.Errorf("%+v %v", c, err)
	}
}
