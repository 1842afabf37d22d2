package pgusers

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/phrase"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wardtest/postgres"
	"github.com/wardhq/ward/internal/wire"
)

// world is a real server with one database, and the Users of an application.
type world struct {
	*postgres.Remote
	t      testing.TB
	users  *Users
	plan   *plan.Plan
	mu     sync.Mutex
	events []wire.Event  // guarded by mu
	ahead  time.Duration // guarded by mu: control's clock
}

func start(t testing.TB, users ...model.DatabaseUser) *world {
	t.Helper()
	w := &world{Remote: postgres.StartRemote(t, "db.example"), t: t}
	w.Exec(t, "postgres", "CREATE DATABASE shop")
	w.Exec(t, "postgres", "REVOKE CONNECT ON DATABASE shop FROM PUBLIC")
	w.Exec(t, "postgres", "CREATE ROLE shop_rw; GRANT CONNECT ON DATABASE shop TO shop_rw")
	w.Exec(t, "shop", `CREATE TABLE orders (id int); INSERT INTO orders VALUES (7); CREATE TABLE cards (id int); CREATE SCHEMA stock; CREATE TABLE stock."order" (id int);
		GRANT SELECT, INSERT ON orders TO shop_rw; GRANT CREATE ON SCHEMA public TO shop_rw`)
	w.plan = &plan.Plan{
		App:       "shop",
		Externals: []model.External{{Name: "pg", Host: "db.example"}},
		CAs:       map[string]string{plan.DatabaseCA("main"): string(w.CA)},
		Databases: []model.Database{{Name: "main", Target: "pg", Database: "shop", TLS: model.TLSVerify, CAFile: "ca.pem", Admin: phrase.Login{User: "ward", Secret: "pg-admin"}, Users: users}},
	}
	w.users = New(Config{
		Clock: clock.Func(func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return time.Now().Add(w.ahead) }),
		Dial: func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(w.Port)))
		},
		// The current value is one that doesn't count yet.
		Passwords: func(context.Context, string) ([]secret.Bytes, error) {
			return []secret.Bytes{secret.New([]byte("not yet")), secret.New([]byte("ward admin"))}, nil
		},
		Record: func(_ context.Context, e []wire.Event) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e...)
			return nil
		},
	})
	t.Cleanup(w.users.Close)
	if err := w.users.SetPlan(w.plan); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) move(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead += d
}

func (w *world) make(service string) wire.DatabaseUser {
	w.t.Helper()
	u, err := w.users.Make(w.t.Context(), request(service, ""))
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

func request(service, user string) wire.DatabaseUserRequest {
	return wire.DatabaseUserRequest{Database: "main", Instance: wire.Instance{Service: service, Replica: 2, Run: 5}, User: user}
}

func (w *world) login(u *wire.DatabaseUser) (*pgx.Conn, error) {
	c, err := pgx.Connect(w.t.Context(), fmt.Sprintf("host=127.0.0.1 port=%d dbname=shop sslmode=disable user='%s' password='%s'", w.Port, u.User, u.Password))
	if err == nil {
		w.t.Cleanup(func() { _ = c.Close(context.Background()) })
	}
	return c, err
}

var (
	byRole   = model.DatabaseUser{Service: "web", Role: "shop_rw", Life: 3600}
	byRights = model.DatabaseUser{Service: "orders", Life: 60, Rights: []phrase.Rights{
		{Privileges: []string{"SELECT", "INSERT"}, On: "TABLE orders"}, {Privileges: []string{"SELECT"}, On: "TABLE stock.order"}, {Privileges: []string{"SELECT"}, On: "ALL TABLES IN SCHEMA stock"},
	}}
)

// may tells which of some statements a user may run.
func may(t *testing.T, c *pgx.Conn, want map[string]bool) {
	t.Helper()
	for statement, ok := range want {
		if _, err := c.Exec(t.Context(), statement); (err == nil) != ok {
			t.Errorf("%s: %v, want it to be allowed: %t", statement, err, ok)
		}
	}
}

func TestUserHasTheRightsOfThePlanAndNoOthers(t *testing.T) {
	w := start(t, byRole, byRights)
	u := w.make("orders")
	if !strings.HasPrefix(u.User, "ward_shop_orders_2_") || len(u.Password) != 43 || time.Until(u.Until) > time.Minute || time.Until(u.Until) < 50*time.Second {
		t.Errorf("user %s until %s", u.User, u.Until)
	}
	c, err := w.login(&u)
	if err != nil {
		t.Fatal(err)
	}
	may(t, c, map[string]bool{
		"SELECT * FROM orders": true, "INSERT INTO orders VALUES (1)": true, "DELETE FROM orders": false, "SELECT * FROM cards": false, `SELECT * FROM stock."order"`: true,
		"CREATE TABLE mine (id int)": false, "SET ROLE shop_rw": false, "SET ROLE ward": false, "SET SESSION AUTHORIZATION ward": false, "CREATE ROLE x": false,
		`ALTER ROLE "` + u.User + `" VALID UNTIL 'infinity'`: false, `ALTER ROLE "` + u.User + `" CONNECTION LIMIT -1`: false, "SELECT * FROM pg_authid": false,
		"GRANT SELECT ON orders TO PUBLIC": true, // only a warning: nothing is granted
	})
	if got := w.Ask(t, "shop", "SELECT has_table_privilege('shop_rw', 'orders', 'DELETE')"); got != "false" {
		t.Error("a user granted what it hasn't")
	}
	as := w.make("web")
	c, err = w.login(&as)
	if err != nil {
		t.Fatal(err)
	}
	may(t, c, map[string]bool{"SELECT * FROM orders": true, "DELETE FROM orders": false, "SELECT * FROM cards": false, "CREATE TABLE made (id int)": true, "SET ROLE ward": false})
	if got := w.Ask(t, "shop", "SELECT tableowner FROM pg_tables WHERE tablename = 'made'"); got != "shop_rw" {
		t.Errorf("what a user makes is %s's", got)
	}
	if got := w.Ask(t, "shop", "SELECT rolpassword LIKE 'SCRAM-SHA-256$4096:%' FROM pg_authid WHERE rolname = '"+u.User+"'"); got != "true" {
		t.Error("the password isn't kept as a verifier")
	}
	if _, err := w.users.Make(t.Context(), request("gateway", "")); fault.KindOf(err) != fault.Refused {
		t.Errorf("a service without user: %v", err)
	}
}

func TestEndedUserIsGoneWithItsSessionsAndWhatItOwnedStays(t *testing.T) {
	w := start(t, byRole)
	u := w.make("web")
	c, err := w.login(&u)
	if err != nil {
		t.Fatal(err)
	}
	// Out of its role, what it makes is its own, and a transaction that is open doesn't hold up its end.
	for _, s := range []string{"SET ROLE NONE", "CREATE TABLE kept (id int)", "BEGIN", "LOCK TABLE kept"} {
		if _, err := c.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	// Nobody comes in between the end of its sessions and its own.
	if err := w.users.servers["main"].exec(t.Context(), closeStatements(u.User)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.login(&u); err == nil {
		t.Error("it logs in while it is ended")
	}
	if err := w.users.End(t.Context(), request("web", u.User)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("its session lives on")
	}
	if _, err := w.login(&u); err == nil {
		t.Error("it logs in after its end")
	}
	if got := w.Ask(t, "shop", "SELECT tableowner FROM pg_tables WHERE tablename = 'kept'"); got != "ward_shop_web_heir" {
		t.Errorf("its table is %s's", got)
	}
	if err := w.users.End(t.Context(), request("web", u.User)); err != nil {
		t.Errorf("ended again: %v", err)
	}
	if _, err := w.users.Renew(t.Context(), request("web", u.User)); fault.KindOf(err) != fault.NotFound {
		t.Errorf("renewed after its end: %v", err)
	}
	var kinds []string
	for _, e := range w.events {
		kinds = append(kinds, e.Kind+" "+e.Subject+" "+e.Object)
	}
	if got := strings.Join(kinds, ", "); got != "database.user_made web database:main, database.user_ended web database:main" {
		t.Errorf("the ledger: %s", got)
	}
}

// TestWhatAnEndedUserLeftRunsWithoutRights: a function, a view and a rule run as their owner, and an administrator who inherited them
// would be whoever calls them. It holds for one that isn't a superuser, too.
func TestWhatAnEndedUserLeftRunsWithoutRights(t *testing.T) {
	for _, admin := range []string{"ward", "maker"} {
		t.Run(admin, func(t *testing.T) {
			w := start(t, byRole)
			w.Exec(t, "postgres", "CREATE ROLE maker LOGIN CREATEROLE PASSWORD 'ward admin'; ALTER DATABASE shop OWNER TO maker")
			w.Exec(t, "shop", "ALTER TABLE cards OWNER TO "+admin)
			p := *w.plan
			p.Databases = []model.Database{w.plan.Databases[0]}
			p.Databases[0].Admin.User = admin
			if err := w.users.SetPlan(&p); err != nil {
				t.Fatal(err)
			}
			u := w.make("web")
			c, err := w.login(&u)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []string{
				"SET ROLE NONE", "CREATE TYPE pair AS (a int, b int)", "CREATE FUNCTION who() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user::text'",
				"CREATE VIEW peek AS SELECT * FROM cards", "GRANT SELECT ON peek TO PUBLIC",
				"CREATE TABLE lever (id int)", "CREATE RULE pull AS ON INSERT TO lever DO ALSO DELETE FROM cards", "GRANT INSERT ON lever TO PUBLIC",
			} {
				if _, err := c.Exec(t.Context(), s); err != nil {
					t.Fatalf("%s: %v", s, err)
				}
			}
			if err := w.users.End(t.Context(), request("web", u.User)); err != nil {
				t.Fatal(err)
			}
			u = w.make("web")
			if c, err = w.login(&u); err != nil {
				t.Fatal(err)
			}
			may(t, c, map[string]bool{"SELECT * FROM peek": false, "INSERT INTO lever VALUES (1)": false, "SET ROLE ward_shop_web_heir": false})
			var who string
			if err := c.QueryRow(t.Context(), "SELECT who()").Scan(&who); err != nil || who != "ward_shop_web_heir" {
				t.Errorf("what it left runs as %q, %v", who, err)
			}
			if got := w.Ask(t, "shop", "SELECT has_schema_privilege('ward_shop_web_heir', 'public', 'CREATE')"); got != "false" {
				t.Error("the heir may make things")
			}
		})
	}
}

// TestTheDatabaseItselfEndsUsers, with Ward gone: and a user that was renewed lives on.
func TestTheDatabaseItselfEndsUsers(t *testing.T) {
	w := start(t, byRights)
	w.move(-59 * time.Second)
	old, renewed := w.make("orders"), w.make("orders")
	w.move(59 * time.Second)
	fresh, err := w.users.Renew(t.Context(), request("orders", renewed.User))
	if err != nil || time.Until(fresh.Until) < 50*time.Second || fresh.Password != nil {
		t.Fatalf("renewed: %s, %v", fresh.Until, err)
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) { // the database's clock can't be set
		var c *pgx.Conn
		if c, err = w.login(&old); err != nil {
			break
		}
		_ = c.Close(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "28P01") {
		t.Errorf("a user logs in after its time: %v", err)
	}
	if _, err := w.login(&renewed); err != nil {
		t.Errorf("a renewed user: %v", err)
	}
}

func TestSweepEndsOnlyWhatIsOutOfTimeAndOurs(t *testing.T) {
	w := start(t, byRights)
	w.move(-3 * time.Minute)
	dead := w.make("orders")
	w.move(3 * time.Minute)
	live := w.make("orders")
	w.Exec(t, "postgres", `CREATE ROLE "ward_shop-two_orders_0_abcdef" VALID UNTIL '2020-01-01'; CREATE ROLE wardxshopxorders_0_abcdef VALID UNTIL '2020-01-01';
		CREATE ROLE "ward_shop_orders_0_forever"; CREATE ROLE ward_shop_other VALID UNTIL '2020-01-01'; CREATE ROLE "ward_shop_orders_0_abcdef" SUPERUSER VALID UNTIL '2020-01-01'`)
	w.Exec(t, "postgres", "CREATE DATABASE other")
	// A user of another database of the same server that has rights there: this database's sweep can't take it away, and isn't held up.
	w.Exec(t, "other", `CREATE ROLE "ward_shop_aaaa_0_abcdef" VALID UNTIL '2020-01-01'; CREATE TABLE x (id int); GRANT SELECT ON x TO "ward_shop_aaaa_0_abcdef"`)
	if err := w.users.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := w.Ask(t, "shop", "SELECT string_agg(rolname, ' ' ORDER BY rolname COLLATE \"C\") FROM pg_roles WHERE rolname LIKE 'ward_%'")
	want := "ward_shop-two_orders_0_abcdef ward_shop_aaaa_0_abcdef ward_shop_orders_0_abcdef ward_shop_orders_0_forever ward_shop_other " + live.User + " wardxshopxorders_0_abcdef"
	if strings.Contains(got, dead.User) || len(got) != len(want) {
		t.Errorf("after the sweep:\n%s, want\n%s", got, want)
	}
}

func TestAgentsRenewAndEndOnlyUsersOfTheInstance(t *testing.T) {
	w := start(t, byRole, byRights)
	w.Exec(t, "postgres", "CREATE ROLE victim LOGIN")
	web := w.make("web")
	for _, user := range []string{"victim", "ward", "", web.User, `ward_shop_orders_2_abcde"`, "ward_shop_orders_2_abcdefg", "ward_shop_orders_3_abcdef"} {
		if err := w.users.End(t.Context(), request("orders", user)); fault.KindOf(err) != fault.Refused {
			t.Errorf("end of %q: %v", user, err)
		}
		if _, err := w.users.Renew(t.Context(), request("orders", user)); fault.KindOf(err) != fault.Refused {
			t.Errorf("renewal of %q: %v", user, err)
		}
	}
	if err := w.users.End(t.Context(), request("x$ward$;", "ward_shop_x$ward$;_2_abcdef")); fault.KindOf(err) != fault.Refused {
		t.Errorf("end of a user whose name ends a quotation: %v", err)
	}
}

// TestAdministratorNeedNotBeSuperuser: CREATEROLE is enough, with the database's own objects.
func TestAdministratorNeedNotBeSuperuser(t *testing.T) {
	w := start(t, byRights)
	w.Exec(t, "postgres", "CREATE ROLE maker LOGIN CREATEROLE PASSWORD 'ward admin'; ALTER DATABASE shop OWNER TO maker")
	w.Exec(t, "shop", `ALTER TABLE orders OWNER TO maker; ALTER SCHEMA stock OWNER TO maker; ALTER TABLE stock."order" OWNER TO maker`)
	p := *w.plan
	p.Databases = []model.Database{w.plan.Databases[0]}
	p.Databases[0].Admin.User = "maker"
	if err := w.users.SetPlan(&p); err != nil {
		t.Fatal(err)
	}
	u := w.make("orders")
	c, err := w.login(&u)
	if err != nil {
		t.Fatal(err)
	}
	may(t, c, map[string]bool{"SELECT * FROM orders": true, "SELECT * FROM cards": false})
	if err := w.users.End(t.Context(), request("orders", u.User)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("its session lives on")
	}
}

func TestBrokenSessionIsReplaced(t *testing.T) {
	w := start(t, byRights)
	w.make("orders")
	w.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ward'")
	w.make("orders")
	if got := w.Ask(t, "shop", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ward'"); got != "1" {
		t.Errorf("%s sessions", got)
	}
}

func TestPasswordOfAnAccountChanges(t *testing.T) {
	w := start(t, model.DatabaseUser{Service: "web", Login: phrase.Login{User: "Web.1", Secret: "web-db"}})
	w.Exec(t, "postgres", `CREATE ROLE "Web.1" LOGIN PASSWORD 'old'; GRANT CONNECT ON DATABASE shop TO "Web.1"`)
	all := w.users.All()
	if len(all) != 2 || all[1] != (Account{"main", "Web.1", "web-db"}) {
		t.Fatalf("accounts %v", all)
	}
	open, err := w.login(&wire.DatabaseUser{User: "Web.1", Password: []byte("old")})
	if err != nil {
		t.Fatal(err)
	}
	next := secret.New([]byte("näxt'\\pass"))
	if err := w.users.SetPassword(t.Context(), all[1], next); err != nil {
		t.Fatal(err)
	}
	if ok, err := w.users.Counts(t.Context(), all[1], next); !ok || err != nil {
		t.Errorf("the new password: %t, %v", ok, err)
	}
	if ok, err := w.users.Counts(t.Context(), all[1], secret.New([]byte("old"))); ok || err != nil {
		t.Errorf("the old password: %t, %v", ok, err)
	}
	if _, err := open.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("a session that was open: %v", err)
	}
}

// TestImpostorIsRefused: a server whose certificate the plan doesn't name gets no login of the administrator's.
func TestImpostorIsRefused(t *testing.T) {
	w := start(t, byRights)
	other := postgres.StartRemote(t, "db.example")
	for name, change := range map[string]func(*plan.Plan){
		"another authority": func(p *plan.Plan) { p.CAs = map[string]string{plan.DatabaseCA("main"): string(other.CA)} },
		"another name":      func(p *plan.Plan) { p.Externals = []model.External{{Name: "pg", Host: "db2.example"}} },
		"the system's":      func(p *plan.Plan) { p.Databases[0].CAFile = "" },
	} {
		p := *w.plan
		p.Databases = slices.Clone(p.Databases)
		change(&p)
		w.users.Close() // a session that is kept was opened by the plan before
		if err := w.users.SetPlan(&p); err != nil {
			t.Fatal(err)
		}
		if _, err := w.users.Make(t.Context(), request("orders", "")); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := *w.plan
	p.CAs = nil
	if err := w.users.SetPlan(&p); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no authority: %v", err)
	}
}

func TestNamesFitAndStayApart(t *testing.T) {
	long := strings.Repeat("a", 62)
	one, two := namePrefix(long+"b", wire.Instance{Service: long + "c", Replica: 99999}), namePrefix(long+"b", wire.Instance{Service: long + "d", Replica: 99999})
	if len(one)+suffixSize > 63 || one == two {
		t.Errorf("%s and %s", one, two)
	}
}

// BenchmarkMake is what a user costs, made and ended, with the ledger left out.
func BenchmarkMake(b *testing.B) {
	for name, u := range map[string]model.DatabaseUser{"role": byRole, "rights": byRights} {
		b.Run(name, func(b *testing.B) {
			u.Service = "web"
			w := start(b, u)
			w.make("web")
			var making time.Duration
			for b.Loop() {
				began := time.Now()
				user := w.make("web")
				making += time.Since(began)
				if err := w.users.End(b.Context(), request("web", user.User)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(making.Microseconds())/float64(b.N), "µs/make")
		})
	}
}
