package config

import (
	"embed"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"

	"github.com/wardhq/ward/internal/finding"
)

//go:embed rules/*.yaml
var ruleFiles embed.FS

// maxCost bounds one judgement of one rule, maxFileCost all judgements of one file, in CEL's units (about one per operation).
const (
	maxCost     = 200_000
	maxFileCost = 50_000_000
)

// rule is one entry of rules/rules-KIND.yaml.
type rule struct {
	ID        string  `yaml:"id"`
	Title     string  `yaml:"title"` // said of the subject: "runs privileged"; {item} is the item's text
	Severity  string  `yaml:"severity"`
	Reason    string  `yaml:"reason"`
	Reference string  `yaml:"reference"`
	URL       string  `yaml:"url"`
	Scope     string  `yaml:"scope"` // what it is judged once for: each kind has its own
	Each      string  `yaml:"each"`  // a list or map in the subject: judged once for each item
	When      string  `yaml:"when"`  // CEL, over the variables of the scope
	At        string  `yaml:"at"`    // the field whose line is shown, from the item or subject
	Fix       string  `yaml:"fix"`
	Bad       example `yaml:"bad"`
	Good      example `yaml:"good"`

	severity finding.Severity
	program  cel.Program
}

// example is a file that the tests of the rules check.
type example struct {
	Text string `yaml:"text"`
	Line int    `yaml:"line"` // where the finding of a bad one points
}

// ruleSet is the compiled rules of one kind.
type ruleSet struct {
	kind   kind
	rules  []*rule
	budget uint64 // of cost, for one file
}

// loadRules reads and compiles the rules of a kind; it takes some milliseconds.
func loadRules(k kind) (*ruleSet, error) {
	rules, err := readRules(k)
	if err != nil {
		return nil, err
	}
	set := &ruleSet{kind: k, budget: maxFileCost, rules: rules}
	env, err := language()
	if err != nil {
		return nil, err
	}
	for _, r := range set.rules {
		if err := r.compile(env); err != nil {
			return nil, fmt.Errorf("load rule %s: %w", r.ID, err)
		}
	}
	return set, nil
}

func (r *rule) compile(env *cel.Env) error {
	if r.severity = finding.SeverityOf(r.Severity); r.severity <= finding.SeverityNone {
		return fmt.Errorf("no severity is called %q", r.Severity)
	}
	ast, issues := env.Compile(r.When)
	if err := issues.Err(); err != nil {
		return err
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) {
		return fmt.Errorf("when is of type %s, not bool", t)
	}
	p, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost), cel.CostTracking(listCost{}), cel.InterruptCheckFrequency(1_000))
	if err != nil {
		return err
	}
	r.program = p
	return nil
}

// language is what rules are written in. A rule that asks for a variable that its scope doesn't have fails, and so is a problem.
func language() (*cel.Env, error) {
	opts := []cel.EnvOption{ext.Strings(), ext.Lists()}
	for _, name := range []string{
		"file", "stage", "instruction", "cmd", // Dockerfile, and scripts everywhere
		"object", "pod", "account", "container", "group", "image", // Kubernetes
		"service",     // Compose
		"job", "step", // pipelines
		"item", "key", // of each
	} {
		opts = append(opts, cel.Variable(name, cel.DynType))
	}
	env, err := cel.NewEnv(append(opts, functions()...)...)
	if err != nil {
		return nil, fmt.Errorf("make the language of rules: %w", err)
	}
	return env, nil
}

// finding is what the rule says of a subject.
func (r *rule) finding(s *subject, item string, loc finding.Location) finding.Finding {
	return finding.Finding{
		ID: r.ID, Kind: finding.Config, Tool: "ward", Severity: r.severity, Location: loc, URL: r.URL, Fix: r.Fix,
		Title:  strings.TrimSpace(s.name + " " + strings.ReplaceAll(r.Title, "{item}", item)),
		Detail: strings.TrimSpace(r.Reason) + " (" + r.Reference + ")",
	}
}
