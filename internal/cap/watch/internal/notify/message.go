package notify

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wardhq/ward/internal/cap/watch/internal/detect"
	"github.com/wardhq/ward/internal/cap/watch/internal/inbox"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/wire"
)

// Kind is what a message is for.
type Kind string

// The kinds.
const (
	Found    Kind = "findings.open"
	Resolved Kind = "findings.closed" // all findings of the message with this key
	Tried    Kind = "test"
)

// Message is what a channel tells, as it waits in the database: there is no secret in it but what a finding may quote, which was masked.
type Message struct {
	ID        string           `json:"id"` // the same at each try
	Kind      Kind             `json:"kind"`
	App       string           `json:"app"`
	Key       string           `json:"key,omitempty"` // messages about the same findings have the same
	Rule      string           `json:"rule,omitempty"`
	Severity  finding.Severity `json:"severity,omitempty"` // the worst
	Count     int              `json:"count,omitempty"`    // of findings
	Items     []Item           `json:"findings,omitempty"` // the worst of them
	Also      []Item           `json:"also,omitempty"`     // that were held back, because worse was known of their service
	AlsoCount int              `json:"also_count,omitempty"`
	Time      time.Time        `json:"time"`
}

// Lengths of what strangers may have chosen, in bytes: a message of maxItems twice fits what Teams takes (28 KB), however it is written.
const (
	maxName = 100
	maxWhat = 300
)

// Item is one finding.
type Item struct {
	ID       int64            `json:"id"`
	Rule     string           `json:"rule"`
	Severity finding.Severity `json:"severity"`
	Subject  string           `json:"subject"`
	Object   string           `json:"object,omitempty"`
	What     string           `json:"what"`
	Times    int64            `json:"times"`
	Opened   time.Time        `json:"opened"`
	Last     time.Time        `json:"last"`
	Done     []string         `json:"done,omitempty"` // answers in force, each with how it is undone
	Link     string           `json:"link,omitempty"` // its page in the console, where that is behind the gateway
}

func items(all []*inbox.Finding) []Item {
	var out []Item
	for _, f := range all[:min(len(all), maxItems)] {
		out = append(out, Item{ID: f.ID, Rule: f.Rule, Severity: f.Severity, Subject: harmless(f.Subject, maxName), Object: harmless(f.Object, maxName), What: harmless(f.What, maxWhat), Times: f.Count, Opened: f.Opened, Last: f.Last})
	}
	return out
}

// newID is a message's own number, which no other has.
func newID() string { return "msg_" + strings.ToLower(rand.Text()) }

// harmless bounds what strangers chose, and keeps mail programs and chats from making links of it.
func harmless(s string, most int) string {
	return clip(strings.NewReplacer("://", "[:]//", "www.", "www[.]", "\n", " ", "\r", " ").Replace(s), most)
}

// clip cuts at a character's end.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	s = s[:most-len("…")]
	for len(s) > 0 && !utf8.ValidString(s[len(s)-1:]) && !utf8.RuneStart(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return strings.ToValidUTF8(s, "") + "…"
}

// Title is the message in a line.
func (m *Message) Title() string {
	switch {
	case m.Kind == Tried:
		return "A test of " + m.App + "'s notifications"
	case m.Kind == Resolved:
		return "Closed in " + m.App
	case m.Count == 1 && len(m.Items) == 1:
		return fmt.Sprintf("%s in %s: %s", strings.ToUpper(m.Severity.String()), m.App, m.Items[0].What)
	}
	return fmt.Sprintf("%s in %s: %d findings: %s", strings.ToUpper(m.Severity.String()), m.App, m.Count, detect.RuleOf(m.Rule).Title)
}

// Lines are what the message says below its title.
func (m *Message) Lines() []string {
	if m.Kind == Tried {
		return []string{"Ward can tell you here what it finds. Somebody has run 'ward notify test'."}
	}
	var out []string
	for i := range m.Items {
		out = append(out, m.Items[i].lines()...)
	}
	if n := m.Count - len(m.Items); n > 0 {
		out = append(out, fmt.Sprintf("and %d more", n))
	}
	if why := detect.RuleOf(m.Rule).Why; why != "" {
		out = append(out, why)
	}
	if len(m.Also) > 0 {
		out = append(out, "Also, held back until now:")
	}
	for i := range m.Also {
		out = append(out, m.Also[i].lines()...)
	}
	if n := m.AlsoCount - len(m.Also); n > 0 {
		out = append(out, fmt.Sprintf("and %d more", n))
	}
	if len(m.Items) > 0 {
		out = append(out, m.Items[0].more())
	}
	return out
}

// more is where there is more of it.
func (i *Item) more() string {
	line := fmt.Sprintf("Evidence, and what can be done: ward findings %d", i.ID)
	if i.Link != "" {
		line += ", or " + i.Link
	}
	return line
}

func (i *Item) line() string {
	times := "at"
	if i.Times > 1 {
		times = fmt.Sprintf("%d times since", i.Times)
	}
	return fmt.Sprintf("%s: %s (%s, %s %s, finding %d)", strings.ToUpper(i.Severity.String()), i.What, i.Rule, times, i.Opened.UTC().Format(minute), i.ID)
}

// lines are the item's, and what was done about it.
func (i *Item) lines() []string {
	if len(i.Done) == 0 {
		return []string{i.line()}
	}
	return []string{i.line(), "Done: " + strings.Join(i.Done, "; ")}
}

// minute is how a message says when.
const minute = "15:04 UTC on 2 January"

// maxDone bounds the answers that an item names.
const maxDone = 3

// done are answers in words, each with how it is undone.
func done(all []wire.Restriction) []string {
	var out []string
	for i := range all[:min(len(all), maxDone)] {
		r := &all[i]
		what := "the service " + r.Service + " is cut off"
		switch {
		case r.Service == "" && r.Slow:
			what = r.Client.String() + " is slowed down"
		case r.Service == "":
			what = r.Client.String() + " is blocked"
		}
		out = append(out, fmt.Sprintf("%s until %s, undone by: ward answers lift %s", what, r.Until.UTC().Format(minute), r.ID))
	}
	if n := len(all) - maxDone; n > 0 {
		out = append(out, fmt.Sprintf("and %d more, see ward answers", n))
	}
	return out
}

// text is the whole message as plain text.
func (m *Message) text() string { return strings.Join(m.Lines(), "\n\n") }
