package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wardtest/postgres"
)

// databaseModel has a database outside: web with a fixed account, orders with users made for it, and stranger with none.
const databaseModel = `
app: dbs
gateway: {listen: "127.0.0.1:{{port}}"}
services:
  web:
    run: [./toy]
    env: {NAME: web, GORACE: "atexit_sleep_ms=0"}
    listen: http://:8080
    expose: {route: "GET /**", to: anyone}
    calls: {orders: "GET /**", stranger: "GET /**", clients: "GET /**", pg: tcp}
  orders:
    run: [./toy]
    env: {NAME: orders, GORACE: "atexit_sleep_ms=0"}
    listen: http://:8080
    calls: {pg: tcp}
  stranger:
    run: [./toy]
    env: {NAME: stranger, GORACE: "atexit_sleep_ms=0"}
    listen: http://:8080
    calls: {pg: tcp}
  clients:
    run: [/usr/bin/python3, server.py]
    workdir: python
    runtime: python
    listen: http://:8080
    calls: {pg: tcp}
  psql:
    run: [PSQL, -X, -At, -w, -f, script.sql, "host=db.example port=PGPORT dbname=shop"]
    workdir: psql
    calls: {pg: tcp}
externals:
  pg: {host: db.example, port: PGPORT, protocol: tcp, tls: none, addresses: [127.0.0.1]}
secrets:
  pg-admin: {}
  web-db: {generate: password}
databases:
  shop:
    at: pg
    ca: ca.pem
    admin: ward secret:pg-admin
    users:
      web: {login: web secret:web-db}
      orders: {grants: ["SELECT, INSERT ON orders"], life: 1m}
      clients: {role: reader}
      psql: {role: reader}
`

// pythonClient answers by psycopg2, as it is.
const pythonClient = `
import http.server, urllib.parse, psycopg2
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        u = urllib.parse.urlparse(self.path); q = urllib.parse.parse_qs(u.query)
        try:
            c = psycopg2.connect(q["dsn"][0])
            with c, c.cursor() as k:
                k.execute(q["q"][0]); text = str(k.fetchall())
        except Exception as e: text = "error: " + str(e)
        b = text.encode(); self.send_response(200); self.send_header("Content-Length", str(len(b))); self.end_headers(); self.wfile.write(b)
http.server.ThreadingHTTPServer(("", 8080), H).serve_forever()`

// psqlScript is what psql, as it is, does as a service; its log tells how it went.
const psqlScript = `
SELECT 'plain ' || current_user || (SELECT id FROM orders);
\c -reuse-previous=off "host=db.example port=PGPORT dbname=shop user=postgres password=guess sslmode=prefer"
SELECT 'somebody ' || session_user;
SET ROLE ward;
\c -reuse-previous=off "host=db.example port=PGPORT user=shop"
SELECT 'default ' || current_database();
\c -reuse-previous=off "host=db.example port=PGPORT dbname=shop application_name=stays"
SELECT 'done ' || current_setting('application_name');
SELECT pg_sleep(3600);
`

// databases is a running application with a real server outside.
type databases struct {
	*wardtest.World
	pg *postgres.Remote
	t  *testing.T
}

func startDatabases(t *testing.T, model string) *databases {
	t.Helper()
	if err := exec.Command("/usr/bin/python3", "-c", "import psycopg2").Run(); err != nil {
		need.Missing(t, "Debian's python3-psycopg2 isn't installed")
	}
	psql, _ := filepath.Glob("/usr/lib/postgresql/*/bin/psql")
	pg := postgres.StartRemote(t, "db.example")
	pg.Exec(t, "postgres", "CREATE DATABASE shop")
	pg.Exec(t, "shop", "CREATE TABLE orders (id int); INSERT INTO orders VALUES (7); CREATE TABLE cards (id int); CREATE ROLE web LOGIN; CREATE ROLE reader; GRANT SELECT ON orders TO web, reader")
	fill := strings.NewReplacer("PGPORT", fmt.Sprint(pg.Port), "PSQL", psql[len(psql)-1])
	w := wardtest.Start(t, fill.Replace(model), func(c *up.Config) {
		dir := filepath.Dir(c.File)
		writeFile(t, filepath.Join(dir, "ca.pem"), string(pg.CA))
		writeFile(t, filepath.Join(dir, "python/server.py"), pythonClient)
		writeFile(t, filepath.Join(dir, "psql/script.sql"), fill.Replace(psqlScript))
		file := c.File
		c.Load = func() (*plan.Plan, error) { return loadPlan(cli.Env{Out: io.Discard, Err: io.Discard}, file) }
	})
	d := &databases{w, pg, t}
	if code, out := runWard(t, w, "ward admin", "secrets", "set", "pg-admin"); code != 0 {
		t.Fatalf("set: %s", out)
	}
	// Ward made web's password, and brings it to the database by itself.
	wardtest.Eventually(t, "web logs in", func() bool { return d.ask("web", "/sql", "dsn", d.dsn(""), "q", "SELECT session_user") == "200 web" })
	return d
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// dsn is how a service reaches the database: no password in it.
func (d *databases) dsn(more string) string {
	return fmt.Sprintf("host=db.example port=%d dbname=shop sslmode=prefer connect_timeout=5 %s", d.pg.Port, more)
}

// ask is askOrders for any service; of web itself from outside. The answer is the status and the body.
func (d *databases) ask(service, path string, q ...string) string {
	d.t.Helper()
	if service == "web" {
		code, body := ask(d.t, d.World, path, q...)
		return strconv.Itoa(code) + " " + strings.TrimSpace(body)
	}
	return strings.Replace(askService(d.t, d.World, service, path, q...), " OK ", " ", 1)
}

func TestServicesUseADatabaseWithoutPassword(t *testing.T) {
	t.Parallel()
	d := startDatabases(t, databaseModel)
	for name, c := range map[string]struct {
		service, path, dsn, q, want string
	}{
		"pgx, fixed":                       {"web", "/sql", d.dsn(""), "SELECT session_user || (SELECT id FROM orders)", "200 web7"},
		"pgx, no TLS asked for":            {"web", "/sql", d.dsn("sslmode=disable"), "SELECT session_user", "200 web"},
		"pgx, made":                        {"orders", "/sql", d.dsn(""), "SELECT left(session_user, 18) || (SELECT id FROM orders)", "200 ward_dbs_orders_0_7"},
		"psycopg2":                         {"clients", "/psycopg2", d.dsn(""), "SELECT current_user || id FROM orders", "200 [('reader7',)]"},
		"psycopg2, with a name of its own": {"clients", "/psycopg2", d.dsn("application_name=mine"), "SELECT current_setting('application_name')", "200 [('mine',)]"},
		"psycopg2 that insists on TLS":     {"clients", "/psycopg2", d.dsn("sslmode=require"), "SELECT 1", "server does not support SSL"},
		"no more than its rights":          {"orders", "/sql", d.dsn(""), "SELECT * FROM cards", "permission denied"},
		"not another's identity":           {"orders", "/sql", d.dsn(""), "SET SESSION AUTHORIZATION web", "permission denied"},
		"another user is ignored":          {"orders", "/sql", d.dsn("user=ward password='ward admin'"), "SELECT left(session_user, 11)", "200 ward_dbs_or"},
		"another database":                 {"orders", "/sql", strings.Replace(d.dsn(""), "dbname=shop", "dbname=postgres", 1), "SELECT 1", "no user at database"},
		"replication":                      {"clients", "/psycopg2", d.dsn("replication=database"), "IDENTIFY_SYSTEM", `doesn't pass "replication" on`},
		"options":                          {"clients", "/psycopg2", d.dsn("options='-c role=ward'"), "SELECT 1", `doesn't pass "options" on`},
		"without user: tcp as before":      {"stranger", "/sql", d.dsn("user=web password=guess sslmode=disable"), "SELECT 1", "28P01"},
	} {
		if got := d.ask(c.service, c.path, "dsn", c.dsn, "q", c.q); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	wardtest.Eventually(t, "psql has come to its end", func() bool { return strings.Contains(d.Log.String(), "done stays") })
	for _, want := range []string{"plain reader7", "somebody ward_dbs_psql_0_", `permission denied to set role "ward"`, "default shop"} {
		if !strings.Contains(d.Log.String(), want) {
			t.Errorf("psql didn't say %q", want)
		}
	}
	if got := d.pg.Ask(t, "shop", "SELECT ssl AND version = 'TLSv1.3' FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'stays'"); got != "true" {
		t.Error("Ward speaks no TLS to the server")
	}
	// No password is where a service could see it.
	if _, got := ask(t, d.World, "/env", "name", "PGPASSWORD"); got != "" {
		t.Errorf("PGPASSWORD=%s", got)
	}
	wardtest.Eventually(t, "the ledger tells of users and attacks", func() bool {
		_, out := runWard(t, d.World, "", "audit")
		return strings.Contains(out, "database.user_made") && strings.Contains(out, "database.password_changed") && strings.Contains(out, "replication")
	})
	// With the services, their users go.
	d.Stop()
	if got := d.pg.Ask(t, "shop", "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'ward\\_%'"); got != "0" {
		t.Errorf("%s users are left after the end", got)
	}
}

// TestRotationLosesNoConnection: 200 new connections a second, and one that stays, while the password changes.
func TestRotationLosesNoConnection(t *testing.T) {
	d := startDatabases(t, databaseModel)
	before := d.pg.Ask(t, "shop", "SELECT rolpassword FROM pg_authid WHERE rolname = 'web'")
	pumped := make(chan string, 1)
	go func() { pumped <- d.ask("web", "/pump", "dsn", d.dsn(""), "ms", "4000") }()
	wardtest.Eventually(t, "the load has begun", func() bool {
		return d.pg.Ask(t, "shop", "SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'web'") == "true"
	})
	if code, out := runWard(t, d.World, "", "secrets", "rotate", "web-db"); code != 0 {
		t.Errorf("rotate: %s", out)
	}
	got := <-pumped
	t.Log(got)
	if !strings.Contains(got, ", 0 failed") {
		t.Errorf("the load: %s", got)
	}
	if after := d.pg.Ask(t, "shop", "SELECT rolpassword FROM pg_authid WHERE rolname = 'web'"); after == before {
		t.Error("the password didn't change")
	}
	// Back to the value before, which the database follows; nothing fails in between either.
	if code, out := runWard(t, d.World, "", "secrets", "rollback", "web-db"); code != 0 {
		t.Errorf("rollback: %s", out)
	}
	if got := d.ask("web", "/pump", "dsn", d.dsn(""), "ms", "1000"); !strings.Contains(got, ", 0 failed") {
		t.Errorf("after a rollback: %s", got)
	}
}

// TestKilledPartsLoseNoUserForGood: while control is away services go on with what they have; an agent that was killed has forgotten
// its users, so that others are made, and those from before are swept when their time has passed.
func TestKilledPartsLoseNoUserForGood(t *testing.T) {
	t.Parallel()
	d := startDatabases(t, databaseModel)
	made := func() string { return d.ask("orders", "/sql", "dsn", d.dsn(""), "q", "SELECT session_user") }
	before := made()
	if !strings.HasPrefix(before, "200 ward_dbs_orders_0_") {
		t.Fatal(before)
	}
	pumped := make(chan string, 2)
	for _, service := range []string{"web", "orders"} {
		go func() { pumped <- d.ask(service, "/pump", "dsn", d.dsn(""), "ms", "2000") }()
	}
	control := rolePID(t, d.Status(), "control")
	if err := syscall.Kill(control, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := <-pumped; !strings.Contains(got, ", 0 failed") {
			t.Errorf("control was killed: %s", got)
		}
	}
	if got := made(); got != before {
		t.Errorf("%s became %s when control was killed", before, got)
	}
	if err := syscall.Kill(rolePID(t, d.Status(), "agent"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wardtest.Eventually(t, "another user is made", func() bool { got := made(); return strings.HasPrefix(got, "200 ward_dbs_orders_0_") && got != before })
	user := strings.TrimPrefix(before, "200 ")
	if got := d.pg.Ask(t, "shop", "SELECT rolvaliduntil < now() + interval '61 seconds' FROM pg_roles WHERE rolname = '"+user+"'"); got != "true" {
		t.Error("the database wouldn't end the user by itself")
	}
	d.pg.Exec(t, "shop", `ALTER ROLE "`+user+`" VALID UNTIL '2020-01-01'`)                       // as if its minute were over
	if code, out := runWard(t, d.World, "ward admin", "secrets", "set", "pg-admin"); code != 0 { // control looks after databases at each change
		t.Error(out)
	}
	wardtest.Eventually(t, "the user from before is swept", func() bool {
		return d.pg.Ask(t, "shop", "SELECT count(*) FROM pg_roles WHERE rolname = '"+user+"'") == "0"
	})
}

const guardedDatabaseModel = `
app: dbs
gateway: {listen: "127.0.0.1:{{port}}"}
services:
  web:
    run: [./toy]
    env: {NAME: web, GORACE: "atexit_sleep_ms=0"}
    listen: http://:8080
    expose: {route: "GET /**", to: anyone}
    calls: {db: tcp}
  db:
    run: ["{{postgres}}", -D, {{dir}}/db/data, -k, /tmp, -c, "listen_addresses=*"]
    workdir: db
    files: {write: [db/data]}
    listen: tcp://:5432
secrets:
  pg-admin: {}
databases:
  postgres: {at: db, admin: app secret:pg-admin, users: {web: {grants: "USAGE ON ALL SEQUENCES IN SCHEMA public"}}}
`

// TestDatabaseThatIsAServiceMakesUsersToo: PostgreSQL in a sandbox, as Debian ships it.
func TestDatabaseThatIsAServiceMakesUsersToo(t *testing.T) {
	t.Parallel()
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(bins) == 0 {
		need.Missing(t, "Debian's PostgreSQL isn't installed")
	}
	w := wardtest.Start(t, strings.ReplaceAll(guardedDatabaseModel, "{{postgres}}", bins[0]), func(c *up.Config) {
		dir := filepath.Dir(c.File)
		writeFile(t, filepath.Join(dir, "password"), "app admin")
		writeParts(t, dir, bins[0], "-A", "scram-sha-256", "--pwfile", filepath.Join(dir, "password"))
	})
	if code, out := runWard(t, w, "app admin", "secrets", "set", "pg-admin"); code != 0 {
		t.Fatal(out)
	}
	wardtest.Eventually(t, "web logs in", func() bool {
		_, got := ask(t, w, "/sql", "dsn", "host=db port=5432 dbname=postgres", "q", "SELECT session_user")
		return strings.HasPrefix(got, "ward_dbs_web_0_")
	})
}

// startup is a PostgreSQL message without type.
func startup(code uint32, rest string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(rest))+8)
	return string(binary.BigEndian.AppendUint32(b, code)) + rest
}

// TestAttacksOnTheLogin by bytes that no driver sends.
func TestAttacksOnTheLogin(t *testing.T) {
	t.Parallel()
	d := startDatabases(t, databaseModel)
	const v3 = 3 << 16
	to := fmt.Sprintf("db.example:%d", d.pg.Port)
	raw := func(service, bytes string) string {
		return d.ask(service, "/raw", "to", to, "hex", hex.EncodeToString([]byte(bytes)))
	}
	login := startup(v3, "user\x00postgres\x00database\x00shop\x00\x00")
	query := func(q string) string {
		return "Q" + string(binary.BigEndian.AppendUint32(nil, uint32(len(q))+5)) + q + "\x00"
	}
	if got := raw("orders", login+query("SELECT 'as ' || session_user")); !strings.Contains(got, "as ward_dbs_orders_0_") {
		t.Errorf("a startup with a query behind it: %q", got)
	}
	for name, c := range map[string]struct{ in, want string }{
		"a second startup":       {login + login + query("SELECT 'as ' || session_user"), "invalid frontend message type 0"},
		"a password nobody asks": {login + "p\x00\x00\x00\x0cpostgres" + query("SELECT 'as ' || session_user"), "FATAL"},
		"a giant":                {"\x7f\xff\xff\xff\x00\x03\x00\x00", "isn't how"},
		"two users":              {startup(v3, "user\x00a\x00user\x00postgres\x00\x00"), "no one reading"},
		"version 2":              {startup(2<<16, strings.Repeat("\x00", 288)), "version 3"},
		"TLS from the start":     {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "isn't how"},
	} {
		got := raw("orders", c.in)
		if !strings.Contains(got, c.want) || strings.Contains(got, "as postgres") || strings.Contains(got, "as ward\x00") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	// The key of web's session, which only web may cancel with.
	go d.ask("web", "/sql", "dsn", d.dsn("application_name=sleeper"), "q", "SELECT pg_sleep(30)")
	var pid string
	wardtest.Eventually(t, "the query runs", func() bool {
		pid = d.pg.Ask(t, "shop", "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE application_name = 'sleeper' AND state = 'active'")
		return pid != "0"
	})
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	raw("orders", startup(80877102, string(binary.BigEndian.AppendUint32(nil, uint32(n)))+"abcd"))
	wardtest.Eventually(t, "a cancellation with a key of another's is in the ledger", func() bool {
		_, out := runWard(t, d.World, "", "audit")
		return strings.Contains(out, "a key to cancel with that it was not given")
	})
	if got := d.pg.Ask(t, "shop", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sleeper' AND state = 'active'"); got != "1" {
		t.Error("another service cancelled the query")
	}
	// Its own is passed on: pgx cancels when the request ends.
	d.pg.Exec(t, "shop", "SELECT pg_terminate_backend("+pid+")")
	if got := d.ask("clients", "/psycopg2", "dsn", d.dsn(""), "q", "SET statement_timeout = '100ms'; SELECT pg_sleep(5)"); !strings.Contains(got, "statement timeout") {
		t.Errorf("after all that: %s", got)
	}
}
