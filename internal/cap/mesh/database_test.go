package mesh

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/postgres"
	"github.com/wardhq/ward/internal/wire"
)

const databasesModel = `
app: dbs
services:
  web: {run: [x], listen: "http://:8080", calls: {pg: tcp}}
  orders: {run: [x], listen: "http://:8080", calls: {pg: tcp}}
externals:
  pg: {host: db.example, port: PGPORT, protocol: tcp, tls: none, addresses: [127.0.0.1]}
secrets: {a: {}, b: {}}
databases:
  shop: {at: pg, ca: ca.pem, admin: ward secret:a, users: {web: {role: r}, orders: {role: r}}}
  stats: {at: pg, tls: "off", users: {web: {login: ward secret:b}}}
`

// one gives everybody the same account, until its end.
type one struct {
	mu   sync.Mutex
	ends chan struct{} // guarded by mu
	err  error         // guarded by mu
}

func (o *one) LogIn(_ context.Context, _ wire.Instance, _ *model.Database, _ *model.DatabaseUser, try func(Account) error) error {
	o.mu.Lock()
	ends, err := o.ends, o.err
	o.mu.Unlock()
	if err != nil {
		return err
	}
	return try(Account{User: "ward", Password: secret.New([]byte("ward admin")), Ends: ends})
}

// databaseWorld is a mesh between two services and a real server.
type databaseWorld struct {
	*postgres.Remote
	mesh     *Mesh
	accounts *one
	at       map[string]string // where a service dials
	mu       sync.Mutex
	events   []wire.Event // guarded by mu
}

func startDatabases(t *testing.T) *databaseWorld {
	t.Helper()
	w := &databaseWorld{Remote: postgres.StartRemote(t, "db.example"), at: map[string]string{}, accounts: &one{ends: make(chan struct{})}}
	for _, name := range []string{"shop", "stats"} {
		w.Exec(t, "postgres", "CREATE DATABASE "+name)
	}
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(strings.ReplaceAll(databasesModel, "PGPORT", fmt.Sprint(w.Port))))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	p := plan.Build(m)
	p.CAs = map[string]string{plan.DatabaseCA("shop"): string(w.CA)}
	w.mesh = New(Config{Accounts: w.accounts, Record: func(e wire.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, e)
	}})
	if err := w.mesh.SetPlan(p, "2026-01-01"); err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Services {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		w.at[string(s.Name)] = ln.Addr().String()
		w.mesh.Attach(wire.Instance{Service: string(s.Name)}, s.Upstreams, []net.Listener{ln}, nil)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		w.mesh.Shutdown(ctx)
	})
	return w
}

func (w *databaseWorld) connect(t *testing.T, service, database string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://nobody@%s/%s?sslmode=prefer", w.at[service], database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func (w *databaseWorld) happened(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.events, func(e wire.Event) bool { return strings.Contains(fmt.Sprint(e), what) })
}

func TestDatabaseIsTheOneThatTheServiceHasAUserAt(t *testing.T) {
	w := startDatabases(t)
	for _, name := range []string{"shop", "stats"} {
		var got string
		if err := w.connect(t, "web", name).QueryRow(t.Context(), "SELECT current_database() || ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&got); err != nil || got != fmt.Sprint(name, name == "shop") {
			t.Errorf("web at %s: %s, %v", name, got, err)
		}
	}
	for service, name := range map[string]string{"orders": "stats", "web": "postgres"} {
		if _, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://nobody@%s/%s", w.at[service], name)); err == nil || !strings.Contains(err.Error(), "no user at database") {
			t.Errorf("%s at %s: %v", service, name, err)
		}
	}
	if !w.happened("no user at database") {
		t.Error("the ledger doesn't know")
	}
}

// TestOnlyItsOwnSessionsAreCancelled, whoever has the key.
func TestOnlyItsOwnSessionsAreCancelled(t *testing.T) {
	w := startDatabases(t)
	c := w.connect(t, "web", "shop")
	ended := make(chan error, 1)
	go func() {
		_, err := c.Exec(context.Background(), "SELECT pg_sleep(60)")
		ended <- err
	}()
	wardtest.Eventually(t, "the query runs", func() bool {
		return w.Ask(t, "shop", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'") == "1"
	})
	b := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 16, 4, 210, 22, 46}, c.PgConn().PID())
	b = append(b, c.PgConn().SecretKey()...)
	cancel := func(service string) {
		t.Helper()
		k, err := net.Dial("tcp", w.at[service])
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		if _, err := k.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(k); err != nil { // it is closed when all is done
			t.Fatal(err)
		}
	}
	cancel("orders")
	select {
	case err := <-ended:
		t.Fatalf("orders ended web's query: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if !w.happened("a key to cancel with") {
		t.Error("the ledger doesn't know")
	}
	cancel("web")
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "57014") {
		t.Errorf("web's own: %v", err)
	}
	_ = c.Close(t.Context())
	wardtest.Eventually(t, "the key is forgotten", func() bool {
		w.mesh.sessions.mu.Lock()
		defer w.mesh.sessions.mu.Unlock()
		return len(w.mesh.sessions.keys) == 0
	})
}

func TestSessionsEndWithTheirAccount(t *testing.T) {
	w := startDatabases(t)
	c := w.connect(t, "web", "shop")
	if _, err := c.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	close(w.accounts.ends)
	wardtest.Eventually(t, "the session ends", func() bool {
		_, err := c.Exec(t.Context(), "SELECT 1")
		return err != nil
	})
}

func TestWhyALoginFailsIsTheLedgers(t *testing.T) {
	w := startDatabases(t)
	w.accounts.err = errors.New("control keeps its reasons")
	_, err := pgx.Connect(t.Context(), "postgres://nobody@"+w.at["web"]+"/shop")
	if err == nil || strings.Contains(err.Error(), "its reasons") || !strings.Contains(err.Error(), "its ledger says why") {
		t.Errorf("the service is told: %v", err)
	}
	if !w.happened("control keeps its reasons") {
		t.Error("the ledger doesn't know")
	}
	over := func() bool {
		failed := uint64(0)
		for _, x := range w.mesh.config.Meter.Read("agent", time.Now()).Samples {
			if x.Open != 0 {
				return false
			}
			if x.Caller == "web" && x.Verdict == telemetry.Failed {
				failed += x.Requests()
			}
		}
		return failed > 0
	}
	for end := time.Now().Add(5 * time.Second); !over(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it isn't counted, or still under way: %+v", w.mesh.config.Meter.Read("agent", time.Now()).Samples)
		}
	}
}

// TestControlReachesOnlyDatabasesThatItAdministers on its way out.
func TestControlReachesOnlyDatabasesThatItAdministers(t *testing.T) {
	w := startDatabases(t)
	for name, ok := range map[string]bool{"shop": true, "stats": false, "pg": false, "": false} {
		c, err := w.mesh.DialDatabase(t.Context(), name)
		if (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
		if err == nil {
			c.Close()
		}
	}
}

// TestWhatAnotherAgentSendsIsLoggedInAlready: to log in again would be to speak PostgreSQL's start in the middle of a session.
func TestWhatAnotherAgentSendsIsLoggedInAlready(t *testing.T) {
	key := databaseKey{"web", "db", 5432}
	res := &resolved{state: &state{databases: map[databaseKey][]*database{key: {{}}}}}
	for via, want := range map[string]int{"listener": 1, "ingress": 0} {
		if got := len(res.databasesOf(&link{caller: "web", target: "db", port: 5432, via: via})); got != want {
			t.Errorf("by %s: %d", via, got)
		}
	}
	if len(res.databasesOf(&link{caller: "web", target: "db", port: 5433, via: "listener"})) != 0 {
		t.Error("another port is the database's")
	}
}
