package site

import (
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/otp"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/password"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
)

// errSends says that enough codes were sent.
var errSends = fault.New(fault.Exhausted, "enough codes were sent; please begin again later")

const maxSends = 3 // codes in a flow

// announce tells the detectors of something that sends a message, before it does; an error if they say to wait.
func (v *visit) announce(f account.Flag) error {
	f.Visitor = v.in.Visitor
	if wait := v.Standing(v.ctx, f); wait > 0 {
		return &password.BusyError{RetryAfter: wait}
	}
	_, err := v.Raise(v.ctx, f)
	return err
}

// sendCode sends a code to the mailbox or phone of a factor.
func (v *visit) sendCode(f *account.Flow, to account.Factor) error {
	if f.Sends++; f.Sends > maxSends || v.Ask("code", f.Person, v.in.Visitor) > 0 {
		return errSends
	}
	known, err := v.Known(v.ctx, f.Person, v.in)
	if err != nil {
		return err
	}
	if err := v.announce(account.Flag{Kind: account.FlagCodeRequested, Person: f.Person, Known: known != nil}); err != nil {
		return err
	}
	r, err := v.Lookup(v.ctx, f.Person)
	if err != nil {
		return err
	}
	target := otp.Target{Purpose: otp.SignIn, User: f.Person, Address: r.Email}
	var sent otp.Sent
	if to.Kind == page.KindPhone {
		if target.Address, err = v.Phone(v.ctx, f.Person, to.ID); err != nil {
			return err
		}
		sent, err = v.TextCode(target, r.Locale)
	} else {
		sent, err = v.MailCode(target, r.Locale, r.Name, false)
	}
	if to.Kind == page.KindPhone {
		target.Address = "" // numbers are kept sealed
	}
	f.Sent, f.SentTo = &sent, target
	return err
}

// sentCode checks a code that was sent, and stores that it was tried before it says how that went.
func (v *visit) sentCode(f *account.Flow, purpose otp.Purpose, from account.Factor) (bool, []string, error) {
	if f.Sent == nil {
		return false, nil, nil
	}
	// What it is for is bound to the code: the caller says what it takes.
	method, to := signin.Mail, f.SentTo
	to.Purpose = purpose
	if from.Kind == page.KindPhone {
		method = signin.SMS
		var err error
		if to.Address, err = v.Phone(v.ctx, f.Person, from.ID); err != nil {
			return false, nil, err
		}
	}
	next, ok := v.CheckCode(*f.Sent, to, v.form("code"))
	f.Sent = &next
	return ok, []string{method}, v.SaveFlow(v.ctx, f)
}
