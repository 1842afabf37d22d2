// Package secrets keeps an application's keys and secrets, and hands them to those that ward.yaml names: keys are used here and
// never leave, secrets go to the launcher of the service that declares them, or to the agent that adds them to its calls.
//
// Guarantee: everything is sealed under the root key on disk; a use or a read is in the ledger before its result is given; who may do
// what follows from the plan in force alone. Not guaranteed: what a service does with a secret that it was given.
package secrets

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/secrets/internal/generate"
	"github.com/wardhq/ward/internal/cap/secrets/internal/keys"
	"github.com/wardhq/ward/internal/cap/secrets/internal/pgusers"
	"github.com/wardhq/ward/internal/cap/secrets/internal/values"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// Config is what a Safe needs.
type Config struct {
	DB    *store.DB
	Root  secret.Bytes // the application's root key
	Clock clock.Clock
	// Record returns when the events are durable in the ledger.
	Record func(context.Context, []wire.Event) error
	// Egress is the socket of the way out to databases.
	Egress string
}

// Safe is the keys and secrets of one application. Its methods are safe for concurrent use.
type Safe struct {
	config Config
	keys   *keys.Ring
	values *values.Store
	users  *pgusers.Users
	plan   atomic.Pointer[rights]
	prints prints

	mu      sync.Mutex
	plans   uint64        // guarded by mu: how many were put into force
	planned chan struct{} // guarded by mu: closed and replaced at each
}

// rights is what of a plan decides here.
type rights struct {
	plan     *plan.Plan
	services map[string]*plan.Service
	keys     map[string]map[string][]string // by service: uses by key
}

// Open opens the tables of DB. Nobody may do anything before SetPlan.
func Open(ctx context.Context, c Config) (*Safe, error) {
	s := &Safe{config: c, planned: make(chan struct{})}
	var err error
	s.keys, err = keys.Open(ctx, keys.Config{DB: c.DB, Root: secret.Derive(c.Root, "ward managed keys v1"), Clock: c.Clock, Record: s.recordUses})
	if err != nil {
		return nil, err
	}
	s.users = s.newUsers()
	s.values, err = values.Open(ctx, values.Config{DB: c.DB, Root: secret.Derive(c.Root, "ward managed secrets v1"), Clock: c.Clock, Record: c.Record, Rotator: s.rotator})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// SetPlan puts a plan into force; files are what it names, by path. Keys and generated values that are missing are made.
func (s *Safe) SetPlan(ctx context.Context, p *plan.Plan, files map[string][]byte) error {
	const day = 24 * time.Hour
	ks := make([]keys.Definition, len(p.Keys))
	for i := range p.Keys {
		k := &p.Keys[i]
		ks[i] = keys.Definition{Name: k.Name, Purpose: keys.Purpose(k.Purpose), Rotate: time.Duration(k.RotateDays) * day}
	}
	if err := s.keys.Define(ctx, ks); err != nil {
		return err
	}
	vs := make([]values.Definition, len(p.Secrets))
	for i := range p.Secrets {
		v := &p.Secrets[i]
		vs[i] = values.Definition{
			Name: v.Name, Generate: generate.Kind(v.Generate), Rotate: time.Duration(v.RotateDays) * day, Canary: v.Canary, Sealed: files[v.SealedFile],
		}
	}
	if err := s.values.Define(ctx, vs); err != nil {
		return err
	}
	r := &rights{plan: p, services: map[string]*plan.Service{}, keys: map[string]map[string][]string{}}
	for i := range p.Services {
		r.services[string(p.Services[i].Name)] = &p.Services[i]
	}
	for i := range p.Keys {
		for _, g := range p.Keys[i].Grants {
			if r.keys[g.Service] == nil {
				r.keys[g.Service] = map[string][]string{}
			}
			r.keys[g.Service][p.Keys[i].Name] = g.Uses
		}
	}
	if err := s.users.SetPlan(p); err != nil {
		return err
	}
	s.plan.Store(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plans++
	close(s.planned)
	s.planned = make(chan struct{})
	return nil
}

// Run does what is due, rotation above all, until ctx ends.
func (s *Safe) Run(ctx context.Context) {
	var databases sync.WaitGroup
	databases.Go(func() { s.runDatabases(ctx) })
	defer databases.Wait()
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := s.keys.Maintain(ctx); err != nil && ctx.Err() == nil {
			slog.Error("maintain keys", "error", err)
		}
		if err := s.values.Maintain(ctx); err != nil && ctx.Err() == nil {
			slog.Error("maintain secrets", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// recordUses brings uses of keys into the ledger.
func (s *Safe) recordUses(ctx context.Context, uses []keys.Use) error {
	events := make([]wire.Event, len(uses))
	now := s.config.Clock.Now().UTC()
	for i, u := range uses {
		events[i] = useEvent(&u)
		events[i].Source, events[i].Time = "control", now
	}
	return s.config.Record(ctx, events)
}

// useEvent is what the ledger says of uses that were counted together, or of a change by an administrator.
func useEvent(u *keys.Use) wire.Event {
	e := wire.Event{Kind: "key.use", Subject: u.Service, Object: u.Key, Count: u.Count, Detail: map[string]string{"op": string(u.Op)}}
	if u.Service == "" {
		e.Kind, e.Subject = "key.change", Administrator
	}
	if u.Version > 0 {
		e.Detail["version"] = strconv.FormatInt(u.Version, 10)
	}
	for name, v := range map[string]string{"instance": u.Instance, "class": u.Class, "table": u.Table, "column": u.Column} {
		if v != "" {
			e.Detail[name] = v
		}
	}
	return e
}

// Administrator is who changes keys and secrets over the administrators' socket.
const Administrator = "admin"

// Admin is the administrators' API, below /v1/keys and /v1/secrets; only they may get here.
func (s *Safe) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/keys", s.keys.Admin())
	mux.Handle("/v1/keys/", s.keys.Admin())
	mux.Handle("/", s.values.Admin(func(*http.Request) string { return Administrator }))
	return mux
}

// callerKey is where a request's context says which service it is from.
type callerKey struct{}

// Services is the services' API. Each request's path begins with /v1/as/<service>: the agent knows from the listener who calls, and
// only agents may get here.
func (s *Safe) Services() http.Handler {
	api := s.keys.Services(s.access)
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/as/{service}/", func(w http.ResponseWriter, r *http.Request) {
		service := r.PathValue("service")
		r = r.WithContext(context.WithValue(r.Context(), callerKey{}, service))
		http.StripPrefix("/v1/as/"+service, api).ServeHTTP(w, r)
	})
	return mux
}

func (s *Safe) access(r *http.Request) (keys.Access, error) {
	name, _ := r.Context().Value(callerKey{}).(string)
	p := s.plan.Load()
	if p == nil || p.services[name] == nil {
		return keys.Access{}, fault.New(fault.Refused, "the plan has no service of this name")
	}
	return keys.Access{Caller: keys.Caller{Service: name}, Keys: p.keys[name]}, nil
}

// Deliver returns what a service gets; see wire.Client.Deliver.
func (s *Safe) Deliver(ctx context.Context, r wire.DeliveryRequest) (wire.Delivery, error) {
	out := wire.Delivery{Values: map[string][]byte{}, Versions: map[string]int64{}}
	p := s.plan.Load()
	if p == nil || p.services[r.Service] == nil {
		return out, fault.New(fault.Refused, "the plan has no service of this name")
	}
	for _, u := range p.services[r.Service].Secrets {
		v, err := s.values.Get(ctx, values.Query{Name: u.Secret, Who: r.Service, Why: "delivery"})
		if fault.KindOf(err) == fault.NotFound {
			return out, noValue(u.Secret)
		}
		if err != nil {
			return out, err
		}
		out.Values[u.Secret], out.Versions[u.Secret] = v.Secret.Reveal(), v.Version
	}
	return out, nil
}

// Ending are the secrets whose value ends before a time.
func (s *Safe) Ending(ctx context.Context, before time.Time) (map[string]time.Time, error) {
	return s.values.Ending(ctx, before)
}

func noValue(name string) error {
	return fault.New(fault.NotFound, fmt.Sprintf("secret %s has no value yet; set one with 'ward secrets set %s'", name, name))
}

// follow waits until a secret or the plan is newer than have, or for a while, and returns the sequence number from before.
func (s *Safe) follow(ctx context.Context, have string) uint64 {
	limit := time.NewTimer(longPoll)
	defer limit.Stop()
	for {
		s.mu.Lock()
		plans, planned := s.plans, s.planned
		s.mu.Unlock()
		seq, changed := s.values.Changed()
		seq = seq<<16 | plans&0xffff
		if strconv.FormatUint(seq, 10) != have {
			return seq
		}
		select {
		case <-changed:
		case <-planned:
		case <-limit.C:
			return seq
		case <-ctx.Done():
			return seq
		}
	}
}

// longPoll is how long a follower waits for something newer.
const longPoll = 25 * time.Second

// Versions returns the current versions of what services get; see wire.Client.SecretVersions.
func (s *Safe) Versions(ctx context.Context, h wire.Have) (wire.SecretVersions, error) {
	out := wire.SecretVersions{Sequence: s.follow(ctx, h.Revision), Versions: map[string]int64{}}
	p := s.plan.Load()
	if p == nil || ctx.Err() != nil { // who asked has gone
		return out, nil
	}
	for _, svc := range p.services {
		for _, u := range svc.Secrets {
			if _, ok := out.Versions[u.Secret]; ok {
				continue
			}
			info, err := s.values.Info(ctx, u.Secret)
			if err != nil && fault.KindOf(err) != fault.NotFound {
				return out, err
			}
			out.Versions[u.Secret] = info.Current
		}
	}
	return out, nil
}

// ForAgents returns what agents need; see wire.Client.AgentSecrets. What has no value yet is left out.
func (s *Safe) ForAgents(ctx context.Context, h wire.Have) (wire.AgentSecrets, error) {
	out := wire.AgentSecrets{Sequence: s.follow(ctx, h.Revision), Values: map[string][]byte{}, Spare: map[string][][]byte{}}
	p := s.plan.Load()
	if p == nil || ctx.Err() != nil { // who asked has gone
		return out, nil
	}
	if err := s.spare(ctx, p.plan, out.Spare); err != nil {
		return out, err
	}
	for _, name := range p.plan.AgentSecrets() {
		v, err := s.values.Get(ctx, values.Query{Name: name, Who: "agent", Why: "use for services"})
		switch {
		case fault.KindOf(err) == fault.NotFound:
		case err != nil:
			slog.Warn("secret not given to the agent", "secret", name, "error", err)
		default:
			out.Values[name] = v.Secret.Reveal()
		}
	}
	return out, nil
}
