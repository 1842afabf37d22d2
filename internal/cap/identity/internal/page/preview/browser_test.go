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
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/pow"
	"github.com/wardhq/ward/internal/wardtest/browser"
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
	b := browser.Start(t)
	var all []string
	for _, s := range Samples() {
		all = append(all, s.Name)
	}
	few := []string{"sign-in", "account-new", "factors", "activity", "delete"}
	for _, c := range []struct {
		name, color, language string
		dark                  []bool
		pages                 []string
	}{
		{"English", "", "en", []bool{false, true}, all},
		{"German", "", "de", []bool{true}, all}, // another length of texts; colours were seen above
		{"yellow brand", "#ffe14d", "en", []bool{false, true}, few},
		{"black brand", "#000000", "en", []bool{false, true}, few},
		{"white brand", "#ffffff", "en", []bool{false, true}, few},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(Handler(newPages(t, c.color)))
			defer server.Close()
			x := newInspector(t, b, onLocalhost(server), c.language)
			defer x.page.Close()
			if c.color == "" {
				x.shots = os.Getenv("WARD_SHOTS")
			}
			for _, name := range c.pages {
				for _, fault := range x.inspect(name, c.dark) {
					t.Error(fault)
				}
			}
			if want := 2 * len(c.pages) * len(c.dark); x.states != want {
				t.Errorf("looked at %d states of pages, want %d", x.states, want)
			}
		})
	}
}

// inspector looks at pages in a language.
type inspector struct {
	page                  *browser.Page
	base, language, shots string
	states                int // how many looks it had
}

func newInspector(t *testing.T, b *browser.Browser, base, language string) *inspector {
	t.Helper()
	p := b.Open(t, browser.Look{Language: language, Still: true})
	p.Always(`globalThis.violations = []; document.addEventListener("securitypolicyviolation", (e) => violations.push(e.violatedDirective + " " + e.blockedURI + " " + e.sample))`)
	p.Refuse("https://*") // pages that lead on by themselves stay to be looked at
	return &inspector{page: p, base: base, language: language}
}

// small says what doesn't fit in the window's width, and what is too low for a finger.
const small = `() => {
	const out = [], e = document.scrollingElement;
	if (e.scrollWidth > e.clientWidth) out.push("scrolls sideways: " + e.scrollWidth + " > " + e.clientWidth);
	for (const c of document.querySelectorAll("a, button, input")) {
		const box = c.getBoundingClientRect();
		if (c.checkVisibility() && c.type !== "hidden" && !c.closest("p:not(.more), .problems") && !c.matches(".skip") && box.height < 43.5) out.push("target " + c.outerHTML.slice(0, 80) + " is " + box.height + " px high");
	}
	return out;
}`

// inspect returns what is wrong with a page.
func (x *inspector) inspect(name string, schemes []bool) (faults []string) {
	at, p := x.base+"/preview/"+name, x.page
	found := func(look string, what []string) {
		for _, w := range what {
			faults = append(faults, fmt.Sprintf("%s %s %s: %s", name, x.language, look, w))
		}
	}
	p.Goto(at)
	for _, size := range []struct {
		name          string
		width, height int64
	}{{"phone", 390, 844}, {"desktop", 1280, 800}} {
		for i, dark := range schemes {
			p.Wear(browser.Look{Width: size.width, Height: size.height, Dark: dark, Still: true, Language: x.language})
			x.states++
			if i == 0 {
				found(size.name, browser.Ask[[]string](p, small))
			}
			look := size.name + map[bool]string{false: "-light", true: "-dark"}[dark]
			found(look+": axe", p.Axe())
			if x.shots != "" {
				p.Shoot(filepath.Join(x.shots, name+"-"+x.language+"-"+look+".png"))
			}
		}
	}
	found("CSP", browser.Ask[[]string](p, `() => violations`))
	for _, w := range p.Problems() {
		// That a page's own status is an error is what was asked for.
		if !strings.HasPrefix(w, "Failed to load resource: the server responded") || !strings.HasSuffix(w, " "+at) {
			found("console", []string{w})
		}
	}
	return faults
}

// TestTheBrowserTestFindsFaults shows a page with every fault that TestPagesInABrowser looks for.
func TestTheBrowserTestFindsFaults(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "script-src 'self'")
		fmt.Fprint(w, `<!doctype html><title>x</title><script>1</script><p style="color:#aaa">pale</p><button>low</button><div style="width:3000px">wide</div>`)
	}))
	defer server.Close()
	found := strings.Join(newInspector(t, browser.Start(t), server.URL, "en").inspect("bad", []bool{false}), "\n")
	for _, want := range []string{"CSP: script-src", "axe: color-contrast", "axe: html-has-lang", "scrolls sideways", "target <button>", "console: Executing inline script"} {
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

	b := browser.Start(t)
	t.Run("passkeys", func(t *testing.T) { passkeys(t, b.Open(t, browser.Look{}), base) })
	t.Run("the proof of work is done by the time that the form is sent", func(t *testing.T) {
		at := b.Open(t, browser.Look{})
		at.Goto(base + "/register")
		at.Fill(called(at, "input", "Name"), "Ada")
		at.Fill(called(at, "input", "E-mail address"), "ada@example.com")
		at.Fill(called(at, "input", "Password"), "four words are enough")
		form := posted(at, called(at, "button", "Create account"))
		if _, err := pow.Verify(key, "register", strings.Join(form["work"], ""), moment.Add(-time.Minute)); err != nil {
			t.Errorf("%v in %v", err, form)
		}
	})
	t.Run("without JavaScript", func(t *testing.T) { withoutJavaScript(t, b.Open(t, browser.Look{Plain: true}), base) })
	t.Run("a language chosen stays chosen", func(t *testing.T) {
		at := b.Open(t, browser.Look{Language: "en"})
		at.Goto(base + "/preview/totp")
		at.Follow(called(at, "a", "Deutsch"))
		at.Goto(base + "/preview/password")
		if got := browser.Ask[string](at, `() => document.documentElement.lang`); got != "de" {
			t.Errorf("the language is %q", got)
		}
	})
	// A redirect to another origin is followed only when the view names it.
	t.Run("where a form may end", func(t *testing.T) {
		at := b.Open(t, browser.Look{})
		at.Always(`globalThis.violated = false; document.addEventListener("securitypolicyviolation", (e) => { violated ||= e.violatedDirective === "form-action"; })`)
		for _, way := range []string{"open", "continue"} {
			at.Goto(base + "/" + way)
			if way == "open" {
				at.Click(called(at, "button", "Yes, confirm it"))
			}
			at.Until(15*time.Second, `(other) => location.href.startsWith(other + "/arrived")`, other.URL)
		}
		at.Goto(base + "/closed")
		at.Problems()
		at.Click(called(at, "button", "Yes, confirm it"))
		at.Until(15*time.Second, `() => violated`) // and so it stays
		if !strings.HasPrefix(at.At(), base) {
			t.Errorf("led to %s", at.At())
		}
	})
	t.Run("nobody may frame a page", func(t *testing.T) {
		at := b.Open(t, browser.Look{})
		at.Goto(onLocalhost(other) + "/frame") // of the same site, so of the same process, but of another origin
		got := browser.AskFrames[string](at, `() => document.querySelectorAll("form").length + " forms, " + document.querySelectorAll("pre").length + " pre"`)
		if diff := cmp.Diff([]string{"0 forms, 0 pre", "0 forms, 1 pre"}, got); diff != "" { // a page without our headers can be framed
			t.Error(diff)
		}
	})
	t.Run("script that got into a page all the same doesn't run", func(t *testing.T) {
		at := b.Open(t, browser.Look{})
		at.Goto(base + "/preview/totp")
		got := browser.Ask[struct{ Sink, Style string }](at, `() => {
			let sink = "ran";
			try {
				document.body.innerHTML = "<img src=x>";
			} catch {
				sink = "refused";
			}
			const inline = document.createElement("button");
			document.body.append(inline);
			inline.setAttribute("style", "color: rgb(1, 2, 3)");
			return { sink, style: getComputedStyle(inline).color };
		}`)
		if got.Sink != "refused" || got.Style == "rgb(1, 2, 3)" {
			t.Errorf("%+v", got)
		}
	})
}

// called waits for the only element with that label or text, and returns a selector for it.
func called(p *browser.Page, selector, name string) string {
	const find = `(selector, name) => {
		const found = [...document.querySelectorAll(selector)].filter((e) => (e.labels?.[0] && selector === "input" ? e.labels[0] : e).innerText.trim().split("\n")[0] === name);
		if (found.length !== 1) return "";
		let path = "";
		for (let e = found[0]; e !== document.documentElement; e = e.parentElement) path = " > :nth-child(" + ([...e.parentElement.children].indexOf(e) + 1) + ")" + path;
		return ":root" + path;
	}`
	p.Until(15*time.Second, find, selector, name)
	return browser.Ask[string](p, find, selector, name)
}

// posted clicks, where that is needed, and returns what was sent.
func posted(p *browser.Page, click string) (form map[string][]string) {
	if click != "" {
		p.Click(click)
	}
	const told = `document.querySelector("pre")?.textContent`
	p.Until(15*time.Second, `() => location.pathname === "/posted" && `+told)
	return browser.Ask[map[string][]string](p, `() => JSON.parse(`+told+`)`)
}

func passkeys(t *testing.T, p *browser.Page, base string) {
	t.Helper()
	device := p.Authenticator()
	p.Goto(base + "/preview/add-passkey")
	created := posted(p, called(p, "button", "Make a passkey"))
	checkCredential(t, created, "webauthn.create", base, "attestationObject")
	if diff := cmp.Diff([]string{"Firefox on Linux"}, created["label"]); diff != "" {
		t.Errorf("the passkey's name: %s", diff)
	}
	p.Goto(base + "/preview/second-passkey")
	checkCredential(t, posted(p, called(p, "button", "Use a passkey")), "webauthn.get", base, "authenticatorData", "signature", "userHandle")
	p.Goto(base + "/preview/sign-in") // conditional UI: the authenticator answers without a click
	checkCredential(t, posted(p, ""), "webauthn.get", base, "authenticatorData", "signature", "userHandle")

	device.Verify(false)
	p.Goto(base + "/preview/second-passkey")
	p.Click(called(p, "button", "Use a passkey"))
	p.Until(15*time.Second, `() => document.querySelector("[data-status]:not(:empty)")`)
	if got := browser.Ask[string](p, `() => document.querySelector("[data-status]").textContent`); !strings.Contains(got, "wasn’t used") {
		t.Errorf("a passkey without user verification: %q", got)
	}
}

// withoutJavaScript: forms work, passkeys say why not, and the summary of problems has the focus.
func withoutJavaScript(t *testing.T, p *browser.Page, base string) {
	t.Helper()
	p.Goto(base + "/preview/sign-in")
	if browser.Ask[bool](p, `() => document.querySelector("[data-start]").checkVisibility()`) {
		t.Error("there is a button for passkeys")
	}
	if got := browser.Ask[string](p, `() => document.querySelector("noscript").innerText`); !strings.Contains(got, "JavaScript") {
		t.Errorf("the reason is %q", got)
	}
	p.Fill(called(p, "input", "E-mail address"), "ada@example.com")
	if diff := cmp.Diff(map[string][]string{"csrf": {"sample"}, "identifier": {"ada@example.com"}, "origin": {base}}, posted(p, called(p, "button", "Continue"))); diff != "" {
		t.Error(diff)
	}
	p.Goto(base + "/preview/totp-wrong")
	if got := browser.Ask[string](p, `() => document.activeElement.className`); got != "problems" {
		t.Errorf("the focus is on %q", got)
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
