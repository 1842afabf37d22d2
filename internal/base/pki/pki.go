// Package pki holds the X.509 rules that both ends of every mutual TLS connection
// inside Ward follow: SPIFFE identities, TLS 1.3, and how a connection names its target.
//
// Guarantee: a connection made with these configurations has on both ends a
// certificate that chains to the trust bundle, is valid now, is no CA, and carries
// exactly one URI, a SPIFFE ID of the trust domain (SPIFFE X509-SVID §2–5). Who may talk to whom is
// not decided here.
package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
)

// Source is an identity that renews itself. Its methods are safe for concurrent use.
type Source interface {
	// Certificate is the SVID in force, renewed first if it has ended.
	Certificate() (*tls.Certificate, error)
	// Roots is the trust bundle of the trust domain.
	Roots() (*x509.CertPool, error)
}

// Leeway is how far the clocks of two hosts may differ.
const Leeway = time.Minute

// PeerID is the SPIFFE ID of a verified peer.
func PeerID(s tls.ConnectionState) (string, error) {
	if len(s.PeerCertificates) == 0 {
		return "", errors.New("the peer showed no certificate")
	}
	return ID(s.PeerCertificates[0])
}

// ID is the SPIFFE ID of a leaf certificate (X509-SVID §2).
func ID(leaf *x509.Certificate) (string, error) {
	if len(leaf.URIs) != 1 {
		return "", fmt.Errorf("the certificate has %d URIs; an SVID has one", len(leaf.URIs))
	}
	u := leaf.URIs[0]
	id := "spiffe://" + u.Host + u.Path
	// What isn't written exactly so has a query, a port, an escape or another second reading.
	if u.String() != id || !isHost(u.Host) || !isPath(u.Path) || len(id) > maxID {
		return "", errors.New("the certificate's URI is no SPIFFE ID")
	}
	return id, nil
}

// maxID is the length of a SPIFFE ID in bytes (SPIFFE-ID §2.3).
const maxID = 2048

func isHost(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-_") == ""
}

func isPath(s string) bool {
	rest, ok := strings.CutPrefix(s, "/")
	if !ok {
		return false
	}
	for seg := range strings.SplitSeq(rest, "/") {
		if seg == "" || seg == "." || seg == ".." || strings.Trim(seg, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
			return false
		}
	}
	return true
}

// maxChain bounds the work that a peer can cause.
const maxChain = 8

// Verify checks a peer's chain, leaf first, and returns its SPIFFE ID.
func Verify(chain []*x509.Certificate, roots *x509.CertPool, trustDomain string, now time.Time) (string, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return "", fmt.Errorf("the peer showed %d certificates", len(chain))
	}
	leaf := chain[0]
	id, err := ID(leaf)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(id, "spiffe://"+trustDomain+"/") {
		return "", fmt.Errorf("%s is not of trust domain %s", id, trustDomain)
	}
	if leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 || leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return "", errors.New("the certificate's key usage is not that of a leaf")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if _, err := leaf.Verify(options); err == nil {
		return id, nil
	}
	// A peer's clock may be a little ahead of ours, or behind.
	for _, t := range []time.Time{now.Add(Leeway), now.Add(-Leeway)} {
		options.CurrentTime = t
		if _, err = leaf.Verify(options); err == nil {
			return id, nil
		}
	}
	return "", fmt.Errorf("verify certificate of %s: %w", id, err)
}

// verifyEither takes a chain that is valid now or was when the handshake began: the clock may jump
// in between.
func verifyEither(chain []*x509.Certificate, roots *x509.CertPool, trustDomain string, began, now time.Time) (string, error) {
	id, err := Verify(chain, roots, trustDomain, now)
	if err != nil && !began.Equal(now) {
		if early, earlyErr := Verify(chain, roots, trustDomain, began); earlyErr == nil {
			return early, nil
		}
	}
	return id, err
}

// Server is the TLS side that is connected to. The certificate is chosen by the server name that
// the client asks for.
func Server(c clock.Clock, trustDomain string, roots func() (*x509.CertPool, error), choose func(serverName string) (Source, error)) *tls.Config {
	base := &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAnyClientCert, // verified below, at our own clock
		Time:       c.Now,
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			s, err := choose(h.ServerName)
			if err != nil {
				return nil, err
			}
			return s.Certificate()
		},
		// A resumed session would outlive the certificate that it was made with.
		SessionTicketsDisabled: true,
	}
	outer := base.Clone()
	outer.VerifyConnection = func(tls.ConnectionState) error { return errors.New("the connection has no verifier of its own") }
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		began := c.Now()
		own := base.Clone()
		own.VerifyConnection = func(s tls.ConnectionState) error {
			pool, err := roots()
			if err != nil {
				return err
			}
			_, err = verifyEither(s.PeerCertificates, pool, trustDomain, began, c.Now())
			return err
		}
		return own, nil
	}
	return outer
}

// Client is the TLS side of one connection: it connects, as self, to the holder of the identity
// wantID. serverName is a TargetName.
func Client(c clock.Clock, self Source, trustDomain, wantID, serverName string) *tls.Config {
	began := c.Now()
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         serverName,
		InsecureSkipVerify: true, // host names mean nothing here; VerifyConnection does all of it
		Time:               c.Now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return self.Certificate()
		},
		VerifyConnection: func(s tls.ConnectionState) error {
			pool, err := self.Roots()
			if err != nil {
				return err
			}
			id, err := verifyEither(s.PeerCertificates, pool, trustDomain, began, c.Now())
			if err == nil && id != wantID {
				err = fmt.Errorf("connected to %s instead of %s", id, wantID)
			}
			return err
		},
	}
}

// TargetName is the server name that asks an agent for a service's port.
func TargetName(service string, port int, trustDomain string) string {
	return "p" + strconv.Itoa(port) + "." + service + "." + trustDomain
}

// ParseTargetName reverses TargetName.
func ParseTargetName(name, trustDomain string) (service string, port int, err error) {
	rest, ok := strings.CutSuffix(name, "."+trustDomain)
	p, service, ok2 := strings.Cut(rest, ".")
	digits, ok3 := strings.CutPrefix(p, "p")
	port, err = strconv.Atoi(digits)
	if !ok || !ok2 || !ok3 || err != nil || port < 1 || port > 65535 || service == "" || strings.Contains(service, ".") || strconv.Itoa(port) != digits {
		return "", 0, fmt.Errorf("%q names no service and port of %s", name, trustDomain)
	}
	return service, port, nil
}
