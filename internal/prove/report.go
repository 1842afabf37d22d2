package prove

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/wardhq/ward/internal/plan/words"
)

// Text says the report for people; file is the name that lines are given with.
func (r *Report) Text(file string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "ATTACKER\tATTEMPTS\tGRANTED\tREACHED\tREFUSED\tESCAPES\tDIFFERENCES\t")
	var sum Attacker
	for _, a := range r.Attackers {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", words.Name(a.Name), a.Attempts, a.Granted, a.Reached, a.Refused, a.Escapes, a.Differences)
		sum.Attempts += a.Attempts
		sum.Skipped += a.Skipped
	}
	_ = w.Flush() // a Builder takes all
	for i := range r.Differences {
		b.WriteString("\n" + r.Differences[i].text(file))
	}
	b.WriteString("\n" + words.Count(sum.Attempts, "attempt") + " in " + strconv.FormatFloat(r.Seconds, 'f', 1, 64) + " s: ")
	if len(r.Differences) == 0 {
		b.WriteString("what the plan grants was reached, and nothing else\n")
	} else {
		b.WriteString(words.Count(len(r.Differences), "difference") + " from the plan\n")
	}
	if sum.Skipped > 0 {
		fmt.Fprintf(&b, "%s not tried: granted calls to externals, and what --read-only leaves out\n", words.Count(sum.Skipped, "call"))
	}
	return b.String()
}

func (d *Difference) text(file string) string {
	expected := d.Expected
	if d.Line > 0 {
		expected += fmt.Sprintf(", by line %d of %s", d.Line, file)
	}
	return fmt.Sprintf("%s → %s (%s)\n  %s\n  expected  %s\n  happened  %s\n", words.Name(d.Attacker), d.Target, d.Kind, clean(d.Request), expected, clean(d.Happened))
}

// clean keeps what a service said from steering the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the report as JUnit XML: a suite per attacker, in it one case that stands for all
// attempts without a difference, and one per difference.
func (r *Report) WriteJUnit(w io.Writer, file string) error {
	all := junitSuites{Name: "ward attack " + r.App, Time: strconv.FormatFloat(r.Seconds, 'f', 3, 64)}
	for _, a := range r.Attackers {
		name := words.Name(a.Name)
		s := junitSuite{Name: name, Cases: []junitCase{{Class: name, Name: fmt.Sprintf("%d attempts as the plan says", a.Attempts-a.Differences)}}}
		for i := range r.Differences {
			d := &r.Differences[i]
			if d.Attacker != a.Name {
				continue
			}
			s.Cases = append(s.Cases, junitCase{
				Class: name, Name: clean(d.Target + ": " + d.Request),
				Failure: &junitFailure{Message: clean(d.Happened), Type: d.Kind, Text: d.text(file)},
			})
			s.Failures++
		}
		s.Tests = len(s.Cases)
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Suites = append(all.Suites, s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}
