package sarif

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

const (
	maxBytes   = 256 << 20
	maxResults = 200_000
)

// Read takes in a log. dir is the absolute folder that was scanned, slash-separated: absolute paths below it become paths of the tree;
// others stay as they are. Results that say that nothing is wrong, or that something is there no more, aren't findings (§3.27.9, §3.27.24).
func Read(r io.Reader, dir string) ([]finding.Finding, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read SARIF: %w", err)
	}
	if len(b) > maxBytes {
		return nil, fmt.Errorf("read SARIF: it is longer than %d MiB", maxBytes>>20)
	}
	var l log
	if err := json.Unmarshal(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), &l); err != nil {
		return nil, fmt.Errorf("read SARIF: %w", err)
	}
	if l.Version != version {
		return nil, fmt.Errorf("read SARIF: version %q; %s is read", clip(l.Version), version)
	}
	var out []finding.Finding
	for i := range l.Runs {
		run := &l.Runs[i]
		for j := range run.Results {
			if len(out) == maxResults {
				return nil, fmt.Errorf("read SARIF: more than %d results", maxResults)
			}
			if f, ok := run.finding(&run.Results[j], dir); ok {
				out = append(out, f)
			}
		}
	}
	return out, nil
}

func (r *run) finding(res *result, dir string) (finding.Finding, bool) {
	if res.Baseline == "absent" {
		return finding.Finding{}, false
	}
	switch res.Kind {
	case "pass", "informational", "notApplicable":
		return finding.Finding{}, false
	}
	rule := r.rule(res)
	f := finding.Finding{ID: res.RuleID, Kind: finding.Code, Tool: r.Tool.Driver.Name, Title: firstLine(res.Message.Text)}
	if f.ID == "" && rule != nil {
		f.ID = rule.ID
	}
	if f.ID == "" && res.Rule != nil {
		f.ID = res.Rule.ID
	}
	if f.ID == "" {
		f.ID = "unnamed"
	}
	if f.Tool == "" {
		f.Tool = "unnamed"
	}
	f.Severity = severity(res.Level)
	if rule != nil {
		if f.Title == "" && rule.Short != nil {
			f.Title = firstLine(rule.Short.Text)
		}
		for _, m := range []*message{rule.Full, rule.Help} {
			if m != nil && f.Detail == "" {
				f.Detail = m.Text
			}
		}
		f.URL = rule.HelpURI
		if res.Level == "" {
			f.Severity = severityOf(rule)
		}
		// A score of the rule is finer than any level.
		if score, ok := securitySeverity(rule.Properties); ok {
			f.Severity = finding.SeverityOfScore(score)
		}
	} else if res.Level == "" {
		f.Severity = finding.Medium // "warning" is the standard's default
	}
	if res.Kind == "open" || res.Kind == "review" {
		f.Unsure = f.Tool + " couldn't decide it"
	}
	if len(res.Locations) > 0 && res.Locations[0].Physical != nil {
		f.Location = r.locate(res.Locations[0].Physical, dir)
	}
	for _, s := range res.Suppressions {
		if s.Status == "" || s.Status == "accepted" {
			f.Suppressed = &finding.Suppression{By: f.Tool, Reason: orNoReason(s.Justification)}
		}
	}
	return f, true
}

// rule finds the rule of a result, by any of the three ways of naming it (§3.27.5 to §3.27.7).
func (r *run) rule(res *result) *rule {
	rules, index, id := r.Tool.Driver.Rules, res.RuleIndex, res.RuleID
	if ref := res.Rule; ref != nil {
		if ref.Index != nil {
			index = ref.Index
		}
		if ref.ID != "" {
			id = ref.ID
		}
		if c := ref.Component; c != nil && c.Index != nil && *c.Index >= 0 && *c.Index < len(r.Tool.Extensions) {
			rules = r.Tool.Extensions[*c.Index].Rules
		}
	}
	if index != nil && *index >= 0 && *index < len(rules) {
		return &rules[*index]
	}
	for i := range rules {
		if id != "" && (rules[i].ID == id || strings.HasPrefix(id, rules[i].ID+"/")) {
			return &rules[i]
		}
	}
	return nil
}

func (r *run) locate(p *physical, dir string) finding.Location {
	a := p.Artifact
	if a.Index != nil && *a.Index >= 0 && *a.Index < len(r.Artifacts) && a.URI == "" {
		a = r.Artifacts[*a.Index].Location
	}
	loc := finding.Location{Path: r.path(a, dir)}
	if p.Region != nil {
		loc.Line, loc.Column = max(p.Region.StartLine, 0), max(p.Region.StartColumn, 0)
	}
	return loc
}

// path is a place below dir, or what the analyser wrote where it is none.
func (r *run) path(a artifactLocation, dir string) string {
	u, err := url.Parse(a.URI)
	if err != nil {
		return a.URI
	}
	p := u.Path
	if u.Opaque != "" {
		p = u.Opaque
	}
	// A base may name another one; the chain is short, or a circle (§3.4.4).
	for i := 0; i < 8 && a.Base != "" && !path.IsAbs(p); i++ {
		a = r.Bases[a.Base]
		if b, err := url.Parse(a.URI); err == nil && b.Path != "" {
			p = path.Join(b.Path, p)
		}
	}
	p = path.Clean(p)
	if rel, ok := strings.CutPrefix(p, strings.TrimSuffix(dir, "/")+"/"); ok && path.IsAbs(dir) {
		return rel
	}
	return p
}

func severity(level string) finding.Severity {
	switch level {
	case "error":
		return finding.High
	case "warning":
		return finding.Medium
	case "note":
		return finding.Low
	case "none":
		return finding.SeverityNone
	}
	return finding.SeverityUnknown
}

func severityOf(r *rule) finding.Severity {
	if r.Default != nil && r.Default.Level != "" {
		return severity(r.Default.Level)
	}
	return finding.Medium
}

// securitySeverity is GitHub's property of a rule: a CVSS score as a text, from CodeQL and many others.
func securitySeverity(p map[string]any) (float64, bool) {
	switch v := p["security-severity"].(type) {
	case string:
		score, err := strconv.ParseFloat(v, 64)
		return score, err == nil && score >= 0 && score <= 10
	case float64:
		return v, v >= 0 && v <= 10
	}
	return 0, false
}

func orNoReason(s string) string {
	if s == "" {
		return "no reason given"
	}
	return s
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return clip(s)
}

func clip(s string) string {
	if len(s) > 300 {
		return strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}
