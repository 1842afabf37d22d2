package scan_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/scan"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/wardfile"
)

// day is the day of these tests.
func day() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

const advisory = `{"schema_version":"1.7.0","id":"GHSA-aaaa-bbbb-cccc","aliases":["CVE-2026-1"],"modified":"2026-11-21T00:00:00Z","published":"2026-11-01T00:00:00Z","summary":"a hole in left-pad",
"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],"affected":[{"package":{"ecosystem":"npm","name":"left-pad"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.3.1"}]}]}]}`

const lock = `{"name":"web","lockfileVersion":3,"packages":{"":{"name":"web","dependencies":{"left-pad":"1.3.0"}},"node_modules/left-pad":{"version":"1.3.0","resolved":"https://registry.example/left-pad-1.3.0.tgz"}}}`

const yaml = `app: shop
services: {web: {run: x, source: web, listen: http://:1, limits: {memory: 1GiB}, expose: {route: GET /, to: anyone}}}
`

// folder writes files, and returns where.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// index builds an index of one advisory.
func index(t *testing.T) string {
	t.Helper()
	db := filepath.Join(t.TempDir(), "advisories.db")
	source := folder(t, map[string]string{"a.json": advisory})
	if _, err := scan.BuildData(t.Context(), db, []scan.DataSource{{Location: source}}, scan.DataOptions{Clock: clock.Func(day)}); err != nil {
		t.Fatal(err)
	}
	return db
}

func request(t *testing.T, files map[string]string) scan.Request {
	t.Helper()
	dir := folder(t, files)
	for name := range files {
		if filepath.Base(name) == "package-lock.json" { // what nothing names counts less
			if err := os.WriteFile(filepath.Join(dir, filepath.Dir(name), "index.js"), []byte("require('left-pad')\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := scan.Request{Dir: dir, Name: ".", Now: day(), DB: index(t)}
	if text, ok := files["ward.yaml"]; ok {
		m, said := wardfile.Parse("ward.yaml", strings.NewReader(text))
		if said.HasErrors() {
			t.Fatal(said)
		}
		r.Model, r.Said, r.File = m, said, "ward.yaml"
	}
	return r
}

func run(t *testing.T, r scan.Request) *scan.Report {
	t.Helper()
	out, err := scan.Run(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// of is the finding with an ID.
func of(r *scan.Report, id string) *finding.Finding {
	for i := range r.Findings {
		if r.Findings[i].ID == id {
			return &r.Findings[i]
		}
	}
	return nil
}

func TestAHoleIsFoundRankedAndExplained(t *testing.T) {
	r := run(t, request(t, map[string]string{"ward.yaml": yaml, "web/package-lock.json": lock}))
	f := of(r, "GHSA-aaaa-bbbb-cccc")
	if f == nil {
		t.Fatalf("not found: %+v", r)
	}
	if f.Service != "web" || f.Priority < 60 || !strings.Contains(f.Why, "Anybody reaches web by GET /") || !strings.Contains(f.Fix, "Update left-pad to 1.3.1") || f.Location.Path != "web/package-lock.json" {
		t.Errorf("%+v", f)
	}
	if !r.Fails || r.Parts != 1 || r.Data == nil {
		t.Errorf("%+v", r)
	}
}

func TestNoAdvisoriesAreAnErrorAndNeverClean(t *testing.T) {
	files := map[string]string{"package-lock.json": lock}
	for name, c := range map[string]struct {
		change func(*scan.Request)
		want   string
	}{
		"no index":  {func(r *scan.Request) { r.DB = filepath.Join(t.TempDir(), "none") }, "ward scan db update"},
		"too old":   {func(r *scan.Request) { r.Now = day().AddDate(0, 0, 30) }, "days old"},
		"not whole": {func(r *scan.Request) { truncate(t, r.DB) }, ""},
	} {
		r := request(t, files)
		c.change(&r)
		if _, err := scan.Run(t.Context(), r); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := request(t, map[string]string{"Cargo.lock": "version = 3\n[[package]]\nname = \"time\"\nversion = \"0.1.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n"})
	r.Model = &model.Model{Scan: model.Scan{Fail: "never"}}
	if out := run(t, r); !out.Fails || !strings.Contains(out.FailsBy, "crates.io (1 parts)") {
		t.Errorf("an ecosystem without data: %+v", out)
	}
	if _, err := scan.Exploited(t.Context(), r); err == nil || !strings.Contains(err.Error(), "crates.io") {
		t.Errorf("an ecosystem without data, before a start: %v", err)
	}
}

func truncate(t *testing.T, file string) {
	t.Helper()
	st, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, st.Size()/2); err != nil {
		t.Fatal(err)
	}
}

func TestWhatCannotBeReadFails(t *testing.T) {
	r := run(t, request(t, map[string]string{"package-lock.json": "{"}))
	if len(r.Problems) == 0 || !r.Fails {
		t.Errorf("%+v", r)
	}
}

func TestAnIgnoredFindingStaysAndItsDayEnds(t *testing.T) {
	for name, c := range map[string]struct {
		rule       string
		suppressed bool
		reminds    bool
	}{
		"by its ID":       {"{id: GHSA-aaaa-bbbb-cccc, reason: known, until: 2026-11-22}", true, false},
		"by an alias":     {"{id: cve-2026-1, package: left-pad, path: web, reason: known, until: 2026-11-22}", true, false},
		"its day is over": {"{id: CVE-2026-1, reason: known, until: 2026-11-21}", false, true},
		"another part":    {"{id: CVE-2026-1, package: right-pad, reason: known, until: 2026-12-31}", false, false},
		"another folder":  {"{id: CVE-2026-1, path: we, reason: known, until: 2026-12-31}", false, false},
		"another hole":    {"{id: CVE-2026-2, reason: known, until: 2026-12-31}", false, false},
	} {
		r := run(t, request(t, map[string]string{"ward.yaml": yaml + "scan: {ignore: [" + c.rule + "]}\n", "web/package-lock.json": lock}))
		f := of(r, "GHSA-aaaa-bbbb-cccc")
		if f == nil {
			t.Fatalf("%s: it is gone", name)
		}
		if (f.Suppressed != nil) != c.suppressed || r.Fails == c.suppressed || strings.Contains(f.Why, "was ignored until") != c.reminds {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// A model that doesn't lie at the root says paths as seen from itself.
func TestPathsAreSeenFromTheModel(t *testing.T) {
	files := map[string]string{"web/package-lock.json": lock, "old/package-lock.json": lock}
	r := request(t, files)
	text := "app: shop\nservices: {web: {run: x, source: ../web, limits: {memory: 1GiB}}}\nscan: {skip: ../old, ignore: [{id: CVE-2026-1, path: ../web, reason: known, until: 2031-01-31}]}\n"
	m, said := wardfile.Parse("ward.yaml", strings.NewReader(text))
	if said.HasErrors() {
		t.Fatal(said)
	}
	r.Model, r.Said, r.File = m, said, "deploy/ward.yaml"
	out := run(t, r)
	if len(out.Findings) != 1 || out.Findings[0].Suppressed == nil || out.Findings[0].Service != "web" {
		t.Errorf("%+v", out.Findings)
	}
}

func TestSkippedPlacesAreNotLookedAt(t *testing.T) {
	r := run(t, request(t, map[string]string{"ward.yaml": yaml + "scan: {skip: [web/old, older, '*']}\n", "web/old/package-lock.json": lock, "web/older/package-lock.json": lock}))
	if len(r.Findings) != 1 || r.Findings[0].Location.Path != "web/older/package-lock.json" {
		t.Errorf("%+v", r.Findings)
	}
}

func TestABaselineSuppressesWhatWasThere(t *testing.T) {
	files := map[string]string{"web/package-lock.json": lock}
	first := run(t, request(t, files))
	var b bytes.Buffer
	if err := scan.Write(&b, first, "json", scan.Show{}); err != nil {
		t.Fatal(err)
	}
	r := request(t, map[string]string{"web/package-lock.json": lock, "new/package-lock.json": lock})
	var err error
	if r.Baseline, err = scan.ReadBaseline(&b); err != nil {
		t.Fatal(err)
	}
	r.Since = "old.json"
	second := run(t, r)
	if len(second.Findings) != 2 || second.Findings[0].Suppressed != nil || second.Findings[1].Suppressed == nil || second.Findings[0].Location.Path != "new/package-lock.json" {
		t.Errorf("%+v", second.Findings)
	}
}

func TestOtherAnalysersCount(t *testing.T) {
	r := request(t, map[string]string{"ward.yaml": yaml, "log.sarif": `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"other"}},"results":[{"ruleId":"x","level":"error","message":{"text":"m"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"web/a.js"}}}]}]}]}`})
	r.SARIF = []string{filepath.Join(r.Dir, "log.sarif")}
	out := run(t, r)
	if f := of(out, "x"); f == nil || f.Service != "web" || f.Tool != "other" {
		t.Errorf("%+v", out.Findings)
	}
}

func TestThePolicyDecidesWhatFails(t *testing.T) {
	dev := strings.ReplaceAll(lock, `"node_modules/left-pad":{`, `"node_modules/left-pad":{"dev":true,`)
	for policy, want := range map[string]struct{ serving, building bool }{
		"low": {true, true}, "medium": {true, true}, "high": {true, false}, "critical": {false, false}, "never": {false, false},
	} {
		for text, fails := range map[string]bool{lock: want.serving, dev: want.building} {
			r := run(t, request(t, map[string]string{"ward.yaml": yaml + "scan: {fail: " + policy + "}\n", "web/package-lock.json": text}))
			if r.Fails != fails || (r.FailsBy != "") != fails {
				t.Errorf("fail: %s: fails %v with %d", policy, r.Fails, r.Findings[0].Priority)
			}
		}
	}
}

func TestAScanNamesItsKinds(t *testing.T) {
	r := request(t, map[string]string{"package-lock.json": lock})
	r.Parts = []string{"model"}
	if out := run(t, r); len(out.Findings) != 0 || len(out.Looked) != 1 {
		t.Errorf("%+v", out)
	}
	r.Parts = []string{"weather"}
	if _, err := scan.Run(t.Context(), r); err == nil || !strings.Contains(err.Error(), "dependencies") {
		t.Error(err)
	}
}

// A bill of materials that was written is scanned like the tree that it is of, and what a VEX document says of it counts.
func TestBillsOfMaterialsAndVEXGoOutAndIn(t *testing.T) {
	r := request(t, map[string]string{"ward.yaml": yaml, "web/package-lock.json": lock})
	first := run(t, r)
	for _, format := range []string{"cyclonedx", "spdx"} {
		file := filepath.Join(t.TempDir(), format+".json")
		var b bytes.Buffer
		if err := scan.Write(&b, first, format, scan.Show{Release: "1"}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		from := request(t, map[string]string{"empty": ""})
		from.SBOM = []string{file}
		if out := run(t, from); of(out, "GHSA-aaaa-bbbb-cccc") == nil || out.Parts != 1 {
			t.Errorf("%s: %+v", format, out.Findings)
		}
	}
	vex := filepath.Join(t.TempDir(), "vex.json")
	ignored := request(t, map[string]string{"ward.yaml": yaml + "scan: {ignore: [{id: CVE-2026-1, reason: never called, until: 2031-01-31, vex: vulnerable_code_not_in_execute_path}]}\n", "web/package-lock.json": lock})
	var b bytes.Buffer
	if err := scan.Write(&b, run(t, ignored), "openvex", scan.Show{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vex, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	r.VEX = []string{vex}
	f := of(run(t, r), "GHSA-aaaa-bbbb-cccc")
	if f.Suppressed == nil || f.Suppressed.By != "vex" || f.Suppressed.VEX != "vulnerable_code_not_in_execute_path" {
		t.Errorf("%+v in %s", f.Suppressed, b.String())
	}
}

// The version to update to must mend every hole: one advisory's own answer may lie in the other's range.
func TestTheFixIsFreeOfTheOthersHoles(t *testing.T) {
	hole := func(id, events string) string {
		return `{"schema_version":"1.7.0","id":"` + id + `","modified":"2026-11-21T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"left-pad"},"ranges":[{"type":"SEMVER","events":[` + events + `]}]}]}`
	}
	source := folder(t, map[string]string{
		"a.json": hole("GHSA-aaaa-aaaa-aaaa", `{"introduced":"0"},{"fixed":"1.3.5"},{"introduced":"2.0.0"},{"fixed":"2.0.1"}`),
		"b.json": hole("GHSA-bbbb-bbbb-bbbb", `{"introduced":"0"},{"fixed":"2.0.0"}`),
	})
	r := request(t, map[string]string{"package-lock.json": lock})
	r.DB = filepath.Join(t.TempDir(), "db")
	if _, err := scan.BuildData(t.Context(), r.DB, []scan.DataSource{{Location: source}}, scan.DataOptions{Clock: clock.Func(day)}); err != nil {
		t.Fatal(err)
	}
	out := run(t, r)
	if len(out.Findings) != 2 {
		t.Fatalf("%+v", out.Findings)
	}
	for _, f := range out.Findings {
		if f.Clean != "2.0.1" || !strings.Contains(f.Fix, "2.0.1") {
			t.Errorf("%s: to %q: %s", f.ID, f.Clean, f.Fix)
		}
	}
}

func TestWhatNothingNamesCountsLess(t *testing.T) {
	r := request(t, map[string]string{"web/package-lock.json": lock})
	named := of(run(t, r), "GHSA-aaaa-bbbb-cccc")
	if err := os.WriteFile(filepath.Join(r.Dir, "web/index.js"), []byte("require('right-pad')\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if f := of(run(t, r), "GHSA-aaaa-bbbb-cccc"); named.Called != finding.ReachUnknown || f.Called != finding.NotCalled || f.Priority >= named.Priority {
		t.Errorf("%d %s, then %d %s", named.Priority, named.Called, f.Priority, f.Called)
	}
	if err := os.Remove(filepath.Join(r.Dir, "web/index.js")); err != nil {
		t.Fatal(err)
	}
	if f := of(run(t, r), "GHSA-aaaa-bbbb-cccc"); f.Called != finding.ReachUnknown {
		t.Errorf("without any code: %s", f.Called)
	}
}

// TestARefusalReachesWhoeverIsServed: the lock file of a workspace serves the services below it, but not one that has its own; what can't be looked at
// isn't started either.
func TestARefusalReachesWhoeverIsServed(t *testing.T) {
	const services = `app: shop
services:
  web: {run: x, source: apps/web, listen: http://:1}
  own: {run: x, source: apps/own, listen: http://:2}
  away: {run: x, source: ../away, listen: http://:3}
  lost: {run: x, source: apps/lost, listen: http://:4}
`
	safe := strings.ReplaceAll(lock, "1.3.0", "1.3.1")
	for name, c := range map[string]struct{ root, own, want string }{
		"a workspace's":      {lock, safe, "away lost web"},
		"its own":            {safe, lock, "away lost own"},
		"none is exploited":  {safe, safe, "away lost"},
		"nobody can read it": {"{", safe, "away lost own web"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t, map[string]string{"ward.yaml": services, "package-lock.json": c.root, "apps/web/package.json": "{}", "apps/own/package-lock.json": c.own})
			r.DB = exploited(t)
			why, err := scan.Exploited(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(slices.Sorted(maps.Keys(why)), " "); got != c.want {
				t.Errorf("refused: %s; want %s", got, c.want)
			}
		})
	}
}

// exploited builds an index of one advisory whose hole is exploited.
func exploited(t *testing.T) string {
	t.Helper()
	source := folder(t, map[string]string{"osv/a.json": advisory, "kev.json": `{"vulnerabilities":[{"cveID":"CVE-2026-1"}]}`})
	db := filepath.Join(t.TempDir(), "advisories.db")
	_, err := scan.BuildData(t.Context(), db, []scan.DataSource{{Location: filepath.Join(source, "osv")}}, scan.DataOptions{KEV: filepath.Join(source, "kev.json"), Clock: clock.Func(day)})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestManifestsWithoutALockFileAreToldOf(t *testing.T) {
	r := run(t, request(t, map[string]string{
		"a/package.json": `{"dependencies":{"lodash":"4.17.20"}}`, "b/package.json": `{"name":"b"}`, "c/package-lock.json": lock, "c/sub/package.json": `{"devDependencies":{"x":"1"}}`,
		"d/Gemfile": "gem 'rails'\n", "e/Cargo.toml": "[dependencies]\ntime = \"0.1\"\n", "node_modules/f/package.json": `{"dependencies":{"g":"1"}}`,
	}))
	var got []string
	for _, n := range r.Notes {
		if strings.Contains(n.Reason, "no lock file") {
			got = append(got, n.Path)
		}
	}
	if strings.Join(got, " ") != "a/package.json d/Gemfile e/Cargo.toml" {
		t.Errorf("%v", got)
	}
}

func TestWhatAManifestAsksForIsJudged(t *testing.T) {
	r := request(t, map[string]string{
		"pinned/package.json": `{"dependencies":{"left-pad":"1.3.0"}}`, "range/package.json": `{"dependencies":{"left-pad":"^1.0.0"}}`, "mended/package.json": `{"dependencies":{"left-pad":"1.3.1"}}`,
		"locked/package.json": `{"dependencies":{"left-pad":"1.3.0"}}`, "locked/yarn.lock": "# yarn lockfile v1\n", "broken/package.json": `{"dependencies":{"left-pad"`, "gone/package.json": `{"dependencies":{"left-pad":"git+https://x.example/y.git"}}`,
	})
	r.Parts = []string{"dependencies"}
	report := run(t, r)
	got := map[string]bool{}
	for _, f := range report.Findings {
		got[f.Location.Path+" "+f.Package.Version] = f.Unsure != ""
	}
	if !maps.Equal(got, map[string]bool{"pinned/package.json 1.3.0": false, "range/package.json ": true}) {
		t.Errorf("found (unsure): %v", got)
	}
	if len(report.Problems) != 1 || report.Problems[0].Path != "broken/package.json" {
		t.Errorf("problems: %v", report.Problems)
	}
	if !slices.ContainsFunc(report.Notes, func(n finding.Problem) bool {
		return n.Path == "gone/package.json" && strings.Contains(n.Reason, "repositories")
	}) {
		t.Errorf("notes: %v", report.Notes)
	}
}

// A single advisory from the future is looked up like any other, and says nothing of how old the data is.
func TestOneDateToComeChangesNothing(t *testing.T) {
	source := folder(t, map[string]string{"a.json": advisory, "b.json": strings.NewReplacer("aaaa-bbbb", "dddd-eeee", "2026-11-21", "2999-01-01", "CVE-2026-1", "CVE-2026-2").Replace(advisory)})
	r := request(t, map[string]string{"package-lock.json": lock})
	r.DB = filepath.Join(t.TempDir(), "db")
	if _, err := scan.BuildData(t.Context(), r.DB, []scan.DataSource{{Location: source}}, scan.DataOptions{Clock: clock.Func(day)}); err != nil {
		t.Fatal(err)
	}
	out := run(t, r)
	if len(out.Findings) != 2 || out.Data.Newest.Format(time.DateOnly) != "2026-11-21" {
		t.Errorf("%d findings, data of %s", len(out.Findings), out.Data.Newest)
	}
}

// Without a sandbox Go code is loaded all the same, and the report says so; where there is none to load, it says nothing.
func TestGoCodeOutsideOfASandboxIsToldOf(t *testing.T) {
	dir := folder(t, map[string]string{"ward-gosec": "#!/bin/sh\necho '{}'\n"})
	if err := os.Chmod(filepath.Join(dir, "ward-gosec"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for name, want := range map[string]int{"go.mod": 1, "README": 0} {
		r := request(t, map[string]string{name: "module a.test/a\n"})
		r.Parts = []string{"code"}
		n := 0
		for _, note := range run(t, r).Notes {
			if strings.Contains(note.Reason, "outside of a sandbox") {
				n++
			}
		}
		if n != want {
			t.Errorf("%s: told %d times, want %d", name, n, want)
		}
	}
}
