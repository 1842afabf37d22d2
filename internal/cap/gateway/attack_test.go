package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// A client's own token (client_credentials) stands for no person, however "signed-in" its sub may look.
func TestClientsOwnTokenIsNobodys(t *testing.T) {
	e := newEdge(t)
	own := e.access(func(c map[string]any) {
		c["sub"], c["client_id"] = "reports", "reports"
		delete(c, "sid")
		delete(c, "groups")
	})
	if a := e.ask("localhost", "GET", "/own/x", "Authorization", "Bearer "+own); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a program passes for a person: %d %v", a.StatusCode, a.sent)
	}
	if a := e.ask("localhost", "GET", "/open/x", "Authorization", "Bearer "+own); a.StatusCode != http.StatusOK || a.sent.Get("Txn-Token") != "" {
		t.Errorf("open: %d %v", a.StatusCode, a.sent)
	}
}

// A second factor comes with a fresh cookie; who took the one before has nothing.
func TestTheCookieBeforeAStepUpIsWorthNothing(t *testing.T) {
	e := newEdge(t)
	e.signIn("before", "sid-new", wire.Person{ID: "u9"})
	if a := e.ask("localhost", "GET", "/own/x", "Cookie", "__Host-ward=before"); a.StatusCode != http.StatusOK {
		t.Fatal(a.StatusCode)
	}
	e.mu.Lock()
	delete(e.sessions, "before")
	e.mu.Unlock()
	e.ask("localhost", "GET", "/.ward/callback?code=good", "Cookie", "__Host-ward-flow=flow-secret; __Host-ward=before")
	for cookie, want := range map[string]int{"before": http.StatusUnauthorized, "fresh": http.StatusOK} {
		if a := e.ask("localhost", "GET", "/own/x", "Cookie", "__Host-ward="+cookie); a.StatusCode != want {
			t.Errorf("%s: %d", cookie, a.StatusCode)
		}
	}
}

// control answers for sessions as a test says.
type control struct {
	SignIn
	session func(context.Context) (wire.Session, error)
}

func (c control) Session(ctx context.Context, _ wire.SessionQuery) (wire.Session, error) {
	return c.session(ctx)
}

func (c control) SeeSessions(context.Context, wire.SessionsSeen) error { return nil }

func TestSessionsThatNobodyUsedAreAskedAboutAgain(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	over, asked := false, 0
	p := newPeople(control{session: func(context.Context) (wire.Session, error) {
		if asked++; over {
			return wire.Session{}, fault.New(fault.NotFound, "idle for too long")
		}
		return wire.Session{ID: "sid", Expires: now.Add(24 * time.Hour).Unix()}, nil
	}}, clock.Func(func() time.Time { return now }))
	p.setIdle(8 * time.Hour)
	look := func(use bool) bool {
		s, err := p.session(t.Context(), origin, "cookie")
		if s != nil && use {
			p.note(s, wire.Visitor{})
		}
		return s != nil && err == nil
	}
	for range 3 {
		if !look(true) {
			t.Fatal("not signed in")
		}
		now = now.Add(7 * time.Hour)
	}
	if asked != 1 {
		t.Errorf("control was asked %d times", asked)
	}
	over = true
	if !look(false) {
		t.Fatal("not signed in")
	}
	now = now.Add(time.Hour)
	if look(true) {
		t.Error("a session counts after 8 hours in which only an open page asked for news")
	}
}

// A browser that gives up its first request, as on a second click, doesn't sign its second one out.
func TestAQuestionOutlivesWhoAskedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		p := newPeople(control{session: func(ctx context.Context) (wire.Session, error) {
			select {
			case <-time.After(time.Second):
				return wire.Session{ID: "sid", Expires: time.Now().Add(time.Hour).Unix()}, err
			case <-ctx.Done():
				return wire.Session{}, ctx.Err()
			}
		}}, clock.System{})
		second := func() (s *session, err error) {
			first, give := context.WithCancel(t.Context())
			go func() { _, _ = p.session(first, origin, "cookie") }()
			synctest.Wait()
			go func() {
				time.Sleep(time.Millisecond)
				give()
			}()
			return p.session(t.Context(), origin, "cookie")
		}
		err = fault.New(fault.Unavailable, "away")
		if s, err := second(); s != nil || err == nil {
			t.Errorf("control is away, and the second is told that nobody is signed in: %v, %v", s, err)
		}
		err = nil
		if s, err := second(); s == nil || err != nil {
			t.Errorf("the second isn't signed in: %v", err)
		}
	})
}

func TestATokenCountsAtItsOwnOriginAlsoOnceItIsKnown(t *testing.T) {
	e := newEdge(t)
	token := e.access(nil)
	for _, tt := range []struct {
		host string
		want int
	}{{"127.0.0.1", http.StatusUnauthorized}, {"localhost", http.StatusOK}, {"127.0.0.1", http.StatusUnauthorized}} {
		if a := e.ask(tt.host, "GET", "/own/x", "Authorization", "Bearer "+token); a.StatusCode != tt.want {
			t.Errorf("%s: %d", tt.host, a.StatusCode)
		}
	}
}

// Programs use proofs and no sessions: what is remembered of proofs must end by itself, or all are refused for good.
func TestOldProofsAreForgottenWithoutSessions(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	p := newPeople(control{}, clock.Func(func() time.Time { return now }))
	p.proofs["key old"], p.proofs["key new"] = now.Add(-time.Second), now.Add(time.Second)
	p.report(t.Context(), true)
	if _, fresh := p.proofs["key new"]; len(p.proofs) != 1 || !fresh {
		t.Errorf("remembered: %v", p.proofs)
	}
}

func TestSignOutTellsTheTruth(t *testing.T) {
	e := newEdge(t)
	e.signIn("alice", "sid-a", wire.Person{ID: "u1"})
	for name, fields := range map[string][]string{
		"another site's form": {"Cookie", "__Host-ward=alice", "Sec-Fetch-Site", "cross-site"},
		"without a cookie":    {"Sec-Fetch-Site", "cross-site"},
	} {
		if a := e.ask("localhost", "POST", "/.ward/sign-out", fields...); a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s took the cookie: %v", name, a.Header)
		}
	}
	e.mu.Lock()
	e.away = true
	e.mu.Unlock()
	if a := e.ask("localhost", "POST", "/.ward/sign-out", "Cookie", "__Host-ward=alice"); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Set-Cookie") != "" {
		t.Errorf("signed out, they say, while nobody ended the session: %d %v", a.StatusCode, a.Header)
	}
	e.mu.Lock()
	e.away = false
	e.mu.Unlock()
	// What is left of a session that ended elsewhere goes.
	if a := e.ask("localhost", "POST", "/.ward/sign-out", "Cookie", "__Host-ward=stale", "Sec-Fetch-Site", "same-origin"); a.StatusCode != http.StatusSeeOther || a.Header.Get("Set-Cookie") == "" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
}

// A client's token is for calls in a person's name, not for the person's session.
func TestATokenEndsNoSession(t *testing.T) {
	e := newEdge(t)
	e.ask("localhost", "POST", "/.ward/sign-out", "Authorization", "Bearer "+e.access(nil))
	if len(e.ended) != 0 {
		t.Errorf("ended %v", e.ended)
	}
}

// What can't be returned to is no reason to refuse the sign-in.
func TestSignInReturnsToWhatControlTakes(t *testing.T) {
	e := newEdge(t)
	long := "/own/" + strings.Repeat("x", 5000)
	for _, tt := range []struct{ name, method, path, referer, want string }{
		{"a long address", "GET", long, "", "/"},
		{"a page whose path begins with two slashes", "POST", "/own/x", origin + "//evil.example/", "/"},
		{"a page with a backslash", "POST", "/own/x", origin + "/\\evil.example/", "/"},
		{"a page whose host only begins like this one's", "POST", "/own/x", "https://localhost:84430/own/y", "/"},
		{"a page with another user", "POST", "/own/x", origin + "@evil.example/own/y", "/"},
		{"its own page", "POST", "/own/x", origin + "/own/y?z=1", "/own/y?z=1"},
	} {
		fields := []string{"Sec-Fetch-Mode", "navigate"}
		if tt.referer != "" {
			fields = append(fields, "Referer", tt.referer)
		}
		a := e.ask("localhost", tt.method, tt.path, fields...)
		if got := e.begun[len(e.begun)-1].Return; a.StatusCode != http.StatusSeeOther || got != tt.want {
			t.Errorf("%s: %d, and back to %.60q", tt.name, a.StatusCode, got)
		}
	}
}

// A redirect to sign-in costs a write in control: no network gets as many as it likes, and others go on.
func TestNobodyBeginsSignInsWithoutEnd(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var b begins
	many := func(address string) (n int) {
		for range 2 * beginBurst {
			if b.take(address, now) {
				n++
			}
		}
		return n
	}
	if n := many("2001:db8::1") + many("2001:db8::2"); n != beginBurst {
		t.Errorf("%d at once from one network", n)
	}
	if n := many("192.0.2.1"); n != beginBurst {
		t.Errorf("%d from another", n)
	}
	now = now.Add(10 * beginPause)
	if n := many("192.0.2.1"); n != 10 {
		t.Errorf("%d later", n)
	}
	for i := range 2 * maxBegins {
		b.take(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String(), now)
	}
	if len(b.free) > maxBegins {
		t.Errorf("%d networks are remembered", len(b.free))
	}
	e := newEdge(t)
	e.g.begins.free = map[netip.Prefix]time.Time{netip.MustParsePrefix("127.0.0.1/32"): time.Now().Add(time.Hour)}
	for _, path := range []string{"/own/x", "/.ward/sign-in"} {
		a := e.ask("localhost", "GET", path, "Accept", "text/html")
		if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" || len(e.begun) != 0 {
			t.Errorf("%s: %d %v", path, a.StatusCode, a.Header)
		}
	}
}

// The service's own end judges a condition too, by the token, also where nobody signs in.
func TestConditionsCarryWhatTheyAskAboutWithoutUsers(t *testing.T) {
	e := newEdge(t)
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(`
app: shop
gateway: {listen: "127.0.0.1:8443"}
services:
  web: {run: [x], listen: "http://:8080", expose: {routes: ["GET /own/**"], to: anyone, when: "ip == '127.0.0.1'"}}
`))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	if err := e.g.SetPlan(plan.Build(m), "2026-01-01"); err != nil {
		t.Fatal(err)
	}
	a := e.ask("localhost", "GET", "/own/x", "Cookie", "a=b")
	if c := e.txn(a); c.IP != "127.0.0.1" || c.Person != nil || a.sent.Get("Cookie") != "a=b" {
		t.Errorf("%+v %v", c, a.sent)
	}
}

// stream opens one that the service never ends.
func (e *edge) stream(ctx context.Context, cookie string) io.ReadCloser {
	e.t.Helper()
	return e.streamBy(ctx, "Cookie", "__Host-ward="+cookie)
}

// streamBy is stream by any credentials.
func (e *edge) streamBy(ctx context.Context, field, value string) io.ReadCloser {
	e.t.Helper()
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", e.addr)
	}}}
	e.t.Cleanup(c.CloseIdleConnections)
	r, err := http.NewRequestWithContext(ctx, "GET", origin+"/own/stream", nil)
	if err != nil {
		e.t.Fatal(err)
	}
	r.Header.Set(field, value)
	resp, err := c.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		e.t.Fatal(resp, err)
	}
	return resp.Body
}

// What outlasts the time for draining is cut, which is no failure.
func TestWhatOutlastsDrainingIsCut(t *testing.T) {
	e := newEdge(t)
	e.signIn("alice", "sid-a", wire.Person{ID: "u1"})
	e.stream(t.Context(), "alice")
	var said bytes.Buffer
	e.g.config.Log = slog.New(slog.NewTextHandler(&said, nil))
	over, stop := context.WithCancel(t.Context())
	stop()
	e.g.Shutdown(over)
	if !strings.Contains(said.String(), `level=INFO msg="connections that were still open after draining were closed"`) {
		t.Error(said.String())
	}
}

// The connection's wrapping hides nothing: a client that goes frees the service at once, also while it says nothing.
func TestAClientThatGoesFreesTheService(t *testing.T) {
	e := newEdge(t)
	e.signIn("alice", "sid-a", wire.Person{ID: "u1"})
	ctx, leave := context.WithCancel(t.Context())
	e.stream(ctx, "alice")
	leave()
	select {
	case <-e.left:
	case <-time.After(10 * time.Second):
		t.Error("the service still works for nobody")
	}
}

// Who has stolen a cookie keeps nothing open once the session ends.
func TestWhatIsUnderWayEndsWithTheSession(t *testing.T) {
	e := newEdge(t)
	e.signIn("alice", "sid-a", wire.Person{ID: "u1"})
	e.signIn("bob", "sid-b", wire.Person{ID: "u2"})
	alice, bob := e.stream(t.Context(), "alice"), e.stream(t.Context(), "bob")
	e.tell("sid-a")
	if _, err := io.ReadAll(alice); err == nil {
		t.Error("the stream ended as if it were whole")
	}
	p := e.g.people
	p.mu.Lock()
	if len(p.open) != 1 || p.open[right{session: "sid-b"}] == nil {
		t.Errorf("under way: %v", p.open)
	}
	p.mu.Unlock()
	e.tell("sid-a", "sid-b")
	if _, err := io.ReadAll(bob); err == nil {
		t.Error("the stream ended as if it were whole")
	}
	if s := p.enter(right{session: "sid-a"}); s == nil || p.open[right{session: "sid-a"}] != nil {
		t.Error("a request that came just before the end is forgotten")
	} else {
		<-s.over
		p.leave(s)
	}
}

// A token that is revoked takes along what goes on by it, and nothing else of its session.
func TestWhatIsUnderWayEndsWithItsToken(t *testing.T) {
	e := newEdge(t)
	e.signIn("alice", "sid-a", wire.Person{ID: "u1"})
	cookie, token := e.stream(t.Context(), "alice"), e.streamBy(t.Context(), "Authorization", "Bearer "+e.access(nil))
	e.tell("j1")
	if _, err := io.ReadAll(token); err == nil {
		t.Error("the stream ended as if it were whole")
	}
	p := e.g.people
	p.mu.Lock()
	if len(p.open) != 1 || p.open[right{session: "sid-a"}] == nil {
		t.Errorf("under way: %v", p.open)
	}
	p.mu.Unlock()
	e.tell("j1", "sid-a")
	if _, err := io.ReadAll(cookie); err == nil {
		t.Error("the stream ended as if it were whole")
	}
}

// What has ended counts also when keys that come along can't be read.
func TestBadKeysKeepNoSessionAlive(t *testing.T) {
	for name, bad := range map[string]*wire.UserState{
		"ours":             {TokenKeys: []byte("nonsense")},
		"another issuer's": {TokenKeys: []byte(`{"keys":[]}`), Foreign: []wire.ForeignIssuer{{Issuer: "https://idp.example", Audience: "shop", Keys: []byte("nonsense")}}},
	} {
		e := newEdge(t)
		e.signIn("alice", "sid-a", wire.Person{ID: "u1"})
		e.ask("localhost", "GET", "/own/x", "Cookie", "__Host-ward=alice")
		bad.Issuer, bad.Ended = "https://id.localhost:8443", []string{"sid-a"}
		if err := e.g.SetUsers(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
		if a := e.ask("localhost", "GET", "/own/x", "Cookie", "__Host-ward=alice"); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
	}
}
