package watch

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/cap/watch/internal/detect"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// Thresholds of what comes without an event.
const (
	mute       = silent + 5*time.Second // of a process that reported before
	skewed     = 10 * time.Second
	fullShare  = 10 // per cent of the disk that are left
	fullBytes  = 5 << 30
	worstShare = 3
	// A service's p99 after it was started anew is compared with the one before over this long: it is slower when it takes slowerTimes as long,
	// and slowerLeast more.
	compareSpan = 30 * time.Minute
	slowerTimes = 2
	slowerLeast = 50 * time.Millisecond
	// What somebody has to renew is said so long before its end, and once an hour is looked.
	endsSoon  = 14 * 24 * time.Hour
	endsNow   = 2 * 24 * time.Hour
	endsEvery = time.Hour
)

// checks is what is looked at every few seconds.
type checks struct {
	started map[string]time.Time // services that were started anew, and aren't compared yet
	sent    map[way]uint64
	ends    map[string]time.Time // certificates that somebody else has issued, by host
	looked  time.Time            // at what ends
	ending  bool                 // that could be read; only the goroutine that checks uses it
	fresh   []freshTrace         // that are still to be kept
}

// freshTrace is a trace that a finding is about, whose spans may not have come yet.
type freshTrace struct {
	finding int64
	trace   telemetry.TraceID
	service string // that it is about, "" for the outside
	at      time.Time
}

// spansCome is how long spans may come after what they tell of; maxFresh bounds those that are waited for.
const (
	spansCome = 3 * time.Second
	maxFresh  = 1000
)

// awaitTrace has the trace of a signal kept, if the signal names one and its finding hasn't enough.
func (f *Findings) awaitTrace(s *detect.Signal, found *Finding) {
	var id telemetry.TraceID
	if s.Trace == "" || id.UnmarshalText([]byte(s.Trace)) != nil || slices.Contains(found.Traces, s.Trace) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	has := len(found.Traces)
	for i := range f.checks.fresh {
		if x := &f.checks.fresh[i]; x.finding == found.ID {
			if has++; x.trace == id {
				return
			}
		}
	}
	if has >= maxFlagged || len(f.checks.fresh) >= maxFresh {
		return
	}
	service := s.Service
	if service == "" && !s.Client.IsValid() {
		service, _, _ = strings.Cut(s.Object, " ")
	}
	now := f.config.Clock.Now()
	f.checks.fresh = append(f.checks.fresh, freshTrace{found.ID, id, service, now})
	f.config.Watch.seek(id, now)
}

// keepTraces keeps the traces of findings for a month.
func (f *Findings) keepTraces(now time.Time) {
	f.mu.Lock()
	var due []freshTrace
	f.checks.fresh = slices.DeleteFunc(f.checks.fresh, func(x freshTrace) bool {
		ripe := now.Sub(x.at) >= spansCome
		if ripe {
			due = append(due, x)
		}
		return ripe
	})
	f.mu.Unlock()
	for _, x := range due {
		kept, err := f.config.Watch.flag(x.trace, x.service, now)
		if err != nil {
			slog.Error("keep traces of a finding", "finding", x.finding, "error", err)
		}
		if kept {
			f.inbox.AddTraces(x.finding, []string{x.trace.String()})
		}
	}
}

// event notes what is compared later.
func (c *checks) event(e *wire.Event) {
	switch {
	case e.Kind == "service.start" && len(c.started) < 1000:
		c.started[e.Object] = e.Time
	case e.Kind == "certificate.in_use":
		if t, err := time.Parse(time.RFC3339, e.Detail["not_after"]); err == nil {
			c.ends = map[string]time.Time{e.Object: t} // there is one gateway
		}
	}
}

// check looks at everything that comes without an event.
func (f *Findings) check(ctx context.Context) []detect.Signal {
	now := f.config.Clock.Now()
	f.keepTraces(now)
	all := f.config.Watch.trouble(now)
	heard := f.config.Watch.alive()
	f.inbox.Looked("silence", heard)
	f.inbox.Looked("clock-skew", heard)
	disk, known := diskTrouble(f.config.Dir, now)
	f.inbox.Looked("disk-budget", known)
	broken, known := f.promises(now)
	f.inbox.Looked("error-budget", known)
	ends, known := f.ending(ctx, now)
	f.inbox.Looked("expiring", known && f.config.Watch.used(now))
	all = slices.Concat(all, disk, f.slower(now), ends, broken)
	f.mu.Lock()
	defer f.mu.Unlock()
	sent := f.config.Watch.sent()
	for of, bytes := range sent {
		if before, known := f.checks.sent[of]; known && bytes > before {
			all = append(all, f.detector.Volume(of.caller, of.target, int64(bytes-before), now)...)
		}
	}
	f.checks.sent = sent
	return all
}

// used tells whether it was reported lately which services run.
func (w *Watch) used(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return now.Sub(w.usedAt) <= silent
}

// trouble is what reports, or their absence, show.
func (w *Watch) trouble(now time.Time) []detect.Signal {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []detect.Signal
	add := func(rule, subject, object, what string) {
		out = append(out, detect.Signal{Rule: rule, Subject: subject, Object: object, What: what, Record: -1, Time: now, Lasts: lasts})
	}
	for _, role := range slices.Sorted(maps.Keys(w.sources)) {
		all := w.sources[role]
		if gap := now.Sub(all[len(all)-1].Time); gap > mute {
			add("silence", role, "", fmt.Sprintf("The %s hasn't reported for %s.", role, gap.Round(time.Second)))
		}
		if off := w.skew[role]; off.Abs() > skewed {
			add("clock-skew", role, "", fmt.Sprintf("The clock of the %s is off by %s.", role, off.Round(time.Second)))
		}
	}
	running := map[string]bool{}
	for i := range w.uses {
		running[w.uses[i].Service] = true
	}
	for _, service := range slices.Sorted(maps.Keys(w.ends)) {
		e := w.ends[service]
		if left := e.end.Sub(now); running[service] && now.Sub(w.usedAt) <= silent && left < e.life/4 {
			add("expiring", service, "certificate", fmt.Sprintf("The certificate of %s ends at %s, and wasn't renewed.", service, e.end.UTC().Format(time.TimeOnly)))
		}
	}
	return out
}

// way is a caller's way to an external, as one run of one process counts it.
type way struct {
	caller, target, source string
	start                  int64
}

// sent is how many bytes went each way to an external since its process began.
func (w *Watch) sent() map[way]uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[way]uint64{}
	for role, all := range w.sources {
		last := &all[len(all)-1]
		for i := range last.Samples {
			if x := &last.Samples[i]; w.externals[x.Target] {
				out[way{x.Caller, x.Target, role, last.Start.UnixNano()}] += x.In
			}
		}
	}
	return out
}

// diskTrouble is said when there is little room left.
func diskTrouble(dir string, now time.Time) (all []detect.Signal, known bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks == 0 {
		return nil, false
	}
	free := int64(st.Bavail) * st.Bsize
	share := int64(st.Bavail) * 100 / int64(st.Blocks)
	if share >= fullShare || free >= fullBytes {
		return nil, true
	}
	s := detect.Signal{Rule: "disk-budget", Subject: "control", Record: -1, Time: now, Lasts: lasts, What: fmt.Sprintf("%d MB are left on the disk of Ward's state, %d %%.", free>>20, share)}
	if share < worstShare {
		s.Severity = finding.Critical
	}
	return []detect.Signal{s}, true
}

// ending is what somebody has to renew.
func (f *Findings) ending(ctx context.Context, now time.Time) (out []detect.Signal, known bool) {
	f.mu.Lock()
	due := now.Sub(f.checks.looked) >= endsEvery
	if due {
		f.checks.looked = now
	}
	certificates := maps.Clone(f.checks.ends)
	f.mu.Unlock()
	if !due {
		return nil, f.checks.ending
	}
	add := func(what, name string, end time.Time) {
		if end.Sub(now) >= endsSoon {
			return
		}
		s := detect.Signal{Rule: "expiring", Severity: finding.Medium, Subject: name, Object: what, Record: -1, Time: now, Lasts: 2*endsEvery + lasts, What: fmt.Sprintf("The %s %s ends at %s.", what, name, end.UTC().Format(time.DateTime))}
		if end.Sub(now) < endsNow {
			s.Severity = finding.High
		}
		out = append(out, s)
	}
	for host, end := range certificates {
		add("certificate of", host, end)
	}
	if f.config.Ending == nil {
		f.checks.ending = true
		return out, true
	}
	secrets, err := f.config.Ending(ctx, now.Add(endsSoon))
	if err != nil {
		slog.Error("look for secrets that end", "error", err)
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		add("secret", name, secrets[name])
	}
	f.checks.ending = err == nil
	return out, err == nil
}

// slower compares services that were started anew a while ago with what they were before.
func (f *Findings) slower(now time.Time) []detect.Signal {
	f.mu.Lock()
	var due []string
	at := map[string]time.Time{}
	for service, t := range f.checks.started {
		if now.Sub(t) >= compareSpan {
			due, at[service] = append(due, service), t
			delete(f.checks.started, service)
		}
	}
	f.mu.Unlock()
	slices.Sort(due)
	var out []detect.Signal
	for _, service := range due {
		before, after, ok := f.config.Watch.around(service, at[service], now)
		if ok && after > slowerTimes*before && after-before > slowerLeast.Seconds() {
			out = append(out, detect.Signal{
				Rule: "slower", Subject: service, Service: service, Record: -1, Time: now,
				What: fmt.Sprintf("99 of 100 requests to %s took up to %.0f ms since it was started at %s, and %.0f ms before.", service, 1000*after, at[service].UTC().Format(time.TimeOnly), 1000*before),
			})
		}
	}
	return out
}

// around is the mean of a service's slowest p99 before and after a moment, in seconds; ok if there is enough of both.
func (w *Watch) around(service string, at, now time.Time) (before, after float64, ok bool) {
	const step = time.Minute
	all, err := w.History(HistoryQuery{Measure: P99, Service: service, Since: now.Sub(at) + compareSpan, Step: step})
	if err != nil {
		return 0, 0, false
	}
	var sums [2]float64
	var counts [2]int
	begin := now.Truncate(step).Add(-(now.Sub(at) + compareSpan))
	for i := range all {
		if all[i].Target != service {
			continue
		}
		for j, v := range all[i].Values {
			if v == nil {
				continue
			}
			side := 0
			if begin.Add(time.Duration(j) * step).After(at) {
				side = 1
			}
			sums[side] += *v
			counts[side]++
		}
	}
	const enough = 5 // minutes with requests
	if counts[0] < enough || counts[1] < enough {
		return 0, 0, false
	}
	return sums[0] / float64(counts[0]), sums[1] / float64(counts[1]), true
}

func id(n int64) string { return strconv.FormatInt(n, 10) }
