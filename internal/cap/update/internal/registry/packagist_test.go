package registry

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPackagistSaysOnlyWhatDiffersFromTheVersionBefore(t *testing.T) {
	const answer = `{"minified":"composer/2.0","packages":{"a/b":[
		{"name":"a/b","version":"v2.0.0","time":"2026-01-04T00:00:00+00:00","dist":{"reference":"r4"},"abandoned":"c/d","Version":"9.9.9"},
		{"version":"v1.10.0","time":"2026-01-03T00:00:00+00:00","dist":{"reference":"r3"},"abandoned":"__unset"},
		{"version":"v1.9.0"},{"version":"1.9.0-RC1","time":"__unset"},{"version":"dev-main"},{"version":"v0.9.0"}]}}`
	s := serve(t, map[string]string{"/p2/a/b.json": answer, "/p2/a/other.json": answer, "/p2/a/bad.json": "[", "/p2/a/two.json": `{"packages":{"a/two":[{"version":[]}]}}`})
	p := NewPackagist(ComposerEnv{Index: s.URL}, nil)
	all, err := p.Releases(t.Context(), "A/b", "1.0")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		got = append(got, fmt.Sprintf("%s %v %s %s", r.Version, r.Published.Year() == 2026 && r.Claimed, r.Integrity, r.Deprecated))
	}
	want := []string{"1.9.0-RC1 false r3 ", "v1.9.0 true r3 ", "v1.10.0 true r3 ", "v2.0.0 true r4 abandoned, in favour of c/d"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"a/other", "a/bad", "a/two", "a/absent", "../up", "a", "-a/b", "a/b/c", "php"} {
		if got, err := p.Releases(t.Context(), bad, ""); err == nil {
			t.Errorf("%s: %v", bad, got)
		}
	}
}

func TestOnlyPackagesOfPackagistAreAskedFor(t *testing.T) {
	const lock = `{"packages":[{"name":"Open/one","notification-url":"https://packagist.org/downloads/"},{"name":"corp/own"},{"name":"corp/two","notification-url":"https://corp.example/d/"}],
		"packages-dev":[{"name":"open/dev","notification-url":"https://packagist.org/downloads/"}]}`
	for name, want := range map[string]string{"open/one": "", "open/dev": "", "corp/own": "elsewhere", "corp/two": "elsewhere", "absent/x": "doesn't hold it"} {
		if got := (ComposerEnv{}).Elsewhere([]byte(`{"repositories":[]}`), []byte(lock), name); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%s: %q", name, got)
		}
	}
	for manifest, want := range map[string]string{`{"repositories":[{"type":"vcs","url":"https://corp.example"}]}`: "of its own", `{"repositories":{"packagist.org":false}}`: "of its own", `{"config":{"disable-tls":true}}`: "disable-tls", `{"config":1}`: "can't be read", `{`: "can't be read"} {
		if got := (ComposerEnv{}).Elsewhere([]byte(manifest), []byte(lock), "open/one"); !strings.Contains(got, want) {
			t.Errorf("%s: %q", manifest, got)
		}
	}
	if got := (ComposerEnv{}).Elsewhere([]byte("{}"), []byte("{"), "open/one"); got == "" {
		t.Error("a lock file that can't be read is trusted")
	}
}
