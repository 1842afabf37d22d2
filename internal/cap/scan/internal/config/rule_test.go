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

func TestRulesJudgeWhatOneExampleDoesNotShow(t *testing.T) {
	const ingress = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  annotations:\n    nginx.ingress.kubernetes.io/auth-url: "
	const annotation = "apiVersion: v1\nkind: Pod\nmetadata:\n  annotations:\n    container.apparmor.security.beta.kubernetes.io/a: "
	const profile = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n    - name: a\n      securityContext:\n        seccompProfile: "
	for _, tt := range []struct {
		name, file, text, rule string
		want                   int
	}{
		{"an address in a block", "a.yaml", ingress + "|\n      https://auth.shop.test/\n", "k8s-ingress-injection", 0},
		{"a line after the address", "a.yaml", ingress + "|\n      https://auth.shop.test/\n      x\n", "k8s-ingress-injection", 1},
		{"what is no digest", "Dockerfile", "FROM alpine:3.20@v1\n", "docker-image-no-digest", 1},
		{"a digest", "Dockerfile", "FROM alpine:3.20@sha256:" + strings.Repeat("0a", 32) + "\n", "docker-image-no-digest", 0},
		{"the base of secret keys", "Dockerfile", "FROM a:1\nARG SECRET_KEY_BASE\n", "docker-secret-arg", 1},
		{"an AppArmor profile of one's own", "a.yaml", annotation + "localhost/shop\n", "k8s-apparmor-annotation", 0},
		{"an AppArmor profile that isn't one", "a.yaml", annotation + "custom\n", "k8s-apparmor-annotation", 1},
		{"a seccomp profile of one's own", "a.yaml", profile + "{type: Localhost}\n", "k8s-seccomp", 0},
		{"a seccomp profile that isn't one", "a.yaml", profile + "{type: Own}\n", "k8s-seccomp", 1},
		{"settings with a password in a ConfigMap", "a.yaml", "apiVersion: v1\nkind: ConfigMap\ndata:\n  env: |\n    A=b\n    DB_PASSWORD=tr0ub4dor\n", "k8s-config-map-secret", 1},
		{"settings that name a password in a ConfigMap", "a.yaml", "apiVersion: v1\nkind: ConfigMap\ndata:\n  env: |\n    A=b\n    DB_PASSWORD=${PASSWORD}\n", "k8s-config-map-secret", 0},
		{"an earlier stage's first CMD", "Dockerfile", "FROM a:1\nCMD b\nCMD c\nFROM d:1\nCMD e\n", "docker-cmd-twice", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if res := find1(t, tt.file, tt.text); len(linesOf(res, tt.rule)) != tt.want {
				t.Errorf("want %d of %s in %+v", tt.want, tt.rule, res.Findings)
			}
		})
	}
}
