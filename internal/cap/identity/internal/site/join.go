package site

import (
	"errors"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/password"
	"github.com/wardhq/ward/internal/cap/identity/internal/pow"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/model"
)

const workTime = 20 * time.Minute

// register takes a registration. The answer is the same whether or not somebody has the address.
func (v *visit) register() error {
	if v.Users().Register != model.RegisterOpen || !v.Users().Passwords {
		return v.c.Pages().Render(v.w, v.r, 403, page.Error{Frame: v.plain(), What: page.ErrorClosed})
	}
	if !v.posted() {
		return v.showRegister()
	}
	n := account.NewPerson{Name: strings.TrimSpace(v.form("name")), Email: strings.TrimSpace(v.form("email")), Locale: v.locale()}
	if _, err := message.ParseAddress(n.Email); err != nil {
		return v.showRegister(problem("email", page.ProblemEmail))
	}
	if n.Name == "" || len([]rune(n.Name)) > 100 {
		return v.showRegister(problem("name", page.ProblemRequired))
	}
	if p := v.badPassword(n.Name, n.Email); p != nil {
		return v.showRegister(*p)
	}
	now := v.Now()
	solved, err := pow.Verify(v.WorkKey(), "register", v.form("work"), now)
	if err != nil {
		return v.showRegister(problem("", page.ProblemWork))
	}
	if fresh, err := v.Spend(v.ctx, solved); err != nil {
		return err
	} else if !fresh {
		return v.showRegister(problem("", page.ProblemWork))
	}
	if wait := v.Ask("register", n.Email, v.in.Visitor); wait > 0 {
		return v.limited(wait)
	}
	if err := v.announce(account.Flag{Kind: account.FlagRegistered, Who: n.Email}); err != nil {
		return err
	}
	f, err := v.Join(v.ctx, n, v.secret("password"), v.in)
	if err == nil {
		err = v.resumed(f)
	}
	if err != nil {
		return err
	}
	return v.redirect(withFlow(page.PathSignIn, f.ID))
}

// registerAt is where somebody makes an account to go on with a sign-in; "" where that isn't open.
func (v *visit) registerAt(f *account.Flow) string {
	if v.Users().Register != model.RegisterOpen || !v.Users().Passwords {
		return ""
	}
	return withFlow(page.PathRegister, f.ID)
}

// resumed lets a registration go on where the sign-in that led to it began.
func (v *visit) resumed(f *account.Flow) error {
	from, err := v.Flow(v.ctx, v.r.URL.Query().Get("flow"), v.in)
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	f.Request = from.Request
	return v.SaveFlow(v.ctx, f)
}

func (v *visit) showRegister(problems ...page.Problem) error {
	c, err := pow.New(v.WorkKey(), "register", v.c.Work(v.in.Visitor), v.Now().Add(workTime))
	if err != nil {
		return err
	}
	work, err := toJSON(c)
	if err != nil {
		return err
	}
	return v.page(page.Register{Frame: v.plain(problems...), Person: v.form("name"), Email: v.form("email"), MinLength: v.MinPassword(), Work: work}, problems...)
}

// badPassword is what is wrong with a new password, or nil.
func (v *visit) badPassword(about ...string) *page.Problem {
	pw := v.secret("password")
	err := v.CheckPassword(v.ctx, pw, about...)
	switch plain, _ := password.Normalise(pw); {
	case err == nil:
		return nil
	case errors.Is(err, account.ErrBreached):
		return &page.Problem{Field: "password", Text: page.ProblemBreached}
	case len([]rune(string(plain.Reveal()))) < v.MinPassword():
		return &page.Problem{Field: "password", Text: page.ProblemShort, N: v.MinPassword()}
	}
	return &page.Problem{Field: "password", Text: page.ProblemWeak}
}

// joinCode takes the code of a registration.
func (v *visit) joinCode(f *account.Flow) error {
	if v.form("do") == "resend" {
		if f.Sends++; f.Sends > maxSends || v.Ask("code", f.Join.Email, v.in.Visitor) > 0 {
			return errSends
		}
		if err := v.announce(account.Flag{Kind: account.FlagCodeRequested, Who: f.Join.Email}); err != nil {
			return err
		}
		if err := v.SendJoin(v.ctx, f, v.in.Visitor); err != nil {
			return err
		}
		return v.next(f)
	}
	if wait := v.Try(account.Attempt{What: "factor", Who: f.Join.Email, Visitor: v.in.Visitor}); wait > 0 {
		return v.limited(wait)
	}
	ok, err := v.Joined(v.ctx, f, v.form("code"))
	if err != nil {
		return err
	}
	if !ok {
		return v.show(f, problem("code", page.ProblemCode))
	}
	if err := v.Note(v.ctx, f.Person, "event.registered", "user.registered", v.in.Visitor); err != nil {
		return err
	}
	return v.next(f)
}

// forgot mails a link to a new password.
func (v *visit) forgot() error {
	if !v.posted() {
		return v.page(page.Forgot{Frame: v.plain()})
	}
	email := strings.TrimSpace(v.form("email"))
	if _, err := message.ParseAddress(email); err != nil {
		return v.page(page.Forgot{Frame: v.plain(problem("email", page.ProblemEmail)), Email: email}, problem("email", page.ProblemEmail))
	}
	if wait := v.Ask("forgot", email, v.in.Visitor); wait > 0 {
		return v.limited(wait)
	}
	if err := v.announce(account.Flag{Kind: account.FlagLinkRequested, Who: email}); err != nil {
		return err
	}
	if err := v.Service.Forgot(v.ctx, email, v.locale(), v.in.Visitor); err != nil {
		return err
	}
	return v.page(page.ForgotSent{Frame: v.plain(), Email: email})
}

func (v *visit) token() string { return v.r.URL.Query().Get("token") }

// reset sets a new password; the second factor is asked for after it.
func (v *visit) reset() error { return v.newPassword(account.LinkReset) }

// invite sets up an account that an administrator made.
func (v *visit) invite() error { return v.newPassword(account.LinkInvite) }

// newPassword is behind a mailed link. The link counts as the first factor, once.
func (v *visit) newPassword(kind account.LinkKind) error {
	l, err := v.SeeLink(v.ctx, kind, v.token())
	if err != nil {
		return err
	}
	r, err := v.Lookup(v.ctx, l.Person)
	if err != nil {
		return err
	}
	ask := func(problems ...page.Problem) error {
		if !v.Users().Passwords {
			return v.page(page.VerifyLink{Frame: v.plain(problems...), Email: r.Email}, problems...)
		}
		return v.page(page.Reset{Frame: v.plain(problems...), Email: r.Email, MinLength: v.MinPassword()}, problems...)
	}
	if !v.posted() {
		return ask()
	}
	if v.Users().Passwords {
		if p := v.badPassword(r.Name, r.Email); p != nil {
			return ask(*p)
		}
	}
	if l, err = v.TakeLink(v.ctx, kind, v.token()); err != nil {
		return err
	}
	method := signin.Mail
	if v.Users().Passwords {
		method = signin.Password
		if err := v.SetPassword(v.ctx, l.Person, v.secret("password"), ""); err != nil {
			return err
		}
		if err := v.Note(v.ctx, l.Person, "event.password", "password.reset", v.in.Visitor); err != nil {
			return err
		}
	}
	if err := v.SetEmail(v.ctx, l.Person, r.Email); err != nil { // the link came by mail
		return err
	}
	return v.proven(l.Person, kind == account.LinkInvite, method)
}

// proven begins a sign-in of somebody who just proved a first factor.
func (v *visit) proven(person string, fresh bool, method string) error {
	f := account.Flow{Request: toAccount(), New: fresh}
	f.Prove(person, v.Now(), method)
	stored, err := v.NewFlow(v.ctx, f.Bind(v.in))
	if err != nil {
		return err
	}
	return v.redirect(withFlow(page.PathSignIn, stored.ID))
}

// first makes the first administrator, by the link that was printed at the start.
func (v *visit) first() error {
	if _, err := v.SeeLink(v.ctx, account.LinkAdmin, v.token()); err != nil {
		return err
	}
	ask := func(problems ...page.Problem) error {
		return v.page(page.Register{Frame: v.plain(problems...), Person: v.form("name"), Email: v.form("email"), MinLength: v.MinPassword()}, problems...)
	}
	if !v.posted() {
		return ask()
	}
	n := account.NewPerson{Name: strings.TrimSpace(v.form("name")), Email: strings.TrimSpace(v.form("email")), Locale: v.locale()}
	if _, err := message.ParseAddress(n.Email); err != nil {
		return ask(problem("email", page.ProblemEmail))
	}
	if p := v.badPassword(n.Name, n.Email); p != nil {
		return ask(*p)
	}
	var err error
	if n.Password, err = v.Hasher.Hash(v.ctx, v.secret("password")); err != nil {
		return err
	}
	p, err := v.FirstAdmin(v.ctx, v.token(), n)
	if fault.KindOf(err) == fault.Conflict {
		return ask(problem("email", page.ProblemEmail))
	}
	if err != nil {
		return err
	}
	return v.proven(p.ID, true, signin.Password)
}

// wasItYou asks about an event, and takes a "no".
func (v *visit) wasItYou() error {
	l, err := v.SeeLink(v.ctx, account.LinkDeny, v.token())
	if err != nil {
		return err
	}
	if !v.posted() {
		e, err := account.ReadEvent(l.Data)
		if err != nil {
			return err
		}
		return v.page(page.WasItYou{Frame: v.plain(), Event: event(e)})
	}
	if v.form("do") != "no" {
		return v.redirect(page.PathAccount)
	}
	if _, err := v.Deny(v.ctx, v.token(), v.in.Visitor); err != nil {
		return err
	}
	return v.page(page.Secured{Frame: v.plain(), ResetURL: page.PathForgot})
}

func event(e account.Event) page.Event {
	return page.Event{At: e.At, What: page.Key(e.What), Device: e.Device, Place: e.Place, Warning: e.Warning}
}

// stopRecovery is behind the link of the mail about a recovery.
func (v *visit) stopRecovery() error {
	if _, err := v.SeeLink(v.ctx, account.LinkCancel, v.token()); err != nil {
		return err
	}
	if !v.posted() {
		return v.page(page.LostFactor{Frame: v.plain(), State: page.LostApproval, Approval: true})
	}
	l, err := v.TakeLink(v.ctx, account.LinkCancel, v.token())
	if err != nil {
		return err
	}
	if err := v.StopRecovery(v.ctx, l.Person); err != nil {
		return err
	}
	return v.page(page.Secured{Frame: v.plain(), ResetURL: page.PathForgot})
}

// atFactor is the flow of a browser whose next step is a second factor; nil for any other, which is on its way to its own step.
func (v *visit) atFactor() (*account.Flow, error) {
	f, _, err := v.flow()
	if err != nil {
		return nil, err
	}
	step, _, err := v.Next(v.ctx, f, v.user)
	if err != nil {
		return nil, err
	}
	if step != account.StepFactor {
		return nil, v.redirect(withFlow(page.PathSignIn, f.ID))
	}
	return f, nil
}

// lost asks for a way in without the second factor, of who proved the first.
func (v *visit) lost() error {
	f, err := v.atFactor()
	if f == nil {
		return err
	}
	r, err := v.RecoveryOf(v.ctx, f.Person)
	if err != nil {
		return err
	}
	switch {
	case !v.posted():
	case v.form("do") == "request" && r == nil:
		if wait := v.Ask("recovery", f.Person, v.in.Visitor); wait > 0 {
			return v.limited(wait)
		}
		if err := v.AskRecovery(v.ctx, f.Person, v.in.Visitor); err != nil {
			return err
		}
		return v.redirect(withFlow(page.PathLost, f.ID))
	case v.form("do") == "cancel" && r != nil:
		if err := v.StopRecovery(v.ctx, f.Person); err != nil {
			return err
		}
		return v.redirect(withFlow(page.PathLost, f.ID))
	}
	p := page.LostFactor{Frame: v.plain(), Approval: true, Wait: account.CoolDown}
	switch {
	case r == nil:
	case r.Denied:
		p.State = page.LostRefused
	case v.Now().Before(r.Ready):
		p.State, p.Until = page.LostCooling, r.Ready
	default:
		p.State = page.LostApproval
	}
	return v.page(p)
}
