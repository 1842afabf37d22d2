package scan

import (
	"fmt"
	"io"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/scan/internal/posture"
	"github.com/wardhq/ward/internal/cap/scan/internal/report"
	"github.com/wardhq/ward/internal/cap/scan/internal/sarif"
	"github.com/wardhq/ward/internal/finding"
)

// Formats are the forms of a report.
func Formats() []string { return []string{"table", "json", "sarif", "junit", "html"} }

// Show says how a table is written; release is Ward's, for SARIF.
type Show struct {
	Color, All bool
	Release    string
}

// Write writes a report in one of the Formats.
func Write(w io.Writer, r *Report, format string, o Show) error {
	switch format {
	case "table":
		return report.Table(w, r, o.Color, o.All)
	case "json":
		return report.JSON(w, r)
	case "sarif":
		return sarif.Write(w, r.Findings, o.Release)
	case "junit":
		return report.JUnit(w, r)
	case "html":
		return report.HTML(w, r)
	}
	return fault.New(fault.Usage, fmt.Sprintf("there is no format %q; one of %s", format, strings.Join(Formats(), ", ")))
}

// ReadBaseline reads a report in JSON, and names what it found.
func ReadBaseline(r io.Reader) (map[string]bool, error) {
	old, err := report.Read(r)
	if err != nil {
		return nil, err
	}
	return report.Fingerprints(old.Findings), nil
}

// Baseline names what a report found.
func Baseline(r *Report) map[string]bool { return report.Fingerprints(r.Findings) }

// RuleInfo describes one built-in rule.
type RuleInfo struct {
	ID        string           `json:"id"`
	About     string           `json:"about"` // of what it is a rule
	Title     string           `json:"title"`
	Severity  finding.Severity `json:"severity"`
	Reason    string           `json:"reason"`
	Reference string           `json:"reference"`
	Fix       string           `json:"fix,omitempty"`
}

// Rules are Ward's own rules.
func Rules() ([]RuleInfo, error) {
	var out []RuleInfo
	for _, r := range posture.Rules() {
		out = append(out, RuleInfo{r.ID, "ward.yaml", r.Title, r.Severity, r.Reason, r.Reference, r.Fix})
	}
	return out, nil
}
