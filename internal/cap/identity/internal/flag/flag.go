// Package flag sees attacks on accounts in what sign-in observes, and says what to do about each.
//
// Guarantee: a flag is raised in the call that crosses its threshold; memory is bounded whatever comes in, and what has
// counted much isn't pushed out by what came once; accounts that exist and that don't are treated alike; a device that
// the account knows is never slowed or blocked for what others do, so nobody can lock a person out for good; a low
// severity is recorded and has no response. Per-account counts and what is usual survive a restart.
// Of failed passwords only 20 bits of a keyed hash are kept, in memory, under a key that is drawn at each start: enough to see the
// same one on many accounts, while each sketch fits one in a million of all candidates.
// Not guaranteed: that a patient attacker with an address per try, a password per try and fewer tries than people make
// mistakes is seen; nor that flags are right. Counts of networks are in memory only and begin anew at a start.
package flag

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/device"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// Kind is what was observed. The zero Kind is nothing, and has no effect.
type Kind uint8

// The kinds.
const (
	PasswordFailed    Kind = iota + 1
	PasswordOK             // the password alone, where that is all: may it be? Nothing is counted; SignInOK follows if it may
	FactorFailed           // a wrong code after a right password
	FactorSent             // a code went out
	SignInOK               // complete
	UnknownIdentifier      // nobody has it; with Password: a try to sign in
	RefreshReused
	CodeReplayed
	DPoPMismatch
	PasskeyClone
	SessionMoved // a session's TLS fingerprint changed
	FactorRemoved
	Register
	ResetRequested
	ProofReplayed // a jti that was used before
	CodeMisused   // a code without its PKCE verifier, or by another client: a theft, or a client's bug
	FlowStolen    // a step of a sign-in in another browser than the one before
	PasswordHasty // a try within the pause after others that failed, from the same network: it wasn't looked at
)

func kindWords() []string {
	return []string{
		"", "password.failed", "password.ok", "factor.failed", "factor.sent", "sign-in.ok", "unknown-identifier", "refresh.reused",
		"code.replayed", "dpop.mismatch", "passkey.clone", "session.moved", "factor.removed", "register", "reset.requested",
		"proof.replayed", "code.misused", "flow.stolen", "password.hasty",
	}
}

// String is like "password.failed".
func (k Kind) String() string {
	if w := kindWords(); int(k) < len(w) {
		return w[k]
	}
	return ""
}

// KindOf is the kind of a name, or zero. Accounts and the provider have names of their own, which it knows too.
func KindOf(name string) Kind {
	if k, ok := map[string]Kind{
		"password.wrong": PasswordFailed, "factor.wrong": FactorFailed, "identifier.unknown": UnknownIdentifier,
		"code.requested": FactorSent, "link.requested": ResetRequested, "recovery.asked": ResetRequested, "user.registered": Register,
		"refresh-reuse": RefreshReused, "code-replay": CodeReplayed, "jti-replay": ProofReplayed, "dpop-mismatch": DPoPMismatch,
		"pkce-failure": CodeMisused, "client-mismatch": CodeMisused,
	}[name]; ok {
		return k
	}
	return Kind(max(slices.Index(kindWords(), name), 0))
}

// Observation is one thing that happened. Nothing of it is kept but hashes, and for people who signed in their
// networks and last place.
type Observation struct {
	Kind Kind
	// Person is the ID of the account, if there is one; Identifier is what was typed, normalised, if not.
	Person, Identifier string
	Address            netip.Addr
	Known              bool         // this person has signed in on this device before
	Fingerprint        string       // of the TLS client hello; may be empty
	Password           secret.Bytes // of PasswordFailed and UnknownIdentifier; may be empty
}

// account is what the tries are against.
func (o *Observation) account() string {
	if o.Person != "" {
		return "p" + o.Person
	}
	return "i" + o.Identifier
}

// Name is a red flag. The zero Name is none.
type Name uint8

// The flags, as ward.yaml names them under users.flags.
const (
	BruteForce Name = iota + 1
	CredentialStuffing
	PasswordSpraying
	RefreshReuse // also a code that was used twice
	PasskeyCloned
	FactorFatigue
	ImpossibleTravel
	NewDevice // or a new network
	Moved     // a session with another fingerprint, a token with another key
	FactorsRemoved
	Enumeration
	names
)

func nameWords() [names]string {
	return [names]string{
		"", "brute-force", "credential-stuffing", "password-spraying", "refresh-reuse", "passkey-clone", "factor-fatigue",
		"impossible-travel", "new-device", "session-moved", "factors-removed", "enumeration",
	}
}

// String is the word of ward.yaml.
func (n Name) String() string {
	if n >= names {
		return ""
	}
	return nameWords()[n]
}

// Severity of a flag. Low is recorded only.
type Severity uint8

// The severities.
const (
	Low Severity = iota
	Medium
	High
	Critical
)

// String is like "high".
func (s Severity) String() string { return []string{"low", "medium", "high", "critical"}[s&3] }

// response is a set of what to do.
type response uint8

const (
	slow response = 1 << iota
	stepUp
	block
	endSessions
	mail
)

func responseOf(word string) (response, bool) {
	i := slices.Index([]string{"record", "slow", "step-up", "block", "end-sessions", "mail"}, word)
	switch {
	case i < 0:
		return 0, false
	case i == 0:
		return 0, true
	}
	return 1 << (i - 1), true
}

// defaults are the responses to flags that ward.yaml doesn't name.
func defaults() [names]response {
	return [names]response{
		BruteForce:         slow | block | stepUp | mail,
		CredentialStuffing: slow | stepUp,
		PasswordSpraying:   slow | stepUp,
		RefreshReuse:       endSessions | mail,
		PasskeyCloned:      stepUp | mail,
		FactorFatigue:      slow | block | mail,
		ImpossibleTravel:   stepUp | mail,
		NewDevice:          mail,
		Moved:              stepUp,
		FactorsRemoved:     stepUp | mail,
		Enumeration:        slow,
	}
}

// Decision is what to do now. The zero Decision lets it pass.
type Decision struct {
	Delay       time.Duration // the next try isn't looked at before; Retry-After
	Block       time.Time     // tries like this aren't looked at until then; zero: they are
	StepUp      bool          // a second factor is needed, whatever else is asked
	EndSessions bool          // of the person, all
	Mail        bool          // ask the person: was it you? At most once a day for each flag; new devices once an hour for each network
	Flags       []Name        // what was raised now, also when it isn't recorded again
}

// Refused tells whether a try may not be looked at, and when to come again.
func (d Decision) Refused(now time.Time) (time.Duration, bool) {
	wait := max(d.Delay, d.Block.Sub(now))
	return wait, wait > 0
}

// Config is what a Detector needs.
type Config struct {
	DB    *store.DB
	Key   secret.Bytes // 32 bytes, the same at each start: hashes what is kept
	Clock clock.Clock
	// Record takes events for the ledger: kind "flag.<name>", with severity and reason. It must not block.
	Record func(wire.Event)
	// Place looks up addresses; nil without a database of places.
	Place func(netip.Addr) (device.Place, error)
}

// Detector counts and decides. Its methods are safe for concurrent use.
type Detector struct {
	config Config
	boot   []byte // of sketches; drawn at each start

	mu        sync.Mutex       // guards what follows
	responses [names]response  //
	accounts  *table[account]  // by tag and account
	pairs     *table[account]  // by account and network
	sources   *table[source]   // by network, and by fingerprint
	sketches  *table[source]   // by password's sketch
	standings *table[standing] // by scope
	raised    *table[raise]    // by flag and scope
	global    source
	usual     usual
	dirty     map[uint64]struct{} // accounts to save
}

// Sizes of the tables, in entries.
const (
	accountSlots  = 1 << 16
	sourceSlots   = 1 << 12
	sketchSlots   = 1 << 12
	standingSlots = 1 << 14
	maxDirty      = 1 << 12
)

// Open reads what was kept.
func Open(ctx context.Context, c Config) (*Detector, error) {
	if len(c.Key.Reveal()) != secret.KeySize {
		return nil, errors.New("open flags: the key needs 32 bytes")
	}
	d := &Detector{
		config: c, boot: make([]byte, 32), responses: defaults(), dirty: map[uint64]struct{}{},
		accounts: newTable[account](accountSlots), pairs: newTable[account](accountSlots), sources: newTable[source](sourceSlots),
		sketches: newTable[source](sketchSlots), standings: newTable[standing](standingSlots), raised: newTable[raise](standingSlots),
	}
	_, _ = rand.Read(d.boot) // never returns an error (crypto/rand)
	d.global.words = globalWords
	if err := d.load(ctx); err != nil {
		return nil, fmt.Errorf("open flags: %w", err)
	}
	return d, nil
}

// Configure sets the responses; flags that aren't named have the defaults.
func (d *Detector) Configure(flags []model.Flag) error {
	all := defaults()
	for _, f := range flags {
		words := nameWords()
		i := slices.Index(words[1:], f.Name)
		if i < 0 {
			return fmt.Errorf("configure flags: there is no flag %.32q", f.Name)
		}
		var r response
		for _, w := range f.Response {
			one, ok := responseOf(w)
			if !ok {
				return fmt.Errorf("configure flags: %s: there is no response %.32q", f.Name, w)
			}
			r |= one
		}
		all[i+1] = r
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.responses = all
	return nil
}

// event is what goes to the ledger.
func event(now time.Time, n Name, r *report) wire.Event {
	e := wire.Event{Time: now, Kind: "flag." + n.String(), Object: r.person, Detail: map[string]string{"severity": r.severity.String(), "reason": r.reason}}
	if r.network.IsValid() {
		e.Detail["network"], e.Detail["client"] = r.network.String(), r.client
	}
	if r.usual {
		e.Detail["place"] = "usual"
	}
	var did []string
	for _, x := range []struct {
		bit  response
		word string
	}{{slow, "slow"}, {stepUp, "step-up"}, {block, "block"}, {endSessions, "end-sessions"}, {mail, "mail"}} {
		if r.did&x.bit != 0 {
			did = append(did, x.word)
		}
	}
	e.Detail["response"] = strings.Join(append(did, "record"), ", ")
	return e
}
