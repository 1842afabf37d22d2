package callgraph

import (
	"testing"
	"testing/fstest"

	"github.com/wardhq/ward/internal/finding"
)

const lockFile = `{"lockfileVersion":3,"packages":{
"":{"dependencies":{"unused":"1","used":"1","@s/used":"1","needed":"1","tool":"1","script":"1","peer":"1"},"devDependencies":{"dev":"1"}},
"node_modules/unused":{"version":"1.0.0"},
"node_modules/used":{"version":"1.0.0","dependencies":{"needed":"1"}},
"node_modules/@s/used":{"version":"1.0.0","peerDependencies":{"peer":"1"}},
"node_modules/needed":{"version":"1.0.0"},
"node_modules/peer":{"version":"1.0.0"},
"node_modules/tool":{"version":"1.0.0","bin":{"run-it":"x.js"}},
"node_modules/script":{"version":"1.0.0","hasInstallScript":true},
"node_modules/dev":{"version":"1.0.0"}}}`

func TestPackagesThatNothingNames(t *testing.T) {
	base := map[string]string{
		"package-lock.json":   lockFile,
		"package.json":        `{"name":"x","dependencies":{"unused":"1","used":"1"},"scripts":{"start":"run-it --now"}}`,
		"src/a.js":            `import x from 'used/deep'; const y = require("@s/used")`,
		"node_modules/z/i.js": `require("unused")`,
		"package.json.md":     "",
	}
	for _, test := range []struct {
		name, file, content string
		unused              map[string]bool
	}{
		{"nothing names it", "", "", map[string]bool{"unused": true, "dev": true}},
		{"an import", "b.ts", `export * from "unused"`, map[string]bool{"dev": true}},
		{"a path within it", "b.css", `@import "~unused/theme.css"`, map[string]bool{"dev": true}},
		{"a setting", ".eslintrc", `{"plugins":["unused"]}`, map[string]bool{"dev": true}},
		{"a script in a shell", "build.sh", `npx unused@1.2 x`, map[string]bool{"dev": true}},
		{"a path in node_modules", "Dockerfile", `CMD ["node", "./node_modules/unused/cli.js"]`, map[string]bool{"dev": true}},
		{"a name that only begins so", "b.js", `import "unused-not"`, map[string]bool{"unused": true, "dev": true}},
		{"a variable", "b.js", "require(name)", nil},
		{"a template", "b.mjs", "await import(`./${name}`)", nil},
		{"a package.json that can't be read", "sub/package.json", "{", nil},
		{"another form of lock", "package-lock.json", `{"lockfileVersion":1,"dependencies":{"unused":{}}}`, nil},
		{"a lock that can't be read", "package-lock.json", `{`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for name, content := range base {
				fsys[name] = &fstest.MapFile{Data: []byte(content)}
			}
			if test.file != "" {
				fsys[test.file] = &fstest.MapFile{Data: []byte(test.content)}
			}
			u, err := Imports(t.Context(), fsys, []string{"package-lock.json"})
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"unused", "used", "@s/used", "needed", "peer", "tool", "script", "dev", "elsewhere"} {
				fs := []finding.Finding{{
					Kind: finding.Dependency, Location: finding.Location{Path: "package-lock.json"},
					Package: &finding.Package{Ecosystem: "npm", Name: name, Direct: true},
				}}
				u.Mark(fs)
				if got := fs[0].Called == finding.NotCalled; got != test.unused[name] {
					t.Errorf("%s: %v", name, fs[0].Called)
				}
				fs[0].Called, fs[0].Package.Direct = finding.ReachUnknown, false
				u.Mark(fs)
				if fs[0].Called != finding.ReachUnknown {
					t.Errorf("%s, not direct: %v", name, fs[0].Called)
				}
			}
		})
	}
}
