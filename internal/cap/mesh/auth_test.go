package mesh

import (
	"bufio"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// outside is a service, web, whose calls of the external api.example are authenticated by Ward.
type outside struct {
	t      *testing.T
	mesh   *Mesh
	at     string // where web finds the external: host and port
	client *http.Client

	mu     sync.Mutex
	got    []*http.Request // guarded by mu
	events []wire.Event    // guarded by mu
}

const secretValue = "sk_live_4eC39HqLyjWDarjtT1"

type externalOptions struct {
	auth     string // as in ward.yaml
	protocol string // http if empty
	server   func(*httptest.Server)
	values   map[string][]byte // nil for the usual one
}

// newOutside starts all; h may be nil for an external that only notes what it gets.
func newOutside(t *testing.T, x externalOptions, h http.HandlerFunc) *outside {
	t.Helper()
	o := &outside{t: t}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.got = append(o.got, r.Clone(context.Background()))
		o.mu.Unlock()
		if h != nil {
			h(w, r)
		}
	}))
	if x.protocol == "" {
		x.protocol = "http"
	}
	s.EnableHTTP2 = x.protocol != "http"
	if x.server != nil {
		x.server(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	port := s.Listener.Addr().(*net.TCPAddr).Port
	text := fmt.Sprintf(`
app: shop
services:
  web: {run: [x], listen: "http://:8080", calls: {api: any}}
secrets: {key: {}}
externals:
  api: {host: example.com, port: %d, tls: originate, protocol: %s, addresses: [127.0.0.1], ca: ca.pem, auth: %s}
`, port, x.protocol, x.auth)
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(text))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	p := plan.Build(m)
	p.CAs = map[string]string{"api": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))}
	o.mesh = New(Config{Record: func(e wire.Event) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.events = append(o.events, e)
	}})
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		o.mesh.Shutdown(ctx)
	})
	if err := o.mesh.SetPlan(p, "2026-01-01"); err != nil {
		t.Fatal(err)
	}
	if x.values == nil {
		x.values = map[string][]byte{"key": []byte(secretValue)}
	}
	o.mesh.SetSecrets(x.values)
	ln := listen(t)
	o.at = ln.Addr().String()
	up := plan.Upstream{Target: "api", External: true, Port: port, TargetPort: port, Protocol: p.Externals[0].Protocol}
	o.mesh.Attach(wire.Instance{Service: "web"}, []plan.Upstream{up}, []net.Listener{ln}, loopback(""))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(x.protocol == "http")
	protocols.SetUnencryptedHTTP2(x.protocol != "http")
	tr := &http.Transport{DisableCompression: true, Protocols: protocols, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", o.at)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	o.client = &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return o
}

// call makes a request as web, and returns the answer's status and body.
func (o *outside) call(method, target string, header ...string) (int, string) {
	o.t.Helper()
	req, err := http.NewRequest(method, "http://example.com"+target, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header[header[i]] = append(req.Header[header[i]], header[i+1]) // as it is spelled
	}
	resp, err := o.client.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// last is the request that the external got, nil for none since the last time.
func (o *outside) last() *http.Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() { o.got = nil }()
	if len(o.got) == 0 {
		return nil
	}
	return o.got[len(o.got)-1]
}

func TestCredentialIsAddedAndReplacesWhatTheServiceSays(t *testing.T) {
	for _, protocol := range []string{"http", "h2c"} {
		for _, c := range []struct{ auth, field, want string }{
			{`"bearer secret:key"`, "Authorization", "Bearer " + secretValue},
			{`"basic ada secret:key"`, "Authorization", "Basic YWRhOnNrX2xpdmVfNGVDMzlIcUx5aldEYXJqdFQx"},
			{`"header X-Api-Key secret:key"`, "X-Api-Key", secretValue},
		} {
			t.Run(protocol+" "+c.auth, func(t *testing.T) {
				o := newOutside(t, externalOptions{auth: c.auth, protocol: protocol}, nil)
				for _, own := range [][]string{
					nil,
					{c.field, "mine"},
					{strings.ToLower(c.field), "mine"},
					{strings.ToUpper(c.field), "mine", c.field, "mine too"},
					{strings.ReplaceAll(c.field, "-", "_"), "mine"},
					{"Connection", c.field},
				} {
					if protocol != "http" && len(own) > 0 && own[0] == "Connection" {
						continue // HTTP/2 has none
					}
					if code, body := o.call("GET", "/v1/charges", own...); code != http.StatusOK {
						t.Fatalf("with %v: %d %s", own, code, body)
					}
					got := o.last()
					if diff := cmp.Diff([]string{c.want}, got.Header[http.CanonicalHeaderKey(c.field)]); diff != "" {
						t.Errorf("with %v: %s", own, diff)
					}
					for name, values := range got.Header {
						if strings.Contains(strings.Join(values, " "), "mine") {
							t.Errorf("with %v: %s: %v went out", own, name, values)
						}
					}
				}
			})
		}
	}
}

func TestParameterIsAddedAndReplacesEverySpelling(t *testing.T) {
	for _, protocol := range []string{"http", "h2c"} {
		o := newOutside(t, externalOptions{auth: `"query api.key secret:key"`, protocol: protocol, values: map[string][]byte{"key": []byte("a b&c=d%+é123")}}, nil)
		const added = "api.key=a%20b%26c%3Dd%25%2B%C3%A9123"
		for in, want := range map[string]string{
			"":                              added,
			"?":                             added,
			"?x=1":                          "x=1&" + added,
			"?x=1&x=2;y&":                   "x=1&x=2;y&" + added,
			"?api.key=mine":                 added,
			"?api.key=mine&x=1&api.key":     "x=1&" + added,
			"?x=1;api.key=mine":             "x=1&" + added,
			"?api%2ekey=mine":               added,
			"?%61%70i.key=mine":             added,
			"?API.KEY=mine":                 added,
			"?api_key=mine&api+key=mine":    added,
			"?api.key[]=mine&api.key%5b0=m": added,
			"?api.key%00x=mine":             added,
			"?+api.key=mine":                added,
			"?%u0061pi.key=mine":            added,
			"?%zzapi.key=1&notapi.key=2":    "%zzapi.key=1&notapi.key=2&" + added,
			"?x=api.key":                    "x=api.key&" + added,
			"?amp;api.key=mine&&x":          "amp;&x&" + added,
		} {
			if code, body := o.call("GET", "/v1/x"+in); code != http.StatusOK {
				t.Fatalf("%s %q: %d %s", protocol, in, code, body)
			}
			if got := o.last(); got.URL.RawQuery != want || got.URL.Path != "/v1/x" {
				t.Errorf("%s %q: %s?%s, want %s", protocol, in, got.URL.Path, got.URL.RawQuery, want)
			}
		}
	}
}

func TestOnlyTheDeclaredCallsGetTheCredential(t *testing.T) {
	for auth, carries := range map[string]func(*http.Request) bool{
		`{use: "bearer secret:key", for: [POST /v1/charges/**, "GET /v1/charges/{id}"]}`:    func(r *http.Request) bool { return r.Header.Get("Authorization") != "" },
		`{use: "query key secret:key", for: [POST /v1/charges/**, "GET /v1/charges/{id}"]}`: func(r *http.Request) bool { return r.URL.Query().Has("key") },
	} {
		o := newOutside(t, externalOptions{auth: auth}, nil)
		for call, want := range map[string]bool{
			"POST /v1/charges":           true,
			"POST /v1/charges/7/capture": true,
			"GET /v1/charges/7":          true,
			"GET /v1/%63harges/7":        true, // the same by its canonical form
			"GET /v1/charges":            false,
			"GET /v1/charges/7/x":        false,
			"DELETE /v1/charges/7":       false,
			"GET /V1/charges/7":          false,
		} {
			method, path, _ := strings.Cut(call, " ")
			code, body := o.call(method, path+"?key=mine", "Authorization", "mine", "X-HTTP-Method-Override", "DELETE")
			got := o.last()
			if got == nil || code != http.StatusOK {
				t.Fatalf("%s: %d %s", call, code, body)
			}
			if carries(got) != want {
				t.Errorf("%s: %s %v", call, got.URL, got.Header)
			}
			if mine := fmt.Sprint(got.URL.RawQuery, got.Header); strings.Contains(auth, "bearer") && got.Header.Get("Authorization") == "mine" || strings.Contains(auth, "query") && strings.Contains(mine, "key=mine") {
				t.Errorf("%s: what the service said went out: %s", call, mine)
			}
			if got.Header.Get("X-Http-Method-Override") != "" {
				t.Errorf("%s: another method went out behind it", call)
			}
		}
	}
}

func TestWithoutValueNothingGoesOut(t *testing.T) {
	for _, auth := range []string{`"bearer secret:key"`, `"basic ada secret:key"`, `"header X-Api-Key secret:key"`, `"query key secret:key"`} {
		o := newOutside(t, externalOptions{auth: auth, values: map[string][]byte{"other": []byte("x")}}, nil)
		if code, body := o.call("GET", "/", "Authorization", "mine"); code != http.StatusServiceUnavailable || !strings.Contains(body, "secret key has no value yet") {
			t.Errorf("%s: %d %s", auth, code, body)
		}
		if got := o.last(); got != nil {
			t.Errorf("%s: %v went out", auth, got.Header)
		}
		// A new value counts at once, on the connection that is open.
		o.mesh.SetSecrets(map[string][]byte{"key": []byte("first-value")})
		if code, body := o.call("GET", "/"); code != http.StatusOK {
			t.Errorf("%s: %d %s", auth, code, body)
		}
		o.mesh.SetSecrets(map[string][]byte{"key": []byte("second-value")})
		o.last()
		o.call("GET", "/")
		if got := o.last(); strings.Contains(fmt.Sprint(got.URL, got.Header), "first") || auth == `"bearer secret:key"` && got.Header.Get("Authorization") != "Bearer second-value" {
			t.Errorf("%s: %s %v", auth, got.URL, got.Header)
		}
	}
	// A value that can't stand in a field isn't left out: nothing goes out.
	for auth, value := range map[string]string{`"bearer secret:key"`: "two\nlines", `"header Host secret:key"`: "other.example", `"header Transfer-Encoding secret:key"`: "chunked"} {
		o := newOutside(t, externalOptions{auth: auth, values: map[string][]byte{"key": []byte(value)}}, nil)
		if code, body := o.call("GET", "/"); code != http.StatusServiceUnavailable || o.last() != nil || strings.Contains(body, value) {
			t.Errorf("%s with %q: %d %s", auth, value, code, body)
		}
	}
}

// TestCredentialDoesNotLeaveItsExternal: not by a redirect, another host, another form of the target, or a tunnel.
func TestCredentialDoesNotLeaveItsExternal(t *testing.T) {
	var mu sync.Mutex
	var elsewhere []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		elsewhere = append(elsewhere, fmt.Sprint(r.URL, r.Header))
	}))
	defer other.Close()
	o := newOutside(t, externalOptions{auth: `"bearer secret:key"`}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/steal", http.StatusTemporaryRedirect)
	})
	if code, _ := o.call("GET", "/"); code != http.StatusTemporaryRedirect {
		t.Errorf("the redirect was followed: %d", code)
	}
	if o.last() == nil {
		t.Fatal("the external wasn't asked")
	}
	u, err := url.Parse(other.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, head := range []string{
		"GET / HTTP/1.1\r\nHost: " + u.Host,
		"GET " + other.URL + "/ HTTP/1.1\r\nHost: " + u.Host,
		"GET " + other.URL + "/ HTTP/1.1\r\nHost: example.com",
		"GET http://example.com@" + u.Host + "/ HTTP/1.1\r\nHost: example.com",
		"GET / HTTP/1.1\r\nHost: example.com\r\nHost: " + u.Host,
		"CONNECT " + u.Host + " HTTP/1.1\r\nHost: " + u.Host,
		"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443",
		"GET //" + u.Host + "/ HTTP/1.1\r\nHost: example.com",
		"GET / HTTP/1.1\r\nHost: evil.example",
		"GET / HTTP/1.1\r\nHost: example.com.evil.example",
	} {
		c, err := net.Dial("tcp", o.at)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprint(c, head+"\r\nConnection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%q: %v", head, err)
		}
		if resp.StatusCode < 400 {
			t.Errorf("%q: %s", head, resp.Status)
		}
		c.Close()
		if got := o.last(); got != nil {
			t.Errorf("%q: %s %v went out", head, got.URL, got.Header)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(elsewhere) > 0 {
		t.Errorf("another host was asked: %s", elsewhere)
	}
}
