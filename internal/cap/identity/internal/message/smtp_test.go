package message

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wardtest/smtp"
)

func config(s *smtp.Server, security Security) SMTPConfig {
	c := SMTPConfig{Host: "127.0.0.1", Port: s.Port, Security: security, From: "sign-in@shop.example", FromName: "Töpfe & Co", Roots: s.Roots, Clock: clock.Func(func() time.Time { return time.Unix(1_700_000_000, 0) })}
	if security != Plain {
		c.User, c.Password = smtp.User, secret.New([]byte(smtp.Password))
	}
	return c
}

func sample(to string) Message {
	return Message{To: to, Subject: "Ihr Anmeldecode für Töpfe", Text: secret.New([]byte("code 123456\n.\nQUIT\n")), HTML: secret.New([]byte("<p>code 123456 für Sie</p>"))}
}

func TestMailArrivesAtARealServer(t *testing.T) {
	for name, security := range map[string]Security{"starttls": StartTLS, "tls": TLS, "plain": Plain} {
		t.Run(name, func(t *testing.T) {
			s := smtp.Start(t, name)
			sender, err := NewSMTP(config(s, security))
			if err != nil {
				t.Fatal(err)
			}
			if err := sender.Send(t.Context(), sample("anna@example.org")); err != nil {
				t.Fatal(err)
			}
			got := s.Next(t)
			if got.From != "sign-in@shop.example" || len(got.To) != 1 || got.To[0] != "anna@example.org" || got.TLS != (security != Plain) || got.Auth != (security != Plain) || got.Helo != "shop.example" {
				t.Errorf("envelope %+v", got)
			}
			checkParts(t, got.Data)
		})
	}
}

func checkParts(t *testing.T, data string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != "Ihr Anmeldecode für Töpfe" {
		t.Errorf("subject %q %v", subject, err)
	}
	if from, err := m.Header.AddressList("From"); err != nil || from[0].Name != "Töpfe & Co" {
		t.Errorf("from %v %v", from, err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("User-Agent") != "" || !strings.HasSuffix(m.Header.Get("Message-ID"), "@shop.example>") || strings.Contains(m.Header.Get("Message-ID"), host) {
		t.Errorf("headers %v", m.Header)
	}
	if at, err := m.Header.Date(); err != nil || at.Unix() != 1_700_000_000 {
		t.Errorf("date %v %v", at, err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("type %q %v", kind, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, want := range []string{"code 123456\n.\nQUIT", "<p>code 123456 für Sie</p>"} {
		p, err := parts.NextPart() // decodes quoted-printable
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if err != nil || strings.TrimSpace(strings.ReplaceAll(string(body), "\r\n", "\n")) != want {
			t.Errorf("part %q %v", body, err)
		}
	}
}

func TestFailuresOfARealServer(t *testing.T) {
	s := smtp.Start(t, "starttls")
	good := config(s, StartTLS)
	for _, c := range []struct {
		name      string
		change    func(*SMTPConfig)
		to        string
		permanent bool
	}{
		{"unknown recipient", func(*SMTPConfig) {}, "nobody@example.org", true},
		{"greylisted", func(*SMTPConfig) {}, "busy@example.org", false},
		{"wrong password", func(c *SMTPConfig) { c.Password = secret.New([]byte("mail-password-2")) }, "anna@example.org", false},
		{"certificate of nobody we know", func(c *SMTPConfig) { c.Roots = x509.NewCertPool() }, "anna@example.org", false},
		{"wants TLS at once from a server of STARTTLS", func(c *SMTPConfig) { c.Security = TLS }, "anna@example.org", false},
		{"nobody listens", func(c *SMTPConfig) { c.Port = 1 }, "anna@example.org", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := good
			c.change(&conf)
			sender, err := NewSMTP(conf)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			err = sender.Send(ctx, sample(c.to))
			if err == nil || errors.Is(err, ErrPermanent) != c.permanent {
				t.Fatalf("got %v", err)
			}
			for _, hidden := range []string{"mail-password", "123456", c.to, "example.org"} {
				if strings.Contains(err.Error(), hidden) {
					t.Errorf("the error shows %q: %v", hidden, err)
				}
			}
		})
	}
	t.Run("greylisting has passed", func(t *testing.T) {
		sender, err := NewSMTP(good)
		if err != nil {
			t.Fatal(err)
		}
		if err := sender.Send(t.Context(), sample("busy@example.org")); err != nil {
			t.Fatal(err)
		}
		if got := s.Next(t); got.To[0] != "busy@example.org" {
			t.Errorf("a refused mail arrived: %+v", got)
		}
	})
}

func TestServerWithoutSTARTTLSGetsNothing(t *testing.T) { // as after somebody on the way has cut it out
	s := smtp.Start(t, "plain")
	sender, err := NewSMTP(config(s, StartTLS))
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.Send(t.Context(), sample("anna@example.org")); err == nil {
		t.Error("sent in the clear")
	}
}

func TestUnsafeSMTPIsRefused(t *testing.T) {
	for name, c := range map[string]SMTPConfig{
		"clear to elsewhere":       {Host: "192.0.2.1", Security: Plain, From: "a@b.example"},
		"clear to a name":          {Host: "localhost", Security: Plain, From: "a@b.example"},
		"password in the clear":    {Host: "127.0.0.1", Security: Plain, From: "a@b.example", User: "u"},
		"header in the name":       {Host: "mail.example", From: "a@b.example", FromName: "x\r\nBcc: eve@example.org"},
		"header in the from":       {Host: "mail.example", From: "a@b.example\r\nBcc: eve@example.org"},
		"no host":                  {From: "a@b.example"},
		"unknown kind of security": {Host: "mail.example", From: "a@b.example", Security: 9},
	} {
		if _, err := NewSMTP(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestHeadersCantBeInjected(t *testing.T) {
	sender := &Folder{Path: t.TempDir(), Clock: clock.System{}}
	for name, m := range map[string]Message{
		"line in the address":   {To: "anna@example.org\r\nBcc: eve@example.org", Subject: "x", Text: secret.New([]byte("x"))},
		"second address":        {To: "anna@example.org, eve@example.org", Subject: "x", Text: secret.New([]byte("x"))},
		"display name":          {To: "Eve <anna@example.org>", Subject: "x", Text: secret.New([]byte("x"))},
		"command in the quotes": {To: "\"a>\r\nRCPT TO:<eve\"@example.org", Subject: "x", Text: secret.New([]byte("x"))},
		"line in the subject":   {To: "anna@example.org", Subject: "x\r\nBcc: eve@example.org", Text: secret.New([]byte("x"))},
		"bare LF in subject":    {To: "anna@example.org", Subject: "x\nBcc: eve@example.org", Text: secret.New([]byte("x"))},
		"turned text":           {To: "anna@example.org", Subject: "x\u202ey", Text: secret.New([]byte("x"))},
		"no subject":            {To: "anna@example.org", Text: secret.New([]byte("x"))},
		"huge":                  {To: "anna@example.org", Subject: "x", Text: secret.New(make([]byte, maxBody+1))},
	} {
		if err := sender.Send(t.Context(), m); !errors.Is(err, ErrPermanent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, err := os.ReadDir(sender.Path); err != nil || len(left) > 0 {
		t.Errorf("written: %v %v", left, err)
	}
}

func TestSilentServerDoesntHoldUsUp(t *testing.T) {
	for name, security := range map[string]Security{"starttls": StartTLS, "tls": TLS} {
		t.Run(name, func(t *testing.T) {
			silent, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = silent.Close() }()
			sender, err := NewSMTP(SMTPConfig{Host: "127.0.0.1", Port: silent.Addr().(*net.TCPAddr).Port, Security: security, From: "a@b.example"})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			begin := time.Now()
			if err := sender.Send(ctx, sample("anna@example.org")); err == nil || time.Since(begin) > 10*time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	}
}
