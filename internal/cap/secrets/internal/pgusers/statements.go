package pgusers

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/wire"
)

// connectionLimit is how many sessions a made user may have: more than pools of one instance need, fewer than a server has.
const connectionLimit = 50

// Bounds of a made user's name; PostgreSQL cuts names behind 63 bytes.
const (
	mostOfPart = 20
	suffixSize = 6
)

// namePrefix begins the names of an instance's users: ward_<app>_<service>_<replica>_. Names of applications and services have no "_".
func namePrefix(app string, in wire.Instance) string {
	return appPrefix(app) + shorten(in.Service) + "_" + strconv.Itoa(in.Replica) + "_"
}

func appPrefix(app string) string { return "ward_" + shorten(app) + "_" }

// shorten makes a long name short, and keeps different ones apart.
func shorten(s string) string {
	if len(s) <= mostOfPart {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return s[:mostOfPart-9] + "-" + hex.EncodeToString(sum[:4])
}

func nameSuffix() string { return strings.ToLower(rand.Text()[:suffixSize]) }

// owns refuses a user that isn't of the instance's service and replica. Its name is what Ward makes, and nothing that could end a quotation.
func owns(app string, r *wire.DatabaseUserRequest) error {
	rest, ok := strings.CutPrefix(r.User, namePrefix(app, r.Instance))
	if !ok || !lexis.IsLabel(r.Instance.Service) || r.Instance.Replica < 0 || len(rest) != suffixSize || strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return fault.New(fault.Refused, "this isn't a user that Ward made for the instance")
	}
	return nil
}

func name(s ...string) string { return pgx.Identifier(s).Sanitize() }

// literal quotes a string; standard_conforming_strings is on.
func literal(s string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(s, "\x00", ""), "'", "''") + "'"
}

func timestamp(t time.Time) string { return literal(t.UTC().Format("2006-01-02 15:04:05+00")) }

// makeStatements make a user with what the plan gives it, all or nothing.
func makeStatements(user, verifier string, until time.Time, u *model.DatabaseUser, d *model.Database) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE ROLE %s LOGIN CONNECTION LIMIT %d PASSWORD %s VALID UNTIL %s", name(user), connectionLimit, literal(verifier), timestamp(until))
	if u.Role != "" {
		// What it makes is the role's, and so outlives it.
		fmt.Fprintf(&b, " IN ROLE %s; ALTER ROLE %s SET role TO %s", name(u.Role), name(user), literal(u.Role))
	}
	b.WriteString(";\n")
	var schemas []string
	for _, r := range u.Rights {
		what, schema := object(r.On)
		schemas = append(schemas, schema)
		fmt.Fprintf(&b, "GRANT %s ON %s TO %s;\n", strings.Join(r.Privileges, ", "), what, name(user))
	}
	// Everybody has these two as a rule; where not, they come with the rest, for nothing goes without.
	b.WriteString("DO $ward$ BEGIN\n")
	fmt.Fprintf(&b, "IF NOT has_database_privilege(%s, current_database(), 'CONNECT') THEN GRANT CONNECT ON DATABASE %s TO %s; END IF;\n", literal(user), name(d.Database), name(user))
	for _, s := range schemas {
		fmt.Fprintf(&b, "IF NOT has_schema_privilege(%s, %s, 'USAGE') THEN GRANT USAGE ON SCHEMA %s TO %s; END IF;\n", literal(user), literal(s), name(s), name(user))
	}
	b.WriteString("END $ward$")
	return b.String()
}

// object quotes what a right is on; a table without schema is in public.
func object(on string) (what, schema string) {
	if table, ok := strings.CutPrefix(on, "TABLE "); ok {
		schema, table, both := strings.Cut(table, ".")
		if !both {
			schema, table = "public", schema
		}
		return "TABLE " + name(schema, table), schema
	}
	i := strings.LastIndexByte(on, ' ') // ALL TABLES IN SCHEMA name
	return on[:i+1] + name(on[i+1:]), on[i+1:]
}

func renewStatements(user string, until time.Time) string {
	return fmt.Sprintf("ALTER ROLE %s VALID UNTIL %s", name(user), timestamp(until))
}

func passwordStatement(user, verifier string) string {
	return fmt.Sprintf("ALTER ROLE %s PASSWORD %s", name(user), literal(verifier))
}

// closeStatements keep a user from logging in, and let an administrator that isn't a superuser act for it.
func closeStatements(user string) string {
	return fmt.Sprintf("ALTER ROLE %[1]s NOLOGIN;\nDO $ward$ BEGIN IF NOT pg_has_role(current_user, %[2]s, 'USAGE') THEN GRANT %[1]s TO CURRENT_USER; END IF; END $ward$", name(user), literal(user))
}

// heir is who gets what a user owned: a role of its service that can't log in and has no rights. It can be nobody with rights, for what
// the service made runs as its owner: functions (SECURITY DEFINER), views, rules.
func heir(user string) string {
	words := strings.Split(user, "_")
	return strings.Join(words[:len(words)-2], "_") + "_heir"
}

// dropStatements end a user's sessions and the user. What it owns, if anything, is its heir's from then on, who may make things in a schema for this
// moment only: an administrator that isn't a superuser can't give them away otherwise.
func dropStatements(user string) string {
	const wait = 2000 // milliseconds for each session
	var b strings.Builder
	fmt.Fprintf(&b, "SELECT pg_terminate_backend(pid, %d) FROM pg_stat_activity WHERE usename = %s;\n", wait, literal(user))
	fmt.Fprintf(&b, `DO $ward$ DECLARE given name[]; s name; BEGIN
IF NOT EXISTS (SELECT FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = %[3]s) AND deptype = 'o') THEN RETURN; END IF;
IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = %[1]s) THEN CREATE ROLE %[2]s NOLOGIN; END IF;
IF NOT pg_has_role(current_user, %[1]s, 'USAGE') THEN GRANT %[2]s TO CURRENT_USER; END IF;
IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
given := ARRAY(SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND has_schema_privilege(%[3]s, oid, 'CREATE') AND NOT has_schema_privilege(%[1]s, oid, 'CREATE'));
END IF;
FOREACH s IN ARRAY coalesce(given, '{}') LOOP EXECUTE format('GRANT CREATE ON SCHEMA %%I TO %%I', s, %[1]s); END LOOP;
REASSIGN OWNED BY %[4]s TO %[2]s;
FOREACH s IN ARRAY coalesce(given, '{}') LOOP EXECUTE format('REVOKE CREATE ON SCHEMA %%I FROM %%I', s, %[1]s); END LOOP;
END $ward$;
`, literal(heir(user)), name(heir(user)), literal(user), name(user))
	fmt.Fprintf(&b, "DROP OWNED BY %[1]s;\nDROP ROLE %[1]s", name(user))
	return b.String()
}

// sweepQuery finds an application's users whose time has passed, by the database's own clock.
func sweepQuery(app string) string {
	return fmt.Sprintf("SELECT rolname FROM pg_roles WHERE rolname ~ %s AND rolvaliduntil < now() - interval '1 minute' AND NOT rolsuper ORDER BY rolname LIMIT 1000",
		literal("^"+appPrefix(app)+"[a-z0-9-]+_[0-9]+_[a-z2-7]{"+strconv.Itoa(suffixSize)+"}$"))
}
