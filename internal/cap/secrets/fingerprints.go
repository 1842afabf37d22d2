package secrets

import (
	"context"
	"encoding/base32"
	"slices"
	"strings"
	"sync"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/secrets/internal/values"
	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// prints keeps the fingerprints of one state of the secrets.
type prints struct {
	mu       sync.Mutex
	sequence uint64             // guarded by mu; 0: none made yet
	made     *leak.Fingerprints // guarded by mu
}

// Fingerprints of all values that count or may count again, for the supervisor, which sees what services print.
func (s *Safe) Fingerprints(ctx context.Context, h wire.Have) (wire.Fingerprints, error) {
	return s.fingerprints(ctx, h, func(f *leak.Fingerprints) *leak.Fingerprints { return f })
}

// SharedFingerprints leave out what could be guessed from them, for the gateway.
func (s *Safe) SharedFingerprints(ctx context.Context, h wire.Have) (wire.Fingerprints, error) {
	return s.fingerprints(ctx, h, (*leak.Fingerprints).Shared)
}

func (s *Safe) fingerprints(ctx context.Context, h wire.Have, share func(*leak.Fingerprints) *leak.Fingerprints) (wire.Fingerprints, error) {
	out := wire.Fingerprints{Sequence: s.follow(ctx, h.Revision)}
	if ctx.Err() != nil { // who asked has gone
		return out, nil
	}
	made, err := s.makeFingerprints(ctx, out.Sequence)
	if err != nil {
		return out, err
	}
	out.Prints = share(made).Marshal()
	return out, nil
}

func (s *Safe) makeFingerprints(ctx context.Context, sequence uint64) (*leak.Fingerprints, error) {
	s.prints.mu.Lock()
	defer s.prints.mu.Unlock()
	if s.prints.sequence == sequence && s.prints.made != nil {
		return s.prints.made, nil
	}
	p := s.plan.Load()
	var all []leak.Secret
	err := s.values.Each(ctx, "control", "fingerprints", func(name string, _ values.Stage, v secret.Bytes) error {
		all = append(all, leak.Secret{Name: name, Value: v, Canary: p != nil && isCanary(p.plan, name)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if p != nil && !p.plan.Watch.NoCanaries {
		for name := range p.services {
			all = append(all, leak.Secret{Name: plan.CanaryName(name), Value: secret.New([]byte(s.canary(name))), Canary: true})
		}
	}
	s.prints.sequence, s.prints.made = sequence, leak.Make(all)
	return s.prints.made, nil
}

// Canary is the URL that a service finds in its environment, and has no use; "" where none is laid.
func (s *Safe) Canary(_ context.Context, r wire.DeliveryRequest) (wire.Canary, error) {
	p := s.plan.Load()
	if p == nil || p.services[r.Service] == nil {
		return wire.Canary{}, fault.New(fault.Refused, "the plan has no service of this name")
	}
	if p.plan.Watch.NoCanaries {
		return wire.Canary{}, nil
	}
	return wire.Canary{URL: "postgres://" + plan.CanaryUser + ":" + s.canary(r.Service) + "@" + s.CanaryHost(r.Service) + ":5432/backup"}, nil
}

// CanaryHost is the host of a service's trap: the same at each start, and for nobody to guess who hasn't seen that service's environment.
func (s *Safe) CanaryHost(service string) string {
	k := secret.Derive(s.config.Root, "ward canary host v1 "+service)
	return plan.CanaryPrefix + strings.ToLower(base32.StdEncoding.EncodeToString(k.Reveal()[:10])) + plan.CanarySuffix
}

// canary is the password of a service's trap: the same at each start, and for nobody else to guess.
func (s *Safe) canary(service string) string {
	k := secret.Derive(s.config.Root, "ward canary v1 "+service)
	return strings.ToLower(base32.StdEncoding.EncodeToString(k.Reveal()[:20]))
}

func isCanary(p *plan.Plan, name string) bool {
	i := slices.IndexFunc(p.Secrets, func(s model.Secret) bool { return s.Name == name })
	return i >= 0 && p.Secrets[i].Canary
}
