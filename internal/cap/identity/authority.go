// Package identity gives every service an identity of its own, SPIFFE X.509- and JWT-SVIDs,
// short-lived and renewed by themselves.
//
// Guarantee: the root key is on disk only sealed, and signs nothing but
// intermediates; an SVID lasts an hour unless told otherwise and names exactly one
// SPIFFE ID of the trust domain. Which process gets which SVID is decided by the launcher, which
// made the process and its socket. Users' sign-in isn't here yet.
package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/pki"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wire"
)

// Lives of what the authority signs with and signs.
const (
	rootLife         = 10 * 365 * 24 * time.Hour
	intermediateLife = 7 * 24 * time.Hour
	// DefaultSVIDLife is the life of an X.509-SVID; a JWT-SVID lives jwtLife.
	DefaultSVIDLife = time.Hour
	jwtLife         = 5 * time.Minute
	jwtKeyLife      = 24 * time.Hour
)

// AuthorityConfig is what an Authority needs.
type AuthorityConfig struct {
	Dir         string       // its own folder; made if absent
	Key         secret.Bytes // seals what lies in Dir
	TrustDomain string
	SVIDLife    time.Duration // 0 for DefaultSVIDLife
	Clock       clock.Clock   // nil for the system's
	// Issued is told of every certificate; may be nil.
	Issued func(id, serial string, notAfter time.Time)
}

// Authority signs SVIDs. Its methods are safe for concurrent use.
type Authority struct {
	config AuthorityConfig

	mu           sync.Mutex
	root         *issuer   // guarded by mu
	intermediate *issuer   // guarded by mu
	jwt          []*jwtKey // guarded by mu: newest first
	sequence     uint64    // guarded by mu
}

// issuer is a certificate with its key.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// sealedState is what lies on disk, sealed.
type sealedState struct {
	RootCert []byte         `json:"root_cert"`
	RootKey  []byte         `json:"root_key"`
	JWT      []sealedJWTKey `json:"jwt"`
	Sequence uint64         `json:"sequence"`
}

type sealedJWTKey struct {
	Key  []byte    `json:"key"`
	Made time.Time `json:"made"`
}

const sealContext = "ward identity authority v1"

// OpenAuthority loads the authority of Dir, or makes a new one there.
func OpenAuthority(c AuthorityConfig) (*Authority, error) {
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.SVIDLife == 0 {
		c.SVIDLife = DefaultSVIDLife
	}
	a := &Authority{config: c}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	sealed, err := os.ReadFile(a.path())
	switch {
	case errors.Is(err, os.ErrNotExist):
		err = a.create()
	case err == nil:
		err = a.load(sealed)
	}
	if err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	return a, nil
}

func (a *Authority) path() string { return filepath.Join(a.config.Dir, "authority.sealed") }

func (a *Authority) create() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := a.config.Clock.Now()
	t := a.caTemplate("Ward root CA of "+a.config.TrustDomain, now, rootLife)
	t.MaxPathLen = 1
	cert, err := sign(t, t, key.Public(), key)
	if err != nil {
		return err
	}
	a.root, a.sequence = &issuer{cert, key}, 1
	if err := a.addJWTKey(now); err != nil {
		return err
	}
	return a.save()
}

func (a *Authority) load(sealed []byte) error {
	plain, err := secret.Open(a.config.Key, sealed, sealContext)
	if err != nil {
		return fault.Wrap(fault.Refused, "control's state was sealed with another key; bring back the key file that it was made with", err)
	}
	var s sealedState
	if err := json.Unmarshal(plain, &s); err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(s.RootCert)
	if err != nil {
		return err
	}
	key, err := parseKey(s.RootKey)
	if err != nil {
		return err
	}
	if _, err := url.Parse("spiffe://" + a.config.TrustDomain); err != nil || len(cert.URIs) != 1 || cert.URIs[0].Host != a.config.TrustDomain {
		return fault.New(fault.Refused, "control's state belongs to another trust domain; remove the .ward folder to begin anew")
	}
	a.root, a.sequence = &issuer{cert, key}, s.Sequence
	for _, j := range s.JWT {
		k, err := parseKey(j.Key)
		if err != nil {
			return err
		}
		a.jwt = append(a.jwt, newJWTKey(k, j.Made))
	}
	return nil
}

func parseKey(der []byte) (*ecdsa.PrivateKey, error) {
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	ec, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the sealed key is no ECDSA key")
	}
	return ec, nil
}

// save writes the sealed state as a whole or not at all.
func (a *Authority) save() error {
	rootKey, err := x509.MarshalPKCS8PrivateKey(a.root.key)
	if err != nil {
		return err
	}
	s := sealedState{RootCert: a.root.cert.Raw, RootKey: rootKey, Sequence: a.sequence}
	for _, j := range a.jwt {
		der, err := x509.MarshalPKCS8PrivateKey(j.key)
		if err != nil {
			return err
		}
		s.JWT = append(s.JWT, sealedJWTKey{Key: der, Made: j.made})
	}
	plain, err := json.Marshal(s)
	if err != nil {
		return err
	}
	sealed, err := secret.Seal(a.config.Key, plain, sealContext)
	if err != nil {
		return err
	}
	tmp := a.path() + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(sealed)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp, a.path())
}

func (a *Authority) caTemplate(name string, now time.Time, life time.Duration) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: name, Organization: []string{"Ward"}},
		NotBefore:    now.Add(-pki.Leeway),
		NotAfter:     now.Add(life),
		KeyUsage:     x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:         true, BasicConstraintsValid: true,
		URIs: []*url.URL{{Scheme: "spiffe", Host: a.config.TrustDomain}},
	}
}

func newSerial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never returns an error (crypto/rand)
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

func sign(t, parent *x509.Certificate, pub any, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// signer returns the intermediate, renewed at half its life; a.mu is held.
func (a *Authority) signer(now time.Time) (*issuer, error) {
	if i := a.intermediate; i != nil && now.Before(i.cert.NotAfter.Add(-intermediateLife/2)) && now.After(i.cert.NotBefore) {
		return i, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := a.caTemplate("Ward intermediate CA of "+a.config.TrustDomain, now, intermediateLife)
	t.MaxPathLenZero = true
	cert, err := sign(t, a.root.cert, key.Public(), a.root.key)
	if err != nil {
		return nil, err
	}
	a.intermediate = &issuer{cert, key}
	return a.intermediate, nil
}

// SignX509 issues an X.509-SVID. dnsNames are for the gateway's own certificate, empty otherwise.
func (a *Authority) SignX509(r wire.SignRequest, dnsNames ...string) (wire.SignReply, error) {
	id, err := url.Parse(r.ID)
	if err != nil || id.Scheme != "spiffe" || id.Host != a.config.TrustDomain || !strings.HasPrefix(id.Path, "/") || len(r.ID) > 2048 {
		return wire.SignReply{}, fault.New(fault.Invalid, "not a SPIFFE ID of this trust domain")
	}
	csr, err := x509.ParseCertificateRequest(r.CSR)
	if err != nil || csr.CheckSignature() != nil {
		return wire.SignReply{}, fault.Wrap(fault.Invalid, "not a certificate request signed by its key", err)
	}
	if k, ok := csr.PublicKey.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		return wire.SignReply{}, fault.New(fault.Invalid, "an SVID's key is ECDSA P-256")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.config.Clock.Now()
	by, err := a.signer(now)
	if err != nil {
		return wire.SignReply{}, fmt.Errorf("sign SVID: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{Organization: []string{"Ward"}, CommonName: strings.TrimPrefix(id.Path, "/")},
		// Clocks differ; yet half of a short life must not lie in the past.
		NotBefore:   now.Add(-min(pki.Leeway, a.config.SVIDLife/10)),
		NotAfter:    now.Add(a.config.SVIDLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{id}, DNSNames: dnsNames, BasicConstraintsValid: true,
	}
	leaf, err := sign(t, by.cert, csr.PublicKey, by.key)
	if err != nil {
		return wire.SignReply{}, fmt.Errorf("sign SVID: %w", err)
	}
	if a.config.Issued != nil {
		a.config.Issued(r.ID, leaf.SerialNumber.Text(16), leaf.NotAfter)
	}
	return wire.SignReply{Chain: [][]byte{leaf.Raw, by.cert.Raw}}, nil
}

// Bundle is the trust bundle: the root, and the keys that verify JWT-SVIDs.
func (a *Authority) Bundle() (wire.Bundle, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.rotateJWT(a.config.Clock.Now()); err != nil {
		return wire.Bundle{}, err
	}
	jwks, err := a.jwks()
	if err != nil {
		return wire.Bundle{}, err
	}
	return wire.Bundle{Sequence: a.sequence, X509: [][]byte{a.root.cert.Raw}, JWKS: jwks}, nil
}

// RootPEM is for people who want to trust the gateway's certificate.
func (a *Authority) RootPEM() []byte { return pemCertificate(a.root.cert.Raw) }
