package up

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/wire"
)

// RoleVerb is the hidden verb that runs a role.
const RoleVerb = "role"

// Status is what `ward status` shows.
type Status struct {
	App      string          `json:"app"`
	File     string          `json:"file"`
	URL      string          `json:"url"`
	PID      int             `json:"pid"`
	Revision string          `json:"revision"`
	Roles    []RoleStatus    `json:"roles"`
	Services []ServiceStatus `json:"services"`
}

// RoleStatus is one of Ward's own processes.
type RoleStatus struct {
	Name     string `json:"name"`
	PID      int    `json:"pid"` // of its sandbox's init
	Restarts int    `json:"restarts"`
}

// ServiceStatus is one service instance.
type ServiceStatus struct {
	Service  string    `json:"service"`
	Replica  int       `json:"replica"`
	State    State     `json:"state"`
	Reason   string    `json:"reason,omitempty"`
	PID      int       `json:"pid,omitempty"` // of its sandbox's init
	Restarts int       `json:"restarts"`
	Since    time.Time `json:"since"`
	Landlock int       `json:"landlock"` // ABI version in force
}

// Named names a service in a call.
type Named struct {
	Service string `json:"service"`
}

// ProbeRequest runs Ward's probe inside a service's sandbox.
type ProbeRequest struct {
	Service string   `json:"service"`
	Args    []string `json:"args"`
	Input   []byte   `json:"input"`
}

// ProbeReply is what the probe printed.
type ProbeReply struct {
	Output []byte `json:"output"`
	Errors string `json:"errors,omitempty"`
	Code   int    `json:"code"`
}

func (s *Supervisor) routes(mux *http.ServeMux) {
	type none struct{}
	wire.Handle(mux, "GET /v1/status", func(context.Context, none) (Status, error) { return s.status(), nil })
	wire.Handle(mux, "POST /v1/restart", func(ctx context.Context, n Named) (none, error) { return none{}, s.restart(n.Service) })
	wire.Handle(mux, "POST /v1/apply", func(ctx context.Context, _ none) (none, error) { return none{}, s.apply(context.WithoutCancel(ctx)) })
	wire.Handle(mux, "POST /v1/probe", s.probe)
	wire.Handle(mux, "POST /v1/down", func(context.Context, none) (none, error) {
		s.stop(errDown)
		return none{}, nil
	})
	mux.HandleFunc("GET /v1/logs", s.serveLogs)
}

func (s *Supervisor) status() Status {
	p := s.currentPlan()
	st := Status{App: p.App, File: s.paths.File, URL: s.url(), PID: os.Getpid(), Revision: p.Revision()}
	for _, r := range []*role{s.control, s.agent, s.gateway} {
		st.Roles = append(st.Roles, r.status())
	}
	for _, in := range s.instances() {
		in.mu.Lock()
		v := ServiceStatus{
			Service: string(in.service.Name), Replica: in.replica, State: in.state, Reason: in.reason,
			Restarts: in.restarts, Since: in.since.UTC(),
		}
		if in.box != nil {
			v.PID, v.Landlock = in.box.PID(), in.box.Landlock
		}
		in.mu.Unlock()
		st.Services = append(st.Services, v)
	}
	return st
}

func (s *Supervisor) of(service string) ([]*instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.services[service])
	if len(all) == 0 {
		return nil, fault.New(fault.NotFound, fmt.Sprintf("no service %q runs here; see 'ward status'", service))
	}
	return all, nil
}

// restart ends the service's instances one after the other; each comes back by itself, so
// with several replicas one always serves.
func (s *Supervisor) restart(service string) error {
	all, err := s.of(service)
	if err != nil {
		return err
	}
	for _, in := range all {
		in.mu.Lock()
		box := in.box
		if box != nil {
			in.asked, in.state, in.reason = true, Backoff, "asked to begin anew"
		}
		in.mu.Unlock()
		if box != nil {
			in.terminate(box)
		}
		if err := s.awaitReady(in, 60*time.Second); err != nil {
			return err
		}
	}
	s.record(wire.Event{Kind: "service.restart", Subject: "admin", Object: service})
	return nil
}

func (s *Supervisor) awaitReady(in *instance, limit time.Duration) error {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		in.mu.Lock()
		st, reason := in.state, in.reason
		in.mu.Unlock()
		switch st {
		case Ready:
			return nil
		case Ended:
			return fault.New(fault.Unavailable, fmt.Sprintf("%s has ended: %s", in.label(), reason))
		}
	}
	return fault.New(fault.Unavailable, fmt.Sprintf("%s isn't ready after %s; see 'ward logs %s'", in.label(), limit, in.service.Name))
}

// maxProbeOutput bounds what a probe may print, in bytes: it runs where an attacker may be.
const maxProbeOutput = 8 << 20

func (s *Supervisor) probe(ctx context.Context, r ProbeRequest) (ProbeReply, error) {
	all, err := s.of(r.Service)
	if err != nil {
		return ProbeReply{}, err
	}
	all[0].mu.Lock()
	box := all[0].box
	all[0].mu.Unlock()
	if box == nil {
		return ProbeReply{}, fault.New(fault.Unavailable, r.Service+" isn't running; see 'ward status'")
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return ProbeReply{}, fmt.Errorf("probe: %w", err)
	}
	defer inR.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		inW.Close()
		return ProbeReply{}, fmt.Errorf("probe: %w", err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		inW.Close()
		outR.Close()
		outW.Close()
		return ProbeReply{}, fmt.Errorf("probe: %w", err)
	}
	s.record(wire.Event{Kind: "probe.run", Subject: "admin", Object: r.Service})
	go func() {
		_, _ = inW.Write(r.Input) // a probe may end without reading
		inW.Close()
	}()
	var reply ProbeReply
	var said bytes.Buffer
	read := make(chan struct{}, 2)
	go func() {
		reply.Output, _ = io.ReadAll(io.LimitReader(outR, maxProbeOutput))
		outR.Close()
		read <- struct{}{}
	}()
	go func() {
		_, _ = io.Copy(&said, io.LimitReader(errR, 1<<16))
		errR.Close()
		read <- struct{}{}
	}()
	exit, err := box.Probe(ctx, r.Args, inR, outW, errW)
	outW.Close()
	errW.Close()
	if err != nil {
		return ProbeReply{}, fault.Wrap(fault.Unavailable, "the probe in "+r.Service+" came to nothing", err)
	}
	<-read
	<-read
	reply.Code, reply.Errors = exit.Code, said.String()
	return reply, nil
}

// serveLogs writes what the log files hold, then what follows if asked.
func (s *Supervisor) serveLogs(w http.ResponseWriter, r *http.Request) {
	all, err := s.of(r.URL.Query().Get("service"))
	if err != nil {
		wire.WriteError(w, err)
		return
	}
	follow := r.URL.Query().Get("follow") == "1"
	flusher, _ := w.(http.Flusher)
	merged := make(chan string, 256)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	for _, in := range all {
		lines, stop := in.log.follow()
		defer stop()
		if f, err := os.Open(in.log.path); err == nil {
			_, _ = io.Copy(w, f) // the reader has gone
			f.Close()
		}
		go func() {
			for {
				select {
				case l := <-lines:
					select {
					case merged <- l:
					case <-ctx.Done():
						return
					}
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	for follow {
		if flusher != nil {
			flusher.Flush()
		}
		select {
		case l := <-merged:
			if _, err := io.WriteString(w, l); err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
