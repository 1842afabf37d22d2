package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/prove"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/need"
)

const attackedServices = `
app: test
gateway: {listen: "127.0.0.1:{{port}}"}
services:
  web:
    run: [./toy]
    env: {NAME: web, GORACE: "atexit_sleep_ms=0"}
    listen: http://:8080
    expose: {routes: [GET /, "GET,POST /items/{id}"], to: anyone}
    calls: {catalog: [GET /books/**, "PUT /stock/{id}"]}
  catalog:
    run: [./toy]
    env: {NAME: catalog, GORACE: "atexit_sleep_ms=0"}
    listen: http://:8080
  lonely:
    run: [./toy]
    env: {NAME: lonely, PORT: "9000", GORACE: "atexit_sleep_ms=0"}
    listen: http://:9000
    calls: {catalog: GET /books/**}
`

// attacked runs the verb against a world with some guards off.
func attacked(t *testing.T, off sandbox.Off, args ...string) (int, *prove.Report) {
	t.Helper()
	w := wardtest.Start(t, attackedServices, func(c *up.Config) {
		c.Off = off
		if off.Root {
			openFolders(t, c.File)
		}
	})
	var out, errs bytes.Buffer
	code := run(cli.Env{In: strings.NewReader(""), Out: &out, Err: &errs}, append([]string{"attack", "--json", "-f", w.File}, args...))
	var r prove.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("exit %d, %v\n%s%s\n%s", code, err, out.String(), errs.String(), w.Log)
	}
	return code, &r
}

// openFolders lets the services' users find the model's folder and this binary on the host's own file
// system.
func openFolders(t *testing.T, file string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{file, self} {
		for d := filepath.Dir(p); strings.HasPrefix(d, filepath.Clean(os.TempDir())+"/"); d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAttackFindsNothingWhereAllGuardsStand(t *testing.T) {
	t.Parallel()
	junit := filepath.Join(t.TempDir(), "attack.xml")
	code, r := attacked(t, sandbox.Off{}, "--junit", junit)
	for _, d := range r.Differences {
		t.Errorf("%+v", d)
	}
	if code != 0 || len(r.Attackers) != 4 {
		t.Errorf("exit %d, attackers %+v", code, r.Attackers)
	}
	for _, a := range r.Attackers {
		t.Logf("%+v", a)
		if a.Name != plan.Outside && a.Escapes < 35 {
			t.Errorf("%s: %d attempts to escape", a.Name, a.Escapes)
		}
		if a.Name != "catalog" && a.Reached == 0 {
			t.Errorf("%s reached nothing of what it may", a.Name)
		}
	}
	t.Logf("%.1f s", r.Seconds)
	if b, err := os.ReadFile(junit); err != nil || !bytes.Contains(b, []byte(`<testsuite name="outside"`)) {
		t.Errorf("JUnit: %v\n%s", err, b)
	}
}

// TestAttackFindsSeededHoles switches one guard off at a time.
func TestAttackFindsSeededHoles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		off  sandbox.Off
		want []string // starts of requests that must be among the differences
	}{
		"system-call filter": {sandbox.Off{Seccomp: true}, []string{"memory-program:", "mptcp-connect:", "clone3-user:"}},
		"Landlock":           {sandbox.Off{Landlock: true}, []string{"tcp-connect:", "signal-init:"}},
		"private root":       {sandbox.Off{Root: true}, []string{"passwd:", "sysfs:"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, r := attacked(t, c.off, "--from", "inside", "--service", "lonely")
			if code != 1 {
				t.Errorf("exit %d", code)
			}
			for _, w := range c.want {
				if !slices.ContainsFunc(r.Differences, func(d prove.Difference) bool {
					return d.Kind == "escape" && strings.HasPrefix(d.Request, w)
				}) {
					t.Errorf("%s isn't found", w)
				}
			}
		})
	}
}

// TestAttackFindsRightsThatTheFileDoesNotGive compares what runs with another plan: to the attack that is
// an agent that lets too much through, and one that refuses too much.
func TestAttackFindsRightsThatTheFileDoesNotGive(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, attackedServices, nil)
	running, err := wardtest.Load(w.File)
	if err != nil {
		t.Fatal(err)
	}
	field, err := newBattlefield(t.Context(), w.File, running)
	if err != nil {
		t.Fatal(err)
	}
	attack := func(p *plan.Plan) []string {
		t.Helper()
		r, err := prove.Attack(t.Context(), prove.Config{Plan: p, Today: time.Now().Format(time.DateOnly), Inside: []string{"web"}, Outside: true, Prober: field})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, d := range r.Differences {
			out = append(out, d.Attacker+" "+d.Request+" "+d.Expected)
		}
		return out
	}
	has := func(all []string, parts ...string) {
		t.Helper()
		if !slices.ContainsFunc(all, func(s string) bool {
			return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(s, p) })
		}) {
			t.Errorf("no difference with %q among %d", parts, len(all))
		}
	}
	less := *running
	less.Rules = slices.DeleteFunc(slices.Clone(running.Rules), func(r plan.Rule) bool { return strings.HasPrefix(r.Grant.Pattern, "/stock") })
	if got := attack(running); len(got) != 0 {
		t.Errorf("the plan that runs: %q", got)
	}
	more := *running
	more.Rules = slices.Clone(running.Rules)
	for i := range more.Rules {
		if more.Rules[i].Grant.Pattern == "/books/**" {
			more.Rules[i].Grant.Pattern = "/**"
		}
		if more.Rules[i].Grant.Pattern == "/items/{id}" {
			more.Rules[i].Grant.Methods = []string{"DELETE", "GET", "POST"}
		}
	}
	has(attack(&more), "web GET /admin at catalog:8080", "reached")
	has(attack(&more), "GATEWAY DELETE /items/0", "reached")
	less.Rules = slices.Clone(running.Rules)
	for i := range less.Rules {
		if less.Rules[i].Grant.Pattern == "/books/**" {
			less.Rules[i].Grant.Pattern = "/books/{id}"
		}
	}
	has(attack(&less), "web GET /books/ward-attack/ward-attack at catalog:8080", "refused")
}

func TestAttackSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, attackedServices, nil)
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"unknown service": {[]string{"--service", "nobody"}, 2, "no service"},
		"unknown side":    {[]string{"--from", "above"}, 2, "outside or inside"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(cli.Env{In: strings.NewReader(""), Out: &out, Err: &errs}, append([]string{"attack", "-f", w.File}, c.args...))
			if code != c.code || !strings.Contains(errs.String(), c.says) {
				t.Errorf("exit %d, %q", code, errs.String())
			}
		})
	}
}

// TestAttackRaisesNoFalseAlarm attacks programs that others wrote, each runtime's profile among them.
func TestAttackRaisesNoFalseAlarm(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"nginx", "node", "python3", "java", "redis-server"} {
		need.Program(t, p)
	}
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(bins) == 0 {
		need.Missing(t, "Debian's PostgreSQL isn't installed")
	}
	w := wardtest.Start(t, strings.ReplaceAll(partsModel, "{{postgres}}", bins[0]), func(c *up.Config) { writeParts(t, filepath.Dir(c.File), bins[0]) })
	var out, errs bytes.Buffer
	if code := run(cli.Env{In: strings.NewReader(""), Out: &out, Err: &errs}, []string{"attack", "-f", w.File}); code != 0 {
		t.Errorf("exit %d, %s\n%s", code, errs.String(), w.Log)
	}
	t.Log(out.String())
}

// TestKeyAndSocketsStayHidden: where a careless TMPDIR and WARD_KEY_FILE put them into a service's workdir.
func TestKeyAndSocketsStayHidden(t *testing.T) {
	w := wardtest.Start(t, attackedServices, func(c *up.Config) {
		dir := filepath.Dir(c.File)
		t.Setenv("TMPDIR", dir)
		t.Setenv("WARD_KEY_FILE", filepath.Join(dir, "key"))
	})
	var out, errs bytes.Buffer
	if code := run(cli.Env{In: strings.NewReader(""), Out: &out, Err: &errs}, []string{"attack", "--from", "inside", "-f", w.File}); code != 0 {
		t.Errorf("exit %d\n%s%s", code, out.String(), errs.String())
	}
}
