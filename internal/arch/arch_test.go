package arch

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestTheTreeKeepsItsConventions(t *testing.T) {
	tree, err := Read(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Files) < 50 {
		t.Fatalf("only %d files were read", len(tree.Files))
	}
	for _, r := range Rules() {
		t.Run(r.Name, func(t *testing.T) {
			for _, breach := range r.Check(tree) {
				t.Error(breach)
			}
		})
	}
}

// TestEachRuleFindsItsBreach plants one breach per rule, so that no rule is asleep.
func TestEachRuleFindsItsBreach(t *testing.T) {
	const head = "// Package x is.\npackage x\n"
	long := strings.Repeat("\n", maxFunction+1)
	for _, c := range []struct {
		rule, name string
		files      map[string]string
		want       string
	}{
		{"imports point to lower levels", "upwards", map[string]string{"internal/base/x/x.go": head + `import _ "github.com/wardhq/ward/internal/control"`}, "level 0 imports internal/control"},
		{"imports point to lower levels", "sideways", map[string]string{"internal/cap/a/x.go": head + `import _ "github.com/wardhq/ward/internal/cap/b"`}, "they meet in the plan"},
		{"imports point to lower levels", "nowhere", map[string]string{"internal/util/x.go": head}, "has no level"},
		{"forbidden imports", "time in the plan", map[string]string{"internal/plan/x/x.go": head + `import _ "time"`}, "equal plans"},
		{"forbidden imports", "policy engine", map[string]string{"internal/agent/x.go": head + `import _ "github.com/open-policy-agent/opa/rego"`}, "DESIGN §9"},
		{"sizes", "file", map[string]string{"internal/up/x.go": head + strings.Repeat("\n", maxFile)}, "more than 600"},
		{"sizes", "function", map[string]string{"internal/up/x.go": head + "func f() {" + long + "}\n"}, "f has 82 lines"},
		{"sizes", "parameters", map[string]string{"internal/up/x.go": head + "func f(a, b, c, d, e, g int) {}\n"}, "6 parameters"},
		{"sizes", "interface", map[string]string{"internal/up/x.go": head + "type i interface { A(); B(); C(); D(); E(); F(); G() }\n"}, "7 methods"},
		{"no init functions", "init", map[string]string{"internal/up/x.go": head + "func init() {}\n"}, "init function"},
		{"one package comment of at most 15 lines", "none", map[string]string{"internal/up/x.go": "package x\n"}, "0 package comments"},
		{"one package comment of at most 15 lines", "two", map[string]string{"internal/up/x.go": head, "internal/up/y.go": head}, "2 package comments"},
		{"one package comment of at most 15 lines", "long", map[string]string{"internal/up/x.go": "// Package x is\n" + strings.Repeat("// long\n", 15) + "package x\n"}, "16 lines"},
		{"capabilities have a README with the agreed sections", "none", map[string]string{"internal/cap/a/x.go": head}, "README.md is missing"},
		{"capabilities have a README with the agreed sections", "no threat", map[string]string{"internal/cap/a/x.go": head, "internal/cap/a/README.md": "# a\n## Model words\n"}, `no section "## Threat"`},
		{"every exported parser has a fuzz test", "none", map[string]string{"internal/base/x/x.go": head + "func ParseX(string) {}\n", "internal/base/x/x_test.go": "package x\nfunc TestParseX() { ParseX(\"\") }\n"}, "calls ParseX"},
	} {
		t.Run(c.rule+"/"+c.name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for name, text := range c.files {
				fsys[name] = &fstest.MapFile{Data: []byte(text)}
			}
			tree, err := Read(fsys)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range Rules() {
				if r.Name != c.rule {
					continue
				}
				for _, breach := range r.Check(tree) {
					if strings.Contains(breach, c.want) {
						return
					}
				}
				t.Errorf("found %q, which doesn't say %q", r.Check(tree), c.want)
			}
		})
	}
}
