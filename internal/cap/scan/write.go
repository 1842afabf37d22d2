package scan

import (
	"crypto/rand"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/scan/internal/config"
	"github.com/wardhq/ward/internal/cap/scan/internal/posture"
	"github.com/wardhq/ward/internal/cap/scan/internal/report"
	"github.com/wardhq/ward/internal/cap/scan/internal/sarif"
	"github.com/wardhq/ward/internal/cap/scan/internal/sbom"
	"github.com/wardhq/ward/internal/cap/scan/internal/vex"
	"github.com/wardhq/ward/internal/finding"
)

// Formats are the forms of a report.
func Formats() []string {
	return []string{"table", "json", "sarif", "junit", "html", "cyclonedx", "spdx", "openvex"}
}

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
	case "cyclonedx", "spdx":
		return sbom.Write(w, sbom.Format(format), sbom.Document{
			Name: nameOf(r), Tool: strings.TrimSpace("ward " + o.Release), Serial: uuid(), Created: r.At, Packages: r.Packages, Findings: r.Findings,
		})
	case "openvex":
		return vex.Write(w, vex.From(r.Findings, productOf(r.App), nameOf(r), r.At))
	}
	return fault.New(fault.Usage, fmt.Sprintf("there is no format %q; one of %s", format, strings.Join(Formats(), ", ")))
}

func nameOf(r *Report) string {
	if r.App != "" {
		return r.App
	}
	return filepath.Base(r.Target)
}

// uuid is a random one (RFC 9562 §5.4).
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never returns an error (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
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
	all, err := config.Rules()
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		out = append(out, RuleInfo{r.ID, r.About, r.Title, r.Severity, r.Reason, strings.TrimSpace(r.Reference + " " + r.URL), r.Fix})
	}
	return out, nil
}
