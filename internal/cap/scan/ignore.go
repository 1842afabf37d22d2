package scan

import (
	"path"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
)

// ignores are the rules with their paths seen from the root of the scan.
func (s *scanner) ignores(rules []model.Ignore) []model.Ignore {
	rules = slices.Clone(rules)
	for i := range rules {
		if rules[i].Path != "" {
			rules[i].Path = path.Join(s.base(), rules[i].Path)
		}
	}
	return rules
}

// ignore suppresses what somebody answers for, as long as their day hasn't passed.
func ignore(findings []finding.Finding, rules []model.Ignore, now time.Time) {
	for i := range findings {
		f := &findings[i]
		for _, r := range rules {
			if end := endOf(r.Until); f.Suppressed == nil && now.Before(end) && matches(r, f) {
				f.Suppressed = &finding.Suppression{By: "ward.yaml", Reason: r.Reason, VEX: r.VEX, Until: end.Add(-time.Second)}
			}
		}
	}
}

// remind says of findings whose end has come that they were ignored once.
func remind(findings []finding.Finding, rules []model.Ignore, now time.Time) {
	for i := range findings {
		f := &findings[i]
		for _, r := range rules {
			if f.Suppressed == nil && !now.Before(endOf(r.Until)) && matches(r, f) {
				f.Why += " It was ignored until " + r.Until + " (" + r.Reason + ")."
				break
			}
		}
	}
}

// endOf is the moment after a day, in UTC; long ago for what is no day.
func endOf(day string) time.Time {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return time.Time{}
	}
	return t.AddDate(0, 0, 1)
}

func matches(r model.Ignore, f *finding.Finding) bool {
	if !strings.EqualFold(r.ID, f.ID) && !slices.ContainsFunc(f.Aliases, func(a string) bool { return strings.EqualFold(a, r.ID) }) {
		return false
	}
	if r.Package != "" && (f.Package == nil || f.Package.Name != r.Package) {
		return false
	}
	return r.Path == "" || r.Path == "." || f.Location.Path == r.Path || strings.HasPrefix(f.Location.Path, r.Path+"/")
}
