// Package identity gives every service an identity of its own, SPIFFE X.509- and JWT-SVIDs,
// short-lived and renewed by themselves, and people theirs.
//
// Guarantee: the root key is on disk only sealed, and signs nothing but
// intermediates; an SVID lasts an hour unless told otherwise and names exactly one
// SPIFFE ID of the trust domain. What verifies is published before it signs, and stays until nothing
// that it signed is valid. While control is away, the last SVID and bundle stand until they end.
// Which process gets which SVID is decided by the launcher, which
// made the process and its socket. People are below internal/ and put together in Users: accounts, pages,
// the OpenID provider, red flags.
package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/pki"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wire"
)

// DefaultSVIDLife is the life of an X.509-SVID.
const DefaultSVIDLife = time.Hour

// Lives of what the authority signs with.
const (
	rootLife         = 10 * 365 * 24 * time.Hour
	intermediateLife = 7 * 24 * time.Hour
	// linkFactor is how much longer the certificates of Ward's own connections live: at least an hour and a half of the
	// default must be left whenever control goes away.
	linkFactor = 4
	// maxSVIDLife keeps an SVID from outliving the intermediate that signed it, which is renewed at half its life.
	maxSVIDLife = intermediateLife / 2
	// rootNotice is how long a new root is in the bundle before it signs.
	rootNotice = 24 * time.Hour
	// maxRoots bounds the bundle, whatever the clock does.
	maxRoots = 4
)

// AuthorityConfig is what an Authority needs.
type AuthorityConfig struct {
	Dir         string       // its own folder; made if absent
	Key         secret.Bytes // seals what lies in Dir
	TrustDomain string
	SVIDLife    time.Duration // 0 for DefaultSVIDLife; at most half the life of an intermediate
	Clock       clock.Clock   // nil for the system's
	// Issued is told of every certificate; may be nil.
	Issued func(id, serial string, notAfter time.Time)
}

// Authority signs SVIDs. Its methods are safe for concurrent use.
type Authority struct {
	config AuthorityConfig

	mu           sync.Mutex
	roots        []*issuer // guarded by mu: newest first, never empty
	intermediate *issuer   // guarded by mu
	jwt          []*jwtKey // guarded by mu: newest first, never empty
	sequence     uint64    // guarded by mu
}

// issuer is a certificate with its key.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	from time.Time // when it begins to sign
}

func (i *issuer) validAt(t time.Time) bool {
	return !t.Before(i.cert.NotBefore) && t.Before(i.cert.NotAfter)
}

// sealedState is what lies on disk, sealed.
type sealedState struct {
	Roots    []sealedRoot   `json:"roots"`
	JWT      []sealedJWTKey `json:"jwt"`
	Sequence uint64         `json:"sequence"`
}

type sealedRoot struct {
	Cert []byte    `json:"cert"`
	Key  []byte    `json:"key"`
	From time.Time `json:"from"`
}

type sealedJWTKey struct {
	Key  []byte    `json:"key"`
	From time.Time `json:"from"`
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
	if c.SVIDLife < 0 || c.SVIDLife > maxSVIDLife {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("an SVID lives at most %s", maxSVIDLife))
	}
	if _, err := spiffeid.TrustDomainFromString(c.TrustDomain); err != nil {
		return nil, fault.Wrap(fault.Invalid, "not a SPIFFE trust domain", err)
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
	now := a.config.Clock.Now()
	root, err := a.newRoot(now, now)
	if err != nil {
		return err
	}
	key, err := newJWTKey(now)
	if err != nil {
		return err
	}
	a.roots, a.jwt, a.sequence = []*issuer{root}, []*jwtKey{key}, 1
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
	if len(s.Roots) == 0 || len(s.JWT) == 0 {
		return fault.New(fault.Refused, "control's state holds no keys; remove the .ward folder to begin anew")
	}
	for _, r := range s.Roots {
		cert, err := x509.ParseCertificate(r.Cert)
		if err != nil {
			return err
		}
		key, err := parseKey(r.Key)
		if err != nil {
			return err
		}
		if len(cert.URIs) != 1 || cert.URIs[0].Host != a.config.TrustDomain {
			return fault.New(fault.Refused, "control's state belongs to another trust domain; remove the .ward folder to begin anew")
		}
		a.roots = append(a.roots, &issuer{cert, key, r.From})
	}
	for _, j := range s.JWT {
		k, err := parseKey(j.Key)
		if err != nil {
			return err
		}
		a.jwt = append(a.jwt, jwtKeyOf(k, j.From))
	}
	a.sequence = s.Sequence
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
	s := sealedState{Sequence: a.sequence}
	for _, r := range a.roots {
		der, err := x509.MarshalPKCS8PrivateKey(r.key)
		if err != nil {
			return err
		}
		s.Roots = append(s.Roots, sealedRoot{Cert: r.cert.Raw, Key: der, From: r.from})
	}
	for _, j := range a.jwt {
		der, err := x509.MarshalPKCS8PrivateKey(j.key)
		if err != nil {
			return err
		}
		s.JWT = append(s.JWT, sealedJWTKey{Key: der, From: j.from})
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
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, a.path()); err != nil {
		return err
	}
	return syncDir(a.config.Dir)
}

// syncDir makes a rename last through a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
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
	root, err := a.signingRoot(now)
	if err != nil {
		return nil, err
	}
	if i := a.intermediate; i != nil && i.validAt(now) && now.Before(i.cert.NotAfter.Add(-intermediateLife/2)) && i.from.Equal(root.cert.NotBefore) {
		return i, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := a.caTemplate("Ward intermediate CA of "+a.config.TrustDomain, now, intermediateLife)
	t.MaxPathLenZero = true
	cert, err := sign(t, root.cert, key.Public(), root.key)
	if err != nil {
		return nil, err
	}
	a.intermediate = &issuer{cert, key, root.cert.NotBefore}
	return a.intermediate, nil
}

// ownID is a SPIFFE ID of a workload of this trust domain (SPIFFE-ID §2).
func (a *Authority) ownID(s string) (spiffeid.ID, error) {
	id, err := spiffeid.FromString(s)
	if err != nil || id.TrustDomain().Name() != a.config.TrustDomain || id.Path() == "" || len(s) > 2048 {
		return spiffeid.ID{}, fault.Wrap(fault.Invalid, "not a SPIFFE ID of this trust domain", err)
	}
	return id, nil
}

// SignX509 issues an X.509-SVID. dnsNames are for the gateway's own certificate, empty otherwise.
func (a *Authority) SignX509(r wire.SignRequest, dnsNames ...string) (wire.SignReply, error) {
	id, err := a.ownID(r.ID)
	if err != nil {
		return wire.SignReply{}, err
	}
	csr, err := x509.ParseCertificateRequest(r.CSR)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
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
	life := a.config.SVIDLife
	if r.Link {
		life = min(linkFactor*life, maxSVIDLife)
	}
	t := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{Organization: []string{"Ward"}, CommonName: commonName(id)},
		// Clocks differ; yet half of a short life must not lie in the past.
		NotBefore:   now.Add(-min(pki.Leeway, life/10)),
		NotAfter:    now.Add(life),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{id.URL()}, DNSNames: dnsNames, BasicConstraintsValid: true,
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

// commonName is for people who read certificates; it has 64 characters at most (RFC 5280, ub-common-name).
func commonName(id spiffeid.ID) string {
	name := id.Path()[strings.LastIndexByte(id.Path(), '/')+1:]
	return name[:min(len(name), 64)]
}

// Bundle is the trust bundle: the roots, and the keys that verify JWT-SVIDs.
func (a *Authority) Bundle() (wire.Bundle, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.config.Clock.Now()
	if _, err := a.signingRoot(now); err != nil {
		return wire.Bundle{}, err
	}
	a.rotateJWT(now)
	jwks, err := a.jwks()
	if err != nil {
		return wire.Bundle{}, err
	}
	b := wire.Bundle{Sequence: a.sequence, JWKS: jwks}
	for _, r := range a.roots {
		b.X509 = append(b.X509, r.cert.Raw)
	}
	return b, nil
}

// RootPEM is for people who want to trust the gateway's certificate.
func (a *Authority) RootPEM() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []byte
	for _, r := range a.roots {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.cert.Raw})...)
	}
	return out
}
