package console

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wardtest/npm"
	"github.com/wardhq/ward/internal/wire"
)

// TestPagesInABrowser: no page breaks its own policy, runs what somebody else wrote, is wider than a phone, or has something that axe objects to, in
// light and dark, or that the keyboard doesn't reach. WARD_CONSOLE_SHOTS names a folder for pictures.
func TestPagesInABrowser(t *testing.T) {
	t.Parallel() // it mostly waits
	need.Program(t, "chromium")
	w := newWorld(t, shop)
	var seen struct {
		Problems []string
		Opened   int
		Walked   int
	}
	npm.Node(t, "testdata/pages.mjs", map[string]any{"url": w.server.URL, "cookie": w.enters("administrator").cookie, "pages": pages, "shots": os.Getenv("WARD_CONSOLE_SHOTS")}, &seen)
	for _, p := range seen.Problems {
		t.Error(p)
	}
	if seen.Opened != len(pages) || seen.Walked < 30*len(pages)/2 {
		t.Errorf("opened %d pages, reached %d things", seen.Opened, seen.Walked)
	}
}

// TestPeopleInABrowser: news arrive by themselves, the keyboard is enough, and every act works without JavaScript.
func TestPeopleInABrowser(t *testing.T) {
	t.Parallel() // it mostly waits
	need.Program(t, "chromium")
	w := newWorld(t, shop)
	happen := w.lives()
	var seen struct{ Problems, Live, Copied, Keys, Done []string }
	npm.Node(t, "testdata/acts.mjs", map[string]any{"url": w.server.URL, "cookie": w.enters("administrator").cookie, "happen": happen}, &seen)
	for _, p := range seen.Problems {
		t.Error(p)
	}
	if diff := cmp.Diff([]string{"the focus stays"}, seen.Live); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"ward findings allow 7", "@@ ward.yaml:12 @@", "ward audit prove 12"}, seen.Copied); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"main"}, seen.Keys); diff != "" {
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
		w.news++
		w.now = w.now.Add(peopleEvery)
		w.edges = append(w.edges, w.edge("cart", "db", telemetry.Undeclared, telemetry.Denied, 3, 0), w.edge(plan.Outside, "web", "POST /checkout", telemetry.Allowed, 3, time.Millisecond))
		f := watch.Finding{ID: int64(100 + w.news), Rule: "undeclared-call", Severity: finding.Critical, Count: 1, Opened: w.now, Last: w.now}
		f.What = "cart asked db for a connection"
		w.found = append([]watch.Finding{f}, w.found...)
		w.standing = append(w.standing, wire.Restriction{ID: fmt.Sprintf("q%d", w.news), Service: string(w.plan.Services[w.news%len(w.plan.Services)].Name), Reason: "it happened", Until: w.now.Add(time.Hour)})
	}))
	w.t.Cleanup(happen.Close)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.console.Run(ctx) })
	w.t.Cleanup(func() { stop(); running.Wait() })
	return happen.URL
}

// TestReadersKeepTheirPlace: what happens comes onto every page by itself, and who reads keeps the focus, what is marked, scrolled, opened and half typed.
func TestReadersKeepTheirPlace(t *testing.T) {
	t.Parallel() // it mostly waits
	need.Program(t, "chromium")
	w := newWorld(t, shop)
	w.standing = []wire.Restriction{{ID: "a1", Service: "db", Reason: "odd", Until: w.now.Add(time.Hour)}}
	happen := w.lives()
	looks := []map[string]string{
		{"at": "/", "live": "#table", "focus": "#map a[href='/services/orders']", "mark": "#table tbody tr:last-child code"},
		{"at": "/findings", "live": "#answers", "focus": "#answers button", "mark": "#inbox a[href='/findings/9']"},
		{"at": "/traces", "live": "#traces", "focus": "#traces tbody a", "mark": "#traces tbody code"},
		{"at": "/logs", "live": "#lines", "focus": "#lines .svc", "mark": "#lines code"},
		{"at": "/audit", "live": "#records", "focus": "#records tbody a", "mark": "#records tbody tr:last-child .details"},
		{"at": "/people", "live": "#people", "focus": "#people tbody a", "mark": "#people tbody a"},
		{"at": "/people/u1", "live": "#sessions", "focus": "#sessions button", "mark": "#sessions b"},
		{"at": "/posture", "live": "#standings", "focus": "#standings tbody tr:nth-child(2) a", "mark": "#standings tbody td:nth-child(2)"},
		{"at": "/services/web", "live": "#in", "focus": "#charts details .wide", "mark": "#about code"},
	}
	var seen struct {
		Problems []string
		Kept     int
	}
	npm.Node(t, "testdata/live.mjs", map[string]any{"url": w.server.URL, "cookie": w.enters("administrator").cookie, "happen": happen, "pages": looks}, &seen)
	for _, p := range seen.Problems {
		t.Error(p)
	}
	if seen.Kept != len(looks) {
		t.Errorf("%d of %d kept", seen.Kept, len(looks))
	}
}

// advancing lets the world's time go on with each request.
func advancing(w *world, next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.after(nowFor)
		next.ServeHTTP(rw, r)
	})
}
