package up

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/plan"
)

// look is how often ward.yaml is looked at for a change.
const look = 500 * time.Millisecond

// watch applies changes of ward.yaml until ctx ends.
func (s *Supervisor) watch(ctx context.Context) {
	last := s.stamp()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.flags.Flush()
		now := s.stamp()
		if now == last || now == "" {
			continue // an editor may have taken it away for a moment
		}
		last = now
		if err := s.apply(context.WithoutCancel(ctx)); err != nil {
			s.printer.Say("%s has changed, but the plan in force stays: %s", s.paths.File, err)
		}
	}
}

// stamp changes when the file does.
func (s *Supervisor) stamp() string {
	st, err := os.Stat(s.paths.File)
	if err != nil {
		return ""
	}
	return fmt.Sprint(st.ModTime().UnixNano(), st.Size())
}

// apply checks the file as it is now and puts its plan into force: rules at once and without
// touching a connection; services start, stop or restart only if they themselves changed. A bad file
// changes nothing.
func (s *Supervisor) apply(ctx context.Context) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	next, err := s.config.Load()
	if err != nil {
		return fault.Wrap(fault.Invalid, "ward.yaml has errors; see 'ward check'", err)
	}
	old := s.currentPlan()
	if next.Revision() == old.Revision() {
		return nil
	}
	if next.TrustDomain != old.TrustDomain || !reflect.DeepEqual(withoutPos(next.Gateway), withoutPos(old.Gateway)) {
		return fault.New(fault.Refused, "app, trust_domain and gateway can't change while Ward runs; stop it and start it again")
	}
	if next.Users.Host != old.Users.Host || next.Users.GeoIP != old.Users.GeoIP || next.Users.Breached != old.Users.Breached {
		return fault.New(fault.Refused, "users: itself, its host, geoip and breached can't change while Ward runs; stop it and start it again")
	}
	if c := &next.Watch.Console; c.On() && c.Host != old.Watch.Console.Host { // its certificate is for the host; without one it is only gone
		return fault.New(fault.Refused, "the host of the console can't change while Ward runs; stop it and start it again")
	}
	state, err := s.planState(next)
	if err != nil {
		return err
	}
	if err := s.admin.SetPlan(ctx, state); err != nil {
		return err
	}
	s.changeServices(ctx, old, next)
	s.printer.Say("plan %.12s in force", next.Revision())
	return nil
}

// changeServices stops what is gone or changed, and starts what is new or changed.
func (s *Supervisor) changeServices(ctx context.Context, old, next *plan.Plan) {
	same := map[string]bool{}
	for i := range next.Services {
		for j := range old.Services {
			if sameProcess(&next.Services[i], &old.Services[j]) {
				same[string(next.Services[i].Name)] = true
			}
		}
	}
	var stopping []*instance
	s.mu.Lock()
	for i := range old.Services {
		if name := string(old.Services[i].Name); !same[name] {
			stopping = append(stopping, s.services[name]...)
			delete(s.services, name)
		}
	}
	s.plan = next
	s.mu.Unlock()
	stopInstances(stopping)
	for i := range next.Services {
		svc := &next.Services[i]
		if same[string(svc.Name)] {
			continue
		}
		if err := s.startService(ctx, svc); err != nil {
			s.printer.Line(string(svc.Name), err.Error())
		}
	}
}

// sameProcess tells whether b's running instances may go on as a's: nothing that its sandbox is made
// from has changed. Who may call it can change at any time.
func sameProcess(a, b *plan.Service) bool {
	x, y := *a, *b
	x.Expose, y.Expose, x.Calls, y.Calls, x.StartAfter, y.StartAfter, x.Source, y.Source = nil, nil, nil, nil, nil, nil, "", ""
	return reflect.DeepEqual(withoutPos(x), withoutPos(y))
}

// withoutPos sets every line number to nothing: moving a line changes nothing.
func withoutPos[T any](v T) T {
	clearPos(reflect.ValueOf(&v).Elem())
	return v
}

func clearPos(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type().Name() == "Pos" {
			v.SetZero()
			return
		}
		for i := range v.NumField() {
			clearPos(v.Field(i))
		}
	case reflect.Slice:
		if v.IsNil() {
			return
		}
		fresh := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(fresh, v)
		v.Set(fresh)
		for i := range v.Len() {
			clearPos(v.Index(i))
		}
	}
}
