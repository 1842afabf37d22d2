package console

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/wire"
)

// maxNote bounds what people write, in bytes.
const maxNote = 1000

// findingsData is what the inbox shows.
type findingsData struct {
	Closed   bool
	Blocks   []life // of a client's answer
	All      []watch.Finding
	Answers  []wire.Restriction
	Silences []watch.Silence
	Loud     int // that nobody silenced
}

func (c *Console) findingsPage(v *visit) (view, error) {
	d := findingsData{Closed: v.URL.Query().Get("show") == "closed", Blocks: blockLives(), Silences: c.config.Standing.Silences()}
	var err error
	if d.All, err = c.config.Inbox.List(v.Context(), watch.FindingQuery{Closed: d.Closed}); err != nil {
		return view{}, err
	}
	for i := range d.All {
		if d.All[i].Silenced.IsZero() {
			d.Loud++
		}
	}
	standing, _ := c.config.Standing.Restrictions()
	d.Answers = standing.All
	return view{Page: "findings", Title: "Findings", Here: "findings", Topic: "findings", Data: d}, nil
}

// findingData is what the page of one shows.
type findingData struct {
	watch.FindingReport
	Clients []string // of the evidence, that may be blocked
	Lives   []life   // of a silence
	Blocks  []life   // of a client's answer
	Who     *person  // that it is about; nil for nobody, or for several
	Guards  bool     // only administrators silence it
	Strong  bool     // a strong act is possible now
}

// life is how long something may last.
type life struct{ Value, Text string }

// lives are what a silence may last, the longer ones for who acts strongly.
func lives(strong bool) []life {
	out := []life{{"1h", "an hour"}, {"24h", "a day"}}
	if strong {
		out = append(out, life{"168h", "a week"}, life{"720h", "30 days"})
	}
	return out
}

// blockLives are what a client may be closed out for; the first is twice as long as the last time.
func blockLives() []life {
	return append([]life{{"", "as usual"}, {"10m", "ten minutes"}}, lives(true)...)
}

// several is the subject of findings about more than one person.
const several = "people"

// shortSilence is how long an operator may silence a finding.
const shortSilence = 24 * time.Hour

// guards are the rules that watch over Ward itself, and over those who have come in: their silence would hide an intruder.
func guards(rule string) bool { return rule == "canary" || rule == "bypass" || rule == "ledger-gap" }

// isStrong tells whether a silence is for administrators: it takes more away than what one finding is about, or for longer than a day, or of a rule
// that guards.
func isStrong(s *watch.Silence, now time.Time) bool {
	return s.Subject == "" || s.Until.Sub(now) > shortSilence || guards(s.Rule)
}

func (c *Console) findingPage(v *visit) (view, error) {
	id, err := idOf(v)
	if err != nil {
		return view{}, err
	}
	r, err := c.config.Report(v.Context(), id)
	if err != nil {
		return view{}, err
	}
	d := findingData{FindingReport: r, Guards: guards(r.Rule) || r.Subject == "", Strong: v.mayStrongly() == nil}
	d.Lives, d.Blocks = lives(d.Strong), blockLives()
	if r.Person != "" && r.Subject != several {
		var p person
		if c.people(v.Context(), http.MethodGet, "/v1/users/"+url.PathEscape(r.Person), &p) == nil { // who is gone has no sessions
			d.Who = &p
		}
	}
	for _, e := range r.Evidence {
		if e.Client != "" && !slices.Contains(d.Clients, e.Client) {
			d.Clients = append(d.Clients, e.Client)
		}
	}
	return view{Page: "finding", Title: r.Title, Here: "findings", Topic: "findings", Data: d}, nil
}

// findingLink is the page of a finding.
func findingLink(id int64) string { return "/findings/" + strconv.FormatInt(id, 10) }

func idOf(v *visit) (int64, error) {
	id, err := strconv.ParseInt(v.PathValue("id"), 10, 64)
	if err != nil {
		return 0, errNoPage
	}
	return id, nil
}

// text is what somebody wrote in a form.
func text(v *visit, name string) (string, error) {
	s := strings.TrimSpace(v.PostForm.Get(name))
	if len(s) > maxNote {
		return "", fault.New(fault.Invalid, fmt.Sprintf("%s has at most %d bytes", name, maxNote))
	}
	return s, nil
}

func (c *Console) closeFinding(v *visit) (to, done string, err error) {
	id, err := idOf(v)
	if err != nil {
		return "", "", err
	}
	note, err := text(v, "note")
	if err != nil {
		return "", "", err
	}
	_, err = c.config.Inbox.Close(v.Context(), id, v.Session.Name, note)
	return "/findings", "closed", err
}

func (c *Console) silenceFinding(v *visit) (to, done string, err error) {
	id, err := idOf(v)
	if err != nil {
		return "", "", err
	}
	reason, err := text(v, "reason")
	if err != nil {
		return "", "", err
	}
	last, err := time.ParseDuration(v.PostForm.Get("for"))
	if err != nil || last < time.Minute || reason == "" {
		return "", "", fault.New(fault.Invalid, "a silence has a reason, and lasts a minute at least")
	}
	f, err := c.config.Report(v.Context(), id)
	if err != nil {
		return "", "", err
	}
	s := watch.Silence{Rule: f.Rule, Subject: f.Subject, Object: f.Object, Until: v.Now.Add(last), Reason: reason, By: v.Session.Name}
	if v.PostForm.Get("whole") != "" {
		s.Subject, s.Object = "", ""
	}
	if isStrong(&s, v.Now) {
		if err := v.mayStrongly(); err != nil {
			return "", "", err
		}
	}
	_, err = c.config.Inbox.Silence(v.Context(), s)
	return "/findings", "silenced", err
}

func (c *Console) endSilence(v *visit) (to, done string, err error) {
	id, err := idOf(v)
	if err != nil {
		return "", "", err
	}
	return "/findings", "heard", c.config.Inbox.EndSilence(v.Context(), id, v.Session.Name)
}

// block closes a client out, or slows it down. One that is spared needs a second step, by who may act strongly.
func (c *Console) block(v *visit) (to, done string, err error) {
	r, word := wire.Restriction{Slow: v.PostForm.Get("slow") != "", Sure: v.PostForm.Get("sure") != ""}, "blocked"
	if r.Slow {
		word = "slowed"
	}
	if r.Client, err = clientOf(v.PostForm.Get("client")); err != nil {
		return "", "", err
	}
	if s := v.PostForm.Get("for"); s != "" {
		last, err := time.ParseDuration(s)
		if err != nil {
			return "", "", fault.New(fault.Invalid, "an answer lasts a time such as 24h")
		}
		r.Until = v.Now.Add(last)
	}
	if r.Sure {
		if err := v.mayStrongly(); err != nil {
			return "", "", err
		}
	}
	return c.restrict(v, r, word)
}

// clientOf reads an address or a network; in IPv6 an address stands for its /64, as the gateway tells clients apart.
func clientOf(s string) (netip.Prefix, error) {
	if n, err := netip.ParsePrefix(s); err == nil {
		return n, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fault.New(fault.Invalid, "a client is an address, or a network such as 203.0.113.0/24")
	}
	if a = a.Unmap(); a.Is6() {
		return a.Prefix(64)
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// quarantine cuts a service off.
func (c *Console) quarantine(v *visit) (to, done string, err error) {
	return c.restrict(v, wire.Restriction{Service: v.PostForm.Get("service")}, "quarantined")
}

func (c *Console) restrict(v *visit, r wire.Restriction, word string) (to, done string, err error) {
	if r.Reason, err = text(v, "reason"); err != nil {
		return "", "", err
	}
	if r.Reason == "" {
		return "", "", fault.New(fault.Invalid, "say why")
	}
	r.By = v.Session.Name
	to = "/findings"
	if id, err := strconv.ParseInt(v.PostForm.Get("finding"), 10, 64); err == nil {
		r.Finding, to = id, findingLink(id)
	} else if r.Service != "" {
		to = partyLink(r.Service)
	}
	_, err = c.config.Inbox.Restrict(v.Context(), r)
	return to, word, err
}

func (c *Console) lift(v *visit) (to, done string, err error) {
	all, _ := c.config.Standing.Restrictions()
	for _, r := range all.All {
		if r.ID == v.PathValue("id") && r.Service != "" {
			if err := v.mayStrongly(); err != nil {
				return "", "", err
			}
		}
	}
	to = "/findings"
	if id, err := strconv.ParseInt(v.PostForm.Get("finding"), 10, 64); err == nil {
		to = findingLink(id)
	}
	_, err = c.config.Inbox.Lift(v.Context(), v.PathValue("id"), v.Session.Name)
	return to, "lifted", err
}
