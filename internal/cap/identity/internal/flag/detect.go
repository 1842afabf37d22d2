package flag

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/device"
	"github.com/wardhq/ward/internal/wire"
)

// Limits by span (5 minutes, 1 hour, 24 hours). hydra's default run is seen at its 15th try, a spray at its 8th account; 500 people
// behind one address stay well below (see the tests).
func accountLimits(known bool) [spans]int {
	if known { // somebody who can't remember, or a stolen device
		return [spans]int{25, 50, 80}
	}
	return [spans]int{15, 25, 40}
}

// totalLimit is how many tries in all, without a sign-in from where they came, are one attack however slow (NIST SP
// 800-63B-4 §3.2.2 allows 100).
const totalLimit = 100

// blockFrom is how many tries a network has to make itself to be blocked for an account.
const blockFrom = 5

func sentLimits() [spans]int         { return [spans]int{6, 12, 25} }
func wrongCodeLimits() [spans]int    { return [spans]int{8, 15, 25} }
func removedLimits() [spans]int      { return [spans]int{2, 2, 3} }
func networkLimits() [spans]float64  { return [spans]float64{7.5, 20, 40} } // estimates of 8 may be 7.9
func printLimits() [spans]float64    { return [spans]float64{30, 80, 150} } // many have one browser
func unknownLimits() [spans]float64  { return [spans]float64{11.5, 30, 60} }
func samePassword() [spans]float64   { return [spans]float64{4.5, 5.5, 9.5} }
func globalLimits() [spans]float64   { return [spans]float64{30, 60, 100} }
func registerLimits() [spans]float64 { return [spans]float64{10, 30, 100} } // from one network

// perSignIn is how many unresolved failures a sign-in from the same source makes up for.
const perSignIn = 0.1

// Tags keep the keys of different things apart.
const (
	tagAccount = 'a'
	tagKnown   = 'k' // the account, from devices that it knows
	tagSent    = 's'
	tagCode    = 'c'
	tagRemoved = 'r'
	tagPair    = 'p'
	tagNetwork = 'n'
	tagPrint   = 'f'
	tagGlobal  = 'g'
	tagReset   = 't'
	tagReason  = 'e'
	tagMail    = 'm'
)

// seen is an observation with its hashes.
type seen struct {
	*Observation
	now     time.Time
	network netip.Prefix
	who     uint64 // the account
	guard   uint64 // the account's scope: from known or from other devices
	pair    uint64
	sources []uint64 // network, and fingerprint
	reports []report
}

func (d *Detector) digest(tag byte, text string) uint64 {
	return hash(d.config.Key.Reveal(), tag, text)
}

func (d *Detector) hashes(o *Observation) *seen {
	s := &seen{Observation: o, now: d.config.Clock.Now(), network: device.Network(o.Address)}
	name := o.account()
	net := s.network.String()
	s.who = d.digest(tagAccount, name)
	s.guard = s.who
	if o.Known {
		s.guard = d.digest(tagKnown, name)
	}
	s.pair = d.digest(tagPair, net+" "+name)
	s.sources = append(s.sources, d.digest(tagNetwork, net))
	if o.Fingerprint != "" {
		s.sources = append(s.sources, d.digest(tagPrint, o.Fingerprint))
	}
	return s
}

// See takes an observation, raises flags, and says what to do now. An error is about what is kept; the decision is good
// without it. It takes microseconds; SignInOK also reads and writes the database.
func (d *Detector) See(ctx context.Context, o Observation) (Decision, error) {
	s := d.hashes(&o)
	var err error
	if (o.Kind == SignInOK || o.Kind == PasswordOK) && o.Person != "" {
		err = d.habits(ctx, s)
	}
	d.mu.Lock()
	d.learn(s.now)
	d.count(s)
	var out Decision
	var events []wire.Event
	for i := range s.reports {
		if d.raise(s, &s.reports[i], &out) {
			events = append(events, event(s.now, s.reports[i].name, &s.reports[i]))
		}
	}
	d.stands(s, &out, o.Kind.failing())
	d.mu.Unlock()
	for _, e := range events {
		d.config.Record(e)
	}
	return out, err
}

// count needs d.mu.
func (d *Detector) count(s *seen) {
	switch s.Kind {
	case PasswordFailed:
		d.failure(s)
	case PasswordHasty:
		d.tried(s)
	case UnknownIdentifier:
		d.unknown(s)
		if len(s.Password.Reveal()) > 0 {
			d.failure(s)
		}
	case SignInOK:
		d.success(s)
	case FactorSent:
		d.repeated(s, tagSent, sentLimits(), "codes were sent without a sign-in")
	case FactorFailed:
		d.repeated(s, tagCode, wrongCodeLimits(), "wrong codes after a right password")
	case FactorRemoved:
		a := d.accounts.touch(d.digest(tagRemoved, s.account()), s.now)
		a.add(s.now)
		if _, n, ok := a.over(removedLimits()); ok {
			s.report(FactorsRemoved, High, fmt.Sprintf("%d factors were removed within a short time", n), scopeAccount)
		}
	case RefreshReused:
		s.happened(RefreshReuse, High, "a refresh token was used again after it had been replaced")
	case CodeReplayed:
		s.happened(RefreshReuse, High, "an authorization code was used twice")
	case DPoPMismatch:
		s.happened(Moved, High, "a token was used with another key than its own")
	case ProofReplayed:
		s.happened(Moved, Low, "a proof or assertion was used twice")
	case CodeMisused:
		s.happened(RefreshReuse, Low, "an authorization code was used without its PKCE verifier or by another client")
	case PasskeyClone:
		s.happened(PasskeyCloned, Critical, "a passkey's counter went back: there may be a copy")
	case FlowStolen:
		s.happened(Moved, Low, "a step of a sign-in came in another browser than the one before")
	case SessionMoved:
		s.happened(Moved, Medium, "a session was used with another TLS fingerprint")
	case Register, ResetRequested:
		d.asked(s)
	}
}

// tried counts a try against the account, and returns the count of the account and network.
func (d *Detector) tried(s *seen) *account {
	a := d.accounts.touch(s.guard, s.now)
	a.add(s.now)
	d.markDirty(s.guard)
	pair := d.pairs.touch(s.pair, s.now)
	pair.add(s.now)
	where := scopeSpread
	if pair.spans[long].value() >= blockFrom {
		where = scopePair
	}
	if span, n, ok := a.over(accountLimits(s.Known)); ok {
		s.report(BruteForce, High, fmt.Sprintf("%d failed tries on one account within %s", n, spanWords(span)), where)
	} else if a.total >= totalLimit {
		a.total = 0
		s.report(BruteForce, High, fmt.Sprintf("%d failed tries on one account, slowly", totalLimit), where)
	}
	return pair
}

func (d *Detector) failure(s *seen) {
	pair := d.tried(s)
	if s.Known {
		return // the device has signed in to this very account
	}
	sketch, has := d.sketch(s.Password)
	if has {
		copy(pair.sketches[1:], pair.sketches[:])
		pair.sketches[0] = sketch + 1
		same := d.sketches.touch(uint64(sketch), s.now)
		same.words = sketchWords
		same.roll(s.now)
		same.add(failed, s.who)
		if span, n, ok := reached(samePassword(), func(span int) float64 { f, _ := same.unresolved(span); return f }); ok {
			s.report(PasswordSpraying, High, fmt.Sprintf("one password was tried on about %.0f accounts within %s", n, spanWords(span)), scopeNetwork)
		}
	}
	for i, key := range s.sources {
		src := d.sources.touch(key, s.now)
		src.roll(s.now)
		src.add(failed, s.who)
		if has {
			src.add(passwords, uint64(sketch))
		}
		d.sourceFlags(s, i, src)
	}
	d.global.roll(s.now)
	d.global.add(failed, s.who)
	d.globalFlags(s)
}

// sourceFlags looks at a network (i is 0) or a fingerprint.
func (d *Detector) sourceFlags(s *seen, i int, src *source) {
	limits, what, where := networkLimits(), "network", scopeNetwork
	if i > 0 {
		limits, what, where = printLimits(), "TLS fingerprint", scopePrint
	}
	span, n, ok := reached(limits, func(span int) float64 {
		f, ok := src.unresolved(span)
		return f - perSignIn*ok
	})
	if !ok {
		return
	}
	name, severity := CredentialStuffing, High
	if p := src.distinct(span, passwords); p > 0 && p <= src.distinct(span, failed)/2 {
		name = PasswordSpraying
	}
	s.report(name, severity, fmt.Sprintf("about %.0f accounts failed and didn't sign in from one %s within %s", n, what, spanWords(span)), where)
}

func (d *Detector) globalFlags(s *seen) {
	rate := d.usual.failureRate()
	span, n, ok := reached(globalLimits(), func(span int) float64 {
		f, ok := d.global.unresolved(span)
		return f - rate*ok
	})
	if ok {
		d.usual.Attacked = true
		s.report(CredentialStuffing, Critical, fmt.Sprintf("about %.0f accounts more than usual failed, from everywhere, within %s", n, spanWords(span)), scopeGlobal)
	}
}

func (d *Detector) unknown(s *seen) {
	src := d.sources.touch(s.sources[0], s.now)
	src.roll(s.now)
	src.add(unknown, s.who)
	if span, n, ok := reached(unknownLimits(), func(span int) float64 {
		return src.distinct(span, unknown) - perSignIn*src.distinct(span, succeeded)
	}); ok {
		s.report(Enumeration, Medium, fmt.Sprintf("about %.0f unknown identifiers from one network within %s", n, spanWords(span)), scopeNetwork)
	}
	d.global.roll(s.now)
	d.global.add(unknown, s.who)
	rate := d.usual.failureRate()
	if span, n, ok := reached(globalLimits(), func(span int) float64 {
		return d.global.distinct(span, unknown) - rate*d.global.distinct(span, succeeded)
	}); ok {
		d.usual.Attacked = true
		s.report(Enumeration, High, fmt.Sprintf("about %.0f unknown identifiers more than usual, from everywhere, within %s", n, spanWords(span)), scopeGlobal)
	}
}

// success puts right what the same person got wrong from the same network; what others tried stays counted.
func (d *Detector) success(s *seen) {
	if p := d.pairs.find(s.pair); p != nil {
		p.roll(s.now)
		for _, key := range []uint64{s.who, d.digest(tagKnown, s.account())} {
			a := d.accounts.find(key)
			if a == nil {
				continue
			}
			a.roll(s.now)
			for i := range a.spans {
				a.spans[i].take(p.spans[i].value())
			}
			a.total -= min(a.total, uint32(p.spans[long].value()))
			d.markDirty(key)
		}
		for _, sketch := range p.sketches {
			if same := d.sketches.find(uint64(sketch) - 1); sketch > 0 && same != nil {
				same.roll(s.now)
				same.add(succeeded, s.who)
			}
		}
		*p = account{}
	}
	for _, tag := range []byte{tagSent, tagCode} {
		if a := d.accounts.find(d.digest(tag, s.account())); a != nil {
			*a = account{}
		}
	}
	for _, key := range s.sources {
		src := d.sources.touch(key, s.now)
		src.roll(s.now)
		src.add(succeeded, s.who)
	}
	d.global.roll(s.now)
	d.global.add(succeeded, s.who)
}

func (d *Detector) repeated(s *seen, tag byte, limits [spans]int, what string) {
	a := d.accounts.touch(d.digest(tag, s.account()), s.now)
	a.add(s.now)
	if span, n, ok := a.over(limits); ok {
		s.report(FactorFatigue, High, fmt.Sprintf("%d %s within %s", n, what, spanWords(span)), scopePair)
	}
}

// asked counts registrations and resets. What exceeds the limits is refused by Ask; it is no flag.
func (d *Detector) asked(s *seen) {
	if s.Kind == ResetRequested {
		d.accounts.touch(d.digest(tagReset, s.account()), s.now).add(s.now)
	}
	// Each counts, also of the same account.
	one := d.digest(tagReset, s.account()+s.Address.String()+s.now.String())
	for _, src := range []*source{d.sources.touch(s.sources[0], s.now), &d.global} {
		src.roll(s.now)
		src.add(registers, one)
	}
}

const (
	sketchWords = 2 // 128 bits: to some 400 accounts
	sketchBits  = 20
)

// sketch is what is kept of a failed password.
func (d *Detector) sketch(p secret.Bytes) (uint32, bool) {
	if len(p.Reveal()) == 0 {
		return 0, false
	}
	mac := hmac.New(sha256.New, d.boot)
	_, _ = mac.Write(p.Reveal())
	return binary.BigEndian.Uint32(mac.Sum(nil)) >> (32 - sketchBits), true
}

// reached returns the first span whose number has reached its limit.
func reached(limits [spans]float64, number func(span int) float64) (span int, n float64, ok bool) {
	for i, limit := range limits {
		if n := number(i); n >= limit {
			return i, n, true
		}
	}
	return 0, 0, false
}

// spanWords says over what is counted at most.
func spanWords(span int) string { return [spans]string{"10 minutes", "two hours", "two days"}[span] }
