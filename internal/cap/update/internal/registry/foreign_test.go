package registry

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestARepositoryDoesntDecideWhomWardAsks(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		want       map[string]string
	}{
		"none":                 {".npmrc", "save-exact=true\n", map[string]string{}},
		"all":                  {".npmrc", "registry=https://evil.example/", map[string]string{"": "https://evil.example/"}},
		"one scope":            {".npmrc", "; x\n  @corp:registry = \"https://corp.example/npm\"\n", map[string]string{"@corp": "https://corp.example/npm"}},
		"the user's own":       {".npmrc", "registry=https://own.example\n@own:registry=https://mine.example/\n", map[string]string{}},
		"another for the same": {".npmrc", "@own:registry=https://evil.example/\n", map[string]string{"@own": "https://evil.example/"}},
		"the public one":       {".npmrc", "registry=https://registry.npmjs.org/\n", map[string]string{}},
		"credentials":          {".npmrc", "//own.example/registry/:_authToken=x\n", map[string]string{}},
		"yarn":                 {".yarnrc", "registry \"https://evil.example\"\n\"@c:registry\" https://c.example\n", map[string]string{"": "https://evil.example", "@c": "https://c.example"}},
		"pnpm":                 {"pnpm-workspace.yaml", "registries:\n  default: https://evil.example\n", map[string]string{"": ""}},
		"an odd end of a line": {".npmrc", "x=1\r@c:registry=https://c.example\n", map[string]string{"@c": "https://c.example"}},
		"an odd word":          {".npmrc", "registry[]=https://evil.example\n", map[string]string{"": "https://evil.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
				t.Fatal(err)
			}
			for _, project := range []string{".", "a/b"} {
				e := NPMEnv{Registry: "https://own.example/", Scopes: map[string]string{"@own": "https://mine.example"}}
				if err := e.look(dir, project); err != nil {
					t.Fatal(err)
				}
				for k, v := range e.Foreign {
					e.Foreign[k] = strings.TrimPrefix(v, "default: ")
				}
				if d := cmp.Diff(c.want, e.Foreign); d != "" {
					t.Error(project, d)
				}
			}
		})
	}
}

// TestNoPrivateNameGoesToThePublicRegistry: whoever registers it there would be taken for the company.
func TestNoPrivateNameGoesToThePublicRegistry(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.NotFound(w, r)
	}))
	defer s.Close()
	n := NewNPM(NPMEnv{Registry: s.URL, Foreign: map[string]string{"@corp": "https://user:word@corp.example/npm"}}, nil)
	_, err := n.Releases(t.Context(), "@corp/secret", "")
	if err == nil || asked.Load() != 0 || !strings.Contains(err.Error(), "https://corp.example,") || strings.Contains(err.Error(), "word") {
		t.Error(asked.Load(), err)
	}
	if _, err := n.Archive(t.Context(), "@corp/secret", "1.0.0"); err == nil || asked.Load() != 0 {
		t.Error(asked.Load(), err)
	}
	if _, err := n.Releases(t.Context(), "@other/x", ""); err == nil || asked.Load() != 1 {
		t.Error(asked.Load(), err)
	}
}

func TestWhatComesFromElsewhereIsntAskedFor(t *testing.T) {
	e := NPMEnv{Registry: "https://own.example/npm/", Scopes: map[string]string{"@s": "https://s.example"}}
	for from, want := range map[string]bool{
		"https://own.example/npm/a/-/a-1.tgz": false, "https://registry.npmjs.org/a/-/a-1.tgz": false, "https://registry.yarnpkg.com/a/-/a-1.tgz#0": false,
		"https://corp.example/a.tgz": true, "git+ssh://git@corp.example/a.git#0": true, "file:../a": true, "https://own.example.evil.example/a": true, "%": true,
	} {
		if got := e.Elsewhere("a", []string{from}); (got != "") != want {
			t.Errorf("%s: %q", from, got)
		}
	}
	if why := e.Elsewhere("@s/a", []string{"https://s.example/a.tgz"}); why != "" {
		t.Error(why)
	}
}

func TestAPublishersCapitalsHideNothing(t *testing.T) {
	s := serve(t, map[string]string{"/a": `{"name":"a","time":{"1.0.0":"2026-01-01T00:00:00Z"},"Time":{"1.0.0":"2020-01-01T00:00:00Z"},"versions":{"1.0.0":{"scripts":{"install":"x"},"Scripts":{"install":null},"deprecated":"old","Deprecated":""}}}`})
	got, err := NewNPM(NPMEnv{Registry: s.URL}, nil).Releases(t.Context(), "a", "")
	if err != nil || len(got) != 1 || !got[0].Scripts || got[0].Deprecated == "" || got[0].Published != day(1) {
		t.Error(got, err)
	}
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"name":"a","time":{"1.0.0":"2026-01-01T00:00:00Z"},"versions":{"1.0.0":{"_npmUser":{"name":"x"},"dist":{"integrity":"sha512-"}}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d document
		var m manifest
		if err := d.UnmarshalJSON(b); err != nil && len(d.Versions) > len(b) {
			t.Error("more versions than bytes")
		}
		if err := m.UnmarshalJSON(b); err == nil && len(m.Dependencies) > len(b) {
			t.Error("more parts than bytes")
		}
	})
}
