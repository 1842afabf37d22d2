package up

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/wire"
)

// noValueError is why a service can't start until somebody sets a secret.
type noValueError struct{ error }

// deliver brings a service's secrets into its sandbox: before it runs, or in the place of older ones.
func (in *instance) deliver(ctx context.Context, box *sandbox.Sandbox) error {
	if len(in.service.Secrets) == 0 {
		return nil
	}
	d, err := in.up.admin.Deliver(ctx, wire.DeliveryRequest{Service: string(in.service.Name)})
	if fault.KindOf(err) == fault.NotFound {
		return noValueError{err}
	}
	if err != nil {
		return fmt.Errorf("fetch secrets: %w", err)
	}
	defer func() {
		for _, v := range d.Values {
			clear(v)
		}
	}()
	s := sandbox.Secrets{Values: d.Values, Env: map[string]string{}}
	for _, u := range in.service.Secrets {
		if u.Env != "" {
			s.Env[u.Env] = u.Secret
		}
	}
	if err := box.Deliver(s); err != nil {
		return err
	}
	in.mu.Lock()
	in.delivered = d.Versions
	in.mu.Unlock()
	return nil
}

// followSecrets brings new values to the services that run, and wakes those that wait for one.
func (s *Supervisor) followSecrets(ctx context.Context) {
	wire.Follow(ctx, "follow secrets", func(have string) (uint64, error) {
		v, err := s.admin.SecretVersions(ctx, have)
		if err == nil && have != "" && strconv.FormatUint(v.Sequence, 10) != have {
			s.mu.Lock()
			close(s.newValues)
			s.newValues = make(chan struct{})
			s.mu.Unlock()
			s.renewAll(ctx, v.Versions)
		}
		return v.Sequence, err
	})
}

// renewAll delivers what has changed, and starts the services anew whose file says so, one replica after the other.
func (s *Supervisor) renewAll(ctx context.Context, current map[string]int64) {
	again := map[string]bool{}
	for _, in := range s.instances() {
		if in.renew(ctx, current) {
			again[string(in.service.Name)] = true
		}
	}
	for service := range again {
		s.printer.Line(service, "a secret has a new value: starting again")
		s.owned.Go(func() {
			if err := s.restart(service); err != nil {
				slog.Error("restart for new secrets", "service", service, "error", err)
			}
		})
	}
}

// valuesToCome is closed when any secret gets a new value.
func (s *Supervisor) valuesToCome() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newValues
}

// renew delivers anew if a secret of the instance has another version, and signals it; it tells whether the service is to be started
// anew instead.
func (in *instance) renew(ctx context.Context, current map[string]int64) (restart bool) {
	in.mu.Lock()
	box, had := in.box, maps.Clone(in.delivered)
	in.mu.Unlock()
	if box == nil || had == nil {
		return false
	}
	changed, signals := false, map[string]bool{}
	for _, u := range in.service.Secrets {
		if current[u.Secret] == 0 || current[u.Secret] == had[u.Secret] {
			continue
		}
		changed = true
		restart = restart || u.Restart
		if u.Signal != "" {
			signals[u.Signal] = true
		}
	}
	if !changed || restart {
		return restart
	}
	if err := in.deliver(ctx, box); err != nil {
		slog.Error("deliver new secrets", "service", in.label(), "error", err)
		return false
	}
	for name := range signals {
		if err := box.Signal(unix.SignalNum("SIG" + name)); err != nil {
			slog.Error("tell of new secrets", "service", in.label(), "error", err)
		}
	}
	return false
}

// awaitValue waits, after an attempt that failed for want of a secret's value, until any secret gets one; it tells whether it did.
func (in *instance) awaitValue(ctx context.Context, err error, come <-chan struct{}) bool {
	var missing noValueError
	if !errors.As(err, &missing) {
		return false
	}
	select {
	case <-come:
	case <-ctx.Done():
	}
	return true
}
