// Package smtp lets tests send mail to a server that others wrote: Debian's aiosmtpd.
//
// Guarantee: it listens on 127.0.0.1 alone, at a port that the kernel chose, has a certificate of its
// own, and ends with the test. It refuses mail to nobody@… for good, and the first one to busy@… for now. Without aiosmtpd a test skips, or fails in CI.
package smtp

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/wardtest/need"
)

//go:embed server.py
var program string

// User and Password are whom a server takes mail from that speaks TLS.
const User, Password = "ward", "mail-password-1"

// Server is one that runs.
type Server struct {
	Port  int
	Roots *x509.CertPool // that its certificate is under
	mails *bufio.Scanner
	kill  func() error
}

// Mail is what came to a server.
type Mail struct {
	From      string
	To        []string
	Helo      string
	Auth, TLS bool // whether the client proved who it is, and the connection was encrypted
	Data      string
}

// Start starts one of a mode: starttls, tls, or plain, which takes mail of everybody and offers no TLS.
func Start(t testing.TB, mode string) *Server {
	t.Helper()
	s := &Server{Roots: x509.NewCertPool()}
	cert, key := s.certify(t)
	cmd := exec.Command(python(t), "-c", program, mode, cert, key)
	cmd.Stderr = t.Output() // shown when the test fails
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // killed: its status says nothing
	s.mails, s.kill = bufio.NewScanner(out), cmd.Process.Kill
	s.mails.Buffer(nil, 1<<20)
	if !s.mails.Scan() {
		t.Fatal("the SMTP server doesn't start")
	}
	if s.Port, err = strconv.Atoi(s.mails.Text()); err != nil {
		t.Fatal(err)
	}
	return s
}

// Next waits for the next mail, at most a minute.
func (s *Server) Next(t testing.TB) Mail {
	t.Helper()
	defer time.AfterFunc(time.Minute, func() { _ = s.kill() }).Stop() // which ends the wait
	var m Mail
	if !s.mails.Scan() {
		t.Fatal("no mail")
	}
	if err := json.Unmarshal(s.mails.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// certify makes a certificate for 127.0.0.1, and names its files.
func (s *Server) certify(t testing.TB) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	pkcs8, err2 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	s.Roots.AppendCertsFromPEM(cert)
	if err := errors.Join(os.WriteFile(certFile, cert, 0o600), os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600)); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

// python returns one that has aiosmtpd, which is Debian's and not every other's.
func python(t testing.TB) string {
	t.Helper()
	for _, p := range []string{need.Program(t, "python3"), "/usr/bin/python3"} {
		if exec.Command(p, "-c", "import aiosmtpd").Run() == nil {
			return p
		}
	}
	need.Missing(t, "python3-aiosmtpd isn't installed")
	return ""
}
