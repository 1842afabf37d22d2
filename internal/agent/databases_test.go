package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/mesh"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/phrase"
	"github.com/wardhq/ward/internal/pglogin"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// maker is control and the database behind it.
type maker struct {
	mu      sync.Mutex
	away    bool          // guarded by mu: control is
	slow    time.Duration // guarded by mu: making takes so long
	n       int           // guarded by mu
	said    []string      // guarded by mu: what was asked, with the seconds since the start
	began   time.Time
	secrets wire.AgentSecrets // guarded by mu
}

func (m *maker) note(format string, args ...any) error {
	m.said = append(m.said, fmt.Sprintf("%d ", int(time.Since(m.began).Seconds()))+fmt.Sprintf(format, args...))
	if m.away {
		return fault.New(fault.Unavailable, "control is away")
	}
	return nil
}

func (m *maker) MakeDatabaseUser(_ context.Context, r wire.DatabaseUserRequest) (wire.DatabaseUser, error) {
	m.mu.Lock()
	slow := m.slow
	m.mu.Unlock()
	time.Sleep(slow)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.n++
	return wire.DatabaseUser{User: fmt.Sprint("u", m.n), Password: []byte("p"), Until: time.Now().Add(time.Minute)}, m.note("make for %s", r.Instance.Service)
}

func (m *maker) RenewDatabaseUser(_ context.Context, r wire.DatabaseUserRequest) (wire.DatabaseUser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return wire.DatabaseUser{User: r.User, Until: time.Now().Add(time.Minute)}, m.note("renew %s", r.User)
}

func (m *maker) EndDatabaseUser(_ context.Context, r wire.DatabaseUserRequest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.note("end %s", r.User)
}

func (m *maker) AgentSecrets(_ context.Context, have string) (wire.AgentSecrets, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.secrets, m.note("secrets, having %q", have)
}

func (m *maker) set(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

// heard returns and forgets what was asked.
func (m *maker) heard() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := strings.Join(m.said, ", ")
	m.said = nil
	return out
}

var (
	web      = wire.Instance{Service: "web", Replica: 1, Run: 7}
	madeWeb  = model.DatabaseUser{Service: "web", Role: "rw", Life: 60}
	fixedWeb = model.DatabaseUser{Service: "web", Login: phrase.Login{User: "web", Secret: "web-db"}}
	shop     = model.Database{Name: "shop", Users: []model.DatabaseUser{madeWeb}}
)

func accountsFor(t *testing.T) (*accounts, *maker) {
	t.Helper()
	m := &maker{began: time.Now()}
	a := newAccounts(m, clock.System{})
	a.setPlan(&plan.Plan{Databases: []model.Database{shop}})
	a.attach(web)
	t.Cleanup(a.close)
	return a, m
}

// logIn returns the account that a login got, for which try says whether it counts.
func logIn(t *testing.T, a *accounts, u *model.DatabaseUser, try func(string) error) (mesh.Account, error) {
	t.Helper()
	var got mesh.Account
	err := a.LogIn(t.Context(), web, &shop, u, func(acc mesh.Account) error { got = acc; return try(acc.User + ":" + string(acc.Password.Reveal())) })
	return got, err
}

func counts(string) error { return nil }

func ended(a mesh.Account) bool {
	select {
	case <-a.Ends:
		return true
	default:
		return false
	}
}

func TestMadeUserIsSharedRenewedAndEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := accountsFor(t)
		one, err := logIn(t, a, &madeWeb, counts)
		two, err2 := logIn(t, a, &madeWeb, counts)
		if err != nil || err2 != nil || one.User != "u1" || two.User != "u1" {
			t.Fatalf("%s %v, %s %v", one.User, err, two.User, err2)
		}
		time.Sleep(85 * time.Second)
		if ended(one) {
			t.Error("it ended, though it was renewed")
		}
		a.detach(web)
		synctest.Wait()
		if !ended(one) {
			t.Error("it lives on without its instance")
		}
		if got := m.heard(); got != "0 make for web, 40 renew u1, 80 renew u1, 85 end u1" {
			t.Error(got)
		}
		if _, err := logIn(t, a, &madeWeb, counts); err == nil {
			t.Error("an instance that has ended gets a user")
		}
	})
}

func TestMadeUserLivesWhileControlIsAwayAndNoLongerThanItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := accountsFor(t)
		m.set(true)
		if _, err := logIn(t, a, &madeWeb, counts); fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("without control: %v", err)
		}
		m.set(false)
		acc, err := logIn(t, a, &madeWeb, counts)
		if err != nil {
			t.Fatal(err)
		}
		m.set(true)
		time.Sleep(59 * time.Second)
		if again, err := logIn(t, a, &madeWeb, counts); err != nil || again.User != acc.User || ended(acc) {
			t.Errorf("within its time: %s, %v", again.User, err)
		}
		time.Sleep(2 * time.Second)
		if !ended(acc) {
			t.Error("its sessions outlive it")
		}
		m.set(false)
		if next, err := logIn(t, a, &madeWeb, counts); err != nil || next.User == acc.User {
			t.Errorf("after its time: %s, %v", next.User, err)
		}
		if got := m.heard(); !strings.Contains(got, "40 renew u2, 53 renew u2, 57 renew u2") || !strings.Contains(got, "60 end u2, 61 make for web") {
			t.Error(got)
		}
	})
}

func TestMadeUserThatTheDatabaseRefusesIsReplacedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := accountsFor(t)
		refused := errors.New("refused")
		if _, err := logIn(t, a, &madeWeb, func(string) error { return refusal() }); !pglogin.IsRefused(err) || m.heard() != "0 make for web" {
			t.Errorf("one that was just made: %v", err)
		}
		time.Sleep(15 * time.Second)
		var tried []string
		if _, err := logIn(t, a, &madeWeb, func(who string) error {
			tried = append(tried, who)
			if who == "u1:p" {
				return refusal()
			}
			return refused
		}); !errors.Is(err, refused) {
			t.Errorf("%v", err)
		}
		synctest.Wait()
		if got := fmt.Sprint(tried, m.heard()); got != "[u1:p u2:p]15 end u1, 15 make for web" && got != "[u1:p u2:p]15 make for web, 15 end u1" {
			t.Error(got)
		}
	})
}

// refusal is what a server says of a wrong password, as only package pglogin can make it.
func refusal() error {
	said, err := (&pgproto3.ErrorResponse{Code: "28P01", Message: "no"}).Encode(nil)
	if err == nil {
		_, err = pglogin.Connect(context.Background(), refuser{r: bytes.NewReader(said)}, pglogin.Login{})
	}
	return err
}

// refuser is a server that takes nobody.
type refuser struct {
	net.Conn
	r io.Reader
}

func (c refuser) Read(b []byte) (int, error)  { return c.r.Read(b) }
func (refuser) Write(b []byte) (int, error)   { return len(b), nil }
func (refuser) SetDeadline(_ time.Time) error { return nil }

func TestUserEndsWithTheRightToIt(t *testing.T) {
	for name, p := range map[string]plan.Plan{
		"gone":         {},
		"other rights": {Databases: []model.Database{{Name: "shop", Users: []model.DatabaseUser{{Service: "web", Role: "ro", Life: 60}}}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, m := accountsFor(t)
			acc, err := logIn(t, a, &madeWeb, counts)
			if err != nil {
				t.Fatal(err)
			}
			moved := shop
			moved.Users = []model.DatabaseUser{madeWeb}
			moved.Users[0].Pos = model.Pos{Line: 99}
			a.setPlan(&plan.Plan{Databases: []model.Database{moved}})
			synctest.Wait()
			if ended(acc) {
				t.Errorf("%s: another line of the file ended it", name)
			}
			a.setPlan(&p)
			synctest.Wait()
			if !ended(acc) || !strings.Contains(m.heard(), "end u1") {
				t.Errorf("%s: it lives on", name)
			}
			if _, err := logIn(t, a, &madeWeb, counts); err == nil {
				t.Errorf("%s: it is made again by a connection of the plan before", name)
			}
		})
	}
}

func TestUserThatIsMadeTooLateIsEndedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := accountsFor(t)
		m.slow = 5 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.LogIn(ctx, web, &shop, &madeWeb, func(mesh.Account) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		a.detach(web)
		time.Sleep(10 * time.Second)
		if got := m.heard(); got != "5 make for web, 5 end u1" {
			t.Error(got)
		}
	})
}

func TestFixedAccountTriesWhatMayCountAndThenAsksForTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := accountsFor(t)
		given := func(current string, spare ...string) wire.AgentSecrets {
			s := wire.AgentSecrets{Values: map[string][]byte{"web-db": []byte(current)}, Spare: map[string][][]byte{}}
			for _, v := range spare {
				s.Spare["web-db"] = append(s.Spare["web-db"], []byte(v))
			}
			return s
		}
		try := func(right string) (string, error) {
			var tried []string
			_, err := logIn(t, a, &fixedWeb, func(who string) error {
				if tried = append(tried, who); who != "web:"+right {
					return refusal()
				}
				return nil
			})
			return strings.Join(tried, " ") + "; " + m.heard(), err
		}
		if got, err := try("x"); err == nil || !strings.Contains(err.Error(), "ward secrets set web-db") {
			t.Errorf("without value: %s, %v", got, err)
		}
		time.Sleep(time.Second)
		a.setSecrets(given("one", "next"))
		if got, err := try("one"); err != nil || got != "web:one; " {
			t.Errorf("the current one: %s, %v", got, err)
		}
		if got, err := try("next"); err != nil || got != "web:one web:next; " {
			t.Errorf("the pending one: %s, %v", got, err)
		}
		m.secrets = given("three", "next")
		if got, err := try("three"); err != nil || got != `web:one web:next web:three; 1 secrets, having ""` {
			t.Errorf("one that isn't known here: %s, %v", got, err)
		}
		// However many logins fail at once, control isn't asked for each.
		time.Sleep(time.Second)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := logIn(t, a, &fixedWeb, func(string) error { return refusal() }); !pglogin.IsRefused(err) {
					t.Errorf("a wrong password: %v", err)
				}
			})
		}
		all.Wait()
		if got := strings.Count(m.heard(), "secrets"); got > 2 {
			t.Errorf("control was asked %d times", got)
		}
	})
}
