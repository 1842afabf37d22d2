package inventory

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/scan/internal/purl"
	"github.com/wardhq/ward/internal/wardtest/need"
)

const (
	scalibrModule = "github.com/google/osv-scalibr@v0.5.3"
	scalibrSum    = "h1:LcXnN8MLhrQF9O4jrFP2mv3Ae1afO516t+3QdPpbhqM="
)

// fixtures is the folder of scalibr's extractors with their fixtures, of a version and checksum that are pinned here.
func fixtures(t *testing.T) string {
	t.Helper()
	download := exec.Command("go", "mod", "download", "-json", scalibrModule)
	download.Dir = t.TempDir() // outside of Ward's module, whose go.sum isn't to change
	out, err := download.Output()
	if err != nil {
		need.Missing(t, fmt.Sprintf("%s can't be had (%v)", scalibrModule, err))
	}
	var at struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &at); err != nil {
		t.Fatal(err)
	}
	if at.Sum != scalibrSum {
		t.Fatalf("%s has the checksum %s instead of %s", scalibrModule, at.Sum, scalibrSum)
	}
	return filepath.Join(at.Dir, "extractor", "filesystem")
}

// answers are what scalibr's extractors find in those fixtures (testdata/README.md): "name@version", or nil for an error.
func answers(t *testing.T) map[string][]string {
	t.Helper()
	f, err := os.Open("testdata/scalibr.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string][]string
	if err := json.NewDecoder(z).Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// placed is the name under which an extractor's fixtures are read here.
var placed = map[string]string{
	"language/golang/gomod": "go.mod", "language/javascript/packagelockjson": "package-lock.json", "language/javascript/yarnlock": "yarn.lock",
	"language/javascript/pnpmlock": "pnpm-lock.yaml", "language/javascript/bunlock": "bun.lock", "language/python/requirements": "requirements.txt",
	"language/python/poetrylock": "poetry.lock", "language/python/uvlock": "uv.lock", "language/python/pdmlock": "pdm.lock", "language/python/pipfilelock": "Pipfile.lock",
	"language/java/gradlelockfile": "gradle.lockfile", "language/java/pomxml": "pom.xml", "language/rust/cargolock": "Cargo.lock",
	"language/ruby/gemfilelock": "Gemfile.lock", "language/php/composerlock": "composer.lock", "language/dotnet/packageslockjson": "packages.lock.json",
	"language/dotnet/depsjson": "x.deps.json", "os/dpkg": "var/lib/dpkg/status", "os/apk": "lib/apk/db/installed",
}

// differs are the fixtures where the answers differ on purpose.
var differs = map[string]struct {
	why        string
	less, more []string
}{
	"language/javascript/packagelockjson/testdata/both/package-lock.json": {"npm-shrinkwrap.json, which goes first, isn't given here", nil, []string{"supports-color@5.5.0", "wrappy@1.0.2"}},
	"language/javascript/packagelockjson/testdata/files.v1.json":          {"file: is a folder of the project itself", []string{"other_package@"}, nil},
	"language/javascript/packagelockjson/testdata/files.v2.json":          {"a folder of the project itself", []string{"etag@1.8.0"}, nil},
	"language/javascript/packagelockjson/testdata/workspaces.v3.json": {
		"workspaces are the project itself", []string{"@my-monorepo/client@1.0.0", "@my-monorepo/excluded@1.0.0", "@my-monorepo/pkg-a@1.0.0"}, nil,
	},
	"language/javascript/packagelockjson/testdata/workspaces-object.v3.json": {"workspaces are the project itself", []string{"@my-monorepo/pkg-b@2.0.0"}, nil},
	"language/javascript/yarnlock/testdata/exclude-root.v2.lock":             {"workspaces are the project itself", []string{"@ws/ansi-regex@0.0.0-use.local"}, nil},
	"language/javascript/yarnlock/testdata/files.v1.lock":                    {"link: is a folder of the project itself", []string{"etag@1.8.0"}, nil},
	"language/dotnet/depsjson/testdata/valid":                                {"a project, not a package", []string{"TestLibrary@1.0.0"}, nil},
	"language/dotnet/depsjson/testdata/nopackagename":                        {"a project, not a package", []string{"TestLibrary@1.0.0"}, nil},
	"language/golang/gomod/testdata/replace-local.mod":                       {"a folder with its own go.mod", []string{"./fork/net@"}, nil},
	"language/ruby/gemfilelock/testdata/invalid.lock":                        {"taken without its version, and a problem", nil, []string{"invalid-name@"}},
	"language/python/pipfilelock/testdata/no-version.json":                   {"a part without a version is still a part", nil, []string{"itsdangerous@", "markupsafe@"}},
	"language/python/requirements/testdata/env_var.txt":                      {"a part without a version is still a part", nil, []string{"qwert@"}},
	"language/python/requirements/testdata/invalid.txt":                      {"a part without a version is still a part", nil, []string{"asdf@", "urllib3@"}},
	"language/python/requirements/testdata/example.txt": {
		"only == pins; the files that it includes aren't given here", []string{"keyring@4.1.1", "mopidy-dirble@1.1", "pandas@2.2.3"}, []string{"keyring@", "mopidy-dirble@", "urllib3@"},
	},
	"language/python/requirements/testdata/with_versions.txt": {
		"only == pins", []string{"combination-also-valid@3.5", "newspaper3k@0.2.2", "pkg@1.2.3"}, []string{"combination-also-valid@", "newspaper3k@", "pkg@"},
	},
	"language/python/requirements/testdata/per_req_options.txt": {
		"only == pins, and no version has a space in it",
		[]string{"foo14@1.0", "foo18-client@1.0", "foo7@1.0 unexpected_text_before_options_stays_around"},
		[]string{"foo10@", "foo14@", "foo15@", "foo18-client@", "foo7@"},
	},
	"language/java/archive/testdata/no_pom_properties.jar":          {"the group isn't guessed: a problem", []string{"unknown@unknown"}, []string{"no_pom_properties@"}},
	"language/java/archive/testdata/pom_missing_group_id.jar":       {"the group isn't guessed: a problem", []string{"unknown@unknown"}, []string{"pom_missing_group_id@"}},
	"language/java/archive/testdata/no_pom_properties-2.4.0.jar":    {"the group isn't guessed: a problem", []string{"no_pom_properties:no_pom_properties@2.4.0"}, []string{"no_pom_properties@2.4.0"}},
	"language/java/archive/testdata/pom_missing_group_id-2.4.0.jar": {"the group isn't guessed: a problem", []string{"pom_missing_group_id:pom_missing_group_id@2.4.0"}, []string{"pom_missing_group_id@2.4.0"}},
	"os/dpkg/testdata/dpkg/statusfield":                             {"its files are in place", nil, []string{"wantinstall_halfinstalled@1.0", "wantinstall_unpacked@1.0"}},
	"os/dpkg/testdata/opkg/statusfield":                             {"its files are in place", nil, []string{"wantinstall_unpacked@1.0"}},
	"language/java/pomxml/testdata/multi-version.xml":               {"both are asked for", nil, []string{"abc:example.com@1.1.1"}},
	"language/java/pomxml/testdata/interpolation.xml":               {"a range pins nothing", []string{"org.mine:ranged-package@9.4.35.v20201120"}, []string{"org.mine:ranged-package@"}},
	"language/java/pomxml/testdata/with-parent.xml":                 {"the parent isn't given here", []string{"org.dave:dave@4.0.0"}, nil},
}

func TestSamePartsAsScalibrInItsFixtures(t *testing.T) {
	root := fixtures(t)
	compared := 0
	all := answers(t)
	for name, want := range all {
		dir, base, _ := strings.Cut(name, "/testdata/")
		as := placed[dir]
		if as == "" {
			continue
		}
		compared++
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			files := fstest.MapFS{as: {Data: data}, "etc/os-release": {Data: []byte("ID=debian\nVERSION_ID=12\n")}}
			if strings.Contains(name, "/status.d/") {
				files["var/lib/dpkg/status.d/"+filepath.Base(name)] = files[as]
				delete(files, as)
			}
			if sum, err := os.ReadFile(strings.TrimSuffix(filepath.Join(root, name), ".mod") + ".sum"); err == nil {
				files["go.sum"] = &fstest.MapFile{Data: sum}
			}
			inv, err := Find(t.Context(), files, Options{RootFS: strings.HasPrefix(dir, "os/")})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range inv.Packages {
				version := p.Version
				if p.Ecosystem == "Go" {
					version = strings.TrimPrefix(version, "v")
				}
				got = append(got, p.Name+"@"+version)
			}
			slices.Sort(got)
			got = slices.Compact(got)
			want := slices.Clone(want)
			for i, n := range want {
				if strings.HasPrefix(dir, "language/python/") {
					name, version, _ := strings.Cut(n, "@")
					want[i] = purl.PythonName(name) + "@" + version
				}
			}
			want = slices.DeleteFunc(want, func(n string) bool {
				return strings.HasPrefix(n, "stdlib@") && !slices.Contains(got, n) || slices.Contains(differs[name].less, n)
			})
			if more := differs[name].more; len(more) > 0 {
				want = append(want, more...)
			}
			slices.Sort(want)
			if all[name] == nil && len(inv.Problems) == 0 && !strings.HasSuffix(name, "depsjson/testdata/empty") { // a valid file that names none
				t.Errorf("scalibr fails here, and no problem was reported; found %v", got)
			}
			if d := cmp.Diff(want, got, cmp.Transformer("empty", func(s []string) []string { return append([]string{}, s...) })); d != "" && all[name] != nil {
				t.Errorf("%s (-scalibr +Ward):\n%s%v", base, d, inv.Problems)
			}
		})
	}
	if compared < 200 {
		t.Errorf("only %d fixtures were compared", compared)
	}
}

// Binary forms go through the file system as it is, for they are large.
func TestSamePartsAsScalibrInItsArchivesAndDatabases(t *testing.T) {
	root := fixtures(t)
	all := answers(t)
	for dir, as := range map[string]string{
		"os/rpm/testdata/rpmdb.sqlite": "var/lib/rpm/rpmdb.sqlite", "os/rpm/testdata/Packages": "var/lib/rpm/Packages", "os/rpm/testdata/Packages.db": "usr/lib/sysimage/rpm/Packages.db",
		"os/rpm/testdata/Packages_epoch": "var/lib/rpm/Packages", "os/rpm/testdata/invalid": "var/lib/rpm/Packages", "os/rpm/testdata/empty.sqlite": "var/lib/rpm/rpmdb.sqlite",
		"language/java/archive/testdata/": "*.jar", "language/golang/gobinary/testdata/": "*", "language/python/wheelegg/testdata/": "x.dist-info/METADATA",
	} {
		for name, want := range all {
			if !strings.HasPrefix(name, dir) || strings.HasSuffix(dir, "/") == (name == dir) || strings.HasSuffix(name, ".MF") || strings.HasSuffix(name, ".whl") || strings.HasSuffix(name, ".egg") {
				continue
			}
			t.Run(name, func(t *testing.T) {
				data, err := os.ReadFile(filepath.Join(root, name))
				if err != nil {
					t.Fatal(err)
				}
				at := strings.Replace(as, "*", strings.TrimSuffix(filepath.Base(name), ".jar"), 1)
				files := fstest.MapFS{at: {Data: data, Mode: 0o755}, "etc/os-release": {Data: []byte("ID=rhel\nVERSION_ID=9\n")}}
				inv, err := Find(t.Context(), files, Options{RootFS: true})
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, p := range inv.Packages {
					version := p.Version
					if p.Ecosystem == "Go" {
						version = strings.TrimPrefix(version, "v")
					} else if _, plain, ok := strings.Cut(version, ":"); ok {
						version = plain // scalibr keeps the epoch apart
					}
					got = append(got, p.Name+"@"+version)
				}
				slices.Sort(got)
				got = slices.Compact(got)
				if want == nil {
					if len(inv.Problems) == 0 {
						t.Errorf("scalibr fails here, and no problem was reported; found %v", got)
					}
					return
				}
				want := slices.DeleteFunc(slices.Clone(want), func(n string) bool {
					return strings.HasPrefix(n, "gpg-pubkey@") || slices.Contains(differs[name].less, n)
				})
				for i, n := range want {
					n = strings.TrimSuffix(n, "(devel)") // a folder has no version
					if version, ok := strings.CutPrefix(n, "go@"); ok {
						n = "stdlib@" + version // as Go's advisories call it
					}
					if at, version, _ := strings.Cut(n, "@"); strings.HasPrefix(as, "x.dist") {
						n = purl.PythonName(at) + "@" + version
					}
					want[i] = n
				}
				want = append(want, differs[name].more...)
				slices.Sort(want)
				if d := cmp.Diff(want, got, cmp.Transformer("empty", func(s []string) []string { return append([]string{}, s...) })); d != "" {
					t.Errorf("(-scalibr +Ward):\n%s%v", d, inv.Problems)
				}
			})
		}
	}
}
