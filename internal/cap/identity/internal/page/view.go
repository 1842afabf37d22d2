package page

import (
	"time"

	"github.com/wardhq/ward/internal/base/secret"
)

// View is the plain data of one page. Its types are those of this package.
type View interface {
	name() string // of the template
	frame() Frame
}

// Frame is what any page may have besides its own data.
type Frame struct {
	CSRF     string    // posted as "csrf" by every form
	Account  string    // who is signed in, as shown; "" hides the account's navigation
	Notice   Key       // something that went well: one of the Notice keys
	Problems []Problem // what was wrong with the form before
	FormTo   []string  // addresses, besides our own origin, that a redirect after a form may lead to
}

func (f Frame) frame() Frame { return f }

// Problem says what is wrong, and with which field ("" for the whole form).
type Problem struct {
	Field string
	Text  Key
	N     int // fills {n}
}

// What can be wrong with a form.
const (
	ProblemCredentials Key = "problem.credentials" // the same for an unknown person and a wrong password
	ProblemCode        Key = "problem.code"        // wrong, used or expired
	ProblemPasskey     Key = "problem.passkey"
	ProblemStale       Key = "problem.stale" // the form is too old, or its csrf isn't ours
	ProblemRequired    Key = "problem.required"
	ProblemEmail       Key = "problem.email"
	ProblemPhone       Key = "problem.phone"
	ProblemShort       Key = "problem.short"    // N is the least length
	ProblemWeak        Key = "problem.weak"     // easily guessed
	ProblemBreached    Key = "problem.breached" // known from a breach
	ProblemWork        Key = "problem.work"     // proof of work is missing or wrong
	ProblemDevice      Key = "problem.device"   // unknown or expired device code
	ProblemConfirm     Key = "problem.confirm"  // the address typed doesn't match
	ProblemLast        Key = "problem.last"     // the last factor can't be removed
)

// What can have gone well.
const (
	NoticeSaved       Key = "notice.saved"
	NoticeSent        Key = "notice.sent"
	NoticePassword    Key = "notice.password"
	NoticeVerified    Key = "notice.verified"
	NoticeAdded       Key = "notice.added"
	NoticeRemoved     Key = "notice.removed"
	NoticeSessionOver Key = "notice.session-over"
)

// Provider is an upstream that people can sign in with.
type Provider struct {
	Name string
	URL  string // where a link to it begins, a path of ours
}

// Client is an application, as people know it.
type Client struct {
	Name string
	Host string // where it lives, "" if that says nothing
}

// Scope is something that a client asks for. Without a Text a known name (openid, profile, email,
// phone, groups, roles, offline_access) is said in words, and another one as it is.
type Scope struct{ Name, Text string }

// SignIn asks who it is. Posts identifier, or credential from the passkey.
type SignIn struct {
	Frame
	Identifier string
	Passkey    string // options for navigator.credentials.get as JSON; "" offers none
	Providers  []Provider
	Register   string // where to make an account; "" if that isn't open
	Client     string // what the person signs in to; "" if it is the account itself
	Link       string // the provider that Identifier is to be linked with, once signed in; "" for none
}

// LinkProvider asks whether a provider may sign in to an account. Posts do=link or do=deny.
type LinkProvider struct {
	Frame
	Provider, Email string
}

// MakeAccount asks whether to make an account for whom a provider named. Posts do=make or do=deny.
type MakeAccount struct {
	Frame
	Provider, Email, Person string
}

// Password asks for the password of who was named. Posts identifier and password.
type Password struct {
	Frame
	Identifier string
	CanReset   bool
}

// Kind is a kind of second factor. It names texts, so only the constants are valid.
type Kind string

// The kinds of factors.
const (
	KindPasskey  Kind = "passkey"
	KindTOTP     Kind = "totp"
	KindEmail    Kind = "email"
	KindPhone    Kind = "phone"
	KindRecovery Kind = "recovery"
	KindProvider Kind = "provider" // another provider's word: a first factor
)

// Factor is one of a person's factors.
type Factor struct {
	ID    string
	Kind  Kind
	Label string    // a name given to it, or a masked address
	Added time.Time // zero if that isn't known
	Used  time.Time // zero if never
}

// Choose lets a person pick a second factor. Posts factor (an ID).
type Choose struct {
	Frame
	Factors []Factor
}

// TOTP asks for an authenticator's code. Posts code.
type TOTP struct {
	Frame
	Others bool // other factors could be chosen
}

// Code asks for the code that was sent. Posts code, or do=resend.
type Code struct {
	Frame
	Kind   Kind   // KindEmail or KindPhone
	To     string // masked
	Length int
	Others bool
}

// SecondPasskey asks for a passkey as the second factor. Posts credential.
type SecondPasskey struct {
	Frame
	Passkey string
	Others  bool
}

// RecoveryCode asks for one of the recovery codes. Posts code.
type RecoveryCode struct{ Frame }

// Register makes an account. Posts name, email, password and work. The module finds the challenge
// in form[data-work], puts its answer into the field work, and may say the texts data-busy and
// data-done of [data-work-status] there.
type Register struct {
	Frame
	Person, Email string
	MinLength     int    // of the password
	Work          string // the proof of work's challenge as JSON, solved by Config.Modules["pow.js"]; "" asks for none
}

// VerifyEmail asks for the code that was mailed. Posts code, or do=resend.
type VerifyEmail struct {
	Frame
	Email  string
	Length int
}

// VerifyLink is where the mailed link leads. It asks for a click, because mail scanners open links.
// Posts do=verify.
type VerifyLink struct {
	Frame
	Email string
}

// Forgot asks whose password is forgotten. Posts email.
type Forgot struct {
	Frame
	Email string
}

// ForgotSent answers Forgot, whether or not there is such an account.
type ForgotSent struct {
	Frame
	Email string
}

// Reset sets a new password. Posts password.
type Reset struct {
	Frame
	Email     string
	MinLength int
}

// LostState is how far a request for recovery is. The zero state is LostNone.
type LostState uint8

// The states.
const (
	LostNone     LostState = iota // not requested: posts do=request
	LostCooling                   // waits until Until: posts do=cancel
	LostApproval                  // waits for an administrator: posts do=cancel
	LostRefused
)

// LostFactor asks for a way back in without the second factor.
type LostFactor struct {
	Frame
	State    LostState
	Until    time.Time // the end of the cool-down
	Approval bool      // an administrator has to agree
	Wait     time.Duration
}

// Cooling, Waiting and Refused are for the template.
func (v LostFactor) Cooling() bool { return v.State == LostCooling }

// Waiting says that an administrator hasn't decided.
func (v LostFactor) Waiting() bool { return v.State == LostApproval }

// Refused says that the request was refused.
func (v LostFactor) Refused() bool { return v.State == LostRefused }

// Consent asks whether a client of somebody else may have what it asks for. Posts do=allow or do=deny.
type Consent struct {
	Frame
	Client Client
	Scopes []Scope
	Who    string // the account
}

// Device asks for the code that a device shows (RFC 8628 §3.3). Posts user_code.
type Device struct {
	Frame
	UserCode string
}

// DeviceConfirm shows what the device's client asks for and warns. Posts user_code and do=allow or do=deny.
type DeviceConfirm struct {
	Frame
	UserCode string
	Client   Client
	Scopes   []Scope
	Who      string
	From     string // the network that the device asked from, "" if unknown
}

// DeviceDone ends it on this side.
type DeviceDone struct {
	Frame
	Allowed bool
}

// Continue leads on to another origin without being a form's redirect, which Chromium would hold
// against form-action along its whole way.
type Continue struct {
	Frame
	URL  string
	Host string
}

// Account is the account's first page.
type Account struct {
	Frame
	Person, Email string
	Verified      bool
	Factors       int
	RecoveryLeft  int
	Sessions      int
	Last          time.Time // of the sign-in before; zero if none
	LastDevice    string
}

// Profile changes name and e-mail address. Posts name and email.
type Profile struct {
	Frame
	Person, Email string
	Verified      bool
}

// Factors lists them. Posts factor and do=remove, or do=password.
type Factors struct {
	Frame
	List         []Factor
	RecoveryLeft int
	CanPhone     bool
}

// RemoveFactor asks once more. Posts do=remove.
type RemoveFactor struct {
	Frame
	Factor Factor
}

// AddPasskey makes a passkey. Posts label and credential.
type AddPasskey struct {
	Frame
	Passkey string // options for navigator.credentials.create as JSON
	Label   string
}

// AddTOTP shows an authenticator's key and asks for its first code. Posts code.
type AddTOTP struct {
	Frame
	QR  secret.Bytes // a PNG
	Key secret.Bytes // base32
}

// AddPhone asks for a number, and when it was Sent for its code. Posts phone, then code or do=resend.
type AddPhone struct {
	Frame
	Phone  string
	Sent   bool
	Length int
}

// RecoveryCodes shows them this once; without Codes it offers to make them. Posts do=make.
type RecoveryCodes struct {
	Frame
	Codes []secret.Bytes
	Left  int
}

// Session is a browser that is signed in.
type Session struct {
	ID            string
	Device        string // "Firefox on Linux"
	Place         string // a network or a country, "" if unknown
	Started, Seen time.Time
	Current       bool
}

// Sessions lists them. Posts session and do=end, or do=end-all.
type Sessions struct {
	Frame
	List []Session
}

// Event is one thing that happened to an account.
type Event struct {
	At            time.Time
	What          Key // one of the Event keys
	Device, Place string
	Warning       bool
}

// What can happen.
const (
	EventSignIn         Key = "event.sign-in"
	EventSignInFailed   Key = "event.sign-in-failed"
	EventNewDevice      Key = "event.new-device"
	EventSignOut        Key = "event.sign-out"
	EventSignOutAll     Key = "event.sign-out-all"
	EventPassword       Key = "event.password"
	EventFactorAdded    Key = "event.factor-added"
	EventFactorRemoved  Key = "event.factor-removed"
	EventRecovery       Key = "event.recovery"
	EventConsent        Key = "event.consent"
	EventEmail          Key = "event.email"
	EventRegistered     Key = "event.registered"
	EventBlocked        Key = "event.blocked"
	EventExport         Key = "event.export"
	EventProviderLinked Key = "event.provider-linked"
)

// Activity lists what happened, the latest first.
type Activity struct {
	Frame
	List  []Event
	Older string // a path of ours with more, "" if there is none
}

// WasItYou asks about one event. Posts do=yes or do=no.
type WasItYou struct {
	Frame
	Event Event
}

// Secured says what was done after a "no", and what is left to do.
type Secured struct {
	Frame
	ResetURL string // a path of ours to a new password
}

// Data offers everything that is kept about a person, and deletion. Posts do=export.
type Data struct{ Frame }

// Delete asks once more, for the address. Posts email.
type Delete struct {
	Frame
	Email string
}

// SignOut asks whether to, when another site asked for it. Posts do=sign-out.
type SignOut struct {
	Frame
	Client string
}

// SignedOut ends a session, or all.
type SignedOut struct {
	Frame
	Everywhere bool
	Back       string // an address to go on to, "" for none
}

// StepUp asks to confirm before something that matters. Posts nothing; its link leads on.
type StepUp struct {
	Frame
	Next     string // a path of ours: the confirmation
	Replayed bool   // the interrupted request was a GET and will be done again
}

// Limited says that there were too many tries. Render sets Retry-After, in whole seconds.
type Limited struct {
	Frame
	After time.Duration
}

// Error says what went wrong. Text is the public sentence of a fault, in English.
type Error struct {
	Frame
	What      Key    // one of the Error keys; "" is the general one
	Text      string // "" for none
	Reference string // finds the log line; "" for none
}

// What can go wrong with a whole page.
const (
	ErrorGeneral  Key = "error.general"
	ErrorNotFound Key = "error.not-found"
	ErrorRefused  Key = "error.refused"
	ErrorRequest  Key = "error.request" // an authorization request that can't be answered by redirect
	ErrorExpired  Key = "error.expired"
	ErrorClosed   Key = "error.closed"   // registration is closed
	ErrorProvider Key = "error.provider" // a provider's word isn't enough for an account here
)

// Title is What, or the general one.
func (v Error) Title() Key {
	if v.What == "" {
		return ErrorGeneral
	}
	return v.What
}

// Advice is what to do about it.
func (v Error) Advice() Key { return v.Title() + ".advice" }

func (SignIn) name() string        { return "sign-in" }
func (LinkProvider) name() string  { return "link-provider" }
func (MakeAccount) name() string   { return "make-account" }
func (Password) name() string      { return "password" }
func (Choose) name() string        { return "choose" }
func (TOTP) name() string          { return "totp" }
func (Code) name() string          { return "code" }
func (SecondPasskey) name() string { return "second-passkey" }
func (RecoveryCode) name() string  { return "recovery-code" }
func (Register) name() string      { return "register" }
func (VerifyEmail) name() string   { return "verify-email" }
func (VerifyLink) name() string    { return "verify-link" }
func (Forgot) name() string        { return "forgot" }
func (ForgotSent) name() string    { return "forgot-sent" }
func (Reset) name() string         { return "reset" }
func (LostFactor) name() string    { return "lost-factor" }
func (Consent) name() string       { return "consent" }
func (Device) name() string        { return "device" }
func (DeviceConfirm) name() string { return "device-confirm" }
func (DeviceDone) name() string    { return "device-done" }
func (Continue) name() string      { return "continue" }
func (Account) name() string       { return "account" }
func (Profile) name() string       { return "profile" }
func (Factors) name() string       { return "factors" }
func (RemoveFactor) name() string  { return "remove-factor" }
func (AddPasskey) name() string    { return "add-passkey" }
func (AddTOTP) name() string       { return "add-totp" }
func (AddPhone) name() string      { return "add-phone" }
func (RecoveryCodes) name() string { return "recovery-codes" }
func (Sessions) name() string      { return "sessions" }
func (Activity) name() string      { return "activity" }
func (WasItYou) name() string      { return "was-it-you" }
func (Secured) name() string       { return "secured" }
func (Data) name() string          { return "data" }
func (Delete) name() string        { return "delete" }
func (SignOut) name() string       { return "sign-out" }
func (SignedOut) name() string     { return "signed-out" }
func (StepUp) name() string        { return "step-up" }
func (Limited) name() string       { return "limited" }
func (Error) name() string         { return "error" }
