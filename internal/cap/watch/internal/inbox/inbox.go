// Package inbox keeps what was found: signals become findings, each said once, with how often and by whom; what answers restrict; and what
// nobody wants to hear of until a day.
//
// Guarantee: signals with one rule, subject and object are one finding while it is open; all clients of the outside are one subject; a
// finding that is taken back comes back with the next signal, as a new one; an answer survives a restart and ends by itself; what was
// looked at is kept together with what was found, so that a crash repeats at most a second. Bounded: findings, evidence, silences and
// answers. Not guaranteed: that anybody reads it.
package inbox

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch/internal/detect"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

//go:embed migrations/*.sql
var migrations embed.FS

// LongestSilence is how long a silence may last.
const LongestSilence = 366 * 24 * time.Hour

// Bounds.
const (
	maxOpen     = 2000 // findings; further ones are one finding of their rule
	maxObjects  = 8    // findings of one rule about one subject; further ones are one about all other objects
	maxEvidence = 20   // of a finding; the first half and the latest
	maxProbed   = 500
	maxSilences = 500
	maxText     = 1000 // bytes of what a signal says
	// quiet is how long a finding without a further signal stays open; keepClosed how long it is kept after that.
	quiet      = 7 * 24 * time.Hour
	keepClosed = 400 * 24 * time.Hour
)

// Outside is the subject of what clients of the gateway do.
const Outside = "outside"

// Finding is what was found.
type Finding struct {
	ID       int64            `json:"id"`
	Rule     string           `json:"rule"`
	Severity finding.Severity `json:"severity"`
	Subject  string           `json:"subject"`
	Object   string           `json:"object,omitempty"`
	Opened   time.Time        `json:"opened"`
	Last     time.Time        `json:"last"`
	Count    int64            `json:"count"`
	Closed   time.Time        `json:"closed,omitzero"`
	Body
	// Silenced is until when nobody wants to hear of it; zero for nobody.
	Silenced time.Time `json:"silenced,omitzero"`
}

// Body is what a finding says.
type Body struct {
	What     string       `json:"what"` // the latest
	Evidence []Evidence   `json:"evidence,omitempty"`
	Service  string       `json:"service,omitempty"` // that an answer may be about
	Person   string       `json:"person,omitempty"`
	Probed   []string     `json:"probed,omitempty"` // services that 'ward attack' made do it
	Traces   []string     `json:"traces,omitempty"` // of requests that its evidence names, at most 5
	Call     *detect.Call `json:"call,omitempty"`   // the first, that a line of ward.yaml could allow
	// Lasts is how long after the last signal it is over, nanoseconds; 0 for what just happened.
	Lasts    time.Duration `json:"lasts,omitempty"`
	ClosedBy string        `json:"closed_by,omitempty"`
	Note     string        `json:"note,omitempty"` // of who closed it
}

// Evidence is one sign.
type Evidence struct {
	Time   time.Time `json:"time"`
	Text   string    `json:"text"`
	Client string    `json:"client,omitempty"` // network
	Record int64     `json:"record"`           // of the ledger, -1 for none
}

// Silence is what nobody wants to hear of. Empty fields stand for all.
type Silence struct {
	ID      int64     `json:"id"`
	Rule    string    `json:"rule"`
	Subject string    `json:"subject,omitempty"`
	Object  string    `json:"object,omitempty"`
	Until   time.Time `json:"until"`
	Reason  string    `json:"reason"`
	By      string    `json:"by,omitempty"`
}

func (s *Silence) covers(f *Finding, now time.Time) bool {
	return now.Before(s.Until) && s.Rule == f.Rule && (s.Subject == "" || s.Subject == f.Subject) && (s.Object == "" || s.Object == f.Object)
}

// Inbox is what is kept. Its methods are safe for concurrent use.
type Inbox struct {
	db    *store.DB
	clock clock.Clock
	began time.Time

	mu       sync.Mutex // guards what follows
	open     map[key]*Finding
	dirty    map[int64]*Finding
	next     int64
	silences []Silence
	answers  map[string]wire.Restriction // in force, by target
	sequence uint64
	changed  chan struct{}        // closed and replaced when answers change
	looked   map[string]time.Time // by rule of detect.Checked: since when it could be looked at; zero for not now
	cursor   int64
	kept     int64 // cursor that is in the database
}

type key struct{ rule, subject, object string }

// Open reads what is open.
func Open(ctx context.Context, db *store.DB, c clock.Clock) (*Inbox, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open findings: %w", err)
	}
	if err := db.Migrate(ctx, "watch", files); err != nil {
		return nil, fmt.Errorf("open findings: %w", err)
	}
	b := &Inbox{db: db, clock: c, began: c.Now(), open: map[key]*Finding{}, dirty: map[int64]*Finding{}, looked: map[string]time.Time{}, answers: map[string]wire.Restriction{}, changed: make(chan struct{}), sequence: uint64(c.Now().UnixMicro())}
	err = db.Read(ctx, func(ctx context.Context, tx *store.Tx) error { return b.load(ctx, tx) })
	if err != nil {
		return nil, fmt.Errorf("open findings: %w", err)
	}
	return b, nil
}

// Change is what a signal did.
type Change struct {
	Finding Finding
	New     bool // the finding is; or it is worse than it was
}

// Take makes findings of signals. It writes nothing yet: Flush does.
func (b *Inbox) Take(signals []detect.Signal) []Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Change, 0, len(signals))
	for i := range signals {
		s := &signals[i]
		f, isNew := b.finding(s)
		if r := s.Rating(); r > f.Severity {
			f.Severity, isNew = r, true
		}
		f.Count += max(s.Count, 1)
		if s.Time.After(f.Last) {
			f.Last = s.Time
		}
		f.What = clip(s.What)
		f.Service, f.Person, f.Lasts = cmp.Or(f.Service, s.Service), cmp.Or(f.Person, s.Person), s.Lasts
		if f.Call == nil {
			f.Call = s.Call
		}
		if s.Probed != "" && len(f.Probed) < maxProbed && !slices.Contains(f.Probed, s.Probed) {
			f.Probed = append(slices.Clone(f.Probed), s.Probed) // others may be reading it
		}
		f.add(s)
		b.dirty[f.ID] = f
		out = append(out, Change{Finding: b.shown(f), New: isNew})
	}
	return out
}

// finding is the open one of a signal, or a new one; b.mu is held.
func (b *Inbox) finding(s *detect.Signal) (f *Finding, isNew bool) {
	k := key{s.Rule, clip(s.Subject), clip(s.Object)}
	if s.Client.IsValid() && s.Person == "" {
		k.subject, k.object = Outside, ""
	}
	if f := b.open[k]; f != nil {
		return f, false
	}
	switch {
	case len(b.open) >= maxOpen:
		k.subject, k.object = "many", ""
	case b.objects(k) >= maxObjects:
		k.object = detect.Others
	}
	if f := b.open[k]; f != nil {
		return f, false
	}
	b.next++
	f = &Finding{ID: b.next, Rule: k.rule, Severity: s.Rating(), Subject: k.subject, Object: k.object, Opened: s.Time, Last: s.Time}
	b.open[k] = f
	return f, true
}

// objects is how many findings of a rule about one subject are open; b.mu is held.
func (b *Inbox) objects(of key) (n int) {
	for k := range b.open {
		if k.rule == of.rule && k.subject == of.subject {
			n++
		}
	}
	return n
}

// About tells whether it is about a service: what it did, or what was done to it.
func (f *Finding) About(service string) bool {
	target, _, _ := strings.Cut(f.Object, " ")
	return f.Subject == service || f.Service == service || target == service || slices.Contains(f.Probed, service)
}

// add keeps a signal as evidence, but not what is there already.
func (f *Finding) add(s *detect.Signal) {
	e := Evidence{Time: s.Time, Text: clip(cmp.Or(s.Evidence, s.What)), Record: s.Record}
	if s.Client.IsValid() {
		e.Client = s.Client.String()
	}
	f.Evidence = slices.Clone(f.Evidence) // others may be reading it
	for i := range f.Evidence {
		if have := &f.Evidence[i]; have.Client == e.Client && (e.Client != "" || have.Text == e.Text) {
			have.Time, have.Record = e.Time, e.Record
			return
		}
	}
	if len(f.Evidence) >= maxEvidence {
		f.Evidence = slices.Delete(f.Evidence, maxEvidence/2, maxEvidence/2+1)
	}
	f.Evidence = append(f.Evidence, e)
}

// shown is a copy with what silences say; b.mu is held.
func (b *Inbox) shown(f *Finding) Finding {
	out := *f
	out.Evidence = slices.Clone(f.Evidence)
	now := b.clock.Now()
	for i := range b.silences {
		if b.silences[i].covers(f, now) && b.silences[i].Until.After(out.Silenced) {
			out.Silenced = b.silences[i].Until
		}
	}
	return out
}

// maxTraces bounds the traces of a finding.
const maxTraces = 5

// AddTraces notes traces of requests that a finding is about.
func (b *Inbox) AddTraces(id int64, traces []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.open {
		if f.ID == id {
			all := slices.Clone(f.Traces)
			for _, t := range traces {
				if len(all) < maxTraces && !slices.Contains(all, t) {
					all = append(all, t)
				}
			}
			f.Traces = all
			b.dirty[id] = f
		}
	}
}

// Seen notes how far into the ledger has been looked; Cursor is where to go on.
func (b *Inbox) Seen(next int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cursor = next
}

// Cursor is the record to go on with.
func (b *Inbox) Cursor() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cursor
}

// Flush brings what has changed to the database, and closes what was quiet for long, or is over.
func (b *Inbox) Flush(ctx context.Context) error {
	now := b.clock.Now()
	b.mu.Lock()
	for k, f := range b.open {
		switch last := now.Sub(f.Last); {
		case last > quiet:
			f.Note = "quiet for a week"
		case f.Lasts > 0 && last > f.Lasts && b.watched(f, now) > f.Lasts:
			f.Note = "it is over"
		default:
			continue
		}
		f.Closed, f.ClosedBy = now, "ward"
		delete(b.open, k)
		b.dirty[f.ID] = f
	}
	all := make([]Finding, 0, len(b.dirty))
	for _, f := range b.dirty {
		all = append(all, *f)
	}
	cursor, moved := b.cursor, b.cursor != b.kept
	b.mu.Unlock()
	b.dropEnded(now)
	if len(all) == 0 && !moved {
		return nil
	}
	err := b.db.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		for i := range all {
			if err := save(ctx, tx, &all[i]); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, "INSERT INTO watch_cursor (name, position) VALUES ('ledger', ?) ON CONFLICT (name) DO UPDATE SET position = excluded.position", cursor)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep findings: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept = cursor
	for i := range all {
		if f := b.dirty[all[i].ID]; f != nil && f.Count == all[i].Count && f.Closed.Equal(all[i].Closed) && len(f.Traces) == len(all[i].Traces) {
			delete(b.dirty, f.ID)
		}
	}
	return nil
}

// Looked tells whether what a rule is about could be looked at now. While it can't, nothing of it is over.
func (b *Inbox) Looked(rule string, could bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	since, ok := b.looked[rule]
	switch {
	case !could:
		b.looked[rule] = time.Time{}
	case !ok || since.IsZero():
		b.looked[rule] = b.clock.Now()
	}
}

// watched is for how long it has been looked without a break whether a finding goes on; b.mu is held.
func (b *Inbox) watched(f *Finding, now time.Time) time.Duration {
	since := b.began
	if slices.Contains(detect.Checked(), f.Rule) {
		since = b.looked[f.Rule]
	}
	if since.IsZero() {
		return 0
	}
	return now.Sub(since)
}

// Close takes a finding back: somebody has looked at it.
func (b *Inbox) Close(ctx context.Context, id int64, by, note string) (Finding, error) {
	b.mu.Lock()
	var closed *Finding
	for k, f := range b.open {
		if f.ID == id {
			f.Closed, f.ClosedBy, f.Note = b.clock.Now(), by, clip(note)
			delete(b.open, k)
			b.dirty[id] = f
			closed = f
		}
	}
	if closed == nil {
		b.mu.Unlock()
		return Finding{}, fault.New(fault.NotFound, fmt.Sprintf("no finding %d is open", id))
	}
	out := b.shown(closed)
	b.mu.Unlock()
	return out, b.Flush(ctx)
}

// AddSilence silences findings until a time.
func (b *Inbox) AddSilence(ctx context.Context, s Silence) (Silence, error) {
	now := b.clock.Now()
	switch {
	case detect.RuleOf(s.Rule).Name == "":
		return s, fault.New(fault.Invalid, fmt.Sprintf("there is no rule %.40q", s.Rule))
	case s.Reason == "" || len(s.Reason) > maxText:
		return s, fault.New(fault.Invalid, "a silence needs a reason")
	case !s.Until.After(now) || s.Until.Sub(now) > LongestSilence:
		return s, fault.New(fault.Invalid, "a silence needs an end, within a year")
	}
	b.mu.Lock()
	b.silences = slices.DeleteFunc(b.silences, func(old Silence) bool { return !now.Before(old.Until) })
	if len(b.silences) >= maxSilences {
		b.mu.Unlock()
		return s, fault.New(fault.Exhausted, fmt.Sprintf("%d silences are in force; end some", maxSilences))
	}
	b.next++
	s.ID = b.next
	b.silences = append(b.silences, s)
	b.mu.Unlock()
	err := b.db.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO watch_silence (id, rule, subject, object, until, reason, author) VALUES (?, ?, ?, ?, ?, ?, ?)", s.ID, s.Rule, s.Subject, s.Object, s.Until.UnixMicro(), s.Reason, s.By)
		return err
	})
	if err != nil {
		return s, fmt.Errorf("keep silence: %w", err)
	}
	return s, nil
}

// EndSilence ends one.
func (b *Inbox) EndSilence(ctx context.Context, id int64) error {
	b.mu.Lock()
	n := len(b.silences)
	b.silences = slices.DeleteFunc(b.silences, func(s Silence) bool { return s.ID == id })
	gone := n != len(b.silences)
	b.mu.Unlock()
	if !gone {
		return fault.New(fault.NotFound, fmt.Sprintf("there is no silence %d", id))
	}
	return b.db.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM watch_silence WHERE id = ?", id)
		return err
	})
}

// Silences are those in force.
func (b *Inbox) Silences() []Silence {
	now := b.clock.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []Silence{}
	for _, s := range b.silences {
		if now.Before(s.Until) {
			out = append(out, s)
		}
	}
	return out
}

// clip bounds a text, and takes away what would steer its reader's terminal.
func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Bidi_Control, r) {
			return '\ufffd'
		}
		return r
	}, s)
}

// marshal can't fail: what is written has no type that JSON lacks.
func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
