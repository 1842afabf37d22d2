package watch

import (
	"context"
	"fmt"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch/internal/logs"
	"github.com/wardhq/ward/internal/wire"
)

// Limits of logs.
const (
	maxLogLines   = 100_000         // in a report
	searchTime    = 5 * time.Second // after which a search says how far it came
	searchesAtOne = 2               // at the same time; others wait
)

// What a search of logs asks and answers; see package logs.
type (
	LogQuery  = logs.Query
	LogResult = logs.Result
	LogEntry  = logs.Entry
	LogLevel  = logs.Level
)

// MaxLogLines is how many lines an answer has at most.
const MaxLogLines = logs.MaxLimit

// TakeLogs keeps what services printed: those of the plan, and those that were in it and of which something is kept still.
func (w *Watch) TakeLogs(all []wire.LogLine) error {
	if len(all) > maxLogLines {
		return fault.New(fault.Exhausted, "too many lines in one report")
	}
	now := w.clock.Now()
	latest := now.Add(time.Minute).UnixMicro()
	lost := uint64(0)
	keep := make([]logs.Line, 0, len(all))
	for i := range all {
		x := &all[i]
		if !w.isLogged(x.Service) {
			continue
		}
		l := logs.Line{Service: x.Service, Replica: x.Replica, Time: time.UnixMicro(x.Time), Text: x.Text}
		if x.Time <= 0 || x.Time > latest {
			l.Time = now
		}
		if x.Lost > 0 {
			lost += uint64(x.Lost)
			l.Level, l.Text = logs.Gap, fmt.Sprintf("%d lines are missing here: more was printed than could be kept", x.Lost)
		}
		keep = append(keep, l)
	}
	w.mu.Lock()
	w.linesLost += lost
	w.mu.Unlock()
	if len(keep) == 0 {
		return nil
	}
	return w.logs.Append(now, keep)
}

// isLogged tells whether a service's lines are kept.
func (w *Watch) isLogged(service string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known.services[service] || w.logs.Has(service)
}

// Logs searches what services printed. It takes at most five seconds, and says how far it came.
func (w *Watch) Logs(ctx context.Context, q LogQuery) (LogResult, error) {
	for _, name := range q.Services {
		if !w.isLogged(name) {
			return LogResult{}, fault.New(fault.NotFound, fmt.Sprintf("there is no service %.40q, and nothing is kept of one", name))
		}
	}
	ctx, stop := context.WithTimeout(ctx, searchTime)
	defer stop()
	select {
	case w.searching <- struct{}{}:
		defer func() { <-w.searching }()
	case <-ctx.Done(): // and the answer says that nothing was looked at
	}
	return w.logs.Search(ctx, q)
}
