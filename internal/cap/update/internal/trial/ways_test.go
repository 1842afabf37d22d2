package trial

import (
	"encoding/json"
	"path"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/npmlock"
)

// TestChangesAreMadeInEachWay: in the lock file alone, in the manifest, and against what a parent asks for; by each tool.
func TestChangesAreMadeInEachWay(t *testing.T) {
	t.Parallel()
	one := func(name string, versions ...string) map[string]map[string]string {
		out := map[string]map[string]string{}
		for _, v := range versions {
			out = join(out, pkg(name, v, "", "module.exports = 1"))
		}
		return out
	}
	parent := pkg("parent", "1.0.0", `"inner":"^1.0.0","tight":"1.0.0"`, "module.exports = require('inner') + require('tight')")
	for tool, overrides := range map[string]string{
		"npm": `{"overrides":{"tight@1.0.0":"1.0.1"}}`, "yarn": `{"resolutions":{"**/parent/tight":"1.0.1"}}`, "pnpm": `{"pnpm":{"overrides":{"tight@1.0.0":"1.0.1"}}}`,
	} {
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			all := newShelf(t)
			all.fill(t, join(one("direct", "1.0.0"), one("inner", "1.0.0", "2.0.0"), one("tight", "1.0.0"), parent))
			c := jsConfig(t, tool, all.URL+"/", map[string]string{
				"package.json": `{"name":"app","version":"1.0.0","scripts":{"test":"node test.js"},"dependencies":{"direct":"^1.0.0","inner":"2.0.0","parent":"^1.0.0"}}`,
				"test.js":      "if (require('direct') + require('parent') !== 3) process.exit(1)",
			})
			// Newer ones come only now, so that the lock file holds the old ones. What is asked for is chosen, not the newest.
			all.fill(t, join(one("direct", "1.0.0", "1.0.1", "1.0.2"), one("inner", "1.0.0", "1.0.1", "1.0.9", "2.0.0"), one("tight", "1.0.0", "1.0.1", "1.0.9"), parent))
			tr := begin(t, c)
			ch := func(name, to string, how choose.How) choose.Change {
				return choose.Change{Ecosystem: choose.NPM, Name: name, From: "1.0.0", To: to, How: how}
			}
			out, err := tr.Try(t.Context(), []choose.Change{ch("direct", "1.0.1", choose.Raise), ch("inner", "1.0.1", choose.Lock), ch("tight", "1.0.1", choose.Override)})
			if err != nil {
				t.Fatal(err)
			}
			if len(out.Passed) != 3 || out.Tests != 1 || out.Attempts != 1 {
				t.Fatalf("%+v", out)
			}
			lock := readLock(t, c.Lock, out.Files)
			by := npmlock.Ask{Name: "parent", Version: "1.0.0"}
			// What others hold of the same part stays.
			for _, want := range []struct {
				name, version string
				by            npmlock.Ask
			}{{"direct", "1.0.1", npmlock.Ask{Range: "^1.0.1"}}, {"inner", "1.0.1", by}, {"inner", "2.0.0", npmlock.Ask{Range: "2.0.0"}}, {"tight", "1.0.1", by}} {
				got := lock.Of(want.name, want.version)
				if len(got) != 1 || got[0].Name != want.by.Name || want.by.Range != "" && got[0].Range != want.by.Range {
					t.Errorf("%s %s is asked for by %v\n%s", want.name, want.version, got, out.Files[c.Lock])
				}
			}
			var m, over map[string]any
			if err := json.Unmarshal(out.Files["package.json"], &m); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(overrides), &over); err != nil {
				t.Fatal(err)
			}
			over["dependencies"] = map[string]any{"direct": "^1.0.1", "inner": "2.0.0", "parent": "^1.0.0"}
			for _, k := range []string{"name", "version", "scripts"} {
				delete(m, k)
			}
			if d := cmp.Diff(over, m); d != "" {
				t.Error(d)
			}
		})
	}
}

func readLock(t *testing.T, name string, files map[string][]byte) *npmlock.Lock {
	t.Helper()
	var l *npmlock.Lock
	var err error
	switch path.Base(name) {
	case "yarn.lock":
		l, err = npmlock.ParseYarn(files[name], files["package.json"])
	case "pnpm-lock.yaml":
		l, err = npmlock.ParsePNPM(files[name])
	default:
		l, err = npmlock.Parse(files[name])
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, files[name])
	}
	return l
}
