package site

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/pow"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

const (
	origin    = "https://id.example.com"
	appOrigin = "https://shop.example.com"
	goodWord  = "tangled-umbrella-frost-71"
)

// outbox keeps what was sent.
type outbox struct {
	mu   sync.Mutex // guards sent
	sent []message.Message
}

func (o *outbox) Put(m message.Message) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent = append(o.sent, m)
	return nil
}

func (o *outbox) all() []message.Message {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.sent)
}

// last is the text of the latest message to an address.
func (o *outbox) last(t testing.TB, to string) string {
	t.Helper()
	list := o.all()
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].To == to {
			return string(list[i].Text.Reveal())
		}
	}
	t.Fatalf("nothing was sent to %s", to)
	return ""
}

func find(t testing.TB, pattern, text string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %s in:\n%s", pattern, text)
	}
	return html.UnescapeString(m[1])
}

// world is a whole site in a test, served over TLS on the loopback.
type world struct {
	*account.Service
	t      testing.TB
	users  *model.Users
	mail   *outbox
	sms    *outbox
	events []wire.Event
	ended  []string
	flag   func(account.Flag) account.Response
	server *httptest.Server
	mu     sync.Mutex // guards now, events, ended
	now    time.Time
}

func (w *world) sleep(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func newWorld(t testing.TB, config store.Config) *world {
	t.Helper()
	w := &world{t: t, mail: &outbox{}, sms: &outbox{}, now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}
	w.users = &model.Users{Name: "Demo Shop", Passwords: true, Register: model.RegisterOpen, Idle: 3600 * 12, Absolute: 7 * 24 * 3600}
	clk := clock.Func(func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.now
	})
	if config.Path == "" && config.URL.Reveal() == nil {
		config.Path = filepath.Join(t.TempDir(), "ward.db")
	}
	config.Clock = clk
	db, err := store.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w.Service, err = account.New(t.Context(), account.Config{
		DB: db, Key: secret.New([]byte(strings.Repeat("k", 32))), Clock: clk, Origin: origin, Users: func() *model.Users { return w.users },
		Mail: w.mail, SMS: w.sms, AllowOrigin: func(o string) bool { return o == appOrigin },
		Record: func(e wire.Event) { w.mu.Lock(); w.events = append(w.events, e); w.mu.Unlock() },
		Ended:  func(_ context.Context, ids []string) { w.mu.Lock(); w.ended = append(w.ended, ids...); w.mu.Unlock() },
		Flag: func(_ context.Context, f account.Flag) account.Response {
			if w.flag == nil {
				return account.Response{}
			}
			return w.flag(f)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	pages, err := page.New(page.Config{Name: "Demo Shop", Modules: map[string][]byte{"pow.js": pow.Script()}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	New(Config{
		Accounts: w.Service, Pages: func() *page.Pages { return pages },
		Visitor: func(r *http.Request) wire.Visitor {
			return wire.Visitor{IP: r.Header.Get("X-Test-IP"), UserAgent: r.UserAgent(), Fingerprint: "print"}
		},
	}).Routes(mux)
	// What a client of OAuth would have: a place of the same origin to resume at.
	mux.HandleFunc("GET /oauth/resume", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "resumed") })
	w.server = httptest.NewTLSServer(mux)
	t.Cleanup(w.server.Close)
	return w
}

// browser is one browser.
type browser struct {
	*world
	client *http.Client
	jar    *cookiejar.Jar
	ip     string
	header http.Header
}

func (w *world) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	transport := w.server.Client().Transport.(*http.Transport).Clone()
	address := w.server.Listener.Addr().String()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &browser{world: w, jar: jar, ip: "192.0.2.1", header: http.Header{}, client: &http.Client{Transport: transport, Jar: jar, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 8 {
			return errors.New("redirects without end")
		}
		if "https://"+r.URL.Host != origin {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

// answer is a page as it came.
type answer struct {
	status int
	body   string
	at     *url.URL // where redirects ended
	header http.Header
}

func (b *browser) do(method, address string, form url.Values) answer {
	b.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = origin + address
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	r.Header.Set("X-Test-IP", b.ip)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", origin)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for k, v := range b.header {
		r.Header[k] = v
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{res.StatusCode, string(body), res.Request.URL, res.Header}
}

func (b *browser) get(address string) answer { b.t.Helper(); return b.do(http.MethodGet, address, nil) }

// send posts a page's form, as filled in, to the page's own address; and follows a Refresh of ours.
func (b *browser) send(on answer, fields ...string) answer {
	b.t.Helper()
	form := url.Values{"csrf": {find(b.t, `name="csrf" value="([^"]+)"`, on.body)}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	a := b.do(http.MethodPost, on.at.String(), form)
	if to := a.header.Get("Refresh"); to != "" {
		_, to, _ = strings.Cut(to, "url=")
		return b.get(to)
	}
	return a
}

func (b *browser) cookie(name string) string {
	u, _ := url.Parse(origin) // well-formed
	for _, c := range b.jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func (a answer) want(t testing.TB, status int, path string) answer {
	t.Helper()
	if a.status != status || a.at.Path != path {
		t.Fatalf("got %d at %s, want %d at %s:\n%s", a.status, a.at, status, path, text(a.body))
	}
	return a
}

// text is a page without its markup.
func text(body string) string {
	return strings.Join(strings.Fields(regexp.MustCompile(`(?s)<[^>]*>`).ReplaceAllString(body, " ")), " ")
}

// problem is the text of the problem that a page shows.
func (a answer) has(t testing.TB, what string) {
	t.Helper()
	if !strings.Contains(text(html.UnescapeString(a.body)), what) {
		t.Fatalf("%q isn't on the page at %s (%d):\n%s", what, a.at, a.status, text(a.body))
	}
}

// person makes somebody with a password.
func (w *world) person(email string) string {
	w.t.Helper()
	encoded, err := w.Hasher.Hash(w.t.Context(), secret.New([]byte(goodWord)))
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := w.Create(w.t.Context(), account.NewPerson{Email: email, Name: "Ada", Verified: true, Password: encoded})
	if err != nil {
		w.t.Fatal(err)
	}
	return p.ID
}

// authenticator is an app with one secret.
type authenticator struct {
	w   *world
	key string
}

func (a authenticator) code() string {
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(strings.ReplaceAll(a.key, " ", "")))
	if err != nil {
		a.w.t.Fatal(err)
	}
	return totp(raw, a.w.Clock.Now())
}

// named goes to the password page for an address.
func (b *browser) named(email string) answer {
	b.t.Helper()
	return b.send(b.get("/sign-in").want(b.t, 200, "/sign-in"), "identifier", email)
}

func (b *browser) withPassword(email, password string) answer {
	b.t.Helper()
	return b.send(b.named(email), "password", password)
}

// enrolTOTP sets an authenticator up where a sign-in asks for one.
func (b *browser) enrolTOTP(on answer) (authenticator, answer) {
	b.t.Helper()
	on = b.send(on, "factor", "totp")
	a := authenticator{b.world, find(b.t, `<code class="key">([^<]+)</code>`, on.body)}
	return a, b.send(on, "code", a.code())
}

// enrolled is somebody with password and authenticator, signed in.
func (w *world) enrolled(email string) (*browser, authenticator, string) {
	w.t.Helper()
	id := w.person(email)
	b := w.browser()
	a, at := b.enrolTOTP(b.withPassword(email, goodWord))
	at.want(w.t, 200, "/account")
	w.sleep(time.Minute)
	return b, a, id
}

// token is a passkey's device.
type token struct {
	rp   virtualwebauthn.RelyingParty
	auth virtualwebauthn.Authenticator
	cred virtualwebauthn.Credential
}

// newCredential is a P-256 key. The library writes coordinates without their leading zeros, which one key in 128 has and
// RFC 9053 §7.1.1 forbids: those are drawn again.
func newCredential() virtualwebauthn.Credential {
	const whole = 77 // bytes of COSE with two coordinates of 32
	for {
		if c := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2); len(c.Key.AttestationData()) == whole {
			return c
		}
	}
}

func newToken(person string) *token {
	t := &token{rp: virtualwebauthn.RelyingParty{Name: "Demo Shop", ID: "id.example.com", Origin: origin}, cred: newCredential()}
	t.auth = virtualwebauthn.NewAuthenticatorWithOptions(virtualwebauthn.AuthenticatorOptions{UserHandle: []byte(person)})
	return t
}

func options(t testing.TB, on answer) string {
	t.Helper()
	return find(t, `data-options="([^"]+)"`, on.body)
}

func (k *token) make(t testing.TB, on answer) string {
	t.Helper()
	o, err := virtualwebauthn.ParseAttestationOptions(options(t, on))
	if err != nil {
		t.Fatal(err)
	}
	return virtualwebauthn.CreateAttestationResponse(k.rp, k.auth, k.cred, *o)
}

func (k *token) answer(t testing.TB, on answer) string {
	t.Helper()
	o, err := virtualwebauthn.ParseAssertionOptions(options(t, on))
	if err != nil {
		t.Fatal(err)
	}
	k.cred.Counter++
	return virtualwebauthn.CreateAssertionResponse(k.rp, k.auth, k.cred, *o)
}

// solve does the work that a page asks for.
func solve(t testing.TB, on answer) string {
	t.Helper()
	var c pow.Challenge
	if err := json.Unmarshal([]byte(find(t, `data-work="([^"]+)"`, on.body)), &c); err != nil {
		t.Fatal(err)
	}
	for n := range c.MaxNumber + 1 {
		sum := sha256.Sum256(strconv.AppendInt([]byte(c.Salt), n, 10))
		if hex.EncodeToString(sum[:]) != c.Challenge {
			continue
		}
		b, err := json.Marshal(map[string]any{"algorithm": c.Algorithm, "challenge": c.Challenge, "number": n, "salt": c.Salt, "signature": c.Signature})
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(b)
	}
	t.Fatal("the work has no solution")
	return ""
}
