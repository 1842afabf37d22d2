package registry

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPyPITellsTimesAndWhatWasYanked(t *testing.T) {
	sum := strings.Repeat("a", 64)
	file := func(name, day, more string) string {
		return fmt.Sprintf(`{"filename":%q,"url":"x","hashes":{"sha256":%q},"upload-time":"2026-01-%sT00:00:00.000000Z"%s}`, name, sum, day, more)
	}
	answer := func(name string, files ...string) string {
		return fmt.Sprintf(`{"meta":{"api-version":"1.1"},"name":%q,"files":[%s]}`, name, strings.Join(files, ","))
	}
	s := serve(t, map[string]string{
		"/simple/my-part/": answer("my-part", file("my_part-0.9-py3-none-any.whl", "01", ""),
			file("my_part-1.0.tar.gz", "02", ""), file("my_part-1.0-py3-none-any.whl", "09", ""),
			file("my-part-1.9.tar.gz", "03", ""), file("my_part-1.9-cp311-cp311-manylinux_2_17_x86_64.whl", "08", `,"Upload-time":"2020-01-01T00:00:00Z"`),
			file("my_part-1.10-1-py3-none-any.whl", "04", `,"yanked":"it breaks"`), file("my_part-1.10rc1-py3-none-any.whl", "05", `,"yanked":false`),
			file("my_part-2.0.tar.gz", "06", `,"yanked":true`), file("my_part-nonsense-py3-none-any.whl", "05", ""), file("other-3.0.tar.gz", "05", ""), file("my_part-4.exe", "05", ""),
			strings.Replace(file("my_part-3.0-py3-none-any.whl", "06", ""), "upload-time", "x", 1), file("my_part-3.0.tar.gz", "07", "")),
		"/simple/abc/": answer("other"), "/simple/html/": "<html></html>", "/simple/list/": `{"name":"list"}`,
	})
	p := NewPyPI(PyPIEnv{Index: s.URL + "/simple"}, nil)
	all, err := p.Releases(t.Context(), "My.Part", "1.0")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		got = append(got, fmt.Sprintf("%s %d %v %s", r.Version, r.Published.Year()/2000*r.Published.Day(), r.Scripts, r.Retracted))
	}
	want := []string{"1.0 2 false ", "1.9 8 false ", "1.10rc1 5 false ", "1.10 4 false yanked: it breaks", "2.0 6 true yanked", "3.0 0 false "}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if hashes, err := p.Hashes(t.Context(), "my-part", "1.9"); err != nil || cmp.Diff([]string{sum}, hashes) != "" {
		t.Error(hashes, err)
	}
	for _, bad := range []string{"abc", "html", "list", "absent", "../up", "-x", ""} {
		if got, err := p.Releases(t.Context(), bad, ""); err == nil {
			t.Errorf("%s: %v", bad, got)
		}
	}
}

func TestAFileThatIsAddedMakesAnotherRelease(t *testing.T) {
	one := `{"filename":"a-1.0-py3-none-any.whl","hashes":{"sha256":"00"},"upload-time":"2026-01-01T00:00:00Z"}`
	more := `{"filename":"a-1.0-cp311-cp311-linux_x86_64.whl","hashes":{"sha256":"11"},"upload-time":"2026-01-02T00:00:00Z"}`
	var seen []string
	for _, files := range []string{one, one + "," + more, more + "," + one} {
		s := serve(t, map[string]string{"/a/": `{"name":"a","files":[` + files + `]}`})
		all, err := NewPyPI(PyPIEnv{Index: s.URL}, nil).Releases(t.Context(), "a", "")
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		seen = append(seen, all[0].Integrity)
	}
	if seen[0] == seen[1] || seen[1] != seen[2] {
		t.Error(seen)
	}
}

func TestOnlyTheUsersOwnConfigurationOfPipSaysWhomToAsk(t *testing.T) {
	for settings, want := range map[string]string{
		"": publicPyPI,
		"global.index-url='https://a.example/s/'\n": "https://a.example/s",
		"global.index-url='https://a.example/s'\n:env:.index-url='https://b.example/s'\ninstall.index-url='https://c.example/s'\n": "https://b.example/s",
		"list.index-url='https://a.example'\n:env:.find-links='/opt'\nglobal.no-index='false'\n":                                   publicPyPI,
		"global.extra-index-url='https://a.example'\n":                                                                             "extra-index-url",
		":env:.no-index='1'\n":                         "no-index",
		"global.index-url='https://u:p@a.example/s'\n": "credentials",
	} {
		var e PyPIEnv
		if err := e.settle(settings); err == nil && e.Index != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q %v", settings, e.Index, err)
		}
	}
	e := PyPIEnv{Index: "https://own.example/simple"}
	for index, want := range map[string]string{"https://own.example/simple/": "", "https://pypi.org/simple": "", "https://evil.example/simple": "evil.example", "": `""`, "./wheels": "./wheels"} {
		if got := e.Elsewhere([]string{index}); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%q: %q", index, got)
		}
	}
}
