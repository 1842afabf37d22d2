package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wire"
)

const testDomain = "shop.internal"

var testKey = secret.New(bytes.Repeat([]byte{3}, secret.KeySize))

// testClock is a clock that tests set.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func newTestClock() *testClock { return &testClock{now: time.Now().Truncate(time.Second)} }

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// control is an authority as agents see it; it can be away.
type control struct {
	*Authority
	away   atomic.Bool
	signed atomic.Int64 // attempts
	tokens atomic.Int64
}

var errAway = fault.New(fault.Unavailable, "control doesn't answer")

func (c *control) SignX509(_ context.Context, r wire.SignRequest) (wire.SignReply, error) {
	c.signed.Add(1)
	if c.away.Load() {
		return wire.SignReply{}, errAway
	}
	return c.Authority.SignX509(r)
}

func (c *control) SignJWT(_ context.Context, r wire.JWTRequest) (wire.JWTReply, error) {
	c.tokens.Add(1)
	if c.away.Load() {
		return wire.JWTReply{}, errAway
	}
	return c.Authority.SignJWT(r)
}

func (c *control) Bundle(ctx context.Context, have string) (wire.Bundle, error) {
	for {
		if c.away.Load() {
			return wire.Bundle{}, errAway
		}
		b, err := c.Authority.Bundle()
		if err != nil || strconv.FormatUint(b.Sequence, 10) != have {
			return b, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return b, ctx.Err()
		}
	}
}

func newControl(t testing.TB, c clock.Clock, life time.Duration) *control {
	t.Helper()
	a, err := OpenAuthority(AuthorityConfig{Dir: t.TempDir(), Key: testKey, TrustDomain: testDomain, SVIDLife: life, Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	return &control{Authority: a}
}

func newTestSource(t testing.TB, k *control, c clock.Clock, name string) *Source {
	t.Helper()
	b, err := NewBundles(t.Context(), k, c)
	if err != nil {
		t.Fatal(err)
	}
	return NewSource("spiffe://"+testDomain+"/svc/"+name, k, b, c)
}

// keep runs what an agent runs for a source, until the test ends.
func keep(t testing.TB, s *Source) {
	ctx, stop := context.WithCancel(context.Background())
	var owned sync.WaitGroup
	owned.Go(func() { s.Follow(ctx) })
	owned.Go(func() { s.Keep(ctx) })
	t.Cleanup(func() { stop(); owned.Wait() })
}

// serve offers a source on a socket and returns its path.
func serve(t testing.TB, s *Source) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wl") // short: a socket's path holds 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- ServeWorkload(ctx, ln, s) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	return path
}

func newCSR(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func sign1(t testing.TB, a *Authority, name string) []*x509.Certificate {
	t.Helper()
	r, err := a.SignX509(wire.SignRequest{ID: "spiffe://" + testDomain + "/svc/" + name, CSR: newCSR(t)})
	if err != nil {
		t.Fatal(err)
	}
	var chain []*x509.Certificate
	for _, der := range r.Chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, c)
	}
	return chain
}

func rootsOf(t testing.TB, a *Authority) *x509.CertPool {
	t.Helper()
	b, err := a.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	for _, der := range b.X509 {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		pool.AddCert(c)
	}
	return pool
}

func is(err error, k fault.Kind) bool { return err != nil && fault.KindOf(err) == k }

type pkixExtension = pkix.Extension

// kidOf is the key that a token says it was signed with.
func kidOf(t testing.TB, token string) string {
	t.Helper()
	head, _, _ := strings.Cut(token, ".")
	b, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Kid string }
	if err := json.Unmarshal(b, &h); err != nil || h.Kid == "" {
		t.Fatalf("header %s: %v", b, err)
	}
	return h.Kid
}

// GetX509BundleForTrustDomain implements go-spiffe's x509bundle.Source.
func (b *bundleOf) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	got, err := b.a.Bundle()
	if err != nil {
		return nil, err
	}
	return x509bundle.ParseRaw(td, bytes.Join(got.X509, nil))
}

// lying is a control that answers with something else.
type lying struct {
	*control
	id    string
	csr   []byte
	other *control
}

func (l *lying) SignX509(ctx context.Context, r wire.SignRequest) (wire.SignReply, error) {
	if l.id != "" {
		r.ID = l.id
	}
	if l.csr != nil {
		r.CSR = l.csr
	}
	if l.other != nil {
		return l.other.SignX509(ctx, r)
	}
	return l.control.SignX509(ctx, r)
}
