package control

import (
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
)

// TestDeclarationsAreRight: what a finding says that ward.yaml would be is read as it stands, and allows nothing that a stranger has chosen.
func TestDeclarationsAreRight(t *testing.T) {
	const head = "app: shop\nservices:\n  db: {run: [./db], listen: http://:8080}\n  redis: {run: [./redis], listen: tcp://:6379}\n  web:\n    run: [./web]\n"
	parse := func(text string) *plan.Plan {
		t.Helper()
		m, problems := wardfile.Parse("ward.yaml", strings.NewReader(text))
		if problems.HasErrors() {
			t.Fatalf("%s\n%s", text, problems.String())
		}
		return plan.Build(m)
	}
	p := parse(head)
	found := func(rule, object string) *watch.Finding {
		f := &watch.Finding{Rule: rule, Subject: "web", Object: object}
		f.Service = "web"
		return f
	}
	for name, c := range map[string]struct{ rule, object, want string }{
		"a port":        {"new-listener", "port 4444", "listen: tcp://:4444"},
		"a service":     {"undeclared-name", "db", "calls: {db: [GET /]}"},
		"of TCP":        {"undeclared-name", "redis", "calls: {redis: tcp}"},
		"an outer host": {"undeclared-name", "api.bank.example", "api: {host: api.bank.example, tls: originate}"},
		"a key":         {"undeclared-secret", "vault", "keys: {vault: encrypt}"},
	} {
		text := declaration(p, found(c.rule, c.object))
		first, lines, _ := strings.Cut(text, "\n")
		if first != "ward.yaml:5" || !strings.Contains(lines, c.want) {
			t.Errorf("%s: %s", name, text)
			continue
		}
		if c.rule == "undeclared-secret" {
			continue // the class of data is the application's own
		}
		own, rest, _ := strings.Cut(strings.TrimPrefix(lines, "services:\n  web:\n"), "externals:")
		if rest != "" {
			rest = "externals:" + rest
		}
		parse(head + own + rest)
	}
	for name, f := range map[string]*watch.Finding{
		"YAML in a name": found("undeclared-name", "x.example, tls: none}\nservices: {}"),
		"many":           found("undeclared-secret", watch.Others),
		"a taken name":   found("undeclared-name", "db.internal"),
		"half a name":    found("undeclared-name", "foo."),
		"a number":       found("undeclared-name", "1.2"),
		"a bad label":    found("undeclared-name", "-.example"),
		"a folder":       found("denied-write", "/srv/shop"),
		"a program":      found("undeclared-program", "/bin/sh"),
		"another rule":   found("canary", "db"),
	} {
		if text := declaration(p, f); text != "" {
			t.Errorf("%s: %s", name, text)
		}
	}
}
