// Package report prints what a scan found: a table for people, JSON for programs, JUnit for pipelines, one HTML page for mail and wikis.
//
// Guarantee: each form holds every finding, the suppressed ones with their reason, and everything that couldn't be looked at; text from
// scanned files can't act on a terminal or in a page. SARIF is package sarif's.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/wardhq/ward/internal/cap/scan/internal/rank"
	"github.com/wardhq/ward/internal/finding"
)

// Report is the outcome of one scan.
type Report struct {
	App      string            `json:"app,omitempty"` // of ward.yaml
	Target   string            `json:"target"`        // what was scanned, as it was asked for
	At       time.Time         `json:"at"`
	Findings []finding.Finding `json:"findings"` // in the order of their ranking
	Problems []finding.Problem `json:"problems"`
	Notes    []finding.Problem `json:"notes,omitempty"` // what couldn't be told of findings that count all the same
	Parts    int               `json:"parts"`           // dependencies that were found
	Packages []finding.Package `json:"-"`               // the same, for bills of materials
	Looked   []Section         `json:"looked"`
	Data     *Data             `json:"data,omitempty"`  // nil where no advisories were needed
	Blind    string            `json:"blind,omitempty"` // parts of which nothing is known at all, in one sentence
	Fails    bool              `json:"fails"`
	FailsBy  string            `json:"fails_by,omitempty"` // why, in one sentence
}

// Section is one kind of scan.
type Section struct {
	Name   string  `json:"name"`
	Files  int     `json:"files"`
	Millis float64 `json:"millis"`
}

// Data is what is known of the advisories.
type Data struct {
	Newest time.Time      `json:"newest"` // when the youngest advisory was changed
	Built  time.Time      `json:"built"`
	Counts map[string]int `json:"counts"` // by ecosystem
}

// Count is how many findings count, by rating, and how many are suppressed.
func (r *Report) Count() (byRating map[string]int, suppressed int) {
	byRating = map[string]int{}
	for i := range r.Findings {
		if r.Findings[i].Suppressed != nil {
			suppressed++
		} else {
			byRating[rank.Rating(r.Findings[i].Priority)]++
		}
	}
	return byRating, suppressed
}

// JSON writes everything; Read reads it again.
func JSON(w io.Writer, r *Report) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// maxBytes bounds a report that is read.
const maxBytes = 512 << 20

// Read reads what JSON wrote, to compare with.
func Read(r io.Reader) (*Report, error) {
	var out Report
	if err := json.NewDecoder(io.LimitReader(r, maxBytes)).Decode(&out); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if out.Findings == nil {
		return nil, errors.New("read report: it has no findings, not even none: is it one of 'ward scan --format json'?")
	}
	return &out, nil
}

// summary is "12 findings: 1 critical, 3 high; 4 suppressed; 2 places could not be looked at".
func (r *Report) summary() string {
	by, suppressed := r.Count()
	n := 0
	var parts []string
	for _, rating := range []string{"critical", "high", "medium", "low", "none"} {
		if by[rating] > 0 {
			n += by[rating]
			parts = append(parts, fmt.Sprintf("%d %s", by[rating], rating))
		}
	}
	out := fmt.Sprintf("%d findings", n)
	if n == 1 {
		out = "1 finding"
	}
	if len(parts) > 0 {
		out += ": " + strings.Join(parts, ", ")
	}
	if suppressed > 0 {
		out += fmt.Sprintf("; %d suppressed", suppressed)
	}
	if len(r.Problems) > 0 {
		out += fmt.Sprintf("; %d places could not be looked at", len(r.Problems))
	}
	return out
}

// where is path:line:column.
func where(l finding.Location) string {
	out := l.Path
	if l.Line > 0 {
		out += fmt.Sprintf(":%d", l.Line)
	}
	if l.Commit != "" {
		out += fmt.Sprintf(" in commit %.12s", l.Commit)
	}
	return out
}

// what is "lodash 4.17.20 → 4.17.21", or the title where the finding is of no part.
func what(f *finding.Finding) string {
	if f.Package == nil {
		return ""
	}
	out := strings.TrimSpace(f.Package.Name + " " + f.Package.Version)
	switch {
	case f.Clean != "":
		out += " → " + f.Clean
	case len(f.Fixed) > 0:
		out += " → " + f.Fixed[0]
	}
	return out
}

func reason(s *finding.Suppression) string {
	out := "suppressed by " + s.By + ": " + s.Reason
	if s.VEX != "" {
		out += " (" + s.VEX + ")"
	}
	if !s.Until.IsZero() {
		out += ", until " + s.Until.Format(time.DateOnly)
	}
	return out
}

// plain is a text that can't move a cursor, colour a terminal, or turn the direction of what follows.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// Ratings are the ratings that a report counts, the worst first.
func (r *Report) Ratings() []string { return []string{"critical", "high", "medium", "low"} }
