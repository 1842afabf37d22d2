// Package control is the control plane: identities, the plan in force, and the ledger, behind one
// API per kind of caller.
//
// Guarantee: what a caller may ask follows from the socket that it came in on: the
// agent's, the gateway's or the administrator's; the plan and the keys survive a restart; every change of
// plan and every certificate is in the ledger. It never faces the Internet, and no
// service reaches it.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity"
	"github.com/wardhq/ward/internal/cap/secrets"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/capability"
	"github.com/wardhq/ward/internal/console"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/ledger/anchor"
	"github.com/wardhq/ward/internal/ledger/check"
	"github.com/wardhq/ward/internal/ledger/search"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/diff"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// longPoll is how long a call waits for something newer.
const longPoll = 25 * time.Second

// aheadMost is how far a process' clock may be ahead of control's.
const aheadMost = time.Minute

// maxBatch is how many events of control's own go into the ledger at once.
const maxBatch = 1000

// Config is what a Control needs.
type Config struct {
	Dir         string
	Key         secret.Bytes
	TrustDomain string
	SVIDLife    time.Duration
	Clock       clock.Clock // nil for the system's
	// Layers are what protects the application while it runs, as the console shows them.
	Layers []capability.Capability
}

// Control is the control plane of one application.
type Control struct {
	config    Config
	authority *identity.Authority
	db        *store.DB
	users     *identity.Users
	safe      *secrets.Safe
	ledger    *ledger.Ledger
	search    *search.Searcher
	anchors   *anchor.Keeper
	checks    *check.Keeper
	events    chan wire.Event
	notes     *notes
	lost      atomic.Int64 // events that aren't in the ledger, until it says so
	telling   sync.Mutex   // held while it is told

	mu      sync.Mutex
	state   wire.PlanState // guarded by mu
	changed chan struct{}  // guarded by mu: closed and replaced when the plan changes
	usage   *usage         // has its own lock
	watch   *watch.Watch   // has its own lock
	found   *watch.Findings
	console *console.Console
	way     watch.Way

	notifier *watch.Notifier
}

// New opens the state of Dir.
func New(c Config) (*Control, error) {
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	k := &Control{config: c, changed: make(chan struct{}), events: make(chan wire.Event, 4096), notes: newNotes()}
	var err error
	k.way = watch.Way{Client: &http.Client{Transport: egressTransport()}, Dial: dialEgress, Version: version()}
	if k.watch, err = watch.Open(filepath.Join(c.Dir, watchFolder), c.Clock); err != nil {
		return nil, err
	}
	if err = k.openLedger(); err != nil {
		return nil, err
	}
	k.authority, err = identity.OpenAuthority(identity.AuthorityConfig{
		Dir: filepath.Join(c.Dir, "identity"), Key: c.Key, TrustDomain: c.TrustDomain, SVIDLife: c.SVIDLife, Clock: c.Clock,
		Issued: func(id, serial string, end time.Time) {
			if _, service, ok := strings.Cut(id, "/svc/"); ok {
				k.watch.Issued(service, end)
			}
			k.note(wire.Event{Kind: "certificate.issued", Subject: "control", Object: id, Detail: map[string]string{"serial": serial, "not_after": end.UTC().Format(time.RFC3339)}})
		},
	})
	if err != nil {
		return nil, err
	}
	if err := k.openUsers(); err != nil {
		return nil, err
	}
	if err := k.openSafe(); err != nil {
		return nil, err
	}
	k.found, err = watch.OpenFindings(context.Background(), watch.FindingsConfig{DB: k.db, Clock: c.Clock, Ledger: k.ledger, Watch: k.watch, Record: k.note, Dir: c.Dir, Ending: k.safe.Ending, Trap: k.safe.CanaryHost})
	if err != nil {
		return nil, err
	}
	if k.notifier, err = watch.OpenNotifier(context.Background(), watch.NotifierConfig{DB: k.db, Clock: c.Clock, Findings: k.found, Watch: k.watch, Record: k.note, Way: k.way}); err != nil {
		return nil, err
	}
	if err := k.openConsole(); err != nil {
		return nil, err
	}
	if k.usage, err = openUsage(filepath.Join(c.Dir, "usage.json"), c.Clock.Now()); err != nil {
		return nil, err
	}
	if err := k.loadPlan(); err != nil {
		return nil, err
	}
	k.usage.expect(k.state.Plan, c.Clock.Now())
	if k.state.Plan != nil {
		k.watch.SetPlan(k.state.Plan)
		k.found.SetPlan(k.state.Plan)
		k.keepLedger(k.state.Plan)
	}
	if err := k.loadUsers(); err != nil {
		return nil, err
	}
	return k, nil
}

// Run writes control's own events until ctx ends.
func (k *Control) Run(ctx context.Context) {
	k.note(wire.Event{Kind: "control.start", Subject: "control"})
	flush := time.NewTicker(10 * time.Second)
	defer flush.Stop()
	for {
		select {
		case e := <-k.events:
			k.keep(e)
		case <-flush.C:
			if err := k.usage.save(); err != nil {
				slog.Error("usage not kept", "error", err)
			}
			returnMemory()
		case <-ctx.Done():
			for len(k.events) > 0 {
				k.keep(<-k.events)
			}
			return
		}
	}
}

// keep brings one of control's own events into the ledger, with those that wait behind it: a batch costs one
// synchronisation with the disk.
func (k *Control) keep(first wire.Event) {
	batch := []wire.Event{first}
	for len(k.events) > 0 && len(batch) < maxBatch {
		batch = append(batch, <-k.events)
	}
	defer k.notes.end(len(batch))
	k.tellLost()
	if k.ledger.Append(context.Background(), batch) == nil {
		return
	}
	for _, e := range batch { // what can't be kept must not take the others with it
		if err := k.ledger.Append(context.Background(), []wire.Event{e}); err != nil {
			k.lost.Add(1)
			slog.Error("event not kept", "kind", e.Kind, "error", err)
		}
	}
}

// Close ends what Run doesn't own.
func (k *Control) Close() error {
	return errors.Join(k.usage.save(), k.watch.Close(), k.db.Close(), k.ledger.Close())
}

// note queues an event of control's own, without sequence number: it isn't sent twice.
func (k *Control) note(e wire.Event) {
	e.Source, e.Time = "control", k.config.Clock.Now().UTC()
	k.notes.add()
	select {
	case k.events <- e:
	default:
		k.notes.end(1)
		k.lost.Add(1)
		slog.Error("event lost: the queue to the ledger is full", "kind", e.Kind)
	}
}

func (k *Control) planFile() string { return filepath.Join(k.config.Dir, "plan.json") }

func (k *Control) loadPlan() error {
	b, err := os.ReadFile(k.planFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load plan: %w", err)
	}
	if err := json.Unmarshal(b, &k.state); err != nil {
		return fmt.Errorf("load plan: %w", err)
	}
	return nil
}

// setPlan puts a plan into force and says in the ledger what changed.
func (k *Control) setPlan(ctx context.Context, s wire.PlanState) error {
	if s.Plan == nil || s.Plan.TrustDomain != k.config.TrustDomain {
		return fault.New(fault.Invalid, "the plan is of another trust domain")
	}
	s.Revision = s.Plan.Revision()
	k.mu.Lock()
	old := k.state
	k.mu.Unlock()
	if err := k.safe.SetPlan(ctx, s.Plan, s.Files); err != nil {
		return err
	}
	if err := k.setUsers(ctx, &s); err != nil {
		return err
	}
	if old.Revision == s.Revision {
		return nil
	}
	if err := k.ledger.Append(ctx, []wire.Event{planEvent(&old, &s, k.config.Clock.Now())}); err != nil {
		return err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("keep plan: %w", err)
	}
	tmp := k.planFile() + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("keep plan: %w", err)
	}
	if err := os.Rename(tmp, k.planFile()); err != nil {
		return fmt.Errorf("keep plan: %w", err)
	}
	k.usage.expect(s.Plan, k.config.Clock.Now())
	k.watch.SetPlan(s.Plan)
	k.found.SetPlan(s.Plan)
	k.keepLedger(s.Plan)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state = s
	close(k.changed)
	k.changed = make(chan struct{})
	return nil
}

func planEvent(old, s *wire.PlanState, now time.Time) wire.Event {
	e := wire.Event{Source: "control", Kind: "plan.change", Time: now.UTC(), Subject: "admin", Detail: map[string]string{"revision": s.Revision}}
	if old.Plan == nil {
		return e
	}
	e.Detail["from"] = old.Revision
	text := diff.Compare(old.Plan, s.Plan).Text("before", "ward.yaml")
	const most = 16 << 10
	if len(text) > most {
		text = text[:most] + "…"
	}
	e.Detail["changes"] = text
	return e
}

func (k *Control) getPlan(ctx context.Context, h wire.Have) (wire.PlanState, error) {
	s, err := await(ctx, func() (wire.PlanState, bool, <-chan struct{}) {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.state, k.state.Plan != nil && k.state.Revision != h.Revision, k.changed
	})
	if err == nil && s.Plan == nil {
		err = fault.New(fault.Unavailable, "no plan is in force yet")
	}
	s.Today = k.config.Clock.Now().UTC().Format(time.DateOnly)
	return s, err
}

func (k *Control) getBundle(ctx context.Context, h wire.Have) (wire.Bundle, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	end := time.Now().Add(longPoll)
	for {
		b, err := k.authority.Bundle()
		if err != nil || strconv.FormatUint(b.Sequence, 10) != h.Revision || time.Now().After(end) {
			return b, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return b, nil
		}
	}
}

// await returns look's value when it is fresh, or after longPoll.
func await[T any](ctx context.Context, look func() (v T, fresh bool, changed <-chan struct{})) (T, error) {
	limit := time.NewTimer(longPoll)
	defer limit.Stop()
	for {
		v, fresh, changed := look()
		if fresh {
			return v, nil
		}
		select {
		case <-changed:
		case <-limit.C:
			return v, nil
		case <-ctx.Done():
			return v, nil
		}
	}
}

// maxRoleBody bounds what agent and gateway may send at once, in bytes; their largest message is a batch of events.
const maxRoleBody = 8 << 20

// forRole is what of a plan a role needs to decide with. How services are started, and what env: tells them, is the
// supervisor's alone: a gateway or an agent that was taken over must not find the services' secrets.
func forRole(p *plan.Plan, role string) *plan.Plan {
	if p == nil {
		return nil
	}
	q := *p
	q.Services = slices.Clone(p.Services)
	for i := range q.Services {
		s := &q.Services[i]
		s.Env, s.Run, s.Files, s.Workdir, s.Secrets = nil, nil, model.Files{}, "", nil
		if role == "gateway" {
			s.Upstreams, s.Calls = nil, nil
		}
	}
	u := &q.Users
	u.Mail.PasswordFile, u.SMS.SecretFile, u.Breached = "", "", ""
	u.Texts, u.Flags = nil, nil
	q.Secrets = nil
	q.Watch.Rules = nil
	if role == "gateway" {
		q.Watch = model.Watch{Ledger: model.LedgerKeep{Allowed: p.Watch.Ledger.Allowed}, Console: p.Watch.Console}
		q.Keys, q.Databases = nil, nil
		u.Clients, u.Providers, u.Mail, u.SMS = nil, nil, model.Mail{}, model.SMS{}
		q.Externals, q.CAs = nil, nil
		q.Rules = slices.DeleteFunc(slices.Clone(p.Rules), func(r plan.Rule) bool { return r.Caller != plan.Outside })
	}
	return &q
}

// maySay tells whether a role has seen what an event tells of: none may tell of the plan, of certificates, or of the
// administrator, and the gateway of nobody but the outside.
func maySay(role string, e *wire.Event) bool {
	if !strings.HasPrefix(e.Source, role) {
		return false
	}
	switch role {
	case "gateway":
		return e.Kind == "ledger.lost" || strings.HasPrefix(e.Kind, "request.") && e.Subject == plan.Outside
	case "agent":
		return e.Kind == "ledger.lost" || strings.HasPrefix(e.Kind, "request.") || strings.HasPrefix(e.Kind, "learn.") ||
			e.Kind == "token.misused" || e.Kind == "secret.echo" || e.Kind == "secret.unseen" // other events of secrets are control's own
	}
	return true
}

type none struct{}

// forAgent is what the agent of this host may ask: identities of the plan's services, for it starts them.
func (k *Control) forAgent() http.Handler {
	mux := http.NewServeMux()
	k.common(mux, "agent")
	k.reports(mux, "agent")
	k.traces(mux, "agent")
	k.restricts(mux, "agent")
	k.allowedCalls(mux, "agent")
	k.follow(mux, true)
	wire.Handle(mux, "GET /v1/fingerprints", k.safe.SharedFingerprints)
	k.secretsForAgent(mux)
	wire.Handle(mux, "POST /v1/svid/x509", func(_ context.Context, r wire.SignRequest) (wire.SignReply, error) {
		if err := k.mayHaveIdentity(r.ID); err != nil {
			return wire.SignReply{}, err
		}
		return k.authority.SignX509(r)
	})
	wire.Handle(mux, "POST /v1/svid/jwt", func(_ context.Context, r wire.JWTRequest) (wire.JWTReply, error) {
		if err := k.mayHaveIdentity(r.ID); err != nil {
			return wire.JWTReply{}, err
		}
		reply, err := k.authority.SignJWT(r)
		if err == nil {
			k.note(wire.Event{Kind: "jwt.issued", Subject: "control", Object: r.ID, Detail: map[string]string{"audience": strings.Join(r.Audience, " ")}})
		}
		return reply, err
	})
	wire.Handle(mux, "POST /v1/usage", func(_ context.Context, u wire.Usage) (none, error) {
		k.usage.add(u, k.config.Clock.Now())
		return none{}, nil
	})
	return http.MaxBytesHandler(mux, maxRoleBody)
}

// forGateway is what the gateway may ask: its own identity.
func (k *Control) forGateway() http.Handler {
	mux := http.NewServeMux()
	k.common(mux, "gateway")
	k.reports(mux, "gateway")
	k.traces(mux, "gateway")
	k.restricts(mux, "gateway")
	wire.Handle(mux, "POST /v1/sightings", func(ctx context.Context, s wire.Sightings) (none, error) {
		return none{}, k.found.TakeSightings(ctx, s)
	})
	k.allowedCalls(mux, "gateway")
	k.follow(mux, false)
	wire.Handle(mux, "GET /v1/fingerprints", k.safe.SharedFingerprints)
	k.signIn(mux)
	wire.Handle(mux, "POST /v1/svid/x509", func(_ context.Context, r wire.SignRequest) (wire.SignReply, error) {
		p := k.planInForce()
		if p == nil || r.ID != "spiffe://"+p.TrustDomain+"/ward/gateway" {
			return wire.SignReply{}, fault.New(fault.Refused, "not the gateway's SPIFFE ID")
		}
		return k.authority.SignX509(r, gatewayNames(p)...)
	})
	return http.MaxBytesHandler(mux, maxRoleBody)
}

// gatewayNames are the names that the gateway's own certificate is for.
func gatewayNames(p *plan.Plan) []string {
	names := []string{p.Gateway.Host}
	if p.Gateway.Host != "localhost" {
		names = append(names, "localhost")
	}
	if p.Users.On() {
		names = append(names, p.Users.Host)
	}
	if p.Watch.Console.On() {
		names = append(names, p.Watch.Console.Host)
	}
	return names
}

func (k *Control) common(mux *http.ServeMux, role string) {
	wire.Handle(mux, "GET /v1/plan", func(ctx context.Context, h wire.Have) (wire.PlanState, error) {
		s, err := k.getPlan(ctx, h)
		if role != "up" {
			s.Plan = forRole(s.Plan, role)
		}
		return s, err
	})
	wire.Handle(mux, "GET /v1/bundle", k.getBundle)
	wire.Handle(mux, "POST /v1/events", func(ctx context.Context, events []wire.Event) (none, error) {
		for i := range events {
			if !maySay(role, &events[i]) {
				return none{}, fault.New(fault.Refused, "events that aren't this process's to tell")
			}
			if now := k.config.Clock.Now().UTC(); events[i].Time.After(now.Add(aheadMost)) {
				events[i].Time = now // else a record of the far future would keep its segment for good
			}
		}
		return none{}, k.ledger.Append(ctx, events)
	})
}

// forAdmin is for the supervisor and the command line.
func (k *Control) forAdmin() http.Handler {
	mux := http.NewServeMux()
	k.common(mux, "up")
	wire.Handle(mux, "PUT /v1/plan", func(ctx context.Context, s wire.PlanState) (none, error) { return none{}, k.setPlan(ctx, s) })
	wire.Handle(mux, "GET /v1/usage", func(context.Context, none) (wire.UsageReport, error) { return k.usage.report(), nil })
	mux.HandleFunc("GET /v1/ca.pem", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(k.authority.RootPEM()) })
	k.ledgerForAdmin(mux)
	mux.HandleFunc("GET /v1/backup", k.serveBackup)
	k.secretsForAdmin(mux)
	k.watched(mux)
	k.findings(mux)
	k.notices(mux)
	k.consoleForAdmin(mux)
	for _, path := range []string{"/v1/users", "/v1/users/", "/v1/recoveries", "/v1/recoveries/", "/v1/clients", "/v1/clients/", "/v1/tokens/", "/v1/first-admin", "/v1/openapi.json"} {
		mux.Handle(path, k.accountable(k.users.Admin()))
	}
	return mux
}

// mayHaveIdentity refuses certificates and tokens of what isn't a service of the plan, or is in quarantine.
func (k *Control) mayHaveIdentity(id string) error {
	p := k.planInForce()
	if p == nil {
		return fault.New(fault.Unavailable, "no plan is in force yet")
	}
	i := slices.IndexFunc(p.Services, func(s plan.Service) bool { return s.ID == id })
	switch {
	case i < 0:
		return fault.New(fault.Refused, "the plan has no service of this SPIFFE ID")
	case k.found.Quarantined(string(p.Services[i].Name)):
		return fault.New(fault.Refused, "the service is in quarantine")
	}
	return nil
}

// Main is control's process.
func Main(layers []capability.Capability) error {
	keepSmall()
	return wire.RunRole(func(ctx context.Context, c *wire.RoleConfig, ready func()) (wire.Role, error) {
		arena, err := secret.NewArena(1)
		if err != nil {
			return nil, err
		}
		if arena.Kind() == "unlocked" {
			slog.Warn("the root key may be swapped out: this user may lock no memory (RLIMIT_MEMLOCK)")
		}
		root, err := arena.Keep(c.Key) // and nothing of it stays in the orders that it came with
		if err != nil {
			return nil, err
		}
		k, err := New(Config{
			Dir: wire.StateDir, Key: root, TrustDomain: c.TrustDomain, SVIDLife: time.Duration(c.SVIDSeconds) * time.Second, Layers: layers,
		})
		if err != nil {
			return nil, err
		}
		r := &role{control: k, ready: ready, waiting: map[string]http.Handler{
			wire.ListenForAgent: k.forAgent(), wire.ListenForGateway: k.forGateway(), wire.ListenForAdmin: k.forAdmin(),
			wire.ListenPages: k.pages(),
		}}
		r.owned.Go(func() { k.Run(ctx) })
		r.owned.Go(func() { k.users.Run(ctx) })
		r.owned.Go(func() { k.safe.Run(ctx) })
		r.owned.Go(func() { k.watch.Run(ctx) })
		r.owned.Go(func() { k.found.Run(ctx) })
		r.owned.Go(func() { k.notifier.Run(ctx) })
		r.owned.Go(func() { k.console.Run(ctx) })
		r.owned.Go(func() { k.watch.Export(ctx, k.build) })
		r.owned.Go(func() { k.runLedger(ctx) })
		return r, nil
	})
}

// role is control as its supervisor drives it.
type role struct {
	control *Control
	ready   func()
	waiting map[string]http.Handler // what has no socket yet
	owned   sync.WaitGroup
}

// Obey serves on a socket; with the last one control is ready.
func (r *role) Obey(ctx context.Context, m *wire.ToRole, files []*os.File) error {
	if m.Listen == nil || r.waiting[m.Listen.Purpose] == nil {
		return errors.New("unexpected message")
	}
	ln, err := wire.Listener(files)
	if err != nil {
		return err
	}
	h := r.waiting[m.Listen.Purpose]
	delete(r.waiting, m.Listen.Purpose)
	r.owned.Go(func() { serve(ctx, ln, h) })
	if len(r.waiting) == 0 {
		r.ready()
	}
	return nil
}

// Drain does nothing: every answer is short.
func (r *role) Drain() {}

// Close waits for everything, and closes the state.
func (r *role) Close() error {
	r.owned.Wait()
	return r.control.Close()
}

func serve(ctx context.Context, ln net.Listener, h http.Handler) {
	if err := wire.Serve(ctx, ln, h); err != nil {
		slog.Error("serve", "error", err)
	}
}
