package advisory

import (
	"strings"

	cvss20 "github.com/pandatix/go-cvss/20"
	cvss30 "github.com/pandatix/go-cvss/30"
	cvss31 "github.com/pandatix/go-cvss/31"
	cvss40 "github.com/pandatix/go-cvss/40"

	"github.com/wardhq/ward/internal/cap/scan/internal/advisory/internal/osv"
	"github.com/wardhq/ward/internal/finding"
)

// rate gives an advisory its severity: the database's own word where it has one, else what the score of its newest CVSS vector says. A package
// that was published to do harm is critical without either.
func (r *record) rate(e *osv.Entry) {
	newest := ""
	consider := func(list []osv.Severity) {
		for _, s := range list {
			if s.Type <= newest {
				continue
			}
			if score, ok := baseScore(s.Score); ok {
				newest, r.score, r.vector, r.severity = s.Type, score, s.Score, finding.SeverityOfScore(score)
			}
		}
	}
	consider(e.Severity)
	word := finding.SeverityOf(e.Database.Severity)
	for _, a := range e.Affected {
		consider(a.Severity)
		word = max(word, finding.SeverityOf(a.Database.Severity))
	}
	if word != finding.SeverityUnknown {
		r.severity = word
	}
	if r.malicious && r.severity == finding.SeverityUnknown {
		r.severity = finding.Critical
	}
}

// baseScore is the score of a vector: the base score of CVSS 2 and 3, the score of CVSS 4.
func baseScore(vector string) (float64, bool) {
	switch {
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		if v, err := cvss40.ParseVector(vector); err == nil {
			return v.Score(), true
		}
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		if v, err := cvss31.ParseVector(vector); err == nil {
			return v.BaseScore(), true
		}
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		if v, err := cvss30.ParseVector(vector); err == nil {
			return v.BaseScore(), true
		}
	default:
		if v, err := cvss20.ParseVector(vector); err == nil {
			return v.BaseScore(), true
		}
	}
	return 0, false
}
