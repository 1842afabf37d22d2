package up

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/wardhq/ward/internal/base/proc"
	"github.com/wardhq/ward/internal/cap/watch"
)

// reportUse tells control what the services' processes use, until ctx ends.
func (s *Supervisor) reportUse(ctx context.Context) {
	t := time.NewTicker(watch.Every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		for _, in := range s.instances() {
			in.tellPast()
		}
		all, err := s.use()
		if err == nil {
			err = s.admin.Call(ctx, http.MethodPost, "/v1/processes", all, nil)
		}
		if err != nil && ctx.Err() == nil {
			slog.Warn("report processes", "error", err)
		}
	}
}

// use is what each running instance uses, with all that it has started.
func (s *Supervisor) use() ([]watch.Process, error) {
	var all []watch.Process
	var pids []int
	for _, in := range s.instances() {
		in.mu.Lock()
		if in.box != nil {
			all = append(all, watch.Process{Service: string(in.service.Name), Replica: in.replica, Restarts: in.restarts, Start: in.since})
			pids = append(pids, in.box.PID())
		}
		in.mu.Unlock()
	}
	trees, err := proc.Trees(pids)
	for i := range all {
		all[i].CPU, all[i].Memory = trees[pids[i]].CPU, trees[pids[i]].Memory
	}
	return all, err
}

// past is what the ledger says of tries to reach an address past Ward that the sandbox's filter didn't see, which looks at TCP alone: the kernel
// counts what has no route, UDP above all, and tells no address.
const past = "tried to reach an address past Ward; which one isn't known"

// mostPast bounds how many tries between two looks are told.
const mostPast = 1000

// tellPast flags what a service has tried to reach past Ward since the last look.
func (in *instance) tellPast() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.box == nil || in.up.config.Off.Network {
		return
	}
	n, err := proc.NoRoutes(in.box.PID())
	if err != nil {
		return // it has just ended
	}
	for range min(n-in.past, mostPast) {
		in.up.flags.Note(flagged{in.label(), "connect", past})
	}
	in.past = n
}
