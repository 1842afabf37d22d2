package advisory

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/finding"
)

// zipped is a zip of files, by name and content.
func zipped(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		w, err := z.Create(files[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var a1 = entry("A-1", "npm", "a", events("SEMVER", "i=0"))

func TestSourcesOfAllShapes(t *testing.T) {
	b1 := entry("B-1", "crates.io", "b", events("SEMVER", "i=0"))
	mux := http.NewServeMux()
	serve := func(path string, b []byte) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { w.Write(b) }) //nolint:errcheck // the client sees it
	}
	serve("/one.json", []byte(a1))
	serve("/some.zip", zipped(t, "A-1.json", a1, "x/B-1.json", b1))
	serve("/mirror/npm/all.zip", zipped(t, "A-1.json", a1))
	serve("/mirror/crates.io/all.zip", zipped(t, "B-1.json", b1))
	srv := httptest.NewServer(mux)
	defer srv.Close()
	deep := folder(t, a1)
	if err := os.MkdirAll(filepath.Join(deep, "x", "y"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(deep, "x", "y", "all.zip"), zipped(t, "B-1.json", b1, "README.md", "no entry"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		s    Source
		want int
	}{
		{"a file", Source{Location: file(t, "A-1.json", []byte(a1))}, 1},
		{"a folder with a zip in it", Source{Location: deep}, 2},
		{"a zip", Source{Location: file(t, "all.zip", zipped(t, "A-1.json", a1, "B-1.json", b1))}, 2},
		{"a URL of an entry", Source{Location: srv.URL + "/one.json"}, 1},
		{"a URL of a zip", Source{Location: "http://user:pass@" + strings.TrimPrefix(srv.URL, "http://") + "/some.zip?token=secret"}, 2},
		{"a mirror", Source{Location: srv.URL + "/mirror", Ecosystems: []string{"npm", "crates.io"}}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dst := filepath.Join(t.TempDir(), "index")
			info, err := Build(t.Context(), dst, []Source{tt.s}, options())
			if err != nil || info.Advisories != tt.want || len(info.Problems) > 0 || info.Sources[0].SHA256 == "" {
				t.Fatalf("%+v, %v", info, err)
			}
			if where := info.Sources[0].Location; strings.Contains(where, "pass") || strings.Contains(where, "secret") {
				t.Errorf("the index holds a secret: %s", where)
			}
			if diff := cmp.Diff(info, open(t, dst).Info()); diff != "" {
				t.Error(diff)
			}
		})
	}
	for name, s := range map[string]Source{
		"nothing there":          {Location: filepath.Join(deep, "nowhere")},
		"an empty folder":        {Location: t.TempDir()},
		"no such URL":            {Location: srv.URL + "/none.zip"},
		"a mirror without one":   {Location: srv.URL + "/mirror", Ecosystems: []string{"npm", "PyPI"}},
		"ecosystems of a folder": {Location: deep, Ecosystems: []string{"npm"}},
		"no zip":                 {Location: file(t, "all.zip", []byte("PK, but not really"))},
		"a zip that was cut":     {Location: file(t, "all.zip", zipped(t, "A-1.json", a1, "B-1.json", b1)[:200])},
		"nothing to be read":     {Location: folder(t, "{", `{"id":""}`)},
		"a zip bomb":             {Location: file(t, "all.zip", zipped(t, "A-1.json", a1, "A-2.json", strings.Repeat(" ", 8<<20)+a1))},
	} {
		dst := filepath.Join(t.TempDir(), "index")
		if _, err := Build(t.Context(), dst, []Source{{Location: folder(t, a1)}, s}, options()); err == nil {
			t.Errorf("%s: an index is built", name)
		}
		if _, err := os.Stat(dst); err == nil {
			t.Errorf("%s: an index is there", name)
		}
	}
}

func TestWhatCanNotBeReadIsNamed(t *testing.T) {
	dir := folder(t, a1, `{"id":"B-1","affected":[{"package":7}]}`, strings.Repeat(" ", 17<<20), `{"id":"../../etc/x"}`, `{"id":"C-1","affected":[{"ranges":[{"type":"GIT","events":[]}]}]}`)
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link.json")); err != nil {
		t.Fatal(err)
	}
	info, err := Build(t.Context(), filepath.Join(t.TempDir(), "index"), []Source{{Location: dir}}, options())
	if err != nil {
		t.Fatal(err)
	}
	if info.Advisories != 1 || info.Unreadable != 4 || info.Unplaced != 1 || len(info.Problems) != 4 {
		t.Errorf("%+v", info)
	}
	for i, want := range []string{"1.json: ", "2.json: it is larger", "3.json: it has no id", "link.json: it isn't a regular file"} {
		if !strings.HasPrefix(info.Problems[i], want) {
			t.Errorf("%q, want %q", info.Problems[i], want)
		}
	}
}

func TestTheNewestFormOfAnEntryCounts(t *testing.T) {
	at := func(day, rest string) string {
		return `{"id":"A-1","modified":"2026-04-` + day + `T00:00:00Z",` + rest + `"affected":[{"package":{"ecosystem":"npm","name":"a"},` + events("SEMVER", "i=0") + `}]}`
	}
	other := entry("B-1", "npm", "b", events("SEMVER", "i=0"))
	old, withdrawn := at("01", ""), at("02", `"withdrawn":"2026-04-02T00:00:00Z",`)
	for name, sources := range map[string][]Source{
		"first": {{Location: folder(t, withdrawn, other)}, {Location: folder(t, old)}},
		"last":  {{Location: folder(t, old)}, {Location: folder(t, withdrawn, other)}},
	} {
		dst := filepath.Join(t.TempDir(), "index")
		info, err := Build(t.Context(), dst, sources, options())
		if err != nil || info.Withdrawn != 1 {
			t.Fatalf("%s: %+v, %v", name, info, err)
		}
		if found := find(t, open(t, dst), "npm", "a", "1.0.0"); len(found) != 0 {
			t.Errorf("%s: a withdrawn advisory is found: %+v", name, found)
		}
	}
}

func TestScoresAndExploitation(t *testing.T) {
	scored := func(id, name, rest string) string {
		return `{"id":"` + id + `",` + rest + `,"affected":[{"package":{"ecosystem":"npm","name":"` + name + `"},` + events("SEMVER", "i=0") + `}]}`
	}
	var epss bytes.Buffer
	z := gzip.NewWriter(&epss)
	io.WriteString(z, "#model_version:v2025.03.14,score_date:2026-04-30T00:00:00Z\ncve,epss,percentile\nCVE-1,0.94358,0.99\nCVE-2,0.1,0.2\n") //nolint:errcheck // a buffer takes all
	z.Close()                                                                                                                                 //nolint:errcheck // likewise
	dst := filepath.Join(t.TempDir(), "index")
	o := options()
	o.EPSS, o.KEV = file(t, "epss.csv.gz", epss.Bytes()), file(t, "kev.json", []byte(`{"vulnerabilities":[{"cveID":"CVE-1"}]}`))
	if _, err := Build(t.Context(), dst, []Source{{Location: folder(
		t,
		scored("V2", "v2", `"severity":[{"type":"CVSS_V2","score":"AV:N/AC:L/Au:N/C:P/I:P/A:P"}],"aliases":["CVE-1"]`),
		scored("V30", "v30", `"severity":[{"type":"CVSS_V3","score":"CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}]`),
		scored("V4", "v4", `"severity":[{"type":"CVSS_V4","score":"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"},{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:L"}]`),
		scored("W", "word", `"database_specific":{"severity":"MODERATE"}`),
		scored("X", "odd", `"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:X"}],"database_specific":{"severity":9}`),
		scored("DEBIAN-CVE-2", "up", `"upstream":["CVE-2"]`),
		scored("DSA-1", "many", `"upstream":["CVE-1","CVE-2"]`),
	)}}, o); err != nil {
		t.Fatal(err)
	}
	d := open(t, dst)
	for name, want := range map[string]finding.Finding{
		"v2":   {Severity: finding.High, Score: 7.5, EPSS: 0.94358, KEV: true, Aliases: []string{"CVE-1"}},
		"v30":  {Severity: finding.High, Score: 7.5},
		"v4":   {Severity: finding.Critical, Score: 9.3},
		"word": {Severity: finding.Medium},
		"odd":  {},
		"up":   {EPSS: 0.1, Aliases: []string{"CVE-2"}},
		"many": {EPSS: 0.94358, KEV: true},
	} {
		f := find(t, d, "npm", name, "1.0.0")[0]
		got := finding.Finding{Severity: f.Severity, Score: f.Score, EPSS: f.EPSS, KEV: f.KEV, Aliases: f.Aliases}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	o.KEV = file(t, "kev.json", []byte(`{"vulnerabilities":[]}`))
	if _, err := Build(t.Context(), dst, []Source{{Location: folder(t, a1)}}, o); err == nil {
		t.Error("an empty catalogue is taken for one")
	}
}

func TestAgeIsShownAndRefused(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, a1) //nolint:errcheck // the client sees it
	}))
	defer srv.Close()
	dst := filepath.Join(t.TempDir(), "index")
	if _, err := Build(t.Context(), dst, []Source{{Location: srv.URL + "/a.json"}, {Location: folder(t, a1)}}, options()); err != nil {
		t.Fatal(err)
	}
	d := open(t, dst)
	if got, want := d.Info().Time(), time.Date(2026, 4, 30, 0, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("the data is of %v, want %v", got, want)
	}
	if got := d.Info().Sources[0].Time; !got.Equal(today) {
		t.Errorf("what was fetched now is of %v", got)
	}
	const week = 7 * 24 * time.Hour
	if err := d.Fresh(today.Add(week/2), week); err != nil {
		t.Error(err)
	}
	err := d.Fresh(today.Add(week), week)
	if text := fault.PublicText(err); fault.KindOf(err) != fault.Refused || !strings.Contains(text, "2026-04-30, 8 days old, and the limit is 7 days: run `ward scan db update`") {
		t.Errorf("old data: %v", err)
	}
	if err := d.Fresh(today.Add(-week), week); err == nil {
		t.Error("data of the future is fresh")
	}
}

func TestTheKeyIsMadeOnceAndKept(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "index")
	build := func() error {
		_, err := Build(t.Context(), dst, []Source{{Location: folder(t, a1)}}, options())
		return err
	}
	if err := build(); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(dst + ".key")
	if err != nil {
		t.Fatal(err)
	}
	if fi, _ := os.Stat(dst + ".key"); fi.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v", fi.Mode())
	}
	first, _ := os.ReadFile(dst)
	if err := build(); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.ReadFile(dst + ".key"); !bytes.Equal(key, again) {
		t.Error("the key changed")
	}
	if names, _ := filepath.Glob(filepath.Join(dir, ".*")); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
	if err := os.Chmod(dst+".key", 0o640); err != nil {
		t.Fatal(err)
	}
	if err := build(); err == nil {
		t.Error("a key that others can read signs")
	}
	if now, _ := os.ReadFile(dst); len(first) == 0 || len(now) == 0 {
		t.Error("the index is gone")
	}
	if err := os.WriteFile(dst+".key", []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := build(); err == nil {
		t.Error("nonsense signs")
	}
}

func TestImportTakesWhatThatKeySigned(t *testing.T) {
	theirs := filepath.Join(t.TempDir(), "theirs")
	if _, err := Build(t.Context(), theirs, []Source{{Location: folder(t, a1)}}, options()); err != nil {
		t.Fatal(err)
	}
	key, err := readPublic(theirs)
	if err != nil {
		t.Fatal(err)
	}
	ours := filepath.Join(t.TempDir(), "ours")
	older := options()
	older.Clock = clockAt(today.Add(-time.Hour))
	if _, err := Build(t.Context(), ours, []Source{{Location: folder(t, a1)}}, older); err != nil {
		t.Fatal(err)
	}
	wrong, err := readPublic(ours)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Import(t.Context(), ours, theirs, wrong); fault.KindOf(err) != fault.Refused {
		t.Errorf("another's signature: %v", err)
	}
	for _, k := range []ed25519.PublicKey{key, nil} {
		if _, err := Import(t.Context(), ours, theirs, k); err != nil {
			t.Fatal(err)
		}
	}
	if found := find(t, open(t, ours), "npm", "a", "1.0.0"); len(found) != 1 {
		t.Errorf("%+v", found)
	}
	if _, err := Build(t.Context(), theirs, []Source{{Location: folder(t, a1)}}, older); err != nil {
		t.Fatal(err)
	}
	if _, err := Import(t.Context(), ours, theirs, key); fault.KindOf(err) != fault.Conflict {
		t.Errorf("an older index: %v", err)
	}
	b, err := os.ReadFile(theirs)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(theirs, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Import(t.Context(), filepath.Join(t.TempDir(), "new"), theirs, key); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a damaged index: %v", err)
	}
}

// However an index is damaged, nobody is told that nothing is known of a package.
func TestDamageIsNeverNoFinding(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "index")
	if _, err := Build(t.Context(), dst, []Source{{Location: folder(t, a1)}}, options()); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(dst)
	if err != nil {
		t.Fatal(err)
	}
	for at := range good {
		for _, b := range [][]byte{good[:at], slices.Concat(good[:at], []byte{good[at] ^ 0x40}, good[at+1:])} {
			if err := os.WriteFile(dst, b, 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := Open(dst)
			if err == nil {
				_, err = d.Find(finding.Package{Ecosystem: "npm", Name: "a", Version: "1.0.0"})
				d.Close()
			}
			if kind := fault.KindOf(err); kind != fault.Invalid && kind != fault.Refused {
				t.Fatalf("at %d: %v", at, err)
			}
		}
	}
	for _, name := range []string{dst, dst + ".pub"} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dst); fault.KindOf(err) != fault.NotFound {
			t.Errorf("without %s: %v", filepath.Base(name), err)
		}
	}
}

func TestABuildThatIsStoppedLeavesTheIndex(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "index")
	if _, err := Build(t.Context(), dst, []Source{{Location: folder(t, a1)}}, options()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Build(ctx, dst, []Source{{Location: folder(t, a1)}}, options()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if found := find(t, open(t, dst), "npm", "a", "1.0.0"); len(found) != 1 {
		t.Errorf("%+v", found)
	}
}
