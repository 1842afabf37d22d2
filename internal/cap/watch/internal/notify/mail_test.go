package notify

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// mailServer is a real one.
type mailServer struct {
	port  string
	roots *x509.CertPool
	mails *bufio.Scanner
}

// startMail starts one, of a mode.
func startMail(t *testing.T, mode string) mailServer {
	t.Helper()
	python := ""
	for _, p := range []string{need.Program(t, "python3"), "/usr/bin/python3"} {
		if python == "" && exec.CommandContext(t.Context(), p, "-c", "import aiosmtpd").Run() == nil {
			python = p
		}
	}
	if python == "" {
		need.Missing(t, "python3-aiosmtpd isn't installed")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := errors.Join(os.WriteFile(certFile, certificate, 0o600), os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "testdata/smtp.py", mode, certFile, keyFile)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	s := mailServer{roots: x509.NewCertPool(), mails: bufio.NewScanner(out)}
	s.roots.AppendCertsFromPEM(certificate)
	if !s.mails.Scan() {
		t.Fatal("the SMTP server doesn't start")
	}
	s.port = s.mails.Text()
	return s
}

// box is a channel to the server, that trusts its certificate.
func (s mailServer) box(t *testing.T, scheme, user string) *mailbox {
	t.Helper()
	n := model.Notify{To: "mail", SMTP: scheme + "://127.0.0.1:" + s.port, User: user, From: "Wärd <ward@shop.example>", Address: "anna@example.org", KeyFile: "k"}
	if user == "" {
		n.KeyFile = ""
	}
	if scheme == "starttls" { // which by an address of this machine isn't asked for
		n.SMTP = "smtps://127.0.0.1:" + s.port
	}
	c, ok := open(t, n, map[string]string{"k": "secret-1"}).(*mailbox)
	if !ok {
		t.Fatal("no mail")
	}
	c.roots, c.implicit = s.roots, scheme == "smtps"
	return c
}

func TestMailArrivesAtARealServer(t *testing.T) {
	for mode, scheme := range map[string]string{"starttls": "starttls", "tls": "smtps", "plain": "smtp"} {
		t.Run(mode, func(t *testing.T) {
			s, user := startMail(t, mode), "ward"
			if mode == "plain" {
				user = ""
			}
			b := s.box(t, scheme, user)
			if err := b.Send(t.Context(), sample()); err != nil {
				t.Fatal(err)
			}
			var got struct {
				From      string
				To        []string
				Auth, TLS bool
				Data      string
			}
			if !s.mails.Scan() {
				t.Fatal("no mail")
			}
			if err := json.Unmarshal(s.mails.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
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
	s := startMail(t, "starttls")
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
			b := s.box(t, "starttls", "ward")
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
	s := startMail(t, "plain")
	err := s.box(t, "starttls", "").Send(t.Context(), sample())
	checkFailure(t, err, "", true, 0)
	c, _, err := newChannel(&model.Notify{To: "mail", SMTP: "smtp://mail.example", From: "a@b.example", Address: "c@d.example"}, nil, way())
	if b, ok := c.(*mailbox); err != nil || !ok || b.plain || b.implicit || b.port != 587 {
		t.Errorf("%+v %v", c, err)
	}
}
