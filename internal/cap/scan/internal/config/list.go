package config

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/finding"
)

// Rule describes one rule.
type Rule struct {
	ID, About, Title, Reason, Reference, URL, Fix string

	Severity finding.Severity
}

// Rules are all rules, by what they are about.
func Rules() ([]Rule, error) {
	var out []Rule
	for _, k := range []kind{docker, compose, kubernetes, actions, gitlab} {
		rules, err := readRules(k)
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			out = append(out, Rule{r.ID, string(k), r.Title, r.Reason, r.Reference, r.URL, r.Fix, finding.SeverityOf(r.Severity)})
		}
	}
	return out, nil
}

// readRules reads the rules of a kind without compiling them.
func readRules(k kind) ([]*rule, error) {
	src, err := ruleFiles.ReadFile("rules/rules-" + string(k) + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("load rules: %w", err)
	}
	var out []*rule
	dec := yaml.NewDecoder(bytes.NewReader(src))
	dec.KnownFields(true)
	if err := dec.Decode(&out); err != nil {
		return nil, fmt.Errorf("load rules of %s: %w", k, err)
	}
	return out, nil
}
