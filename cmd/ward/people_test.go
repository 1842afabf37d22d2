package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wardtest/npm"
)

const peopleModel = `
app: people
gateway: {listen: "127.0.0.1:{{port}}"}
users: {name: Harbour Books, color: "#0f5c4d", register: open, second_factor: optional, groups: [staff]}
services:
  web:
    run: ./toy
    env: {NAME: web}
    listen: http://:8080
    expose:
      - {routes: ["GET /own/**"], to: signed-in}
      - {routes: ["GET /admin"], to: "group:staff", mfa: 15m}
`

// seen is what a browser's script saw.
type seen struct {
	Error       string
	Violations  []string
	Steps       []struct{ Name, Origin, Path, Text string }
	Credentials []struct {
		RP       string
		Resident bool
	}
}

// pagesOf is the origin of the sign-in pages.
func pagesOf(url string) string { return strings.Replace(url, "https://", "https://id.", 1) }

func (s *seen) step(t *testing.T, name string) (origin, path, text string) {
	t.Helper()
	for _, x := range s.Steps {
		if x.Name == name {
			return x.Origin, x.Path, x.Text
		}
	}
	t.Fatalf("the browser never came to %q: %s", name, s.Error)
	return "", "", ""
}

func TestPeopleSignInWithABrowser(t *testing.T) {
	need.Program(t, "chromium")
	w := wardtest.Start(t, peopleModel, nil)
	var s seen
	npm.Node(t, "testdata/browser/signin.mjs", map[string]any{
		"url": w.URL, "pages": pagesOf(w.URL), "mail": filepath.Join(w.Dir, ".ward", "mail"), "shots": os.Getenv("WARD_SHOTS"), "phone": os.Getenv("WARD_PHONE") != "",
	}, &s)
	if s.Error != "" || len(s.Violations) > 0 {
		t.Errorf("%s\n%q", s.Error, s.Violations)
	}
	for name, want := range map[string]struct{ origin, path, text string }{
		"led to sign-in":            {pagesOf(w.URL), "/sign-in", "Harbour Books"},
		"registered":                {w.URL, "/own/start", `"X-Ward-User-Email":["ada@example.com"]`},
		"own page":                  {w.URL, "/own/x", `"X-Ward-User-Name":["Ada Lovelace"]`},
		"signed out":                {pagesOf(w.URL), "/signed-out", ""},
		"back by passkey":           {w.URL, "/own/back", `"X-Ward-User-Factor-Time"`},
		"password":                  {pagesOf(w.URL), "/sign-in", ""},
		"asked for a second factor": {pagesOf(w.URL), "/sign-in", "passkey"},
	} {
		origin, path, text := s.step(t, name)
		if origin != want.origin || path != want.path || !strings.Contains(text, want.text) {
			t.Errorf("%s: %s%s\n%s", name, origin, path, text)
		}
	}
	if len(s.Credentials) != 1 || !s.Credentials[0].Resident || "https://"+s.Credentials[0].RP != strings.TrimSuffix(pagesOf(w.URL), w.URL[strings.LastIndex(w.URL, ":"):]) {
		t.Errorf("passkeys: %+v", s.Credentials)
	}
}
