package watch

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/mesh"
	"github.com/wardhq/ward/internal/cap/watch/internal/slo"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wire"
)

const outageModel = `
app: shop
services:
  web: {run: [x], listen: "http://:8080", calls: {catalog: GET /books, db: tcp}}
  catalog: {run: [x], listen: "http://:8080"}
  db: {run: [x], listen: "tcp://:5432"}
`

// address is where a service's program listens.
type address string

func (a address) Dial(ctx context.Context, _ int) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", string(a))
}

// meshed is a real mesh whose counts a Watch gets.
type meshed struct {
	t     *testing.T
	watch *Watch
	hand  *hand
	mesh  *mesh.Mesh
	meter *telemetry.Meter
	as    map[string]string // where web finds whom
	runs  uint64
}

func newMeshed(t *testing.T, yaml string) *meshed {
	t.Helper()
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(yaml))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	p := plan.Build(m)
	w, h, _ := shop(t)
	w.SetPlan(p)
	h.now = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	x := &meshed{t: t, watch: w, hand: h, meter: telemetry.NewMeter(h.now), as: map[string]string{}}
	x.mesh = mesh.New(mesh.Config{Meter: x.meter, Record: func(wire.Event) {}})
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		x.mesh.Shutdown(ctx)
	})
	if err := x.mesh.SetPlan(p, "2026-01-01"); err != nil {
		t.Fatal(err)
	}
	var upstreams []plan.Upstream
	var listeners []net.Listener
	for name, u := range map[string]plan.Upstream{"catalog": {TargetPort: 8080, Protocol: model.HTTP}, "db": {TargetPort: 5432, Protocol: model.TCP}} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		u.Target = name
		upstreams, listeners, x.as[name] = append(upstreams, u), append(listeners, ln), ln.Addr().String()
	}
	x.mesh.Attach(wire.Instance{Service: "web"}, upstreams, listeners, nil)
	return x
}

// run lets a service run, until the function that comes back is called.
func (x *meshed) run(service string, h http.HandlerFunc) (stop func()) {
	s := httptest.NewServer(h)
	x.runs++
	id := wire.Instance{Service: service, Run: x.runs}
	x.mesh.Attach(id, nil, nil, address(s.Listener.Addr().String()))
	return sync.OnceFunc(func() {
		x.mesh.Detach(id)
		s.Close()
	})
}

// asks has web call the catalog so many times at once, until ctx ends, and returns the answers by status, 0 for none.
func (x *meshed) asks(ctx context.Context, n int) map[int]int {
	x.t.Helper()
	before := x.counted()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var wg sync.WaitGroup
	statuses := make([]int, n)
	for i := range n {
		wg.Go(func() {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+x.as["catalog"]+"/books", nil)
			if err != nil {
				x.t.Error(err)
				return
			}
			resp, err := client.Do(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			statuses[i] = resp.StatusCode
		})
	}
	wg.Wait()
	for end := time.Now().Add(10 * time.Second); x.counted() < before+uint64(n); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatal("calls are still under way")
		}
	}
	out := map[int]int{}
	for _, s := range statuses {
		out[s]++
	}
	return out
}

// counted is how many calls of the catalog have ended.
func (x *meshed) counted() (n uint64) {
	for _, s := range x.meter.Read("agent", x.hand.now).Samples {
		if s.Target == "catalog" {
			n += s.Requests()
		}
	}
	return n
}

// minute reports what was counted, and lets a minute pass.
func (x *meshed) minute() {
	x.t.Helper()
	x.hand.now = x.hand.now.Add(time.Minute)
	if err := errors.Join(x.watch.Take("agent", x.meter.Read("agent", x.hand.now)), x.watch.sample()); err != nil {
		x.t.Fatal(err)
	}
}

// edge is what Watch shows of a route from web, with a verdict.
func (x *meshed) edge(target, route string, v telemetry.Verdict) (out Edge) {
	for _, e := range x.watch.Edges(time.Minute) {
		if e.Label == (telemetry.Label{Caller: "web", Target: target, Route: route, Verdict: v}) {
			out = e
		}
	}
	return out
}

func (x *meshed) promise() SLO {
	x.t.Helper()
	x.hand.now = x.hand.now.Add(judgeEvery)
	all, err := x.watch.SLOs()
	if err != nil || len(all) != 1 {
		x.t.Fatalf("%+v %v", all, err)
	}
	return all[0]
}

func ok(http.ResponseWriter, *http.Request) {}

// TestAnOutageBetweenServicesBreaksThePromise: nobody from outside has to ask for it to be seen.
func TestAnOutageBetweenServicesBreaksThePromise(t *testing.T) {
	t.Parallel() // it waits
	x := newMeshed(t, outageModel)
	stop := x.run("catalog", ok)
	defer stop()
	if got := x.asks(t.Context(), 60); got[http.StatusOK] != 60 {
		t.Fatal(got)
	}
	x.minute()
	if s := x.promise(); s.Route != "GET /books" || s.Availability != 100 || s.Alert != slo.None {
		t.Fatalf("%+v", s)
	}
	stop()
	c, err := net.Dial("tcp", x.as["db"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := x.asks(t.Context(), 60); got[http.StatusBadGateway]+got[http.StatusGatewayTimeout] != 60 {
		t.Fatal(got)
	}
	_, _ = c.Read(make([]byte, 1)) // until it is closed
	x.minute()
	if e := x.edge("catalog", "GET /books", telemetry.Failed); e.Total != 60 || e.Errors != 1 {
		t.Errorf("%+v", e)
	}
	if e := x.edge("db", "tcp", telemetry.Failed); e.Total != 1 {
		t.Errorf("%+v", e)
	}
	if s := x.promise(); s.Alert != slo.Page || s.Availability > 55 || s.Availability < 45 {
		t.Errorf("%+v", s)
	}
	for _, s := range x.meter.Read("agent", x.hand.now).Samples {
		if s.Route == telemetry.Undeclared && s.Requests() > 0 {
			t.Errorf("counted as undeclared: %+v", s.Label)
		}
	}
}

// TestWhoWaitsInVainForLongerThanPromisedMetAFailure: a service that hangs answers nothing that could be counted as an error.
func TestWhoWaitsInVainForLongerThanPromisedMetAFailure(t *testing.T) {
	t.Parallel() // it waits
	x := newMeshed(t, outageModel)
	const n = 20
	arrived, over := make(chan struct{}, 2*n), make(chan struct{})
	stop := x.run("catalog", func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-over
	})
	defer stop()
	defer close(over)
	impatient, leave := context.WithCancel(t.Context())
	defer leave()
	go func() {
		for range n {
			<-arrived
		}
		leave()
	}()
	if got := x.asks(impatient, n); got[0] != n {
		t.Fatal(got)
	}
	x.minute()
	if e := x.edge("catalog", "GET /books", telemetry.Allowed); e.Total != n || e.Errors != 0 {
		t.Errorf("the impatient: %+v", e)
	}
	if s := x.promise(); s.Alert != slo.None || s.Availability != 100 {
		t.Errorf("the impatient: %+v", s)
	}
	patient, leave := context.WithTimeout(t.Context(), 2*time.Second)
	defer leave()
	if got := x.asks(patient, n); got[0] != n {
		t.Fatal(got)
	}
	x.minute()
	if e := x.edge("catalog", "GET /books", telemetry.Failed); e.Total != n || e.Errors != 1 {
		t.Errorf("it hangs: %+v", e)
	}
	if s := x.promise(); s.Availability > 55 || s.Availability < 45 {
		t.Errorf("it hangs: %+v", s)
	}
}
