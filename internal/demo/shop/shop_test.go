package shop

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/google/go-cmp/cmp"
)

// world is the whole shop in this process, each role behind a server of its own.
type world struct {
	urls  map[string]string
	dirs  map[string]string
	log   record
	cards *Cards
	// database is the URL that orders is given.
	database string
}

// record is a log that several roles write.
type record struct {
	mu sync.Mutex
	b  strings.Builder // guarded by mu
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{urls: map[string]string{}, dirs: map[string]string{}, cards: &Cards{Key: "k"}}
	cards := httptest.NewServer(w.cards)
	t.Cleanup(cards.Close)
	w.urls["cards"] = cards.URL
	listeners := map[string]net.Listener{}
	for _, name := range Names() {
		ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[name], w.urls[name], w.dirs[name] = ln, "http://"+ln.Addr().String(), t.TempDir()
		if err := os.Mkdir(filepath.Join(w.dirs[name], "data"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.database = "postgres://shop:" + dbPassword + "@" + listeners[dbName].Addr().String() + "/shop"
	var owned sync.WaitGroup
	t.Cleanup(owned.Wait) // t.Context has ended by then
	for _, r := range roles() {
		owned.Go(func() {
			if err := r.serve(t.Context(), listeners[r.name], Config{Dir: w.dirs[r.name], Log: &w.log, Env: w.env}); err != nil {
				t.Errorf("%s: %v", r.name, err)
			}
		})
	}
	static, err := Static()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(w.dirs["web"], "static"), static); err != nil {
		t.Fatal(err)
	}
	return w
}

const dbPassword = "a-long-kept-password"

// env is what every role finds in its environment.
func (w *world) env(k string) string {
	switch k {
	case "CARDS_API_KEY":
		return w.cards.Key
	case "DATABASE_URL":
		return w.database
	case "DB_PASSWORD":
		return dbPassword
	}
	name, ok := strings.CutSuffix(k, "_URL")
	if !ok {
		return ""
	}
	return w.urls[strings.ToLower(name)]
}

func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

func body(t *testing.T, resp *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// buy orders a book with a note and returns the order's owner and number, and its page.
func (w *world) buy(t *testing.T, c *http.Client, note string) (id, page string) {
	t.Helper()
	resp, err := c.PostForm(w.urls["web"]+"/cart/items", url.Values{"book": {"2"}})
	if b := body(t, resp, err); !strings.Contains(b, "Salt and Iron") {
		t.Fatalf("the cart doesn't show the book:\n%s", b)
	}
	resp, err = c.PostForm(w.urls["web"]+"/checkout", url.Values{"card": {"4242424242424242"}, "address": {"Quay 1"}, "note": {note}})
	page = body(t, resp, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("checkout: %d\n%s", resp.StatusCode, page)
	}
	return strings.TrimPrefix(resp.Request.URL.Path, "/orders/"), page
}

func TestOneBuysABook(t *testing.T) {
	w := newWorld(t)
	c := browser(t)
	resp, err := c.PostForm(w.urls["web"]+"/login", url.Values{"name": {"Ada"}})
	if b := body(t, resp, err); !strings.Contains(b, "Low Orbit") || !strings.Contains(b, `value="Ada"`) {
		t.Fatalf("home page:\n%s", b)
	}
	id, page := w.buy(t, c, "Happy birthday")
	for _, want := range []string{"Salt and Iron", "ch_000001", "Quay 1", "Your note: Happy birthday"} {
		if !strings.Contains(page, want) {
			t.Errorf("the order's page lacks %q:\n%s", want, page)
		}
	}
	if got := w.cards.Charges(); got != 1 {
		t.Errorf("%d charges", got)
	}
	ws, _, err := websocket.Dial(t.Context(), w.urls["web"]+"/live/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for {
		var s Status
		if wsjson.Read(t.Context(), ws, &s) != nil {
			break
		}
		seen = append(seen, s.Status)
	}
	if diff := cmp.Diff(stages(), seen); diff != "" {
		t.Errorf("live view (-want +got):\n%s", diff)
	}
	for _, path := range []string{"/", "/books/3", "/cart", "/static/shop.css", "/docs?file=terms.txt", "/api/orders/" + id} {
		resp, err := c.Get(w.urls["web"] + path)
		if body(t, resp, err); resp.StatusCode != http.StatusOK {
			t.Errorf("GET %s: %d", path, resp.StatusCode)
		}
	}
}

// TestHolesAreThere keeps the shop as bad as the demo needs it.
func TestHolesAreThere(t *testing.T) {
	w := newWorld(t)
	c := browser(t)
	tests := []struct {
		name, role, path, header, value string
		want                            string
	}{
		{"an internal route trusts a header", "orders", "/internal/export", "X-Internal", "true", "["},
		{"an internal route of web trusts it too", "web", "/internal/stats", "X-Internal", "true", "visits"},
		{"a cookie makes an administrator", "web", "/admin", "Cookie", "role=cm9sZT1hZG1pbg==", "All orders"},
		{"pprof is open", "catalog", "/debug/pprof/cmdline", "", "", "shop.test"},
		{"a path climbs out of static", "web", "/static/..%2fdata/../static/docs/terms.txt", "", "", "Harbour Books"},
		{"a parameter climbs out of docs", "web", "/docs?file=../../../../../../../../../proc/self/cmdline", "", "", "shop.test"},
		{"cover fetches anything", "web", "/cover?url=" + url.QueryEscape(w.urls["orders"]+"/internal/export"), "X-Internal", "true", "["},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.urls[tt.role]+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tt.header != "" {
				req.Header.Set(tt.header, tt.value)
			}
			resp, err := c.Do(req)
			if b := body(t, resp, err); !strings.Contains(b, tt.want) || resp.StatusCode != http.StatusOK {
				t.Errorf("%d %.300s, want %q", resp.StatusCode, b, tt.want)
			}
		})
	}
	t.Run("a note runs a program, a log has the card, a file has the token", func(t *testing.T) {
		_, page := w.buy(t, c, `{{run "echo" "taken" "over"}}`)
		if !strings.Contains(page, "taken over") {
			t.Errorf("the program didn't run:\n%s", page)
		}
		if !strings.Contains(w.log.String(), "card=4242424242424242") {
			t.Errorf("log: %s", w.log.String())
		}
		b, err := os.ReadFile(filepath.Join(w.dirs["mailer"], "data", "outbox.json"))
		if err != nil || !strings.Contains(string(b), "Bearer ") {
			t.Errorf("outbox: %s %v", b, err)
		}
	})
	t.Run("an error tells all that a service has", func(t *testing.T) {
		resp, err := c.PostForm(w.urls["web"]+"/cart/items", url.Values{"book": {"2"}})
		body(t, resp, err)
		resp, err = c.PostForm(w.urls["web"]+"/checkout", url.Values{"card": {"1"}, "address": {"Quay 1"}})
		if b := body(t, resp, err); !strings.Contains(b, "payments has: ") || !strings.Contains(b, "orders has: ") {
			t.Errorf("%d %s", resp.StatusCode, b)
		}
	})
	t.Run("payments takes charges from anyone", func(t *testing.T) {
		if _, err := Charge(t.Context(), strings.TrimPrefix(w.urls["payments"], "http://"), "4000000000000000", "x", 100); err != nil {
			t.Error(err)
		}
	})
}

func TestRunServesUntilItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	go func() {
		ended <- Run(ctx, "catalog", Config{Dir: dir, Log: io.Discard, Env: func(k string) string {
			return map[string]string{"LISTEN": "127.0.0.1:0"}[k]
		}})
	}()
	cancel()
	if err := <-ended; err != nil && !strings.Contains(fmt.Sprint(err), "canceled") {
		t.Error(err)
	}
	if err := Run(t.Context(), "nobody", Config{}); err == nil {
		t.Error("a role that doesn't exist ran")
	}
}
