package prove

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/prove/escape"
)

// Prober runs a probe inside a service's sandbox.
type Prober interface {
	Probe(ctx context.Context, service string, job Job) (Findings, error)
}

// Config says whom to attack, and from where.
type Config struct {
	Plan  *plan.Plan
	Today string // YYYY-MM-DD
	// Inside are the services that are attacked from, as if taken over; nil for none.
	Inside []string
	// Outside attacks through the gateway.
	Outside bool
	Prober  Prober
	// Ground is what a service's probe aims at on this host; nil leaves the attempts to escape out.
	Ground func(service string) *escape.Ground
	// ReadOnly leaves granted calls out that might change data.
	ReadOnly bool
}

// Report is what an attack found.
type Report struct {
	App         string       `json:"app"`
	Seconds     float64      `json:"seconds"`
	Attackers   []Attacker   `json:"attackers"`
	Differences []Difference `json:"differences"`
	// Tried is how many attempts of each kind were made.
	Tried map[Tried]int `json:"-"`
}

// Tried is a kind of attempt, from outside or from within.
type Tried struct {
	Outside bool
	Kind    string
}

// Attacker is the sum of what one attacker tried. Attempts is Reached plus Refused plus
// Escapes and what could not be tried.
type Attacker struct {
	Name        string `json:"name"`
	Attempts    int    `json:"attempts"`
	Granted     int    `json:"granted"` // calls that the plan grants
	Reached     int    `json:"reached"` // calls that got through
	Refused     int    `json:"refused"`
	Escapes     int    `json:"escapes"` // attempts to escape that were made
	Skipped     int    `json:"skipped"` // granted, but harmful to try
	Differences int    `json:"differences"`
	Error       string `json:"error,omitempty"` // the probe came to nothing
	kinds       map[string]int
}

// Difference is where reality isn't the plan.
type Difference struct {
	Attacker string `json:"attacker"`
	Target   string `json:"target"`
	Kind     string `json:"kind"`
	Request  string `json:"request"`
	Expected string `json:"expected"`
	Line     int    `json:"line,omitempty"` // of ward.yaml, if a rule grants it
	Happened string `json:"happened"`
}

// atOnceInside is how many sandboxes are attacked at a time.
const atOnceInside = 3

// Attack makes every attempt and compares. The error is about the plan; what goes wrong on the way is in the
// report, as a difference.
func Attack(ctx context.Context, c Config) (*Report, error) {
	began := time.Now()
	set, err := policy.Compile(c.Plan, c.Today)
	if err != nil {
		return nil, fmt.Errorf("compile plan: %w", err)
	}
	names := slices.Clone(c.Inside)
	if c.Outside {
		names = append([]string{plan.Outside}, names...)
	}
	r := &Report{App: c.Plan.App, Attackers: make([]Attacker, len(names)), Differences: []Difference{}}
	differences := make([][]Difference, len(names))
	turn := make(chan struct{}, atOnceInside)
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			turn <- struct{}{}
			r.Attackers[i], differences[i] = c.attackFrom(ctx, set, name)
			<-turn
		})
	}
	wg.Wait()
	r.Differences = append(r.Differences, slices.Concat(differences...)...)
	r.Tried = map[Tried]int{}
	for i := range r.Attackers {
		for kind, n := range r.Attackers[i].kinds {
			r.Tried[Tried{r.Attackers[i].Name == plan.Outside, kind}] += n
		}
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

func (c *Config) attackFrom(ctx context.Context, set *policy.Set, name string) (Attacker, []Difference) {
	a := Attacker{Name: name}
	attempts, skipped := Attempts(c.Plan, set, name, c.ReadOnly)
	a.Skipped = skipped
	job := Job{}
	for i := range attempts {
		job.Calls = append(job.Calls, attempts[i].Call)
	}
	var found Findings
	var err error
	if name == plan.Outside {
		found.Answers = Perform(job.Calls)
	} else {
		if c.Ground != nil {
			job.Ground = c.Ground(name)
		}
		found, err = c.Prober.Probe(ctx, name, job)
	}
	if err == nil && len(found.Answers) != len(attempts) {
		err = fmt.Errorf("%d answers came to %d calls", len(found.Answers), len(attempts))
	}
	if err != nil {
		a.Error, a.Differences = err.Error(), 1
		return a, []Difference{{Attacker: name, Target: "its sandbox", Kind: "probe", Request: "probe", Expected: "a probe in the sandbox of " + name, Happened: err.Error()}}
	}
	return a.compare(attempts, &found)
}

// compare is the heart: reached if and only if granted, and no way out.
func (a Attacker) compare(attempts []Attempt, found *Findings) (Attacker, []Difference) {
	var out []Difference
	a.kinds = map[string]int{}
	for i := range attempts {
		a.kinds[attempts[i].Kind]++
		t, got := &attempts[i], found.Answers[i]
		through := got.Outcome.Through()
		a.Attempts++
		if t.Granted {
			a.Granted++
		}
		if through {
			a.Reached++
		} else {
			a.Refused++
		}
		if through != t.Granted || got.Outcome == OutcomeUnknown {
			out = append(out, t.difference(got))
		}
	}
	for _, e := range found.Escapes {
		if e.Verdict == escape.NotApplicable {
			continue
		}
		a.Attempts++
		a.Escapes++
		a.kinds[e.Kind]++
		if e.Verdict != escape.Blocked {
			out = append(out, Difference{
				Attacker: a.Name, Target: "the host", Kind: e.Kind, Request: e.Name + ": " + e.Tries,
				Expected: "stopped by " + e.Guard, Happened: e.How,
			})
		}
	}
	a.Differences = len(out)
	return a, out
}

func (t *Attempt) difference(got Answer) Difference {
	d := Difference{Attacker: t.Attacker, Target: t.Target, Kind: t.Kind, Request: t.Call.String(), Line: t.Line, Expected: "refused: " + t.Why}
	if t.Granted {
		d.Expected = "reached"
	}
	d.Happened = got.Outcome.String()
	if got.Detail != "" {
		d.Happened += ": " + got.Detail
	}
	if got.Denial != "" {
		d.Happened += " (" + got.Denial + ")"
	}
	return d
}

// String is the call in one line.
func (c *Call) String() string {
	s := c.Protocol + " " + c.Address
	if c.Method != "" {
		s = c.Method + " " + c.Target + " at " + c.Address
		if c.Protocol != "http" {
			s = c.Protocol + " " + s
		}
	}
	if c.Host != "" && c.Host != c.Address {
		s += fmt.Sprintf(", Host %q", c.Host)
	}
	for _, h := range c.Header {
		s += fmt.Sprintf(", %q", h)
	}
	return s
}
