package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

// tailEvery is how often the requests that ended are looked at: the ring between holds 80,000 of a second.
const tailEvery = 200 * time.Millisecond

// soon is the round after which counts are told for the first time: who has just started looks whether anything passes.
const soon = 5

// report tells control what was counted, and the spans that are worth keeping, with those of applications that in took (nil for none), until ctx ends.
// While control is away counts grow on; spans of that time are lost. Allowed calls go to the ledger as a says.
func report(ctx context.Context, c *wire.Client, a *allowed, spool *wire.Spool, in *watch.Intake) {
	m, most := a.meter, 0 // that the ring held since the last report
	t := time.NewTicker(tailEvery)
	defer t.Stop()
	source := a.process
	tail := telemetry.NewTail(m, source)
	tail.Each = a.see
	var told []telemetry.TraceID
	away := false // control, since the last report
	heard := func(err error) {
		if ctx.Err() == nil && (err != nil) != away {
			if away = err != nil; away {
				slog.Warn("control hears no reports", "error", err)
			} else {
				slog.Info("control hears reports again")
			}
		}
	}
	for n := 1; ; n++ {
		var now time.Time
		select {
		case now = <-t.C:
		case <-ctx.Done():
			return
		}
		var s wire.Spans
		most = max(most, m.Ring.Queued())
		s.Spans, s.Fresh = tail.Round(told, now)
		if in != nil {
			s.Spans = append(s.Spans, in.Round(s.Spans, now)...)
		}
		told = nil
		if n%allowedRounds == 0 {
			heard(a.send(ctx, c, now))
		}
		// Once a second even without news of its own: others may have some.
		if len(s.Spans) > 0 || len(s.Fresh) > 0 || n%5 == 0 {
			wanted, err := c.ReportSpans(ctx, s)
			told = wanted.Traces
			heard(err)
		}
		if n == soon || n%int(watch.Every/tailEvery) == 0 {
			read := m.Read(source, now.UTC())
			if in != nil {
				read.Apps = in.Counts()
			}
			read.Queues = []telemetry.Queue{{Name: telemetry.QueueRing, Length: int64(most)}, {Name: telemetry.QueueSpool, Length: spool.Waiting()}, {Name: telemetry.QueueAllowed, Length: a.waiting()}}
			most = 0
			heard(c.Report(ctx, read))
		}
	}
}
