package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/prove"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wardtest/npm"
)

// TestAttackStaysOutsideTheConsole: nobody's requests, and those of people who aren't, reach nothing at its host.
func TestAttackStaysOutsideTheConsole(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, peopleModel+"watch: {console: {}}\n", nil)
	code, out := runWard(t, w, "", "attack", "--from", "outside", "--json")
	var r prove.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err, out)
	}
	if code != 0 || len(r.Differences) > 0 || len(r.Attackers) != 1 || r.Attackers[0].Attempts < 250 {
		t.Errorf("exit %d: %+v", code, r)
	}
	// Who takes the console away takes it away at once.
	status := func() int {
		ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		ask.Host = strings.Replace(w.URL, "https://", "console.", 1)
		resp, err := wardtest.Client().Do(ask)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if got := status(); got != http.StatusUnauthorized {
		t.Errorf("before: status %d", got)
	}
	b, err := os.ReadFile(w.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.File, bytes.Replace(b, []byte("watch: {console: {}}"), []byte("watch: {}"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	wardtest.Eventually(t, "the console is gone", func() bool { return status() == http.StatusMisdirectedRequest })
}

// TestTheConsoleBehindTheGateway: at its own host, for who signed in with a passkey and has the role, as long as they have it.
func TestTheConsoleBehindTheGateway(t *testing.T) {
	t.Parallel()
	need.Program(t, "chromium")
	w := wardtest.Start(t, peopleModel+"watch: {console: {}}\n", nil)
	ask := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/promote":
			if code, out := runWard(t, w, "", "users", "set", "ada@example.com", "--role", "ward-admin"); code != 0 {
				t.Error(out)
			}
		case "/demote":
			if code, out := runWard(t, w, "", "users", "set", "ada@example.com", "--no-role", "ward-admin"); code != 0 {
				t.Error(out)
			}
		case "/attack":
			w.Get("/call?url=http://orders:8080/admin")
		}
	}))
	defer ask.Close()
	home := strings.Replace(w.URL, "https://", "https://console.", 1)
	var s seen
	npm.Node(t, "testdata/browser/console.mjs", map[string]any{
		"url": w.URL, "pages": pagesOf(w.URL), "console": home, "mail": filepath.Join(w.Dir, ".ward", "mail"), "ask": ask.URL, "shots": os.Getenv("WARD_SHOTS"),
	}, &s)
	if s.Error != "" || len(s.Violations) > 0 {
		t.Errorf("%s\n%q", s.Error, s.Violations)
	}
	for _, want := range []struct{ name, origin, path, text string }{
		{"nobody", pagesOf(w.URL), "/sign-in", "Harbour Books"},
		{"without a role", home, "/findings", "this isn't open to you"},
		{"with a role", home, "/", "ada@example.com · administrator"},
		{"an attack as it happens", home, "/", "web → orders: refused"},
		{"cut off", home, "/services/mailer", "The service is in quarantine"},
		{"let go", home, "/findings", "Lifted"},
		{"no longer", pagesOf(w.URL), "/sign-in", ""}, // losing a role ends the sessions
		{"left", pagesOf(w.URL), "/signed-out", ""},
		{"nobody again", pagesOf(w.URL), "/sign-in", ""},
	} {
		origin, path, text := s.step(t, want.name)
		if origin != want.origin || path != want.path || !strings.Contains(text, want.text) {
			t.Errorf("%s: %s%s\n%s", want.name, origin, path, text)
		}
	}
	for _, kind := range []string{"console.entered", "console.act"} {
		if code, out := runWard(t, w, "", "audit", "--kind", kind); code != 0 || !strings.Contains(out, "ada@example.com") {
			t.Errorf("%s: %s", kind, out)
		}
	}
}
