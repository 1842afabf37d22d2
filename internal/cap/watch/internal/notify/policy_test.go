package notify

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/watch/internal/inbox"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
)

// simulation is a Policy in hours that pass at once.
type simulation struct {
	policy *Policy
	now    time.Time
	open   []inbox.Finding
	said   []Message
}

func simulate(t *testing.T, n model.Notify) *simulation {
	t.Helper()
	terms, err := termsOf("shop", &n)
	if err != nil {
		t.Fatal(err)
	}
	return &simulation{policy: NewPolicy(terms, nil), now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
}

// find opens a finding.
func (s *simulation) find(rule, service string, severity finding.Severity) *inbox.Finding {
	id := int64(len(s.open) + 1)
	s.open = append(s.open, inbox.Finding{ID: id, Rule: rule, Severity: severity, Subject: service, Opened: s.now, Last: s.now, Count: 1, Body: inbox.Body{What: fmt.Sprintf("%s %d", rule, id), Service: service}})
	return &s.open[id-1]
}

// pass looks every second, or over hours every ten, and calls each after each minute.
func (s *simulation) pass(d time.Duration, each func(minute int)) {
	every := time.Second
	if d > 10*time.Minute {
		every = 10 * time.Second
	}
	for past := every; past <= d; past += every {
		s.now = s.now.Add(every)
		if each != nil && past%time.Minute == 0 {
			each(int(past/time.Minute) - 1)
		}
		out, _ := s.policy.Step(s.open, s.now)
		s.said = append(s.said, out...)
	}
}

// titles are what was said since the last call.
func (s *simulation) titles() []string {
	out := []string{}
	for i := range s.said {
		out = append(out, s.said[i].Title())
	}
	s.said = nil
	return out
}

func TestANoisyDayIsAFewMessages(t *testing.T) {
	for name, tt := range map[string]struct {
		noise       func(s *simulation, minute int)
		least, most int
	}{
		"one finding that goes on": {func(s *simulation, _ int) { s.open[0].Count += 50 }, 6, 7},
		"one that doesn't":         {func(*simulation, int) {}, 1, 1},
		"a new one every minute, which makes messages rarer": {func(s *simulation, m int) {
			if m < 1400 {
				s.find("undeclared-host", "web", finding.High)
			}
		}, 20, 40},
		"one every two minutes": {func(s *simulation, m int) {
			if m%2 == 0 {
				s.find("undeclared-host", "web", finding.High)
			}
		}, 20, 40},
		"one whenever it was quiet for half an hour": {func(s *simulation, m int) {
			if m%31 == 0 {
				s.find("undeclared-host", "web", finding.High)
			}
		}, 20, 40},
		"some at once, every two hours": {func(s *simulation, m int) {
			if m%120 < 10 {
				s.find("undeclared-host", "web", finding.High)
			}
		}, 12, 70},
	} {
		t.Run(name, func(t *testing.T) {
			s := simulate(t, model.Notify{To: "slack"})
			s.find("undeclared-host", "web", finding.High)
			s.pass(24*time.Hour, func(m int) { tt.noise(s, m) })
			if n := len(s.said); n < tt.least || n > tt.most {
				t.Errorf("%d messages in a day:\n%s", n, strings.Join(s.titles(), "\n"))
			}
		})
	}
}

func TestABurstIsOneMessage(t *testing.T) {
	s := simulate(t, model.Notify{To: "slack"})
	for range 6 {
		s.find("undeclared-host", "web", finding.High)
	}
	s.pass(time.Second, nil)
	s.find("undeclared-host", "web", finding.High)
	s.pass(3*time.Second, nil)
	if d := cmp.Diff([]string{"HIGH in shop: 7 findings: A way out that nobody declared"}, s.titles()); d != "" {
		t.Error(d)
	}
	s.find("undeclared-host", "web", finding.High)
	s.pass(10*time.Second, nil)
	s.find("undeclared-host", "web", finding.High)
	s.pass(10*time.Second, nil)
	if all := s.titles(); len(all) != 0 {
		t.Errorf("within 30 s of the first: %v", all)
	}
	s.pass(15*time.Second, nil)
	if d := cmp.Diff([]string{"HIGH in shop: 2 findings: A way out that nobody declared"}, s.titles()); d != "" {
		t.Error(d)
	}
}

func TestTheFirstOfARuleIsToldAtOnce(t *testing.T) {
	s := simulate(t, model.Notify{To: "slack"})
	s.find("canary", "web", finding.Critical)
	s.pass(3*time.Second, nil)
	if d := cmp.Diff([]string{"CRITICAL in shop: canary 1"}, s.titles()); d != "" {
		t.Error(d)
	}
}

// TestACriticalOneWaitsForNoNoise: who makes much of one kind of noise makes its messages rare, and then sets off what matters.
func TestACriticalOneWaitsForNoNoise(t *testing.T) {
	s := simulate(t, model.Notify{To: "slack"})
	noise := func(int) { s.find("disk-budget", "", finding.High) }
	s.pass(6*time.Hour, noise)
	for range 12 { // until it is rare
		s.titles()
		s.pass(10*time.Minute, noise)
		if len(s.said) == 0 {
			break
		}
	}
	s.find("disk-budget", "", finding.Critical)
	s.pass(35*time.Second, nil)
	if all := s.titles(); len(all) != 1 || !strings.HasPrefix(all[0], "CRITICAL") {
		t.Errorf("%v", all)
	}
}

func TestWhatIsTold(t *testing.T) {
	for name, tt := range map[string]struct {
		notify   model.Notify
		severity finding.Severity
		change   func(*inbox.Finding)
		hour     int
		want     int
	}{
		"high by default":                   {model.Notify{}, finding.High, nil, 12, 1},
		"medium isn't, by default":          {model.Notify{}, finding.Medium, nil, 12, 0},
		"medium where it is asked for":      {model.Notify{Least: "medium"}, finding.Medium, nil, 12, 1},
		"high where critical is asked for":  {model.Notify{Least: "critical"}, finding.High, nil, 12, 0},
		"silenced":                          {model.Notify{}, finding.Critical, func(f *inbox.Finding) { f.Silenced = time.Now() }, 12, 0},
		"high in quiet hours":               {model.Notify{Quiet: "22:00-07:00"}, finding.High, nil, 23, 0},
		"high in quiet hours, in the night": {model.Notify{Quiet: "22:00-07:00"}, finding.High, nil, 3, 0},
		"critical in quiet hours":           {model.Notify{Quiet: "22:00-07:00"}, finding.Critical, nil, 3, 1},
		"high before quiet hours":           {model.Notify{Quiet: "22:00-07:00"}, finding.High, nil, 21, 1},
		"high after quiet hours":            {model.Notify{Quiet: "22:00-07:00"}, finding.High, nil, 7, 1},
		"high in quiet hours of the day":    {model.Notify{Quiet: "09:00-17:00"}, finding.High, nil, 12, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := simulate(t, tt.notify)
			s.now = time.Date(2026, 11, 22, tt.hour, 0, 0, 0, time.FixedZone("", 0))
			f := s.find("undeclared-host", "web", tt.severity)
			if tt.change != nil {
				tt.change(f)
			}
			s.pass(time.Minute, nil)
			if len(s.said) != tt.want {
				t.Errorf("%v", s.titles())
			}
		})
	}
}

func TestWhatQuietHoursHeldBackIsToldThen(t *testing.T) {
	s := simulate(t, model.Notify{Quiet: "12:00-14:00"})
	s.pass(90*time.Minute, func(m int) {
		if m < 3 {
			s.find("undeclared-host", "web", finding.High)
		}
	})
	if all := s.titles(); len(all) != 0 {
		t.Error(all)
	}
	s.pass(time.Hour, nil)
	if d := cmp.Diff([]string{"HIGH in shop: 3 findings: A way out that nobody declared"}, s.titles()); d != "" {
		t.Error(d)
	}
}

func TestACriticalFindingHoldsBackLowerOnesOfItsService(t *testing.T) {
	s := simulate(t, model.Notify{To: "slack"})
	s.find("canary", "web", finding.Critical)
	s.pass(5*time.Second, nil)
	s.titles()
	s.find("undeclared-host", "web", finding.High)
	s.find("leak", "catalog", finding.High)
	s.pass(10*time.Second, nil)
	if len(s.said) != 1 || s.said[0].Items[0].Subject != "catalog" || len(s.said[0].Also) != 1 || s.said[0].Also[0].Rule != "undeclared-host" {
		t.Fatalf("%+v", s.said)
	}
	s.pass(10*time.Hour, nil)
	if s.titles(); len(s.policy.told) != 3 {
		t.Errorf("%+v", s.policy.told)
	}
	s.find("undeclared-name", "web", finding.High) // the critical one was told hours ago: nothing is held back for good
	s.pass(10*time.Second, nil)
	if all := s.titles(); len(all) != 1 {
		t.Error(all)
	}
}

func TestASilencedFindingHoldsBackNone(t *testing.T) {
	s := simulate(t, model.Notify{To: "slack"})
	s.find("canary", "web", finding.Critical).Silenced = s.now.Add(time.Hour)
	s.find("undeclared-host", "web", finding.High)
	s.pass(5*time.Second, nil)
	if d := cmp.Diff([]string{"HIGH in shop: undeclared-host 2"}, s.titles()); d != "" {
		t.Error(d)
	}
}

func TestWhatIsHeldBackIsToldLater(t *testing.T) {
	s := simulate(t, model.Notify{To: "slack"})
	s.find("canary", "web", finding.Critical)
	s.pass(5*time.Second, nil)
	s.titles()
	s.find("undeclared-host", "web", finding.High)
	s.pass(3*time.Hour, nil)
	if all := s.titles(); len(all) != 0 {
		t.Error(all)
	}
	s.pass(2*time.Hour, nil)
	if d := cmp.Diff([]string{"HIGH in shop: undeclared-host 2"}, s.titles()); d != "" {
		t.Error(d)
	}
}

func TestAWorseFindingIsToldAgain(t *testing.T) {
	s := simulate(t, model.Notify{To: "slack"})
	f := s.find("disk-budget", "", finding.High)
	s.pass(time.Minute, nil)
	f.Severity = finding.Critical
	s.pass(time.Minute, nil)
	if d := cmp.Diff([]string{"HIGH in shop: disk-budget 1", "CRITICAL in shop: disk-budget 1"}, s.titles()); d != "" {
		t.Error(d)
	}
}

func TestClosingResolvesWhatWasOpenedThereAlone(t *testing.T) {
	for to, want := range map[string]int{"pagerduty": 1, "slack": 0, "webhook": 0, "teams": 0, "ntfy": 0, "mail": 0} {
		s := simulate(t, model.Notify{To: to})
		for range 2 {
			s.find("undeclared-host", "web", finding.High)
		}
		s.pass(5*time.Second, nil)
		if len(s.said) != 1 {
			t.Fatalf("%+v", s.said)
		}
		key := s.said[0].Key
		s.titles()
		s.open = s.open[:1]
		s.pass(5*time.Second, nil)
		if all := s.titles(); len(all) != 0 {
			t.Errorf("%s: one of the two is still open: %v", to, all)
		}
		s.open = nil
		s.pass(5*time.Second, nil)
		if len(s.said) != want || want == 1 && (s.said[0].Kind != Resolved || s.said[0].Key != key || key == "") {
			t.Errorf("%s: %+v", to, s.said)
		}
	}
}

// TestARestartForgetsNothing goes on with what was told.
func TestARestartForgetsNothing(t *testing.T) {
	s := simulate(t, model.Notify{To: "pagerduty"})
	s.find("undeclared-host", "web", finding.High)
	s.pass(time.Minute, nil)
	key := s.said[0].Key
	s.titles()
	s.policy = NewPolicy(s.policy.terms, s.policy.told)
	s.pass(time.Hour, nil)
	if all := s.titles(); len(all) != 0 {
		t.Error(all)
	}
	s.open[0].Count++
	s.pass(4*time.Hour, nil)
	if len(s.said) != 1 || s.said[0].Key != key {
		t.Errorf("%+v", s.said)
	}
}

func TestALongMessageIsBounded(t *testing.T) {
	s := simulate(t, model.Notify{To: "slack"})
	for range 2000 {
		s.find("undeclared-host", "web", finding.High).What = strings.Repeat("ü", 500)
	}
	s.pass(5*time.Second, nil)
	if len(s.said) != 1 || s.said[0].Count != 2000 || len(s.said[0].Items) != maxItems || len(s.said[0].text()) > 8000 || !strings.Contains(s.said[0].text(), "and 1990 more") {
		t.Errorf("%d %d bytes", len(s.said), len(s.said[0].text()))
	}
}

func TestStrangersMakeNoLinks(t *testing.T) {
	if got := harmless("GET /x?next=https://evil.example\n\nlog in at www.evil.example", 500); strings.Contains(got, "://") || strings.Contains(got, "www.") || strings.Contains(got, "\n") {
		t.Error(got)
	}
	for most := 4; most < 20; most++ {
		if got := clip("äöüäöüäöüäöüäöü", most); len(got) > most || strings.ToValidUTF8(got, "?") != got {
			t.Errorf("%d: %q", most, got)
		}
	}
}
