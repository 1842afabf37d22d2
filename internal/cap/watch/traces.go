package watch

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch/internal/spans"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
)

// Limits of traces.
const (
	traceDays   = 3
	traceBytes  = 256 << 20
	maxReported = telemetry.MaxSpans // spans in a report
	spanRate    = 200                // spans that are kept of one process in a second, over time: a flood must not push out the evidence of days
	maxWanted   = 2500               // traces that are of interest at once to one process
	wantedFor   = 20 * time.Second   // so long after the request that made it so, others may still report
	longest     = 31 * 24 * time.Hour
	// Traces that show what a finding is about are kept longer, in a store of their own.
	flaggedDays  = 30
	flaggedBytes = 64 << 20
	maxFlagged   = 5 // of a finding
)

// Summary is a trace in one line.
type Summary = spans.Summary

// TakeSpans takes spans that a process reports, and traces that have become of interest there. It returns all traces that are of interest
// now, so that the whole of each is kept.
func (w *Watch) TakeSpans(role string, all []telemetry.SpanRecord, fresh []telemetry.TraceID) ([]telemetry.TraceID, error) {
	if len(all) > maxReported || len(fresh) > maxReported {
		return nil, fault.New(fault.Exhausted, "too many spans in one report")
	}
	now := w.clock.Now()
	w.mu.Lock()
	known, room := make([]telemetry.SpanRecord, 0, len(all)), w.room(role, now, maxReported, spanRate)
	var apps []telemetry.SpanRecord
	for i := range all {
		if all[i].App != nil {
			if role != "gateway" {
				apps = w.takeApp(apps, all[i], now)
			}
			continue
		}
		if x := all[i]; w.known.hasLabel(&x.Label) && isPlausible(&x, now) && (role != "gateway" || x.Label.Caller == plan.Outside) {
			x.Source = role
			if len(known) >= room {
				w.spansLost++
				continue
			}
			known = append(known, x)
		}
	}
	w.rooms[role] = roomAt{room - len(known), now}
	out := w.want(role, fresh, now)
	w.mu.Unlock()
	w.collectors.spans(slices.Concat(known, apps))
	err := w.apps.keep(now, apps)
	if len(known) > 0 {
		err = errors.Join(err, w.spans.Append(now, known))
	}
	return out, err
}

// roomAt is how many spans a process could report at a time.
type roomAt struct {
	spans int
	at    time.Time
}

// room is how many spans of a process, or a service, may be kept now: most at once, and what its rate a second gives back. It needs mu.
func (w *Watch) room(of string, now time.Time, most, rate int) int {
	r, known := w.rooms[of]
	if !known {
		return most
	}
	return min(most, r.spans+int(min(now.Sub(r.at), time.Hour).Seconds()*float64(rate)))
}

// want notes which traces have become of interest to a process, and returns all that are. It needs mu.
func (w *Watch) want(role string, fresh []telemetry.TraceID, now time.Time) []telemetry.TraceID {
	mine := w.wanted[role]
	if mine == nil {
		mine = map[telemetry.TraceID]time.Time{}
		w.wanted[role] = mine
	}
	var out []telemetry.TraceID
	for _, of := range w.wanted {
		for id, until := range of {
			if now.After(until) {
				delete(of, id)
			}
		}
	}
	for _, id := range fresh {
		if len(mine) < maxWanted {
			mine[id] = now.Add(wantedFor)
		}
	}
	for _, of := range w.wanted {
		for id := range of {
			out = append(out, id)
		}
	}
	return out
}

// seek makes a trace of interest to all processes: of what was let pass, few are otherwise.
func (w *Watch) seek(id telemetry.TraceID, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.want("findings", []telemetry.TraceID{id}, now)
}

// isPlausible tells whether a span can have ended by now: who reads traces reckons with its times.
func isPlausible(x *telemetry.SpanRecord, now time.Time) bool {
	start := time.Unix(0, x.Start)
	return x.Took >= 0 && x.Took <= longest && now.Sub(start) <= 2*longest && !start.Add(x.Took).After(now.Add(time.Minute))
}

// TraceQuery narrows what is asked of traces; its zero value asks for all.
type TraceQuery struct {
	Service string        // caller or target of a span
	Refused bool          // a span was refused
	Failed  bool          // a span failed, or was answered 5xx
	Slower  time.Duration // a span took at least as long
	Limit   int           // 50 for 0
}

// Traces returns the newest traces that are kept, newest first.
func (w *Watch) Traces(q TraceQuery) ([]Summary, error) {
	if q.Limit == 0 {
		q.Limit = 50
	}
	return w.spans.Recent(q.Limit, func(r *telemetry.SpanRecord) bool {
		return (q.Service == "" || r.Label.Caller == q.Service || r.Label.Target == q.Service) && r.Took >= q.Slower &&
			(!q.Refused || r.Label.Verdict == telemetry.Denied || r.Label.Verdict == telemetry.Limited) &&
			(!q.Failed || r.Label.Verdict == telemetry.Failed || r.Status >= 500)
	})
}

// Spans is how many spans of Ward's hops were kept since the start: another number means that there are others.
func (w *Watch) Spans() uint64 { return w.spans.Kept() }

// flag keeps a trace for a month, and tells whether it did: one that has come, and in which a service took part ("": the outside). Who names a
// trace may lie about it.
func (w *Watch) flag(id telemetry.TraceID, service string, now time.Time) (bool, error) {
	all, err := w.flagged.Trace(id)
	kept := len(all) > 0 // for another finding
	if err == nil && !kept {
		all, err = w.Trace(id)
	}
	if err != nil {
		if fault.KindOf(err) == fault.NotFound {
			err = nil
		}
		return false, err
	}
	if service == "" {
		service = plan.Outside
	}
	about := func(r telemetry.SpanRecord) bool {
		return r.App == nil && (r.Label.Caller == service || r.Label.Target == service)
	}
	if !slices.ContainsFunc(all, about) {
		return false, nil
	}
	if kept {
		return true, nil
	}
	return true, w.flagged.Append(now, all)
}

// Trace returns a trace's spans in the order of their starts: Ward's hops, and what the services that took part say of themselves;
// fault.NotFound if it isn't kept.
func (w *Watch) Trace(id telemetry.TraceID) ([]telemetry.SpanRecord, error) {
	hops, err := w.spans.Trace(id)
	if err != nil {
		return nil, err
	}
	if len(hops) == 0 {
		if hops, err = w.flagged.Trace(id); err != nil || len(hops) > 0 {
			return hops, err
		}
		return nil, fault.New(fault.NotFound, "no such trace is kept: of what was refused, failed or slow all are, for three days, and of the rest one in a thousand")
	}
	apps, err := w.apps.trace(id, hops)
	all := append(hops, apps...)
	slices.SortStableFunc(all, func(a, b telemetry.SpanRecord) int { return cmp.Compare(a.Start, b.Start) })
	return all, err
}
