package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/pki"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wire"
)

// TestCertificatesFollowX509SVID checks what the X509-SVID standard (§2–4) and RFC 5280 ask of each certificate.
func TestCertificatesFollowX509SVID(t *testing.T) {
	k := newControl(t, newTestClock(), 0)
	chain := sign1(t, k.Authority, strings.Repeat("a", 63))
	if len(chain) != 2 {
		t.Fatalf("%d certificates, want leaf and intermediate", len(chain))
	}
	root, err := x509.ParseCertificate(k.roots[0].cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	leaf, between := chain[0], chain[1]
	critical := func(c *x509.Certificate, oid ...int) bool {
		i := slices.IndexFunc(c.Extensions, func(e pkixExtension) bool { return e.Id.Equal(asn1.ObjectIdentifier(oid)) })
		return i >= 0 && c.Extensions[i].Critical
	}
	for what, ok := range map[string]bool{
		"leaf is no CA":                   !leaf.IsCA && leaf.BasicConstraintsValid,
		"leaf signs digitally, only":      leaf.KeyUsage == x509.KeyUsageDigitalSignature,
		"leaf is for both TLS sides":      slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth),
		"leaf has one URI, no DNS name":   len(leaf.URIs) == 1 && len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses) == 0,
		"leaf's common name is bounded":   len(leaf.Subject.CommonName) <= 64,
		"leaf's usage is critical":        critical(leaf, 2, 5, 29, 15),
		"intermediate's usage, too":       critical(between, 2, 5, 29, 15) && critical(between, 2, 5, 29, 19),
		"intermediate signs, only":        between.KeyUsage == x509.KeyUsageCertSign|x509.KeyUsageCRLSign,
		"intermediate signs leaves, only": between.IsCA && between.MaxPathLenZero && between.MaxPathLen == 0,
		"root has a path of one":          root.IsCA && root.MaxPathLen == 1,
		"signers name the domain only":    between.URIs[0].Path == "" && root.URIs[0].Path == "",
		"key identifiers form a chain":    bytes.Equal(leaf.AuthorityKeyId, between.SubjectKeyId) && bytes.Equal(between.AuthorityKeyId, root.SubjectKeyId) && len(root.SubjectKeyId) > 0,
		"root signed itself":              root.CheckSignatureFrom(root) == nil,
		"serials are positive, 9+ octets": leaf.SerialNumber.Sign() > 0 && between.SerialNumber.BitLen() > 64,
		"every key is P-256":              isP256(leaf) && isP256(between) && isP256(root),
		"leaf ends before its signer":     leaf.NotAfter.Before(between.NotAfter),
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
	if _, _, err := x509svid.Verify(chain, &bundleOf{t, k.Authority}, x509svid.WithTime(k.config.Clock.Now())); err != nil {
		t.Errorf("go-spiffe refuses the chain: %v", err)
	}
}

func isP256(c *x509.Certificate) bool {
	k, ok := c.PublicKey.(*ecdsa.PublicKey)
	return ok && k.Curve == elliptic.P256()
}

func TestRequestsThatAreNotSigned(t *testing.T) {
	k := newControl(t, newTestClock(), 0)
	good := newCSR(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wrongCurve, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, p384)
	if err != nil {
		t.Fatal(err)
	}
	unsigned := bytes.Clone(good)
	unsigned[len(unsigned)-1] ^= 1
	id := "spiffe://" + testDomain + "/svc/a"
	for name, r := range map[string]wire.SignRequest{
		"another trust domain":     {ID: "spiffe://other.internal/svc/a", CSR: good},
		"domain with a longer end": {ID: "spiffe://shop.internal.evil/svc/a", CSR: good},
		"no path":                  {ID: "spiffe://" + testDomain, CSR: good},
		"an empty segment":         {ID: "spiffe://" + testDomain + "//a", CSR: good},
		"a dot segment":            {ID: "spiffe://" + testDomain + "/svc/../ward/gateway", CSR: good},
		"an escape":                {ID: "spiffe://" + testDomain + "/svc/%61", CSR: good},
		"a query":                  {ID: id + "?x", CSR: good},
		"a port":                   {ID: "spiffe://" + testDomain + ":1/svc/a", CSR: good},
		"too long":                 {ID: "spiffe://" + testDomain + "/" + strings.Repeat("a", 2048), CSR: good},
		"no request":               {ID: id},
		"an unsigned request":      {ID: id, CSR: unsigned},
		"another curve":            {ID: id, CSR: wrongCurve},
	} {
		if _, err := k.Authority.SignX509(r); !is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, r := range map[string]wire.JWTRequest{
		"no audience":          {ID: id},
		"an empty audience":    {ID: id, Audience: []string{""}},
		"a long audience":      {ID: id, Audience: []string{strings.Repeat("a", 257)}},
		"many audiences":       {ID: id, Audience: slices.Repeat([]string{"a"}, 17)},
		"another trust domain": {ID: "spiffe://other/svc/a", Audience: []string{"a"}},
		"a dot segment":        {ID: id + "/../b", Audience: []string{"a"}},
	} {
		if _, err := k.Authority.SignJWT(r); !is(err, fault.Invalid) {
			t.Errorf("JWT, %s: %v", name, err)
		}
	}
	if _, err := OpenAuthority(AuthorityConfig{Dir: t.TempDir(), Key: testKey, TrustDomain: testDomain, SVIDLife: 5 * 24 * time.Hour}); !is(err, fault.Invalid) {
		t.Errorf("SVIDs that outlive their signer: %v", err)
	}
}

func TestStateOutlivesARestart(t *testing.T) {
	dir, now := t.TempDir(), newTestClock()
	c := AuthorityConfig{Dir: dir, Key: testKey, TrustDomain: testDomain, Clock: now}
	a, err := OpenAuthority(c)
	if err != nil {
		t.Fatal(err)
	}
	chain, token := sign1(t, a, "a"), jwtFor(t, a, "x")
	b, err := OpenAuthority(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Verify(chain, rootsOf(t, b), testDomain, now.Now()); err != nil {
		t.Errorf("an SVID from before: %v", err)
	}
	if !knowsKeyOf(t, b, token) {
		t.Error("the key of a JWT-SVID from before is gone")
	}
	sealed, err := os.ReadFile(filepath.Join(dir, "authority.sealed"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("root")) || bytes.Contains(sealed, a.roots[0].cert.Raw) {
		t.Error("the state lies open")
	}
	other := c
	other.Key = secret.New(bytes.Repeat([]byte{4}, secret.KeySize))
	if _, err := OpenAuthority(other); !is(err, fault.Refused) {
		t.Errorf("another key: %v", err)
	}
	other = c
	other.TrustDomain = "other.internal"
	if _, err := OpenAuthority(other); !is(err, fault.Refused) {
		t.Errorf("another trust domain: %v", err)
	}
	sealed[40] ^= 1
	if err := os.WriteFile(a.path(), sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(c); !is(err, fault.Refused) {
		t.Errorf("changed state: %v", err)
	}
}

// TestRotationOverlaps lets the clock pass half the life of each signer: what was signed before stays valid to
// its end, and no bundle ever lacks a signer.
func TestRotationOverlaps(t *testing.T) {
	for name, step := range map[string]time.Duration{"intermediate": intermediateLife/2 + time.Minute, "root": rootLife/2 + rootNotice} {
		t.Run(name, func(t *testing.T) {
			now := newTestClock()
			k := newControl(t, now, 0)
			sign1(t, k.Authority, "a")
			now.add(step - 30*time.Minute)
			before, roots := sign1(t, k.Authority, "a"), rootsOf(t, k.Authority)
			now.add(30 * time.Minute)
			after := sign1(t, k.Authority, "a")
			if name == "intermediate" && after[1].Equal(before[1]) {
				t.Error("the intermediate wasn't renewed")
			}
			for what, chain := range map[string][]*x509.Certificate{"before": before, "after": after} {
				if _, err := pki.Verify(chain, rootsOf(t, k.Authority), testDomain, now.Now()); err != nil {
					t.Errorf("SVID of %s, new bundle: %v", what, err)
				}
				if _, err := pki.Verify(chain, roots, testDomain, now.Now()); err != nil {
					t.Errorf("SVID of %s, bundle from before: %v", what, err)
				}
			}
		})
	}
}

func TestNewRootIsPublishedBeforeItSigns(t *testing.T) {
	now := newTestClock()
	k := newControl(t, now, 0)
	first := k.roots[0].cert
	now.add(rootLife/2 + time.Hour)
	chain := sign1(t, k.Authority, "a")
	if len(k.roots) != 2 || !bytes.Equal(chain[1].AuthorityKeyId, first.SubjectKeyId) {
		t.Fatalf("%d roots; the old one must sign for a day", len(k.roots))
	}
	now.add(rootNotice)
	if chain = sign1(t, k.Authority, "a"); !bytes.Equal(chain[1].AuthorityKeyId, k.roots[0].cert.SubjectKeyId) || len(k.roots) != 2 {
		t.Error("the new root doesn't sign after a day")
	}
	now.add(rootLife / 2)
	if sign1(t, k.Authority, "a"); len(k.roots) != 2 || slices.ContainsFunc(k.roots, func(r *issuer) bool { return r.cert.Equal(first) }) {
		t.Error("the first root is still in the bundle after its end")
	}
}

func TestJWTKeysOverlap(t *testing.T) {
	now := newTestClock()
	k := newControl(t, now, 0)
	seen := map[string]bool{}
	for range 60 * 24 / 10 * 3 { // three days, ten minutes a step
		b, err := k.Authority.Bundle()
		if err != nil {
			t.Fatal(err)
		}
		token := jwtFor(t, k.Authority, "x")
		seen[kidOf(t, token)] = true
		if !hasKid(t, b, kidOf(t, token)) {
			t.Fatal("a token was signed by a key that the bundle didn't hold just before")
		}
		now.add(jwtLife - time.Second)
		if !knowsKeyOf(t, k.Authority, token) {
			t.Fatal("a key left the bundle while its token was valid")
		}
		now.add(10*time.Minute - jwtLife + time.Second)
		if len(k.jwt) > 2 {
			t.Fatalf("%d keys", len(k.jwt))
		}
	}
	if len(seen) != 3 && len(seen) != 4 {
		t.Errorf("%d keys in three days", len(seen))
	}
}

// TestClockMayJump goes far forth and back: there are always signers that are valid.
func TestClockMayJump(t *testing.T) {
	now := newTestClock()
	k := newControl(t, now, 0)
	for _, d := range []time.Duration{2 * time.Hour, 8 * 24 * time.Hour, -30 * 24 * time.Hour, rootLife + 24*time.Hour, -rootLife, rootLife / 2, rootLife, -3 * rootLife, rootLife, rootLife} {
		now.add(d)
		chain := sign1(t, k.Authority, "a")
		if _, err := pki.Verify(chain, rootsOf(t, k.Authority), testDomain, now.Now()); err != nil {
			t.Errorf("after %s: %v", d, err)
		}
		token := jwtFor(t, k.Authority, "x")
		if !knowsKeyOf(t, k.Authority, token) {
			t.Errorf("after %s: the JWT's key isn't in the bundle", d)
		}
		if len(k.roots) > maxRoots || len(k.jwt) > maxJWTKeys {
			t.Errorf("%d roots, %d keys", len(k.roots), len(k.jwt))
		}
	}
}

func TestFullDiskDoesNotStopSigning(t *testing.T) {
	now := newTestClock()
	k := newControl(t, now, 0)
	if err := os.Mkdir(k.path()+".new", 0o700); err != nil { // saving fails, for root too
		t.Fatal(err)
	}
	now.add(rootLife/2 + 48*time.Hour)
	sequence := k.sequence
	sign1(t, k.Authority, "a")
	if !knowsKeyOf(t, k.Authority, jwtFor(t, k.Authority, "x")) || k.sequence != sequence || len(k.roots) != 1 || len(k.jwt) != 1 {
		t.Error("keys that weren't saved are in use")
	}
}

// bundleOf is an authority as go-spiffe's bundle source.
type bundleOf struct {
	t testing.TB
	a *Authority
}

func jwtFor(t testing.TB, a *Authority, audience string) string {
	t.Helper()
	r, err := a.SignJWT(wire.JWTRequest{ID: "spiffe://" + testDomain + "/svc/a", Audience: []string{audience}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Token
}

func knowsKeyOf(t testing.TB, a *Authority, token string) bool {
	t.Helper()
	b, err := a.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	return hasKid(t, b, kidOf(t, token))
}

func hasKid(t testing.TB, b wire.Bundle, kid string) bool {
	t.Helper()
	keys, err := jwtbundle.Parse(spiffeid.RequireTrustDomainFromString(testDomain), b.JWKS)
	if err != nil {
		t.Fatal(err)
	}
	_, ok := keys.FindJWTAuthority(kid)
	return ok
}
