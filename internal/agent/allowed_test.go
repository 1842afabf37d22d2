package agent

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// TestAllowedCallsAreCounted: those that the plan wants, once each, and over a time in which control is away.
func TestAllowedCallsAreCounted(t *testing.T) {
	var got []wire.Event
	away := false
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var events []wire.Event
		if err := json.NewDecoder(r.Body).Decode(&events); err != nil || r.URL.Path != "/v1/allowed" {
			t.Error(r.URL, err)
		}
		got = append(got, events...) // it has them, even where its answer is lost
		if away {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("{}"))
	}))
	defer control.Close()
	c := wire.NewClientDial(func(context.Context) (net.Conn, error) { return net.Dial("tcp", control.Listener.Addr().String()) })
	m := telemetry.NewMeter(time.Now())
	tail := telemetry.NewTail(m, "agent")
	a := newAllowed("agent", m)
	tail.Each = a.see
	call := func(caller, target string, v telemetry.Verdict, status int) {
		m.Note(m.Series(telemetry.Label{Caller: caller, Target: target, Route: "GET /x", Verdict: v}), telemetry.NewSpan("", 0), telemetry.Ended{Status: status, Start: time.Now()})
	}
	round := func() {
		t.Helper()
		tail.Round(nil, time.Now())
		if err := a.send(t.Context(), c, time.Unix(1, 0)); (err != nil) != away {
			t.Error(err)
		}
	}
	want := func(name string, events ...wire.Event) {
		t.Helper()
		for i := range got {
			delete(got[i].Detail, "trace")
		}
		byCount := cmpopts.SortSlices(func(a, b wire.Event) bool { return a.Count < b.Count })
		if d := cmp.Diff(events, got, cmpopts.IgnoreFields(wire.Event{}, "Source", "Seq", "Time"), cmpopts.EquateEmpty(), byCount); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		got = nil
	}
	event := func(count int64, status string) wire.Event {
		return wire.Event{Kind: "request.allowed", Subject: "web", Object: "payments", Count: count, Detail: map[string]string{"route": "GET /x", "status": status}}
	}
	call("web", "payments", telemetry.Allowed, 200)
	round()
	want("nothing is wanted")
	a.set(&plan.Plan{Watch: model.Watch{Ledger: model.LedgerKeep{Allowed: []string{"payments"}}}})
	round()
	want("what came before isn't told")
	call("web", "payments", telemetry.Allowed, 200)
	call("web", "payments", telemetry.Allowed, 204)
	call("web", "payments", telemetry.Failed, 0)
	call("web", "payments", telemetry.Denied, 403)
	call("web", "other", telemetry.Allowed, 200)
	round()
	want("by series and class", event(1, "unanswered"), event(2, "2xx"))
	round()
	want("nothing new")
	away = true
	call("web", "payments", telemetry.Allowed, 200)
	round()
	first := got
	got = nil
	for range 3 {
		call("web", "payments", telemetry.Allowed, 200)
	}
	round()
	away = false
	round()
	if len(got) != 2 || got[0].Seq != first[0].Seq || got[1].Seq != first[0].Seq || got[1].Source != first[0].Source {
		t.Errorf("sent again under other numbers: %+v, then %+v", first, got)
	}
	got = nil
	round()
	want("what came meanwhile", event(3, "2xx"))
	a.set(&plan.Plan{})
	call("web", "payments", telemetry.Allowed, 200)
	round()
	want("no longer wanted")
}
