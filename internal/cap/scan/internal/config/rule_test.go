package config

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/wardhq/ward/internal/finding"
)

func kinds() []kind { return []kind{docker, compose, kubernetes, actions, gitlab} }

// exampleName is a file name that tells the kind.
func exampleName(k kind) string {
	return map[kind]string{
		docker: "Dockerfile", compose: "compose.yaml", kubernetes: "k8s.yaml", actions: ".github/workflows/ci.yaml", gitlab: ".gitlab-ci.yml",
	}[k]
}

func find1(t *testing.T, name, text string) Result {
	t.Helper()
	c := &checker{fsys: fstest.MapFS{name: {Data: []byte(text)}}, sets: compiled(), seen: map[string]bool{}}
	res, err := c.find(context.Background(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// compiled are the rules of all kinds, compiled once: they're read-only.
var compiled = sync.OnceValue(func() map[kind]*ruleSet {
	sets := map[kind]*ruleSet{}
	for _, k := range kinds() {
		set, err := loadRules(k)
		if err != nil {
			panic(err)
		}
		sets[k] = set
	}
	return sets
})

// linesOf are where the findings of a rule point.
func linesOf(res Result, id string) []int {
	var out []int
	for _, f := range res.Findings {
		if f.ID == id {
			out = append(out, f.Location.Line)
		}
	}
	return out
}

func TestEveryRuleFindsItsBadExampleAndNotItsGoodOne(t *testing.T) {
	for _, k := range kinds() {
		set := compiled()[k]
		seen := map[string]bool{}
		for _, r := range set.rules {
			t.Run(r.ID, func(t *testing.T) {
				if seen[r.ID] {
					t.Error("two rules have this name")
				}
				seen[r.ID] = true
				for field, v := range map[string]string{"title": r.Title, "reason": r.Reason, "reference": r.Reference, "fix": r.Fix, "scope": r.Scope} {
					if v == "" {
						t.Errorf("no %s", field)
					}
				}
				if !strings.HasPrefix(r.URL, "https://") {
					t.Errorf("url is %q", r.URL)
				}
				bad, good := find1(t, exampleName(k), r.Bad.Text), find1(t, exampleName(k), r.Good.Text)
				if got := linesOf(bad, r.ID); len(got) != 1 || got[0] != r.Bad.Line {
					t.Errorf("the bad example: found on lines %v, want %d; all: %v", got, r.Bad.Line, bad.Findings)
				}
				if got := linesOf(good, r.ID); len(got) != 0 {
					t.Errorf("the good example: found on lines %v", got)
				}
				for _, res := range []Result{bad, good} {
					if len(res.Problems) > 0 || len(res.Files) != 1 {
						t.Errorf("files %v, problems %v", res.Files, res.Problems)
					}
				}
				for _, f := range bad.Findings {
					if f.Kind != finding.Config || f.Tool != "ward" || f.Severity < finding.Low || f.Title == "" || f.Fix == "" || strings.Contains(f.Title, "{item}") {
						t.Errorf("incomplete: %+v", f)
					}
				}
			})
		}
	}
}
