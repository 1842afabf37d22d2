package oidc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/client"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// everybody is an Accounts that signs in whoever comes, as Ada, without asking.
type everybody struct {
	now func() time.Time

	mu       sync.Mutex // guards the following
	sessions map[string]*signin.Session
	begun    []signin.Request
	second   bool // a second factor is shown
	refuse   bool // nobody is signed in
	ended    func(context.Context, []string) error
}

const sessionCookie = "__Host-session"

func (e *everybody) Session(r *http.Request) (*signin.Session, error) {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil, nil
	}
	return e.SessionByID(r.Context(), c.Value)
}

func (e *everybody) SessionByID(_ context.Context, id string) (*signin.Session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sessions[id]
	if s == nil {
		return nil, nil
	}
	clone := *s
	return &clone, nil
}

func (e *everybody) Begin(_ context.Context, q signin.Request) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun = append(e.begun, q)
	return "/sign-in?resume=" + url.QueryEscape(q.Resume), nil
}

func ada() signin.Person {
	return signin.Person{ID: "ada", Email: "ada@example.org", Verified: true, Name: "Ada", Groups: []string{"staff"}, Roles: []string{"editor"}}
}

func (e *everybody) Person(_ context.Context, id string) (signin.Person, error) {
	if id != "ada" {
		return signin.Person{}, fault.New(fault.NotFound, "no such person")
	}
	return ada(), nil
}

func (e *everybody) End(ctx context.Context, w http.ResponseWriter, id string) error {
	e.drop(id)
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, Secure: true})
	return e.ended(ctx, []string{id})
}

func (e *everybody) drop(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sessions, id)
}

// ServeHTTP is the sign-in page.
func (e *everybody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refuse {
		http.Error(w, "sign in", http.StatusOK)
		return
	}
	s := &signin.Session{ID: "s" + rand22(), Person: ada(), AuthAt: e.now(), Methods: []string{signin.Password}, Expires: e.now().Add(12 * time.Hour)}
	if e.second {
		s.FactorAt, s.Methods = e.now(), append(s.Methods, signin.OTP, signin.Several)
	}
	e.sessions[s.ID] = s
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: s.ID, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, r.URL.Query().Get("resume"), http.StatusSeeOther)
}

// databaseVar holds the URL of a PostgreSQL database for the worlds of a test; SQLite without it.
const databaseVar = "WARD_TEST_DATABASE"

// world is a provider with everything that it needs.
type world struct {
	t        testing.TB
	now      time.Time
	live     bool       // the clock is the machine's
	mu       sync.Mutex // guards the following
	flags    []string
	events   []wire.Event
	told     []string
	cert     *x509.Certificate
	accounts *everybody
	db       *store.DB
	path     string
	server   *httptest.Server
	p        *Provider
	config   Config
	jar      http.CookieJar
}

func (w *world) clock() clock.Clock {
	return clock.Func(func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.live {
			return time.Now()
		}
		return w.now
	})
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

const appSecret = "app-secret-of-256-bits"

func hexHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// clients are one of each kind.
func clients(t testing.TB, key *jose.Key) []client.Spec {
	t.Helper()
	jwks, err := json.Marshal(map[string]any{"keys": []any{key.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	code := []string{"authorization_code", "refresh_token"}
	open := []string{"openid", "profile", "email", "groups", "offline_access", "read", "write"}
	return []client.Spec{
		{Client: model.Client{Name: "app", Title: "The App", Redirects: []string{"https://app.example/cb"}, Logouts: []string{"https://app.example/bye"}, Grants: append(slices.Clone(code), "client_credentials", "token_exchange"), Scopes: open, Audiences: []string{"https://api.example", "https://deep.example"}, SecretHash: hexHash(appSecret)}},
		{Client: model.Client{Name: "spa", Title: "The SPA", Public: true, Redirects: []string{"https://spa.example/cb", "http://127.0.0.1/cb"}, Grants: append(slices.Clone(code), "device_code"), Scopes: open}},
		{Client: model.Client{Name: "old", Title: "The Old One", NonceOnly: true, RS256: true, Redirects: []string{"https://old.example/cb?tenant=1", "https://old.example/plain"}, Grants: code, Scopes: open, SecretHash: hexHash(appSecret)}},
		{Client: model.Client{Name: "guest", Title: "A Stranger's", Consent: true, Redirects: []string{"https://guest.example/cb"}, Grants: append(slices.Clone(code), "device_code"), Scopes: open, SecretHash: hexHash(appSecret)}},
		{Client: model.Client{Name: "job", Title: "A Job", Grants: []string{"client_credentials"}, Scopes: []string{"read"}, Audiences: []string{"https://api.example"}}, JWKS: jwks},
		{Client: model.Client{Name: "api", Title: "The API", Grants: []string{"token_exchange"}, Scopes: []string{"read"}, Audiences: []string{"https://deep.example"}, SecretHash: hexHash(appSecret)}},
		{Client: model.Client{Name: "bound", Title: "Bound", DPoP: true, Public: true, Redirects: []string{"https://bound.example/cb"}, Grants: code, Scopes: open}},
	}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, now: time.Now().Truncate(time.Second), path: filepath.Join(t.TempDir(), "db")}
	if w.jar, _ = cookiejar.New(nil); w.jar == nil {
		t.Fatal("no cookie jar")
	}
	w.accounts = &everybody{now: func() time.Time { return w.clock().Now() }, sessions: map[string]*signin.Session{}, ended: func(ctx context.Context, ids []string) error { return w.p.Ended(ctx, ids) }}
	var handler http.Handler
	w.server = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { handler.ServeHTTP(rw, r) }))
	t.Cleanup(w.server.Close)
	w.open()
	t.Cleanup(func() { _ = w.db.Close() })
	handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mux := http.NewServeMux()
		w.p.Routes(mux)
		mux.Handle("/sign-in", w.accounts)
		mux.ServeHTTP(rw, r)
	})
	return w
}

var jobKey = sync.OnceValue(func() *jose.Key {
	k, err := jose.GenerateKey(jose.ES256)
	if err != nil {
		panic(err)
	}
	return k
})

// open opens the provider, also again after a restart.
func (w *world) open() {
	w.t.Helper()
	var err error
	if w.db != nil {
		if err := w.db.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
	if w.db, err = store.Open(w.t.Context(), store.Config{Path: w.path, URL: secret.New([]byte(os.Getenv(databaseVar))), Clock: w.clock()}); err != nil {
		w.t.Fatal(err)
	}
	registry, err := client.Open(w.t.Context(), client.Config{DB: w.db, Clock: w.clock(), Service: func(id string) (client.ServiceRights, bool) {
		return client.ServiceRights{Title: "cart", Own: []string{"https://cart.internal"}, Audiences: []string{"https://orders.internal"}, Scopes: []string{"GET:/orders"}}, id == "spiffe://shop.internal/cart"
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := registry.Declare(clients(w.t, jobKey())); err != nil {
		w.t.Fatal(err)
	}
	pages, err := page.New(page.Config{Name: "Shop"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.config = Config{
		Issuer: w.server.URL, DB: w.db, Seal: secret.New(bytes.Repeat([]byte{7}, 32)), Clock: w.clock(), Accounts: w.accounts, Clients: registry, Pages: pages,
		Lives: Lives{Access: 10 * time.Minute, ID: 10 * time.Minute, Refresh: 30 * 24 * time.Hour, KeyAhead: 24 * time.Hour, KeySign: 30 * 24 * time.Hour},
		Log:   slog.New(slog.NewTextHandler(w.t.Output(), nil)), DPoPNonce: w.config.DPoPNonce, MintTxn: w.config.MintTxn,
		Certificate: func(*http.Request) (*x509.Certificate, error) { return w.cert, nil },
		Visitor:     func(*http.Request) wire.Visitor { return wire.Visitor{IP: "192.0.2.7"} },
		Record: func(e wire.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		},
		Flag: func(_ context.Context, kind string, _ map[string]string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.flags = append(w.flags, kind)
		},
		Tell: func(_ context.Context, ids ...string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, ids...)
			return nil
		},
	}
	if w.p, err = Open(w.t.Context(), w.config); err != nil {
		w.t.Fatal(err)
	}
}

// flagged is the flags since the last time.
func (w *world) flagged() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.flags
	w.flags = nil
	return out
}

func (w *world) browser() *http.Client {
	return &http.Client{Jar: w.jar, Transport: w.server.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (w *world) otherBrowser() *http.Client {
	b := w.browser()
	b.Jar, _ = cookiejar.New(nil)
	return b
}

// landing is where a browser ends up.
type landing struct {
	t       testing.TB
	url     *url.URL // outside, or of a page of ours
	status  int
	body    string
	header  http.Header
	outside bool
}

func (l landing) get(name string) string { return l.url.Query().Get(name) }

// follow leads a browser on until it leaves us or sees a page.
func (w *world) follow(b *http.Client, req *http.Request) landing {
	w.t.Helper()
	for range 12 {
		resp, err := b.Do(req)
		if err != nil {
			w.t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			w.t.Fatal(err)
		}
		_ = resp.Body.Close()
		to := resp.Header.Get("Location")
		if _, refresh, ok := strings.Cut(resp.Header.Get("Refresh"), "url="); ok {
			to = refresh
		}
		if to == "" {
			return landing{w.t, req.URL, resp.StatusCode, string(text), resp.Header, false}
		}
		u, err := req.URL.Parse(to)
		if err != nil {
			w.t.Fatal(err)
		}
		if "https://"+u.Host != w.server.URL {
			return landing{w.t, u, resp.StatusCode, string(text), resp.Header, true}
		}
		if req, err = http.NewRequest(http.MethodGet, u.String(), nil); err != nil {
			w.t.Fatal(err)
		}
	}
	w.t.Fatal("redirected for ever")
	return landing{}
}

func (w *world) visit(b *http.Client, pathAndQuery string) landing {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.server.URL+pathAndQuery, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.follow(b, req)
}

func (w *world) submit(b *http.Client, pathAndQuery string, form url.Values, header ...string) landing {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodPost, w.server.URL+pathAndQuery, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return w.follow(b, req)
}

// csrfOf is the token in the form of a page.
func (l landing) csrfOf() string {
	l.t.Helper()
	m := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(l.body)
	if m == nil {
		l.t.Fatalf("no form at %s: %d %s", l.url, l.status, l.body)
	}
	return m[1]
}

func rand22() string {
	return strings.NewReplacer("-", "a", "_", "b").Replace(base64.RawURLEncoding.EncodeToString([]byte(time.Now().Format("150405.000000000"))))
}

const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

func challengeOf(v string) string {
	sum := sha256.Sum256([]byte(v))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// ask is an authorization request, changed.
func (w *world) ask(id string, change ...string) string {
	redirects := map[string]string{"app": "https://app.example/cb", "spa": "https://spa.example/cb", "old": "https://old.example/cb?tenant=1", "guest": "https://guest.example/cb", "bound": "https://bound.example/cb"}
	v := url.Values{
		"response_type": {"code"}, "client_id": {id}, "redirect_uri": {redirects[id]}, "scope": {"openid email"}, "state": {"st"}, "nonce": {"no"},
		"code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(change); i += 2 {
		if change[i+1] == "" {
			v.Del(change[i])
		} else {
			v.Set(change[i], change[i+1])
		}
	}
	return pathAuthorize + "?" + v.Encode()
}

// code signs in and returns a code.
func (w *world) code(id string, change ...string) string {
	w.t.Helper()
	l := w.visit(w.browser(), w.ask(id, change...))
	if l.get("code") == "" {
		w.t.Fatalf("no code: %s %d %s", l.url, l.status, l.body)
	}
	return l.get("code")
}

// reply is an answer in JSON.
type reply struct {
	status int
	header http.Header
	body   map[string]any
}

func (r reply) text(name string) string {
	s, _ := r.body[name].(string)
	return s
}

// outcome is what matters of a reply: its error, or "ok".
func (r reply) outcome() string {
	if r.status == http.StatusOK || r.status == http.StatusCreated {
		return "ok"
	}
	return r.text("error")
}

// call calls an endpoint for programs as a client; "" calls without authentication.
func (w *world) call(path, id string, form url.Values, header ...string) reply {
	w.t.Helper()
	if id == "spa" || id == "bound" {
		form = withValue(form, "client_id", id)
	}
	req, err := http.NewRequest(http.MethodPost, w.server.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	if id != "" && id != "spa" && id != "bound" && id != "job" && !strings.HasPrefix(id, "spiffe:") {
		req.SetBasicAuth(id, appSecret)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return w.do(req)
}

func withValue(form url.Values, name, value string) url.Values {
	out := url.Values{}
	for k, v := range form {
		out[k] = v
	}
	out.Set(name, value)
	return out
}

func (w *world) do(req *http.Request) reply {
	w.t.Helper()
	c := &http.Client{Transport: w.server.Client().Transport}
	resp, err := c.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode, header: resp.Header}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &r.body); err != nil {
			w.t.Fatalf("%d %s: %v", r.status, b, err)
		}
	}
	return r
}

func codeForm(code, redirect string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {verifier}}
}

const appRedirect = "https://app.example/cb"

func (w *world) signIn() reply {
	w.t.Helper()
	r := w.call(pathToken, "app", codeForm(w.code("app"), appRedirect))
	if r.status != http.StatusOK {
		w.t.Fatalf("%d %v", r.status, r.body)
	}
	return r
}

func refreshForm(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

// claims are those of a token, verified with the published keys.
func (w *world) claims(token string, alg jose.Alg) map[string]any {
	w.t.Helper()
	parsed, err := jose.Parse(token)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := parsed.Verify(w.p.Keys(), alg); err != nil {
		w.t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(raw, &out); err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) active(token string) bool {
	w.t.Helper()
	r := w.call(pathIntrospect, "app", url.Values{"token": {token}})
	if r.status != http.StatusOK {
		w.t.Fatalf("introspect: %d %v", r.status, r.body)
	}
	active, _ := r.body["active"].(bool)
	return active
}

// proofKey makes DPoP proofs.
type proofKey struct {
	t   testing.TB
	key *jose.Key
}

func newProofKey(t testing.TB) proofKey {
	t.Helper()
	k, err := jose.GenerateKey(jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	return proofKey{t, k}
}

func (k proofKey) proof(method, u string, now time.Time, more ...string) string {
	k.t.Helper()
	claims := map[string]any{"htm": method, "htu": u, "iat": now.Unix(), "jti": rand22()}
	for i := 0; i < len(more); i += 2 {
		claims[more[i]] = more[i+1]
	}
	s, err := k.key.SignWithKey("dpop+jwt", claims)
	if err != nil {
		k.t.Fatal(err)
	}
	return s
}
