package console

import (
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
)

// choice is one of a list in a form.
type choice struct {
	Value, Text string
	Chosen      bool
}

// choices marks the chosen one of pairs of a value and its text.
func choices(chosen string, pairs ...string) []choice {
	var out []choice
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, choice{pairs[i], pairs[i+1], pairs[i] == chosen})
	}
	return out
}

// services are those of the plan, as a list in a form.
func (c *Console) services(chosen string) []choice {
	pairs := []string{"", "every service"}
	if p := c.config.Plan(); p != nil {
		for i := range p.Services {
			pairs = append(pairs, string(p.Services[i].Name), string(p.Services[i].Name))
		}
	}
	return choices(chosen, pairs...)
}

// tracesData is what the list of traces shows.
type tracesData struct {
	Services, Which, Slower []choice
	All                     []watch.Summary
	Filtered                bool
}

func (c *Console) tracesPage(v *visit) (view, error) {
	q := v.URL.Query()
	ask := watch.TraceQuery{Service: q.Get("service"), Refused: q.Get("which") == "refused", Failed: q.Get("which") == "failed", Limit: 100}
	if s := q.Get("slower"); s != "" {
		var err error
		if ask.Slower, err = time.ParseDuration(s); err != nil {
			return view{}, fault.New(fault.Invalid, "slower is a duration, such as 500ms")
		}
	}
	d := tracesData{
		Services: c.services(q.Get("service")), Which: choices(q.Get("which"), "", "all that were kept", "refused", "refused", "failed", "failed"),
		Slower:   choices(q.Get("slower"), "", "however long", "100ms", "100 ms or longer", "500ms", "0.5 s or longer", "1s", "1 s or longer", "5s", "5 s or longer"),
		Filtered: ask.Service != "" || ask.Refused || ask.Failed || ask.Slower > 0,
	}
	var err error
	d.All, err = c.config.Kept.Traces(ask)
	return view{Page: "traces", Title: "Traces", Here: "traces", Topic: "traces", Data: d}, err
}

// bar is one span of a waterfall.
type bar struct {
	telemetry.SpanRecord
	Depth       int
	From, Width string // of the whole, in per cent
	Offset      time.Duration
	Failed      bool
}

// traceData is what the page of a trace shows.
type traceData struct {
	ID    string
	Start time.Time
	Took  time.Duration
	Bars  []bar
	Apps  []bar // what services say of themselves
	Steps []string
}

func (c *Console) tracePage(v *visit) (view, error) {
	var id telemetry.TraceID
	if b, err := hex.DecodeString(v.PathValue("id")); err != nil || len(b) != len(id) {
		return view{}, errNoPage
	} else {
		copy(id[:], b)
	}
	all, err := c.config.Kept.Trace(id)
	if err != nil {
		return view{}, err
	}
	if len(all) == 0 {
		return view{}, fault.New(fault.NotFound, "this trace isn't kept")
	}
	d := waterfall(all)
	d.ID = id.String()
	return view{Page: "trace", Title: "Trace " + d.ID[:8], Here: "traces", Topic: "traces", Data: d}, nil
}

// maxDepth bounds how far a span is set in; whoever makes up parents makes no deeper ones.
const maxDepth = 12

// waterfall puts spans below their parents, in the order of their starts.
func waterfall(all []telemetry.SpanRecord) traceData {
	begin, end := all[0].Start, all[0].Start
	children, known := map[telemetry.SpanID][]int{}, map[telemetry.SpanID]bool{}
	for i := range all {
		begin, end = min(begin, all[i].Start), max(end, all[i].Start+int64(all[i].Took))
		known[all[i].ID] = true
	}
	var roots []int
	for i := range all {
		if s := &all[i]; known[s.Parent] && s.Parent != s.ID {
			children[s.Parent] = append(children[s.Parent], i)
		} else {
			roots = append(roots, i)
		}
	}
	whole := time.Duration(max(end-begin, 1))
	d := traceData{Start: time.Unix(0, begin), Took: whole}
	done := make([]bool, len(all))
	var walk func(i, depth int)
	walk = func(i, depth int) {
		if done[i] {
			return
		}
		done[i] = true
		s := all[i]
		offset := time.Duration(s.Start - begin)
		from := 100 * float64(offset) / float64(whole)
		b := bar{SpanRecord: s, Depth: min(depth, maxDepth), Offset: offset, From: fmt.Sprintf("%.2f", min(from, 99.5)), Width: fmt.Sprintf("%.2f", min(max(100*float64(s.Took)/float64(whole), 0.5), 100-min(from, 99.5)))}
		b.Failed = s.Label.Verdict != telemetry.Allowed || s.Status >= 500
		if s.App != nil {
			b.Failed = s.App.Failed
		}
		d.Bars = append(d.Bars, b)
		if s.App != nil && (len(s.App.Attributes) > 0 || s.App.Message != "") {
			d.Apps = append(d.Apps, b)
		}
		kids := children[s.ID]
		slices.SortStableFunc(kids, func(a, b int) int { return int(min(max(all[a].Start-all[b].Start, -1), 1)) })
		for _, k := range kids {
			walk(k, depth+1)
		}
	}
	for _, i := range roots {
		walk(i, 0)
	}
	for i := range all { // parents in a ring
		walk(i, 0)
	}
	for _, share := range []float64{0, 0.25, 0.5, 0.75, 1} {
		step := "0"
		if share > 0 {
			step = took(time.Duration(share * float64(whole)))
		}
		d.Steps = append(d.Steps, step)
	}
	return d
}

// Indent is how far a bar's name is set in, as a class of the style.
func (b bar) Indent() string { return fmt.Sprintf("in%d", b.Depth) }

// Name is what the span is called.
func (b bar) Name() string {
	if b.App != nil {
		return b.App.Name
	}
	return b.Label.Route
}

// Who is who speaks to whom.
func (b bar) Who() string {
	if b.App != nil {
		return b.App.Service + " itself"
	}
	if b.Label.Caller == plan.Outside {
		return "Internet → " + partyName(b.Label.Target)
	}
	return partyName(b.Label.Caller) + " → " + partyName(b.Label.Target)
}
