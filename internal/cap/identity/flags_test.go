package identity

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"golang.org/x/oauth2"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/cap/identity/internal/otp"
	"github.com/wardhq/ward/internal/cap/identity/internal/pow"
	"github.com/wardhq/ward/internal/wire"
)

// The attacks of issue 3 §4, through the real pages, with the default responses.

func TestBruteForceIsBlockedAndTheVictimGetsIn(t *testing.T) {
	s := newSociety(t, "", nil)
	s.person("ada@example.org")
	victim := s.browser("192.0.2.1")
	at(t, victim.signIn("ada@example.org", goodWord), 200, "/account")
	victim.fill(victim.open("/sign-out"), "do", "sign-out")
	// Three networks, each of which stays below what pages count by themselves.
	var attacker *from
	for i := 0; i < 30 && !seen(s, "brute-force"); i++ {
		attacker = s.browser(fmt.Sprintf("198.51.%d.7", i%3))
		attacker.signIn("ada@example.org", fmt.Sprintf("wrong-guess-%d", i))
	}
	e := s.flagged("brute-force")
	if e.Detail["severity"] != "high" || !strings.Contains(e.Detail["response"], "block") {
		t.Errorf("%+v", e)
	}
	link := part(t, `(https://\S+/was-it-you\S+)`, s.mailed("ada@example.org", "was it you"))
	s.clock.add(5 * time.Minute) // what pages count by themselves is over
	// Nothing is looked at from there, so that nothing is counted either; not even the right password.
	before := s.count("sign-in.failed")
	attacker.signIn("ada@example.org", "another-guess")
	if after := s.count("sign-in.failed"); after != before {
		t.Errorf("a guess was looked at")
	}
	if p := attacker.signIn("ada@example.org", goodWord); p.Status != http.StatusTooManyRequests || p.Header.Get("Retry-After") == "" {
		t.Errorf("the attacker with the right password: %d", p.Status)
	}
	victim.ip = "203.0.113.77"
	at(t, victim.signIn("ada@example.org", goodWord), 200, "/account")
	// A new device of hers isn't blocked, and needs a second factor now.
	other := s.browser("203.0.113.99")
	at(t, other.signIn("ada@example.org", goodWord), 200, "/sign-in")
	at(t, other.open("/account"), 200, "/sign-in")
	// No: it wasn't her.
	owner := s.browser("192.0.2.1")
	owner.fill(owner.open(link), "do", "no")
	if e := s.flagged("sign-in-denied"); e.Detail["severity"] != "high" {
		t.Errorf("%+v", e)
	}
	at(t, victim.open("/account"), 200, "/sign-in")
	at(t, victim.signIn("ada@example.org", goodWord), 422, "/sign-in")
}

// seen tells whether a flag was recorded.
func seen(s *society, name string) bool { return s.count("flag."+name) > 0 }

func TestManyAccountsFromOneNetworkAreSeen(t *testing.T) {
	for name, c := range map[string]struct {
		flag     string
		password string
		exist    bool
	}{
		"one password":          {"password-spraying", "Summer-2026-Holiday", true},
		"a leaked list":         {"credential-stuffing", "leaked-word-%d", true},
		"names that nobody has": {"enumeration", "leaked-word-%d", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSociety(t, "", nil)
			ada := s.browser("192.0.2.1")
			s.person("ada@example.org")
			at(t, ada.signIn("ada@example.org", goodWord), 200, "/account")
			for i := range 30 {
				email := fmt.Sprintf("p%d@example.org", i)
				if c.exist {
					s.person(email)
				}
				word := c.password
				if strings.Contains(word, "%d") {
					word = fmt.Sprintf(word, i)
				}
				s.browser("198.51.100.7").signIn(email, word)
				if seen(s, c.flag) {
					break
				}
				s.clock.add(time.Second)
			}
			if e := s.flagged(c.flag); !strings.Contains(e.Detail["response"], "slow") {
				t.Errorf("%+v", e)
			}
			// The next wrong one makes that network wait; whoever is known doesn't.
			s.clock.add(30 * time.Second)
			s.browser("198.51.100.7").signIn("p98@example.org", "wrong-wrong-98")
			before := s.count("sign-in.failed")
			p := s.browser("198.51.100.7").signIn("p99@example.org", "wrong-wrong-99")
			if s.count("sign-in.failed") != before {
				t.Error("a guess was looked at")
			}
			if p.Status != http.StatusTooManyRequests || p.Header.Get("Retry-After") == "" {
				t.Errorf("the attacker goes on: %d", p.Status)
			}
			ada.ip = "198.51.100.7"
			ada.fill(ada.open("/sign-out"), "do", "sign-out")
			at(t, ada.signIn("ada@example.org", goodWord), 200, "/account")
			if w := s.parts.Load().work(wire.Visitor{IP: "198.51.100.7"}); w <= pow.Easy {
				t.Errorf("registering from there takes the work of quiet times: %d", w)
			}
		})
	}
}

func TestFactorFatigueIsBlocked(t *testing.T) {
	s := newSociety(t, "", nil)
	id := s.person("ada@example.org")
	if err := s.parts.Load().accounts.AddTOTP(t.Context(), id, otp.NewSecret(), 0); err != nil {
		t.Fatal(err)
	}
	// The attacker has the password.
	for range 30 {
		b := s.browser("198.51.100.7")
		if on := b.signIn("ada@example.org", goodWord); on.Status == http.StatusOK && strings.Contains(on.Body, `name="code"`) {
			b.fill(on, "code", "000000")
		}
		if seen(s, "factor-fatigue") {
			break
		}
		s.clock.add(20 * time.Second)
	}
	if e := s.flagged("factor-fatigue"); !strings.Contains(e.Detail["response"], "block") {
		t.Errorf("%+v", e)
	}
	s.mailed("ada@example.org", "was it you")
	p := s.browser("198.51.100.7").signIn("ada@example.org", goodWord)
	if p.Status != http.StatusTooManyRequests || p.Header.Get("Retry-After") == "" {
		t.Errorf("%d", p.Status)
	}
	at(t, s.browser("203.0.113.4").signIn("ada@example.org", goodWord), 200, "/sign-in")
}

func TestANewDeviceIsMailedOnce(t *testing.T) {
	s := newSociety(t, "", nil)
	s.person("ada@example.org")
	at(t, s.browser("192.0.2.1").signIn("ada@example.org", goodWord), 200, "/account")
	s.clock.add(time.Hour)
	at(t, s.browser("203.0.113.9").signIn("ada@example.org", goodWord), 200, "/account")
	if e := s.flagged("new-device"); e.Detail["severity"] != "medium" {
		t.Errorf("%+v", e)
	}
	s.mailed("ada@example.org", "was it you")
	// The queue keeps the order: what comes next is what is put in now.
	if err := s.parts.Load().mail.Put(message.Message{To: "end@example.org", Subject: "end", Text: secret.New([]byte("end"))}); err != nil {
		t.Fatal(err)
	}
	if m := <-s.inbox; m.To != "end@example.org" {
		t.Errorf("another mail: %s", m.Subject)
	}
}

func TestRegistrationsFromOneNetworkGetHarderAndEnd(t *testing.T) {
	s := newSociety(t, "", nil)
	first, last, refused := int64(0), int64(0), false
	for i := range 14 {
		b := s.browser("198.51.100.7")
		on := b.open("/register")
		var c pow.Challenge
		if err := json.Unmarshal([]byte(strings.ReplaceAll(part(t, `data-work="([^"]+)"`, on.Body), "&#34;", `"`)), &c); err != nil {
			t.Fatal(err)
		}
		if last = c.MaxNumber; i == 0 {
			first = last
		}
		p := b.fill(on, "name", "Bot", "email", fmt.Sprintf("bot%d@example.org", i), "password", goodWord)
		if p.Status == http.StatusTooManyRequests {
			refused = true
			break
		}
	}
	if !refused || last <= first {
		t.Errorf("refused %t, work from %d to %d", refused, first, last)
	}
}

// passkeyOf gives somebody a passkey, and returns their browser and what the passkey says to a page at a count.
func passkeyOf(t *testing.T, s *society, email string) (b *from, show func(body string, count uint32) string) {
	t.Helper()
	id := s.person(email)
	b = s.browser("192.0.2.1")
	at(t, b.signIn(email, goodWord), 200, "/account")
	rp := virtualwebauthn.RelyingParty{Name: "Harbour Books", ID: "id.localhost", Origin: pagesAt}
	auth := virtualwebauthn.NewAuthenticatorWithOptions(virtualwebauthn.AuthenticatorOptions{UserHandle: []byte(id)})
	cred := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	on := b.open("/account/factors/passkey")
	o, err := virtualwebauthn.ParseAttestationOptions(passkeyOptions(t, on.Body))
	if err != nil {
		t.Fatal(err)
	}
	at(t, b.fill(on, "label", "Key", "credential", virtualwebauthn.CreateAttestationResponse(rp, auth, cred, *o)), 200, "/account/factors")
	return b, func(body string, count uint32) string {
		o, err := virtualwebauthn.ParseAssertionOptions(passkeyOptions(t, body))
		if err != nil {
			t.Fatal(err)
		}
		cred.Counter = count
		return virtualwebauthn.CreateAssertionResponse(rp, auth, cred, *o)
	}
}

func passkeyOptions(t *testing.T, body string) string {
	t.Helper()
	return strings.ReplaceAll(part(t, `data-options="([^"]+)"`, body), "&#34;", `"`)
}

func TestAClonedPasskeyIsFlaggedAndMailed(t *testing.T) {
	s := newSociety(t, "", nil)
	_, show := passkeyOf(t, s, "ada@example.org")
	sign := func(ip string, count uint32) int {
		b := s.browser(ip)
		on := b.open("/sign-in")
		return b.fill(on, "credential", show(on.Body, count)).Status
	}
	if got := sign("192.0.2.1", 10); got != 200 {
		t.Fatalf("the passkey itself: %d", got)
	}
	if got := sign("198.51.100.7", 4); got != 422 {
		t.Errorf("its copy: %d", got)
	}
	if e := s.flagged("passkey-clone"); e.Detail["severity"] != "critical" {
		t.Errorf("%+v", e)
	}
	s.mailed("ada@example.org", "was it you")
}

func TestRemovedFactorsAreFlagged(t *testing.T) {
	s := newSociety(t, "", nil)
	b, show := passkeyOf(t, s, "ada@example.org")
	accounts := s.parts.Load().accounts
	owner, err := accounts.Find(t.Context(), "ada@example.org")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // two more, so that two can go
		if err := accounts.AddPhone(t.Context(), owner.ID, "+491701234567"); err != nil {
			t.Fatal(err)
		}
	}
	list, _, err := accounts.Factors(t.Context(), owner.ID)
	if err != nil {
		t.Fatal(err)
	}
	on := at(t, b.open("/account/password"), 200, "/sign-in") // a fresh proof, with the factor that there is now
	at(t, b.fill(on, "credential", show(on.Body, 5)), 200, "/account/password")
	for _, f := range list[1:] {
		on := b.open("/account/factors/remove?factor=" + f.ID)
		at(t, b.fill(on, "do", "remove"), 200, "/account/factors")
	}
	if e := s.flagged("factors-removed"); e.Detail["severity"] != "high" {
		t.Errorf("%+v", e)
	}
	s.mailed("ada@example.org", "was it you")
}

// granted signs in to a client and trades the code.
func granted(t *testing.T, b *from) map[string]any {
	t.Helper()
	const verifier = "a-verifier-that-is-long-enough-for-rfc-7636-section-4-1"
	q := url.Values{
		"client_id": {"notes"}, "redirect_uri": {"https://notes.example/cb"}, "response_type": {"code"}, "scope": {"openid offline_access"}, "state": {"s"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"}, "nonce": {"n"}, "prompt": {"consent"},
	}
	p := b.open("/authorize?" + q.Encode())
	if p.URL.Host != "notes.example" && strings.Contains(p.Body, `value="allow"`) {
		p = b.fill(p, "do", "allow")
	}
	code := p.URL.Query().Get("code")
	if code == "" {
		t.Fatalf("at %s: %s", p.URL, plainText(p.Body))
	}
	return trade(t, b, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"https://notes.example/cb"}, "client_id": {"notes"}, "code_verifier": {verifier}})
}

func trade(t *testing.T, b *from, form url.Values) map[string]any {
	t.Helper()
	status, body := b.post("/token", form)
	var out map[string]any
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		t.Fatalf("%d %s", status, body)
	}
	return out
}

func TestAReusedRefreshTokenEndsTheSessions(t *testing.T) {
	s := newSociety(t, "", nil)
	s.person("ada@example.org")
	b := s.browser("192.0.2.1")
	at(t, b.signIn("ada@example.org", goodWord), 200, "/account")
	got := granted(t, b)
	refresh := func() map[string]any {
		return trade(t, b, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got["refresh_token"].(string)}, "client_id": {"notes"}})
	}
	if again := refresh(); again["access_token"] == nil {
		t.Fatal(again)
	}
	s.clock.add(time.Minute)
	if stolen := refresh(); stolen["error"] != "invalid_grant" {
		t.Errorf("%v", stolen)
	}
	if e := s.flagged("refresh-reuse"); e.Detail["severity"] != "high" {
		t.Errorf("%+v", e)
	}
	s.mailed("ada@example.org", "was it you")
	at(t, b.open("/account"), 200, "/sign-in")
}

// A session whose cookie turns up in another program is good for nothing at the gateway until its browser comes by the pages.
func TestAMovedSessionComesByThePagesAgain(t *testing.T) {
	s := newSociety(t, "", nil)
	s.person("ada@example.org")
	b := s.browser("192.0.2.1")
	at(t, b.signIn("ada@example.org", goodWord), 200, "/account")
	visit := func() wire.SignInFinished {
		t.Helper()
		begun, err := s.BeginSignIn(t.Context(), wire.SignInBegin{Origin: "https://localhost:8443", Return: "/x"})
		if err != nil {
			t.Fatal(err)
		}
		p := b.open(begun.Location)
		done, err := s.FinishSignIn(t.Context(), wire.SignInFinish{Origin: "https://localhost:8443", Code: p.URL.Query().Get("code"), Flow: begun.Flow})
		if err != nil {
			t.Fatalf("at %s: %v", p.URL, err)
		}
		return done
	}
	first := visit()
	if first.Session.Fingerprint != b.print {
		t.Errorf("fingerprint %q", first.Session.Fingerprint)
	}
	if err := s.SeeSessions(t.Context(), wire.SessionsSeen{Moved: map[string]wire.Visitor{first.Session.ID: {IP: "198.51.100.7", Fingerprint: "curl"}}}); err != nil {
		t.Fatal(err)
	}
	s.flagged("session-moved")
	if _, err := s.Session(t.Context(), wire.SessionQuery{Origin: "https://localhost:8443", Cookie: first.Cookie}); err == nil {
		t.Error("the stolen cookie goes on")
	}
	state, err := s.State(t.Context(), "", false)
	if err != nil || len(state.Renewed) != 1 || state.Renewed[0] != first.Session.ID {
		t.Errorf("gateways hear %+v, %v", state, err)
	}
	again := visit()
	if _, err := s.Session(t.Context(), wire.SessionQuery{Origin: "https://localhost:8443", Cookie: again.Cookie}); err != nil || again.Session.ID != first.Session.ID {
		t.Errorf("its own browser: %v", err)
	}
	at(t, b.open("/account/password"), 200, "/sign-in") // what asks for a fresh proof asks anew
}
