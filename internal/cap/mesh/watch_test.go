package mesh

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/txn"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wire"
)

// A gateway that was taken over names targets as it likes: by the name of the connection (SNI), before anything is decided.
func TestInventedTargetsMakeNoSeries(t *testing.T) {
	m := New(Config{Meter: telemetry.NewMeter(time.Now()), Record: func(wire.Event) {}})
	if err := m.SetPlan(&plan.Plan{TrustDomain: "shop.test"}, "2026-11-22"); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		here, there := net.Pipe()
		go m.serve(there, &link{caller: plan.Outside, target: fmt.Sprint("invented-", i), port: 80, protocol: model.TCP, via: "ingress"})
		_, _ = here.Read(make([]byte, 1)) // until it is closed
		here.Close()
	}
	if n := len(m.config.Meter.Read("agent", time.Now()).Samples); n != 1 || len(m.pools) != 0 {
		t.Errorf("%d series, %d pools", n, len(m.pools))
	}
	m.Shutdown(context.Background())
}

// TestWhatComesOfACallStaysUnderItsRule: what a limit refused, and what failed, isn't undeclared.
func TestWhatComesOfACallStaysUnderItsRule(t *testing.T) {
	c := newChain(t)
	res := c.mesh.resolve(&link{caller: "web", target: "orders", port: 8080, protocol: model.HTTP, via: "listener"})
	for rule, want := range map[int32]string{0: res.state.plan.Rules[0].Grant.String(), -1: telemetry.Undeclared} {
		for err, verdict := range map[error]telemetry.Verdict{nil: telemetry.Allowed, proxy.ErrBusy: telemetry.Limited, proxy.ErrDial: telemetry.Failed, proxy.ErrClosed: telemetry.Failed} {
			under, _ := c.mesh.begin(res, rule, "", 0)
			c.mesh.end(under, &proxy.Record{Err: err, Verdict: &proxy.Verdict{Allow: true}})
			var got telemetry.Label
			c.mesh.config.Meter.Ring.Drain(1, func(r *telemetry.Record) { got = c.mesh.config.Meter.Label(r.Series) })
			if got.Route != want || got.Verdict != verdict {
				t.Errorf("rule %d, %v: %+v", rule, err, got)
			}
		}
	}
	r := &proxy.Record{Verdict: &proxy.Verdict{Allow: true}}
	if n := testing.AllocsPerRun(1000, func() {
		under, _ := c.mesh.begin(res, 0, trace, 1)
		c.mesh.end(under, r)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whose user a call is may follow from its trace: a service that has seen one, and is in no user's request, would have others act for that
// user by sending it to them.
func TestWhoIsInNoUsersRequestCannotJoinItsTrace(t *testing.T) {
	c := newChain(t)
	ask := func() (traces []string) {
		if status, body := do(t, http.DefaultClient, "GET", c.asWeb+"/health", telemetry.TraceParent, trace); status != http.StatusOK {
			t.Fatal(status, body)
		}
		wardtest.Eventually(t, "it is recorded", func() bool {
			return c.mesh.config.Meter.Ring.Drain(10, func(r *telemetry.Record) { traces = append(traces, r.Trace.String()) }) > 0
		})
		return traces
	}
	if got := ask(); got[0] != telemetry.TraceOf(trace, 1) {
		t.Errorf("a trace without users goes on as %v", got)
	}
	user := &txn.Context{ID: "1", Expires: time.Now().Add(time.Hour)}
	visit := c.mesh.users.enter("orders", user, telemetry.TraceOf(trace, 1))
	if c.mesh.users.byTrace("orders", telemetry.TraceOf(trace, 1)) != user {
		t.Fatal("the user isn't found by the trace")
	}
	if got := ask(); got[0] == telemetry.TraceOf(trace, 1) {
		t.Error("a stranger's call came in the user's trace")
	}
	visit.leave()
}

// TestARefusalAndItsSpanNameOneTrace: who reads of a denial finds the request.
func TestARefusalAndItsSpanNameOneTrace(t *testing.T) {
	c := newChain(t)
	for name, fields := range map[string][]string{"the caller's trace": {telemetry.TraceParent, trace}, "a trace of its own": nil} {
		if status, body := do(t, http.DefaultClient, "GET", c.asWeb+"/undeclared/"+strconv.Itoa(len(fields)), fields...); status != http.StatusForbidden {
			t.Fatal(name, status, body)
		}
		var span string
		wardtest.Eventually(t, "it is recorded", func() bool {
			return c.mesh.config.Meter.Ring.Drain(10, func(r *telemetry.Record) { span = r.Trace.String() }) > 0
		})
		c.mu.Lock()
		said := c.events[len(c.events)-1]
		c.mu.Unlock()
		if said.Kind != "request.denied" || said.Detail["trace"] != span || (fields != nil) != (span == telemetry.TraceOf(trace, 1)) {
			t.Errorf("%s: the span is of %s, the denial %+v", name, span, said)
		}
	}
}
