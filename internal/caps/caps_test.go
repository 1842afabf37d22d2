package caps_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/capability"
	"github.com/wardhq/ward/internal/caps"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/prove"
	"github.com/wardhq/ward/internal/prove/escape"
)

func TestEveryCapabilityIsListedAndAttacked(t *testing.T) {
	var listed []string
	owner := map[capability.Probe]string{}
	for _, c := range caps.All() {
		if err := c.Check(); err != nil {
			t.Error(err)
		}
		listed = append(listed, c.Name)
		for _, p := range c.Probes {
			key := capability.Probe{From: p.From, Kind: p.Kind}
			if other := owner[key]; other != "" {
				t.Errorf("%s and %s both claim %q", other, c.Name, p.Kind)
			}
			owner[key] = c.Name
		}
	}
	folders, err := os.ReadDir("../cap")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if !slices.Contains(listed, f.Name()) {
			t.Errorf("internal/cap/%s isn't listed", f.Name())
		}
	}
}

func TestACapabilityWithoutProbesIsNone(t *testing.T) {
	for name, c := range map[string]capability.Capability{
		"no probes": {Name: "x", Stops: "y"}, "no name": {Stops: "y", Probes: []capability.Probe{{From: capability.Inside, Kind: "k", Tries: "t"}}},
		"an attack of the supply chain without its test": {Name: "x", Stops: "y", Probes: []capability.Probe{{From: capability.Supply, Kind: "k", Tries: "t"}}},
		"a probe from nowhere":                           {Name: "x", Stops: "y", Probes: []capability.Probe{{Kind: "k", Tries: "t"}}},
	} {
		if c.Check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

const everything = `
app: a
users: {groups: [staff]}
services:
  web:
    run: x
    listen: [http://:80, grpc://:81, tcp://:82]
    expose: [{routes: ["GET /a/{x}", "ws /live", "grpc a.B/C"], to: anyone}, {route: GET /admin, to: "group:staff"}]
    calls: {db: ["GET /a", "grpc a.B/C", tcp], card: tcp}
  db: {run: x, listen: [http://:80, grpc://:81, tcp://:82], data: [pii]}
externals: {card: {host: card.example, port: 443}}
`

// What package prove generates is claimed, and what is claimed is generated.
func TestAttacksAndClaimsAgree(t *testing.T) {
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(everything))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	p := plan.Build(m)
	set, err := policy.Compile(p, "2026-01-01")
	if err != nil {
		t.Fatal(err)
	}
	made := map[prove.Tried]bool{{Kind: escape.EscapeKind}: true, {Kind: escape.SecretKind}: true} // these are made in the sandbox
	for _, attacker := range []string{plan.Outside, "web", "db"} {
		attempts, _ := prove.Attempts(p, set, attacker, false)
		for _, a := range attempts {
			made[prove.Tried{Outside: attacker == plan.Outside, Kind: a.Kind}] = true
		}
	}
	claimed := map[prove.Tried]bool{}
	for _, c := range caps.All() {
		for _, x := range c.Probes {
			if x.Test != "" {
				continue // see TestAttacksOfTestsAreMade
			}
			k := prove.Tried{Outside: x.From == capability.Outside, Kind: x.Kind}
			claimed[k] = true
			if !made[k] {
				t.Errorf("%s claims to be attacked by %+v, and nobody does", c.Name, k)
			}
		}
	}
	for k := range made {
		if !claimed[k] {
			t.Errorf("no capability claims %+v", k)
		}
	}
}

// An attack from the supply chain is one that a test makes: it must be there.
func TestAttacksOfTestsAreMade(t *testing.T) {
	for _, c := range caps.All() {
		for _, x := range c.Probes {
			if x.Test == "" {
				continue
			}
			pkg, name, _ := strings.Cut(x.Test, ".")
			files, err := filepath.Glob(filepath.Join("../..", pkg, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(files, func(file string) bool {
				b, err := os.ReadFile(file)
				return err == nil && strings.Contains(string(b), "func "+name+"(")
			}) {
				t.Errorf("%s: there is no test %s", c.Name, x.Test)
			}
		}
	}
}
