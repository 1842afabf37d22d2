package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/base/pki"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/txn"
	"github.com/wardhq/ward/internal/wire"
)

const peopleModel = `
app: shop
gateway: {listen: "127.0.0.1:8443"}
users: {groups: [staff], issuers: {corp: {issuer: "https://idp.example", audience: shop}}}
services:
  web:
    run: [x]
    listen: "http://:8080"
    expose:
      - {routes: ["* /open/**"], to: anyone}
      - {routes: ["* /own/**"], to: signed-in}
      - {routes: ["GET /admin/**"], to: "group:staff", mfa: 15m}
      - {routes: ["GET /old/**"], to: anyone, forward: [cookies, authorization]}
watch: {console: {viewer: "group:staff"}}
`

// edge is a gateway whose agent echoes what comes in, and whose control is the test.
type edge struct {
	t        *testing.T
	g        *Gateway
	key      *jose.Key // of access tokens
	addr     string
	left     chan struct{} // a token for each stream that its client left
	mu       sync.Mutex
	sessions map[string]wire.Session // guarded by mu: by cookie
	asked    int                     // guarded by mu
	begun    []wire.SignInBegin      // guarded by mu
	ended    []string                // guarded by mu
	seen     wire.SessionsSeen       // guarded by mu
	away     bool                    // guarded by mu
	events   []wire.Event            // guarded by mu
	pages    []string                // guarded by mu: the hosts of requests for control's pages
}

func (e *edge) BeginSignIn(_ context.Context, q wire.SignInBegin) (wire.SignInBegun, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun = append(e.begun, q)
	return wire.SignInBegun{Location: "https://id.localhost:8443/continue?flow=1", Flow: "flow-secret"}, nil
}

func (e *edge) FinishSignIn(_ context.Context, q wire.SignInFinish) (wire.SignInFinished, error) {
	if q.Code != "good" || q.Flow != "flow-secret" {
		return wire.SignInFinished{}, fault.New(fault.Refused, "no such sign-in")
	}
	s := wire.Session{ID: "sid-new", Person: wire.Person{ID: "u9"}, Expires: time.Now().Add(time.Hour).Unix()}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sessions["fresh"] = s
	return wire.SignInFinished{Cookie: "fresh", Session: s, Return: "/own/x"}, nil
}

func (e *edge) Session(_ context.Context, q wire.SessionQuery) (wire.Session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	if e.away {
		return wire.Session{}, fault.New(fault.Unavailable, "away")
	}
	s, ok := e.sessions[q.Cookie]
	if !ok || !strings.HasPrefix(q.Origin, "https://localhost:") && q.Origin != "https://console.localhost:8443" {
		return wire.Session{}, fault.New(fault.NotFound, "no session")
	}
	return s, nil
}

func (e *edge) EndSession(_ context.Context, q wire.SessionEnd) (wire.SessionEnded, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = append(e.ended, q.Session)
	return wire.SessionEnded{Location: "https://id.localhost:8443/signed-out"}, nil
}

func (e *edge) SeeSessions(_ context.Context, s wire.SessionsSeen) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = s
	return nil
}

func (e *edge) record(v wire.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, v)
}

// localIssuer signs in the same process.
type localIssuer struct{ *identity.Authority }

func (l localIssuer) SignX509(_ context.Context, r wire.SignRequest) (wire.SignReply, error) {
	return l.Authority.SignX509(r, "localhost", "id.localhost")
}

func (l localIssuer) SignJWT(_ context.Context, r wire.JWTRequest) (wire.JWTReply, error) {
	return l.Authority.SignJWT(r)
}

func (l localIssuer) Bundle(context.Context, string) (wire.Bundle, error) {
	return l.Authority.Bundle()
}

func newEdge(t *testing.T) *edge {
	t.Helper()
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(peopleModel))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	p := plan.Build(m)
	a, err := identity.OpenAuthority(identity.AuthorityConfig{Dir: filepath.Join(t.TempDir(), "a"), Key: secret.New(bytes.Repeat([]byte{3}, secret.KeySize)), TrustDomain: p.TrustDomain})
	if err != nil {
		t.Fatal(err)
	}
	bundles, err := identity.NewBundles(t.Context(), localIssuer{a}, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	self := identity.NewLinkSource("spiffe://shop.internal/ward/gateway", localIssuer{a}, bundles, clock.System{})
	web := identity.NewLinkSource("spiffe://shop.internal/svc/web", localIssuer{a}, bundles, clock.System{})
	e := &edge{t: t, left: make(chan struct{}, 10), sessions: map[string]wire.Session{}}
	agent := pki.Server(clock.System{}, p.TrustDomain, bundles.Roots, func(string) (pki.Source, error) { return web, nil })
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pages := newPipes()
	echo := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/stream") {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			e.left <- struct{}{}
			return
		}
		w.Header().Add("Set-Cookie", "__Host-ward=planted; Path=/; Secure")
		w.Header().Add("Set-Cookie", " __HOST-ward-flow=planted; Path=/; Secure")
		w.Header().Add("Set-Cookie", "=__Host-ward=planted; Path=/; Secure") // without a name: old browsers send it back like the first
		w.Header().Add("Set-Cookie", "theme=dark")
		_ = json.NewEncoder(w).Encode(r.Header)
	})}
	go echo.Serve(tls.NewListener(inside, agent))
	sign := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		e.pages = append(e.pages, r.Host)
		e.mu.Unlock()
		w.Header().Add("Set-Cookie", "__Host-ward-id=1; Path=/; Secure")
		_ = json.NewEncoder(w).Encode(r.Header)
	})}
	go sign.Serve(pages)
	t.Cleanup(func() { echo.Close(); sign.Close() })
	e.g, err = New(Config{Self: self, Roots: bundles.Roots, Clock: clock.System{}, DialAgent: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", inside.Addr().String())
	}, Record: e.record, SignIn: e, DialPages: pages.dial, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.g.SetPlan(p, "2026-01-01"); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go e.g.ServeHTTPS(ln)
	t.Cleanup(func() {
		ln.Close()
		ctx, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		e.g.Shutdown(ctx)
	})
	e.addr = ln.Addr().String()
	if e.key, err = jose.GenerateKey(jose.ES256); err != nil {
		t.Fatal(err)
	}
	e.tell()
	e.g.Published()
	return e
}

// tell gives the gateway the state of people.
func (e *edge) tell(ended ...string) {
	e.t.Helper()
	keys, err := jose.NewKeySet(e.key.Public())
	if err != nil {
		e.t.Fatal(err)
	}
	b, err := keys.MarshalJSON()
	if err != nil {
		e.t.Fatal(err)
	}
	if err := e.g.SetUsers(&wire.UserState{Issuer: "https://id.localhost:8443", TokenKeys: b, TxnKeys: json.RawMessage(`{"keys":[]}`), Ended: ended}); err != nil {
		e.t.Fatal(err)
	}
}

const origin = "https://localhost:8443"

// answer is a response whose body was read.
type answer struct {
	*http.Response
	body string
	sent http.Header // what the service got
}

// ask sends a request as a browser to a host.
func (e *edge) ask(host, method, path string, fields ...string) answer {
	e.t.Helper()
	return e.askWith(&tls.Config{InsecureSkipVerify: true, ServerName: host}, method, path, fields...)
}

func (e *edge) askWith(c *tls.Config, method, path string, fields ...string) answer {
	e.t.Helper()
	transport := &http.Transport{DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := tls.Dialer{Config: c}
		return d.DialContext(ctx, "tcp", e.addr)
	}}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequest(method, "https://"+c.ServerName+":8443"+path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	a := answer{Response: resp, body: string(b)}
	_ = json.Unmarshal(b, &a.sent)
	return a
}

func (e *edge) signIn(cookie, sid string, p wire.Person) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sessions[cookie] = wire.Session{ID: sid, Person: p, Expires: time.Now().Add(time.Hour).Unix()}
}

func (e *edge) txn(a answer) *txn.Context {
	e.t.Helper()
	c, err := txn.Check(a.sent.Get(txn.Header), e.g.key.Public(), "spiffe://shop.internal/ward/gateway", "shop.internal", time.Now())
	if err != nil {
		e.t.Fatalf("%v in %v", err, a.sent)
	}
	return c
}

func TestBrowsersAreLedToSignInAndOthersAreTold(t *testing.T) {
	e := newEdge(t)
	page := e.ask("localhost", "GET", "/own/x?y=1", "Accept", "text/html")
	if page.StatusCode != http.StatusSeeOther || page.Header.Get("Location") != "https://id.localhost:8443/continue?flow=1" || !strings.HasPrefix(page.Header.Get("Set-Cookie"), "__Host-ward-flow=flow-secret; Path=/; Secure; HttpOnly; SameSite=Lax") {
		t.Errorf("%d %v", page.StatusCode, page.Header)
	}
	if b := e.begun[0]; b.Return != "/own/x?y=1" || b.Origin != origin || b.Interrupted || b.Visitor.IP != "127.0.0.1" || b.Visitor.Fingerprint == "" {
		t.Errorf("%+v", b)
	}
	post := e.ask("localhost", "POST", "/own/x", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "same-origin", "Referer", origin+"/own/form?a=b")
	if b := e.begun[1]; post.StatusCode != http.StatusSeeOther || b.Return != "/own/form?a=b" || !b.Interrupted {
		t.Errorf("%d %+v", post.StatusCode, b)
	}
	e.ask("localhost", "POST", "/own/x", "Sec-Fetch-Mode", "navigate", "Referer", "https://evil.example/own/form")
	if b := e.begun[2]; b.Return != "/" {
		t.Errorf("led back to %q", b.Return)
	}
	api := e.ask("localhost", "GET", "/own/x", "Accept", "application/json")
	if api.StatusCode != http.StatusUnauthorized || api.Header.Get("WWW-Authenticate") != `Bearer realm="ward", resource_metadata="`+origin+`/.well-known/oauth-protected-resource"` {
		t.Errorf("%d %v", api.StatusCode, api.Header)
	}
	meta := e.ask("localhost", "GET", "/.well-known/oauth-protected-resource")
	if meta.StatusCode != http.StatusOK || !strings.Contains(meta.body, `"authorization_servers":["https://id.localhost:8443"]`) || !strings.Contains(meta.body, `"resource":"`+origin+`"`) {
		t.Errorf("%d %s", meta.StatusCode, meta.body)
	}
}

func TestSessionsCountWhereTheyShould(t *testing.T) {
	e := newEdge(t)
	e.signIn("alice", "sid-a", wire.Person{ID: "u1", Email: "a@example.com", Name: "Alice"})
	e.signIn("staff", "sid-s", wire.Person{ID: "u2", Groups: []string{"staff"}, FactorAt: time.Now().Unix() - 60})
	e.signIn("stale", "sid-t", wire.Person{ID: "u3", Groups: []string{"staff"}, FactorAt: time.Now().Unix() - 1000})
	for _, tt := range []struct {
		name, method, path, cookie string
		more                       []string
		want                       int
	}{
		{"own", "GET", "/own/x", "__Host-ward=alice", nil, 200},
		{"among others", "GET", "/own/x", "a=b; __Host-ward=alice; c=d", nil, 200},
		{"nobody's", "GET", "/own/x", "__Host-ward=mallory", nil, 401},
		{"twice", "GET", "/own/x", "__Host-ward=alice; __Host-ward=alice", nil, 401},
		{"another name", "GET", "/own/x", "ward=alice", nil, 401},
		{"not in the group", "GET", "/admin/x", "__Host-ward=alice", nil, 403},
		{"in the group", "GET", "/admin/x", "__Host-ward=staff", nil, 200},
		{"factor too long ago", "GET", "/admin/x", "__Host-ward=stale", nil, 401},
		{"write from its own page", "POST", "/own/x", "__Host-ward=alice", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"write from another site", "POST", "/own/x", "__Host-ward=alice", []string{"Sec-Fetch-Site", "cross-site"}, 401},
		{"write from the pages' host", "POST", "/own/x", "__Host-ward=alice", []string{"Sec-Fetch-Site", "same-site"}, 401},
		{"write from another origin", "POST", "/own/x", "__Host-ward=alice", []string{"Origin", "https://evil.example"}, 401},
		{"write from an old browser's own page", "POST", "/own/x", "__Host-ward=alice", []string{"Origin", origin}, 200},
		{"write from two origins", "POST", "/own/x", "__Host-ward=alice", []string{"Origin", origin, "Origin", "https://evil.example"}, 401},
		{"write by a program", "POST", "/own/x", "__Host-ward=alice", nil, 200},
		{"read from another site", "GET", "/own/x", "__Host-ward=alice", []string{"Sec-Fetch-Site", "cross-site"}, 200},
	} {
		a := e.ask("localhost", tt.method, tt.path, append([]string{"Cookie", tt.cookie}, tt.more...)...)
		if a.StatusCode != tt.want {
			t.Errorf("%s: %d, want %d: %s", tt.name, a.StatusCode, tt.want, a.body)
		}
	}
	if a := e.ask("localhost", "GET", "/admin/x", "Cookie", "__Host-ward=stale"); !strings.Contains(a.Header.Get("WWW-Authenticate"), `error="insufficient_user_authentication"`) || !strings.Contains(a.Header.Get("WWW-Authenticate"), `max_age="900"`) {
		t.Error(a.Header)
	}
	if a := e.ask("localhost", "GET", "/admin/x", "Cookie", "__Host-ward=stale", "Sec-Fetch-Mode", "navigate"); a.StatusCode != http.StatusSeeOther || e.begun[len(e.begun)-1].FactorAge != 900 || e.begun[len(e.begun)-1].Session != "sid-t" {
		t.Errorf("%d %+v", a.StatusCode, e.begun)
	}
}

func TestServicesGetTheUserAndNoSecret(t *testing.T) {
	e := newEdge(t)
	e.signIn("alice", "sid-a", wire.Person{ID: "u1", Email: "a@example.com", Name: "Alice", Groups: []string{"staff"}})
	a := e.ask("localhost", "GET", "/own/x", "Cookie", "theme=dark; __Host-ward=alice", "Txn-Token", "forged", "X-Ward-User", "root", "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	c := e.txn(a)
	if c.Person.ID != "u1" || c.Person.Email != "a@example.com" || c.Name != "Alice" || c.Session != "sid-a" || c.IP != "127.0.0.1" || len(c.Person.Groups) != 1 {
		t.Errorf("%+v", c)
	}
	if a.sent.Get("Cookie") != "" || a.sent.Get("X-Ward-User") != "" || len(a.sent.Values(txn.Header)) != 1 || strings.Contains(a.sent.Get("Traceparent"), "0af7651916cd43dd8448eb211c80319c") || len(a.sent.Get("Traceparent")) != 55 || len(a.sent.Values("Traceparent")) != 1 || !recorded(e.g, a.sent.Get("Traceparent")) {
		t.Errorf("%v", a.sent)
	}
	if got := a.Header.Values("Set-Cookie"); len(got) != 1 || got[0] != "theme=dark" {
		t.Errorf("a service set %q", got)
	}
	b := e.ask("localhost", "GET", "/own/x", "Cookie", "__Host-ward=alice")
	if e.txn(b).ID == c.ID || e.asked != 1 {
		t.Errorf("one transaction for two requests, or control was asked %d times", e.asked)
	}
	old := e.ask("localhost", "GET", "/old/x", "Cookie", "theme=dark; __Host-ward=alice; __host-WARD-flow=x", "Authorization", "Basic YTpi")
	if old.sent.Get("Cookie") != "theme=dark" || old.sent.Get("Authorization") != "Basic YTpi" {
		t.Errorf("forward: %v", old.sent)
	}
	open := e.ask("localhost", "GET", "/open/x", "Cookie", "theme=dark", "Authorization", "Basic YTpi")
	if open.StatusCode != 200 || open.sent.Get("Cookie")+open.sent.Get("Authorization")+open.sent.Get(txn.Header) != "" {
		t.Errorf("open: %d %v", open.StatusCode, open.sent)
	}
}

func TestEndsReachTheGateway(t *testing.T) {
	e := newEdge(t)
	e.signIn("alice", "sid-a", wire.Person{ID: "u1"})
	if a := e.ask("localhost", "GET", "/own/x", "Cookie", "__Host-ward=alice"); a.StatusCode != 200 {
		t.Fatal(a.StatusCode)
	}
	e.tell("sid-a")
	// Control still says yes, as a slow replica would: what has ended stays so.
	if a := e.ask("localhost", "GET", "/own/x", "Cookie", "__Host-ward=alice"); a.StatusCode != 401 {
		t.Error(a.StatusCode)
	}
}

func TestWithoutControlOnlyKnownSessionsCount(t *testing.T) {
	e := newEdge(t)
	e.signIn("alice", "sid-a", wire.Person{ID: "u1"})
	e.signIn("bob", "sid-b", wire.Person{ID: "u2"})
	e.ask("localhost", "GET", "/own/x", "Cookie", "__Host-ward=alice")
	e.away = true
	for cookie, want := range map[string]int{"alice": 200, "bob": 503} {
		if a := e.ask("localhost", "GET", "/own/x", "Cookie", "__Host-ward="+cookie); a.StatusCode != want {
			t.Errorf("%s: %d", cookie, a.StatusCode)
		}
	}
	if a := e.ask("localhost", "GET", "/open/x", "Cookie", "__Host-ward=bob"); a.StatusCode != 200 || a.sent.Get(txn.Header) != "" {
		t.Error("the open route is closed, or open with a user", a.StatusCode)
	}
}

func TestSignInEndsOnlyInTheBrowserThatBeganIt(t *testing.T) {
	e := newEdge(t)
	for name, fields := range map[string][]string{"no cookie": nil, "another flow": {"Cookie", "__Host-ward-flow=other"}} {
		if a := e.ask("localhost", "GET", "/.ward/callback?code=good", fields...); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/" || strings.Contains(fmt.Sprint(a.Header), "fresh") {
			t.Errorf("%s: %d %v", name, a.StatusCode, a.Header)
		}
	}
	a := e.ask("localhost", "GET", "/.ward/callback?code=good", "Cookie", "__Host-ward-flow=flow-secret")
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/own/x" || !strings.Contains(fmt.Sprint(a.Header["Set-Cookie"]), "__Host-ward=fresh; Path=/; Secure; HttpOnly; SameSite=Lax") {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	if me := e.ask("localhost", "GET", "/.ward/user", "Cookie", "__Host-ward=fresh"); me.StatusCode != 200 || !strings.Contains(me.body, `"id":"u9"`) {
		t.Errorf("%d %s", me.StatusCode, me.body)
	}
	if me := e.ask("localhost", "GET", "/.ward/user", "X-Ward-Person", "eyJpZCI6InJvb3QifQ"); me.StatusCode != 401 {
		t.Errorf("%d %s", me.StatusCode, me.body)
	}
	for to, want := range map[string]string{"/own/y?z=1": "/own/y?z=1", "https://evil.example": "/", "//evil.example": "/", "/\\evil.example": "/", "javascript:alert(1)": "/", "": "/"} {
		e.ask("localhost", "GET", "/.ward/sign-in?to="+strings.NewReplacer(":", "%3A", "?", "%3F", "\\", "%5C").Replace(to))
		if got := e.begun[len(e.begun)-1].Return; got != want {
			t.Errorf("%q leads to %q", to, got)
		}
	}
}

func TestSignOutIsOnesOwnWish(t *testing.T) {
	e := newEdge(t)
	e.signIn("alice", "sid-a", wire.Person{ID: "u1"})
	e.ask("localhost", "POST", "/.ward/sign-out", "Cookie", "__Host-ward=alice", "Sec-Fetch-Site", "cross-site")
	e.ask("localhost", "GET", "/.ward/sign-out", "Cookie", "__Host-ward=alice")
	e.ask("localhost", "POST", "/.ward/sign-out", "X-Ward-Session", "sid-a")
	if len(e.ended) != 0 {
		t.Errorf("ended %v", e.ended)
	}
	a := e.ask("localhost", "POST", "/.ward/sign-out", "Cookie", "__Host-ward=alice", "Sec-Fetch-Site", "same-origin")
	if len(e.ended) != 1 || e.ended[0] != "sid-a" || !strings.Contains(a.Header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("%v %v", e.ended, a.Header)
	}
}

func TestPagesHaveTheirOwnHostAndLearnTheClientsCertificate(t *testing.T) {
	e := newEdge(t)
	a := e.ask("id.localhost", "GET", "/sign-in", "X-Ward-Client-Cert", "forged")
	if a.StatusCode != 200 || a.Header.Get("Set-Cookie") != "__Host-ward-id=1; Path=/; Secure" || a.sent.Get("X-Ward-Client-Cert") != "" || a.sent.Get("X-Ward-Fingerprint") == "" || a.sent.Get("X-Forwarded-For") != "127.0.0.1" {
		t.Errorf("%d %v %v", a.StatusCode, a.Header, a.sent)
	}
	cert, err := e.g.config.Self.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	show := func(host string) answer {
		return e.askWith(&tls.Config{InsecureSkipVerify: true, ServerName: host, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }}, "GET", "/open/x")
	}
	if got := show("id.localhost").sent.Get("X-Ward-Client-Cert"); got == "" {
		t.Error("the certificate wasn't told")
	}
	if got := show("localhost").sent.Get("X-Ward-Client-Cert"); got != "" {
		t.Error("a service was told of a client's certificate")
	}
	if a := e.ask("evil.localhost", "GET", "/"); a.StatusCode != http.StatusMisdirectedRequest {
		t.Error(a.StatusCode)
	}
}

func TestMovedSessionsAreNoticed(t *testing.T) {
	e := newEdge(t)
	e.sessions["alice"] = wire.Session{ID: "sid-a", Person: wire.Person{ID: "u1"}, Expires: time.Now().Add(time.Hour).Unix(), Fingerprint: "of another program"}
	e.ask("localhost", "GET", "/own/x", "Cookie", "__Host-ward=alice", "User-Agent", "curl")
	e.g.people.report(t.Context(), false)
	if v, ok := e.seen.Moved["sid-a"]; !ok || v.UserAgent != "curl" || v.Fingerprint == "" {
		t.Errorf("%+v", e.seen)
	}
}

func TestFingerprintTellsProgramsApartAndStays(t *testing.T) {
	of := func(c *tls.Config) string {
		t.Helper()
		e := make(chan string, 1)
		here, there := net.Pipe()
		go tls.Server(there, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			e <- fingerprint(h)
			return nil, x509.UnknownAuthorityError{}
		}}).Handshake()
		c.InsecureSkipVerify = true
		_ = tls.Client(here, c).Handshake()
		return <-e
	}
	if of(&tls.Config{ServerName: "a.example"}) != of(&tls.Config{ServerName: "b.example"}) {
		t.Error("the same program shows two fingerprints")
	}
	if of(&tls.Config{ServerName: "a.example"}) == of(&tls.Config{ServerName: "a.example", MaxVersion: tls.VersionTLS12}) {
		t.Error("two programs show one fingerprint")
	}
}

// recorded tells whether the gateway has left a record of the very span that it sent on.
func recorded(g *Gateway, parent string) (yes bool) {
	for end := time.Now().Add(5 * time.Second); !yes && time.Now().Before(end); time.Sleep(time.Millisecond) {
		g.config.Meter.Ring.Drain(1000, func(r *telemetry.Record) {
			yes = yes || r.Trace.String() == parent[3:35] && r.ID.String() == parent[36:52]
		})
	}
	return yes
}
