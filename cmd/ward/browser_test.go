package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/demo/visitor"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/browser"
)

// soon is how long what a person waits for may take, with all that runs beside.
const soon = 20 * time.Second

const passkeyButton = "form[data-passkey=get] [data-start]"

// surfer is a person who uses an application with Chromium and a passkey.
type surfer struct {
	*browser.Page
	t       *testing.T
	world   *wardtest.World
	device  *browser.Authenticator
	mailbox *visitor.Browser
	shots   string
	seen    int
}

// surf opens a page for somebody new. WARD_SHOTS names a folder for pictures, WARD_PHONE says that they are a phone's.
func surf(t *testing.T, w *wardtest.World) *surfer {
	t.Helper()
	look := browser.Look{Trusting: true}
	if os.Getenv("WARD_PHONE") != "" {
		look.Width, look.Height = 390, 844
	}
	p := browser.Start(t).Open(t, look)
	return &surfer{Page: p, t: t, world: w, device: p.Authenticator(), mailbox: visitor.New(visitor.Transport(w.Roots()), filepath.Join(w.Dir, ".ward", "mail")), shots: os.Getenv("WARD_SHOTS")}
}

// arrives waits until all of a document of that origin is there.
func (s *surfer) arrives(origin string) {
	s.t.Helper()
	s.Until(soon, `(origin) => location.origin === origin && document.readyState === "complete"`, origin)
}

// sees says what step this is, where it has to be, and what the page has to say; nothing in it may be against its own policy, or have failed.
func (s *surfer) sees(step, origin, path, text string) {
	s.t.Helper()
	if s.shots != "" {
		s.Shoot(filepath.Join(s.shots, s.t.Name()+"-"+string(rune('a'+s.seen))+"-"+strings.ReplaceAll(step, " ", "-")+".png"))
		s.seen++
	}
	at := browser.Ask[struct{ Origin, Path, Text string }](s.Page, `() => ({ origin: location.origin, path: location.pathname, text: document.body.innerText + "\n" + document.body.textContent })`)
	if at.Origin != origin || at.Path != path || !strings.Contains(at.Text, text) {
		s.t.Errorf("%s: at %s%s, not %s%s with %q:\n%s", step, at.Origin, at.Path, origin, path, text, at.Text)
	}
	for _, x := range s.Problems() {
		if !strings.HasPrefix(x, "Failed to load resource: ") { // what is refused, and the news of a session that ends, are looked at elsewhere
			s.t.Errorf("%s: %s", step, x)
		}
	}
}

// registers fills the page on which one makes an account.
func (s *surfer) registers() {
	s.t.Helper()
	s.Fill("input[name=name]", "Ada Lovelace")
	s.Fill("input[name=email]", "ada@example.com")
	s.Fill("input[name=password]", goodPassword)
	s.Until(soon, `() => document.querySelector("input[name=work]").value`)
}

// confirms sends that page, and fills the next with the code that comes by mail.
func (s *surfer) confirms() {
	s.t.Helper()
	began := time.Now()
	s.Follow("form button.primary")
	code, err := s.mailbox.MailedCode(s.t.Context(), "ada@example.com", began)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Fill("input[name=code]", code)
}

// signsUp makes an account, and gives it a passkey.
func (s *surfer) signsUp() {
	s.t.Helper()
	pages := pagesOf(s.world.URL)
	s.Goto(pages + "/register")
	s.registers()
	s.confirms()
	s.Follow("form button.primary")
	s.Goto(pages + "/account/factors/passkey")
	s.Follow("[data-start]")
}

// asksFirst keeps sign-in pages from asking for a passkey before the button is pressed.
func (s *surfer) asksFirst() {
	s.t.Helper()
	s.Always(`PublicKeyCredential.isConditionalMediationAvailable = async () => false`)
}

// TestPeopleSignInWithABrowser: a person signs up, adds a passkey, signs out, comes back with it, and is led through step-up.
func TestPeopleSignInWithABrowser(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, peopleModel, nil)
	s, pages := surf(t, w), pagesOf(w.URL)

	s.Goto(w.URL + "/own/start?x=1")
	s.sees("led to sign-in", pages, "/sign-in", "Harbour Books")
	s.Follow("a[href*='register']")
	s.registers()
	s.sees("register", pages, "/register", "")
	s.confirms()
	s.Click("form button.primary")
	s.arrives(w.URL)
	s.sees("registered", w.URL, "/own/start", `"X-Ward-User-Email":["ada@example.com"]`)
	s.Goto(w.URL + "/own/x")
	s.sees("own page", w.URL, "/own/x", `"X-Ward-User-Name":["Ada Lovelace"]`)

	s.Goto(pages + "/account/factors")
	s.sees("factors", pages, "/account/factors", "")
	s.Goto(pages + "/account/factors/passkey")
	s.sees("add passkey", pages, "/account/factors/passkey", "")
	s.Follow("[data-start]")
	s.sees("passkey added", pages, "/account/factors", "")
	home, err := url.Parse(pages)
	if err != nil {
		t.Fatal(err)
	}
	if keys := s.device.Passkeys(); len(keys) != 1 || !keys[0].IsResidentCredential || keys[0].RpID != home.Hostname() {
		t.Errorf("passkeys: %+v", keys)
	}

	s.Goto(pages + "/account/sessions")
	s.sees("sessions", pages, "/account/sessions", "")
	s.Goto(w.URL + "/own/x")
	s.Await(func() {
		browser.Ask[any](s.Page, `() => { const f = document.createElement("form"); f.method = "post"; f.action = "/.ward/sign-out"; document.body.append(f); setTimeout(() => f.submit()); }`)
	})
	s.arrives(pages)
	s.sees("signed out", pages, "/signed-out", "")

	// A discoverable passkey: nothing is typed or pressed. The page asks by itself (conditional UI), and the person is there.
	s.Goto(w.URL + "/own/back?y=2")
	s.arrives(w.URL)
	s.sees("back by passkey", w.URL, "/own/back", `"X-Ward-User-Factor-Time"`)

	// The same person with the password alone: the sensitive page asks for more.
	s.Forget()
	s.device.Answer(false)
	s.Goto(w.URL + "/own/x")
	s.Fill("input[name=identifier]", "ada@example.com")
	s.Follow("form:has(input[name=identifier]) button.primary")
	s.sees("password", pages, "/sign-in", "")
	s.Fill("input[name=password]", goodPassword)
	s.Follow("form:has(input[name=password]) button.primary")
	s.sees("asked for a second factor", pages, "/sign-in", "passkey")
}
