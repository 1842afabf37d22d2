package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/cmd/ward/internal/scanning"
	"github.com/wardhq/ward/internal/cap/scan"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// advisories builds an index that knows one hole of left-pad, exploited or not.
func advisories(t *testing.T, exploited bool) (db string) {
	t.Helper()
	dir := t.TempDir()
	kev := `{"vulnerabilities":[{"cveID":"CVE-2025-9"}]}`
	if exploited {
		kev = `{"vulnerabilities":[{"cveID":"CVE-2026-1"}]}`
	}
	for name, text := range map[string]string{
		"osv/a.json": `{"schema_version":"1.7.0","id":"GHSA-aaaa-bbbb-cccc","aliases":["CVE-2026-1"],"modified":"` + time.Now().UTC().Format(time.RFC3339) + `","summary":"a hole in left-pad",
			"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
			"affected":[{"package":{"ecosystem":"npm","name":"left-pad"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.3.1"}]}]}]}`,
		"kev.json": kev,
	} {
		write(t, filepath.Join(dir, name), text)
	}
	db = filepath.Join(dir, "advisories.db")
	if _, err := scan.BuildData(t.Context(), db, []scan.DataSource{{Location: filepath.Join(dir, "osv")}}, scan.DataOptions{KEV: filepath.Join(dir, "kev.json")}); err != nil {
		t.Fatal(err)
	}
	return db
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const leftPad = `{"lockfileVersion":3,"packages":{"":{"dependencies":{"left-pad":"1.3.0"}},"node_modules/left-pad":{"version":"1.3.0"}}}`

// TestAServiceWithAnExploitedHoleIsNotStarted runs two services, one of which has such a part; the other one starts all the same. With the
// switch off, or a hole that nobody exploits, both do.
func TestAServiceWithAnExploitedHoleIsNotStarted(t *testing.T) {
	for name, c := range map[string]struct {
		exploited bool
		scan      string
		refused   bool
	}{
		"exploited":       {true, "scan: {refuse: exploited}", true},
		"not exploited":   {false, "scan: {refuse: exploited}", false},
		"the switch off":  {true, "scan: {fail: low}", false},
		"answered for it": {true, "scan: {refuse: exploited, ignore: [{id: CVE-2026-1, reason: it is behind a filter, until: 2999-01-01}]}", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("WARD_ADVISORIES", advisories(t, c.exploited))
			var refuse scanning.Refusals
			yaml := strings.Replace(strings.Replace(twoServices, "services:", c.scan+"\nservices:", 1), "  catalog:\n", "  catalog:\n    source: catalog-src\n", 1)
			w := wardtest.Start(t, yaml, func(conf *up.Config) {
				write(t, filepath.Join(filepath.Dir(conf.File), "catalog-src", "package-lock.json"), leftPad)
				file := conf.File
				conf.Refuse = refuse.Why
				conf.Load = func() (*plan.Plan, error) {
					return loadToStart(t.Context(), cli.Env{Out: io.Discard, Err: io.Discard}, file, &refuse)
				}
			})
			for _, s := range w.Status().Services {
				want := up.Ready
				if s.Service == "catalog" && c.refused {
					want = up.Ended
				}
				if s.State != want {
					t.Errorf("%s is %s: %s", s.Service, s.State, s.Reason)
				}
				if s.State == up.Ended && !strings.Contains(s.Reason, "left-pad 1.3.0") {
					t.Errorf("reason: %s", s.Reason)
				}
			}
		})
	}
}

// sinceIsNobodysToForge walks --since over history and a bill of materials, and attacks it: with a report of the attacker's that has the commit's name, and with a filter that the repository names.
func sinceIsNobodysToForge(t *testing.T, dir, report string, git func(...string), ask func(int, ...string) string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	forged, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	// What was leaked and taken away again before isn't new, what was after it is.
	key := func(end string) string { return "k = \"AKIA" + "QYLPMN5HFIQR7" + end + "\"\n" }
	leak := func(end string) {
		for _, text := range []string{key(end), ""} {
			write(t, at("s.py"), text)
			git("add", "s.py")
			git("commit", "-q", "-m", "leak")
		}
	}
	leak("XYZ")
	git("branch", "leaked")
	if out := ask(1, ".", "--only", "secrets"); !strings.Contains(out, "in commit") {
		t.Error(out)
	}
	ask(0, ".", "--only", "secrets", "--since", "leaked")
	leak("ABC")
	if out := ask(1, ".", "--only", "secrets", "--since", "leaked"); !strings.Contains(out, "1 suppressed") {
		t.Error(out)
	}
	write(t, at("bom.json"), `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"library","name":"left-pad","version":"1.3.0","purl":"pkg:npm/left-pad@1.3.0"}]}`)
	ask(1, ".", "--only", "dependencies", "--since", "HEAD", "--sbom", "bom.json")
	git("branch", "base")
	write(t, at("base"), string(forged))
	if out := ask(2, ".", "--since", "base"); !strings.Contains(out, "a file, too") {
		t.Error(out)
	}
	ask(1, ".", "--since", "./base")
	write(t, at(".gitattributes"), "*.js filter=trap\n")
	git("add", ".gitattributes")
	git("commit", "-q", "-m", "second")
	git("config", "filter.trap.smudge", "touch "+at("sprung")+"; cat")
	ask(1, ".", "--since", "HEAD")
	if _, err := os.Stat(at("sprung")); err == nil {
		t.Error("git ran a program of the repository's")
	}
}

// TestScanCommand walks the verb as a pipeline does.
func TestScanCommand(t *testing.T) {
	t.Parallel()
	db, dir := advisories(t, true), t.TempDir()
	write(t, filepath.Join(dir, "package-lock.json"), leftPad)
	write(t, filepath.Join(dir, "index.js"), "require('left-pad')\n")
	ask := func(code int, args ...string) string {
		t.Helper()
		got, out, errs := process{dir: dir, env: []string{"WARD_ADVISORIES=" + db}}.run(t, append([]string{"scan"}, args...)...)
		if got != code {
			t.Errorf("ward scan %v: code %d\n%s%s", args, got, out, errs)
		}
		return out + errs
	}
	if out := ask(1, dir); !strings.Contains(out, "left-pad 1.3.0 → 1.3.1") || !strings.Contains(out, "exploited in the wild") {
		t.Error(out)
	}
	report := filepath.Join(dir, "before.json")
	ask(1, dir, "--format", "json", "-o", report)
	ask(0, dir, "--since", report)
	ask(0, dir, "--only", "model")
	for _, format := range scan.Formats() {
		if out := ask(1, dir, "--format", format); !strings.Contains(out, "GHSA-aaaa-bbbb-cccc") && format != "spdx" && format != "openvex" {
			t.Errorf("%s: %s", format, out)
		}
	}
	ask(2, dir, "--format", "smoke")
	ask(2, filepath.Join(dir, "nowhere"))
	ask(2, dir, "--since", "no-such-thing")
	git := func(args ...string) {
		t.Helper()
		c := exec.Command(need.Program(t, "git"), append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v %s", args, err, out)
		}
	}
	git("init", "-q")
	git("add", "package-lock.json", "index.js")
	git("commit", "-q", "-m", "first")
	ask(0, dir, "--since", "HEAD")
	write(t, filepath.Join(dir, "web", "package-lock.json"), leftPad)
	if out := ask(1, dir, "--since", "HEAD"); !strings.Contains(out, "web/package-lock.json") || !strings.Contains(out, "1 suppressed") {
		t.Error(out)
	}
	sinceIsNobodysToForge(t, dir, report, git, ask)
	if out := ask(0, "db", "status"); !strings.Contains(out, "1 advisories of 1 packages") {
		t.Error(out)
	}
	if out := ask(0, "rules"); !strings.Contains(out, "ward-no-limits") {
		t.Error(out)
	}
	db = filepath.Join(dir, "none")
	if out := ask(1, dir); !strings.Contains(out, "ward scan db update") {
		t.Error(out)
	}
}

// TestReadyFilesPassTheirOwnScan: what Ward hands out for pipelines has none of the weaknesses that it looks for.
func TestReadyFilesPassTheirOwnScan(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, file := range map[string]string{"github": ".github/workflows/ward.yml", "gitlab": ".gitlab-ci.yml", "pre-commit": "hook"} {
		var out bytes.Buffer
		if code := run(cli.Env{Out: &out, Err: &out}, []string{"scan", "ci", name}); code != 0 || strings.Contains(out.String(), "@COMMIT@") {
			t.Fatalf("%s: %d %s", name, code, out.String())
		}
		write(t, filepath.Join(dir, file), out.String())
	}
	report, err := scan.Run(t.Context(), scan.Request{Dir: dir, Name: dir, Parts: []string{"configuration"}, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if report.Looked[0].Files != 2 || len(report.Problems) > 0 {
		t.Errorf("%+v", report)
	}
	for _, f := range report.Findings {
		if f.ID != "gitlab-image-no-digest" { // which the file itself says how to mend
			t.Errorf("%s: %s", f.ID, f.Title)
		}
	}
}
