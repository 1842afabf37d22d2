package choose

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/wardtest/need"
)

// ranges and versions are compared all with all.
var (
	ranges = []string{
		"^1.2.3", "^0.2.3", "^0.0.3", "^1", "^0.x", "^0.0", "^0", "~1.2.3", "~1.2", "~1", "~0", "~>1.2", "1.2.x", "1.x", "1", "*", "", "x", ">=1.2.3", "> 1.2", ">1", "<2", "<1.2", "<=1.2", "<=1", "<1.2.3",
		">=1.2.3 <2", "1.2.3 - 2.3.4", "1.2 - 2.3", "1 - 2", "^1.2.3 || ^3", "1.2.3 || 2.x", "=1.2.3", "v1.2.3", "1.2.3", ">=1.2.3-beta.1", "^1.2.3-beta.2", "~1.2.3-beta", "1.2.3-beta.1", "<1.2.3-beta.2", ">*", "<*", "<=*", ">=*", "^*", "~*",
		">= 1.2.3  <2.0.0", "||", "^1.2.x", "~1.x", ">=1.x", "<2.x", "1.2.3+build", ">1.2.3-alpha <1.2.3",
		"latest", "git+https://x/y.git", "npm:other@1", "file:../x", "1.2.3.4", "^", ">>1", "01.2.3", "1.2.-3", "workspace:*",
	}
	versions = []string{
		"0.0.0", "0.0.3", "0.0.4", "0.1.0", "0.2.2", "0.2.3", "0.2.9", "0.3.0", "1.0.0", "1.1.9", "1.2.0", "1.2.2", "1.2.3", "1.2.4", "1.3.0", "1.9.9", "2.0.0", "2.3.0", "2.3.4", "2.3.5", "2.4.0", "3.0.0", "3.9.0",
		"1.2.3-alpha", "1.2.3-beta", "1.2.3-beta.1", "1.2.3-beta.2", "1.2.3-beta.10", "1.3.0-beta.1", "2.0.0-0", "2.0.0-rc.1", "0.0.0-0", "1.2.3+build",
	}
)

func TestRangesAreReadAsNPMReadsThem(t *testing.T) {
	node, npm := need.Program(t, "node"), need.Program(t, "npm")
	root, err := exec.CommandContext(t.Context(), npm, "root", "-g").Output()
	if err != nil {
		t.Fatal(err)
	}
	const script = `const paths = [process.argv[1] + "/npm/node_modules", "/usr/share/nodejs", "/usr/share/nodejs/npm/node_modules", "/usr/lib/node_modules/npm/node_modules"];
const semver = require(require.resolve("semver", {paths: paths}));
const {ranges, versions} = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(ranges.map(r => semver.validRange(r) === null ? null : versions.map(v => semver.satisfies(v, r)))));`
	question, err := json.Marshal(map[string]any{"ranges": ranges, "versions": versions})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "-e", script, strings.TrimSpace(string(root)))
	cmd.Stdin = strings.NewReader(string(question))
	b, err := cmd.Output()
	if err != nil {
		need.Missing(t, "npm's semver can't be asked: "+err.Error())
	}
	var answers [][]bool
	if err := json.Unmarshal(b, &answers); err != nil || len(answers) != len(ranges) {
		t.Fatal(err)
	}
	for i, s := range ranges {
		r, err := ParseRange(s)
		if (err != nil) != (answers[i] == nil) {
			t.Errorf("%q: we say %v, npm knows it: %v", s, err, answers[i] != nil)
			continue
		}
		for j, want := range answers[i] {
			if got := r.Admits(versions[j]); got != want {
				t.Errorf("%q admits %s: we say %v, npm says %v", s, versions[j], got, want)
			}
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, r := range ranges {
		f.Add(r, "1.2.3")
	}
	f.Fuzz(func(t *testing.T, s, v string) {
		r, err := ParseRange(s)
		if err == nil && r.Admits(v) && strings.Contains(v, " ") {
			t.Error("no version was admitted")
		}
	})
}
