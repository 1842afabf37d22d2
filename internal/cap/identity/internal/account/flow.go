package account

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/otp"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/password"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/store"
)

const flowTime = time.Hour

// Flow is one sign-in under way, in one browser. What is in it was checked; what a browser sends is compared with it.
type Flow struct {
	ID       string         `json:"-"`
	Request  signin.Request `json:"request"`
	Typed    string         `json:"typed,omitempty"`  // the address, as typed
	Person   string         `json:"person,omitempty"` // who proved the first factor; or whose session asks for more
	Proof    Proof          `json:"proof"`            // shown in this flow
	Asked    bool           `json:"asked,omitempty"`  // detectors ask for a second factor
	Factor   string         `json:"factor,omitempty"` // the second factor that was chosen: identifier, "email" or "recovery"
	Enrol    page.Kind      `json:"enrol,omitempty"`  // the kind that is being set up
	Tries    int            `json:"tries,omitempty"`  // of second factors
	Sends    int            `json:"sends,omitempty"`
	Passkey  string         `json:"passkey,omitempty"` // state of the ceremony that was offered
	Options  string         `json:"options,omitempty"` // its options
	Sealed   []byte         `json:"sealed,omitempty"`  // the secret of an authenticator, or the number, being set up
	Sent     *otp.Sent      `json:"sent,omitempty"`
	SentTo   otp.Target     `json:"sent_to,omitzero"`
	Join     *NewPerson     `json:"join,omitempty"`    // a registration that waits for its code
	Ghost    bool           `json:"ghost,omitempty"`   // a registration that can't succeed: somebody has the address
	New      bool           `json:"new,omitempty"`     // the account was made in this flow
	Make     bool           `json:"make,omitempty"`    // Federal is nobody yet
	Federal  *Upstream      `json:"federal,omitempty"` // waits for its account: to be linked or made
	revision int64
	browser  []byte
	also     func(context.Context, *store.Tx) error // is stored with the next change, or keeps it from being stored
}

var errFlow = fault.New(fault.NotFound, "this sign-in has expired; please begin again")

// Begin begins a sign-in for a request, and says where to send the browser.
func (s *Service) Begin(ctx context.Context, q signin.Request) (path string, err error) {
	f, err := s.NewFlow(ctx, Flow{Request: q, Typed: q.Hint})
	if err != nil {
		return "", err
	}
	return page.PathSignIn + "?flow=" + f.ID, nil
}

// NewFlow stores a new flow. It belongs to the first browser that comes with it.
func (s *Service) NewFlow(ctx context.Context, f Flow) (*Flow, error) {
	if !localPath(f.Request.Resume) {
		return nil, fault.New(fault.Invalid, "a sign-in resumes at a path of its own origin")
	}
	if len(f.Typed) > 254 {
		f.Typed = ""
	}
	if f.Passkey == "" {
		c, err := s.AskPasskey()
		if err != nil {
			return nil, err
		}
		f.Passkey, f.Options = c.State, c.Options
	}
	f.ID = newID()
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO account_flow (id, browser, revision, state, expires_at) VALUES (?, ?, 0, ?, ?)", f.ID, f.browser, toJSON(f), micros(s.Now().Add(flowTime)))
		if err != nil {
			return fmt.Errorf("store sign-in: %w", err)
		}
		return nil
	})
	return &f, err
}

// Flow is the one with an identifier, in the browser that it belongs to; to another one it is fault.NotFound.
func (s *Service) Flow(ctx context.Context, id string, in Browser) (*Flow, error) {
	bound := HashToken(in.Bound)
	if id == "" || bound == nil {
		return nil, errFlow
	}
	var f Flow
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var state string
		f = Flow{}
		err := tx.QueryRow(ctx, "SELECT browser, revision, state FROM account_flow WHERE id = ? AND expires_at > ?", id, micros(s.Now())).Scan(&f.browser, &f.revision, &state)
		if errors.Is(err, store.ErrNoRows) {
			return errFlow
		}
		if err != nil {
			return fmt.Errorf("read sign-in: %w", err)
		}
		if err := json.Unmarshal([]byte(state), &f); err != nil {
			return fmt.Errorf("read sign-in: %w", err)
		}
		f.ID = id
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(f.browser) == 0 {
		f.browser = bound
		return &f, s.SaveFlow(ctx, &f)
	}
	if subtle.ConstantTimeCompare(f.browser, bound) != 1 {
		if _, err := s.Raise(ctx, Flag{Kind: FlagStolenSequence, Person: f.Person, Visitor: in.Visitor}); err != nil {
			return nil, err
		}
		return nil, errFlow
	}
	return &f, nil
}

// ErrStale says that the flow went on meanwhile, in another tab.
var ErrStale = fault.New(fault.Conflict, "this sign-in went on in another tab")

// SaveFlow stores what changed, unless somebody else did meanwhile.
func (s *Service) SaveFlow(ctx context.Context, f *Flow) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE account_flow SET browser = ?, revision = ?, state = ? WHERE id = ? AND revision = ?", f.browser, f.revision+1, toJSON(f), f.ID, f.revision)
		if err != nil {
			return fmt.Errorf("store sign-in: %w", err)
		}
		if n == 0 {
			return ErrStale
		}
		return f.store(ctx, tx)
	})
	if err == nil {
		f.revision++ // not before: the function may run again
		f.also = nil
	}
	return err
}

func (f *Flow) store(ctx context.Context, tx *store.Tx) error {
	if f.also == nil {
		return nil
	}
	return f.also(ctx, tx)
}

// SpendPasskey uses up the challenge of a flow, whose answer was wrong, and puts a new one in its place.
func (s *Service) SpendPasskey(ctx context.Context, f *Flow) error {
	c, err := s.AskPasskey()
	if err != nil {
		return err
	}
	f.Passkey, f.Options = c.State, c.Options
	return s.SaveFlow(ctx, f)
}

// Seal keeps a secret in a flow; Open takes it out.
func (s *Service) Seal(f *Flow, plain secret.Bytes) (err error) {
	if f.Sealed, err = secret.Seal(s.Key, plain.Reveal(), "identity account flow "+f.ID); err != nil {
		return fmt.Errorf("seal in sign-in: %w", err)
	}
	return nil
}

// Open is the secret that is kept in a flow; an error without one.
func (s *Service) Open(f *Flow) (secret.Bytes, error) {
	plain, err := secret.Open(s.Key, f.Sealed, "identity account flow "+f.ID)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("open in sign-in: %w", err)
	}
	return secret.New(plain), nil
}

// Step is what a flow needs next.
type Step uint8

// The steps. The zero Step is the first.
const (
	StepIdentify Step = iota
	StepPassword      // somebody was named
	StepJoin          // a registration waits for its code
	StepMake          // somebody whom an upstream provider verified may have an account
	StepLink          // may the upstream identity sign in as the person?
	StepFactor        // of those that the person has
	StepEnrol         // the person has none and needs one
	StepDone
)

// Next is the next step of a flow, and the second factors that the person has. It is computed from what was proven, so
// that no address leads past a step.
func (s *Service) Next(ctx context.Context, f *Flow, current *signin.Session) (Step, []Factor, error) {
	switch {
	case f.Join != nil:
		return StepJoin, nil, nil
	case f.Federal != nil && f.Make:
		return StepMake, nil, nil
	case f.Person == "" && f.Typed != "":
		return StepPassword, nil, nil
	case f.Person == "":
		return StepIdentify, nil, nil
	}
	now := s.Now()
	proof := f.Proof
	if current != nil && current.Person.ID == f.Person {
		v := Seen{Session: *current}
		proof = v.with(proof)
	}
	r, err := s.Lookup(ctx, f.Person)
	if err != nil {
		return StepIdentify, nil, err
	}
	first := signin.Session{Person: r.Person, AuthAt: proof.AuthAt, FactorAt: proof.FactorAt, Methods: proof.Methods, Expires: now.Add(time.Second)}
	q := f.Request
	q.FactorAge = -1
	if r.Disabled || proof.AuthAt.IsZero() || !q.Satisfied(&first, now) || f.Federal != nil && !f.Proof.local() {
		f.Typed = r.Email
		return StepPassword, nil, nil
	}
	list, left, err := s.Factors(ctx, f.Person)
	if err != nil {
		return StepIdentify, nil, err
	}
	q.FactorAge = f.Request.FactorAge
	optional := s.Users().SecondFactor == model.SecondFactorOptional
	if q.FactorAge < 0 && (!optional || len(list) > 0 || f.Asked) {
		q.FactorAge = 0
	}
	if q.Satisfied(&first, now) {
		if f.Federal != nil {
			return StepLink, nil, nil
		}
		return StepDone, nil, nil
	}
	if left > 0 && len(list) > 0 {
		list = append(list, Factor{ID: "recovery", Kind: page.KindRecovery})
	}
	// A code by mail is weak: whoever reads the mail can reset the password too.
	if optional && r.Verified && len(list) == 0 {
		list = append(list, Factor{ID: "email", Kind: page.KindEmail, Label: maskEmail(r.Email)})
	}
	if len(list) == 0 {
		return StepEnrol, nil, nil
	}
	return StepFactor, list, nil
}

// maskEmail shows enough of an address to recognise it.
func maskEmail(e string) string {
	for i := len(e) - 1; i > 0; i-- {
		if e[i] == '@' {
			r := []rune(e[:i])
			return string(r[:1]) + "…" + e[i:]
		}
	}
	return ""
}

// Prove notes a first factor in a flow. Whoever else was in the flow isn't any more.
func (f *Flow) Prove(person string, now time.Time, methods ...string) {
	if f.Person != person {
		f.Proof = Proof{}
	}
	f.Person, f.Proof.AuthAt = person, now
	f.Proof.Methods = unique(append(f.Proof.Methods, methods...))
	f.Tries = 0
}

// ProveFactor notes a second factor.
func (f *Flow) ProveFactor(now time.Time, methods ...string) {
	f.Proof.FactorAt = now
	f.Proof.Methods = unique(append(f.Proof.Methods, append(methods, signin.Several)...))
	f.Factor, f.Enrol, f.Sent, f.Sealed, f.Tries = "", "", nil, nil, 0
}

// Finished is what a browser gets at the end of a flow.
type Finished struct {
	Cookie, Device string // new secrets for the cookies
	Session        string // its identifier
	Resume         string
}

// Finish ends a flow whose next step is StepDone, and makes the session, all at once.
func (s *Service) Finish(ctx context.Context, f *Flow, in Browser, current *signin.Session) (Finished, error) {
	step, _, err := s.Next(ctx, f, current)
	if err != nil {
		return Finished{}, err
	}
	if step != StepDone {
		return Finished{}, fault.New(fault.Refused, "the sign-in isn't complete")
	}
	if err := s.beforeSignIn(ctx, f, in, current); err != nil {
		return Finished{}, err
	}
	out := Finished{Resume: f.Request.Resume}
	var ended []string
	var fresh bool
	proven := len(f.Proof.Methods) > 0
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Exec(ctx, "DELETE FROM account_flow WHERE id = ? AND revision = ?", f.ID, f.revision)
		if err != nil {
			return fmt.Errorf("end sign-in: %w", err)
		}
		if n == 0 {
			return ErrStale
		}
		if err := f.store(ctx, tx); err != nil {
			return err
		}
		r, err := personByID(ctx, tx, f.Person)
		if err != nil {
			return err
		}
		if r.Disabled {
			return errGone
		}
		if out.Cookie, out.Session, ended, err = s.start(ctx, tx, f.Person, f.Proof, in); err != nil {
			return err
		}
		if out.Device, fresh, err = s.remember(ctx, tx, f.Person, in); err != nil || !proven {
			return err
		}
		what := "event.sign-in"
		if fresh {
			what = "event.new-device"
		}
		return s.note(ctx, tx, f.Person, what, in.Visitor)
	})
	if err != nil {
		return Finished{}, err
	}
	s.ended(ctx, ended)
	s.record("sign-in.ok", f.Person, map[string]string{"session": out.Session, "methods": fmt.Sprint(f.Proof.Methods), "ip": in.Visitor.IP})
	return out, nil
}

// ErrStepUp says that detectors want a second factor, which the flow now asks for.
var ErrStepUp = fault.New(fault.Refused, "this sign-in needs a second factor")

// beforeSignIn tells the detectors of a sign-in that is complete, and lets them stop it or ask for more.
func (s *Service) beforeSignIn(ctx context.Context, f *Flow, in Browser, current *signin.Session) error {
	known, err := s.Known(ctx, f.Person, in)
	if err != nil {
		return err
	}
	flag := Flag{Kind: FlagHalf, Person: f.Person, Known: known != nil, Visitor: in.Visitor}
	if !f.Proof.FactorAt.IsZero() || current != nil && current.Person.ID == f.Person && !current.FactorAt.IsZero() {
		flag.Kind = FlagOK
	}
	r, err := s.Raise(ctx, flag)
	if err == nil && flag.Kind == FlagHalf && r.Wait == 0 && !r.StepUp {
		flag.Kind = FlagOK // nobody asks for more: it is complete
		r, err = s.Raise(ctx, flag)
	}
	switch {
	case err != nil:
		return err
	case r.Wait > 0:
		return fault.Wrap(fault.Exhausted, "please try again later", &password.BusyError{RetryAfter: r.Wait})
	case flag.Kind == FlagHalf:
		f.Asked = true
		if err := s.SaveFlow(ctx, f); err != nil {
			return err
		}
		return ErrStepUp
	}
	return nil
}

// Bind makes a flow belong to a browser from the beginning.
func (f Flow) Bind(in Browser) Flow {
	f.browser = HashToken(in.Bound)
	return f
}
