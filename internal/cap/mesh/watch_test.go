package mesh

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
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
