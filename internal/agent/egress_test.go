package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

func TestTheWayOutSaysWhyItLeadsNowhere(t *testing.T) {
	e := newEgress(nil)
	e.set(&plan.Plan{})
	_, unnamed := e.dial(t.Context(), "192.0.2.1:443")
	for want, err := range map[wire.EgressAnswer]error{
		wire.EgressUnnamed: unnamed,
		wire.EgressUnknown: fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host"}}),
		wire.EgressRefused: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
		wire.EgressLate:    context.DeadlineExceeded,
		wire.EgressFailed:  errors.New("something else"),
	} {
		if got := whyNot(err); got != want || len(got) > 15 {
			t.Errorf("%v: %q", err, got)
		}
	}
}

// TestTheWayOutWaitsForTheFirstPlan: until it is here, nobody can tell what it names.
func TestTheWayOutWaitsForTheFirstPlan(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	e := newEgress(nil)
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := e.dial(soon, ln.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a plan: %v", err)
	}
	reached := make(chan error, 1)
	go func() {
		c, err := e.dial(t.Context(), ln.Addr().String())
		if err == nil {
			err = c.Close()
		}
		reached <- err
	}()
	p := &plan.Plan{}
	p.Users.Mail.SMTP = "smtp://" + ln.Addr().String()
	e.set(p)
	if err := <-reached; err != nil {
		t.Error(err)
	}
	e.set(&plan.Plan{}) // which names nothing any more
	if _, err := e.dial(t.Context(), ln.Addr().String()); !errors.Is(err, errNotNamed) {
		t.Errorf("with the next plan: %v", err)
	}
}
