package inventory

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wardhq/ward/internal/finding"
)

// tree is a file system of text files.
func tree(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return m
}

// lines writes parts short, one a line: "path:line ecosystem name version flags > requires".
func lines(inv Inventory) string {
	var b strings.Builder
	for _, p := range inv.Packages {
		b.WriteString(short(p) + "\n")
	}
	return b.String()
}

func short(p finding.Package) string {
	s := p.Location.Path + ":" + itoa(p.Location.Line) + " " + p.Ecosystem + " " + p.Name + " " + p.Version
	if p.Source != "" {
		s += " from " + p.Source + " " + p.SourceVersion
	}
	if p.Direct {
		s += " direct"
	}
	if p.Dev {
		s += " dev"
	}
	if len(p.Requires) > 0 {
		s += " > " + strings.Join(p.Requires, " ")
	}
	if len(p.Licenses) > 0 {
		s += " (" + strings.Join(p.Licenses, ", ") + ")"
	}
	return s
}

func itoa(n int) string {
	if n == 0 {
		return "-"
	}
	return strings.TrimLeft(string([]byte{byte('0' + n/1000%10), byte('0' + n/100%10), byte('0' + n/10%10), byte('0' + n%10)}), "0")
}

func TestFilesOfSourceTrees(t *testing.T) {
	for name, c := range map[string]struct {
		files    map[string]string
		want     string
		problems []string // path and a part of why
	}{
		"go.mod: requirements, replacements, the toolchain's standard library": {
			files: map[string]string{"a/go.mod": "module m\ngo 1.24\ntoolchain go1.24.3\nrequire (\n\texample.com/a v1.2.3\n\texample.com/b v0.1.0 // indirect\n\texample.com/l v1.0.0\n)\nreplace example.com/b => example.com/c v0.2.0\nreplace example.com/l => ./local\n"},
			want:  "a/go.mod:3 Go stdlib 1.24.3 direct\na/go.mod:5 Go example.com/a v1.2.3 direct\na/go.mod:9 Go example.com/c v0.2.0\n",
		},
		"go.mod: the go directive isn't the version of the standard library": {
			files: map[string]string{"go.mod": "module m\ngo 1.21.0\n"},
		},
		"go.mod before 1.17: go.sum says the rest": {
			files: map[string]string{
				"go.mod": "module m\ngo 1.16\nrequire example.com/a v1.2.3\n",
				"go.sum": "example.com/a v1.2.3 h1:x=\nexample.com/a v1.2.3/go.mod h1:x=\nexample.com/d v1.0.0 h1:x=\nexample.com/e v1.0.0/go.mod h1:x=\n",
			},
			want: "go.mod:3 Go example.com/a v1.2.3 direct\ngo.sum:3 Go example.com/d v1.0.0\n",
		},
		"go.mod before 1.17 without go.sum is a problem": {
			files:    map[string]string{"go.mod": "module m\ngo 1.16\nrequire example.com/a v1.2.3\n"},
			want:     "go.mod:3 Go example.com/a v1.2.3 direct\n",
			problems: []string{"go.mod: before Go 1.17"},
		},
		"package-lock v3: aliases, links, workspaces, edges, licences, nesting": {
			files: map[string]string{"package-lock.json": `{
 "lockfileVersion": 3,
 "packages": {
  "": {"dependencies": {"a": "^1", "ws": "*", "al": "npm:real@1"}, "devDependencies": {"d": "1"}},
  "ws": {"name": "@x/ws", "version": "1.0.0", "dependencies": {"w": "1"}},
  "node_modules/ws": {"resolved": "ws", "link": true},
  "node_modules/a": {"version": "1.0.1", "license": "MIT", "dependencies": {"@s/b": "1"}, "optionalDependencies": {"o": "1"}},
  "node_modules/@s/b": {"version": "2.0.0", "license": {"type": "ISC"}},
  "node_modules/a/node_modules/@s/b": {"version": "1.0.0"},
  "node_modules/d": {"version": "1.0.0", "dev": true},
  "node_modules/x/node_modules/d": {"version": "1.0.0"},
  "node_modules/al": {"name": "real", "version": "1.0.0"},
  "node_modules/w": {"version": "1.0.0"}
 }
}`},
			want: "package-lock.json:7 npm a 1.0.1 direct > @s/b o (MIT)\npackage-lock.json:8 npm @s/b 2.0.0 (ISC)\npackage-lock.json:9 npm @s/b 1.0.0\n" +
				"package-lock.json:10 npm d 1.0.0 direct\npackage-lock.json:12 npm real 1.0.0 direct\npackage-lock.json:13 npm w 1.0.0 direct\n",
		},
		"package-lock v1: nested, aliases, git": {
			files: map[string]string{"package-lock.json": `{"lockfileVersion": 1, "dependencies": {
  "a": {"version": "1.0.0", "requires": {"b": "^1"}, "dependencies": {
    "b": {"version": "1.5.0", "dev": true}}},
  "c": {"version": "npm:real@2.0.0"},
  "g": {"version": "git+ssh://git@github.com/x/y.git#0123456789012345678901234567890123456789"},
  "l": {"version": "file:../l"}
}}`},
			want: "package-lock.json:2 npm a 1.0.0 > b\npackage-lock.json:3 npm b 1.5.0 dev\npackage-lock.json:4 npm real 2.0.0\npackage-lock.json:5 npm g \n",
		},
		"package-lock cut off: what stood before still counts": {
			files:    map[string]string{"package-lock.json": `{"packages": {"node_modules/a": {"version": "1.0.0"}, "node_modules/b": {"ver`},
			want:     "package-lock.json:1 npm a 1.0.0\n",
			problems: []string{"package-lock.json: read npm's lock file: unexpected EOF"},
		},
		"requirements: only == pins, includes once, extras, markers, hashes": {
			files: map[string]string{
				"requirements.txt": "# c\nFoo.Bar_baz==1.0 --hash=sha256:aa \\\n  --hash=sha256:bb\nlow>=1.2\nboth>=1,<2\nstar==1.*\nex[a,b] == 2.0 ; python_version < '3'\n-r more/base.in\n-r more/base.in\n-c requirements.txt\n--index-url https://x\ngit+https://github.com/x/y.git@v1#egg=eggy&subdirectory=z\nat @ https://x/y.whl\n-e ./local\nlast===3.0",
				"more/base.in":     "-r ../requirements.txt\ninner==1\n",
			},
			want: "more/base.in:2 PyPI inner 1 direct\nrequirements.txt:2 PyPI foo-bar-baz 1.0 direct\nrequirements.txt:4 PyPI low  direct\nrequirements.txt:5 PyPI both  direct\nrequirements.txt:6 PyPI star  direct\n" +
				"requirements.txt:7 PyPI ex 2.0 direct\nrequirements.txt:12 PyPI eggy  direct\nrequirements.txt:13 PyPI at  direct\nrequirements.txt:15 PyPI last 3.0 direct\n",
		},
		"requirements: one that others include is read once": {
			files: map[string]string{"a/requirements.txt": "-r ../b/requirements.txt\n", "b/requirements.txt": "x==1\n"},
			want:  "b/requirements.txt:1 PyPI x 1 direct\n",
		},
		"requirements: an include that leads out, or isn't there, is a problem": {
			files:    map[string]string{"requirements.txt": "-r ../../etc/passwd\n-rgone.txt\n???\n"},
			problems: []string{"gone.txt: can't be read: file does not exist", "requirements.txt:1: names a requirements file outside", "requirements.txt:3: a requirement that names no package"},
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

func checkProblems(t *testing.T, want []string, got []finding.Problem) {
	t.Helper()
	var texts []string
	for _, p := range got {
		texts = append(texts, p.Path+": "+p.Reason)
	}
	same := cmpopts.SortSlices(func(a, b string) bool { return a < b })
	begins := cmp.Comparer(func(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) })
	if d := cmp.Diff(want, texts, same, cmpopts.EquateEmpty(), begins); d != "" {
		t.Errorf("problems (-want +got):\n%s", d)
	}
}

func TestPackagesOfDebian(t *testing.T) {
	status := "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl (3.0.11-1)\nVersion: 3.0.11-1~deb12u2\nDepends: libc6 (>= 2.34),\n debconf (>= 0.5) | debconf-2.0\nDescription: x\n y\n\n" +
		"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: half\nStatus: install ok half-configured\nVersion: 2\n\nPackage: odd\nVersion: 3\n"
	for name, c := range map[string]struct {
		files    map[string]string
		want     string
		problems []string
	}{
		"dpkg status, with sources": {
			files:    map[string]string{"etc/os-release": "ID=debian\nVERSION_ID=\"12\"\n", "var/lib/dpkg/status": status},
			want:     "var/lib/dpkg/status:1 Debian:12 libssl3 3.0.11-1~deb12u2 from openssl 3.0.11-1 > libc6 debconf debconf-2.0\nvar/lib/dpkg/status:15 Debian:12 half 2 from half 2\n",
			problems: []string{`var/lib/dpkg/status:19: package "odd" has the status ""`},
		},
		"Ubuntu with long-term support, os-release in usr/lib, distroless": {
			files: map[string]string{
				"usr/lib/os-release": "ID=ubuntu\nVERSION_ID='22.04'\n", "var/lib/dpkg/status.d/base": "Package: base\nVersion: 1\n",
				"var/lib/dpkg/status.d/base.md5sums": "no stanza",
			},
			want: "var/lib/dpkg/status.d/base:1 Ubuntu:22.04:LTS base 1 from base 1\n",
		},
		"without os-release it is said": {
			files:    map[string]string{"var/lib/dpkg/status.d/base": "Package: base\nVersion: 1\n"},
			want:     "var/lib/dpkg/status.d/base:1  base 1 from base 1\n",
			problems: []string{"var/lib/dpkg/status.d/base: there is no os-release"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inv, err := Find(t.Context(), tree(c.files), Options{RootFS: true})
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
