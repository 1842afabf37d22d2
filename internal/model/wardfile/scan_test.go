package wardfile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/model"
)

func TestScanAndUpdateAreRead(t *testing.T) {
	m, problems := Parse("ward.yaml", strings.NewReader(`app: a
services: {s: {run: x, source: ./src}}
scan:
  fail: medium
  refuse: exploited
  max_age: 3d
  skip: [vendor/, testdata]
  ignore:
    - {id: CVE-2024-1, package: lodash, path: web/, reason: not used, until: 2031-01-31, vex: vulnerable_code_not_present}
update: {wait: 5d, limit: 3, merge: patch, forge: gitlab, ignore: [{package: react, reason: next year, until: 2031-01-31}]}
`))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	want := model.Scan{Fail: "medium", Refuse: true, MaxAgeDays: 3, Skip: []string{"vendor", "testdata"}, Ignore: []model.Ignore{{
		Pos: m.Scan.Ignore[0].Pos, ID: "CVE-2024-1", Package: "lodash", Path: "web", Reason: "not used", Until: "2031-01-31", VEX: "vulnerable_code_not_present",
	}}}
	if d := cmp.Diff(want, m.Scan); d != "" {
		t.Error(d)
	}
	if u := m.Update; u.WaitDays != 5 || u.Limit != 3 || u.Merge != "patch" || u.Forge != "gitlab" || len(u.Ignore) != 1 || u.Ignore[0].Package != "react" {
		t.Errorf("update: %+v", u)
	}
	if m.Services[0].Source != "./src" {
		t.Errorf("source: %q", m.Services[0].Source)
	}
}

func TestAnIgnoredFindingNeedsAReasonAndAnEnd(t *testing.T) {
	for part, want := range map[string]string{
		"scan: {ignore: [{id: X, until: 2031-01-31}]}":                          `"reason" is missing`,
		"scan: {ignore: [{id: X, reason: y}]}":                                  `"until" is missing`,
		"scan: {ignore: [{reason: y, until: 2031-01-31}]}":                      `"id" is missing`,
		"scan: {ignore: [{id: X, reason: y, until: 2031-02-31}]}":               "2031-02-31",
		"scan: {ignore: [{id: X, reason: y, until: 2031-02-01, vex: because}]}": "justification",
		"scan: {fail: sometimes}":                                               "rating",
		"scan: {refuse: all}":                                                   "exploited",
		"scan: {max_age: forever}":                                              "number of days",
		"update: {ignore: [{package: x, until: 2031-01-31}]}":                   `"reason" is missing`,
		"update: {ignore: [{id: x, package: y, reason: z, until: 2031-01-31}]}": "unknown key",
		"update: {merge: always}":                                               "patch, minor or never",
	} {
		_, problems := Parse("ward.yaml", strings.NewReader("app: a\nservices: {s: {run: x}}\n"+part+"\n"))
		if !problems.HasErrors() || !strings.Contains(problems.String(), want) {
			t.Errorf("%s: %v", part, problems)
		}
	}
}
