// Package pgusers makes, renews and ends users at PostgreSQL databases, one for each instance of a service, and changes the passwords
// of fixed accounts.
//
// Guarantee: a user has the rights that the plan says and no others; it can't log in after its time, because the database itself says
// so (VALID UNTIL), whatever became of Ward; its password never crosses, nor does it stay here; what a user owned belongs to a role without
// rights when it ends; users that nobody ended are found by their names, so that nothing needs to be remembered. Each change is in the ledger.
// Not guaranteed: that a user that has ended is swept where the plan has its database no more.
//
// A fixed account keeps its name and changes its password, rather than take turns with a twin: rights, ownership and row policies hang
// on the name. PostgreSQL has one password at a time, so agents get the next one before it counts, and try it when the other is refused;
// sessions that are open live on.
package pgusers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/phrase"
	"github.com/wardhq/ward/internal/pglogin"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// Config is what Users need.
type Config struct {
	Clock clock.Clock
	// Dial connects to a database of the plan.
	Dial func(ctx context.Context, database string) (net.Conn, error)
	// Passwords are the values of a secret that may count at a database, the current one first.
	Passwords func(ctx context.Context, secret string) ([]secret.Bytes, error)
	// Record returns when the events are durable in the ledger.
	Record func(context.Context, []wire.Event) error
}

// Users are those of one application. Their methods are safe for concurrent use.
type Users struct {
	config Config
	owned  sync.WaitGroup // sessions that end

	mu      sync.Mutex
	app     string             // guarded by mu
	servers map[string]*server // guarded by mu: by database, those with an administrator
}

// New returns Users for whom there is no database before SetPlan.
func New(c Config) *Users { return &Users{config: c, servers: map[string]*server{}} }

// SetPlan takes the databases of a plan.
func (u *Users) SetPlan(p *plan.Plan) error {
	servers := map[string]*server{}
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range p.Databases {
		d := &p.Databases[i]
		if d.Admin.User == "" {
			continue
		}
		t, err := pglogin.TLS(p, d)
		if err != nil {
			return fault.Wrap(fault.Invalid, err.Error(), err)
		}
		key := fmt.Sprint(d.Target, d.Port, d.Database, d.TLS, d.Admin, p.CAs[plan.DatabaseCA(d.Name)])
		s := &server{config: &u.config, model: *d, tls: t, key: key, turn: make(chan struct{}, 1)}
		if old := u.servers[d.Name]; old != nil && old.key == key {
			s.turn, s.kept = old.turn, old.kept
		} else {
			s.kept = &kept{}
		}
		servers[d.Name] = s
	}
	for name, old := range u.servers {
		if s := servers[name]; s == nil || s.kept != old.kept {
			u.owned.Go(old.leave)
		}
	}
	u.app, u.servers = p.App, servers
	return nil
}

// Close ends the sessions with databases, and waits for it.
func (u *Users) Close() {
	u.mu.Lock()
	for _, s := range u.servers {
		u.owned.Go(s.leave)
	}
	u.app, u.servers = "", nil
	u.mu.Unlock()
	u.owned.Wait()
}

// find returns a database, and what a service is there. Without a plan nothing is known yet.
func (u *Users) find(database, service string) (*server, *model.DatabaseUser, string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.app == "" {
		return nil, nil, "", fault.New(fault.Unavailable, "no plan is in force yet")
	}
	if s := u.servers[database]; s != nil {
		for i := range s.model.Users {
			if d := &s.model.Users[i]; string(d.Service) == service && d.Login.User == "" {
				return s, d, u.app, nil
			}
		}
	}
	return nil, nil, "", fault.New(fault.Refused, "the plan makes no user for this service at this database")
}

// Make makes a user for an instance. Its password is returned and not kept.
func (u *Users) Make(ctx context.Context, r wire.DatabaseUserRequest) (wire.DatabaseUser, error) {
	s, d, app, err := u.find(r.Database, r.Instance.Service)
	if err != nil {
		return wire.DatabaseUser{}, err
	}
	password := make([]byte, 32)
	_, _ = rand.Read(password) // never returns an error (crypto/rand)
	password = base64.RawURLEncoding.AppendEncode(nil, password)
	verifier, err := pglogin.Verifier(secret.New(password))
	if err != nil {
		return wire.DatabaseUser{}, err
	}
	out := wire.DatabaseUser{User: namePrefix(app, r.Instance) + nameSuffix(), Password: password, Until: u.until(d)}
	if err := s.exec(ctx, makeStatements(out.User, verifier, out.Until, d, &s.model)); err != nil {
		return wire.DatabaseUser{}, s.failed("make a user", err)
	}
	if err := u.record(ctx, "database.user_made", &r, out.User, out.Until); err != nil {
		return wire.DatabaseUser{}, err
	}
	return out, nil
}

// until is when a user ends that is made or renewed now.
func (u *Users) until(d *model.DatabaseUser) time.Time {
	return u.config.Clock.Now().Add(time.Duration(d.Life) * time.Second).UTC().Truncate(time.Second)
}

// Renew lets a user of an instance live on; fault.NotFound if the database doesn't have it any more.
func (u *Users) Renew(ctx context.Context, r wire.DatabaseUserRequest) (wire.DatabaseUser, error) {
	s, d, app, err := u.find(r.Database, r.Instance.Service)
	if err == nil {
		err = owns(app, &r)
	}
	if err != nil {
		return wire.DatabaseUser{}, err
	}
	out := wire.DatabaseUser{User: r.User, Until: u.until(d)}
	err = s.exec(ctx, renewStatements(out.User, out.Until))
	if isMissing(err) {
		return wire.DatabaseUser{}, fault.New(fault.NotFound, "the database has no such user any more")
	}
	if err != nil {
		return wire.DatabaseUser{}, s.failed("renew a user", err)
	}
	return out, u.record(ctx, "database.user_renewed", &r, out.User, out.Until)
}

// End ends a user of an instance, with its sessions. One that is gone already is no error.
func (u *Users) End(ctx context.Context, r wire.DatabaseUserRequest) error {
	u.mu.Lock()
	s, app := u.servers[r.Database], u.app
	u.mu.Unlock()
	if s == nil {
		return fault.New(fault.Refused, "the plan has no such database")
	}
	// The service may have no right to a user any more: then it ends all the more.
	if err := owns(app, &r); err != nil {
		return err
	}
	err := s.end(ctx, r.User)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return s.failed("end a user", err)
	}
	return u.record(ctx, "database.user_ended", &r, r.User, time.Time{})
}

// Sweep ends the users that nobody renewed in time. A database that isn't reached waits for the next time.
func (u *Users) Sweep(ctx context.Context) error {
	u.mu.Lock()
	app := u.app
	servers := make([]*server, 0, len(u.servers))
	for _, s := range u.servers {
		if s.makes() {
			servers = append(servers, s)
		}
	}
	u.mu.Unlock()
	var errs []error
	for _, s := range servers {
		names, err := s.run(ctx, sweepQuery(app))
		for _, name := range names {
			switch endErr := s.end(ctx, name); {
			case endErr == nil:
				endErr = u.record(ctx, "database.user_swept", &wire.DatabaseUserRequest{Database: s.model.Name}, name, time.Time{})
				err = errors.Join(err, endErr)
			case isMissing(endErr), isElsewhere(endErr): // somebody else did, or it is of another database of the same server
			default:
				err = errors.Join(err, endErr)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("sweep users of database %s: %w", s.model.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (u *Users) record(ctx context.Context, kind string, r *wire.DatabaseUserRequest, user string, until time.Time) error {
	e := wire.Event{
		Source: "control", Time: u.config.Clock.Now().UTC(), Kind: kind, Subject: r.Instance.Service, Object: "database:" + r.Database, Detail: map[string]string{"user": user},
	}
	if e.Subject == "" {
		e.Subject = "control"
	} else {
		e.Detail["replica"] = strconv.Itoa(r.Instance.Replica)
	}
	if !until.IsZero() {
		e.Detail["until"] = until.Format(time.RFC3339)
	}
	return u.config.Record(ctx, []wire.Event{e})
}

// failed tells agents and administrators what a database didn't do, and why: nobody else hears it.
func (s *server) failed(what string, err error) error {
	return fault.New(fault.Unavailable, fmt.Sprintf("Ward can't %s at database %s: %v", what, s.model.Name, err))
}

// Account is a fixed account of a database that has an administrator, and whose password the secret holds.
type Account struct{ Database, User, Secret string }

// All are services' logins, and the administrators.
func (u *Users) All() []Account {
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []Account
	for name, s := range u.servers {
		add := func(l phrase.Login) {
			if a := (Account{name, l.User, l.Secret}); l.User != "" && !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
		add(s.model.Admin)
		for i := range s.model.Users {
			add(s.model.Users[i].Login)
		}
	}
	return out
}

// SetPassword changes an account's password, and proves by a login that it counts.
func (u *Users) SetPassword(ctx context.Context, a Account, password secret.Bytes) error {
	u.mu.Lock()
	s := u.servers[a.Database]
	u.mu.Unlock()
	if s == nil {
		return fault.New(fault.Conflict, "the plan has this database no more")
	}
	verifier, err := pglogin.Verifier(password)
	if err == nil {
		err = s.exec(ctx, passwordStatement(a.User, verifier))
	}
	if err == nil {
		err = s.tryLogin(ctx, a.User, password)
	}
	if err != nil {
		return s.failed("change the password of "+a.User, err)
	}
	e := wire.Event{Source: "control", Time: u.config.Clock.Now().UTC(), Kind: "database.password_changed", Subject: "control", Object: "database:" + a.Database, Detail: map[string]string{"user": a.User}}
	return u.config.Record(ctx, []wire.Event{e})
}

// Counts tells whether a password counts for an account.
func (u *Users) Counts(ctx context.Context, a Account, password secret.Bytes) (bool, error) {
	u.mu.Lock()
	s := u.servers[a.Database]
	u.mu.Unlock()
	if s == nil {
		return false, fault.New(fault.Conflict, "the plan has this database no more")
	}
	err := s.tryLogin(ctx, a.User, password)
	if pglogin.IsRefused(err) {
		return false, nil
	}
	return err == nil, err
}
