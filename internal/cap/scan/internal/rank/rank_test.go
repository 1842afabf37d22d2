package rank_test

import (
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/cap/scan/internal/rank"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
)

const shop = `
app: shop
users: {groups: [staff]}
services:
  web: {run: x, source: web, listen: http://:1, expose: {route: GET /**, to: anyone}, calls: {orders: GET /orders/**}}
  admin: {run: x, source: admin, listen: http://:1, expose: {route: GET /admin, to: "group:staff"}}
  orders: {run: x, source: orders, listen: http://:1, data: [cards], sensitivity: critical}
  batch: {run: x, source: batch}
`

func system(t *testing.T, yaml, base string) *rank.System {
	t.Helper()
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(yaml))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	return rank.Of(plan.Build(m), base, "2026-01-01")
}

// at is a called, high hole in a service's folder.
func at(dir string) finding.Finding {
	return finding.Finding{
		ID: "CVE-1", Kind: finding.Dependency, Severity: finding.High, Called: finding.Called,
		Package: &finding.Package{Ecosystem: "npm", Name: dir, Version: "1"}, Location: finding.Location{Path: dir + "/package-lock.json"},
	}
}

func TestTheNearerToTheOutsideTheHigher(t *testing.T) {
	all := []finding.Finding{at("batch"), at("orders"), at("admin"), at("web")}
	system(t, shop, ".").Rank(all)
	var got []string
	for _, f := range all {
		got = append(got, f.Service)
	}
	if strings.Join(got, " ") != "web orders admin batch" {
		t.Errorf("order: %v", got)
	}
	for service, want := range map[string]string{
		"web":    "Anybody reaches web by GET /**, and the code calls it. From web an attacker reaches orders (cards), by granted calls alone: sandbox and policy hold back the rest.",
		"admin":  "Who is signed in reaches admin by GET /admin, and the code calls it. From admin an attacker reaches no other service; its sandbox holds the rest back.",
		"orders": "The outside reaches orders only through web, and the code calls it. orders holds cards itself, and reaches no other service.",
		"batch":  "Nothing leads from the outside to batch, and the code calls it. From batch an attacker reaches no other service; its sandbox holds the rest back.",
	} {
		for _, f := range all {
			if f.Service == service && f.Why != want {
				t.Errorf("%s: %s", service, f.Why)
			}
		}
	}
}

func TestWhatIsKnownMovesAFinding(t *testing.T) {
	s := system(t, shop, ".")
	plain := at("orders")
	plain.Called = finding.ReachUnknown
	for name, change := range map[string]struct {
		to func(*finding.Finding)
		up bool
	}{
		"called":               {func(f *finding.Finding) { f.Called = finding.Called }, true},
		"not called":           {func(f *finding.Finding) { f.Called = finding.NotCalled }, false},
		"exploited":            {func(f *finding.Finding) { f.KEV = true }, true},
		"likely exploited":     {func(f *finding.Finding) { f.EPSS = 0.9 }, true},
		"for development":      {func(f *finding.Finding) { f.Package.Dev = true }, false},
		"critical":             {func(f *finding.Finding) { f.Severity = finding.Critical }, true},
		"unknown severity":     {func(f *finding.Finding) { f.Severity = finding.SeverityUnknown }, false},
		"malicious":            {func(f *finding.Finding) { f.Kind = finding.Malicious }, true},
		"can't be told at all": {func(f *finding.Finding) { f.Unsure = "no order" }, false},
	} {
		other := at("orders")
		other.Called = finding.ReachUnknown
		change.to(&other)
		one, two := []finding.Finding{plain}, []finding.Finding{other}
		s.Rank(one)
		s.Rank(two)
		if up := two[0].Priority > one[0].Priority; up != change.up || two[0].Priority == one[0].Priority {
			t.Errorf("%s: %d became %d", name, one[0].Priority, two[0].Priority)
		}
	}
	unknown := at("orders")
	unknown.Severity, unknown.Called = finding.SeverityUnknown, finding.ReachUnknown
	low := unknown
	low.Severity = finding.Low
	one := []finding.Finding{low, unknown}
	s.Rank(one)
	if one[0].Severity != finding.SeverityUnknown {
		t.Error("an unknown severity counts less than low")
	}
}

func TestExploitedAndOpenToAnybodyIsCritical(t *testing.T) {
	f := at("web")
	f.KEV = true
	all := []finding.Finding{f}
	system(t, shop, ".").Rank(all)
	if rank.Rating(all[0].Priority) != "critical" || !strings.Contains(all[0].Why, "exploited in the wild") {
		t.Errorf("%d: %s", all[0].Priority, all[0].Why)
	}
}

func TestWithoutAModelEverythingCountsAsOpen(t *testing.T) {
	all := []finding.Finding{at("web")}
	rank.Of(nil, ".", "2026-01-01").Rank(all)
	if all[0].Service != "" || !strings.Contains(all[0].Why, "open to everybody") || all[0].Priority < rank.High {
		t.Errorf("%+v", all[0])
	}
}

func TestAFileBelongsToTheNearestFolder(t *testing.T) {
	s := system(t, `
app: a
services:
  root: {run: x}
  inner: {run: x, workdir: svc/inner}
  twin: {run: x, workdir: svc/inner, listen: http://:1, expose: {route: GET /, to: anyone}}
`, "app")
	for file, want := range map[string]string{
		"app/go.mod": "root", "app/svc/inner/go.mod": "twin inner", "app/svc/innermost/go.mod": "root", "go.mod": "",
	} {
		if got := strings.Join(s.ServicesOf(file), " "); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}

func TestSuppressedFindingsComeLastAndStay(t *testing.T) {
	bad := at("web")
	bad.Suppressed = &finding.Suppression{By: "ward.yaml", Reason: "x"}
	all := []finding.Finding{bad, at("batch")}
	system(t, shop, ".").Rank(all)
	if len(all) != 2 || all[1].Suppressed == nil {
		t.Errorf("%+v", all)
	}
}
