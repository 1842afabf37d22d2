package mesh

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/pglogin"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/wire"
)

// Account is what an instance logs in to a database with.
type Account struct {
	User     string
	Password secret.Bytes
	Ends     <-chan struct{} // closed when it isn't valid any more: what it opened is closed then; nil for never
}

// Accounts knows what services log in to databases with.
type Accounts interface {
	// LogIn calls try with an account of the instance's at d, and again with another one as long as the server refuses
	// (pglogin.IsRefused) and there may be another.
	LogIn(ctx context.Context, in wire.Instance, d *model.Database, u *model.DatabaseUser, try func(Account) error) error
}

// How long a database's client may take to say what it wants, how long a login may take, and how long a session may be silent: pools
// keep connections for when they are needed, and queries take their time.
const (
	startupTime  = 10 * time.Second
	loginTime    = 15 * time.Second
	databaseIdle = 24 * time.Hour
)

// database is what a service is at a database.
type database struct {
	model.Database
	user *model.DatabaseUser
	tls  *tls.Config
}

// databaseKey is where a service dials it.
type databaseKey struct {
	caller, target string
	port           int
}

func newDatabases(p *plan.Plan) (map[databaseKey][]*database, error) {
	out := map[databaseKey][]*database{}
	for i := range p.Databases {
		d := &p.Databases[i]
		t, err := pglogin.TLS(p, d)
		if err != nil {
			return nil, err
		}
		for j := range d.Users {
			k := databaseKey{string(d.Users[j].Service), d.Target, d.Port}
			out[k] = append(out[k], &database{Database: *d, user: &d.Users[j], tls: t})
		}
	}
	return out, nil
}

// databasesOf are those that a link leads to and Ward logs in to. What comes from another agent is logged in already.
func (res *resolved) databasesOf(l *link) []*database {
	if l.via != "listener" {
		return nil
	}
	return res.state.databases[databaseKey{l.caller, l.target, l.port}]
}

// serveDatabase logs in for a service, and then carries bytes. It ends under.
func (m *Mesh) serveDatabase(ctx context.Context, c net.Conn, l *link, here []*database, under *call) {
	if !m.joinDatabase(ctx, c, l, here, under) {
		m.over(under, under.to.failed)
		c.Close()
	}
}

// joinDatabase tells whether a session came about, or needn't; then under has ended, and so has c.
func (m *Mesh) joinDatabase(ctx context.Context, c net.Conn, l *link, here []*database, under *call) bool {
	_ = c.SetDeadline(time.Now().Add(startupTime)) // a closed connection shows below
	start, err := pglogin.ReadStartup(c)
	var d *database
	if err == nil && start.Cancel == nil {
		d, err = choose(here, start)
	}
	if err != nil {
		var wrong *pglogin.Error
		if errors.As(err, &wrong) {
			m.note(denied{caller: l.caller, target: l.target, port: l.port, method: "TCP", malformed: wrong.Message, end: "outbound"})
			pglogin.Refuse(c, err)
		}
		return false
	}
	if start.Cancel != nil {
		m.cancelQuery(ctx, l, here[0], start.Cancel)
		m.over(under, under.to.allowed)
		c.Close()
		return true
	}
	_ = c.SetDeadline(time.Now().Add(loginTime + startupTime)) // as above
	s, a, err := m.logIn(ctx, l, d, start)
	if err != nil {
		m.note(denied{caller: l.caller, target: l.target, port: l.port, method: "TCP", failed: wire.Clip(err.Error()), end: "outbound"})
		pglogin.Refuse(c, err)
		return false
	}
	if err := s.Greet(c, start); err != nil {
		s.Conn.Close()
		return false
	}
	defer m.sessions.open(l, s.Key)()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if a.Ends != nil {
		m.wg.Go(func() {
			select {
			case <-a.Ends:
				cancel()
			case <-ctx.Done():
			}
		})
	}
	m.engine.Join(ctx, c, s.Conn, proxy.ConnInfo{Peer: l}, proxy.Tunnel{Idle: databaseIdle, Tag: under})
	return true
}

// choose finds the database that a client asks for. Where there is one only, it need not be named: clients that name none say the
// user's name.
func choose(here []*database, start *pglogin.Startup) (*database, error) {
	i := slices.IndexFunc(here, func(d *database) bool { return d.Database.Database == start.Database })
	if i < 0 && len(here) == 1 && (start.Database == "" || start.Database == start.User) {
		i = 0
	}
	if i < 0 {
		return nil, &pglogin.Error{Code: pglogin.CodeDatabase, Message: fmt.Sprintf("ward.yaml gives this service no user at database %q here", wire.Clip(start.Database))}
	}
	return here[i], nil
}

// logIn opens a session at the server.
func (m *Mesh) logIn(ctx context.Context, l *link, d *database, start *pglogin.Startup) (s *pglogin.Session, used Account, err error) {
	ctx, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	if m.config.Accounts == nil {
		return nil, used, errors.New("nobody here knows accounts of databases")
	}
	err = m.config.Accounts.LogIn(ctx, l.instance, &d.Database, d.user, func(a Account) error {
		c, err := m.dialDatabase(ctx, l.caller, &d.Database)
		if err != nil {
			return err
		}
		s, err = pglogin.Connect(ctx, c, pglogin.Login{User: a.User, Password: a.Password, Database: d.Database.Database, Parameters: start.Parameters, TLS: d.tls})
		if err != nil {
			c.Close()
			return err
		}
		used = a
		return nil
	})
	return s, used, err
}

// dialDatabase connects to a database's server.
func (m *Mesh) dialDatabase(ctx context.Context, caller string, d *model.Database) (net.Conn, error) {
	s := m.state.Load()
	if s == nil {
		return nil, errNoPlan
	}
	if x := s.externals[d.Target]; x != nil {
		return x.dial(ctx)
	}
	return m.dialService(ctx, caller, d.Target, d.Port)
}

// DialDatabase connects control to the server of a database of the plan where it makes users, and to no other.
func (m *Mesh) DialDatabase(ctx context.Context, name string) (net.Conn, error) {
	s := m.state.Load()
	if s == nil {
		return nil, errNoPlan
	}
	for i := range s.plan.Databases {
		if d := &s.plan.Databases[i]; d.Name == name && d.Admin.User != "" {
			return m.dialDatabase(ctx, "", d)
		}
	}
	return nil, fmt.Errorf("no database %s has an administrator in the plan", wire.Clip(name))
}

// sessions are the keys that services were given to cancel with.
type sessions struct {
	mu   sync.Mutex
	keys map[sessionKey][]byte // guarded by mu
}

type sessionKey struct {
	databaseKey
	pid uint32
}

// open notes a session's key, until closed is called.
func (s *sessions) open(l *link, k pglogin.Key) (closed func()) {
	if k.Secret == nil {
		return func() {}
	}
	at := sessionKey{databaseKey{l.caller, l.target, l.port}, k.PID}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[at] = k.Secret
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if subtle.ConstantTimeCompare(s.keys[at], k.Secret) == 1 { // it may be a newer session's by now
			delete(s.keys, at)
		}
	}
}

// has tells whether a key was given to the caller.
func (s *sessions) has(l *link, k *pglogin.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return subtle.ConstantTimeCompare(s.keys[sessionKey{databaseKey{l.caller, l.target, l.port}, k.PID}], k.Secret) == 1
}

// cancelQuery passes a wish to cancel on, if it is about a session of the caller's.
func (m *Mesh) cancelQuery(ctx context.Context, l *link, d *database, k *pglogin.Key) {
	if !m.sessions.has(l, k) {
		m.note(denied{caller: l.caller, target: l.target, port: l.port, method: "TCP", malformed: "a key to cancel with that it was not given", end: "outbound"})
		return
	}
	ctx, cancel := context.WithTimeout(ctx, startupTime)
	defer cancel()
	c, err := m.dialDatabase(ctx, l.caller, &d.Database)
	if err == nil {
		err = pglogin.Cancel(ctx, c, d.tls, *k)
		c.Close()
	}
	if err != nil {
		m.note(denied{caller: l.caller, target: l.target, port: l.port, method: "TCP", failed: wire.Clip(err.Error()), end: "outbound"})
	}
}
