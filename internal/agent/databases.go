package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/mesh"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/pglogin"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// userMaker is control, as far as databases ask.
type userMaker interface {
	MakeDatabaseUser(context.Context, wire.DatabaseUserRequest) (wire.DatabaseUser, error)
	RenewDatabaseUser(context.Context, wire.DatabaseUserRequest) (wire.DatabaseUser, error)
	EndDatabaseUser(context.Context, wire.DatabaseUserRequest) error
	AgentSecrets(ctx context.Context, have string) (wire.AgentSecrets, error)
}

// accounts keeps what services log in to databases with: fixed accounts' passwords, and a user that control makes for each instance when
// it first needs one. A user is renewed while its instance runs; what isn't renewed in time ends, with its connections. Only memory
// holds their passwords: an agent that starts again has new users made.
type accounts struct {
	control userMaker
	clock   clock.Clock
	owned   sync.WaitGroup // what keeps and ends users
	asking  chan struct{}  // holds one while passwords are asked for anew
	asked   time.Time      // guarded by asking: when the newest were asked for

	mu      sync.Mutex
	secrets wire.AgentSecrets             // guarded by mu
	granted map[string]model.DatabaseUser // guarded by mu: by service and database, of the plan in force
	live    map[wire.Instance]bool        // guarded by mu
	made    map[madeKey]*madeUser         // guarded by mu
}

type madeKey struct {
	instance wire.Instance
	database string
}

// madeUser is a user of one instance's.
type madeUser struct {
	key   madeKey
	as    model.DatabaseUser // what the plan said when it was made
	gone  chan struct{}      // closed by drop
	ready chan struct{}      // closed when what follows is there
	err   error
	user  wire.DatabaseUser
	since time.Time // when it was made
}

const (
	makeTime    = 10 * time.Second       // for control to make or renew a user
	endTime     = 5 * time.Second        // to end one
	renewPause  = time.Second            // the shortest between attempts to renew
	remakePause = 10 * time.Second       // the shortest until a user is replaced that the database refuses
	askPause    = 200 * time.Millisecond // the shortest between questions for passwords
)

func newAccounts(control userMaker, c clock.Clock) *accounts {
	return &accounts{control: control, clock: c, asking: make(chan struct{}, 1), live: map[wire.Instance]bool{}, made: map[madeKey]*madeUser{}}
}

// setSecrets takes the fixed accounts' passwords.
func (a *accounts) setSecrets(s wire.AgentSecrets) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secrets = s
}

// setPlan takes who may be what, and ends the users that a plan has no more, or otherwise.
func (a *accounts) setPlan(p *plan.Plan) {
	granted := map[string]model.DatabaseUser{}
	for i := range p.Databases {
		for _, u := range p.Databases[i].Users {
			granted[grantKey(string(u.Service), p.Databases[i].Name)] = u
		}
	}
	a.mu.Lock()
	a.granted = granted
	a.mu.Unlock()
	a.dropIf(func(u *madeUser) bool { return !a.grants(u.key, &u.as) })
}

func grantKey(service, database string) string { return service + " " + database }

// grants tells whether the plan in force has a user so; a.mu is held.
func (a *accounts) grants(key madeKey, u *model.DatabaseUser) bool {
	is, ok := a.granted[grantKey(key.instance.Service, key.database)]
	is.Pos = u.Pos
	return ok && reflect.DeepEqual(is, *u)
}

// attach lets an instance have users.
func (a *accounts) attach(in wire.Instance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.live[in] = true
}

// detach ends an instance's users.
func (a *accounts) detach(in wire.Instance) {
	a.mu.Lock()
	delete(a.live, in)
	a.mu.Unlock()
	a.dropIf(func(u *madeUser) bool { return u.key.instance == in })
}

func (a *accounts) dropIf(f func(*madeUser) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, u := range a.made {
		if f(u) {
			a.drop(u)
		}
	}
}

// drop lets go of a user, whose keeper then ends it; a.mu is held.
func (a *accounts) drop(u *madeUser) {
	if a.made[u.key] == u {
		delete(a.made, u.key)
		close(u.gone)
	}
}

// close ends all users, and waits until that has come to its end.
func (a *accounts) close() {
	a.mu.Lock()
	clear(a.live)
	a.mu.Unlock()
	a.dropIf(func(*madeUser) bool { return true })
	a.owned.Wait()
}

// LogIn implements mesh.Accounts.
func (a *accounts) LogIn(ctx context.Context, in wire.Instance, d *model.Database, u *model.DatabaseUser, try func(mesh.Account) error) error {
	if u.Login.User != "" {
		return a.logInFixed(ctx, u, try)
	}
	var err error
	for range 2 { // somebody else may have ended the first
		var made *madeUser
		if made, err = a.get(ctx, madeKey{in, d.Name}, u); err != nil {
			return err
		}
		err = try(mesh.Account{User: made.user.User, Password: secret.New(made.user.Password), Ends: made.gone})
		if !pglogin.IsRefused(err) || a.clock.Now().Before(made.since.Add(remakePause)) {
			return err // what was just made is refused for another reason
		}
		a.mu.Lock()
		a.drop(made)
		a.mu.Unlock()
	}
	return err
}

// logInFixed tries the current password, and then those that may count while it changes: PostgreSQL has one at a time, so between its
// change there and the news of it here, or between two attempts, none of the known ones may be right. Then the newest are asked for, and
// all have another try.
func (a *accounts) logInFixed(ctx context.Context, u *model.DatabaseUser, try func(mesh.Account) error) error {
	err := fmt.Errorf("secret %s has no value yet; set one with 'ward secrets set %s'", u.Login.Secret, u.Login.Secret)
	began := a.clock.Now()
	for asked := false; ; asked = true {
		a.mu.Lock()
		current, spare := a.secrets.Values[u.Login.Secret], a.secrets.Spare[u.Login.Secret]
		a.mu.Unlock()
		for _, password := range append([][]byte{current}, spare...) {
			if len(password) == 0 {
				continue
			}
			if err = try(mesh.Account{User: u.Login.User, Password: secret.New(password)}); !pglogin.IsRefused(err) {
				return err
			}
		}
		if asked {
			return err
		}
		if askErr := a.askAnew(ctx, began); askErr != nil {
			return errors.Join(err, askErr)
		}
	}
}

// askAnew fetches passwords that are newer than a moment. However many logins fail, control is asked only so often.
func (a *accounts) askAnew(ctx context.Context, than time.Time) error {
	select {
	case a.asking <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-a.asking }()
	if a.asked.After(than) {
		return nil
	}
	pause := time.NewTimer(a.asked.Add(askPause).Sub(a.clock.Now()))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	now := a.clock.Now()
	newest, err := a.control.AgentSecrets(ctx, "")
	if err != nil {
		return err
	}
	a.asked = now
	a.setSecrets(newest)
	return nil
}

// get returns an instance's user, and has one made if there is none.
func (a *accounts) get(ctx context.Context, key madeKey, u *model.DatabaseUser) (*madeUser, error) {
	a.mu.Lock()
	made := a.made[key]
	if made == nil {
		if !a.live[key.instance] || !a.grants(key, u) {
			a.mu.Unlock()
			return nil, errors.New("the service's instance has ended, or the plan has changed")
		}
		made = &madeUser{key: key, as: *u, ready: make(chan struct{}), gone: make(chan struct{})}
		a.made[key] = made
		a.owned.Go(func() { a.keep(made) })
	}
	a.mu.Unlock()
	select {
	case <-made.ready:
		return made, made.err
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a user of database %s: %w", key.database, ctx.Err())
	}
}

// keep has a user made, renews it until it is dropped, and then ends it.
func (a *accounts) keep(m *madeUser) {
	r := wire.DatabaseUserRequest{Database: m.key.database, Instance: m.key.instance}
	ctx, cancel := context.WithTimeout(context.Background(), makeTime)
	m.user, m.err = a.control.MakeDatabaseUser(ctx, r)
	cancel()
	m.since = a.clock.Now()
	close(m.ready)
	if m.err != nil {
		a.mu.Lock()
		a.drop(m) // the next connection tries again
		a.mu.Unlock()
		return
	}
	r.User = m.user.User
	if a.renew(m, r) {
		ctx, cancel = context.WithTimeout(context.Background(), endTime)
		defer cancel()
		if err := a.control.EndDatabaseUser(ctx, r); err != nil {
			slog.Warn("end database user; the database does at its time", "database", r.Database, "user", r.User, "until", m.user.Until, "error", err)
		}
	}
}

// renew renews a user at two thirds of its life, until it is dropped; it tells whether there is something to end.
func (a *accounts) renew(m *madeUser, r wire.DatabaseUserRequest) bool {
	until := m.user.Until
	for {
		left := until.Sub(a.clock.Now())
		if left <= 0 {
			a.mu.Lock()
			a.drop(m)
			a.mu.Unlock()
			return true
		}
		// While control is away there is time for more attempts, each after two thirds of the rest.
		pause := time.NewTimer(min(max(left*2/3, renewPause), left))
		select {
		case <-pause.C:
		case <-m.gone:
			pause.Stop()
			return true
		}
		ctx, cancel := context.WithTimeout(context.Background(), makeTime)
		fresh, err := a.control.RenewDatabaseUser(ctx, r)
		cancel()
		switch {
		case err == nil:
			until = fresh.Until
		case fault.KindOf(err) == fault.NotFound, fault.KindOf(err) == fault.Refused:
			a.mu.Lock()
			a.drop(m)
			a.mu.Unlock()
			return false
		default:
			slog.Warn("renew database user", "database", r.Database, "user", r.User, "until", until, "error", err)
		}
	}
}
