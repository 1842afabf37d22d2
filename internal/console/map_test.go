package console

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// arrows are those of the map as it is now: from, to and state.
func arrows(t *testing.T, w *world) (out []string) {
	t.Helper()
	p, err := w.console.draw(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range p.Arrows {
		out = append(out, strings.Join([]string{partyName(a.From), partyName(a.To), a.State, rate(a.Rate)}, " "))
	}
	slices.Sort(out)
	return out
}

const small = `
app: a
services:
  web: {run: ./web, listen: "http://:80", expose: {route: GET /, to: anyone}, calls: {db: tcp, out: GET /}}
  db: {run: ./db, listen: "tcp://:5432"}
externals: {out: {host: out.example, port: 443, local_port: 80, tls: originate}}
`

func TestTheMapIsDrawnFromTheModelBeforeTheFirstRequest(t *testing.T) {
	w := newWorld(t, small)
	w.edges = nil
	if diff := cmp.Diff([]string{"Internet web unused –", "web db unused –", "web out unused –"}, arrows(t, w)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatPassedIsCountedOnceAndWhatWasRefusedLongAgoIsGone(t *testing.T) {
	w := newWorld(t, small)
	twice := w.edge(plan.Outside, "web", "GET /", telemetry.Allowed, 10, time.Millisecond)
	byGateway := twice
	byGateway.Source = "gateway"
	refused := w.edge(plan.Outside, "", telemetry.Undeclared, telemetry.Denied, 2, 0)
	refused.Source = "gateway"
	w.edges = []watch.Edge{
		twice, byGateway, refused, w.edge("web", "db", "tcp", telemetry.Allowed, 0, 0), w.edge("db", "web", telemetry.Undeclared, telemetry.Denied, 0, 0), w.edge("db", "out", telemetry.Undeclared, telemetry.Limited, 1, 0),
	}
	want := []string{"Internet undeclared refused 2.0/s", "Internet web busy 10/s", "db out refused 1.0/s", "web db quiet –", "web out unused –"}
	if diff := cmp.Diff(want, arrows(t, w)); diff != "" {
		t.Error(diff)
	}
}

func TestPeopleAreThereOnlyWithUsers(t *testing.T) {
	w := newWorld(t, small)
	b := w.enters("administrator")
	if r, _ := b.get("/people"); r.StatusCode != 404 {
		t.Errorf("status %d", r.StatusCode)
	}
	if _, page := b.get("/findings"); strings.Contains(page, `href="/people"`) {
		t.Error("the menu has them")
	}
}

func TestTimesThatCannotBeAreRefused(t *testing.T) {
	w := newWorld(t, small)
	b := w.enters("viewer")
	for at, want := range map[string]int{"2026-05-04T10:00": 200, "2026-05-04T10:00:00Z": 200, "2999-01-01T00:00": 200, "yesterday": 422, "0001-01-01T00:00": 422} {
		if r, _ := b.get("/?at=" + at); r.StatusCode/100 != want/100 {
			t.Errorf("%s: %d", at, r.StatusCode)
		}
	}
}

// TestTheMapOfATimeHasItsFindings: those that were open then, and no quarantine of today.
func TestTheMapOfATimeHasItsFindings(t *testing.T) {
	w := newWorld(t, small)
	at := w.now.Add(-3 * time.Hour)
	closed := watch.Finding{ID: 1, Rule: "canary", Subject: "db", Opened: at.Add(-time.Hour), Closed: at.Add(time.Hour)}
	closed.Service = "db"
	before, later, open, now := closed, closed, closed, closed
	open.Opened, open.Closed, now.Opened, now.Closed, now.Service, now.Subject = at, time.Time{}, w.now, time.Time{}, "web", "web"
	before.Closed, later.Opened = at, at.Add(time.Minute)
	w.found = []watch.Finding{closed, before, later, open, now}
	w.standing = []wire.Restriction{{ID: "a1", Service: "db", Until: w.now.Add(time.Hour)}}
	for name, c := range map[string]struct {
		at   time.Time
		want map[string]int
		cut  bool
	}{
		"now":  {time.Time{}, map[string]int{"web": 1, "db": 1}, true},
		"then": {at, map[string]int{"db": 2}, false},
	} {
		d, err := w.console.mapData(t.Context(), w.now, c.at)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range d.Boxes {
			if b.Findings != c.want[b.ID] || b.Quarantined != (c.cut && b.ID == "db") {
				t.Errorf("%s: %s has %d findings, in quarantine: %v", name, b.ID, b.Findings, b.Quarantined)
			}
		}
	}
}
