package diff_test

import (
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/diff"
)

func textOf(t *testing.T, before, after string) string {
	t.Helper()
	build := func(more string) *plan.Plan {
		m, problems := wardfile.Parse("ward.yaml", strings.NewReader("app: a\nusers: {groups: [staff]}\n"+more))
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		return plan.Build(m)
	}
	return diff.Compare(build(before), build(after)).Text("a.yaml", "b.yaml")
}

func service(expose string) string {
	return "services:\n  web:\n    run: x\n    listen: http://:80\n    expose:\n" + expose
}

func TestARuleThatGovernedAndIsGoneOpens(t *testing.T) {
	wide := "      - {route: GET /**, to: anyone}\n"
	with := service(wide + "      - {route: GET /admin/**, to: \"group:staff\"}\n")
	if got := textOf(t, with, service(wide)); !strings.Contains(got, "gains\n  anyone outside  -> web :80  GET /admin/**  b.yaml:") {
		t.Errorf("staff's rule taken out:\n%s", got)
	}
	if got := textOf(t, service(wide), with); !strings.Contains(got, "loses\n  anyone outside  -> web :80  GET /admin/**") {
		t.Errorf("staff's rule put in:\n%s", got)
	}
	if got := textOf(t, with, with); !strings.HasPrefix(got, "no difference") {
		t.Error(got)
	}
}

func TestAudiencesAreCompared(t *testing.T) {
	a := service("      - {route: GET /x, to: \"group:staff\", mfa: 15m}\n")
	b := service("      - {route: GET /x, to: \"group:staff\"}\n")
	if got := textOf(t, a, b); !strings.Contains(got, "gains\n  group:staff outside  -> web :80  GET /x") {
		t.Errorf("a second factor less:\n%s", got)
	}
	calls := func(g string) string {
		return "services:\n  web: {run: x, listen: http://:80, calls: {db: " + g + "}}\n  db: {run: x, listen: http://:80}\n"
	}
	if got := textOf(t, calls("GET /x as user"), calls("GET /x")); !strings.Contains(got, "gains\n  web  -> db :80  GET /x ") || strings.Contains(got, "loses") {
		t.Errorf("a call without user:\n%s", got)
	}
	if got := textOf(t, calls("GET /x"), calls("GET /x as user")); !strings.Contains(got, "loses\n  web  -> db :80  GET /x ") || strings.Contains(got, "gains") {
		t.Errorf("a call with user only:\n%s", got)
	}
}

func TestClientsAreCompared(t *testing.T) {
	src := func(redirect string) string {
		return "  \nservices: {web: {run: x}}\n" + redirect
	}
	m := func(users string) *plan.Plan {
		m, problems := wardfile.Parse("ward.yaml", strings.NewReader("app: a\nusers: "+users+src("")))
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		return plan.Build(m)
	}
	got := diff.Compare(m("{register: closed, clients: {app: {public: true, redirects: [https://a.example/cb]}}}"), m("{register: open, clients: {app: {public: true, redirects: [https://b.example/cb]}}}")).Text("a", "b")
	for _, want := range []string{"users\n  register  closed -> open", "clients\n  app changed\n    redirects  https://a.example/cb -> https://b.example/cb"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
