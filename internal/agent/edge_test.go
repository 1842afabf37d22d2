package agent

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// TestNoPlanCountsBeforeWhatAnswersRestrict: gateway and agent serve their sockets from the start, and what is closed out is closed out at the
// first request.
func TestNoPlanCountsBeforeWhatAnswersRestrict(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked, answer := make(chan struct{}, 1), make(chan struct{})
	var mu sync.Mutex
	var order []string
	note := func(s string) { mu.Lock(); order = append(order, s); mu.Unlock() }
	mux := http.NewServeMux()
	wire.Handle(mux, "GET /v1/plan", func(ctx context.Context, h wire.Have) (wire.PlanState, error) {
		if h.Revision != "" {
			<-ctx.Done()
		}
		note("asked for the plan")
		return wire.PlanState{Revision: "1", Plan: &plan.Plan{}}, ctx.Err()
	})
	wire.Handle(mux, "GET /v1/restrictions", func(ctx context.Context, h wire.Have) (wire.Restrictions, error) {
		if h.Revision != "" {
			<-ctx.Done()
			return wire.Restrictions{}, ctx.Err()
		}
		asked <- struct{}{}
		<-answer
		return wire.Restrictions{Sequence: 1}, nil
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	defer cancel() // before the server, which waits for its requests
	c := wire.NewClientDial(func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", s.Listener.Addr().String())
	})
	var owned sync.WaitGroup
	ready := make(chan struct{})
	followBoth(ctx, c, &owned, inForce{
		plan:     func(*plan.Plan, string) error { note("plan"); return nil },
		restrict: func(wire.Restrictions) { note("restrictions") },
		ready:    func() { close(ready) },
	})
	<-asked
	close(answer)
	<-ready
	mu.Lock()
	if len(order) < 3 || order[0] != "restrictions" || order[2] != "plan" {
		t.Errorf("in this order: %q", order)
	}
	mu.Unlock()
	cancel()
	owned.Wait()
}
