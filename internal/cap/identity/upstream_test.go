package identity

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/identity/internal/otp"
	"github.com/wardhq/ward/internal/cap/identity/internal/upstream"
	browser "github.com/wardhq/ward/internal/demo/visitor"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wardtest/npm"
)

const upstreamSecret = "0123456789abcdef0123456789abcdef"

// oidcProvider starts npm's oidc-provider, where anybody is who they say, and returns its issuer. Addresses of names that begin with
// "unverified" aren't verified.
func oidcProvider(t *testing.T, name string) string {
	t.Helper()
	node, modules := need.Program(t, "node"), npm.Modules(t)
	cmd := exec.CommandContext(t.Context(), node, "internal/upstream/testdata/provider.mjs", modules)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	if err := json.NewEncoder(in).Encode(map[string]any{"redirect": pagesAt + upstream.CallbackPath(name), "secret": upstreamSecret, "alg": "ES256", "method": "client_secret_basic"}); err != nil {
		t.Fatal(err)
	}
	var answer struct{ Issuer string }
	text, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil || json.Unmarshal(text, &answer) != nil {
		t.Fatalf("start provider: %q %v", text, err)
	}
	return answer.Issuer
}

// newFederation is a society that signs in with two providers.
func newFederation(t *testing.T) *society {
	t.Helper()
	return newSociety(t, fmt.Sprintf(`  providers:
    one: {title: First ID, issuer: %q, client_id: ward, secret_file: one.secret}
    two: {title: Second ID, issuer: %q, client_id: ward, secret_file: one.secret}`, oidcProvider(t, "one"), oidcProvider(t, "two")), map[string][]byte{"one.secret": []byte(upstreamSecret + "\n")})
}

// with signs in with a provider as a name there, to where it leads; stop, if it isn't nil, sees the answer's address instead of us.
func (b *from) with(title, login string, stop func(*url.URL)) browser.Page {
	b.s.t.Helper()
	p := b.open("/sign-in")
	button := part(b.s.t, `href="(/sign-in/with/[^"]+)">[^<]*`+title, p.Body)
	b.Client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if stop != nil && strings.HasSuffix(r.URL.Path, "/callback") {
			stop(r.URL)
			return http.ErrUseLastResponse
		}
		if len(via) > 9 {
			return fmt.Errorf("redirects without end")
		}
		return nil
	}
	p = b.open(strings.ReplaceAll(button, "&amp;", "&"))
	for range 3 {
		switch {
		case strings.Contains(p.Body, `name="login"`):
			p = b.fill(p, "login", login, "password", "x")
		case strings.Contains(p.Body, `value="consent"`):
			p = b.fill(p, "prompt", "consent")
		}
	}
	return p
}

func (s *society) linkedTo(person string) int {
	s.t.Helper()
	list, err := s.parts.Load().accounts.Linked(s.t.Context(), person)
	if err != nil {
		s.t.Fatal(err)
	}
	return len(list)
}

func TestAProviderIsLinkedAfterAProofHereAndConsent(t *testing.T) {
	s := newFederation(t)
	id := s.person("alice@example.com")
	b := s.browser("192.0.2.1")
	on := at(t, b.with("First ID", "alice", nil), 200, "/sign-in")
	if b.open("/account").URL.Path != "/sign-in" || s.linkedTo(id) != 0 || !strings.Contains(plainText(on.Body), "There is an account with this address already") {
		t.Fatalf("signed in, or linked, on a provider's word: %s", plainText(on.Body))
	}
	// No way past the proof: not the answer to a question that isn't asked yet.
	b.post(on.URL.RequestURI(), url.Values{"csrf": {part(t, `name="csrf" value="([^"]+)"`, on.Body)}, "do": {"link"}})
	if s.linkedTo(id) != 0 {
		t.Fatal("linked without a proof here")
	}
	on = b.fill(on, "identifier", "alice@example.com")
	on = at(t, b.fill(on, "password", goodWord), 200, "/sign-in")
	if !strings.Contains(plainText(on.Body), "whoever signs in with First ID as alice@example.com") || s.linkedTo(id) != 0 {
		t.Fatalf("no consent: %s", plainText(on.Body))
	}
	at(t, b.fill(on, "do", "link"), 200, "/account")
	s.mailed("alice@example.com", "has changed")
	// From now on it signs in; here no second factor is asked for.
	again := s.browser("192.0.2.2")
	at(t, again.with("First ID", "alice", nil), 200, "/account")
	if p := again.open("/account/factors"); !strings.Contains(plainText(p.Body), "First ID") {
		t.Errorf("not among the methods: %s", plainText(p.Body))
	}
	// Another provider's alice isn't this alice.
	at(t, s.browser("192.0.2.3").with("Second ID", "alice", nil), 200, "/sign-in")
	// A second factor stays one.
	if err := s.parts.Load().accounts.AddTOTP(t.Context(), id, otp.NewSecret(), 0); err != nil {
		t.Fatal(err)
	}
	third := s.browser("192.0.2.2")
	if p := at(t, third.with("First ID", "alice", nil), 200, "/sign-in"); !strings.Contains(p.Body, `name="code"`) {
		t.Errorf("no second factor: %s", plainText(p.Body))
	}
}

func TestNoToLinkingSignsInAndLinksNothing(t *testing.T) {
	s := newFederation(t)
	id := s.person("alice@example.com")
	b := s.browser("192.0.2.1")
	on := b.fill(b.with("First ID", "alice", nil), "identifier", "alice@example.com")
	on = b.fill(on, "password", goodWord)
	at(t, b.fill(on, "do", "deny"), 200, "/account")
	if s.linkedTo(id) != 0 {
		t.Error("linked")
	}
}

func TestSomebodyElseCannotBeLinked(t *testing.T) {
	s := newFederation(t)
	s.person("alice@example.com")
	mallory := s.person("mallory@example.com")
	b := s.browser("192.0.2.1")
	on := b.fill(b.with("First ID", "alice", nil), "identifier", "mallory@example.com")
	on = b.fill(on, "password", goodWord)
	at(t, b.fill(on, "do", "link"), http.StatusForbidden, "/sign-in")
	if s.linkedTo(mallory) != 0 {
		t.Error("linked with another's address")
	}
}

func TestAnUnverifiedAddressGetsNothing(t *testing.T) {
	s := newFederation(t)
	id := s.person("unverified-bob@example.com")
	b := s.browser("192.0.2.1")
	at(t, b.with("First ID", "unverified-bob", nil), http.StatusForbidden, "/sign-in/with/one/callback")
	at(t, s.browser("192.0.2.1").with("First ID", "unverified-eve", nil), http.StatusForbidden, "/sign-in/with/one/callback")
	if p := b.open("/account"); p.URL.Path != "/sign-in" || s.linkedTo(id) != 0 {
		t.Errorf("in by an unverified address: %s", p.URL)
	}
	if _, err := s.parts.Load().accounts.Find(t.Context(), "unverified-eve@example.com"); err == nil {
		t.Error("an account for an unverified address")
	}
}

func TestAStrangerGetsAnAccountWithConsentAndLosesTheProvider(t *testing.T) {
	s := newFederation(t)
	accounts := s.parts.Load().accounts
	b := s.browser("192.0.2.1")
	on := at(t, b.with("First ID", "carol", nil), 200, "/sign-in")
	if _, err := accounts.Find(t.Context(), "carol@example.com"); err == nil || !strings.Contains(plainText(on.Body), "Name of carol, carol@example.com") {
		t.Fatalf("made without consent, or: %s", plainText(on.Body))
	}
	at(t, b.fill(on, "do", "make"), 200, "/account")
	r, err := accounts.Find(t.Context(), "carol@example.com")
	if err != nil || !r.Verified || r.Name != "Name of carol" || s.linkedTo(r.ID) != 1 {
		t.Fatalf("%+v %v", r, err)
	}
	list, err := accounts.Linked(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := accounts.Unlink(t.Context(), s.person("mallory@example.com"), list[0].ID); err != nil || s.linkedTo(r.ID) != 1 {
		t.Errorf("somebody else unlinks: %v", err)
	}
	// To unlink, a fresh proof of one's own is asked for.
	at(t, b.open("/account/factors/remove?factor="+list[0].ID), 200, "/account/factors/remove")
	on = at(t, b.fill(b.open("/account/factors/remove?factor="+list[0].ID), "do", "remove"), 200, "/account/factors")
	if s.linkedTo(r.ID) != 0 {
		t.Errorf("still linked: %s", plainText(on.Body))
	}
	at(t, s.browser("192.0.2.1").with("First ID", "carol", nil), 200, "/sign-in")
}

func TestAnAnswerInAnotherBrowserIsRefused(t *testing.T) {
	s := newFederation(t)
	attacker, victim := s.browser("198.51.100.7"), s.browser("192.0.2.1")
	var answer *url.URL
	attacker.with("First ID", "mallory", func(u *url.URL) { answer = u })
	if answer == nil {
		t.Fatal("no answer")
	}
	// The attacker wants the victim to be signed in as him.
	victim.open("/sign-in")
	at(t, victim.open(answer.String()), http.StatusBadRequest, "/sign-in/with/one/callback")
	// Also with the attacker's cookie of the way, planted: the sign-in is of another browser.
	here := &url.URL{Scheme: "https", Host: "id.localhost:8443", Path: "/"}
	for _, c := range attacker.Client.Jar.Cookies(here) {
		if c.Name == upstream.CookieName {
			c.Path, c.Secure = "/", true
			victim.Client.Jar.SetCookies(here, []*http.Cookie{c})
		}
	}
	if p := victim.open(answer.String()); p.Status != http.StatusNotFound {
		t.Errorf("%d: %s", p.Status, plainText(p.Body))
	}
	if p := victim.open("/account"); p.URL.Path != "/sign-in" {
		t.Errorf("signed in at %s", p.URL)
	}
}

func TestAFreshProofIsNoProvidersWord(t *testing.T) {
	s := newFederation(t)
	s.person("alice@example.com")
	b := s.browser("192.0.2.1")
	at(t, b.signIn("alice@example.com", goodWord), 200, "/account")
	s.clock.add(time.Hour)
	p := at(t, b.open("/account/delete"), 200, "/sign-in")
	if strings.Contains(p.Body, "/sign-in/with/") {
		t.Error("a provider is offered")
	}
	at(t, b.open("/sign-in/with/one?"+p.URL.RawQuery), 200, "/sign-in")
}
