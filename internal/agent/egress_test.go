package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

func TestTheWayOutSaysWhyItLeadsNowhere(t *testing.T) {
	e := &egress{}
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
