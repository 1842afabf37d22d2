package exposition

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// Own is how Ward itself does.
type Own struct {
	Findings map[string]int           // open and not silenced, by severity
	Answers  map[string]int           // in force, by kind
	Ages     map[string]time.Duration // since a part of Ward last reported
	Queues   []Queue                  // control's; those of others are in their snapshots
	// What was lost since Start.
	Lines, Calls, Notifications uint64
}

// Queue is how much waits somewhere.
type Queue struct {
	Name   string
	Length int64
}

// Family is a metric in words that text and OTLP share.
type Family struct {
	Name       string // without _total
	Counter    bool
	Unit, Help string // OTLP's unit (UCUM)
	Points     []Point
}

// Point is one value; labels are names and values in turn.
type Point struct {
	Labels []string
	Value  int64
}

// Families are what a state tells of Ward itself.
func (s *State) Families() []Family {
	by := func(label string, of map[string]int) (out []Point) {
		for _, name := range slices.Sorted(maps.Keys(of)) {
			out = append(out, Point{[]string{label, name}, int64(of[name])})
		}
		return out
	}
	var ages, queues []Point
	for _, source := range slices.Sorted(maps.Keys(s.Own.Ages)) {
		ages = append(ages, Point{[]string{"source", source}, int64(s.Own.Ages[source] / time.Second)})
	}
	queue := func(source, name string, n int64) {
		queues = append(queues, Point{[]string{"source", source, "queue", name}, n})
	}
	for i := range s.Snapshots {
		for _, q := range s.Snapshots[i].Queues {
			queue(s.Snapshots[i].Source, q.Name, q.Length)
		}
	}
	for _, q := range s.Own.Queues {
		queue("control", q.Name, q.Length)
	}
	one := func(n uint64) []Point { return []Point{{Value: int64(n)}} }
	return []Family{
		{"ward_findings_open", false, "{finding}", "Findings that are open and not silenced.", by("severity", s.Own.Findings)},
		{"ward_answers", false, "{answer}", "Answers to attacks that are in force.", by("kind", s.Own.Answers)},
		{"ward_report_age_seconds", false, "s", "How long ago a part of Ward last reported.", ages},
		{"ward_queue_length", false, "{item}", "What waits: the most requests that a ring has held since the report before, denials in a spool, groups of allowed calls, notifications, and what goes to collectors.", queues},
		{"ward_log_lines_lost", true, "{line}", "Lines of services for which there was no room.", one(s.Own.Lines)},
		{"ward_ledger_dropped", true, "{record}", "Allowed calls that weren't kept in the ledger.", one(s.Own.Calls)},
		{"ward_notifications_given_up", true, "{message}", "Notifications that nobody took within a day, or that were refused.", one(s.Own.Notifications)},
	}
}

func (p *page) own(all []Family) {
	for i := range all {
		f, name, kind := &all[i], all[i].Name, "gauge"
		if f.Counter {
			name, kind = name+"_total", "counter"
		}
		p.family(name, kind, "", f.Help)
		for _, x := range f.Points {
			p.sample(name, x.Labels, strconv.FormatInt(x.Value, 10))
		}
	}
}
