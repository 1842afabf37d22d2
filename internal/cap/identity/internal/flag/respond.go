package flag

import (
	"net/netip"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/cap/identity/internal/device"
	"github.com/wardhq/ward/internal/cap/identity/internal/pow"
	"github.com/wardhq/ward/internal/wire"
)

// scope is whom the response to a flag touches.
type scope uint8

const (
	scopeAccount scope = iota // the account, from devices as the one that was seen
	scopePair                 // block: the account from this network; the rest: the account
	scopeSpread               // the account, and nothing is blocked: it is tried from many networks
	scopeNetwork              // devices of this network that the account doesn't know
	scopePrint                // likewise, of the fingerprint
	scopeGlobal               // likewise, all; nothing is blocked
)

// report is a flag about to be raised.
type report struct {
	name     Name
	severity Severity
	reason   string
	scope    scope
	event    bool // it happened, rather than that a limit is reached
	person   string
	network  netip.Prefix
	client   string // as the gateway tells clients apart
	usual    bool   // the network is one of the person's
	did      response
}

func (s *seen) report(n Name, v Severity, reason string, sc scope) {
	s.reports = append(s.reports, report{name: n, severity: v, reason: reason, scope: sc, person: s.Person, network: s.network, client: wire.Network(s.Address.String())})
}

// happened reports what is a flag at once.
func (s *seen) happened(n Name, v Severity, reason string) {
	s.report(n, v, reason, scopeAccount)
	s.reports[len(s.reports)-1].event = true
}

// raise remembers when something was last done for a flag and scope, in seconds since 1970.
type raise int64

// due tells whether it is to be done again, and remembers that it is.
func (r *raise) due(now time.Time, every time.Duration) bool {
	if *r != 0 && now.Unix()-int64(*r) < int64(every/time.Second) {
		return false
	}
	*r = raise(now.Unix())
	return true
}

// standing is what stands against a scope.
type standing struct {
	slow, step, block int64 // until when, in seconds since 1970
	strikes           uint8 // how often, within a day
	last              int64
	tries             uint8 // failures since it is slow
	next              int64 // milliseconds since 1970; the next try isn't looked at before
}

const (
	recordEvery  = time.Hour
	happensEvery = time.Minute // of what happened, by reason
	mailEvery    = 24 * time.Hour
	deviceEvery  = time.Hour // of new devices, by network
	firstPenalty = 15 * time.Minute
	longest      = 4 * time.Hour
	slowest      = 30 * time.Second // between tries on one account
	slowestShare = 4 * time.Second  // between tries of those who share a network or fingerprint, honest ones among them
	freeTries    = 3                // of an account's new network, while the account is slow because of others
)

// keys of the scopes that a report touches: for slow and step-up, and for block (0: none).
func (d *Detector) scopeKeys(s *seen, sc scope) (wide, narrow uint64) {
	switch sc {
	case scopeAccount:
		return s.guard, s.guard
	case scopePair:
		return s.guard, s.pair ^ s.guard // known and other devices of one network apart
	case scopeSpread:
		return s.guard, 0
	case scopeNetwork:
		return s.sources[0], s.sources[0]
	case scopePrint:
		return s.sources[len(s.sources)-1], s.sources[len(s.sources)-1]
	case scopeGlobal:
		return d.digest(tagGlobal, ""), 0
	}
	return 0, 0
}

// raise applies the response, and tells whether the flag is to be recorded. It needs d.mu.
func (d *Detector) raise(s *seen, r *report, out *Decision) bool {
	out.Flags = append(out.Flags, r.name)
	wide, narrow := d.scopeKeys(s, r.scope)
	now := s.now.Unix()
	seconds := func(t time.Duration) int64 { return int64(t / time.Second) }
	mark, every := wide^uint64(r.name)<<56, recordEvery
	if r.event {
		mark, every = mark^d.digest(tagReason, r.reason), happensEvery
	}
	record := d.raised.touch(mark, s.now).due(s.now, every)
	if r.severity == Low {
		return record
	}
	r.did = d.responses[r.name]
	if narrow == 0 {
		r.did &^= block
	}
	if r.scope == scopeGlobal {
		r.did &^= endSessions | mail // one attacker must not reach everybody
	}
	if r.scope == scopeNetwork || r.scope == scopePrint {
		r.did &^= endSessions | mail // the accounts tried are victims, and many
	}
	w := d.standings.touch(wide, s.now)
	if record {
		if now-w.last > seconds(24*time.Hour) {
			w.strikes = 0
		}
		w.strikes, w.last = min(w.strikes+1, 8), now
	}
	until := now + seconds(min(firstPenalty<<(max(w.strikes, 1)-1), longest))
	if r.did&slow != 0 {
		w.slow = max(w.slow, until)
	}
	if r.did&stepUp != 0 {
		w.step = max(w.step, until)
		out.StepUp = true
	}
	if r.did&block != 0 {
		n := d.standings.touch(narrow, s.now)
		n.block = max(n.block, until)
	}
	out.EndSessions = out.EndSessions || r.did&endSessions != 0
	about, again := r.name.String()+s.Person, mailEvery
	if r.name == NewDevice { // whoever comes from elsewhere on the same day isn't hidden by the first
		about, again = about+s.network.String(), deviceEvery
	}
	if r.did&mail != 0 && s.Person != "" && d.raised.touch(d.digest(tagMail, about), s.now).due(s.now, again) {
		out.Mail = true
	} else {
		r.did &^= mail
	}
	return record
}

// Ask says, before anything is looked at, what stands against a try, and doesn't count it. Kind is Register or
// ResetRequested for these, FactorSent for a code, and anything else for a sign-in.
func (d *Detector) Ask(o Observation) Decision {
	s := d.hashes(&o)
	d.mu.Lock()
	defer d.mu.Unlock()
	var out Decision
	d.stands(s, &out, false)
	if o.Kind == Register || o.Kind == ResetRequested {
		d.tooMany(s, &out)
	}
	return out
}

// failing tells whether an observation is a try that went wrong.
func (k Kind) failing() bool {
	return k == PasswordFailed || k == UnknownIdentifier || k == FactorFailed || k == FactorSent
}

// stands adds what stands against the observation's scopes; a try that went wrong makes the next one wait longer. It needs d.mu.
func (d *Detector) stands(s *seen, out *Decision, wrong bool) {
	scopes := []uint64{s.guard, s.pair ^ s.guard}
	if !s.Known {
		scopes = append(append(scopes, s.sources...), d.digest(tagGlobal, ""))
	}
	now, nowMilli := s.now.Unix(), s.now.UnixMilli()
	for i, key := range scopes {
		w := d.standings.find(key)
		if w == nil {
			continue
		}
		if w.block > now {
			if until := time.Unix(w.block, 0); until.After(out.Block) {
				out.Block = until
			}
		}
		out.StepUp = out.StepUp || w.step > now
		if w.slow <= now {
			w.tries, w.next = 0, 0
			continue
		}
		if i == 0 && !s.Known && d.fromElsewhere(s) {
			continue // the person on a new device isn't held up by others' tries
		}
		if wrong {
			w.tries = min(w.tries+1, 8)
			most := slowest
			if i > 1 {
				most = slowestShare
			}
			w.next = nowMilli + min(time.Second<<(w.tries-1), most).Milliseconds()
		}
		// Everybody at once has no queue: it would be one for all.
		if i < 2+len(s.sources) {
			out.Delay = max(out.Delay, time.Duration(w.next-nowMilli)*time.Millisecond)
		}
	}
}

func (d *Detector) fromElsewhere(s *seen) bool {
	p := d.pairs.find(s.pair)
	if p == nil {
		return true
	}
	p.roll(s.now)
	return p.spans[middle].value() < freeTries
}

// resetsPerHour is for one account: each sends a mail.
const resetsPerHour = 3

// tooMany refuses registrations and resets beyond the limits of the network, and resets beyond those of the account.
func (d *Detector) tooMany(s *seen, out *Decision) {
	if src := d.sources.find(s.sources[0]); src != nil {
		src.roll(s.now)
		limits := registerLimits()
		for span := range limits {
			if src.distinct(span, registers)-perSignIn*src.distinct(span, succeeded) >= limits[span]-0.5 {
				out.Delay = max(out.Delay, spanLength(span)/5)
			}
		}
	}
	if a := d.accounts.find(d.digest(tagReset, s.account())); a != nil && s.Kind == ResetRequested {
		a.roll(s.now)
		if a.spans[middle].value() >= resetsPerHour {
			out.Delay = max(out.Delay, spanLength(middle)/5)
		}
	}
}

// Work is the difficulty of the proof of work (package pow) for registering or asking for a reset from an address: it rises with
// what its network did of late, with what all did compared with what is usual, and while the application is attacked.
func (d *Detector) Work(a netip.Addr) int64 {
	now := d.config.Clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.learn(now)
	d.global.roll(now)
	work := pow.Difficulty(int(d.global.distinct(middle, registers)), int(max(20, 3*d.usual.Registers/12)))
	key := d.digest(tagNetwork, device.Network(a).String())
	if src := d.sources.find(key); src != nil {
		src.roll(now)
		work = max(work, pow.Difficulty(int(src.distinct(middle, registers)+0.5), 3))
	}
	for _, k := range []uint64{key, d.digest(tagGlobal, "")} {
		if w := d.standings.find(k); w != nil && max(w.slow, w.block, w.step) > now.Unix() {
			work = max(work, 4*pow.Easy)
		}
	}
	return min(work, pow.Hard)
}

// Has tells whether a decision raised a flag.
func (d Decision) Has(n Name) bool { return slices.Contains(d.Flags, n) }
