package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
)

const domain = "shop.internal"

// authority is a root and an intermediate of a test's own.
type authority struct {
	root, between       *x509.Certificate
	rootKey, betweenKey *ecdsa.PrivateKey
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t testing.TB, c, parent *x509.Certificate, pub any, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func caTemplate(now time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
}

func newAuthority(t testing.TB, now time.Time) *authority {
	t.Helper()
	a := &authority{rootKey: newKey(t), betweenKey: newKey(t)}
	a.root = sign(t, caTemplate(now), caTemplate(now), a.rootKey.Public(), a.rootKey)
	between := caTemplate(now)
	between.Subject.CommonName = "test intermediate"
	a.between = sign(t, between, a.root, a.betweenKey.Public(), a.rootKey)
	return a
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.root)
	return p
}

// leaf signs a certificate that change has made different from a right one.
func (a *authority) leaf(t testing.TB, now time.Time, id string, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	u, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, URIs: []*url.URL{u}, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(c)
	}
	key := newKey(t)
	leaf := sign(t, c, a.between, key.Public(), a.betweenKey)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, a.between.Raw}, PrivateKey: key, Leaf: leaf}
}

// refusals are certificates that no peer may take.
func refusals(t testing.TB, a *authority, now time.Time) map[string]tls.Certificate {
	t.Helper()
	good := "spiffe://" + domain + "/svc/a"
	rogue := newAuthority(t, now)
	uri := func(s string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = []*url.URL{u}
		}
	}
	deep := a.leaf(t, now, good, nil)
	for range maxChain {
		deep.Certificate = append(deep.Certificate, a.between.Raw)
	}
	caSigned := a.leaf(t, now, good, nil)
	caSigned.Certificate = caSigned.Certificate[:1]
	selfKey := newKey(t)
	selfLeaf := *a.leaf(t, now, good, nil).Leaf
	selfLeaf.PublicKey = nil
	selfSigned := sign(t, &selfLeaf, &selfLeaf, selfKey.Public(), selfKey)
	underLeaf := a.leaf(t, now, good, nil)
	signedByLeaf := sign(t, &selfLeaf, underLeaf.Leaf, selfKey.Public(), underLeaf.PrivateKey.(*ecdsa.PrivateKey))
	return map[string]tls.Certificate{
		"a rogue CA":                 rogue.leaf(t, now, good, nil),
		"self-signed":                {Certificate: [][]byte{selfSigned.Raw}, PrivateKey: selfKey, Leaf: selfSigned},
		"signed by another SVID":     {Certificate: [][]byte{signedByLeaf.Raw, underLeaf.Certificate[0], a.between.Raw}, PrivateKey: selfKey, Leaf: signedByLeaf},
		"expired":                    a.leaf(t, now, good, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-time.Hour), now.Add(-Leeway-time.Second) }),
		"not valid yet":              a.leaf(t, now, good, func(c *x509.Certificate) { c.NotBefore = now.Add(Leeway + 2*time.Second) }),
		"another trust domain":       a.leaf(t, now, "spiffe://other.internal/svc/a", nil),
		"a domain that begins alike": a.leaf(t, now, "spiffe://shop.internal.evil/svc/a", nil),
		"a CA as leaf": a.leaf(t, now, good, func(c *x509.Certificate) {
			c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
		}),
		"a CA without its usage":    a.leaf(t, now, good, func(c *x509.Certificate) { c.IsCA = true }),
		"a leaf that may sign":      a.leaf(t, now, good, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }),
		"a leaf that may sign CRLs": a.leaf(t, now, good, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }),
		"no digital signature":      a.leaf(t, now, good, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }),
		"two URIs": a.leaf(t, now, good, func(c *x509.Certificate) {
			c.URIs = append(c.URIs, &url.URL{Scheme: "spiffe", Host: domain, Path: "/svc/b"})
		}),
		"no URI":              a.leaf(t, now, good, func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"a"} }),
		"another scheme":      a.leaf(t, now, good, uri("https://"+domain+"/svc/a")),
		"no path":             a.leaf(t, now, good, uri("spiffe://"+domain)),
		"an empty segment":    a.leaf(t, now, good, uri("spiffe://"+domain+"/svc//a")),
		"a slash at the end":  a.leaf(t, now, good, uri("spiffe://"+domain+"/svc/a/")),
		"a dot segment":       a.leaf(t, now, good, uri("spiffe://"+domain+"/svc/../a")),
		"an escape":           a.leaf(t, now, good, uri("spiffe://"+domain+"/svc/%61")),
		"a query":             a.leaf(t, now, good, uri("spiffe://"+domain+"/svc/a?b")),
		"an empty query":      a.leaf(t, now, good, uri("spiffe://"+domain+"/svc/a?")),
		"a fragment":          a.leaf(t, now, good, uri("spiffe://"+domain+"/svc/a#b")),
		"a user":              a.leaf(t, now, good, uri("spiffe://u@"+domain+"/svc/a")),
		"a port":              a.leaf(t, now, good, uri("spiffe://"+domain+":1/svc/a")),
		"without its issuer":  caSigned,
		"a chain of too many": deep,
	}
}

// TestVerifyRefuses and the handshakes below use the same certificates: what Verify refuses, TLS refuses on both sides.
func TestVerifyRefuses(t *testing.T) {
	now := time.Now()
	a := newAuthority(t, now)
	for name, c := range refusals(t, a, now) {
		if id, err := Verify(parse(t, c), a.pool(), domain, now); err == nil {
			t.Errorf("%s: taken as %s", name, id)
		}
	}
	if _, err := Verify(nil, a.pool(), domain, now); err == nil {
		t.Error("no certificate at all was taken")
	}
}

func TestVerifyTakes(t *testing.T) {
	now := time.Now()
	a := newAuthority(t, now)
	good := "spiffe://" + domain + "/svc/a"
	for name, c := range map[string]tls.Certificate{
		"a right one":                     a.leaf(t, now, good, nil),
		"one that has just ended":         a.leaf(t, now, good, func(c *x509.Certificate) { c.NotAfter = now.Add(2*time.Second - Leeway) }),
		"one of a clock a little forward": a.leaf(t, now, good, func(c *x509.Certificate) { c.NotBefore = now.Add(Leeway - 2*time.Second) }),
		"one with DNS names":              a.leaf(t, now, good, func(c *x509.Certificate) { c.DNSNames = []string{"localhost"} }),
	} {
		if id, err := Verify(parse(t, c), a.pool(), domain, now); err != nil || id != good {
			t.Errorf("%s: %q, %v", name, id, err)
		}
	}
}

func parse(t testing.TB, c tls.Certificate) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for _, der := range c.Certificate {
		p, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// fixed is a Source that never changes.
type fixed struct {
	cert tls.Certificate
	pool *x509.CertPool
}

func (f *fixed) Certificate() (*tls.Certificate, error) { return &f.cert, nil }
func (f *fixed) Roots() (*x509.CertPool, error)         { return f.pool, nil }

func handshake(client, server *tls.Config) error {
	// TCP and not net.Pipe: both sides may be sending at once.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		return err
	}
	result := make(chan error, 1)
	go func() {
		defer s.Close()
		t := tls.Server(s, server)
		err := t.Handshake()
		if err == nil {
			_, err = t.Write([]byte("x"))
		}
		result <- err
	}()
	_, err = tls.Client(c, client).Read(make([]byte, 1))
	c.Close()
	return errors.Join(err, <-result)
}

func TestHandshakes(t *testing.T) {
	now := time.Now()
	at := clock.Func(func() time.Time { return now })
	a := newAuthority(t, now)
	idA, idB := "spiffe://"+domain+"/svc/a", "spiffe://"+domain+"/svc/b"
	right := func(id string) *fixed { return &fixed{a.leaf(t, now, id, nil), a.pool()} }
	server := func(s Source) *tls.Config {
		return Server(at, domain, s.Roots, func(name string) (Source, error) {
			if !strings.HasPrefix(name, "p1.b.") {
				return nil, errors.New("not here")
			}
			return s, nil
		})
	}
	target := TargetName("b", 1, domain)
	if err := handshake(Client(at, right(idA), domain, idB, target), server(right(idB))); err != nil {
		t.Fatalf("right ones on both sides: %v", err)
	}
	for name, c := range refusals(t, a, now) {
		bad := &fixed{c, a.pool()}
		if err := handshake(Client(at, bad, domain, idB, target), server(right(idB))); err == nil {
			t.Errorf("%s: taken from a client", name)
		}
		if err := handshake(Client(at, right(idA), domain, idA, target), server(bad)); err == nil {
			t.Errorf("%s: taken from a server", name)
		}
	}
	for name, client := range map[string]*tls.Config{
		"the identity of another service": Client(at, right(idA), domain, "spiffe://"+domain+"/svc/c", target),
		"a target that isn't here":        Client(at, right(idA), domain, idB, TargetName("c", 1, domain)),
		"no certificate":                  {InsecureSkipVerify: true, ServerName: target},
		"TLS 1.2":                         downgraded(Client(at, right(idA), domain, idB, target)),
	} {
		if err := handshake(client, server(right(idB))); err == nil {
			t.Errorf("%s: the handshake came to an end", name)
		}
	}
}

func downgraded(c *tls.Config) *tls.Config {
	c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	return c
}

func TestNothingIsResumed(t *testing.T) {
	now := time.Now()
	at := clock.Func(func() time.Time { return now })
	a := newAuthority(t, now)
	idA, idB := "spiffe://"+domain+"/svc/a", "spiffe://"+domain+"/svc/b"
	b := &fixed{a.leaf(t, now, idB, nil), a.pool()}
	server := Server(at, domain, b.Roots, func(string) (Source, error) { return b, nil })
	client := Client(at, &fixed{a.leaf(t, now, idA, nil), a.pool()}, domain, idB, TargetName("b", 1, domain))
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	verify, resumed := client.VerifyConnection, false
	client.VerifyConnection = func(s tls.ConnectionState) error { resumed = resumed || s.DidResume; return verify(s) }
	for range 2 {
		if err := handshake(client, server); err != nil {
			t.Fatal(err)
		}
	}
	if resumed {
		t.Error("a session was resumed: it would outlive its certificate")
	}
}

func FuzzParseTargetName(f *testing.F) {
	f.Add("p8080.orders.shop.internal")
	f.Add("p0.x.shop.internal")
	f.Add("p08080.orders.shop.internal")
	f.Add("orders.shop.internal")
	f.Fuzz(func(t *testing.T, name string) {
		s, p, err := ParseTargetName(name, "shop.internal")
		if err == nil && TargetName(s, p, "shop.internal") != name {
			t.Fatalf("%q parses to %q and %d, which is another name", name, s, p)
		}
	})
}
