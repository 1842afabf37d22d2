package inventory

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What scalibr doesn't say, or says otherwise: lines, who is direct, for development, what requires what.
func TestLockFiles(t *testing.T) {
	for name, c := range map[string]struct {
		files    map[string]string
		want     string
		problems []string
	}{
		"yarn 1: aliases, direct by package.json": {
			files: map[string]string{
				"package.json": `{"dependencies":{"a":"^1"},"devDependencies":{"@s/b":"~2"}}`,
				"yarn.lock":    "# yarn lockfile v1\n\na@^1, a@^1.2:\n  version \"1.2.3\"\n  resolved \"https://x\"\n  dependencies:\n    \"@s/b\" \"*\"\n    c \"1\"\n\n\"@s/b@~2\":\n  version \"2.0.1\"\n\nc@1:\n  version \"1.0.0\"\n\n\"al@npm:real@^3\":\n  version \"3.0.0\"\n",
			},
			want: "yarn.lock:3 npm a 1.2.3 direct > @s/b c\nyarn.lock:10 npm @s/b 2.0.1 direct\nyarn.lock:13 npm c 1.0.0\nyarn.lock:16 npm real 3.0.0\n",
		},
		"yarn berry: workspaces, resolutions": {
			files: map[string]string{
				"yarn.lock": "__metadata:\n  version: 8\n\n\"a@npm:^1\":\n  version: 1.2.3\n  resolution: \"a@npm:1.2.3\"\n  dependencies:\n    c: \"npm:1\"\n  languageName: node\n\n\"al@npm:c@1\":\n  version: 1.0.0\n  resolution: \"c@npm:1.0.0\"\n\n\"w@workspace:.\":\n  version: 0.0.0-use.local\n  resolution: \"w@workspace:.\"\n  dependencies:\n    a: \"npm:^1\"\n",
			},
			want: "yarn.lock:4 npm a 1.2.3 direct > c\nyarn.lock:11 npm c 1.0.0\n",
		},
		"pnpm 9: importers, snapshots with peers, long keys": {
			files: map[string]string{"pnpm-lock.yaml": "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n      a:\n        specifier: ^1\n        version: 1.0.0(p@1.0.0)\n    devDependencies:\n      '@s/b':\n        specifier: ^2\n        version: 2.0.0\n\npackages:\n\n  '@s/b@2.0.0':\n    resolution: {integrity: x}\n\n  a@1.0.0:\n    resolution: {integrity: x}\n\n  ? long@1.0.0\n  : resolution: {integrity: x}\n\n  p@1.0.0:\n    resolution: {integrity: x}\n\nsnapshots:\n\n  '@s/b@2.0.0': {}\n\n  a@1.0.0(p@1.0.0):\n    dependencies:\n      p: 1.0.0\n      long: 1.0.0\n"},
			want:  "pnpm-lock.yaml:17 npm @s/b 2.0.0 direct\npnpm-lock.yaml:20 npm a 1.0.0 direct > p long\npnpm-lock.yaml:23 npm long 1.0.0\npnpm-lock.yaml:26 npm p 1.0.0\n",
		},
		"pnpm 5 and 6: dev": {
			files: map[string]string{
				"5/pnpm-lock.yaml": "lockfileVersion: 5.4\nspecifiers:\n  a: ^1\ndependencies:\n  a: 1.0.0_p@1.0.0\npackages:\n  /a/1.0.0_p@1.0.0:\n    resolution: {integrity: x}\n    dependencies:\n      '@s/b': 2.0.0\n    dev: false\n  /@s/b/2.0.0:\n    resolution: {integrity: x}\n    dev: true\n",
				"6/pnpm-lock.yaml": "lockfileVersion: '6.0'\ndependencies:\n  a:\n    specifier: ^1\n    version: 1.0.0(p@1.0.0)\npackages:\n  /a@1.0.0(p@1.0.0):\n    resolution: {integrity: x}\n    dependencies:\n      '@s/b': 2.0.0\n    dev: false\n  /@s/b@2.0.0:\n    resolution: {integrity: x}\n    dev: true\n",
			},
			want: "5/pnpm-lock.yaml:7 npm a 1.0.0 direct > @s/b\n5/pnpm-lock.yaml:12 npm @s/b 2.0.0 dev\n6/pnpm-lock.yaml:7 npm a 1.0.0 direct > @s/b\n6/pnpm-lock.yaml:12 npm @s/b 2.0.0 dev\n",
		},
		"pnpm of a version that isn't known": {
			files:    map[string]string{"pnpm-lock.yaml": "lockfileVersion: '12.0'\npackages:\n  a@1:\n    resolution: {}\n"},
			problems: []string{`pnpm-lock.yaml: read pnpm-lock.yaml: lockfileVersion "12.0"`},
		},
		"bun: trailing commas, comments": {
			files: map[string]string{"bun.lock": "{\n  // bun\n  \"lockfileVersion\": 1,\n  \"workspaces\": {\"\": {\"dependencies\": {\"a\": \"1, /* no */\",},},},\n  \"packages\": {\n    \"a\": [\"a@1.0.0\", \"\", {\"dependencies\": {\"b\": \"1\"}}, \"x\"],\n    \"b\": [\"b@1.5.0\", \"\", {}, \"x\"], /* so */\n    \"g\": [\"g@github:x/y#abc\", {}, \"x\"],\n    \"w\": [\"w@workspace:w\"],\n  },\n}\n"},
			want:  "bun.lock:6 npm a 1.0.0 direct > b\nbun.lock:7 npm b 1.5.0\nbun.lock:8 npm g \n",
		},
		"uv: the project is no part": {
			files: map[string]string{"uv.lock": "version = 1\n\n[[package]]\nname = \"shop\"\nversion = \"0.1\"\nsource = { virtual = \".\" }\ndependencies = [\n    { name = \"Foo.Bar\" }, # x\n]\n\n[package.metadata]\nrequires-dist = [{ name = \"foo\" }]\n\n[[package]]\nname = \"foo-bar\"\nversion = \"1.0\"\ndependencies = [{ name = \"baz\", marker = \"x == 'y'\" }]\n\n[[package]]\nname = \"baz\"\nversion = \"2\"\n"},
			want:  "uv.lock:14 PyPI foo-bar 1.0 direct > baz\nuv.lock:19 PyPI baz 2\n",
		},
		"poetry and pdm: groups, edges": {
			files: map[string]string{
				"poetry.lock": "[[package]]\nname = \"A_b\"\nversion = \"1\"\ndescription = \"\"\"x\n[[package]]\n\"\"\"\ngroups = [\"dev\"]\nfiles = [\n  {file = \"a\", hash = \"b\"},\n]\n\n[package.dependencies]\nC = {version = \">=1\", markers = \"x\"}\n\n[[package]]\nname = \"c\"\nversion = '2'\ngroups = [\"main\", \"dev\"]\n\n[metadata]\nlock-version = \"2.1\"\n",
				"pdm.lock":    "[[package]]\nname = \"a\"\nversion = \"1\"\ngroups = [\"test\"]\ndependencies = [\"C>=1; x\"]\n",
			},
			want: "pdm.lock:1 PyPI a 1 dev > c\npoetry.lock:1 PyPI a-b 1 dev > c\npoetry.lock:15 PyPI c 2\n",
		},
		"a TOML lock file cut off: what stood before still counts": {
			files:    map[string]string{"Cargo.lock": "[[package]]\nname = \"a\"\nversion = \"1\"\n\n[[package]]\nname = \"b"},
			want:     "Cargo.lock:1 crates.io a 1\n",
			problems: []string{"Cargo.lock:5: a package without a name", "Cargo.lock: read TOML: line 6"},
		},
		"Cargo: what members of the workspace ask for is direct": {
			files: map[string]string{"Cargo.lock": "version = 3\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\ndependencies = [\n \"a\",\n]\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+https://x\"\ndependencies = [\"b 2.0.0\"]\n"},
			want:  "Cargo.lock:2 crates.io own 0.1.0 > a\nCargo.lock:9 crates.io a 1.0.0 direct > b\n",
		},
		"Gemfile.lock: platforms, direct": {
			files: map[string]string{"Gemfile.lock": "GEM\n  remote: https://rubygems.org/\n  specs:\n    nokogiri (1.15.0-x86_64-linux)\n      racc (~> 1.4)\n    racc (1.7.0)\n\nDEPENDENCIES\n  nokogiri (~> 1)!\n\nBUNDLED WITH\n   2.4.0\n"},
			want:  "Gemfile.lock:4 RubyGems nokogiri 1.15.0 direct > racc\nGemfile.lock:6 RubyGems racc 1.7.0\n",
		},
		"composer: dev, direct, licences": {
			files: map[string]string{
				"composer.json": `{"require":{"php":">=8","A/b":"1"}}`,
				"composer.lock": "{\"packages\": [\n{\"name\": \"a/b\", \"version\": \"v1.0\", \"license\": [\"MIT\"], \"require\": {\"php\": \"8\", \"c/d\": \"1\"}}\n], \"packages-dev\": [\n{\"name\": \"c/d\", \"version\": \"2\"}]}",
			},
			want: "composer.lock:2 Packagist a/b v1.0 direct > c/d (MIT)\ncomposer.lock:4 Packagist c/d 2 dev\n",
		},
		"NuGet: projects aren't packages": {
			files: map[string]string{"packages.lock.json": `{"version":1,"dependencies":{"net8.0":{"A":{"type":"Direct","resolved":"1.0.0","dependencies":{"B":"1"}},"B":{"type":"Transitive","resolved":"2.0.0"},"own":{"type":"Project"}}}}`},
			want:  "packages.lock.json:1 NuGet A 1.0.0 direct > B\npackages.lock.json:1 NuGet B 2.0.0\n",
		},
		"Gradle: test configurations": {
			files: map[string]string{"gradle.lockfile": "# x\na.b:c:1.0=compileClasspath,testCompileClasspath\na.b:d:2.0=testCompileClasspath\nempty=annotationProcessor\n"},
			want:  "gradle.lockfile:2 Maven a.b:c 1.0\ngradle.lockfile:3 Maven a.b:d 2.0 dev\n",
		},
		"Maven: parents and imported management in the tree, modules, scopes": {
			files: map[string]string{
				"pom.xml":     "<project><groupId>g</groupId><artifactId>root</artifactId><version>1</version>\n<properties><v>3</v></properties>\n<dependencyManagement><dependencies><dependency><groupId>x</groupId><artifactId>y</artifactId><version>${v}</version></dependency>\n<dependency><groupId>g</groupId><artifactId>bom</artifactId><version>1</version><type>pom</type><scope>import</scope></dependency></dependencies></dependencyManagement></project>",
				"bom/pom.xml": "<project><groupId>g</groupId><artifactId>bom</artifactId><dependencyManagement><dependencies><dependency><groupId>z</groupId><artifactId>z</artifactId><version>9</version></dependency></dependencies></dependencyManagement></project>",
				"app/pom.xml": "<project><parent><groupId>g</groupId><artifactId>root</artifactId><version>1</version></parent><artifactId>app</artifactId>\n<dependencies>\n<dependency><groupId>x</groupId><artifactId>y</artifactId><scope>test</scope></dependency>\n<dependency><groupId>z</groupId><artifactId>z</artifactId></dependency>\n<dependency><groupId>g</groupId><artifactId>bom</artifactId></dependency>\n<dependency><groupId>e</groupId><artifactId>e</artifactId></dependency>\n<dependency><groupId>${project.groupId}.h</groupId><artifactId>h</artifactId><version>[1.5]</version></dependency></dependencies></project>",
			},
			want: "app/pom.xml:3 Maven x:y 3 direct dev\napp/pom.xml:4 Maven z:z 9 direct\napp/pom.xml:6 Maven e:e  direct\napp/pom.xml:7 Maven g.h:h 1.5 direct\n",
		},
		"go.work": {
			files: map[string]string{"go.work": "go 1.24\ntoolchain go1.24.1\nuse ./a\nreplace x.y/z => x.y/w v1.0.0\n"},
			want:  "go.work:2 Go stdlib 1.24.1 direct\ngo.work:4 Go x.y/w v1.0.0\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inv, err := Find(t.Context(), tree(c.files), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, lines(inv)); d != "" {
				t.Errorf("parts (-want +got):\n%s", d)
			}
			checkProblems(t, c.problems, inv.Problems)
		})
	}
}

func TestInstalledParts(t *testing.T) {
	alpine := "ID=alpine\nVERSION_ID=3.20.1\n"
	inv, err := Find(t.Context(), tree(map[string]string{
		"etc/os-release":                                         alpine,
		"lib/apk/db/installed":                                   "C:x\nP:libssl3\nV:3.3.0-r2\nA:x86_64\nL:Apache-2.0\no:openssl\nD:musl so:libc.musl-x86_64.so.1 /bin/sh busybox>=1\nF:lib\n\nP:musl\nV:1.2.5-r0\n",
		"app/node_modules/@s/a/package.json":                     "{\"name\":\"@s/a\",\"version\":\"1.0.0\",\"license\":\"MIT\",\"dependencies\":{\"b\":\"1\"}}",
		"app/node_modules/@s/a/test/package.json":                "{\"name\":\"not installed\",\"version\":\"1.0.0\"}",
		"app/node_modules/b/package.json":                        "{\"type\":\"module\"}",
		"usr/lib/python3/site-packages/Foo-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: Foo.Bar\nVersion: 1.0\nLicense-Expression: MIT\nRequires-Dist: baz (>=1)\nRequires-Dist: t; extra == 'test'\n\nName: no\n",
		"app/node_modules/b/yarn.lock":                           "c@1:\n  version \"1\"\n",
		"root/go/pkg/mod/x.y/z@v1.0.0/go.mod":                    "module x.y/z\nrequire a.b/c v1.0.0\n",
		"proc/x/go.mod":                                          "module m",
		"usr/bin/sh":                                             "\x7fELF, but no program",
	}), Options{RootFS: true})
	if err != nil {
		t.Fatal(err)
	}
	want := "app/node_modules/@s/a/package.json:- npm @s/a 1.0.0 > b (MIT)\nlib/apk/db/installed:1 Alpine:v3.20 libssl3 3.3.0-r2 from openssl 3.3.0-r2 > musl busybox (Apache-2.0)\n" +
		"lib/apk/db/installed:10 Alpine:v3.20 musl 1.2.5-r0 from musl 1.2.5-r0\nusr/lib/python3/site-packages/Foo-1.dist-info/METADATA:- PyPI foo-bar 1.0 > baz (MIT)\n"
	if d := cmp.Diff(want, lines(inv)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	checkProblems(t, nil, inv.Problems)
	if got, want := inv.Packages[1].PURL, "pkg:apk/alpine/libssl3@3.3.0-r2?arch=x86_64&distro=alpine-3.20.1&upstream=openssl"; got != want {
		t.Errorf("its package URL is %s, want %s", got, want)
	}
}

// large is a tree of lock files that name n parts each.
func large(n int) map[string]string {
	var npm, pnpm, cargo, gomod strings.Builder
	npm.WriteString("{\n \"lockfileVersion\": 3,\n \"packages\": {\n  \"\": {\"dependencies\": {\"p0\": \"1\"}}")
	pnpm.WriteString("lockfileVersion: '9.0'\n\npackages:\n\n")
	gomod.WriteString("module m\n\ngo 1.24\n\nrequire (\n")
	for i := range n {
		fmt.Fprintf(&npm, ",\n  \"node_modules/p%d\": {\n   \"version\": \"1.%d.0\",\n   \"resolved\": \"https://npm.example/p%d/-/p%d-1.0.0.tgz\",\n   \"integrity\": \"sha512-%064d\",\n   \"license\": \"MIT\",\n   \"dependencies\": {\"p%d\": \"^1.0.0\", \"p%d\": \"^1.0.0\"},\n   \"engines\": {\"node\": \">=18\"}\n  }", i, i, i, i, i, i+1, i+2)
		fmt.Fprintf(&pnpm, "  p%d@1.%d.0:\n    resolution: {integrity: sha512-%064d}\n    engines: {node: '>=18'}\n\n", i, i, i)
		fmt.Fprintf(&cargo, "[[package]]\nname = \"p%d\"\nversion = \"1.%d.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"%064d\"\ndependencies = [\n \"p%d\",\n]\n\n", i, i, i, i+1)
		fmt.Fprintf(&gomod, "\texample.com/p%d v1.%d.0\n", i, i)
	}
	npm.WriteString("\n }\n}\n")
	gomod.WriteString(")\n")
	return map[string]string{"npm/package-lock.json": npm.String(), "pnpm/pnpm-lock.yaml": pnpm.String(), "cargo/Cargo.lock": cargo.String(), "go/go.mod": gomod.String()}
}

func BenchmarkFind10000Dependencies(b *testing.B) {
	for name, text := range large(10_000) {
		files := tree(map[string]string{name: text})
		b.Run(name[strings.IndexByte(name, '/')+1:], func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				inv, err := Find(b.Context(), files, Options{})
				if err != nil || len(inv.Packages) != 10_000 || len(inv.Problems) != 0 {
					b.Fatalf("%d parts, %v, %v", len(inv.Packages), inv.Problems, err)
				}
			}
		})
	}
}
