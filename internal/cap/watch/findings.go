package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch/internal/detect"
	"github.com/wardhq/ward/internal/cap/watch/internal/inbox"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// What findings are made of, for who shows them.
type (
	Finding      = inbox.Finding
	Silence      = inbox.Silence
	FindingQuery = inbox.Query
	Rule         = detect.Rule
	Call         = detect.Call
)

// Others is the object of what a subject does with many.
const Others = detect.Others

// Rules are what Ward looks for.
func Rules() []Rule { return detect.Rules() }

// RuleOf is a rule by its name.
func RuleOf(name string) Rule { return detect.RuleOf(name) }

// RuleState is a rule as it is in force where Ward runs.
type RuleState struct {
	Rule
	Observes bool      // ward.yaml leaves its findings, and takes its answer away
	Silenced time.Time `json:",omitzero"` // the whole rule, until then
}

// FindingReport is a finding with what explains it.
type FindingReport struct {
	Finding
	Title   string             `json:"title"`
	Why     string             `json:"why"`
	Right   string             `json:"right,omitempty"`  // what to do if it is meant to be so; what is to be typed is in backticks
	Answer  string             `json:"answer,omitempty"` // that the rule gives by itself
	Offer   string             `json:"offer,omitempty"`  // that a person may give
	Answers []wire.Restriction `json:"answers,omitempty"`
	Allow   string             `json:"allow,omitempty"` // which line of ward.yaml would allow it
}

// Records is the audit trail, as the detector reads it.
type Records interface {
	Size() (int64, <-chan struct{})
	Read(from int64, f func(ledger.Record) bool) error
}

// FindingsConfig is what Findings need.
type FindingsConfig struct {
	DB     *store.DB
	Clock  clock.Clock
	Ledger Records
	Watch  *Watch
	Record func(wire.Event) // takes what is done to the ledger; must not block
	Dir    string           // of control's state, whose disk is watched
	// Ending are the secrets that end before a time; nil for none.
	Ending func(ctx context.Context, before time.Time) (map[string]time.Time, error)
	// Trap is the host that a service's canary names.
	Trap func(service string) string
}

// old is the age from which on what the ledger tells is no news: after an upgrade it isn't gone through again.
const old = 24 * time.Hour

// checkEvery is how often is looked at what comes without an event: silence, ends, the disk, promises.
const checkEvery = 5 * time.Second

// lasts is how long after the last look that showed it what lasts is over.
const lasts = 2 * time.Minute

// Findings find attacks and trouble, keep what was found, and answer. Its methods are safe for concurrent use.
type Findings struct {
	config FindingsConfig
	inbox  *inbox.Inbox
	given  *wire.Tally[wire.Restriction] // answers that clients got by themselves, on their way to the ledger

	mu       sync.Mutex // guards what follows
	detector *detect.Detector
	observed map[string]bool // rules that only observe
	spared   []netip.Prefix  // clients that no answer closes out by itself
	services map[string]bool
	checks   checks
	// complained is when an answer that failed was last said.
	complained time.Time
}

// OpenFindings reads what was found before.
func OpenFindings(ctx context.Context, c FindingsConfig) (*Findings, error) {
	b, err := inbox.Open(ctx, c.DB, c.Clock)
	if err != nil {
		return nil, err
	}
	return &Findings{config: c, inbox: b, given: newGiven(c.Record), detector: detect.New(c.Trap), spared: private(), checks: checks{started: map[string]time.Time{}}}, nil
}

// newGiven brings what is done to clients to the ledger; who has ever new addresses fills a count, not the disk.
func newGiven(record func(wire.Event)) *wire.Tally[wire.Restriction] {
	return &wire.Tally[wire.Restriction]{
		Prefix: "g-", Most: 1024, Record: record,
		Rest: func(r wire.Restriction) wire.Restriction { return wire.Restriction{Reason: r.Reason} },
		Event: func(r wire.Restriction, _ string, count int64) wire.Event {
			if r.ID == "" {
				return wire.Event{Kind: "answer.given", Subject: "watch", Object: "further clients", Count: count, Detail: map[string]string{"reason": r.Reason}}
			}
			return answerEvent("answer.given", &r)
		},
	}
}

// private are the networks that aren't closed out by accident: this machine, and those behind which a whole company may be.
func private() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{"127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10"} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// SetPlan puts into force what a plan declares, and what it says of rules.
func (f *Findings) SetPlan(p *plan.Plan) {
	spared := private()
	if len(p.Watch.NeverBlock) > 0 {
		spared = nil // who says which says all
	}
	for _, s := range p.Watch.NeverBlock {
		if n, err := netip.ParsePrefix(s); err == nil {
			spared = append(spared, n)
		} else if a, err := netip.ParseAddr(s); err == nil {
			spared = append(spared, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.detector.SetPlan(p)
	f.spared = spared
	f.observed = map[string]bool{}
	for _, r := range p.Watch.Rules {
		f.observed[r.Name] = r.Observe
	}
	f.services = map[string]bool{}
	for i := range p.Services {
		f.services[string(p.Services[i].Name)] = true
	}
}

// Run reads the audit trail, looks around, and keeps what was found, until ctx ends.
func (f *Findings) Run(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for n := 1; ; n++ {
		_, changed := f.config.Ledger.Size()
		f.read(ctx)
		select {
		case <-changed:
			n-- // the seconds below are of the ticker
			continue
		case <-t.C:
			f.given.Flush()
		case <-ctx.Done():
			f.given.Flush()
			if err := f.inbox.Flush(context.WithoutCancel(ctx)); err != nil {
				slog.Error("findings not kept", "error", err)
			}
			return
		}
		if n%int(checkEvery/time.Second) == 0 {
			f.handle(ctx, f.check(ctx))
		}
		if err := f.inbox.Flush(ctx); err != nil && ctx.Err() == nil {
			slog.Error("findings not kept", "error", err)
		}
		if n%int(24*time.Hour/time.Second) == 0 {
			if err := f.inbox.Clean(ctx); err != nil && ctx.Err() == nil {
				slog.Error("old findings not removed", "error", err)
			}
		}
	}
}

// maxRead is how many records are looked at before what was found in them is kept: a service that is refused a million times while
// control is away must not fill its memory when it comes back.
const maxRead = 4096

// read looks at what the ledger has got since.
func (f *Findings) read(ctx context.Context) {
	for ctx.Err() == nil {
		if from := f.inbox.Cursor(); f.readSome(ctx) < from+maxRead {
			return
		}
	}
}

// readSome looks at maxRead records at most, and returns where to go on.
func (f *Findings) readSome(ctx context.Context) (next int64) {
	from := f.inbox.Cursor()
	next = from
	var signals []detect.Signal
	limit := f.config.Clock.Now().Add(-old)
	err := f.config.Ledger.Read(from, func(r ledger.Record) bool {
		next = r.Index + 1
		if r.Time.After(limit) {
			f.mu.Lock()
			signals = append(signals, f.detector.Event(r.Index, &r.Event)...)
			f.checks.event(&r.Event)
			f.mu.Unlock()
		}
		return ctx.Err() == nil && next < from+maxRead
	})
	if err != nil {
		slog.Error("read ledger for findings", "error", err)
	}
	f.handle(ctx, signals)
	if next != from {
		f.inbox.Seen(next)
	}
	return next
}

// TakeSightings takes what a gateway tells of its clients.
func (f *Findings) TakeSightings(ctx context.Context, all wire.Sightings) error {
	if err := all.Check(); err != nil {
		return err
	}
	now := f.config.Clock.Now()
	var signals []detect.Signal
	f.mu.Lock()
	for i := range all {
		signals = append(signals, f.detector.Sight(&all[i], now)...)
	}
	f.mu.Unlock()
	f.handle(ctx, signals)
	return nil
}

// handle makes findings of signals, and answers those that are to be answered.
func (f *Findings) handle(ctx context.Context, signals []detect.Signal) {
	if len(signals) == 0 {
		return
	}
	changes := f.inbox.Take(signals)
	if slices.ContainsFunc(changes, func(c inbox.Change) bool { return c.New }) { // what is said is kept first
		if err := f.inbox.Flush(ctx); err != nil {
			slog.Error("finding not kept", "error", err)
		}
	}
	for i := range changes {
		c := &changes[i]
		if c.New {
			f.config.Record(wire.Event{Kind: "finding.new", Subject: c.Finding.Subject, Object: c.Finding.Object, Detail: map[string]string{"rule": c.Finding.Rule, "severity": c.Finding.Severity.String(), "finding": id(c.Finding.ID), "what": c.Finding.What}})
			slog.Warn("finding", "id", c.Finding.ID, "rule", c.Finding.Rule, "severity", c.Finding.Severity.String(), "what", c.Finding.What)
		}
		f.awaitTrace(&signals[i], &c.Finding)
		f.answer(ctx, &signals[i], &c.Finding)
	}
}

// answer does what a rule says, unless it only observes, or somebody has silenced it.
func (f *Findings) answer(ctx context.Context, s *detect.Signal, found *Finding) {
	rule := detect.RuleOf(s.Rule)
	f.mu.Lock()
	observes, spared, known := f.observed[s.Rule], f.spares(s.Client), f.services[s.Service]
	f.mu.Unlock()
	if observes || s.Held || !found.Silenced.IsZero() {
		return
	}
	r := wire.Restriction{Reason: rule.Title, Finding: found.ID}
	switch {
	case (rule.Answer == detect.Block || rule.Answer == detect.Slow) && s.Client.IsValid() && !spared:
		r.Client, r.Slow = s.Client, rule.Answer == detect.Slow
	case rule.Answer == detect.Quarantine && known:
		r.Service = s.Service
	case rule.Answer == detect.Quarantine && s.Client.IsValid() && !spared: // who used a trap from outside
		r.Client = s.Client
	default:
		return
	}
	if _, err := f.restrict(ctx, r); err != nil && f.sayAgain() {
		slog.Error("answer to a finding failed", "finding", found.ID, "error", err)
	}
}

// sayAgain tells whether it is time to complain again: under a flood each client would.
func (f *Findings) sayAgain() bool {
	now := f.config.Clock.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.complained) < time.Minute {
		return false
	}
	f.complained = now
	return true
}

// spares tells whether a client isn't closed out without a person's word; f.mu is held.
func (f *Findings) spares(c netip.Prefix) bool {
	return slices.ContainsFunc(f.spared, func(p netip.Prefix) bool { return p.Overlaps(c) }) || f.detector.Administrates(c)
}

// restrict puts an answer into force, and says so in the ledger.
func (f *Findings) restrict(ctx context.Context, r wire.Restriction) (wire.Restriction, error) {
	out, fresh, err := f.inbox.Restrict(ctx, r)
	if err != nil || !fresh {
		return out, err
	}
	if out.By == "" && out.Service == "" {
		f.given.Note(out)
	} else {
		f.config.Record(answerEvent("answer.given", &out))
	}
	return out, nil
}

func answerEvent(kind string, r *wire.Restriction) wire.Event {
	e := wire.Event{Kind: kind, Subject: r.By, Object: r.Service, Detail: map[string]string{"id": r.ID, "until": r.Until.UTC().Format(time.RFC3339), "reason": r.Reason}}
	if e.Subject == "" {
		e.Subject = "watch"
	}
	if r.Client.IsValid() {
		e.Object = r.Client.String()
	}
	if r.Finding != 0 {
		e.Detail["finding"] = id(r.Finding)
	}
	return e
}

// ErrSpared says that an answer would close out administrators, or all of a private network, and that who asks has to be sure.
var ErrSpared = errors.New("this client is spared")

// Restrict gives an answer that a person asks for: by says who. A zero Until takes the usual life. ErrSpared is an answer's that needs Sure.
func (f *Findings) Restrict(ctx context.Context, r wire.Restriction) (wire.Restriction, error) {
	f.mu.Lock()
	known, spared := f.services[r.Service], r.Client.IsValid() && f.spares(r.Client)
	f.mu.Unlock()
	left := r.Until.Sub(f.config.Clock.Now())
	switch {
	case !r.Until.IsZero() && (left <= 0 || left > inbox.LongestAnswer):
		return r, fault.New(fault.Invalid, "an answer ends in the future, within 30 days")
	case spared && !r.Sure:
		return r, fault.Wrap(fault.Invalid, fmt.Sprintf("%s holds addresses of this machine, a private network, or where administrators have acted from; to do it all the same: ward answers block %[1]s --yes", r.Client), ErrSpared)
	case r.Client.IsValid() == (r.Service != ""):
		return r, fault.New(fault.Invalid, "an answer is about a client or about a service")
	case r.Service != "" && !known:
		return r, fault.New(fault.NotFound, "the plan has no service of this name")
	case r.Client.IsValid() && (r.Client != r.Client.Masked() || r.Client.Bits() < 8 || r.Client.Addr().Is6() && r.Client.Bits() > 64):
		return r, fault.New(fault.Invalid, "a client is an address, or a network of at least 8 bits, in IPv6 of at most 64")
	case r.By == "":
		return r, fault.New(fault.Invalid, "an answer says who gives it")
	}
	r.Sure = false // it is of the question, not of the answer
	return f.restrict(ctx, r)
}

// Lift ends an answer before its time.
func (f *Findings) Lift(ctx context.Context, answer, by string) (wire.Restriction, error) {
	r, err := f.inbox.Lift(ctx, answer)
	if err != nil {
		return r, err
	}
	e := answerEvent("answer.lifted", &r)
	e.Subject = by
	f.config.Record(e)
	return r, nil
}

// Restrictions are the answers in force, and a channel that is closed at the next change.
func (f *Findings) Restrictions() (wire.Restrictions, <-chan struct{}) { return f.inbox.Restrictions() }

// Quarantined tells whether a service is cut off.
func (f *Findings) Quarantined(service string) bool { return f.inbox.Quarantined(service) }

// List returns findings, the worst first.
func (f *Findings) List(ctx context.Context, q FindingQuery) ([]Finding, error) {
	return f.inbox.List(ctx, q)
}

// Get returns one finding.
func (f *Findings) Get(ctx context.Context, id int64) (Finding, error) { return f.inbox.Get(ctx, id) }

// Close takes a finding back.
func (f *Findings) Close(ctx context.Context, number int64, by, note string) (Finding, error) {
	out, err := f.inbox.Close(ctx, number, by, note)
	if err == nil {
		f.config.Record(wire.Event{Kind: "finding.closed", Subject: by, Detail: map[string]string{"finding": id(number), "rule": out.Rule, "note": out.Note}})
	}
	return out, err
}

// Silence silences findings until a time.
func (f *Findings) Silence(ctx context.Context, s Silence) (Silence, error) {
	out, err := f.inbox.AddSilence(ctx, s)
	if err == nil {
		f.config.Record(wire.Event{Kind: "finding.silenced", Subject: s.By, Detail: map[string]string{"rule": s.Rule, "subject": s.Subject, "object": s.Object, "until": s.Until.UTC().Format(time.RFC3339), "reason": s.Reason, "silence": id(out.ID)}})
	}
	return out, err
}

// EndSilence ends a silence before its time.
func (f *Findings) EndSilence(ctx context.Context, number int64, by string) error {
	err := f.inbox.EndSilence(ctx, number)
	if err == nil {
		f.config.Record(wire.Event{Kind: "finding.silence_ended", Subject: by, Detail: map[string]string{"silence": id(number)}})
	}
	return err
}

// Rules are what Ward looks for, as it is in force.
func (f *Findings) Rules() []RuleState {
	silences := f.inbox.Silences()
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []RuleState
	for _, r := range detect.Rules() {
		x := RuleState{Rule: r, Observes: f.observed[r.Name]}
		for _, s := range silences {
			if s.Rule == r.Name && s.Subject == "" && s.Object == "" && s.Until.After(x.Silenced) {
				x.Silenced = s.Until
			}
		}
		out = append(out, x)
	}
	return out
}

// Silences are those in force.
func (f *Findings) Silences() []Silence { return f.inbox.Silences() }
