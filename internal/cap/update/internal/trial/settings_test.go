package trial

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
)

// TestARepositorysSettingsRunNothingWhileFetching: what ran then would have a way out, and would leave what it likes in the caches of all attempts.
func TestARepositorysSettingsRunNothingWhileFetching(t *testing.T) {
	t.Parallel()
	packages := pkg("a", "1.0.0", "", "")
	commit := strings.Repeat("1", 40)
	for _, c := range []struct{ tool, name, text string }{
		{"npm", ".npmrc", "git = " + inTree + "/evil.sh\n"},
		{"npm", ".npmrc", "\"git\" = " + inTree + "/evil.sh\nsave-prefix=^\n"},
		{"npm", ".npmrc", "save-prefix=^\rgit=" + inTree + "/evil.sh\n"},
		{"yarn", ".yarnrc", "yarn-path \"./evil.sh\"\n"},
	} {
		t.Run(c.name+c.tool, func(t *testing.T) {
			conf := jsConfig(t, c.tool, npmRegistry(t, packages), map[string]string{"package.json": `{"name":"app","version":"1.0.0","dependencies":{"a":"^1.0.0"}}`})
			write(t, conf.Repo, map[string]string{c.name: c.text, "evil.sh": "#!/bin/sh\ntouch " + inNPM + "/mark\nexit 1\n"})
			if err := os.Chmod(filepath.Join(conf.Repo, "evil.sh"), 0o755); err != nil {
				t.Fatal(err)
			}
			if c.tool == "npm" {
				// A part that git fetches. It's optional, so that all goes well without.
				asks := `"optionalDependencies":{"g":"git+http://127.0.0.1:9/x.git#` + commit + `"}`
				write(t, conf.Repo, map[string]string{
					"package.json":      `{"name":"app","version":"1.0.0",` + asks + `}`,
					"package-lock.json": `{"name":"app","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{"":{"name":"app","version":"1.0.0",` + asks + `},"node_modules/g":{"version":"1.0.0","optional":true,"resolved":"git+http://127.0.0.1:9/x.git#` + commit + `"}}}`,
				})
			}
			gitIn(t, conf.Repo, "add", "-A")
			gitIn(t, conf.Repo, "commit", "-q", "-m", "settings")
			conf.Commit = strings.TrimSpace(gitIn(t, conf.Repo, "rev-parse", "HEAD"))
			tr := begin(t, conf)
			if _, err := os.Stat(filepath.Join(tr.home, "npm", "mark")); err == nil {
				t.Error("a program that the repository names ran")
			}
		})
	}
}

func TestOnlyHarmlessSettingsStay(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"tree/a/.npmrc": "; words\nlegacy-peer-deps = true\nscript-shell=/bin/evil\nSave-Exact=true\nsave-prefix=${HOME}\nhttps-proxy=http://evil.example\nstrict-ssl=false\n",
		"tree/.npmrc":   "globalconfig=./evil\nnode-options=--require ./evil\n", "tree/b/.npmrc": "cafile=x\n",
	})
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "tree", "a", "b")); err != nil {
		t.Fatal(err)
	}
	a := &attempt{Trial: &Trial{config: Config{Dir: "a"}}, dir: dir}
	if err := a.settle(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a/.npmrc": "legacy-peer-deps=true\n", ".npmrc": "", "b/.npmrc": "cafile=x\n"} {
		if b, err := os.ReadFile(filepath.Join(dir, "tree", name)); err != nil || string(b) != want {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
}

func TestProjectsThatResolveTheirOwnWayAreRefused(t *testing.T) {
	t.Parallel()
	packages := pkg("a", "1.0.0", "", "")
	const manifest = `{"name":"app","version":"1.0.0","dependencies":{"a":"^1.0.0"}}`
	for _, c := range []struct{ tool, name, text, want string }{
		{"pnpm", ".pnpmfile.cjs", "require('fs').writeFileSync('" + inNPM + "/mark', '')", "with a .pnpmfile.cjs"},
		{"pnpm", "pnpm-workspace.yaml", "packages: [x]\n", "with a pnpm-workspace.yaml"},
		{"yarn", "package.json", strings.Replace(manifest, "{", `{"private":true,"workspaces":["x"],`, 1), "workspaces of yarn"},
	} {
		conf := jsConfig(t, c.tool, npmRegistry(t, packages), map[string]string{"package.json": manifest})
		write(t, conf.Repo, map[string]string{c.name: c.text})
		gitIn(t, conf.Repo, "add", "-A")
		gitIn(t, conf.Repo, "commit", "-q", "-m", "more")
		conf.Commit = strings.TrimSpace(gitIn(t, conf.Repo, "rev-parse", "HEAD"))
		if _, err := Begin(t.Context(), conf); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v", c.tool, c.name, err)
		}
	}
	if _, err := newJSKit(Config{NPM: registry.NPMEnv{Registry: "https://r.example", Foreign: map[string]string{"@s": "https://evil.example"}}}); err == nil || !strings.Contains(err.Error(), "evil.example") {
		t.Error(err)
	}
}

// TestSettingsOfFoldersAboveAreRefused: those of a workspace overrule what pnpm is told by its environment, such as not to run another version of itself.
func TestSettingsOfFoldersAboveAreRefused(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"tree/a/b/package.json": "{}", "tree/pnpm-workspace.yaml": "managePackageManagerVersions: true\n"})
	a := &attempt{Trial: &Trial{config: Config{Dir: "a/b"}}, dir: dir}
	if err := (&foreignKit{}).refuse(a, "pnpm-workspace.yaml"); err == nil || !strings.Contains(err.Error(), "with a pnpm-workspace.yaml") {
		t.Error(err)
	}
	if err := a.without(".pnpmfile.cjs"); err != nil {
		t.Error(err)
	}
}

func TestNamesThatAreOptionsAreHeld(t *testing.T) {
	tr := &Trial{}
	bad := []choose.Change{
		{Name: "--registry=https://evil.example", From: "1.0.0", To: "1.0.1"},
		{Name: "a", From: "1.0.0", To: "-g"},
		{Name: "a]", From: "1.0.0", To: "1.0.1"},
		{Name: "a b", From: "1.0.0", To: "1.0.1"},
		{Name: ".a", From: "1.0.0", To: "1.0.1"},
		{Name: "a", From: "1.0.0", To: "npm:b"},
		{Name: "a", From: "", To: "1.0.1"},
	}
	out, err := tr.Try(t.Context(), bad)
	if err != nil || len(out.Held) != len(bad) || len(out.Passed) > 0 {
		b, _ := json.Marshal(out)
		t.Errorf("%v %s", err, b)
	}
	for _, good := range []string{"@s/a-b.c_d~e", "golang.org/x/text", "v1.0.0-0.20200101000000-abcdefabcdef", "1.0.0+incompatible"} {
		if !speakable(good) {
			t.Error(good)
		}
	}
}
