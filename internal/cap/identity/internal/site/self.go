package site

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/device"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/cap/identity/internal/otp"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/model"
)

// freshFor is how old a proof may be for what could take an account over.
const freshFor = 5 * time.Minute

// signedIn leads whoever isn't signed in well enough through a sign-in first, and back to this page.
func (v *visit) signedIn(h func(*visit) error) error {
	q := toAccount()
	if v.posted() {
		return v.wellEnough(q, h)
	}
	q.Resume = v.r.URL.RequestURI()
	return v.wellEnough(q, h)
}

func (v *visit) wellEnough(q signin.Request, h func(*visit) error) error {
	if q.Satisfied(v.user, v.Now()) {
		return h(v)
	}
	path, err := v.Begin(v.ctx, q)
	if err != nil {
		return err
	}
	return v.redirect(path)
}

// fresh is signedIn for what asks for a new proof, with a second factor if the person has one.
func (v *visit) fresh(h func() error) error {
	q := signin.Request{MaxAge: freshFor, FactorAge: -1, Resume: v.r.URL.Path}
	list, _, err := v.Factors(v.ctx, v.user.Person.ID)
	if err != nil {
		return err
	}
	if len(list) > 0 {
		q.FactorAge = freshFor
	}
	if !v.posted() {
		q.Resume = v.r.URL.RequestURI()
	}
	return v.wellEnough(q, func(*visit) error { return h() })
}

func (v *visit) account() error {
	list, left, err := v.Factors(v.ctx, v.user.Person.ID)
	if err != nil {
		return err
	}
	sessions, err := v.Sessions(v.ctx, v.user.Person.ID)
	if err != nil {
		return err
	}
	p := v.user.Person
	name := p.Name
	if name == "" {
		name = p.Email
	}
	return v.page(page.Account{Frame: v.frame(), Person: name, Email: p.Email, Verified: p.Verified, Factors: len(list), RecoveryLeft: left, Sessions: len(sessions)})
}

// profile changes the name at once, and the address when a code proved it.
func (v *visit) profile() error {
	p := v.user.Person
	show := func(problems ...page.Problem) error {
		return v.page(page.Profile{Frame: v.frame(problems...), Person: p.Name, Email: p.Email, Verified: p.Verified}, problems...)
	}
	if !v.posted() {
		return show()
	}
	if name := strings.TrimSpace(v.form("name")); name != p.Name {
		if err := v.SetName(v.ctx, p.ID, name); fault.KindOf(err) == fault.Invalid {
			return show(problem("name", page.ProblemRequired))
		} else if err != nil {
			return err
		}
	}
	email := strings.TrimSpace(v.form("email"))
	if email == p.Email && p.Verified {
		return v.redirect(page.PathProfile + "?done=saved")
	}
	if _, err := message.ParseAddress(email); err != nil {
		return show(problem("email", page.ProblemEmail))
	}
	return v.fresh(func() error { return v.changeAddress(email) })
}

// changeAddress mails a code to the new address; to one that somebody has, none.
func (v *visit) changeAddress(email string) error {
	if wait := v.Ask("code", v.user.Person.ID, v.in.Visitor); wait > 0 {
		return v.limited(wait)
	}
	other, err := v.Find(v.ctx, email)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	f := account.Flow{Request: toAccount(), Person: v.user.Person.ID, Ghost: other != nil && other.ID != v.user.Person.ID}
	f.SentTo = otp.Target{Purpose: otp.VerifyAddress, User: v.user.Person.ID, Address: email}
	sent, err := v.MailCode(f.SentTo, v.user.Person.Locale, v.user.Person.Name, f.Ghost)
	if err != nil {
		return err
	}
	f.Sent = &sent
	stored, err := v.NewFlow(v.ctx, f.Bind(v.in))
	if err != nil {
		return err
	}
	return v.redirect(withFlow("/account/profile/verify", stored.ID))
}

// own is the flow of this page, if it is of whoever is signed in.
func (v *visit) own() (*account.Flow, error) {
	f, err := v.Flow(v.ctx, v.r.URL.Query().Get("flow"), v.in)
	if err != nil {
		return nil, err
	}
	if f.Person != v.user.Person.ID || f.Join != nil {
		return nil, fault.New(fault.NotFound, "this form has expired")
	}
	return f, nil
}

// newAddress takes the code for a new address.
func (v *visit) newAddress() error {
	f, err := v.own()
	if err != nil {
		return err
	}
	show := func(problems ...page.Problem) error {
		return v.page(page.VerifyEmail{Frame: v.frame(problems...), Email: f.SentTo.Address, Length: v.CodeDigits()}, problems...)
	}
	if !v.posted() || v.form("do") == "resend" {
		return show()
	}
	if f.Sent == nil || f.SentTo.Purpose != otp.VerifyAddress {
		return show(problem("code", page.ProblemCode))
	}
	if wait := v.Try(account.Attempt{What: "factor", Who: f.Person, Visitor: v.in.Visitor}); wait > 0 {
		return v.limited(wait)
	}
	ok, _, err := v.sentCode(f, otp.VerifyAddress, account.Factor{Kind: page.KindEmail})
	if err != nil {
		return err
	}
	if !ok || f.Ghost {
		return show(problem("code", page.ProblemCode))
	}
	if err := v.AskWhether(v.ctx, f.Person, message.NewFactor, f.SentTo.Address, v.in.Visitor); err != nil { // to the old one
		return err
	}
	if err := v.SetEmail(v.ctx, f.Person, f.SentTo.Address); err != nil {
		return err
	}
	if err := v.Note(v.ctx, f.Person, "event.email", "user.email", v.in.Visitor); err != nil {
		return err
	}
	return v.redirect(page.PathProfile + "?done=verified")
}

func (v *visit) factors() error {
	if v.posted() {
		switch v.form("do") {
		case "remove":
			return v.redirect("/account/factors/remove?factor=" + url.QueryEscape(v.form("factor")))
		case "password":
			return v.redirect("/account/password")
		}
	}
	list, left, err := v.Factors(v.ctx, v.user.Person.ID)
	if err != nil {
		return err
	}
	p := page.Factors{Frame: v.frame(), RecoveryLeft: left, CanPhone: v.SMS != nil}
	for _, f := range list {
		p.List = append(p.List, page.Factor{ID: f.ID, Kind: f.Kind, Label: f.Label, Added: f.Added, Used: f.Used})
	}
	federal, err := v.linked()
	if err != nil {
		return err
	}
	p.List = append(p.List, federal...)
	return v.page(p)
}

// changed tells the ledger, the activity and the person that a factor came or went.
func (v *visit) changed(what, kind, factor string) error {
	person := v.user.Person.ID
	if err := v.Note(v.ctx, person, what, kind, v.in.Visitor); err != nil {
		return err
	}
	return v.AskWhether(v.ctx, person, message.NewFactor, factor, v.in.Visitor)
}

func (v *visit) removeFactor() error {
	return v.fresh(func() error {
		list, _, err := v.Factors(v.ctx, v.user.Person.ID)
		if err != nil {
			return err
		}
		federal, err := v.linked()
		if err != nil {
			return err
		}
		for _, f := range federal {
			if f.ID == v.r.URL.Query().Get("factor") {
				return v.unlink(f)
			}
		}
		var this *account.Factor
		for i := range list {
			if list[i].ID == v.r.URL.Query().Get("factor") {
				this = &list[i]
			}
		}
		if this == nil {
			return v.redirect(page.PathFactors)
		}
		shown := page.Factor{ID: this.ID, Kind: this.Kind, Label: this.Label, Added: this.Added, Used: this.Used}
		if !v.posted() || v.form("do") != "remove" {
			return v.page(page.RemoveFactor{Frame: v.frame(), Factor: shown})
		}
		r, err := v.Lookup(v.ctx, v.user.Person.ID)
		if err != nil {
			return err
		}
		if len(list) == 1 && (v.Users().SecondFactor == model.SecondFactorRequired || !r.HasPassword()) {
			last := problem("", page.ProblemLast)
			return v.page(page.RemoveFactor{Frame: v.frame(last), Factor: shown}, last)
		}
		if _, err := v.RemoveFactor(v.ctx, r.ID, this.ID); err != nil {
			return err
		}
		if err := v.EndSessions(v.ctx, r.ID, v.user.ID); err != nil {
			return err
		}
		if _, err := v.Raise(v.ctx, account.Flag{Kind: account.FlagFactorRemoved, Person: r.ID, Session: v.user.ID, Visitor: v.in.Visitor}); err != nil {
			return err
		}
		if err := v.changed("event.factor-removed", "sign-in.factor-removed", string(this.Kind)); err != nil {
			return err
		}
		return v.redirect(page.PathFactors + "?done=removed")
	})
}

func (v *visit) changePassword() error {
	return v.fresh(func() error {
		p := v.user.Person
		show := func(problems ...page.Problem) error {
			return v.page(page.Reset{Frame: v.frame(problems...), Email: p.Email, MinLength: v.MinPassword()}, problems...)
		}
		if !v.posted() {
			return show()
		}
		if bad := v.badPassword(p.Name, p.Email); bad != nil {
			return show(*bad)
		}
		if err := v.SetPassword(v.ctx, p.ID, v.secret("password"), v.user.ID); err != nil {
			return err
		}
		if err := v.changed("event.password", "password.changed", "password"); err != nil {
			return err
		}
		return v.redirect(page.PathFactors + "?done=password")
	})
}

// setUp is a page that sets a factor up over more than one request: it has a flow of its own, in its address.
func (v *visit) setUp(h func(f *account.Flow) error) error {
	return v.fresh(func() error {
		if v.r.URL.Query().Get("flow") != "" {
			f, err := v.own()
			if err != nil {
				return err
			}
			return h(f)
		}
		f := account.Flow{Request: toAccount(), Person: v.user.Person.ID}
		stored, err := v.NewFlow(v.ctx, f.Bind(v.in))
		if err != nil {
			return err
		}
		return v.redirect(withFlow(v.r.URL.Path, stored.ID))
	})
}

// added ends the setting up of a factor.
func (v *visit) added(kind page.Kind) error {
	if err := v.changed("event.factor-added", "sign-in.enrolled", string(kind)); err != nil {
		return err
	}
	return v.redirect(page.PathFactors + "?done=added")
}

func (v *visit) deviceName() string {
	return device.Parse(v.r.UserAgent(), v.r.Header.Get("Sec-CH-UA"), v.r.Header.Get("Sec-CH-UA-Platform")).String()
}

func (v *visit) addPasskey() error {
	return v.setUp(func(f *account.Flow) error {
		show := func(problems ...page.Problem) error {
			c, err := v.OfferPasskey(v.ctx, f.Person)
			if err != nil {
				return err
			}
			f.Passkey = c.State
			if err := v.SaveFlow(v.ctx, f); err != nil {
				return err
			}
			return v.page(page.AddPasskey{Frame: v.frame(problems...), Passkey: c.Options, Label: v.deviceName()}, problems...)
		}
		if !v.posted() {
			return show()
		}
		state := f.Passkey
		f.Passkey = ""
		if err := v.SaveFlow(v.ctx, f); err != nil {
			return err
		}
		err := v.AddPasskey(v.ctx, f.Person, v.form("label"), state, v.form("credential"))
		if errors.Is(err, account.ErrPasskey) {
			return show(problem("", page.ProblemPasskey))
		}
		if err != nil {
			return err
		}
		return v.added(page.KindPasskey)
	})
}

func (v *visit) addTOTP() error {
	return v.setUp(func(f *account.Flow) error {
		show := func(problems ...page.Problem) error {
			e, err := v.enrolment(f)
			if err != nil {
				return err
			}
			return v.page(page.AddTOTP{Frame: v.frame(problems...), QR: e.PNG, Key: e.Key}, problems...)
		}
		if !v.posted() || f.Sealed == nil {
			return show()
		}
		ok, err := v.confirmTOTP(f)
		if err != nil {
			return err
		}
		if !ok {
			return show(problem("code", page.ProblemCode))
		}
		return v.added(page.KindTOTP)
	})
}

func (v *visit) addPhone() error {
	if v.SMS == nil {
		return v.redirect(page.PathFactors)
	}
	return v.setUp(func(f *account.Flow) error {
		show := func(problems ...page.Problem) error {
			return v.page(page.AddPhone{Frame: v.frame(problems...), Phone: v.form("phone"), Sent: f.Sent != nil, Length: v.CodeDigits()}, problems...)
		}
		switch {
		case !v.posted():
			return show()
		case f.Sent == nil || v.form("do") == "resend":
			return v.textNumber(f, show)
		}
		number, err := v.Open(f)
		if err != nil {
			return err
		}
		f.SentTo.Address = string(number.Reveal())
		if wait := v.Try(account.Attempt{What: "factor", Who: f.Person, Visitor: v.in.Visitor}); wait > 0 {
			return v.limited(wait)
		}
		next, ok := v.CheckCode(*f.Sent, f.SentTo, v.form("code"))
		f.Sent, f.SentTo.Address = &next, ""
		if err := v.SaveFlow(v.ctx, f); err != nil {
			return err
		}
		if !ok {
			return show(problem("code", page.ProblemCode))
		}
		if err := v.AddPhone(v.ctx, f.Person, string(number.Reveal())); err != nil {
			return err
		}
		return v.added(page.KindPhone)
	})
}

// textNumber sends a code to a number that is being added. The flow holds it sealed.
func (v *visit) textNumber(f *account.Flow, show func(...page.Problem) error) error {
	number := strings.ReplaceAll(strings.TrimSpace(v.form("phone")), " ", "")
	if f.Sent != nil {
		kept, err := v.Open(f)
		if err != nil {
			return err
		}
		number = string(kept.Reveal())
	}
	if _, err := message.ParsePhone(number); err != nil {
		return show(problem("phone", page.ProblemPhone))
	}
	if f.Sends++; f.Sends > maxSends || v.Ask("sms", f.Person, v.in.Visitor) > 0 || v.Ask("sms-to", number, v.in.Visitor) > 0 {
		return errSends
	}
	// It is the person's own session: what stands against strangers isn't asked.
	if err := v.announce(account.Flag{Kind: account.FlagCodeRequested, Person: f.Person, Known: true}); err != nil {
		return err
	}
	to := otp.Target{Purpose: otp.AddFactor, User: f.Person, Address: number}
	sent, err := v.TextCode(to, v.user.Person.Locale)
	if err != nil {
		return err
	}
	if err := v.Seal(f, secret.New([]byte(number))); err != nil {
		return err
	}
	to.Address = ""
	f.Sent, f.SentTo = &sent, to
	if err := v.SaveFlow(v.ctx, f); err != nil {
		return err
	}
	return show()
}

func (v *visit) recoveryCodes() error {
	return v.fresh(func() error {
		_, left, err := v.Factors(v.ctx, v.user.Person.ID)
		if err != nil {
			return err
		}
		if !v.posted() || v.form("do") != "make" {
			return v.page(page.RecoveryCodes{Frame: v.frame(), Left: left})
		}
		codes, err := v.MakeRecoveryCodes(v.ctx, v.user.Person.ID)
		if err != nil {
			return err
		}
		if err := v.changed("event.factor-added", "sign-in.enrolled", string(page.KindRecovery)); err != nil {
			return err
		}
		return v.page(page.RecoveryCodes{Frame: v.frame(), Codes: codes, Left: len(codes)})
	})
}

func (v *visit) sessions() error {
	person := v.user.Person.ID
	if v.posted() {
		if v.form("do") == "end-all" {
			drop(v.w, sessionCookie)
			if err := v.EndSessions(v.ctx, person, ""); err != nil {
				return err
			}
			if err := v.Note(v.ctx, person, "event.sign-out-all", "sign-in.out-all", v.in.Visitor); err != nil {
				return err
			}
			return v.page(page.SignedOut{Frame: v.plain(), Everywhere: true})
		}
		if err := v.EndSessionOf(v.ctx, person, v.form("session")); err != nil {
			return err
		}
		return v.redirect(page.PathSessions + "?done=session-over")
	}
	list, err := v.Sessions(v.ctx, person)
	if err != nil {
		return err
	}
	p := page.Sessions{Frame: v.frame()}
	for _, s := range list {
		p.List = append(p.List, page.Session{ID: s.ID, Device: s.Device, Place: s.Place, Started: s.Started, Seen: s.Last, Current: s.ID == v.user.ID})
	}
	return v.page(p)
}

func (v *visit) activity() error {
	var before time.Time
	if n, err := strconv.ParseInt(v.r.URL.Query().Get("before"), 10, 64); err == nil && n > 0 {
		before = time.UnixMicro(n)
	}
	list, more, err := v.Activity(v.ctx, v.user.Person.ID, before)
	if err != nil {
		return err
	}
	p := page.Activity{Frame: v.frame()}
	for _, e := range list {
		p.List = append(p.List, event(e))
	}
	if more {
		p.Older = fmt.Sprintf("%s?before=%d", page.PathActivity, list[len(list)-1].At.UnixMicro())
	}
	return v.page(p)
}

// data exports all that is kept about a person.
func (v *visit) data() error {
	if !v.posted() || v.form("do") != "export" {
		return v.page(page.Data{Frame: v.frame()})
	}
	return v.fresh(func() error {
		export, err := v.export(v.user.Person.ID)
		if err != nil {
			return err
		}
		b, err := json.MarshalIndent(export, "", "  ")
		if err != nil {
			return fmt.Errorf("write export: %w", err)
		}
		if err := v.Note(v.ctx, v.user.Person.ID, "event.export", "user.exported", v.in.Visitor); err != nil {
			return err
		}
		h := v.w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Content-Disposition", `attachment; filename="account.json"`)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = v.w.Write(b) // the browser is gone
		return nil
	})
}

func (v *visit) delete() error {
	return v.fresh(func() error {
		p := v.user.Person
		if !v.posted() {
			return v.page(page.Delete{Frame: v.frame(), Email: p.Email})
		}
		if !strings.EqualFold(strings.TrimSpace(v.form("email")), p.Email) {
			bad := problem("email", page.ProblemConfirm)
			return v.page(page.Delete{Frame: v.frame(bad), Email: p.Email}, bad)
		}
		drop(v.w, sessionCookie)
		if err := v.Delete(v.ctx, p.ID); err != nil {
			return err
		}
		return v.page(page.SignedOut{Frame: v.plain(), Everywhere: true})
	})
}

func (v *visit) signOut() error {
	if v.user == nil {
		return v.redirect("/signed-out")
	}
	if !v.posted() {
		return v.page(page.SignOut{Frame: v.frame()})
	}
	if err := v.Note(v.ctx, v.user.Person.ID, "event.sign-out", "sign-in.out", v.in.Visitor); err != nil {
		return err
	}
	if err := v.End(v.ctx, v.w, v.user.ID); err != nil {
		return err
	}
	http.Redirect(v.w, v.r, "/signed-out", http.StatusSeeOther)
	return nil
}
