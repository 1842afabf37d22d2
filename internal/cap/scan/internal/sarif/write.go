package sarif

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

// Write writes findings as one run for each tool that made any, in their order; there is always a run of Ward's own, so that "nothing was
// found" can be told from "nothing was looked for". release is Ward's.
func Write(w io.Writer, findings []finding.Finding, release string) error {
	l := log{Schema: schema, Version: version, Runs: []run{newRun("ward", release)}}
	runs, rules := map[string]int{"ward": 0}, []map[string]int{{}}
	for i := range findings {
		f := &findings[i]
		at, ok := runs[f.Tool]
		if !ok {
			at = len(l.Runs)
			runs[f.Tool] = at
			l.Runs, rules = append(l.Runs, newRun(f.Tool, "")), append(rules, map[string]int{})
		}
		r := &l.Runs[at]
		index, ok := rules[at][f.ID]
		if !ok {
			index = len(r.Tool.Driver.Rules)
			rules[at][f.ID] = index
			r.Tool.Driver.Rules = append(r.Tool.Driver.Rules, ruleOf(f))
		}
		r.Results = append(r.Results, resultOf(f, index))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	if err := enc.Encode(l); err != nil {
		return fmt.Errorf("write SARIF: %w", err)
	}
	return nil
}

func newRun(name, release string) run {
	return run{
		Tool: tool{Driver: component{Name: name, Version: release}}, Results: []result{}, ColumnKind: "unicodeCodePoints",
		Invocations: []invocation{{Successful: true}},
	}
}

func ruleOf(f *finding.Finding) rule {
	r := rule{ID: f.ID, Short: &message{Text: orNone(f.Title)}, Default: &configuration{Level: level(f.Severity)}, Properties: map[string]any{"tags": []string{"security", string(f.Kind)}}}
	if f.Detail != "" {
		r.Full, r.Help = &message{Text: f.Detail}, &message{Text: f.Detail}
	}
	if u, err := url.Parse(f.URL); err == nil && u.IsAbs() {
		r.HelpURI = f.URL
	}
	if score := scoreOf(f); score > 0 {
		r.Properties["security-severity"] = fmt.Sprintf("%.1f", score) // GitHub's code scanning sorts by it
	}
	return r
}

func resultOf(f *finding.Finding, index int) result {
	text := []string{orNone(f.Title)}
	for _, s := range []string{f.Why, f.Fix} {
		if s != "" {
			text = append(text, s)
		}
	}
	r := result{
		RuleID: f.ID, RuleIndex: &index, Level: level(f.Severity), Message: message{Text: strings.Join(text, "\n")},
		Prints: map[string]string{"ward/v1": f.Fingerprint()}, Properties: map[string]any{"priority": f.Priority, "kind": f.Kind, "severity": f.Severity},
	}
	for name, v := range map[string]string{"service": f.Service, "unsure": f.Unsure, "commit": f.Location.Commit} {
		if v != "" {
			r.Properties[name] = v
		}
	}
	if f.Package != nil {
		r.Properties["purl"], r.Properties["called"] = f.Package.PURL, f.Called
	}
	if f.Location.Path != "" {
		p := &physical{Artifact: artifactLocation{URI: (&url.URL{Path: f.Location.Path}).String(), Base: root}}
		if f.Location.Line > 0 {
			p.Region = &region{StartLine: f.Location.Line, StartColumn: f.Location.Column}
		}
		r.Locations = []location{{Physical: p}}
	}
	if s := f.Suppressed; s != nil {
		why := s.By + ": " + s.Reason
		if s.VEX != "" {
			why += " (" + s.VEX + ")"
		}
		r.Suppressions = []suppression{{Kind: "external", Status: "accepted", Justification: why}}
	}
	return r
}

func orNone(s string) string {
	if s == "" {
		return "no title"
	}
	return s
}

// scoreOf is a score for what has only a severity: the middle of its band on FIRST's scale.
func scoreOf(f *finding.Finding) float64 {
	if f.Score > 0 {
		return f.Score
	}
	return map[finding.Severity]float64{finding.Low: 2, finding.Medium: 5.5, finding.High: 8, finding.Critical: 9.5, finding.SeverityUnknown: 5.5}[f.Severity]
}

func level(s finding.Severity) string {
	switch s {
	case finding.Critical, finding.High:
		return "error"
	case finding.Low:
		return "note"
	case finding.SeverityNone:
		return "none"
	}
	return "warning"
}
