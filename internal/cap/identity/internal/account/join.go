package account

import (
	"context"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/cap/identity/internal/otp"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/wire"
)

// Join begins a registration: a flow that waits for the code that was mailed. Nobody is made before. For an address
// that somebody has, all is the same but that the code never fits and a mail to a new password goes there instead.
func (s *Service) Join(ctx context.Context, n NewPerson, pw secret.Bytes, in Browser) (*Flow, error) {
	if s.Users().Register != model.RegisterOpen {
		return nil, fault.New(fault.Refused, "registration is closed")
	}
	if err := n.Check(); err != nil {
		return nil, err
	}
	encoded, err := s.Hasher.Hash(ctx, pw)
	if err != nil {
		return nil, err
	}
	_, err = s.Find(ctx, n.Email)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	n.Password, n.Verified, n.Groups, n.Roles = encoded, true, nil, nil
	f := Flow{Join: &n, Ghost: err == nil, New: true, browser: HashToken(in.Bound), Request: signin.Request{MaxAge: -1, FactorAge: -1, Resume: "/account"}}
	if err := s.SendJoin(ctx, &f, in.Visitor); err != nil {
		return nil, err
	}
	return s.NewFlow(ctx, f)
}

// SendJoin mails the code of a registration, or tells the owner of the address that there is an account.
func (s *Service) SendJoin(ctx context.Context, f *Flow, v wire.Visitor) error {
	f.SentTo = otp.Target{Purpose: otp.VerifyAddress, User: "join", Address: f.Join.Email}
	sent, err := s.MailCode(f.SentTo, f.Join.Locale, f.Join.Name, f.Ghost)
	if err != nil {
		return err
	}
	f.Sent = &sent
	if f.Ghost {
		return s.mailReset(ctx, message.AccountThere, signin.Person{Email: f.Join.Email, Locale: f.Join.Locale}, v)
	}
	// The same rows are written as for somebody who is there.
	_, err = s.NewLink(ctx, LinkReset, newID(), "")
	return err
}

// Joined ends a registration whose code may be right: the person is made and proven by their password.
func (s *Service) Joined(ctx context.Context, f *Flow, code string) (ok bool, err error) {
	if f.Join == nil || f.Sent == nil {
		return false, nil
	}
	next, ok := s.CheckCode(*f.Sent, f.SentTo, code)
	f.Sent = &next
	if err := s.SaveFlow(ctx, f); err != nil {
		return false, err
	}
	if !ok || f.Ghost {
		return false, nil
	}
	p, err := s.Create(ctx, *f.Join)
	if fault.KindOf(err) == fault.Conflict {
		return false, nil // meanwhile somebody has it
	}
	if err != nil {
		return false, err
	}
	f.Join, f.Sent = nil, nil
	f.Prove(p.ID, s.Now(), signin.Password)
	return true, nil
}
