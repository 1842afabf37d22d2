package code

import (
	"bytes"
	"embed"
	"fmt"
	"regexp"
	"slices"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/finding"
)

//go:embed rules/*.yaml
var ruleFiles embed.FS

// rule is one entry of rules/rules.yaml.
type rule struct {
	ID        string    `yaml:"id"`        // "code-" and the name
	Title     string    `yaml:"title"`     // one line
	Languages []string  `yaml:"languages"` // language.name
	Keywords  []string  `yaml:"keywords"`  // lower case; lines without one of them aren't looked at
	Pattern   string    `yaml:"pattern"`   // RE2, of a line without comments
	Bare      bool      `yaml:"bare"`      // of a line without what is in strings either
	Unless    string    `yaml:"unless"`    // RE2, of the same line
	Severity  string    `yaml:"severity"`
	Reason    string    `yaml:"reason"`
	Reference string    `yaml:"reference"`
	URL       string    `yaml:"url"`
	Fix       string    `yaml:"fix"`
	Bad       []example `yaml:"bad"`
	Good      []example `yaml:"good"`

	severity        finding.Severity
	pattern, unless func() *regexp.Regexp // compiled when first needed; nil for none
}

// example is a file that the tests check: a bad one has one finding, on its last line.
type example struct {
	Name string `yaml:"name"`
	Text string `yaml:"text"`
}

func loadRules() ([]*rule, error) {
	src, err := ruleFiles.ReadFile("rules/rules.yaml")
	if err != nil {
		return nil, fmt.Errorf("load rules of code: %w", err)
	}
	var out []*rule
	dec := yaml.NewDecoder(bytes.NewReader(src))
	dec.KnownFields(true)
	if err := dec.Decode(&out); err != nil {
		return nil, fmt.Errorf("load rules of code: %w", err)
	}
	for _, r := range out {
		r.severity = finding.SeverityOf(r.Severity)
		r.pattern, r.unless = lazy(r.Pattern), lazy(r.Unless)
	}
	return out, nil
}

// lazy compiles a pattern that a test has compiled before.
func lazy(pattern string) func() *regexp.Regexp {
	if pattern == "" {
		return nil
	}
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

func (r *rule) finding(at finding.Location) finding.Finding {
	return finding.Finding{
		ID: r.ID, Kind: finding.Code, Tool: "ward", Title: r.Title, Detail: r.Reason + " (" + r.Reference + ")", URL: r.URL, Severity: r.severity,
		Location: at, Fix: r.Fix,
	}
}

func (r *rule) mayMatch(lower []byte) bool {
	return slices.ContainsFunc(r.Keywords, func(k string) bool { return bytes.Contains(lower, []byte(k)) })
}
