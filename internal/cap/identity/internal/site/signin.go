package site

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/cap/identity/internal/otp"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
)

// maxTries is how many second factors may be wrong before the first is asked for again.
const maxTries = 5

// flow is the sign-in of this browser: that of the address, or that of the cookie; named tells which.
func (v *visit) flow() (f *account.Flow, named bool, err error) {
	id := v.r.URL.Query().Get("flow")
	named = id != ""
	if !named {
		id = cookie(v.r, flowCookie)
	}
	f, err = v.Flow(v.ctx, id, v.in)
	if err == nil {
		put(v.w, flowCookie, f.ID, 0)
	}
	return f, named, err
}

// signIn is the page of a sign-in, whatever its next step is.
func (v *visit) signIn() error {
	f, named, err := v.flow()
	if fault.KindOf(err) == fault.NotFound && !named {
		if v.user != nil && !v.posted() {
			return v.redirect(page.PathAccount)
		}
		return v.anew()
	}
	if err != nil {
		return err
	}
	if v.posted() {
		return v.signInStep(f)
	}
	changed := false
	if !named {
		// The link "somebody else": all that was shown is void.
		f.Typed, f.Person, f.Proof, f.Join, f.Federal, f.Request.Choose, changed = "", "", account.Proof{}, nil, nil, true, true
	} else if f.Person == "" && v.user != nil && !f.Request.Choose && f.Join == nil && f.Federal == nil {
		f.Person, changed = v.user.Person.ID, true
	}
	if changed {
		if err := v.SaveFlow(v.ctx, f); err != nil {
			return err
		}
	}
	return v.show(f)
}

// anew begins a sign-in that leads to the account.
func (v *visit) anew() error {
	f := account.Flow{Request: toAccount()}
	stored, err := v.NewFlow(v.ctx, f.Bind(v.in))
	if err != nil {
		return err
	}
	return v.redirect(withFlow(page.PathSignIn, stored.ID))
}

func toAccount() signin.Request {
	return signin.Request{MaxAge: -1, FactorAge: -1, Resume: page.PathAccount}
}

// show answers with the page of the next step, or with the end.
func (v *visit) show(f *account.Flow, problems ...page.Problem) error {
	step, list, err := v.Next(v.ctx, f, v.user)
	if err != nil {
		return err
	}
	frame := v.plain(problems...)
	switch step {
	case account.StepIdentify:
		p := page.SignIn{Frame: frame, Identifier: f.Request.Hint, Passkey: f.Options, Register: v.registerAt(f), Client: f.Request.Client}
		if f.Federal != nil {
			p.Link, p.Identifier, p.Register = f.Federal.Provider, f.Federal.Email, ""
		} else {
			p.Providers = v.providers(f)
		}
		return v.page(p, problems...)
	case account.StepMake:
		return v.page(page.MakeAccount{Frame: frame, Provider: f.Federal.Provider, Email: f.Federal.Email, Person: f.Federal.Name})
	case account.StepLink:
		return v.page(page.LinkProvider{Frame: frame, Provider: f.Federal.Provider, Email: f.Federal.Email})
	case account.StepPassword:
		return v.showPassword(f, problems)
	case account.StepJoin:
		return v.page(page.VerifyEmail{Frame: frame, Email: f.Join.Email, Length: v.CodeDigits()}, problems...)
	case account.StepFactor:
		return v.showFactor(f, list, problems)
	case account.StepEnrol:
		return v.showEnrol(f, problems)
	}
	return v.finish(f)
}

// showPassword asks for the first factor of who was named. Somebody who is signed in may show a passkey instead.
func (v *visit) showPassword(f *account.Flow, problems []page.Problem) error {
	if f.Person != "" && v.user != nil && v.user.Person.ID == f.Person && f.Factor != "password" {
		list, _, err := v.Factors(v.ctx, f.Person)
		if err != nil {
			return err
		}
		if hasPasskey(list) {
			return v.page(page.SecondPasskey{Frame: v.plain(problems...), Passkey: f.Options, Others: v.Users().Passwords}, problems...)
		}
	}
	if !v.Users().Passwords {
		return v.page(page.SignIn{Frame: v.plain(append(problems, problem("", page.ProblemPasskey))...), Identifier: f.Typed, Passkey: f.Options}, problem("", page.ProblemPasskey))
	}
	return v.page(page.Password{Frame: v.plain(problems...), Identifier: f.Typed, CanReset: true}, problems...)
}

func hasPasskey(list []account.Factor) bool {
	return slices.ContainsFunc(list, func(f account.Factor) bool { return f.Kind == page.KindPasskey })
}

// finish ends a flow, sets the new cookies, and leads on.
func (v *visit) finish(f *account.Flow) error {
	done, err := v.Service.Finish(v.ctx, f, v.in, v.user)
	if errors.Is(err, account.ErrStepUp) {
		return v.redirect(withFlow(page.PathSignIn, f.ID))
	}
	if err != nil {
		return err
	}
	put(v.w, sessionCookie, done.Cookie, 0)
	put(v.w, deviceCookie, done.Device, 180*24*time.Hour)
	drop(v.w, flowCookie)
	if !v.posted() || strings.HasPrefix(done.Resume, page.PathAccount) {
		return v.redirect(done.Resume)
	}
	// Not a redirect: what follows may lead to other origins, and Chromium would hold that against form-action.
	host, _ := url.Parse(v.Origin) // New checked it
	return v.page(page.Continue{Frame: v.plain(), URL: v.Origin + done.Resume, Host: host.Host})
}

// next saves a flow and goes to its next page.
func (v *visit) next(f *account.Flow) error {
	step, _, err := v.Next(v.ctx, f, v.user)
	if err != nil {
		return err
	}
	if step == account.StepDone {
		return v.finish(f) // which ends the flow
	}
	if err := v.SaveFlow(v.ctx, f); err != nil {
		return err
	}
	return v.redirect(withFlow(page.PathSignIn, f.ID))
}

// signInStep takes what was posted for the next step.
func (v *visit) signInStep(f *account.Flow) error {
	step, list, err := v.Next(v.ctx, f, v.user)
	if err != nil {
		return err
	}
	_, hasPassword := v.r.PostForm["password"]
	switch {
	case v.form("credential") != "" && step != account.StepEnrol && step != account.StepMake:
		return v.passkey(f)
	case step == account.StepJoin:
		return v.joinCode(f)
	case step == account.StepMake:
		return v.makeStep(f)
	case step == account.StepLink:
		return v.linkStep(f)
	case step == account.StepFactor:
		return v.factorStep(f, list)
	case step == account.StepEnrol:
		return v.enrolStep(f)
	case step == account.StepPassword && hasPassword:
		return v.password(f)
	case step == account.StepDone:
		return v.finish(f)
	}
	typed := strings.TrimSpace(v.form("identifier"))
	if _, err := message.ParseAddress(typed); err != nil {
		return v.show(f, problem("identifier", page.ProblemEmail))
	}
	f.Typed, f.Person, f.Proof = typed, "", account.Proof{}
	return v.next(f)
}

// password takes the first factor. Whoever isn't there costs the same work and gets the same answer.
func (v *visit) password(f *account.Flow) error {
	if !v.Users().Passwords {
		return v.show(f)
	}
	attempt := account.Attempt{What: "password", Who: f.Typed, Visitor: v.in.Visitor}
	who := ""
	if r, err := v.Find(v.ctx, f.Typed); err == nil {
		who = r.ID
	} else if fault.KindOf(err) != fault.NotFound {
		return err
	}
	var err error
	if attempt.Device, err = v.Known(v.ctx, who, v.in); err != nil {
		return err
	}
	flag := account.Flag{Kind: account.FlagWrongPassword, Person: who, Who: f.Typed, Known: attempt.Device != nil, Visitor: v.in.Visitor, Password: v.secret("password")}
	if wait := v.held(attempt, flag); wait > 0 {
		if v.Hasty(attempt) {
			flag.Kind, flag.Password = account.FlagHasty, secret.Bytes{}
			if _, err := v.Raise(v.ctx, flag); err != nil {
				return err
			}
		}
		return v.limited(wait)
	}
	r, err := v.VerifyPassword(v.ctx, f.Typed, flag.Password)
	if err != nil {
		return err
	}
	if r == nil {
		wait, err := v.Failed(v.ctx, flag)
		if err != nil {
			return err
		}
		if wait > 0 {
			return v.limited(wait)
		}
		return v.show(f, problem("password", page.ProblemCredentials))
	}
	v.Right(attempt)
	f.Prove(r.ID, v.Now(), signin.Password)
	return v.next(f)
}

// held is how long a guess isn't looked at, 0 to go on; then it is counted.
func (v *visit) held(a account.Attempt, f account.Flag) time.Duration {
	if wait := v.Standing(v.ctx, f); wait > 0 {
		return wait
	}
	return v.Try(a)
}

// passkey takes a passkey that verified its user: first and second factor at once.
func (v *visit) passkey(f *account.Flow) error {
	if wait := v.Try(account.Attempt{What: "passkey", Who: f.ID, Visitor: v.in.Visitor}); wait > 0 {
		return v.limited(wait)
	}
	before := *f // what isn't stored isn't proven
	person, err := v.VerifyPasskey(v.ctx, f, v.form("credential"))
	if err == nil {
		now := v.Now()
		f.Prove(person, now, signin.Passkey, signin.User)
		f.ProveFactor(now)
		err = v.next(f)
	}
	if errors.Is(err, account.ErrPasskey) || errors.Is(err, account.ErrClone) {
		*f = before
		if spent := v.SpendPasskey(v.ctx, f); spent != nil {
			return spent
		}
		// Nobody's passkeys have nothing in common: the flow stands for who it was.
		flag := account.Flag{Kind: account.FlagWrongFactor, Person: person, Who: f.ID, Visitor: v.in.Visitor}
		if errors.Is(err, account.ErrClone) {
			flag.Kind = account.FlagClone
		}
		wait, err := v.Failed(v.ctx, flag)
		if err != nil {
			return err
		}
		if wait > 0 {
			return v.limited(wait)
		}
		return v.show(f, problem("", page.ProblemPasskey))
	}
	return err
}

// showFactor asks for the chosen second factor, or the best.
func (v *visit) showFactor(f *account.Flow, list []account.Factor, problems []page.Problem) error {
	chosen := choice(f, list)
	frame, others := v.plain(problems...), len(list) > 1
	switch chosen.Kind {
	case page.KindPasskey:
		return v.page(page.SecondPasskey{Frame: frame, Passkey: f.Options, Others: others}, problems...)
	case page.KindTOTP:
		return v.page(page.TOTP{Frame: frame, Others: others}, problems...)
	case page.KindRecovery:
		return v.redirect(withFlow(page.PathRecovery, f.ID))
	}
	if f.Sent == nil {
		if err := v.sendCode(f, chosen); err != nil {
			return err
		}
		if err := v.SaveFlow(v.ctx, f); err != nil {
			return err
		}
	}
	return v.page(page.Code{Frame: frame, Kind: chosen.Kind, To: chosen.Label, Length: v.CodeDigits(), Others: others}, problems...)
}

// choice is the factor that was chosen, or else a passkey, or the first.
func choice(f *account.Flow, list []account.Factor) account.Factor {
	for _, x := range list {
		if x.ID == f.Factor {
			return x
		}
	}
	for _, x := range list {
		if x.Kind == page.KindPasskey {
			return x
		}
	}
	return list[0]
}

// factorStep takes a code as the second factor.
func (v *visit) factorStep(f *account.Flow, list []account.Factor) error {
	chosen := choice(f, list)
	if v.form("do") == "resend" {
		if chosen.Kind == page.KindEmail || chosen.Kind == page.KindPhone {
			if err := v.sendCode(f, chosen); err != nil {
				return err
			}
		}
		return v.next(f)
	}
	return v.tryFactor(f, func() (bool, []string, error) {
		switch chosen.Kind {
		case page.KindTOTP:
			ok, err := v.VerifyTOTP(v.ctx, f.Person, v.form("code"))
			return ok, []string{signin.OTP}, err
		case page.KindEmail, page.KindPhone:
			return v.sentCode(f, otp.SignIn, chosen)
		}
		return false, nil, nil
	})
}

// tryFactor is one try of a second factor, within the limits.
func (v *visit) tryFactor(f *account.Flow, try func() (bool, []string, error)) error {
	attempt := account.Attempt{What: "factor", Who: f.Person, Visitor: v.in.Visitor}
	var err error
	if attempt.Device, err = v.Known(v.ctx, f.Person, v.in); err != nil {
		return err
	}
	flag := account.Flag{Kind: account.FlagWrongFactor, Person: f.Person, Known: attempt.Device != nil, Visitor: v.in.Visitor}
	if wait := v.held(attempt, flag); wait > 0 {
		return v.limited(wait)
	}
	ok, methods, err := try()
	if err != nil {
		return err
	}
	if ok {
		v.Right(attempt)
		f.ProveFactor(v.Now(), methods...)
		return v.next(f)
	}
	wait, err := v.Failed(v.ctx, flag)
	if err != nil {
		return err
	}
	if f.Tries++; f.Tries >= maxTries {
		f.Person, f.Proof, f.Tries, f.Factor, f.Sent = "", account.Proof{}, 0, "", nil
	}
	if err := v.SaveFlow(v.ctx, f); err != nil {
		return err
	}
	if wait > 0 {
		return v.limited(wait)
	}
	wrong := problem("code", page.ProblemCode)
	switch {
	case v.r.URL.Path != page.PathRecovery:
		return v.show(f, wrong)
	case f.Person == "":
		return v.redirect(withFlow(page.PathSignIn, f.ID))
	}
	return v.page(page.RecoveryCode{Frame: v.plain(wrong)}, wrong)
}

// choose lets a person take another second factor, or the password, to go on with.
func (v *visit) choose() error {
	f, _, err := v.flow()
	if err != nil {
		return err
	}
	step, list, err := v.Next(v.ctx, f, v.user)
	if err != nil {
		return err
	}
	if step == account.StepPassword && f.Person != "" {
		f.Factor = "password"
		return v.next(f)
	}
	if step != account.StepFactor {
		return v.redirect(withFlow(page.PathSignIn, f.ID))
	}
	if v.posted() {
		f.Factor, f.Sent = v.form("factor"), nil
		return v.next(f)
	}
	p := page.Choose{Frame: v.plain()}
	for _, x := range list {
		p.Factors = append(p.Factors, page.Factor{ID: x.ID, Kind: x.Kind, Label: x.Label})
	}
	return v.page(p)
}

// recoveryCode takes one instead of a second factor.
func (v *visit) recoveryCode() error {
	f, err := v.atFactor()
	if f == nil {
		return err
	}
	if !v.posted() {
		return v.page(page.RecoveryCode{Frame: v.plain()})
	}
	return v.tryFactor(f, func() (bool, []string, error) {
		ok, err := v.UseRecoveryCode(v.ctx, f.Person, v.form("code"))
		if err == nil && ok {
			err = v.Note(v.ctx, f.Person, "event.recovery", "sign-in.recovery-code", v.in.Visitor)
		}
		return ok, []string{signin.OTP}, err
	})
}

// showEnrol sets up a second factor for who needs one and has none.
func (v *visit) showEnrol(f *account.Flow, problems []page.Problem) error {
	frame := v.plain(problems...)
	switch f.Enrol {
	case page.KindPasskey:
		c, err := v.OfferPasskey(v.ctx, f.Person)
		if err != nil {
			return err
		}
		f.Passkey = c.State
		if err := v.SaveFlow(v.ctx, f); err != nil {
			return err
		}
		return v.page(page.AddPasskey{Frame: frame, Passkey: c.Options, Label: v.deviceName()}, problems...)
	case page.KindTOTP:
		e, err := v.enrolment(f)
		if err != nil {
			return err
		}
		return v.page(page.AddTOTP{Frame: frame, QR: e.PNG, Key: e.Key}, problems...)
	}
	return v.page(page.Choose{Frame: frame, Factors: []page.Factor{{ID: string(page.KindPasskey), Kind: page.KindPasskey}, {ID: string(page.KindTOTP), Kind: page.KindTOTP}}}, problems...)
}

// enrolment shows the secret of an authenticator that is being set up, the same until it is used.
func (v *visit) enrolment(f *account.Flow) (otp.Enrolment, error) {
	if f.Sealed == nil {
		if err := v.Seal(f, otp.NewSecret()); err != nil {
			return otp.Enrolment{}, err
		}
		if err := v.SaveFlow(v.ctx, f); err != nil {
			return otp.Enrolment{}, err
		}
	}
	key, err := v.Open(f)
	if err != nil {
		return otp.Enrolment{}, err
	}
	r, err := v.Lookup(v.ctx, f.Person)
	if err != nil {
		return otp.Enrolment{}, err
	}
	e, err := otp.Enrol(key, v.Users().Name, r.Email)
	if err != nil {
		return e, fmt.Errorf("show authenticator: %w", err)
	}
	return e, nil
}

// enrolStep takes the first proof of a new second factor, which counts at once.
func (v *visit) enrolStep(f *account.Flow) error {
	if kind := page.Kind(v.form("factor")); kind == page.KindPasskey || kind == page.KindTOTP {
		f.Enrol, f.Sealed = kind, nil
		return v.next(f)
	}
	switch f.Enrol {
	case page.KindPasskey:
		state := f.Passkey
		f.Passkey = ""
		if err := v.SaveFlow(v.ctx, f); err != nil {
			return err
		}
		if err := v.AddPasskey(v.ctx, f.Person, v.form("label"), state, v.form("credential")); errors.Is(err, account.ErrPasskey) {
			return v.show(f, problem("", page.ProblemPasskey))
		} else if err != nil {
			return err
		}
		f.ProveFactor(v.Now(), signin.Passkey, signin.User)
	case page.KindTOTP:
		if f.Sealed == nil {
			return v.show(f)
		}
		ok, err := v.confirmTOTP(f)
		if err != nil {
			return err
		}
		if !ok {
			return v.show(f, problem("code", page.ProblemCode))
		}
		f.ProveFactor(v.Now(), signin.OTP)
	default:
		return v.show(f)
	}
	if err := v.Note(v.ctx, f.Person, "event.factor-added", "sign-in.enrolled", v.in.Visitor); err != nil {
		return err
	}
	return v.next(f)
}

// confirmTOTP adds the authenticator that a flow holds if its first code is right.
func (v *visit) confirmTOTP(f *account.Flow) (bool, error) {
	key, err := v.Open(f)
	if err != nil {
		return false, err
	}
	step, ok := otp.VerifyTOTP(key, v.form("code"), v.Now(), 0)
	if !ok {
		return false, nil
	}
	f.Sealed = nil
	if err := v.SaveFlow(v.ctx, f); err != nil {
		return false, err
	}
	return true, v.AddTOTP(v.ctx, f.Person, key, step)
}

// work is a challenge as the page wants it.
func toJSON(x any) (string, error) {
	b, err := json.Marshal(x)
	if err != nil {
		return "", fmt.Errorf("write challenge: %w", err)
	}
	return string(b), nil
}
