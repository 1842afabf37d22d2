package notify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/cap/watch/internal/inbox"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
)

// The times of a Policy.
const (
	settle   = 2 * time.Second  // a burst is one message
	together = 30 * time.Second // what a rule finds within it is one message, too
	longest  = time.Hour        // that together grows to, while a rule finds more and more
	repeat   = 4 * time.Hour    // unless ward.yaml says otherwise
	maxItems = 10               // that a message lists
)

// Terms are what is told to a channel.
type Terms struct {
	App      string // whose findings they are
	Least    finding.Severity
	Repeat   time.Duration // after which a finding that goes on is told again
	Quiet    Hours         // in which only critical ones are told
	Resolves bool          // the channel wants to hear that a finding was closed
}

// Hours are hours of the day, in UTC; those from and to the same minute are none.
type Hours struct{ From, To time.Duration }

// hours reads "22:00-07:00", which the form of ward.yaml has checked.
func hours(s string) (h Hours, err error) {
	if s == "" {
		return h, nil
	}
	var a, b, c, d int
	if _, err := fmt.Sscanf(s, "%d:%d-%d:%d", &a, &b, &c, &d); err != nil {
		return h, fmt.Errorf("read quiet hours: %w", err)
	}
	at := func(hour, minute int) time.Duration { return time.Duration(hour*60+minute) * time.Minute }
	return Hours{at(a, b), at(c, d)}, nil
}

// Has tells whether a time is within the hours.
func (h Hours) Has(t time.Time) bool {
	t = t.UTC()
	of := t.Sub(t.Truncate(24 * time.Hour))
	if h.From <= h.To {
		return h.From <= of && of < h.To
	}
	return of >= h.From || of < h.To
}

// termsOf are what a line of ward.yaml says.
func termsOf(app string, n *model.Notify) (Terms, error) {
	t := Terms{App: app, Least: finding.High, Repeat: repeat, Resolves: n.To == "pagerduty"}
	if n.Least != "" {
		t.Least = finding.SeverityOf(n.Least)
	}
	if n.Repeat > 0 {
		t.Repeat = time.Duration(n.Repeat) * time.Second
	}
	var err error
	t.Quiet, err = hours(n.Quiet)
	return t, err
}

// Telling is how a finding was told last.
type Telling struct {
	At       time.Time        `json:"at"`
	Count    int64            `json:"count"`
	Severity finding.Severity `json:"severity"`
	Key      string           `json:"key,omitempty"` // of the message, which a later one of it goes on with; "" if it was only listed
}

// Policy decides what is told to one channel, and when: by the findings that are open and the given time alone. It isn't for concurrent use.
type Policy struct {
	terms Terms
	told  map[int64]Telling // by finding
	paces map[string]*pace  // by rule
}

// pace is how fast findings of one rule are told.
type pace struct {
	since time.Time     // when what waits began to; zero if nothing does
	last  time.Time     // the last message
	apart time.Duration // to the next one
}

// NewPolicy returns one that has told what told says.
func NewPolicy(t Terms, told map[int64]Telling) *Policy {
	if told == nil {
		told = map[int64]Telling{}
	}
	return &Policy{terms: t, told: told, paces: map[string]*pace{}}
}

// Step returns what is to be told now; open are all findings that are. changed is true where Told has changed.
func (p *Policy) Step(open []inbox.Finding, now time.Time) (out []Message, changed bool) {
	out, changed = p.closed(open, now)
	due := map[string][]*inbox.Finding{}
	var held []*inbox.Finding
	loud := p.loud(open, now)
	for i := range open {
		f := &open[i]
		switch {
		case !p.tells(f, now) || !p.due(f, now):
		case f.Severity < finding.Critical && f.Service != "" && loud[f.Service]:
			held = append(held, f)
		default:
			due[f.Rule] = append(due[f.Rule], f)
		}
	}
	for rule, c := range p.paces {
		if len(due[rule]) == 0 {
			c.since = time.Time{}
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(due)) {
		if !p.ready(rule, due[rule], now) {
			continue
		}
		out = append(out, p.message(due[rule], held, now))
		held, changed = nil, true
	}
	return out, changed
}

// tells is whether a finding is one for this channel at this time.
func (p *Policy) tells(f *inbox.Finding, now time.Time) bool {
	return f.Silenced.IsZero() && f.Severity >= p.terms.Least && (f.Severity >= finding.Critical || !p.terms.Quiet.Has(now))
}

// due is whether there is news: the finding is new, worse, or goes on after a while.
func (p *Policy) due(f *inbox.Finding, now time.Time) bool {
	t, was := p.told[f.ID]
	return !was || f.Severity > t.Severity || f.Count > t.Count && now.Sub(t.At) >= p.terms.Repeat
}

// loud are the services of which a critical finding is being told, or was a while ago: lower ones about them would only be in the way.
func (p *Policy) loud(open []inbox.Finding, now time.Time) map[string]bool {
	out := map[string]bool{}
	for i := range open {
		f := &open[i]
		if t, was := p.told[f.ID]; f.Severity >= finding.Critical && f.Service != "" && f.Silenced.IsZero() && (!was || now.Sub(t.At) < p.terms.Repeat) {
			out[f.Service] = true
		}
	}
	return out
}

// ready is whether a rule's message goes out now. Who causes finding after finding makes messages longer, and rarer; but a critical one waits for no more
// than the shortest time.
func (p *Policy) ready(rule string, due []*inbox.Finding, now time.Time) bool {
	c := p.paces[rule]
	if c == nil {
		c = &pace{apart: together}
		p.paces[rule] = c
	}
	if c.since.IsZero() {
		c.since = now
	}
	apart := c.apart
	if slices.ContainsFunc(due, func(f *inbox.Finding) bool { return f.Severity >= finding.Critical }) {
		apart = together
	}
	gap := now.Sub(c.last)
	if now.Sub(c.since) < settle || gap < apart {
		return false
	}
	if gap < 2*longest { // else it was quiet; a shorter time would let who keeps to it make a message each time
		c.apart = min(2*c.apart, longest)
	} else {
		c.apart = together
	}
	c.since, c.last = time.Time{}, now
	return true
}

// message tells of findings of one rule, and lists those that were held back.
func (p *Policy) message(due, held []*inbox.Finding, now time.Time) Message {
	slices.SortFunc(due, func(a, b *inbox.Finding) int { return cmp.Or(int(b.Severity)-int(a.Severity), cmp.Compare(a.ID, b.ID)) })
	m := Message{ID: newID(), Kind: Found, App: p.terms.App, Rule: due[0].Rule, Severity: due[0].Severity, Count: len(due), Time: now}
	for _, f := range due {
		if t := p.told[f.ID]; t.Key != "" {
			m.Key = t.Key
			break
		}
	}
	m.Key = cmp.Or(m.Key, m.ID)
	for _, f := range due {
		p.told[f.ID] = Telling{At: now, Count: f.Count, Severity: f.Severity, Key: m.Key}
	}
	for _, f := range held {
		p.told[f.ID] = Telling{At: now, Count: f.Count, Severity: f.Severity}
	}
	m.Items, m.Also, m.AlsoCount = items(due), items(held), len(held)
	return m
}

// closed forgets what isn't open any more, and tells who wants to know.
func (p *Policy) closed(open []inbox.Finding, now time.Time) (out []Message, changed bool) {
	is := make(map[int64]bool, len(open))
	for i := range open {
		is[open[i].ID] = true
	}
	ended := map[string]bool{}
	for id, t := range p.told {
		if !is[id] {
			ended[t.Key], changed = true, true
			delete(p.told, id)
		}
	}
	for _, t := range p.told {
		delete(ended, t.Key) // others of its message are open
	}
	delete(ended, "")
	if p.terms.Resolves {
		for _, key := range slices.Sorted(maps.Keys(ended)) {
			out = append(out, Message{ID: newID(), Kind: Resolved, App: p.terms.App, Key: key, Time: now})
		}
	}
	return out, changed
}
