package site

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// same is a page without what differs by chance: tokens, challenges, and the address that was typed.
func same(body, typed string) string {
	body = strings.ReplaceAll(body, typed, "TYPED")
	return regexp.MustCompile(`name="csrf" value="[^"]+"|data-options="[^"]+"|data-work="[^"]+"|flow=[\w-]+`).ReplaceAllString(body, "")
}

func TestNobodyLearnsWhoHasAnAccount(t *testing.T) {
	w := newWorld(t, store.Config{})
	w.person("known@example.org")
	pages := map[string]func(b *browser, email string) answer{
		"identifier":     func(b *browser, email string) answer { return b.named(email) },
		"wrong password": func(b *browser, email string) answer { return b.withPassword(email, "not-the-password-at-all") },
		"forgotten": func(b *browser, email string) answer {
			return b.send(b.get("/forgot"), "email", email)
		},
		"registration": func(b *browser, email string) answer {
			on := b.get("/register")
			return b.send(on, "name", "Ada", "email", email, "password", "frosty-umbrella-tangle-17", "work", solve(t, on))
		},
		"code of a registration": func(b *browser, email string) answer {
			on := b.get("/register")
			on = b.send(on, "name", "Ada", "email", email, "password", "frosty-umbrella-tangle-17", "work", solve(t, on))
			return b.send(on, "code", "000000")
		},
	}
	for name, get := range pages {
		t.Run(name, func(t *testing.T) {
			known, unknown := w.browser(), w.browser()
			unknown.ip = "198.51.100.1"
			yes, no := get(known, "known@example.org"), get(unknown, "nobody@example.org")
			if yes.status != no.status || yes.at.Path != no.at.Path || same(yes.body, "known@example.org") != same(no.body, "nobody@example.org") {
				t.Errorf("%d at %s and %d at %s:\n%s\n%s", yes.status, yes.at, no.status, no.at, text(yes.body), text(no.body))
			}
			for _, h := range []string{"Content-Type", "Cache-Control", "Content-Security-Policy"} {
				if yes.header.Get(h) != no.header.Get(h) {
					t.Errorf("%s differs", h)
				}
			}
		})
	}
	if len(w.events) == 0 {
		t.Error("nothing was recorded")
	}
}

func TestAFormOfAnotherSiteOrBrowserDoesNothing(t *testing.T) {
	w := newWorld(t, store.Config{})
	victim, _, _ := w.enrolled("ada@example.org")
	on := victim.get("/account/sessions").want(t, 200, "/account/sessions")
	token := find(t, `name="csrf" value="([^"]+)"`, on.body)
	other := w.browser()
	foreign := find(t, `name="csrf" value="([^"]+)"`, other.get("/sign-in").body)
	for name, c := range map[string]struct {
		header http.Header
		csrf   string
	}{
		"another site by fetch metadata": {http.Header{"Sec-Fetch-Site": {"cross-site"}}, token},
		"a sibling host":                 {http.Header{"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://shop.example.com"}}, token},
		"another origin, old browser":    {http.Header{"Sec-Fetch-Site": nil, "Origin": {"https://evil.example"}}, token},
		"null origin":                    {http.Header{"Sec-Fetch-Site": nil, "Origin": {"null"}}, token},
		"no token":                       {nil, ""},
		"another browser's token":        {nil, foreign},
	} {
		t.Run(name, func(t *testing.T) {
			victim.header = c.header
			defer func() { victim.header = nil }()
			a := victim.do("POST", "/account/sessions", url.Values{"do": {"end-all"}, "csrf": {c.csrf}})
			if a.status != http.StatusForbidden {
				t.Errorf("status %d", a.status)
			}
			if victim.get("/account").want(t, 200, "/account"); len(w.ended) > 0 {
				t.Errorf("ended %v", w.ended)
			}
		})
	}
	victim.send(on, "do", "end-all")
	if len(w.ended) == 0 {
		t.Error("our own form does nothing")
	}
}

func TestASignInBelongsToOneBrowser(t *testing.T) {
	w := newWorld(t, store.Config{})
	w.enrolled("ada@example.org")
	var stolen int
	w.flag = func(f account.Flag) account.Response {
		if f.Kind == account.FlagStolenSequence {
			stolen++
		}
		return account.Response{}
	}
	victim, thief := w.browser(), w.browser()
	at := victim.withPassword("ada@example.org", goodWord).want(t, 200, "/sign-in")
	if at.at.Query().Get("flow") == "" {
		t.Fatal("no flow")
	}
	thief.get("/sign-in")
	if a := thief.get(at.at.String()); a.status != http.StatusNotFound {
		t.Errorf("the thief sees %d: %s", a.status, text(a.body))
	}
	own := thief.get("/sign-in")
	form := url.Values{"csrf": {find(t, `name="csrf" value="([^"]+)"`, own.body)}, "code": {"123456"}}
	if a := thief.do("POST", at.at.String(), form); a.status != http.StatusNotFound {
		t.Errorf("the thief posts: %d", a.status)
	}
	if stolen != 2 {
		t.Errorf("%d flags", stolen)
	}
}

func TestNoAddressLeadsPastAStep(t *testing.T) {
	w := newWorld(t, store.Config{})
	w.enrolled("ada@example.org")
	b := w.browser()
	path, err := w.Begin(t.Context(), signin.Request{MaxAge: -1, FactorAge: -1, Resume: "/oauth/resume"})
	if err != nil {
		t.Fatal(err)
	}
	on := b.send(b.send(b.get(path), "identifier", "ada@example.org"), "password", goodWord)
	on.has(t, "code")
	for _, p := range []string{"/account", "/account/factors", "/account/factors/totp", "/account/data", "/account/delete", "/account/password"} {
		if a := b.get(p); a.at.Path != "/sign-in" {
			t.Errorf("%s leads to %s", p, a.at)
		}
	}
	begun, err := w.BeginSignIn(t.Context(), wire.SignInBegin{Origin: appOrigin, Return: "/"})
	if err != nil {
		t.Fatal(err)
	}
	if a := b.get(begun.Location); a.at.Path != "/sign-in" {
		t.Errorf("continue leads to %s", a.at)
	}
	for _, fields := range [][]string{{"factor", "totp", "code", "000000"}, {"do", "resend"}, {"identifier", "ada@example.org"}, {"factor", "email"}, {"credential", "{}"}} {
		if b.send(b.get(on.at.String()), fields...); b.cookie(sessionCookie) != "" {
			t.Errorf("%v makes a session", fields)
		}
	}
	if a := b.get(on.at.String()); b.cookie(sessionCookie) != "" || a.at.Path != "/sign-in" {
		t.Errorf("signed in at %s", a.at)
	}
}

func TestASecondFactorCannotBeGuessedOrReplayed(t *testing.T) {
	w := newWorld(t, store.Config{})
	_, app, _ := w.enrolled("ada@example.org")
	first, second := w.browser(), w.browser()
	code := app.code()
	at1, at2 := first.withPassword("ada@example.org", goodWord), second.withPassword("ada@example.org", goodWord)
	first.send(at1, "code", code).want(t, 200, "/account")
	second.send(at2, "code", code).want(t, 422, "/sign-in").has(t, "code")
	// From here on only guesses: the attacker has the password, and as many networks as they like.
	tried, start := 0, w.now
	for i := range 90 {
		b := w.browser()
		b.ip = "198.51." + string(rune('0'+i%10)) + ".7"
		on := b.withPassword("ada@example.org", goodWord)
		if on.status != 200 {
			w.sleep(time.Minute)
			continue
		}
		switch a := b.send(on, "code", "000000"); a.status {
		case http.StatusUnprocessableEntity:
			tried++
		case http.StatusTooManyRequests:
			w.sleep(time.Minute)
		default:
			t.Fatalf("%d: %s", a.status, text(a.body))
		}
	}
	if spent := w.now.Sub(start); tried > 40 || tried < 5 {
		t.Errorf("%d tries in %v", tried, spent)
	}
}

func TestAfterFiveWrongCodesThePasswordIsAskedForAgain(t *testing.T) {
	w := newWorld(t, store.Config{})
	known, _, _ := w.enrolled("ada@example.org")
	known.jar.SetCookies(mustURL(origin), []*http.Cookie{{Name: sessionCookie, MaxAge: -1, Path: "/", Secure: true}})
	on := known.withPassword("ada@example.org", goodWord)
	for range 4 {
		on = known.send(on, "code", "000000").want(t, 422, "/sign-in")
	}
	on = known.send(on, "code", "000000")
	if !strings.Contains(on.body, `name="password"`) {
		t.Errorf("it asks: %s", text(on.body))
	}
}

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

func TestTheVictimOfALockOutGetsIn(t *testing.T) {
	w := newWorld(t, store.Config{})
	victim, app, _ := w.enrolled("ada@example.org")
	victim.send(victim.get("/sign-out"), "do", "sign-out")
	slowed := false
	for i := range 60 {
		attacker := w.browser()
		attacker.ip = "198.51." + string(rune('0'+i%10)) + ".7"
		a := attacker.withPassword("ada@example.org", "wrong-wrong-wrong-1")
		slowed = slowed || a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") != ""
	}
	if !slowed {
		t.Fatal("the attacker isn't slowed down")
	}
	stranger := w.browser()
	stranger.ip = "203.0.113.9"
	if a := stranger.withPassword("ada@example.org", goodWord); a.status != http.StatusTooManyRequests {
		t.Errorf("a new device during the attack gets %d", a.status)
	}
	victim.ip = "203.0.113.77"
	victim.send(victim.withPassword("ada@example.org", goodWord), "code", app.code()).want(t, 200, "/account")
	w.sleep(2 * time.Minute)
	stranger.withPassword("ada@example.org", goodWord).want(t, 200, "/sign-in")
}

func TestCookiesChangeAtSignInAndStepUp(t *testing.T) {
	w := newWorld(t, store.Config{})
	_, app, id := w.enrolled("ada@example.org")
	b := w.browser()
	b.get("/sign-in")
	planted, _ := account.NewToken()
	b.jar.SetCookies(mustURL(origin), []*http.Cookie{{Name: sessionCookie, Value: planted, Path: "/", Secure: true}})
	b.send(b.withPassword("ada@example.org", goodWord), "code", app.code()).want(t, 200, "/account")
	before := b.cookie(sessionCookie)
	if before == planted || before == "" {
		t.Fatal("a planted cookie lives on")
	}
	first, err := w.Service.Session(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	w.sleep(10 * time.Minute)
	on := b.get("/account/factors/recovery-codes").want(t, 200, "/sign-in")
	on = b.send(on, "password", goodWord)
	b.send(on, "code", app.code()).want(t, 200, "/account/factors/recovery-codes")
	after := b.cookie(sessionCookie)
	second, err := w.Service.Session(t.Context(), after)
	if err != nil {
		t.Fatal(err)
	}
	if after == before || second.ID != first.ID || !second.AuthAt.After(first.AuthAt) || second.Person.ID != id {
		t.Errorf("first %+v\nthen %+v", first, second)
	}
	if old, err := w.Service.Session(t.Context(), before); err != nil || old != nil {
		t.Errorf("the cookie from before still works: %v", err)
	}
	for _, c := range b.jar.Cookies(mustURL("https://example.com/")) {
		t.Errorf("cookie %s goes to a parent host", c.Name)
	}
}

func TestRedirectsStayAtHome(t *testing.T) {
	w := newWorld(t, store.Config{})
	for _, p := range []string{"https://evil.example/", "//evil.example", "/\\evil.example", "/\tx", "evil", "", "/%0d%0aX: y\r\n", "javascript:alert(1)", "/" + strings.Repeat("a", 5000)} {
		if _, err := w.Begin(t.Context(), signin.Request{Resume: p}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("resume at %.20q: %v", p, err)
		}
		if _, err := w.BeginSignIn(t.Context(), wire.SignInBegin{Origin: appOrigin, Return: p}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("return to %.20q: %v", p, err)
		}
	}
	for _, o := range []string{"https://evil.example", appOrigin + ".evil.example", "http://shop.example.com", ""} {
		if _, err := w.BeginSignIn(t.Context(), wire.SignInBegin{Origin: o, Return: "/"}); fault.KindOf(err) != fault.Refused {
			t.Errorf("origin %q: %v", o, err)
		}
	}
}

func TestTheHostHeaderIsInNoLink(t *testing.T) {
	w := newWorld(t, store.Config{})
	w.person("ada@example.org")
	b := w.browser()
	on := b.get("/forgot")
	r, err := http.NewRequest("POST", origin+"/forgot", strings.NewReader(url.Values{"csrf": {find(t, `name="csrf" value="([^"]+)"`, on.body)}, "email": {"ada@example.org"}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "evil.example"
	r.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "X-Forwarded-Host": {"evil.example"}, "Sec-Fetch-Site": {"same-origin"}, "Cookie": {boundCookie + "=" + b.cookie(boundCookie)}}
	res, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("status %d", res.StatusCode)
	}
	if link := find(t, `(https://\S+)`, w.mail.last(t, "ada@example.org")); !strings.HasPrefix(link, origin+"/reset?token=") {
		t.Errorf("the link is %.40s", link)
	}
}

func TestALinkToANewPasswordWorksOnceAndIsNoSecondFactor(t *testing.T) {
	w := newWorld(t, store.Config{})
	signedIn, app, id := w.enrolled("ada@example.org")
	b := w.browser()
	b.send(b.get("/forgot"), "email", "ada@example.org").has(t, "ada@example.org")
	older := find(t, `(https://\S+)`, w.mail.last(t, "ada@example.org"))
	w.sleep(time.Minute)
	b.send(b.get("/forgot"), "email", "ada@example.org")
	link := find(t, `(https://\S+)`, w.mail.last(t, "ada@example.org"))
	if a := b.get(older); a.status != http.StatusNotFound {
		t.Errorf("the older link gives %d", a.status)
	}
	w.ended = nil
	on := b.get(link).want(t, 200, "/reset")
	if len(w.ended) > 0 {
		t.Error("a mail scanner's GET did something")
	}
	b.send(on, "password", "password123456").want(t, 422, "/reset")
	const fresh = "frosty-umbrella-tangle-17"
	at := b.send(on, "password", fresh).want(t, 200, "/sign-in")
	if b.cookie(sessionCookie) != "" || len(w.ended) != 1 {
		t.Errorf("a session without second factor, or %v ended", w.ended)
	}
	if a := signedIn.get("/account"); a.at.Path != "/sign-in" {
		t.Error("the session from before goes on")
	}
	b.send(at, "code", app.code()).want(t, 200, "/account")
	if a := w.browser().get(link); a.status != http.StatusNotFound {
		t.Errorf("again: %d", a.status)
	}
	r, err := w.VerifyPassword(t.Context(), "ada@example.org", secret.New([]byte(fresh)))
	if err != nil || r == nil || r.ID != id {
		t.Errorf("the new password: %v %v", r, err)
	}
	if r, err := w.VerifyPassword(t.Context(), "ada@example.org", secret.New([]byte(goodWord))); err != nil || r != nil {
		t.Errorf("the old password: %v %v", r, err)
	}
	// One that is too old, or for something else.
	b.send(w.browserless(b), "email", "ada@example.org")
	late := find(t, `(https://\S+)`, w.mail.last(t, "ada@example.org"))
	if a := b.get(strings.Replace(late, "/reset", "/invite", 1)); a.status != http.StatusNotFound {
		t.Errorf("as an invitation: %d", a.status)
	}
	w.sleep(31 * time.Minute)
	if a := b.get(late); a.status != http.StatusNotFound {
		t.Errorf("late: %d", a.status)
	}
}

// browserless is the page of a forgotten password, after the limits have forgotten.
func (w *world) browserless(b *browser) answer {
	w.sleep(2 * time.Hour)
	return b.get("/forgot")
}

func TestDeniedSignInEndsSessionsAndThePassword(t *testing.T) {
	w := newWorld(t, store.Config{})
	w.flag = func(f account.Flag) account.Response { return account.Response{Ask: f.Kind == account.FlagOK} }
	b, app, _ := w.enrolled("ada@example.org")
	link := find(t, `(https://\S+)`, w.mail.last(t, "ada@example.org"))
	owner := w.browser()
	on := owner.get(link).want(t, 200, "/was-it-you")
	b.get("/account").want(t, 200, "/account")
	owner.send(on, "do", "no").want(t, 200, "/was-it-you")
	if a := b.get("/account"); a.at.Path != "/sign-in" {
		t.Error("the session goes on")
	}
	w.browser().withPassword("ada@example.org", goodWord).want(t, 422, "/sign-in")
	if a := owner.get(link); a.status != http.StatusNotFound {
		t.Errorf("again: %d", a.status)
	}
	_ = app
}

// TestDetectorsHearOfTriesThatArentLookedAt: whoever doesn't wait is seen at the pace of the tries, not at that of the pauses.
func TestDetectorsHearOfTriesThatArentLookedAt(t *testing.T) {
	w := newWorld(t, store.Config{})
	w.person("ada@example.org")
	for _, who := range []string{"ada@example.org", "nobody@example.org"} {
		kinds := map[account.FlagKind]int{}
		w.flag = func(f account.Flag) account.Response {
			if kinds[f.Kind]++; f.Kind == account.FlagHasty && (len(f.Password.Reveal()) > 0 || f.Who != who) {
				t.Errorf("%+v", f)
			}
			return account.Response{}
		}
		for range 12 {
			w.browser().withPassword(who, "wrong-wrong-wrong")
		}
		if looked := kinds[account.FlagWrongPassword] + kinds[account.FlagUnknown]; looked != 5 || kinds[account.FlagHasty] != 7 {
			t.Errorf("%s: %v", who, kinds)
		}
	}
}

func TestDetectorsDecide(t *testing.T) {
	w := newWorld(t, store.Config{})
	w.users.SecondFactor = model.SecondFactorOptional
	w.person("ada@example.org")
	var kinds []account.FlagKind
	w.flag = func(f account.Flag) account.Response {
		kinds = append(kinds, f.Kind)
		if f.Kind == account.FlagWrongPassword {
			return account.Response{Wait: time.Minute}
		}
		return account.Response{}
	}
	if a := w.browser().withPassword("ada@example.org", "wrong-wrong-wrong"); a.status != 429 || a.header.Get("Retry-After") != "60" {
		t.Errorf("%d, Retry-After %s", a.status, a.header.Get("Retry-After"))
	}
	if a := w.browser().withPassword("nobody@example.org", "wrong-wrong-wrong"); a.status != 422 {
		t.Errorf("%d", a.status)
	}
	b := w.browser()
	b.withPassword("ada@example.org", goodWord).want(t, 200, "/account")
	w.flag = func(f account.Flag) account.Response {
		return account.Response{StepUp: f.Kind == account.FlagHalf}
	}
	other := w.browser()
	on := other.withPassword("ada@example.org", goodWord).want(t, 200, "/sign-in")
	if other.cookie(sessionCookie) != "" {
		t.Error("a session before the factor that was asked for")
	}
	other.send(on, "code", find(t, codePattern, w.mail.last(t, "ada@example.org"))).want(t, 200, "/account")
	if kinds = kinds[:2]; !slices.Equal(kinds, []account.FlagKind{account.FlagWrongPassword, account.FlagUnknown}) {
		t.Errorf("flags %v", kinds)
	}
}

func TestAFlowCannotEndBeforeItsLastStep(t *testing.T) {
	w := newWorld(t, store.Config{})
	id := w.person("ada@example.org")
	f := account.Flow{Request: toAccount()}
	f.Prove(id, w.Now(), signin.Password)
	stored, err := w.NewFlow(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := w.Finish(t.Context(), stored, account.Browser{}, nil); fault.KindOf(err) != fault.Refused || out.Cookie != "" {
		t.Errorf("%+v %v", out, err)
	}
}
