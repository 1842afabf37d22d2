package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/scan/internal/report"
	"github.com/wardhq/ward/internal/finding"
)

// hostile is what a file under scan would like to do to whoever reads of it.
const hostile = "\x1b[2Jx\u202egnp.exe<script>alert(1)</script>"

func example() *report.Report {
	return &report.Report{
		App: "shop", Target: ".", At: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Parts: 3, Looked: []report.Section{{Name: "dependencies", Files: 2, Millis: 12}},
		Data: &report.Data{Newest: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)}, FailsBy: "1 finding is high or worse (scan: fail)",
		Findings: []finding.Finding{
			{
				ID: "GO-1", Kind: finding.Dependency, Tool: "ward", Title: hostile, Priority: 90, Why: "Anybody reaches web.", Fix: "Update it.", Service: "web", Fixed: []string{"1.2.0"},
				Package: &finding.Package{Ecosystem: "Go", Name: "x", Version: "1.0.0"}, Location: finding.Location{Path: hostile, Line: 4}, URL: "javascript:alert(1)",
			},
			{ID: "gone", Kind: finding.Config, Tool: "other", Title: "t", Priority: 40, Unsure: "half read", Suppressed: &finding.Suppression{By: "ward.yaml", Reason: "known", VEX: "component_not_present", Until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}},
		},
		Problems: []finding.Problem{{Path: "bad/" + hostile, Reason: "it is no JSON"}},
	}
}

func TestEveryFormHoldsEverythingAndHarmsNobody(t *testing.T) {
	for name, write := range map[string]func(io.Writer, *report.Report) error{
		"table": func(w io.Writer, r *report.Report) error { return report.Table(w, r, false, true) },
		"json":  report.JSON, "junit": report.JUnit, "html": report.HTML,
	} {
		var b bytes.Buffer
		if err := write(&b, example()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"GO-1", "gone", "known", "component_not_present", "it is no JSON", "Anybody reaches web."} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: no %q in\n%s", name, want, b.String())
			}
		}
		if strings.ContainsAny(b.String(), "\x1b\u202e") && name != "json" {
			t.Errorf("%s: control characters pass", name)
		}
		if name == "html" && (strings.Contains(b.String(), "<script") || strings.Contains(b.String(), "javascript:")) {
			t.Error("a page that runs what it shows")
		}
		if name == "json" && strings.Contains(b.String(), "\x1b") {
			t.Error("raw escape in JSON")
		}
	}
}

func TestTableCountsAndShowsTheSuppressedOnlyWhenAsked(t *testing.T) {
	var b bytes.Buffer
	if err := report.Table(&b, example(), true, false); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); strings.Contains(s, "gone") || !strings.Contains(s, "1 finding: 1 critical; 1 suppressed; 1 places could not be looked at") || !strings.Contains(s, "2 days old") || !strings.Contains(s, "x 1.0.0 → 1.2.0") {
		t.Error(s)
	}
}

func TestJSONIsReadAgain(t *testing.T) {
	var b bytes.Buffer
	if err := report.JSON(&b, example()); err != nil {
		t.Fatal(err)
	}
	got, err := report.Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(report.Fingerprints(example().Findings), report.Fingerprints(got.Findings)); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"", "[]", `{"findings":3}`, `{}`} {
		if _, err := report.Read(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: taken", bad)
		}
	}
}

func TestJUnitCounts(t *testing.T) {
	for _, r := range []*report.Report{example(), {}} {
		var b bytes.Buffer
		if err := report.JUnit(&b, r); err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Suite struct {
				Tests    int `xml:"tests,attr"`
				Failures int `xml:"failures,attr"`
				Errors   int `xml:"errors,attr"`
				Skipped  int `xml:"skipped,attr"`
				Cases    []struct {
					Name string `xml:"name,attr"`
				} `xml:"testcase"`
			} `xml:"testsuite"`
		}
		if err := xml.Unmarshal(b.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		s := doc.Suite
		if s.Tests != len(s.Cases) || s.Failures+s.Skipped != len(r.Findings) || s.Errors != len(r.Problems) || s.Tests == 0 {
			t.Errorf("%+v", s)
		}
	}
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	if err := report.JSON(&b, example()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := report.Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		if out, err := json.Marshal(r); err != nil || len(out) == 0 {
			t.Error(err)
		}
	})
}

func TestTableShowsTheFirstNotes(t *testing.T) {
	r := example()
	for range 25 {
		r.Notes = append(r.Notes, finding.Problem{Path: "x", Reason: "y"})
	}
	for all, want := range map[bool]int{false: 10, true: 25} {
		var b bytes.Buffer
		if err := report.Table(&b, r, false, all); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(b.String(), "note on x: y"); got != want || strings.Contains(b.String(), "and 15 more notes") == all {
			t.Errorf("all %v: %d notes", all, got)
		}
	}
}

func TestTableShowsTheHolesOfOnePartTogether(t *testing.T) {
	r := example()
	for i, id := range []string{"GO-2", "GO-3"} {
		f := r.Findings[0]
		f.ID, f.Priority = id, 50-i
		r.Findings = append(r.Findings, f)
	}
	other := r.Findings[0]
	other.ID, other.Location.Path = "GO-4", "elsewhere"
	r.Findings = append(r.Findings, other)
	var b bytes.Buffer
	if err := report.Table(&b, r, false, false); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); strings.Count(s, "x 1.0.0 → 1.2.0") != 2 || !strings.Contains(s, "and GO-2, GO-3\n") || !strings.Contains(s, "4 findings") {
		t.Error(s)
	}
}
