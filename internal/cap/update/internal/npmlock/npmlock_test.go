package npmlock

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const lock = `{"lockfileVersion":3,"packages":{
"":{"name":"app","dependencies":{"a":"^1.0.0","@s/x":"1"},"devDependencies":{"b":"~2.0.0"}},
"node_modules/a":{"version":"1.2.0","dependencies":{"b":"^1.0.0","@s/x":"^1.0.0"}},
"node_modules/a/node_modules/b":{"version":"1.9.0","dependencies":{"c":"*"}},
"node_modules/b":{"version":"2.0.5","dependencies":{"c":"^3.0.0"}},
"node_modules/c":{"version":"3.1.0"},
"node_modules/@s/x":{"version":"1.0.0","dependencies":{"gone":"1"}},
"node_modules/alias":{"name":"real","version":"5.0.0"},
"node_modules/w":{"resolved":"packages/w","link":true},
"packages/w":{"version":"0.0.0","dependencies":{"c":"3.x","alias":"npm:real@5"}}}}`

func TestEachRequestIsOfTheCopyThatNodeLoads(t *testing.T) {
	asks, err := Parse([]byte(lock))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, version string
		want          []Ask
	}{
		{"a", "1.2.0", []Ask{{Range: "^1.0.0"}}},
		{"b", "1.9.0", []Ask{{"a", "1.2.0", "^1.0.0"}}},
		{"b", "2.0.5", []Ask{{Range: "~2.0.0"}}},
		{"c", "3.1.0", []Ask{{Range: "3.x"}, {"b", "1.9.0", "*"}, {"b", "2.0.5", "^3.0.0"}}},
		{"@s/x", "1.0.0", []Ask{{Range: "1"}, {"a", "1.2.0", "^1.0.0"}}},
		{"real", "5.0.0", []Ask{{Range: "npm:real@5"}}},
		{"gone", "1.0.0", nil},
	} {
		if d := cmp.Diff(c.want, asks.Of(c.name, c.version)); d != "" {
			t.Errorf("%s %s: %s", c.name, c.version, d)
		}
	}
}

func TestNamesGoByTheirCapitals(t *testing.T) {
	l, err := Parse([]byte(`{"packages":{"":{"dependencies":{"a":"^1.0.0"}},"node_modules/a":{"version":"1.0.0","Version":"2.0.0","resolved":"https://r.example/a","Resolved":"https://evil.example/a"}},
"Packages":{"":{"dependencies":{"a":"^9.0.0"}},"node_modules/a":{"version":"9.0.0"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Ask{{Range: "^1.0.0"}}, l.Of("a", "1.0.0")); d != "" || len(l.Of("a", "9.0.0"))+len(l.Of("a", "2.0.0")) > 0 {
		t.Error(d, l)
	}
	if d := cmp.Diff([]string{"https://r.example/a"}, l.From("a", "1.0.0")); d != "" {
		t.Error(d)
	}
}

func TestInstallScriptsAreNamed(t *testing.T) {
	got, err := InstallScripts([]byte(`{"packages":{"":{"hasInstallScript":true},"node_modules/b":{"version":"2","hasInstallScript":true},"node_modules/a/node_modules/b":{"version":"2","hasInstallScript":true},"node_modules/@s/a":{"version":"1","hasInstallScript":true},"node_modules/c":{"version":"1"}}}`))
	if d := cmp.Diff([]string{"@s/a 1", "b 2"}, got); d != "" || err != nil {
		t.Error(d, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(lock))
	f.Add([]byte(`{"packages":{"node_modules":{"dependencies":{"":"1"}},"/":{"dependencies":{"a":"1"}},"a/node_modules/b/c":{"dependencies":{"x":"1"}}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		asks, err := Parse(b)
		if err != nil {
			return
		}
		for k, all := range asks.asks {
			if len(all) == 0 {
				t.Errorf("%v is asked for by nobody", k)
			}
		}
	})
}

func FuzzEntry(f *testing.F) {
	f.Add([]byte(`{"name":"a","version":"1","Version":"2","dependencies":{"b":"^1"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e entry
		if e.UnmarshalJSON(b) != nil && len(e.Dependencies) > len(b) {
			t.Error("more parts than bytes")
		}
	})
}
