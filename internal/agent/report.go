package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// report tells control what was counted until ctx ends. While control is away nothing is lost: counts grow on.
func report(ctx context.Context, c *wire.Client, m *telemetry.Meter, source string) {
	t := time.NewTicker(watch.Every)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			if err := c.Report(ctx, m.Read(source, now.UTC())); err != nil && ctx.Err() == nil {
				slog.Warn("report counts", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}
