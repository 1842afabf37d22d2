package mesh

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/txn"
	"github.com/wardhq/ward/internal/wire"
)

const usersModel = `
app: shop
users: {groups: [staff]}
services:
  web:
    run: [x]
    listen: "http://:8080"
    expose: {route: "GET /**", to: signed-in}
    calls: {orders: ["GET /orders/{id} as user", "DELETE /orders/{id} as user mfa 5m", "GET /health"]}
  mailer: {run: [x], listen: "http://:8080", calls: {orders: "GET /orders/{id} as user"}}
  orders: {run: [x], listen: "http://:8080"}
`

// chain is a mesh with three services on loopback, whose programs are the test's own.
type chain struct {
	t      *testing.T
	mesh   *Mesh
	minter *txn.Minter
	key    *jose.Key

	mu              sync.Mutex
	events          []wire.Event     // guarded by mu
	web             http.HandlerFunc // guarded by mu
	asWeb, asMailer string           // where these two find orders: not the same address
}

type loopback string

func (l loopback) Dial(ctx context.Context, _ int) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", string(l))
}

func newChain(t *testing.T) *chain {
	t.Helper()
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(usersModel))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	key, err := jose.GenerateKey(jose.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	c := &chain{t: t, key: key, minter: &txn.Minter{Key: key, Issuer: GatewayID("shop.internal"), TrustDomain: "shop.internal", Clock: clock.System{}}}
	c.mesh = New(Config{Record: func(e wire.Event) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.events = append(c.events, e)
	}})
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		c.mesh.Shutdown(ctx)
	})
	if err := c.mesh.SetPlan(plan.Build(m), "2026-01-01"); err != nil {
		t.Fatal(err)
	}
	c.mesh.SetUsers(keySet(t, key), nil)
	serve := func(h http.Handler) string {
		ln := listen(t)
		s := &http.Server{Handler: h}
		go s.Serve(ln)
		t.Cleanup(func() { s.Close() })
		return ln.Addr().String()
	}
	orders := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{
			"user": r.Header.Get("X-Ward-User"), "name": r.Header.Get("X-Ward-User-Name"), "groups": r.Header.Get("X-Ward-User-Groups"),
			"caller": r.Header.Get("X-Ward-Caller"), "token": r.Header.Get(txn.Header),
		})
	}))
	web := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		h := c.web
		c.mu.Unlock()
		h(w, r)
	}))
	up := plan.Upstream{Target: "orders", Port: 8080, TargetPort: 8080, Protocol: model.HTTP}
	webOut, mailerOut := listen(t), listen(t)
	c.asWeb, c.asMailer = "http://"+webOut.Addr().String(), "http://"+mailerOut.Addr().String()
	c.mesh.Attach(wire.Instance{Service: "orders"}, nil, nil, loopback(orders))
	c.mesh.Attach(wire.Instance{Service: "web"}, []plan.Upstream{up}, []net.Listener{webOut}, loopback(web))
	c.mesh.Attach(wire.Instance{Service: "mailer"}, []plan.Upstream{up}, []net.Listener{mailerOut}, loopback(web))
	return c
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// token is one for a user whose request the gateway lets in now.
func (c *chain) token(user string, more ...func(*txn.Context)) string {
	c.t.Helper()
	x := &txn.Context{Context: policy.Context{Person: &policy.Person{ID: user, Groups: []string{"staff"}}}, Session: "sid-" + user, Name: "Zoë"}
	for _, f := range more {
		f(x)
	}
	if err := c.minter.Mint(x, "GET /"); err != nil {
		c.t.Fatal(err)
	}
	return x.Token
}

// enter brings a request of the gateway to web, whose program is h.
func (c *chain) enter(h http.HandlerFunc, fields ...string) (int, string) {
	c.t.Helper()
	c.mu.Lock()
	c.web = h
	c.mu.Unlock()
	here, there := net.Pipe()
	go c.mesh.serve(there, &link{caller: plan.Outside, target: "web", port: 8080, protocol: model.HTTP, via: "ingress"})
	return do(c.t, &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return here, nil }}}, "GET", "http://web/", fields...)
}

func do(t testing.TB, client *http.Client, method, url string, fields ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// call lets a service call orders, and brings what came back.
func (c *chain) call(base, method string, fields ...string) string {
	status, body := do(c.t, http.DefaultClient, method, base+"/orders/1", fields...)
	return fmt.Sprint(status, " ", body)
}

func (c *chain) misuses() (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e.Kind == "token.misused" {
			out = append(out, e.Subject+": "+e.Detail["token"])
		}
	}
	return out
}

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestUserIsCarriedThroughTheChain(t *testing.T) {
	c := newChain(t)
	for name, fields := range map[string]func(*http.Request) []string{
		"by the token itself": func(r *http.Request) []string { return []string{txn.Header, r.Header.Get(txn.Header)} },
		"by trace context":    func(r *http.Request) []string { return []string{"Traceparent", r.Header.Get("Traceparent")} },
	} {
		token := c.token("u1")
		var got string
		status, _ := c.enter(func(_ http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Ward-User") != "u1" || r.Header.Get("X-Ward-Caller") != GatewayID("shop.internal") {
				t.Errorf("web was told %v", r.Header)
			}
			got = c.call(c.asWeb, "GET", fields(r)...)
		}, txn.Header, token, "Traceparent", trace)
		want := `200 {"caller":"spiffe://shop.internal/svc/web","groups":"staff","name":"Zo%C3%AB","token":"` + token + `","user":"u1"}` + "\n"
		if status != http.StatusOK || got != want {
			t.Errorf("%s: %d, orders answered\n%s want\n%s", name, status, got, want)
		}
	}
	if m := c.misuses(); m != nil {
		t.Error(m)
	}
}

func TestTakenOverServiceCantActForUsers(t *testing.T) {
	c := newChain(t)
	refused := func(name, answer string) {
		t.Helper()
		if !strings.HasPrefix(answer, "401 ") {
			t.Errorf("%s: %s", name, answer)
		}
	}
	token := c.token("victim")
	foreign := *c.minter
	foreign.TrustDomain = "other.internal"
	for name, answer := range map[string]string{
		"no user at all":            c.call(c.asWeb, "GET"),
		"a token that never came":   c.call(c.asWeb, "GET", txn.Header, token),
		"fields of a user":          c.call(c.asWeb, "GET", "X-Ward-User", "victim"),
		"a trace that nobody began": c.call(c.asWeb, "GET", "Traceparent", trace),
		"nonsense":                  c.call(c.asWeb, "GET", txn.Header, "a.b.c"),
		"two tokens":                c.call(c.asWeb, "GET", txn.Header, token, txn.Header, token),
	} {
		refused(name, answer)
	}
	var stolen string
	c.enter(func(_ http.ResponseWriter, r *http.Request) {
		stolen = r.Header.Get(txn.Header)
		refused("another service's", c.call(c.asMailer, "GET", txn.Header, stolen))
		refused("another service's trace", c.call(c.asMailer, "GET", "Traceparent", r.Header.Get("Traceparent")))
		refused("without the second factor", c.call(c.asWeb, "DELETE", txn.Header, stolen))
		other := &txn.Context{Context: policy.Context{Person: &policy.Person{ID: "victim"}}}
		if err := foreign.Mint(other, ""); err != nil {
			t.Error(err)
		}
		refused("another audience's", c.call(c.asWeb, "GET", txn.Header, other.Token))
		own, err := jose.GenerateKey(jose.EdDSA)
		if err != nil {
			t.Error(err)
		}
		forged := &txn.Context{Context: policy.Context{Person: &policy.Person{ID: "admin"}}}
		if err := (&txn.Minter{Key: own, Issuer: c.minter.Issuer, TrustDomain: "shop.internal", Clock: clock.System{}}).Mint(forged, ""); err != nil {
			t.Error(err)
		}
		refused("one of its own making", c.call(c.asWeb, "GET", txn.Header, forged.Token))
		if got := c.call(c.asWeb, "GET", txn.Header, stolen); !strings.HasPrefix(got, "200 ") {
			t.Errorf("while the request lives: %s", got)
		}
		c.mesh.SetUsers(keySet(t, c.key), []string{"sid-victim"})
		refused("of a session that was just ended", c.call(c.asWeb, "GET", txn.Header, stolen))
		refused("by trace, of a session that was just ended", c.call(c.asWeb, "GET", "Traceparent", r.Header.Get("Traceparent")))
	}, txn.Header, token, "Traceparent", trace)
	refused("replayed after the request's end", c.call(c.asWeb, "GET", txn.Header, stolen))
	refused("its trace after the request's end", c.call(c.asWeb, "GET", "Traceparent", trace))
	if status, _ := c.enter(func(http.ResponseWriter, *http.Request) {}, txn.Header, token); status != http.StatusUnauthorized {
		t.Errorf("the gateway brings a session that has ended: %d", status)
	}
	c.mesh.FlushDenials()
	found := strings.Join(c.misuses(), "\n")
	for _, want := range []string{"web: " + notLive, "mailer: " + notLive, "web: " + notSigned, "web: " + isEnded} {
		if !strings.Contains(found, want) {
			t.Errorf("no event says %q; there are\n%s", want, found)
		}
	}
}

func TestTwoUsersInOneTraceAreNobody(t *testing.T) {
	c := newChain(t)
	inside := make(chan struct{})
	leave := make(chan struct{})
	second := newChainRequest(c, func(http.ResponseWriter, *http.Request) {
		close(inside)
		<-leave
	}, c.token("mallory"))
	<-inside
	c.enter(func(_ http.ResponseWriter, r *http.Request) {
		if got := c.call(c.asWeb, "GET", "Traceparent", trace); !strings.HasPrefix(got, "401 ") {
			t.Errorf("by a shared trace: %s", got)
		}
		if got := c.call(c.asWeb, "GET", txn.Header, r.Header.Get(txn.Header)); !strings.HasPrefix(got, "200 ") || !strings.Contains(got, `"user":"alice"`) {
			t.Errorf("by its own token: %s", got)
		}
	}, txn.Header, c.token("alice"), "Traceparent", trace)
	close(leave)
	<-second
}

// newChainRequest runs a request beside others.
func newChainRequest(c *chain, h http.HandlerFunc, token string) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.enter(h, txn.Header, token, "Traceparent", trace)
	}()
	return done
}

func TestCallsWithoutUserStayOpen(t *testing.T) {
	c := newChain(t)
	if status, body := do(t, http.DefaultClient, "GET", c.asWeb+"/health", "X-Ward-User", "admin"); status != 200 || !strings.Contains(body, `"user":""`) {
		t.Errorf("%d %s", status, body)
	}
}

func TestNothingOfEndedRequestsRemains(t *testing.T) {
	c := newChain(t)
	for range 50 {
		c.enter(func(http.ResponseWriter, *http.Request) {}, txn.Header, c.token("u"), "Traceparent", trace)
	}
	u := c.mesh.users
	for range 200 {
		u.mu.Lock()
		n := len(u.live) + len(u.traces)
		u.mu.Unlock()
		if n == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%d transactions, %d traces", len(u.live), len(u.traces))
}

func keySet(t testing.TB, k *jose.Key) *jose.KeySet {
	t.Helper()
	s, err := jose.NewKeySet(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestServicesGetTheKeysOfTransactionTokens(t *testing.T) {
	c := newChain(t)
	ln := listen(t)
	c.mesh.Attach(wire.Instance{Service: "web", Run: 2}, []plan.Upstream{{Target: plan.Self}}, []net.Listener{ln}, loopback(ln.Addr().String()))
	status, body := do(t, http.DefaultClient, "GET", "http://"+ln.Addr().String()+"/.well-known/jwks.json")
	set, err := jose.ParseKeySet([]byte(body))
	if status != http.StatusOK || err != nil {
		t.Fatal(status, body, err)
	}
	if _, err := txn.Check(c.token("u"), set, GatewayID("shop.internal"), "shop.internal", time.Now()); err != nil {
		t.Error(err)
	}
}
