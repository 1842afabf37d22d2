package inventory

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func asked(m Manifest) string {
	var out []string
	for _, p := range m.Packages {
		s := strings.TrimSpace(fmt.Sprintf("%s %s %s", p.Ecosystem, p.Name, p.Version))
		if p.Dev {
			s += " dev"
		}
		out = append(out, s)
	}
	return strings.Join(out, "\n")
}

func TestAManifestNamesWhatItAsksFor(t *testing.T) {
	for name, c := range map[string]struct {
		text, want string
		elsewhere  int
	}{
		"package.json": {
			`{"name":"x","dependencies":{"a":"1.2.3","b":"^1.2.3","c":"=2.0.0-rc.1","d":"npm:@s/other@3.0.0","e":"file:../e","f":"github:x/f","g":"workspace:*","h":"latest","i":"1.2","j":"1.0.0 || 2.0.0"},"devDependencies":{"k":"v4.0.0"}}`,
			"npm a 1.2.3\nnpm b\nnpm c 2.0.0-rc.1\nnpm @s/other 3.0.0\nnpm h\nnpm i\nnpm j\nnpm k 4.0.0 dev", 1,
		},
		"composer.json": {`{"require":{"php":">=8","ext-json":"*","a/b":"1.2.3","c/d":"^2"},"require-dev":{"e/f":"1.0.*"}}`, "Packagist a/b 1.2.3\nPackagist c/d\nPackagist e/f dev", 0},
		"Cargo.toml": {
			"[package]\nname = \"x\"\n[dependencies]\na = \"1.2.3\"\nb = \"=1.2.3\"\nc = { version = \"=2.0.0\", package = \"other\" }\nd = { path = \"d\" }\ne = { git = \"https://x\" }\nf.workspace = true\ng.version = \"=3.0.0\"\n" +
				"[dependencies.h]\nversion = \"=4.0.0\"\n[target.'cfg(unix)'.dependencies]\ni = \"1\"\n[dev-dependencies]\nj = \"=5.0.0\"\n[features]\nk = []\n",
			"crates.io a\ncrates.io b 1.2.3\ncrates.io other 2.0.0\ncrates.io f\ncrates.io g 3.0.0\ncrates.io h 4.0.0\ncrates.io i\ncrates.io j 5.0.0 dev", 1,
		},
		"pyproject.toml": {
			"[project]\nname = \"x\"\ndependencies = [\"A_b==1.0\", \"c[extra]>=2; python_version<'4'\", \"d @ https://x\"]\n[project.optional-dependencies]\nz = [\"e==3\"]\n[dependency-groups]\ndev = [\"f==4\"]\n" +
				"[tool.poetry.dependencies]\npython = \"^3\"\ng = \"1.2.3\"\nh = \"^1\"\ni = {version = \"2.0.0\"}\nj = {git = \"x\"}\nk = {path = \"k\"}\n[tool.poetry.group.dev.dependencies]\nl = \"==3.0\"\n",
			"PyPI a-b 1.0\nPyPI c\nPyPI e 3\nPyPI f 4 dev\nPyPI g 1.2.3\nPyPI h\nPyPI i 2.0.0\nPyPI l 3.0 dev", 2,
		},
		"Pipfile": {"[packages]\na = \"==1.0\"\nb = \"*\"\n[dev-packages]\nc = {version = \"==2\"}\n", "PyPI a 1.0\nPyPI b\nPyPI c 2 dev", 0},
	} {
		got, err := ReadManifest("dir/"+name, []byte(c.text))
		if diff := cmp.Diff(c.want, asked(got)); err != nil || diff != "" || got.Elsewhere != c.elsewhere {
			t.Errorf("%s: %v, %d elsewhere, %s", name, err, got.Elsewhere, diff)
		}
		if len(got.Packages) > 0 && (got.Packages[0].PURL == "" || got.Packages[0].Location.Path != "dir/"+name || got.Packages[0].Location.Line == 0 || !got.Packages[0].Direct) {
			t.Errorf("%+v", got.Packages[0])
		}
		if _, err := ReadManifest(name, []byte(c.text)[:len(c.text)-3]); err == nil && strings.HasSuffix(name, ".json") {
			t.Errorf("%s: half of it was taken for whole", name)
		}
	}
	if _, err := ReadManifest("build.gradle", nil); !errors.Is(err, ErrNoManifest) {
		t.Error(err)
	}
	if _, err := ReadManifest("package.json", []byte(`{"dependencies":{`+strings.Repeat(`"a":"1.0.0",`, maxAsked+1)+`"b":"1.0.0"}}`)); err == nil {
		t.Error("there is no limit")
	}
}

// TestTablesWithinOthersAreRead: TOML has three ways to say the same.
func TestTablesWithinOthersAreRead(t *testing.T) {
	for _, c := range [][3]string{
		{"Cargo.toml", "dependencies.a = '=1.0.0'\n[package]\nname='x'\n", "crates.io a 1.0.0"},
		{"Cargo.toml", "dev-dependencies = { a = '=1.0.0', b = {version = '=2.0.0'} }\n", "crates.io a 1.0.0 dev\ncrates.io b 2.0.0 dev"},
		{"Cargo.toml", "[target]\n'cfg(unix)'.dependencies.a.version = '=1.0.0'\n", "crates.io a 1.0.0"},
		{"Cargo.toml", "[workspace]\ndependencies = {a = '=1.0.0'}\n", "crates.io a 1.0.0"},
		{"pyproject.toml", "project.dependencies = ['a==1.0']\nproject.optional-dependencies.x = ['b==2']\n", "PyPI b 2\nPyPI a 1.0"},
		{"pyproject.toml", "project = {name='x', dependencies = [\"\\u0061==1.0\"]}\ndependency-groups = {g = ['b==2']}\n", "PyPI b 2 dev\nPyPI a 1.0"},
		{"pyproject.toml", "[tool.poetry]\ndependencies.a = '1.0.0'\ngroup = {g = {dependencies = {b = '2.0.0'}}}\n", "PyPI a 1.0.0\nPyPI b 2.0.0 dev"},
		{"pyproject.toml", "[tool.poetry.dependencies.a]\nversion = '1.0.0'\n[tool.poetry.group.g.dependencies]\nb.version = '2.0.0'\n", "PyPI a 1.0.0\nPyPI b 2.0.0 dev"},
		{"Pipfile", "packages = {a = '==1.0.0'}\n[packages.b]\nversion = '==2'\n", "PyPI a 1.0.0\nPyPI b 2"},
	} {
		m, err := ReadManifest(c[0], []byte(c[1]))
		if diff := cmp.Diff(c[2], asked(m)); err != nil || diff != "" {
			t.Errorf("%s: %v %s", c[1], err, diff)
		}
	}
	dots := strings.Repeat("a.", maxManifestTest/2)
	for _, text := range []string{dots + "a = 1\n", "[" + dots + "a]\n", "[" + dots[:maxManifestTest/2] + "a]\n" + strings.Repeat("a.b = {}\n", 1000)} {
		if _, err := ReadManifest("Cargo.toml", []byte(text)); err == nil || !strings.Contains(err.Error(), "longer than") {
			t.Errorf("%.100v", err)
		}
	}
}

// maxManifestTest is as large as manifests may be.
const maxManifestTest = 1 << 20

// TestManyMistakesAreOneError: to join them all takes time that grows with their square, and nobody reads them.
func TestManyMistakesAreOneError(t *testing.T) {
	for name, text := range map[string]string{
		"pyproject.toml": "[project]\ndependencies=[" + strings.Repeat(`"",`, 1000) + "]\n",
		"Pipfile":        strings.Repeat("[packages]\n\"\" = '*'\n", 1000),
		"Cargo.toml":     strings.Repeat("[dependencies]\n\"\" = '1'\n", 1000),
	} {
		if _, err := ReadManifest(name, []byte(text)); err == nil || len(err.Error()) > 200 {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}

func FuzzReadManifest(f *testing.F) {
	for i, text := range []string{`{"dependencies":{"a":"npm:@b/c@1.0.0"}}`, "[dependencies.a]\nversion='=1'\n", "[project]\ndependencies=['a==1']\n", "[packages]\na='*'\n", `{"require":{"a/b":"1.0.0"}}`} {
		f.Add(i, []byte(text))
	}
	names := []string{"package.json", "Cargo.toml", "pyproject.toml", "Pipfile", "composer.json"}
	f.Fuzz(func(t *testing.T, which int, data []byte) {
		m, _ := ReadManifest(names[((which%len(names))+len(names))%len(names)], data)
		for _, p := range m.Packages {
			if p.Name == "" {
				t.Error("a part without a name")
			}
		}
	})
}
