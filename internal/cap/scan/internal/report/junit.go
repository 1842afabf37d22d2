package report

import (
	"encoding/xml"
	"fmt"
	"io"

	"github.com/wardhq/ward/internal/cap/scan/internal/rank"
	"github.com/wardhq/ward/internal/finding"
)

type (
	suites struct {
		XMLName xml.Name `xml:"testsuites"`
		Suites  []suite  `xml:"testsuite"`
	}
	suite struct {
		Name     string `xml:"name,attr"`
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Errors   int    `xml:"errors,attr"`
		Skipped  int    `xml:"skipped,attr"`
		Time     string `xml:"timestamp,attr"`
		Cases    []test `xml:"testcase"`
	}
	test struct {
		Class   string   `xml:"classname,attr"`
		Name    string   `xml:"name,attr"`
		Failure *outcome `xml:"failure"`
		Error   *outcome `xml:"error"`
		Skipped *outcome `xml:"skipped"`
	}
	outcome struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the report in the form that pipelines show as tests: a finding is a failure, a suppressed one is skipped, what couldn't be
// looked at is an error; a scan without any of them is one test that passed.
func JUnit(w io.Writer, r *Report) error {
	s := suite{Name: "ward scan", Time: r.At.UTC().Format("2006-01-02T15:04:05")}
	for i := range r.Findings {
		f := &r.Findings[i]
		c := test{Class: string(f.Kind), Name: plain(f.ID + " " + what(f) + " " + where(f.Location))}
		if f.Suppressed != nil {
			s.Skipped++
			c.Skipped = &outcome{Message: plain(reason(f.Suppressed))}
		} else {
			s.Failures++
			c.Failure = &outcome{Message: plain(f.Title), Type: rank.Rating(f.Priority), Text: plain(f.Why + " " + f.Fix)}
		}
		s.Cases = append(s.Cases, c)
	}
	for _, p := range r.Problems {
		s.Errors++
		s.Cases = append(s.Cases, test{Class: "problem", Name: plain(p.Path), Error: &outcome{Message: plain(p.Reason)}})
	}
	if len(s.Cases) == 0 {
		s.Cases = []test{{Class: "scan", Name: "nothing was found"}}
	}
	s.Tests = len(s.Cases)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", " ")
	if err := enc.Encode(suites{Suites: []suite{s}}); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// Fingerprints are those of an earlier report in JSON, as a baseline.
func Fingerprints(findings []finding.Finding) map[string]bool {
	out := make(map[string]bool, len(findings))
	for i := range findings {
		if findings[i].Suppressed == nil {
			out[findings[i].Fingerprint()] = true
		}
	}
	return out
}
