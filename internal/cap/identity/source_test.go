package identity

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/pki"
)

// TestControlAwayForAnHour: certificates serve to their end, control isn't stormed, and all is well again soon
// after it is back.
func TestControlAwayForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newControl(t, clock.System{}, 0)
		s := newTestSource(t, k, clock.System{}, "a")
		keep(t, s)
		synctest.Wait()
		first, err := s.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		k.away.Store(true)
		time.Sleep(59 * time.Minute)
		if c, err := s.Certificate(); err != nil || c != first {
			t.Fatalf("within its life: %v", err)
		}
		if n := k.signed.Load(); n > 10+36*60/5 {
			t.Errorf("control was asked %d times in half an hour", n)
		}
		time.Sleep(2 * time.Minute)
		before := k.signed.Load()
		for range 1000 {
			if _, err := s.Certificate(); err == nil {
				t.Fatal("a certificate beyond its end")
			}
		}
		if n := k.signed.Load() - before; n > 1 {
			t.Errorf("1000 connections asked control %d times", n)
		}
		k.away.Store(false)
		time.Sleep(maxPause + time.Millisecond)
		if c, err := s.Certificate(); err != nil || c == first {
			t.Errorf("control is back: %v", err)
		}
	})
}

func TestRenewalIsAroundHalfTheLifeAndSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newControl(t, clock.System{}, 0)
		when := map[time.Duration]bool{}
		for i := range 20 {
			s := newTestSource(t, k, clock.System{}, fmt.Sprint("s", i))
			c, err := s.Certificate()
			if err != nil {
				t.Fatal(err)
			}
			due := time.Until(s.due)
			if due < 23*time.Minute || due > 31*time.Minute {
				t.Errorf("renewed after %s of %s", due, time.Until(c.Leaf.NotAfter))
			}
			when[due] = true
			if i == 0 {
				keep(t, s)
				synctest.Wait()
				time.Sleep(due + time.Second)
				synctest.Wait()
				if got, err := s.Certificate(); err != nil || got == c {
					t.Errorf("not renewed when due: %v", err)
				}
			}
		}
		if len(when) < 15 {
			t.Errorf("20 SVIDs are renewed at %d different times", len(when))
		}
	})
}

// TestClockJumpsWithHandshakesGoingOn: the clock passes the end of SVID, intermediate and root while two services
// connect to each other all the time; no handshake fails.
func TestClockJumpsWithHandshakesGoingOn(t *testing.T) {
	now := newTestClock()
	k := newControl(t, now, 0)
	// Two hosts: each has a bundle of its own.
	a, b := newTestSource(t, k, now, "a"), newTestSource(t, k, now, "b")
	keep(t, a)
	keep(t, b)
	server := pki.Server(now, testDomain, b.Roots, func(string) (pki.Source, error) { return b, nil })
	stop := make(chan struct{})
	var owned sync.WaitGroup
	var mu sync.Mutex
	done, failed := 0, []error{}
	for range 4 {
		owned.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := handshake(pki.Client(now, a, testDomain, b.ID(), "p1.b."+testDomain), server)
				mu.Lock()
				if done++; err != nil {
					failed = append(failed, err)
				}
				mu.Unlock()
			}
		})
	}
	for _, jump := range []time.Duration{40 * time.Minute, 2 * time.Hour, 8 * 24 * time.Hour, -3 * 24 * time.Hour, rootLife / 2, 25 * time.Hour, rootLife + time.Hour, 90 * time.Minute} {
		for start := handshakes(&mu, &done); handshakes(&mu, &done) < start+20; {
			time.Sleep(time.Millisecond)
		}
		now.add(jump)
	}
	close(stop)
	owned.Wait()
	if len(failed) > 0 {
		t.Errorf("%d of %d handshakes failed; the first: %v", len(failed), done, failed[0])
	}
	t.Logf("%d handshakes, %d certificates", done, k.signed.Load())
}

func handshakes(mu *sync.Mutex, n *int) int {
	mu.Lock()
	defer mu.Unlock()
	return *n
}

// handshake runs both sides of a connection; the error is the server's or the client's.
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
	defer s.Close()
	result := make(chan error, 1)
	go func() {
		t := tls.Server(s, server)
		err := t.Handshake()
		if err == nil {
			_, err = t.Write([]byte("x"))
		}
		if err != nil {
			s.Close()
		}
		result <- err
	}()
	t := tls.Client(c, client)
	_, err = t.Read(make([]byte, 1)) // with TLS 1.3 the server's verdict comes after the client's handshake
	c.Close()
	return errors.Join(err, <-result)
}

func TestManyCallersShareOneRenewal(t *testing.T) {
	now := newTestClock()
	k := newControl(t, now, 0)
	s := newTestSource(t, k, now, "a")
	for range 3 {
		before := k.signed.Load()
		var owned sync.WaitGroup
		for range 32 {
			owned.Go(func() {
				if _, err := s.Certificate(); err != nil {
					t.Error(err)
				}
			})
		}
		owned.Wait()
		if n := k.signed.Load() - before; n != 1 {
			t.Errorf("%d certificates for one renewal", n)
		}
		now.add(2 * time.Hour)
	}
}

func TestJWTIsReusedToHalfItsLifePerAudience(t *testing.T) {
	now := newTestClock()
	k := newControl(t, now, 0)
	s := newTestSource(t, k, now, "a")
	get := func(audience ...string) string {
		t.Helper()
		token, err := s.JWT(t.Context(), audience)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	first := get("x")
	now.add(jwtLife/2 - time.Second)
	if get("x") != first {
		t.Error("a token with more than half its life left wasn't used again")
	}
	if get("y") == first || get("x", "y") == first {
		t.Error("another audience got the same token")
	}
	now.add(2 * time.Second)
	if get("x") == first {
		t.Error("a token past half its life was used again")
	}
	now.add(-time.Hour)
	if get("x") == first {
		t.Error("a token from the future was used again")
	}
}

func TestOneServiceCannotExhaustControlWithAudiences(t *testing.T) {
	now := newTestClock()
	k := newControl(t, now, 0)
	s := newTestSource(t, k, now, "a")
	refused := 0
	for i := range 1000 {
		if _, err := s.JWT(t.Context(), []string{fmt.Sprint("aud", i)}); is(err, fault.Exhausted) {
			refused++
		}
		now.add(10 * time.Millisecond)
	}
	if n := k.tokens.Load(); n > tokenBurst+10*tokensASecond+1 || refused+int(n) != 1000 {
		t.Errorf("control made %d tokens in ten seconds, %d refused", n, refused)
	}
	if len(s.tokens.kept) > maxTokens {
		t.Errorf("%d tokens are kept", len(s.tokens.kept))
	}
}

func TestWhatControlSendsIsChecked(t *testing.T) {
	now := newTestClock()
	k := newControl(t, now, 0)
	bundles, err := NewBundles(t.Context(), k, now)
	if err != nil {
		t.Fatal(err)
	}
	for name, i := range map[string]Issuer{
		"another service's certificate": &lying{control: k, id: "spiffe://" + testDomain + "/svc/b"},
		"a certificate of another key":  &lying{control: k, csr: newCSR(t)},
		"a rogue authority's":           &lying{control: k, other: newControl(t, now, 0)},
	} {
		s := NewSource("spiffe://"+testDomain+"/svc/a", i, bundles, now)
		if c, err := s.Certificate(); err == nil {
			t.Errorf("%s was taken: %s", name, c.Leaf.URIs[0])
		} else if !strings.Contains(err.Error(), "get SVID of") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
