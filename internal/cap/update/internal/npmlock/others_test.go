package npmlock

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const yarn = `# yarn lockfile v1


"@s/x@^1.0.0":
  version "1.2.0"
  resolved "https://registry.yarnpkg.com/@s/x/-/x-1.2.0.tgz#00"

a@^1.0.0, a@^1.1.0:
  version "1.1.0"
  resolved "https://r.example/a-1.1.0.tgz#00"
  dependencies:
    "@s/x" "^1.0.0"
    b "~2.0.0"

b@~2.0.0:
  version "2.0.0"

"ward-0@npm:b@2.0.1":
  version "2.0.1"
  integrity sha512-AA==
  dependencies:
    a "^1.1.0"

"z@npm:b@2.0.0":
  version "2.0.0"
`

func TestYarnSaysWhoAsks(t *testing.T) {
	l, err := ParseYarn([]byte(yarn), []byte(`{"dependencies":{"a":"^1.0.0"},"Dependencies":{"b":"~2.0.0"},"devDependencies":{"z":"npm:b@2.0.0"}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, version string
		want          []Ask
	}{
		{"a", "1.1.0", []Ask{{Range: "^1.0.0"}, {"b", "2.0.1", "^1.1.0"}}},
		{"@s/x", "1.2.0", []Ask{{"a", "1.1.0", "^1.0.0"}}},
		{"b", "2.0.0", []Ask{{Range: "npm:b@2.0.0"}, {"a", "1.1.0", "~2.0.0"}}},
	} {
		if d := cmp.Diff(c.want, l.Of(c.name, c.version)); d != "" {
			t.Errorf("%s %s: %s", c.name, c.version, d)
		}
	}
	if d := cmp.Diff([]string{"https://r.example/a-1.1.0.tgz#00"}, l.From("a", "1.1.0")); d != "" {
		t.Error(d)
	}
	if _, err := ParseYarn([]byte("__metadata:\n  version: 8\n"), []byte("{}")); err == nil {
		t.Error("one of yarn 2 is taken")
	}
}

func TestASwapIsOfTheRequestsAlone(t *testing.T) {
	got, err := SwapYarn([]byte(yarn), []Swap{{Name: "b", From: "2.0.0", To: "2.0.1", Alias: "ward-0"}}, func(rng, _ string) bool { return rng != "2.0.0" })
	if err != nil {
		t.Fatal(err)
	}
	l, err := ParseYarn(got, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Ask{{"a", "1.1.0", "~2.0.0"}}, l.Of("b", "2.0.1")); d != "" || strings.Contains(string(got), "ward-0") || !strings.Contains(string(got), "\"z@npm:b@2.0.0\":\n  version \"2.0.0\"") {
		t.Errorf("%s\n%s", d, got)
	}
	if d := cmp.Diff([]Ask{{"b", "2.0.1", "^1.1.0"}}, l.Of("a", "1.1.0")); d != "" {
		t.Error(d)
	}
	if _, err := SwapYarn([]byte(yarn), []Swap{{Name: "b", From: "2.0.0", To: "2.0.2", Alias: "ward-0"}}, func(string, string) bool { return true }); err == nil {
		t.Error("a version that yarn didn't find is taken")
	}
}

const pnpm = `lockfileVersion: '9.0'
importers:
  .:
    dependencies:
      a: {specifier: ^1.0.0, version: 1.1.0(b@2.0.0)}
    devDependencies:
      z: {specifier: 'npm:b@^2.0.0', version: b@2.0.0}
packages:
  a@1.1.0: {resolution: {integrity: sha512-AA==}}
  '@s/x@1.0.0': {resolution: {tarball: 'https://r.example/x.tgz'}}
snapshots:
  a@1.1.0(b@2.0.0):
    dependencies: {'@s/x': 1.0.0, b: 2.0.0}
`

func TestPNPMSaysWhoAsks(t *testing.T) {
	l, err := ParsePNPM([]byte(pnpm))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, version string
		want          []Ask
	}{
		{"a", "1.1.0", []Ask{{Range: "^1.0.0"}}},
		{"b", "2.0.0", []Ask{{Range: "npm:b@^2.0.0"}, {Name: "a", Version: "1.1.0"}}},
		{"@s/x", "1.0.0", []Ask{{Name: "a", Version: "1.1.0"}}},
	} {
		if d := cmp.Diff(c.want, l.Of(c.name, c.version)); d != "" {
			t.Errorf("%s %s: %s", c.name, c.version, d)
		}
	}
	if d := cmp.Diff([]string{"https://r.example/x.tgz"}, l.From("@s/x", "1.0.0")); d != "" {
		t.Error(d)
	}
	if _, err := ParsePNPM([]byte("lockfileVersion: 5.4\n")); err == nil {
		t.Error("an old one is taken")
	}
}

func FuzzParseYarn(f *testing.F) {
	f.Add([]byte(yarn), []byte(`{"dependencies":{"a":"^1.0.0"}}`))
	f.Add([]byte("@:\n  dependencies:\n    \n"), []byte(`{}`))
	f.Fuzz(func(t *testing.T, b, manifest []byte) {
		l, err := ParseYarn(b, manifest)
		if err != nil {
			return
		}
		for k, all := range l.asks {
			if len(all) == 0 {
				t.Errorf("%v is asked for by nobody", k)
			}
		}
	})
}

func FuzzParsePNPM(f *testing.F) {
	f.Add([]byte(pnpm))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParsePNPM(b)
		if err != nil {
			return
		}
		for k, all := range l.asks {
			if len(all) == 0 {
				t.Errorf("%v is asked for by nobody", k)
			}
		}
	})
}
