package site

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wardtest/postgres"
	"github.com/wardhq/ward/internal/wire"
)

const codePattern = `(?m)^\s*(\d{6})\s*$`

// TestALifeOnBothEngines is one account from registration to deletion.
func TestALifeOnBothEngines(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { life(t, store.Config{Path: filepath.Join(t.TempDir(), "ward.db")}) })
	t.Run("postgres", func(t *testing.T) { life(t, store.Config{URL: postgres.Start(t).Database(t)}) })
}

func life(t *testing.T, c store.Config) {
	w := newWorld(t, c)
	b := w.browser()
	on := b.get("/register").want(t, 200, "/register")
	work := solve(t, on)
	at := b.send(on, "name", "Ada", "email", "Ada@example.org", "password", goodWord, "work", work).want(t, 200, "/sign-in")
	if _, err := w.Find(t.Context(), "ada@example.org"); fault.KindOf(err) != fault.NotFound {
		t.Fatalf("somebody is there before the address is proven: %v", err)
	}
	b.send(on, "name", "Ada", "email", "eve@example.org", "password", goodWord, "work", work).want(t, 422, "/register")
	at = b.send(at, "code", find(t, codePattern, w.mail.last(t, "Ada@example.org")))
	app, at := b.enrolTOTP(at)
	at.want(t, 200, "/account").has(t, "Ada")
	b.get("/account/profile").has(t, "Name")
	b.send(b.get("/account/profile"), "name", "Ada L.", "email", "Ada@example.org").want(t, 200, "/account/profile")

	codes := b.send(b.get("/account/factors/recovery-codes"), "do", "make").want(t, 200, "/account/factors/recovery-codes")
	list := regexp.MustCompile(`<li><code>([^<]+)</code>`).FindAllStringSubmatch(codes.body, -1)
	if len(list) != 10 {
		t.Fatalf("%d recovery codes", len(list))
	}
	second := w.browser()
	second.withPassword("ada@example.org", goodWord)
	at = second.get("/recovery-code").want(t, 200, "/recovery-code")
	at = second.send(at, "code", "AAAA-AAAA-AAAA-AAAA").want(t, 422, "/recovery-code")
	second.send(at, "code", strings.ToLower(list[0][1])).want(t, 200, "/account")
	third := w.browser()
	third.withPassword("ada@example.org", goodWord)
	third.send(third.get("/recovery-code"), "code", list[0][1]).want(t, 422, "/recovery-code")

	// Sessions: the second is ended from the first.
	sessions := b.get("/account/sessions")
	b.send(sessions, "session", find(t, `name="session" value="([^"]+)"`, sessions.body), "do", "end").want(t, 200, "/account/sessions")
	if a := second.get("/account"); a.at.Path != "/sign-in" {
		t.Error("the second session goes on")
	}
	b.get("/account/activity").want(t, 200, "/account/activity").has(t, "Firefox on Linux")

	// A phone, and its code at sign-in.
	on = b.get("/account/factors/phone")
	on = b.send(on, "phone", "+49 151 2345 6789").want(t, 200, "/account/factors/phone")
	b.send(on, "code", find(t, `(\d{6})`, w.sms.last(t, "+4915123456789"))).want(t, 200, "/account/factors")
	third.withPassword("ada@example.org", goodWord)
	at = third.get("/factor").want(t, 200, "/factor")
	phone := regexp.MustCompile(`name="factor" value="([^"]+)"[^>]*><strong>[^<]*</strong><span>&#43;49`).FindStringSubmatch(at.body)
	if phone == nil {
		t.Fatalf("no phone to choose: %s", at.body)
	}
	at = third.send(at, "factor", phone[1]).want(t, 200, "/sign-in")
	third.send(at, "code", find(t, `(\d{6})`, w.sms.last(t, "+4915123456789"))).want(t, 200, "/account")

	// A new address works when its code came.
	w.sleep(time.Minute)
	on = b.send(b.get("/account/profile"), "name", "Ada L.", "email", "new@example.org").want(t, 200, "/account/profile/verify")
	b.send(on, "code", find(t, codePattern, w.mail.last(t, "new@example.org"))).want(t, 200, "/account/profile").has(t, "new@example.org")
	if !strings.Contains(w.mail.last(t, "Ada@example.org"), "/was-it-you?token=") {
		t.Error("the old address wasn't told")
	}

	// What only a fresh proof may.
	w.sleep(10 * time.Minute)
	on = b.get("/account/delete").want(t, 200, "/sign-in")
	on = b.send(on, "password", goodWord)
	at = b.send(on, "code", app.code()).want(t, 200, "/account/delete")
	export := b.send(b.get("/account/data"), "do", "export")
	var data Export
	if err := json.Unmarshal([]byte(export.body), &data); err != nil || data.Person.Email != "new@example.org" || len(data.Factors) != 2 || len(data.Activity) < 5 {
		t.Errorf("export %s: %v", export.body, err)
	}
	if strings.Contains(export.body, "argon2") || strings.Contains(export.body, "+4915123456789") {
		t.Error("a secret is in the export")
	}
	b.send(at, "email", "other@example.org").want(t, 422, "/account/delete")
	b.send(at, "email", "new@example.org").want(t, 200, "/account/delete")
	if _, err := w.Find(t.Context(), "new@example.org"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("still there: %v", err)
	}
	w.browser().withPassword("new@example.org", goodWord).want(t, 422, "/sign-in")
	for _, e := range w.events {
		for k, v := range e.Detail {
			if strings.Contains(v, goodWord) || strings.Contains(v, list[1][1]) {
				t.Errorf("a secret in %s of %s", k, e.Kind)
			}
		}
	}
}

func TestARegistrationOfATakenAddressTellsItsOwner(t *testing.T) {
	w := newWorld(t, store.Config{})
	w.person("ada@example.org")
	b := w.browser()
	on := b.get("/register")
	at := b.send(on, "name", "Eve", "email", "ada@example.org", "password", "frosty-umbrella-tangle-17", "work", solve(t, on)).want(t, 200, "/sign-in")
	mail := w.mail.last(t, "ada@example.org")
	if !strings.Contains(mail, "There is an account with it already") || strings.Contains(mail, "asked for a new password") || !strings.Contains(mail, "/reset?token=") {
		t.Errorf("mail: %s", mail)
	}
	if regexp.MustCompile(codePattern).MatchString(mail) {
		t.Error("a code for an address that somebody has")
	}
	b.send(at, "code", "123456").want(t, 422, "/sign-in")
}

func TestAnInvitationSetsAnAccountUp(t *testing.T) {
	w := newWorld(t, store.Config{})
	_, link, err := w.Invite(t.Context(), account.NewPerson{Email: "bob@example.org", Name: "Bob", Groups: []string{"staff"}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.mail.last(t, "bob@example.org"), string(link.Reveal())) {
		t.Error("the link isn't in the mail")
	}
	b := w.browser()
	on := b.send(b.get(string(link.Reveal())), "password", goodWord)
	_, at := b.enrolTOTP(on)
	at.want(t, 200, "/account").has(t, "Bob")
	if a := w.browser().get(string(link.Reveal())); a.status != 404 {
		t.Errorf("again: %d", a.status)
	}
}

func TestTheFirstAdministrator(t *testing.T) {
	w := newWorld(t, store.Config{})
	old, err := w.FirstAdminLink(t.Context())
	if err != nil || old == "" {
		t.Fatal(old, err)
	}
	link, err := w.FirstAdminLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a := w.browser().get(old); a.status != 404 {
		t.Errorf("an older link gives %d", a.status)
	}
	b, late := w.browser(), w.browser()
	lateOn := late.get(link)
	on := b.send(b.get(link), "name", "Root", "email", "root@example.org", "password", goodWord)
	_, at := b.enrolTOTP(on)
	at.want(t, 200, "/account")
	if a := late.send(lateOn, "name", "Eve", "email", "eve@example.org", "password", goodWord); a.status != 404 {
		t.Errorf("a second one: %d", a.status)
	}
	if again, err := w.FirstAdminLink(t.Context()); err != nil || again != "" {
		t.Errorf("a link for a second one: %q %v", again, err)
	}
	p, err := w.Find(t.Context(), "root@example.org")
	if err != nil || !slices.Equal(p.Roles, []string{account.AdminRole}) {
		t.Errorf("%+v %v", p, err)
	}
}

func TestALostFactorTakesADayAndAnAdministrator(t *testing.T) {
	w := newWorld(t, store.Config{})
	_, _, id := w.enrolled("ada@example.org")
	b := w.browser()
	b.withPassword("ada@example.org", goodWord)
	b.send(b.get("/lost-factor").want(t, 200, "/lost-factor"), "do", "request").want(t, 200, "/lost-factor")
	if err := w.DecideRecovery(t.Context(), id, true); fault.KindOf(err) != fault.Refused {
		t.Errorf("approved at once: %v", err)
	}
	stop := find(t, `(https://\S+)`, w.mail.last(t, "ada@example.org"))
	owner := w.browser()
	owner.send(owner.get(stop).want(t, 200, "/stop-recovery"), "do", "cancel")
	if r, err := w.RecoveryOf(t.Context(), id); err != nil || r != nil {
		t.Errorf("it goes on: %v %v", r, err)
	}
	b.send(b.get("/lost-factor"), "do", "request")
	w.sleep(25 * time.Hour)
	waiting, err := w.Recoveries(t.Context())
	if err != nil || len(waiting) != 1 || waiting[0].Person != id {
		t.Fatalf("%+v %v", waiting, err)
	}
	if err := w.DecideRecovery(t.Context(), id, true); err != nil {
		t.Fatal(err)
	}
	b = w.browser()
	_, at := b.enrolTOTP(b.withPassword("ada@example.org", goodWord))
	at.want(t, 200, "/account")
}

func TestTheLastFactorStays(t *testing.T) {
	w := newWorld(t, store.Config{})
	b, _, id := w.enrolled("ada@example.org")
	list, _, err := w.Factors(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	on := b.get("/account/factors/remove?factor=" + list[0].ID)
	b.send(on, "do", "remove").want(t, 422, "/account/factors/remove")
	w.users.SecondFactor = model.SecondFactorOptional
	b.send(on, "do", "remove").want(t, 200, "/account/factors")
	if !strings.Contains(w.mail.last(t, "ada@example.org"), "/was-it-you?token=") {
		t.Error("nobody was told")
	}
}

func TestGatewaySessions(t *testing.T) {
	w := newWorld(t, store.Config{})
	b, app, id := w.enrolled("ada@example.org")
	begin := func(age int64) wire.SignInBegun {
		t.Helper()
		begun, err := w.BeginSignIn(t.Context(), wire.SignInBegin{Origin: appOrigin, Return: "/orders?x=1", FactorAge: age})
		if err != nil {
			t.Fatal(err)
		}
		return begun
	}
	back := func(a answer) string {
		t.Helper()
		u := mustURL(a.header.Get("Location"))
		if u.Scheme+"://"+u.Host != appOrigin || u.Path != "/.ward/callback" {
			t.Fatalf("%d leads to %s", a.status, u)
		}
		return u.Query().Get("code")
	}
	begun := begin(0)
	code := back(b.get(begun.Location))
	finish := wire.SignInFinish{Origin: appOrigin, Flow: begun.Flow, Code: code}
	done, err := w.FinishSignIn(t.Context(), finish)
	if err != nil || done.Return != "/orders?x=1" || done.Session.Person.ID != id || done.Session.Person.FactorAt == 0 {
		t.Fatalf("%+v %v", done, err)
	}
	if _, err := w.FinishSignIn(t.Context(), finish); fault.KindOf(err) != fault.Refused {
		t.Errorf("the code again: %v", err)
	}
	for name, c := range map[string]func(f *wire.SignInFinish){
		"another browser's cookie": func(f *wire.SignInFinish) { f.Flow = begin(0).Flow },
		"no cookie":                func(f *wire.SignInFinish) { f.Flow = "" },
		"another origin":           func(f *wire.SignInFinish) { f.Origin = "https://blog.example.com" },
		"no code":                  func(f *wire.SignInFinish) { f.Code = "" },
		"late":                     func(*wire.SignInFinish) { w.sleep(11 * time.Minute) },
	} {
		begun := begin(0)
		f := wire.SignInFinish{Origin: appOrigin, Flow: begun.Flow, Code: back(b.get(begun.Location))}
		c(&f)
		if out, err := w.FinishSignIn(t.Context(), f); fault.KindOf(err) != fault.Refused || out.Cookie != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.GatewaySession(t.Context(), wire.SessionQuery{Origin: "https://blog.example.com", Cookie: done.Cookie}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("at another origin: %v", err)
	}
	if s, err := w.GatewaySession(t.Context(), wire.SessionQuery{Origin: appOrigin, Cookie: done.Cookie}); err != nil || s.ID != done.Session.ID {
		t.Errorf("%+v %v", s, err)
	}
	// Step-up: the factor is too old for this rule, and the cookie changes.
	begun = begin(60)
	on := b.get(begun.Location).want(t, 200, "/sign-in")
	a := b.send(on, "code", app.code())
	done2, err := w.FinishSignIn(t.Context(), wire.SignInFinish{Origin: appOrigin, Flow: begun.Flow, Code: back(a)})
	if err != nil || done2.Session.ID != done.Session.ID || done2.Cookie == done.Cookie {
		t.Errorf("%+v %v", done2, err)
	}
	if _, err := w.GatewaySession(t.Context(), wire.SessionQuery{Origin: appOrigin, Cookie: done.Cookie}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("the cookie from before: %v", err)
	}
	w.ended = nil
	if _, err := w.EndSession(t.Context(), wire.SessionEnd{Session: done.Session.ID, Origin: appOrigin}); err != nil || !slices.Equal(w.ended, []string{done.Session.ID}) {
		t.Errorf("ended %v, %v", w.ended, err)
	}
	if _, err := w.GatewaySession(t.Context(), wire.SessionQuery{Origin: appOrigin, Cookie: done2.Cookie}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("after the end: %v", err)
	}
	if a := b.get("/account"); a.at.Path != "/sign-in" {
		t.Error("the pages' session goes on")
	}
}

func TestSessionsEndByThemselves(t *testing.T) {
	w := newWorld(t, store.Config{})
	w.users.Idle, w.users.Absolute = 3600, 3*3600
	b, _, _ := w.enrolled("ada@example.org")
	for range 3 {
		w.sleep(50 * time.Minute)
		b.get("/account").want(t, 200, "/account")
	}
	w.sleep(50 * time.Minute) // used all the time, but too old
	if a := b.get("/account"); a.at.Path != "/sign-in" {
		t.Errorf("after %v: %s", 200*time.Minute, a.at)
	}
	n, err := w.Sweep(t.Context())
	if err != nil || n == 0 {
		t.Errorf("swept %d, %v", n, err)
	}
}

func TestDisabledMeansOutAtOnce(t *testing.T) {
	w := newWorld(t, store.Config{})
	b, app, id := w.enrolled("ada@example.org")
	half := w.browser()
	at := half.withPassword("ada@example.org", goodWord)
	w.ended = nil
	if err := w.SetDisabled(t.Context(), id, true); err != nil || len(w.ended) != 1 {
		t.Fatalf("%v, ended %v", err, w.ended)
	}
	if a := b.get("/account"); a.at.Path != "/sign-in" {
		t.Error("still signed in")
	}
	half.send(at, "code", app.code())
	if half.cookie(sessionCookie) != "" {
		t.Error("a sign-in under way went through")
	}
	w.browser().withPassword("ada@example.org", goodWord).want(t, 422, "/sign-in")
}
