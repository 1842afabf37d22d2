package upstream

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wardtest/postgres"
)

const origin = "https://id.shop.example"

type world struct {
	*Service
	t   testing.TB
	dir string
	mu  sync.Mutex
	now time.Time // guarded by mu
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, dir: t.TempDir(), now: time.Now()}
	w.open(store.Config{Path: filepath.Join(w.dir, "ward.db")})
	return w
}

func (w *world) open(c store.Config) {
	w.t.Helper()
	c.Clock = clock.Func(func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now })
	db, err := store.Open(w.t.Context(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = db.Close() })
	w.Service, err = Open(w.t.Context(), Config{DB: db, Key: secret.New([]byte(strings.Repeat("k", 32))), Clock: c.Clock, Client: &http.Client{}, Origin: origin})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) pass(d time.Duration) { w.mu.Lock(); defer w.mu.Unlock(); w.now = w.now.Add(d) }

// fake is a provider that lies as a test wants it.
type fake struct {
	*httptest.Server
	key       *rsa.PrivateKey
	document  func(map[string]any)
	claims    func(map[string]any)             // changes the ID token
	sign      func(payload []byte) string      // nil: RS256 with the key
	token     func(w http.ResponseWriter) bool // answers itself
	userinfo  map[string]any
	down      atomic.Bool
	documents atomic.Int64
	calls     atomic.Int64 // of the token endpoint

	mu    sync.Mutex
	nonce map[string]string // guarded by mu: by code
}

func newFake(t testing.TB) *fake {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{key: key, nonce: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		f.documents.Add(1)
		if f.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		d := map[string]any{
			"issuer": f.URL, "authorization_endpoint": f.URL + "/authorize", "token_endpoint": f.URL + "/token", "jwks_uri": f.URL + "/keys",
			"userinfo_endpoint": f.URL + "/userinfo", "id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"},
		}
		if f.document != nil {
			f.document(d)
		}
		answer(w, d)
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		f.calls.Add(1)
		if f.token != nil && f.token(w) {
			return
		}
		f.mu.Lock()
		nonce := f.nonce[r.FormValue("code")]
		f.mu.Unlock()
		c := map[string]any{
			"iss": f.URL, "aud": "ward", "sub": "alice", "nonce": nonce, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
			"email": "alice@example.com", "email_verified": true, "name": "Alice",
		}
		if f.claims != nil {
			f.claims(c)
		}
		payload, _ := json.Marshal(c)
		sign := f.sign
		if sign == nil {
			sign = func(p []byte) string { return signed(t, jose.RS256, key, "1", p) }
		}
		answer(w, map[string]any{"access_token": "at", "token_type": "Bearer", "expires_in": 60, "id_token": sign(payload)})
	})
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, _ *http.Request) { answer(w, f.userinfo) })
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func signed(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, payload []byte) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid))
	if err != nil {
		t.Error(err)
		return ""
	}
	j, err := s.Sign(payload)
	if err != nil {
		t.Error(err)
		return ""
	}
	out, err := j.CompactSerialize()
	if err != nil {
		t.Error(err)
	}
	return out
}

func (f *fake) provider(name string) Provider {
	return Provider{Name: name, Title: name, Issuer: f.URL, ClientID: "ward", Secret: secret.New([]byte(clientSecret)), Scopes: []string{"email"}}
}

// consent is the person signing in there: the query that the browser brings back.
func (f *fake) consent(t testing.TB, location string) url.Values {
	t.Helper()
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for k, want := range map[string]string{"response_type": "code", "code_challenge_method": "S256", "client_id": "ward", "scope": "openid email"} {
		if q.Get(k) != want {
			t.Errorf("%s is %q", k, q.Get(k))
		}
	}
	if len(q.Get("state")) < 43 || len(q.Get("nonce")) < 43 || len(q.Get("code_challenge")) != 43 || q.Get("state") == q.Get("nonce") {
		t.Errorf("%s", location)
	}
	code := rand.Text()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nonce[code] = q.Get("nonce")
	return url.Values{"code": {code}, "state": {q.Get("state")}}
}

// round is a whole sign-in.
func (w *world) round(f *fake, name string) (Result, error) {
	w.t.Helper()
	b, err := w.Begin(w.t.Context(), name, "flow")
	if err != nil {
		return Result{}, err
	}
	return w.Finish(w.t.Context(), name, f.consent(w.t, b.Location).Encode(), b.Cookie.Value)
}

func TestLiesOfAProviderAreRefused(t *testing.T) {
	none := func(p []byte) string {
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(p) + "."
	}
	set := func(k string, v any) func(*fake) {
		return func(f *fake) { f.claims = func(c map[string]any) { c[k] = v } }
	}
	for _, c := range []struct {
		name string
		lie  func(*fake)
		kind fault.Kind
	}{
		{"another nonce", set("nonce", "other"), fault.Refused},
		{"no nonce", set("nonce", nil), fault.Refused},
		{"algorithm none", func(f *fake) { f.sign = none }, fault.Refused},
		{"an HMAC with the client's secret", func(f *fake) {
			f.sign = func(p []byte) string { return signed(t, jose.HS256, []byte(clientSecret), "1", p) }
		}, fault.Refused},
		{"an HMAC with the public key", func(f *fake) {
			f.sign = func(p []byte) string { return signed(t, jose.HS256, f.key.N.Bytes(), "1", p) }
		}, fault.Refused},
		{"another key", func(f *fake) {
			other, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			f.sign = func(p []byte) string { return signed(t, jose.RS256, other, "1", p) }
		}, fault.Refused},
		{"expired", set("exp", time.Now().Add(-time.Minute).Unix()), fault.Refused},
		{"not yet", set("nbf", time.Now().Add(time.Hour).Unix()), fault.Refused},
		{"without an end", set("exp", nil), fault.Refused},
		{"another audience", set("aud", "other"), fault.Refused},
		{"two audiences, no party", set("aud", []string{"ward", "other"}), fault.Refused},
		{"another party", set("azp", "other"), fault.Refused},
		{"another issuer", set("iss", "https://other.example"), fault.Refused},
		{"nobody", set("sub", ""), fault.Refused},
		{"a subject without end", set("sub", strings.Repeat("x", 256)), fault.Refused},
		{"another access token", set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), fault.Refused},
		{"userinfo of somebody else", func(f *fake) {
			f.claims = func(c map[string]any) { delete(c, "email") }
			f.userinfo = map[string]any{"sub": "mallory", "email": "admin@example.com", "email_verified": true}
		}, fault.Refused},
		{"no ID token", func(f *fake) {
			f.token = func(w http.ResponseWriter) bool {
				answer(w, map[string]any{"access_token": "at", "token_type": "Bearer"})
				return true
			}
		}, fault.Refused},
		{"a code that it doesn't know", func(f *fake) {
			f.token = func(w http.ResponseWriter) bool {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"error":"invalid_grant","error_description":"SECRET"}`))
				return true
			}
		}, fault.Refused},
		{"an answer without end", func(f *fake) {
			f.token = func(w http.ResponseWriter) bool {
				_, _ = w.Write([]byte(`{"access_token":"` + strings.Repeat("x", 2<<20)))
				return true
			}
		}, fault.Unavailable},
		{"a redirect with our secret", func(f *fake) {
			f.token = func(w http.ResponseWriter) bool {
				w.Header().Set("Location", f.URL+"/token")
				w.WriteHeader(http.StatusTemporaryRedirect)
				return true
			}
		}, fault.Refused},
		{"out of order", func(f *fake) {
			f.token = func(w http.ResponseWriter) bool {
				http.Error(w, "SECRET", http.StatusBadGateway)
				return true
			}
		}, fault.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, f := newWorld(t), newFake(t)
			w.Configure([]Provider{f.provider("fake")})
			if _, err := w.round(f, "fake"); err != nil {
				t.Fatalf("without the lie: %v", err)
			}
			before := f.calls.Load()
			c.lie(f)
			got, err := w.round(f, "fake")
			if err == nil || got != (Result{}) || fault.KindOf(err) != c.kind {
				t.Fatalf("%+v %v", got, err)
			}
			if f.calls.Load() != before+1 {
				t.Errorf("%d calls of the token endpoint", f.calls.Load()-before)
			}
			if strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), clientSecret) || len(err.Error()) > 600 {
				t.Errorf("the error tells what it shouldn't: %.600s", err)
			}
		})
	}
}

func TestCallbacksThatAreNotOurs(t *testing.T) {
	type callback struct {
		provider string
		query    url.Values
		cookie   string
	}
	for _, c := range []struct {
		name   string
		change func(w *world, f *fake, c *callback)
		kind   fault.Kind
	}{
		{"another state", func(_ *world, _ *fake, c *callback) { c.query.Set("state", "other") }, fault.Invalid},
		{"no state", func(_ *world, _ *fake, c *callback) { c.query.Del("state") }, fault.Invalid},
		{"two states", func(_ *world, _ *fake, c *callback) { c.query.Add("state", "other") }, fault.Invalid},
		{"two codes", func(_ *world, _ *fake, c *callback) { c.query.Add("code", "other") }, fault.Invalid},
		{"no cookie: another browser", func(_ *world, _ *fake, c *callback) { c.cookie = "" }, fault.Invalid},
		{"another browser's cookie", func(w *world, _ *fake, c *callback) {
			b, err := w.Begin(w.t.Context(), "fake", "other")
			if err != nil {
				w.t.Fatal(err)
			}
			c.cookie = b.Cookie.Value
		}, fault.Invalid},
		{"a changed cookie", func(_ *world, _ *fake, c *callback) {
			c.cookie = c.cookie[:40] + string(c.cookie[40]^1) + c.cookie[41:]
		}, fault.Invalid},
		{"a cookie without end", func(_ *world, _ *fake, c *callback) { c.cookie = strings.Repeat("A", 1<<20) }, fault.Invalid},
		{"a query without end", func(_ *world, _ *fake, c *callback) { c.query.Set("x", strings.Repeat("A", 1<<20)) }, fault.Invalid},
		{"too late", func(w *world, _ *fake, _ *callback) { w.pass(life) }, fault.Invalid},
		{"at another provider's address", func(_ *world, _ *fake, c *callback) { c.provider = "second" }, fault.Invalid},
		{"at the same provider's address by another name", func(_ *world, _ *fake, c *callback) { c.provider = "twin" }, fault.Invalid},
		{"at no provider's address", func(_ *world, _ *fake, c *callback) { c.provider = "nonsense" }, fault.NotFound},
		{"another issuer's answer", func(_ *world, _ *fake, c *callback) { c.query.Set("iss", "https://attacker.example") }, fault.Refused},
		{"an answer without iss, where it is promised", func(_ *world, f *fake, c *callback) { c.query.Del("iss") }, fault.Refused},
		{"refused there", func(_ *world, _ *fake, c *callback) {
			c.query.Del("code")
			c.query.Set("error", "access_denied")
		}, fault.Refused},
		{"neither code nor error", func(_ *world, _ *fake, c *callback) { c.query.Del("code") }, fault.Refused},
		{"a client that isn't the same any more", func(w *world, f *fake, _ *callback) {
			p := f.provider("fake")
			p.ClientID = "new"
			w.Configure([]Provider{p})
		}, fault.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, f, second := newWorld(t), newFake(t), newFake(t)
			promise := func(d map[string]any) { d["authorization_response_iss_parameter_supported"] = true }
			f.document, second.document = promise, promise
			w.Configure([]Provider{f.provider("fake"), second.provider("second"), f.provider("twin")})
			b, err := w.Begin(t.Context(), "fake", "flow")
			if err != nil {
				t.Fatal(err)
			}
			back := callback{"fake", f.consent(t, b.Location), b.Cookie.Value}
			back.query.Set("iss", f.URL)
			c.change(w, f, &back)
			got, err := w.Finish(t.Context(), back.provider, back.query.Encode(), back.cookie)
			if err == nil || got != (Result{}) || fault.KindOf(err) != c.kind {
				t.Errorf("%+v %v", got, err)
			}
			if f.calls.Load()+second.calls.Load() != 0 {
				t.Error("the code was sent to a provider")
			}
		})
	}
}

// The mix-up of RFC 9700 §4.4: the attacker's provider leads the browser to the honest one, and wants its code.
func TestMixUpSendsNoCodeToTheAttacker(t *testing.T) {
	for _, withIss := range []bool{true, false} {
		w, honest, evil := newWorld(t), newFake(t), newFake(t)
		w.Configure([]Provider{honest.provider("honest"), evil.provider("evil")})
		b, err := w.Begin(t.Context(), "evil", "flow")
		if err != nil {
			t.Fatal(err)
		}
		back := honest.consent(t, b.Location) // evil has sent the browser there, with the same state
		if withIss {
			back.Set("iss", honest.URL)
		}
		// The honest provider knows only its own redirect URI.
		if got, err := w.Finish(t.Context(), "honest", back.Encode(), b.Cookie.Value); err == nil {
			t.Errorf("%+v", got)
		}
		if evil.calls.Load()+honest.calls.Load() != 0 {
			t.Error("a code was sent")
		}
		if withIss {
			if got, err := w.Finish(t.Context(), "evil", back.Encode(), b.Cookie.Value); err == nil || evil.calls.Load() != 0 {
				t.Errorf("%+v: the attacker got the code", got)
			}
		}
	}
}

func TestAnswerIsTakenOnce(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			w, f := newWorld(t), newFake(t)
			c := store.Config{Path: filepath.Join(w.dir, "ward.db")}
			if engine == "postgres" {
				c = store.Config{URL: postgres.Start(t).Database(t)}
				w.open(c)
			}
			w.Configure([]Provider{f.provider("fake")})
			b, err := w.Begin(t.Context(), "fake", "flow")
			if err != nil {
				t.Fatal(err)
			}
			back := f.consent(t, b.Location).Encode()
			var all sync.WaitGroup
			var good atomic.Int64
			for range 8 {
				all.Go(func() {
					if _, err := w.Finish(t.Context(), "fake", back, b.Cookie.Value); err == nil {
						good.Add(1)
					}
				})
			}
			all.Wait()
			if good.Load() != 1 || f.calls.Load() != 1 {
				t.Errorf("%d of 8 at once got in, %d calls", good.Load(), f.calls.Load())
			}
			w.open(c)
			w.Configure([]Provider{f.provider("fake")})
			if _, err := w.Finish(t.Context(), "fake", back, b.Cookie.Value); err == nil {
				t.Error("taken again after a restart")
			}
		})
	}
}

func TestMailAddressesAreVerifiedOnlyIfTheProviderSaysSo(t *testing.T) {
	for _, c := range []struct {
		name     string
		claims   map[string]any
		email    string
		verified bool
	}{
		{"verified", map[string]any{}, "alice@example.com", true},
		{"a text, as Cognito's", map[string]any{"email_verified": "true"}, "alice@example.com", true},
		{"not verified", map[string]any{"email_verified": false}, "alice@example.com", false},
		{"a text that says no", map[string]any{"email_verified": "false"}, "alice@example.com", false},
		{"not said, as Entra's", map[string]any{"email_verified": nil}, "alice@example.com", false},
		{"Entra's claim from somebody else", map[string]any{"email_verified": nil, "xms_edov": true}, "alice@example.com", false},
		{"a list", map[string]any{"email_verified": []bool{true}}, "alice@example.com", false},
		{"no address", map[string]any{"email": "alice"}, "", false},
		{"two addresses", map[string]any{"email": "a@example.com,b@example.com"}, "", false},
		{"a header", map[string]any{"email": "a@example.com\r\nBcc: x"}, "", false},
		{"an address without end", map[string]any{"email": strings.Repeat("a", 300) + "@example.com"}, "", false},
	} {
		w, f := newWorld(t), newFake(t)
		f.claims = func(all map[string]any) {
			for k, v := range c.claims {
				if all[k] = v; v == nil {
					delete(all, k)
				}
			}
		}
		w.Configure([]Provider{f.provider("fake")})
		got, err := w.round(f, "fake")
		if err != nil || got.Email != c.email || got.Verified != c.verified {
			t.Errorf("%s: %+v %v", c.name, got, err)
		}
	}
}

func TestUserinfoFillsIn(t *testing.T) {
	w, f := newWorld(t), newFake(t)
	f.claims = func(c map[string]any) { delete(c, "email"); delete(c, "name"); c["email_verified"] = true }
	f.userinfo = map[string]any{"sub": "alice", "email": "alice@example.com", "name": "Alice\x00"}
	w.Configure([]Provider{f.provider("fake")})
	got, err := w.round(f, "fake")
	if err != nil || got.Email != "alice@example.com" || got.Verified || got.Name != "" {
		t.Errorf("%+v %v: the address is userinfo's, and so is what is said of it", got, err)
	}
}

func TestDiscoveryIsKeptAndRenewed(t *testing.T) {
	w, f := newWorld(t), newFake(t)
	w.Configure([]Provider{f.provider("fake")})
	try := func(want bool, documents int64, when string) {
		t.Helper()
		_, err := w.round(f, "fake")
		if (err == nil) != want || f.documents.Load() != documents {
			t.Errorf("%s: %v, %d documents", when, err, f.documents.Load())
		}
		if err != nil && fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", when, err)
		}
	}
	try(true, 1, "first")
	try(true, 1, "again")
	w.Configure([]Provider{f.provider("fake")})
	try(true, 1, "after a new plan")
	w.pass(30 * time.Minute) // ID tokens of the fake's end after an hour
	w.pass(freshFor / 2)
	f.claims = func(c map[string]any) { c["exp"] = time.Now().Add(1000 * time.Hour).Unix() }
	f.down.Store(true)
	try(true, 3, "stale, the provider is down, two attempts")
	try(true, 3, "at once: no further attempt")
	w.pass(pause)
	f.down.Store(false)
	try(true, 4, "up again")
	f.down.Store(true)
	w.pass(staleFor)
	try(false, 6, "down for a day")
	try(false, 6, "a failure is remembered")
	f.down.Store(false)
	w.pass(pause)
	try(true, 7, "up again")
}

func TestBadDiscoveryDocuments(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"another issuer":             func(d map[string]any) { d["issuer"] = "https://other.example" },
		"a slash more":               func(d map[string]any) { d["issuer"] = d["issuer"].(string) + "/" },
		"a token endpoint in clear":  func(d map[string]any) { d["token_endpoint"] = "http://other.example/token" },
		"keys in clear":              func(d map[string]any) { d["jwks_uri"] = "http://other.example/keys" },
		"a file as keys":             func(d map[string]any) { d["jwks_uri"] = "file:///etc/passwd" },
		"userinfo in clear":          func(d map[string]any) { d["userinfo_endpoint"] = "http://other.example/" },
		"a script as sign-in":        func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" },
		"no sign-in, as Firebase's":  func(d map[string]any) { delete(d, "authorization_endpoint") },
		"a document without its end": func(d map[string]any) { d["x"] = strings.Repeat("x", 2<<20) },
	} {
		w, f := newWorld(t), newFake(t)
		f.document = change
		w.Configure([]Provider{f.provider("fake")})
		if b, err := w.Begin(t.Context(), "fake", ""); err == nil || fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %+v %v", name, b, err)
		}
	}
}

func TestWhoLeavesDoesNotMakeTheProviderFail(t *testing.T) {
	w, f := newWorld(t), newFake(t)
	w.Configure([]Provider{f.provider("fake")})
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if _, err := w.Begin(ctx, "fake", ""); err == nil {
		t.Error("begun for nobody")
	}
	if _, err := w.Begin(t.Context(), "fake", ""); err != nil {
		t.Error(err)
	}
}

func TestCookieAndPath(t *testing.T) {
	w, f := newWorld(t), newFake(t)
	w.Configure([]Provider{f.provider("fake")})
	b, err := w.Begin(t.Context(), "fake", strings.Repeat("f", maxFlow))
	if err != nil {
		t.Fatal(err)
	}
	c := b.Cookie
	if !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode || !strings.HasPrefix(c.Name, "__Host-") || len(c.Value) > maxCookie || c.Valid() != nil {
		t.Errorf("%+v", c)
	}
	if !strings.Contains(b.Location, url.QueryEscape(origin+"/sign-in/with/fake/callback")) {
		t.Error(b.Location)
	}
	if Spent().MaxAge >= 0 {
		t.Error("the spent cookie stays")
	}
	if _, err := w.Begin(t.Context(), "fake", strings.Repeat("f", maxFlow+1)); err == nil {
		t.Error("a flow without end")
	}
	if _, err := w.Begin(t.Context(), "nonsense", ""); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	if n := len(w.Providers()); n != 1 {
		t.Error(n)
	}
}

func TestOpenNeedsItsParts(t *testing.T) {
	w := newWorld(t)
	for i, c := range []Config{
		{DB: w.config.DB, Clock: w.config.Clock, Client: http.DefaultClient, Origin: origin},
		{DB: w.config.DB, Clock: w.config.Clock, Key: w.config.Key, Origin: origin},
		{DB: w.config.DB, Clock: w.config.Clock, Key: w.config.Key, Client: http.DefaultClient},
	} {
		if _, err := Open(t.Context(), c); err == nil {
			t.Errorf("%d opened", i)
		}
	}
}

func TestEntrasOwnClaimCountsOnlyFromEntra(t *testing.T) {
	for _, c := range []struct {
		raw  string
		want bool
	}{{`true`, true}, {`"1"`, true}, {`1`, true}, {`"true"`, true}, {`false`, false}, {`"0"`, false}, {``, false}, {`{}`, false}, {`2`, false}} {
		if got := isTrue(json.RawMessage(c.raw)); got != c.want {
			t.Errorf("%q: %v", c.raw, got)
		}
	}
	for issuer, want := range map[string]bool{entra + "tenant/v2.0": true, "https://login.microsoftonline.com.evil.example/": false, "https://accounts.google.com": false} {
		c := claims{Email: "a@example.com", Owner: json.RawMessage(`true`)}
		if got := c.verified(issuer); got != want {
			t.Errorf("%s: %v", issuer, got)
		}
		c.Verified = json.RawMessage(`false`)
		if c.verified(issuer) {
			t.Errorf("%s: what it denies", issuer)
		}
	}
}
