package preview

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/pow"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wardtest/npm"
)

// onLocalhost is a server's address by the name that WebAuthn takes for a secure domain.
func onLocalhost(s *httptest.Server) string {
	return strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
}

func newPages(t *testing.T, color string) *page.Pages {
	t.Helper()
	p, err := New("Toy Shop", color)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPagesInABrowser opens every page on a phone and a desktop, light and dark: no CSP violation,
// no finding of axe-core, no sideways scrolling, no target under 44 px. WARD_SHOTS names a folder
// for screenshots.
func TestPagesInABrowser(t *testing.T) {
	t.Parallel()
	chromium := need.Program(t, "chromium")
	both := []string{"light", "dark"}
	var all, few []string
	for _, s := range Samples() {
		all = append(all, s.Name)
	}
	few = []string{"sign-in", "account-new", "factors", "activity", "delete"}
	for _, c := range []struct {
		name, color, language string
		schemes, pages        []string
	}{
		{"English", "", "en", both, all},
		{"German", "", "de", both[1:], all}, // another length of texts; colours were seen above
		{"yellow brand", "#ffe14d", "en", both, few},
		{"black brand", "#000000", "en", both, few},
		{"white brand", "#ffffff", "en", both, few},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(Handler(newPages(t, c.color)))
			defer server.Close()
			var answer struct {
				States int
				Faults []string
			}
			shots := os.Getenv("WARD_SHOTS")
			if c.color != "" {
				shots = ""
			}
			npm.Node(t, "testdata/pages.mjs", map[string]any{
				"chromium": chromium, "base": onLocalhost(server), "names": c.pages, "languages": []string{c.language}, "schemes": c.schemes, "shots": shots,
			}, &answer)
			for _, f := range answer.Faults {
				t.Error(f)
			}
			if want := 2 * len(c.pages) * len(c.schemes); answer.States != want {
				t.Errorf("looked at %d states of pages, want %d", answer.States, want)
			}
		})
	}
}

// TestTheBrowserTestFindsFaults shows a page with every fault that TestPagesInABrowser looks for.
func TestTheBrowserTestFindsFaults(t *testing.T) {
	t.Parallel()
	chromium := need.Program(t, "chromium")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "script-src 'self'")
		fmt.Fprint(w, `<!doctype html><title>x</title><script>1</script><p style="color:#aaa">pale</p><button>low</button><div style="width:3000px">wide</div>`)
	}))
	defer server.Close()
	var answer struct{ Faults []string }
	npm.Node(t, "testdata/pages.mjs", map[string]any{"chromium": chromium, "base": server.URL, "names": []string{"bad"}, "languages": []string{"en"}, "schemes": []string{"light"}}, &answer)
	found := strings.Join(answer.Faults, "\n")
	for _, want := range []string{"CSP: script-src", "axe color-contrast", "axe html-has-lang", "scrolls sideways", "target <button>"} {
		if !strings.Contains(found, want) {
			t.Errorf("didn't find %q in:\n%s", want, found)
		}
	}
}

// flows answers forms by showing what was posted.
func flows(p *page.Pages, other, work string) http.Handler {
	preview := Handler(p)
	form := func(w http.ResponseWriter, r *http.Request, allowed ...string) {
		if r.Method == http.MethodPost {
			http.Redirect(w, r, other+"/arrived", http.StatusSeeOther)
			return
		}
		_ = p.Render(w, r, 200, page.VerifyLink{Frame: page.Frame{FormTo: allowed}})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/closed":
			form(w, r)
		case r.URL.Path == "/open":
			form(w, r, other+"/arrived")
		case r.URL.Path == "/continue":
			_ = p.Render(w, r, 200, page.Continue{URL: other + "/arrived?code=1&state=2", Host: "elsewhere"})
		case r.URL.Path == "/register" && r.Method == http.MethodGet:
			_ = p.Render(w, r, 200, page.Register{MinLength: 8, Work: work})
		case r.URL.Path == "/posted":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, "<!doctype html><pre>%s</pre>", html.EscapeString(r.URL.Query().Get("form")))
		case r.Method == http.MethodPost:
			_ = r.ParseForm()
			r.PostForm.Set("origin", r.Header.Get("Origin"))
			b, _ := json.Marshal(r.PostForm)
			http.Redirect(w, r, "/posted?form="+url.QueryEscape(string(b)), http.StatusSeeOther)
		default:
			preview.ServeHTTP(w, r)
		}
	})
}

func TestFlowsInABrowser(t *testing.T) {
	t.Parallel()
	chromium := need.Program(t, "chromium")
	var base string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/frame" {
			fmt.Fprintf(w, `<!doctype html><iframe src="%s/preview/sign-in"></iframe><iframe src="%s/posted"></iframe>`, base, base)
		}
	}))
	defer other.Close()
	p, err := page.New(page.Config{Name: "Toy Shop", Modules: map[string][]byte{"pow.js": pow.Script()}})
	if err != nil {
		t.Fatal(err)
	}
	key := secret.New(make([]byte, secret.KeySize))
	challenge, err := pow.New(key, "register", 5000, moment)
	if err != nil {
		t.Fatal(err)
	}
	work, err := json.Marshal(challenge)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(flows(p, other.URL, string(work)))
	defer server.Close()
	base = onLocalhost(server)

	type post = map[string][]string
	var found struct {
		Created, Asserted, Conditional, PlainPost post
		Worked                                    post
		Refused, PlainReason, Focus, Language     string
		PlainButton, Closed, Open, Continue       bool
		Framed, Frames                            bool
		Injected                                  struct{ Sink, Style string }
	}
	npm.Node(t, "testdata/flows.mjs", map[string]any{"chromium": chromium, "base": base, "other": other.URL}, &found)

	checkCredential(t, found.Created, "webauthn.create", base, "attestationObject")
	checkCredential(t, found.Asserted, "webauthn.get", base, "authenticatorData", "signature", "userHandle")
	checkCredential(t, found.Conditional, "webauthn.get", base, "authenticatorData", "signature", "userHandle")
	if _, err := pow.Verify(key, "register", strings.Join(found.Worked["work"], ""), moment.Add(-time.Minute)); err != nil {
		t.Errorf("the proof of work: %v in %v", err, found.Worked)
	}
	if diff := cmp.Diff([]string{"Firefox on Linux"}, found.Created["label"]); diff != "" {
		t.Errorf("the passkey's name: %s", diff)
	}
	if !strings.Contains(found.Refused, "wasn’t used") {
		t.Errorf("a passkey without user verification: %q", found.Refused)
	}
	if found.PlainButton || !strings.Contains(found.PlainReason, "JavaScript") {
		t.Errorf("without JavaScript: button %v, reason %q", found.PlainButton, found.PlainReason)
	}
	if diff := cmp.Diff(post{"csrf": {"sample"}, "identifier": {"ada@example.com"}, "origin": {base}}, found.PlainPost); diff != "" {
		t.Errorf("posted without JavaScript: %s", diff)
	}
	if found.Focus != "problems" {
		t.Errorf("the focus is on %q", found.Focus)
	}
	if found.Language != "de" {
		t.Errorf("the language chosen before is %q", found.Language)
	}
	if found.Closed || !found.Open || !found.Continue {
		t.Errorf("redirects to another origin: not named %v, named %v, by Continue %v", found.Closed, found.Open, found.Continue)
	}
	if found.Framed || !found.Frames {
		t.Errorf("framed: our page %v, a page without our headers %v", found.Framed, found.Frames)
	}
	if found.Injected.Sink != "refused" || found.Injected.Style == "rgb(1, 2, 3)" {
		t.Errorf("injected markup: %+v", found.Injected)
	}
}

// checkCredential checks a posted credential's shape, and that it answers the sample's challenge.
func checkCredential(t *testing.T, post map[string][]string, kind, origin string, parts ...string) {
	t.Helper()
	if len(post["credential"]) != 1 || post["csrf"][0] != "sample" {
		t.Errorf("%s: posted %v", kind, post)
		return
	}
	var c struct {
		ID, RawID, Type string
		Response        map[string]any
	}
	if err := json.Unmarshal([]byte(post["credential"][0]), &c); err != nil {
		t.Errorf("%s: %v", kind, err)
		return
	}
	if c.ID == "" || c.ID != c.RawID || c.Type != "public-key" {
		t.Errorf("%s: %+v", kind, c)
	}
	for _, name := range append(parts, "clientDataJSON") {
		s, _ := c.Response[name].(string)
		if b, err := base64.RawURLEncoding.DecodeString(s); err != nil || len(b) == 0 {
			t.Errorf("%s: %s is %q", kind, name, s)
		}
	}
	client, _ := c.Response["clientDataJSON"].(string)
	b, _ := base64.RawURLEncoding.DecodeString(client)
	var data struct{ Type, Challenge, Origin string }
	if err := json.Unmarshal(b, &data); err != nil || data.Type != kind || data.Challenge != "AAECAwQFBgcICQoLDA0ODw" || data.Origin != origin {
		t.Errorf("%s: client data %s", kind, b)
	}
}
