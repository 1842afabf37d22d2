package watch

import (
	"context"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// trail is an audit trail in memory.
type trail struct {
	all  []ledger.Record
	most int // that were read at once
}

func (t *trail) Size() (int64, <-chan struct{}) { return int64(len(t.all)), nil }
func (t *trail) Read(from int64, f func(ledger.Record) bool) error {
	for i, r := range t.all[from:] {
		t.most = max(t.most, i+1)
		if !f(r) {
			break
		}
	}
	return nil
}

func (t *trail) add(e wire.Event) {
	t.all = append(t.all, ledger.Record{Index: int64(len(t.all)), Event: e})
}

// scene is Findings at a time that tests set.
type scene struct {
	*Findings
	trail
	now   time.Time
	watch *Watch
	dir   string // of everything
	done  []wire.Event
}

func newScene(t *testing.T, ending map[string]time.Time) *scene {
	t.Helper()
	s := &scene{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), dir: t.TempDir()}
	c := clock.Func(func() time.Time { return s.now })
	db, err := store.Open(t.Context(), store.Config{Path: filepath.Join(s.dir, "db"), Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if s.watch, err = Open(filepath.Join(s.dir, "watch"), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.watch.Close() })
	s.Findings, err = OpenFindings(t.Context(), FindingsConfig{
		DB: db, Clock: c, Ledger: &s.trail, Watch: s.watch, Record: func(e wire.Event) { s.done = append(s.done, e) }, Dir: t.TempDir(),
		Trap: func(service string) string { return plan.CanaryPrefix + service + plan.CanarySuffix },
		Ending: func(_ context.Context, before time.Time) (map[string]time.Time, error) {
			out := map[string]time.Time{}
			for name, end := range ending {
				if end.Before(before) {
					out[name] = end
				}
			}
			return out, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{Services: []plan.Service{{Service: model.Service{Name: "web"}}}, Externals: []model.External{{Name: "bank"}}}
	s.watch.SetPlan(p)
	s.SetPlan(p)
	return s
}

// rules are those of which something is open.
func (s *scene) rules(t *testing.T) map[string]Finding {
	t.Helper()
	s.read(t.Context())
	s.handle(t.Context(), s.check(t.Context()))
	all, err := s.List(t.Context(), FindingQuery{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]Finding{}
	for _, f := range all {
		out[f.Rule] = f
	}
	return out
}

func TestASilentProcessIsFound(t *testing.T) {
	s := newScene(t, nil)
	report := func() {
		if err := s.watch.Take("gateway", telemetry.Snapshot{Time: s.now, Start: s.now}); err != nil {
			t.Fatal(err)
		}
	}
	report()
	s.now = s.now.Add(10 * time.Second)
	if all := s.rules(t); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	s.now = s.now.Add(15 * time.Second)
	if all := s.rules(t); all["silence"].Subject != "gateway" {
		t.Errorf("%+v", all)
	}
	if err := s.watch.Take("gateway", telemetry.Snapshot{Time: s.now.Add(-time.Minute), Start: s.now}); err != nil {
		t.Fatal(err)
	}
	if all := s.rules(t); all["clock-skew"].Subject != "gateway" {
		t.Errorf("%+v", all)
	}
}

func TestWhatEndsSoonIsFound(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		left     time.Duration
		severity string
	}{"in a month": {30 * 24 * time.Hour, ""}, "in a week": {7 * 24 * time.Hour, "medium"}, "tomorrow": {24 * time.Hour, "high"}} {
		for _, what := range []string{"secret", "certificate"} {
			ending := map[string]time.Time{}
			if what == "secret" {
				ending["api-key"] = now.Add(tt.left)
			}
			s := newScene(t, ending)
			if what == "certificate" {
				s.add(wire.Event{Kind: "certificate.in_use", Object: "shop.example", Time: s.now, Detail: map[string]string{"not_after": now.Add(tt.left).Format(time.RFC3339)}})
			}
			if f := s.rules(t)["expiring"]; (tt.severity == "") != (f.ID == 0) || tt.severity != "" && f.Severity.String() != tt.severity {
				t.Errorf("%s of a %s: %+v", name, what, f)
			}
		}
	}
}

func TestACertificateThatIsntRenewedIsFound(t *testing.T) {
	s := newScene(t, nil)
	s.watch.Issued("web", s.now.Add(time.Hour))
	use := func() {
		if err := s.watch.TakeProcesses([]Process{{Service: "web"}}); err != nil {
			t.Fatal(err)
		}
	}
	s.now = s.now.Add(40 * time.Minute)
	use()
	if f := s.rules(t)["expiring"]; f.ID != 0 {
		t.Errorf("%+v", f)
	}
	s.now = s.now.Add(10 * time.Minute)
	use()
	if f := s.rules(t)["expiring"]; f.Subject != "web" {
		t.Errorf("%+v", f)
	}
}

// TestOldNewsIsNone: after an upgrade the audit trail of years isn't gone through as if it were today's.
func TestOldNewsIsNone(t *testing.T) {
	s := newScene(t, nil)
	s.add(wire.Event{Kind: "ledger.lost", Source: "agent", Time: s.now.Add(-25 * time.Hour)})
	if all := s.rules(t); len(all) != 0 || s.inbox.Cursor() != 1 {
		t.Errorf("%+v, read to %d", all, s.inbox.Cursor())
	}
	s.add(wire.Event{Kind: "ledger.lost", Source: "agent", Time: s.now})
	if all := s.rules(t); all["ledger-gap"].ID == 0 {
		t.Errorf("%+v", all)
	}
}

// TestAFloodOfClientsDoesntFillTheLedger: beyond a thousand at once they are counted there. A service that is cut off is said all the same.
func TestAFloodOfClientsDoesntFillTheLedger(t *testing.T) {
	s := newScene(t, nil)
	const clients = 3000
	var all wire.Sightings
	for i := range clients {
		all = append(all, wire.Sighting{Client: netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 32), Honey: "/.env"})
	}
	for part := range slices.Chunk(all, wire.MaxSighted) {
		if err := s.TakeSightings(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
	s.given.Flush()
	if _, err := s.Restrict(t.Context(), wire.Restriction{Service: "web", By: "admin"}); err != nil {
		t.Fatal(err)
	}
	records, told := 0, int64(0)
	for _, e := range s.done {
		if e.Kind == "answer.given" {
			records, told = records+1, told+max(1, e.Count)
		}
	}
	if last := s.done[len(s.done)-1]; records > 1100 || told != clients+1 || last.Object != "web" {
		t.Errorf("%d records tell of %d answers, the last is %+v", records, told, last)
	}
}

// TestManyRecordsAreLookedAtInParts, so that what they say needn't all be held at once, and all the same to the last.
func TestManyRecordsAreLookedAtInParts(t *testing.T) {
	s := newScene(t, nil)
	for range 3 * maxRead {
		s.add(wire.Event{Kind: "token.misused", Subject: "web", Object: "api", Time: s.now})
	}
	s.read(t.Context())
	if f := s.rules(t)["token-misused"]; f.Count != 3*maxRead || s.inbox.Cursor() != 3*maxRead || s.trail.most > maxRead {
		t.Errorf("%d counted, read to %d, %d at once", f.Count, s.inbox.Cursor(), s.trail.most)
	}
}

// TestMuchMoreLeavesThanUsual simulates days of a service that sends a little to an external, and then much.
func TestMuchMoreLeavesThanUsual(t *testing.T) {
	s := newScene(t, nil)
	start, sent := s.now, uint64(0)
	hour := func(bytes uint64) {
		for range 4 {
			s.now = s.now.Add(15 * time.Minute)
			sent += bytes / 4
			if err := s.watch.Take("agent", telemetry.Snapshot{Time: s.now, Start: start, Samples: []telemetry.Sample{{Label: telemetry.Label{Caller: "web", Target: "bank", Route: telemetry.Undeclared}, In: sent}}}); err != nil {
				t.Fatal(err)
			}
			s.handle(t.Context(), s.check(t.Context()))
		}
	}
	for range 24 {
		hour(20 << 20)
	}
	if f := s.rules(t)["egress-volume"]; f.ID != 0 {
		t.Errorf("an ordinary day: %+v", f)
	}
	hour(400 << 20)
	if f := s.rules(t)["egress-volume"]; f.Subject != "web" || f.Object != "bank" {
		t.Errorf("%+v", f)
	}
}

func TestWardLivesWhileGatewayAndAgentReport(t *testing.T) {
	s := newScene(t, nil)
	for _, role := range []string{"agent", "gateway"} {
		if s.watch.alive() {
			t.Errorf("before the %s has reported", role)
		}
		if err := s.watch.Take(role, telemetry.Snapshot{Time: s.now, Start: s.now}); err != nil {
			t.Fatal(err)
		}
	}
	if !s.watch.alive() {
		t.Error("both report")
	}
	s.now = s.now.Add(silent + time.Second)
	if err := s.watch.Take("agent", telemetry.Snapshot{Time: s.now, Start: s.now}); err != nil {
		t.Fatal(err)
	}
	if s.watch.alive() {
		t.Error("the gateway is silent")
	}
}

// TestAFindingLeadsToItsOwnTraces: to those that its evidence names, and not to what else was refused at the time.
func TestAFindingLeadsToItsOwnTraces(t *testing.T) {
	s := newScene(t, nil)
	span := func(n byte, caller, target string) telemetry.SpanRecord {
		l := telemetry.Label{Caller: caller, Target: target, Route: telemetry.Undeclared, Verdict: telemetry.Denied}
		return telemetry.SpanRecord{Trace: telemetry.TraceID{n}, ID: telemetry.SpanID{n}, Label: l, Start: s.now.UnixNano(), Took: 10}
	}
	if _, err := s.watch.TakeSpans("agent", []telemetry.SpanRecord{span(1, "web", "bank"), span(2, "web", "bank")}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.watch.TakeSpans("gateway", []telemetry.SpanRecord{span(3, plan.Outside, ""), span(4, plan.Outside, "")}, nil); err != nil {
		t.Fatal(err)
	}
	denied := func(kind string, detail ...string) wire.Event {
		e := wire.Event{Time: s.now, Kind: kind, Subject: "web", Object: "bank", Detail: map[string]string{"method": "GET", "path": "/x", "reason": "no_rule"}}
		for i := 0; i < len(detail); i += 2 {
			e.Detail[detail[i]] = detail[i+1]
		}
		return e
	}
	s.trail.add(denied("request.denied", "trace", span(1, "", "").Trace.String()))
	s.trail.add(denied("request.denied"))                                                                                    // a count
	s.trail.add(denied("request.denied", "host", "evil.example", "trace", span(4, "", "").Trace.String()))                   // a trace that it has no part in
	s.trail.add(denied("request.denied", "host", "evil.example", "trace", span(1, "", "").Trace.String()))                   // another finding's too
	s.trail.add(denied("token.misused", "token", "it has ended", "trace", (telemetry.TraceID{9}).String()))                  // one that never came
	s.trail.add(wire.Event{Time: s.now, Kind: "flag.canary", Subject: "web", Detail: map[string]string{"what": "a canary"}}) // no request's
	s.read(t.Context())
	client := netip.MustParsePrefix("203.0.113.9/32")
	if err := s.TakeSightings(t.Context(), wire.Sightings{{Client: client, Honey: "/.env", HoneyTrace: telemetry.TraceID{3}, Example: "GET /typo", ExampleTrace: telemetry.TraceID{4}, Malformed: 10}}); err != nil {
		t.Fatal(err)
	}
	if wanted, err := s.watch.TakeSpans("gateway", nil, nil); err != nil || !slices.Contains(wanted, telemetry.TraceID{3}) {
		t.Errorf("the gateway isn't asked for the trace: %v %v", wanted, err)
	}
	s.now = s.now.Add(spansCome)
	s.rules(t) // keeps them
	got := s.rules(t)
	for rule, want := range map[string][]string{
		"denied-call": {(telemetry.TraceID{1}).String()}, "honey-path": {(telemetry.TraceID{3}).String()},
		"undeclared-host": {(telemetry.TraceID{1}).String()}, "token-misused": nil, "canary": nil, "malformed": nil,
	} {
		if f, found := got[rule]; !found || !slices.Equal(f.Traces, want) {
			t.Errorf("%s: %v %q, want %q", rule, found, f.Traces, want)
		}
	}
	s.now = s.now.Add((traceDays + 1) * 24 * time.Hour)
	if _, err := s.watch.TakeSpans("agent", []telemetry.SpanRecord{span(5, "web", "bank")}, nil); err != nil { // takes the room of what is old
		t.Fatal(err)
	}
	if _, err := s.watch.Trace(telemetry.TraceID{2}); err == nil {
		t.Error("no finding is about it, and it is kept")
	}
	if all, err := s.watch.Trace(telemetry.TraceID{1}); err != nil || len(all) != 1 {
		t.Errorf("after days: %v %v", all, err)
	}
}

// TestAFloodOfTracesIsBounded: a finding has five, and leaves the others' room alone.
func TestAFloodOfTracesIsBounded(t *testing.T) {
	s := newScene(t, nil)
	for i := range 3000 {
		s.trail.add(wire.Event{Time: s.now, Kind: "request.denied", Subject: "web", Object: "bank", Detail: map[string]string{"method": "GET", "path": "/x", "reason": "no_rule", "trace": telemetry.TraceID{1, byte(i), byte(i >> 8)}.String()}})
	}
	s.read(t.Context())
	if n := len(s.checks.fresh); n != maxFlagged {
		t.Errorf("%d traces are waited for", n)
	}
}

// TestWhatAPersonMayAnswer: an answer ends in the future, within 30 days; who is closed out by accident asks for it twice; a later word counts.
func TestWhatAPersonMayAnswer(t *testing.T) {
	s := newScene(t, nil)
	stranger := netip.MustParsePrefix("203.0.113.7/32")
	for name, r := range map[string]wire.Restriction{
		"an end in the past":     {Client: stranger, Until: s.now},
		"an end too far":         {Client: stranger, Until: s.now.Add(31 * 24 * time.Hour)},
		"this machine":           {Client: netip.MustParsePrefix("127.0.0.0/8"), Until: s.now.Add(time.Hour)},
		"a private network":      {Client: netip.MustParsePrefix("10.1.0.0/16")},
		"neither client nor who": {Until: s.now.Add(time.Hour)},
	} {
		r.By = "admin"
		if _, err := s.Restrict(t.Context(), r); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for _, r := range []wire.Restriction{
		{Client: netip.MustParsePrefix("127.0.0.0/8"), Until: s.now.Add(time.Hour), Sure: true},
		{Client: stranger, Until: s.now.Add(24 * time.Hour)},
		{Client: stranger, Until: s.now.Add(time.Hour), Slow: true},
	} {
		r.By = "admin"
		out, err := s.Restrict(t.Context(), r)
		if err != nil || !out.Until.Equal(r.Until) || out.Slow != r.Slow || out.Sure {
			t.Errorf("%+v became %+v %v", r, out, err)
		}
	}
	if all, _ := s.Restrictions(); len(all.All) != 2 {
		t.Errorf("%+v", all.All)
	}
}

// TestRulesInForce are those of the file, and of silences that are about a whole rule.
func TestRulesInForce(t *testing.T) {
	s := newScene(t, nil)
	s.SetPlan(&plan.Plan{Watch: model.Watch{Rules: []model.WatchRule{{Name: "payload", Observe: true}, {Name: "malformed"}}}})
	for _, x := range []Silence{{Rule: "canary"}, {Rule: "bypass", Subject: "web"}} {
		x.Until, x.Reason, x.By = s.now.Add(time.Hour), "x", "admin"
		if _, err := s.Silence(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range s.Rules() {
		if r.Observes != (r.Name == "payload") || r.Silenced.IsZero() == (r.Name == "canary") {
			t.Errorf("%+v", r)
		}
	}
}
