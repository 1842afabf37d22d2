package console

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wardtest/npm"
)

// TestPagesInABrowser: no page breaks its own policy, runs what somebody else wrote, is wider than a phone, or has something that axe objects to, in
// light and dark. WARD_CONSOLE_SHOTS names a folder for pictures.
func TestPagesInABrowser(t *testing.T) {
	need.Program(t, "chromium")
	w := newWorld(t, shop)
	var seen struct {
		Problems []string
		Opened   int
	}
	npm.Node(t, "testdata/pages.mjs", map[string]any{"url": w.server.URL, "cookie": w.enters("administrator").cookie, "pages": pages, "shots": os.Getenv("WARD_CONSOLE_SHOTS")}, &seen)
	for _, p := range seen.Problems {
		t.Error(p)
	}
	if seen.Opened != len(pages) {
		t.Errorf("opened %d pages", seen.Opened)
	}
}

// TestPeopleInABrowser: news arrive by themselves, the keyboard is enough, and every act works without JavaScript.
func TestPeopleInABrowser(t *testing.T) {
	need.Program(t, "chromium")
	w := newWorld(t, shop)
	happen := w.lives()
	var seen struct{ Problems, Live, Keys, Done []string }
	npm.Node(t, "testdata/acts.mjs", map[string]any{"url": w.server.URL, "cookie": w.enters("administrator").cookie, "happen": happen}, &seen)
	for _, p := range seen.Problems {
		t.Error(p)
	}
	if diff := cmp.Diff([]string{"the focus stays"}, seen.Live); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{`/: all reached, 0 unseen, first "To the content"`, `/findings/7: all reached, 0 unseen, first "To the content"`, "main"}, seen.Keys); diff != "" {
		t.Error(diff)
	}
	words := []string{"Silenced", "The silence has ended", "The client is blocked", "Lifted", "The service is in quarantine", "The finding is closed", "The sessions have ended", "Come in with a link"}
	if !slices.EqualFunc(words, seen.Done, func(want, got string) bool { return strings.Contains(got, want) }) {
		t.Errorf("%q", seen.Done)
	}
}

// lives lets the world's time go on with each request and the console look for news, and returns the address that makes something happen.
func (w *world) lives() string {
	w.t.Helper()
	w.server.Close()
	w.server = httptest.NewServer(advancing(w, w.console.Handler()))
	w.t.Cleanup(w.server.Close)
	happen := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.edges = append(w.edges, w.edge("cart", "db", telemetry.Undeclared, telemetry.Denied, 3, 0), w.edge(plan.Outside, "web", "POST /checkout", telemetry.Allowed, 3, time.Millisecond))
	}))
	w.t.Cleanup(happen.Close)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.console.Run(ctx) })
	w.t.Cleanup(func() { stop(); running.Wait() })
	return happen.URL
}

// advancing lets the world's time go on with each request.
func advancing(w *world, next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.after(nowFor)
		next.ServeHTTP(rw, r)
	})
}
