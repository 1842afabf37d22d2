package advisory

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/scan/internal/advisory/internal/flat"
	"github.com/wardhq/ward/internal/finding"
)

var today = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// folder holds entries as files.
func folder(t *testing.T, entries ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, e := range entries {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)+".json"), []byte(e), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func clockAt(t time.Time) clock.Clock { return clock.Func(func() time.Time { return t }) }

func options() Options { return Options{Clock: clockAt(today)} }

// index is an open index of the entries.
func index(t *testing.T, entries ...string) *DB {
	t.Helper()
	dst := filepath.Join(t.TempDir(), "index")
	if _, err := Build(t.Context(), dst, []Source{{Location: folder(t, entries...)}}, options()); err != nil {
		t.Fatal(err)
	}
	return open(t, dst)
}

func open(t *testing.T, dst string) *DB {
	t.Helper()
	d, err := Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// entry is an advisory with one affected package; rest is more of the affected entry.
func entry(id, ecosystem, name, rest string) string {
	return `{"id":"` + id + `","modified":"2026-04-30T00:00:00Z","summary":"` + id + `'s summary","affected":[{"package":{"ecosystem":"` + ecosystem + `","name":"` + name + `"},` + rest + `}]}`
}

func events(kind, list string) string {
	var out []string
	for _, e := range strings.Fields(list) {
		name, version, _ := strings.Cut(e, "=")
		out = append(out, `{"`+map[string]string{"i": "introduced", "f": "fixed", "l": "last_affected", "m": "limit"}[name]+`":"`+version+`"}`)
	}
	return `"ranges":[{"type":"` + kind + `","events":[` + strings.Join(out, ",") + `]}]`
}

func find(t *testing.T, d *DB, ecosystem, name, version string) []finding.Finding {
	t.Helper()
	f, err := d.Find(finding.Package{Ecosystem: ecosystem, Name: name, Version: version})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestVersionsAreJudgedAsTheSchemaSays(t *testing.T) {
	d := index(t,
		entry("A-plain", "npm", "plain", events("SEMVER", "i=1.0.0 f=1.2.0")),
		entry("A-two", "npm", "two", events("SEMVER", "f=2.0.1 i=2.0.0 i=0 f=1.0.0")),
		entry("A-last", "npm", "last", events("SEMVER", "i=0 l=1.5.0")),
		entry("A-limit", "npm", "limit", events("SEMVER", "i=1.0.0 m=2.0.0")),
		entry("A-list", "npm", "list", `"versions":["1.0.0","1.0.2"]`),
		entry("A-both", "npm", "both", events("SEMVER", "i=2.0.0 f=3.0.0")+`,"versions":["1.0.0"]`),
		entry("A-open", "npm", "open", events("SEMVER", "i=0")),
		entry("A-again", "npm", "again", events("SEMVER", "f=1.5.0 f=2.0.0 i=1.0.0 i=1.5.0")),
		entry("A-never", "npm", "never", events("SEMVER", "i=1.0.0 f=1.0.0")),
		entry("A-git", "npm", "git", events("GIT", "i=0 f=abc")),
		entry("A-none", "npm", "none", `"versions":[]`),
		entry("A-odd", "npm", "odd", events("SEMVER", "i=0 f=whenever")),
		entry("A-py", "PyPI", "py", `"versions":["1.0.0"]`),
		entry("A-android", "Android", "platform", events("ECOSYSTEM", "i=1 f=2")+`,"versions":["13"]`),
	)
	for _, tt := range []struct {
		ecosystem, name, version string
		want                     string // "", "affected", "unsure"
		fixed                    string
	}{
		{"npm", "plain", "0.9.9", "", ""},
		{"npm", "plain", "1.0.0", "affected", "1.2.0"},
		{"npm", "plain", "1.2.0-rc.1", "affected", "1.2.0"},
		{"npm", "plain", "1.0.0-rc.1", "", ""},
		{"npm", "plain", "1.2.0", "", ""},
		{"npm", "plain", "1.10.0", "", ""},
		{"npm", "plain", "", "unsure", "1.2.0"},
		{"npm", "plain", "latest", "unsure", "1.2.0"},
		{"npm", "plain", "^1.0.0", "unsure", "1.2.0"},
		{"npm", "plain", "1.x", "unsure", "1.2.0"},
		{"npm", "plain", "git+https://example.org/plain.git", "unsure", "1.2.0"},
		{"npm", "two", "0.5.0", "affected", "1.0.0 2.0.1"},
		{"npm", "two", "1.0.0", "", ""},
		{"npm", "two", "2.0.0", "affected", "2.0.1"},
		{"npm", "last", "1.5.0", "affected", ""},
		{"npm", "last", "1.5.1", "", ""},
		{"npm", "limit", "1.9.9", "affected", ""},
		{"npm", "limit", "2.0.0", "", ""},
		{"npm", "list", "1.0.2", "affected", ""},
		{"npm", "list", "1.0.1", "", ""},
		{"npm", "list", "next", "unsure", ""},
		{"npm", "both", "1.0.0", "affected", "3.0.0"},
		{"npm", "both", "1.0.1", "", ""},
		{"npm", "open", "99.0.0", "affected", ""},
		{"npm", "again", "1.5.0", "affected", "2.0.0"},
		{"npm", "again", "1.2.0", "affected", "2.0.0"}, // 1.5.0 mends nothing
		{"npm", "never", "1.0.0", "", ""},
		{"npm", "never", "1.0.1", "", ""},
		{"npm", "git", "1.0.0", "unsure", ""},
		{"npm", "none", "1.0.0", "unsure", ""},
		{"npm", "odd", "1.0.0", "unsure", ""},
		{"npm", "nobody", "1.0.0", "", ""},
		{"PyPI", "py", "1.0", "affected", ""},
		{"PyPI", "py", "1.1", "", ""},
		{"PyPI", "py", "1.0-final-release", "unsure", ""},
		{"Android", "platform", "13", "affected", ""},
		{"Android", "platform", "14", "unsure", "2"},
	} {
		t.Run(tt.name+" "+tt.version, func(t *testing.T) {
			got, fixed := "", ""
			for _, f := range find(t, d, tt.ecosystem, tt.name, tt.version) {
				got, fixed = "affected", strings.Join(f.Fixed, " ")
				if f.Unsure != "" {
					got = "unsure"
				}
			}
			if got != tt.want || tt.ecosystem != "Android" && fixed != tt.fixed {
				t.Errorf("got %q with fixes %q, want %q with %q", got, fixed, tt.want, tt.fixed)
			}
		})
	}
}

func TestNamesAreThoseOfTheEcosystem(t *testing.T) {
	all := events("ECOSYSTEM", "i=0")
	d := index(t,
		entry("P", "PyPI", "Zope.Interface_x", all), entry("N", "NuGet", "Newtonsoft.Json", all), entry("C", "Packagist", "Symfony/HTTP", all),
		entry("G", "Go", "github.com/BurntSushi/toml", all), entry("M", "Maven", "org.x:Y", all), entry("A", "GitHub Actions", "Actions/Checkout", all))
	for _, tt := range []struct{ ecosystem, name, version, want string }{
		{"PyPI", "zope-interface-x", "1.0", "P"},
		{"PyPI", "ZOPE__interface.-x", "1.0", "P"},
		{"NuGet", "newtonsoft.json", "1.0", "N"},
		{"Packagist", "symfony/http", "1.0", "C"},
		{"Go", "github.com/BurntSushi/toml", "v1.0.0", "G"},
		{"Go", "github.com/burntsushi/toml", "v1.0.0", ""},
		{"Maven", "org.x:Y", "1.0", "M"},
		{"Maven", "org.x:y", "1.0", ""},
		{"GitHub Actions", "actions/checkout", "v4.1.0", "A"},
	} {
		got := ""
		for _, f := range find(t, d, tt.ecosystem, tt.name, tt.version) {
			got = f.ID
		}
		if got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.ecosystem, tt.name, got, tt.want)
		}
	}
}

func TestReleasesOfDistributions(t *testing.T) {
	d := index(t,
		entry("D12", "Debian:12", "openssl", events("ECOSYSTEM", "i=0 f=3.0.11-1~deb12u2")),
		entry("D11", "Debian:11", "openssl", events("ECOSYSTEM", "i=0 f=1.1.1w-0+deb11u1")),
		entry("U", "Ubuntu:22.04:LTS", "openssl", events("ECOSYSTEM", "i=0 f=3.0.2-0ubuntu1.12")),
		entry("A", "Alpine:v3.20", "openssl", events("ECOSYSTEM", "i=0 f=3.3.1-r0")),
		entry("R", "Red Hat:enterprise_linux:9::appstream", "openssl", events("ECOSYSTEM", "i=0 f=1:3.0.7-25.el9_3")))
	for _, tt := range []struct{ ecosystem, version, want string }{
		{"Debian:12", "3.0.11-1~deb12u1", "D12"},
		{"Debian:12.5", "3.0.11-1~deb12u2", ""},
		{"Debian:11", "1.1.1v-1", "D11"},
		{"Debian", "1.0-1", "D11? D12?"},
		{"Ubuntu:22.04", "3.0.2-0ubuntu1.9", "U"},
		{"Ubuntu:22.04:LTS", "3.0.2-0ubuntu1.9", "U"},
		{"Alpine:v3.20.3", "3.3.0-r2", "A"},
		{"Alpine:3.20", "3.3.0-r2", "A"},
		{"Red Hat:enterprise_linux:9", "1:3.0.7-24.el9", "R"},
		{"Red Hat:enterprise_linux:9::appstream", "1:3.0.7-25.el9_3", ""},
	} {
		// The installed package is libssl; advisories name its source.
		p := finding.Package{Ecosystem: tt.ecosystem, Name: "libssl", Version: "0", Source: "openssl", SourceVersion: tt.version}
		found, err := d.Find(p)
		if err != nil {
			t.Fatalf("%s: %v", tt.ecosystem, err)
		}
		var got []string
		for _, f := range found {
			id := f.ID
			if f.Unsure != "" {
				id += "?"
			}
			got = append(got, id)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.ecosystem, tt.version, got, tt.want)
		}
	}
}

func TestWhatTheIndexDoesNotHoldIsAnError(t *testing.T) {
	d := index(t, entry("A", "Debian:12", "a", events("ECOSYSTEM", "i=0")), entry("B", "npm", "b", events("SEMVER", "i=0")),
		entry("MAL-1", "RubyGems", "evil", `"versions":["1.0"]`))
	for _, ecosystem := range []string{"PyPI", "Debian:13", "Alpine:v3.20", "", "Maven", "RubyGems"} {
		_, err := d.Find(finding.Package{Ecosystem: ecosystem, Name: "a", Version: "1"})
		if none, ok := errors.AsType[NoDataError](err); !ok || none.Ecosystem != ecosystem {
			t.Errorf("%q: %v", ecosystem, err)
		}
	}
	if diff := cmp.Diff([]string{"Debian:12", "npm"}, d.Ecosystems()); diff != "" {
		t.Error(diff)
	}
	// Of RubyGems only malicious packages are known: they are told all the same.
	found, err := d.Find(finding.Package{Ecosystem: "RubyGems", Name: "evil", Version: "1.0"})
	if len(found) != 1 || found[0].Kind != finding.Malicious || found[0].Severity != finding.Critical || err == nil {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestGoStandardLibrary(t *testing.T) {
	d := index(t, entry("GO-2026-1", "Go", "stdlib", events("SEMVER", "i=0 f=1.21.9 i=1.22.0-0 f=1.22.2")))
	for version, want := range map[string]int{"go1.21.8": 1, "1.21.9": 0, "go1.22rc1": 1, "1.22.1": 1, "1.22.2": 0, "go1.22.2 X:boringcrypto": 0, "v1.22.1": 1, "go1.21rc4": 1} {
		found := find(t, d, "Go", "stdlib", version)
		if len(found) != want || want == 1 && found[0].Unsure != "" {
			t.Errorf("%s: %+v, want %d", version, found, want)
		}
	}
	if found := find(t, d, "Go", "stdlib", "devel +abc"); len(found) != 1 || found[0].Unsure == "" {
		t.Errorf("a development version is judged: %+v", found)
	}
}

func TestAliasesAreOneFinding(t *testing.T) {
	const pkg = `"affected":[{"package":{"ecosystem":"Go","name":"x"},`
	d := index(t,
		`{"id":"GHSA-1","aliases":["CVE-1"],"summary":"of GitHub","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],"database_specific":{"severity":"HIGH"},`+
			pkg+events("SEMVER", "i=0 f=1.2.0")+`}]}`,
		`{"id":"GO-1","aliases":["CVE-1"],"details":"# of Go\nmore",`+pkg+events("SEMVER", "i=0 f=1.3.0")+
			`,"ecosystem_specific":{"imports":[{"path":"x/y","symbols":["F","T.M"]},{"path":"x/z"}]}}]}`,
		`{"id":"GO-2",`+pkg+events("SEMVER", "i=0 f=1.4.0")+`}]}`)
	p := finding.Package{Ecosystem: "Go", Name: "x", Version: "v1.1.0", Location: finding.Location{Path: "go.mod", Line: 3}}
	got, err := d.Find(p)
	if err != nil {
		t.Fatal(err)
	}
	want := []finding.Finding{
		{
			ID: "GO-1", Aliases: []string{"CVE-1", "GHSA-1"}, Kind: finding.Dependency, Tool: "ward", Title: "of Go", URL: "https://pkg.go.dev/vuln/GO-1",
			Severity: finding.High, Score: 9.8, Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Package: &p, Location: p.Location,
			Fixed: []string{"1.3.0"}, Symbols: []string{"x/y.F", "x/y.T.M", "x/z"},
		},
		{ID: "GO-2", Kind: finding.Dependency, Tool: "ward", Title: "GO-2", URL: "https://pkg.go.dev/vuln/GO-2", Package: &p, Location: p.Location, Fixed: []string{"1.4.0"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if found := find(t, d, "Go", "x", "v1.2.5"); len(found) != 2 || found[0].ID != "GO-1" || found[0].Severity != finding.SeverityUnknown {
		t.Errorf("an advisory that doesn't hold takes part: %+v", found)
	}
}

func TestFindIsForManyAtOnce(t *testing.T) {
	var entries []string
	for i := range 200 {
		entries = append(entries, entry("A-"+strconv.Itoa(i), "npm", "p"+strconv.Itoa(i), events("SEMVER", "i=0 f=2.0.0")+`,"ecosystem_specific":{"imports":[{"path":"`+strings.Repeat(strconv.Itoa(i), 300)+`"}]}`))
	}
	d := index(t, entries...)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 200 {
				f, err := d.Find(finding.Package{Ecosystem: "npm", Name: "p" + strconv.Itoa(i), Version: "1.0.0"})
				if err != nil || len(f) != 1 || f[0].ID != "A-"+strconv.Itoa(i) {
					t.Errorf("p%d: %+v, %v", i, f, err)
				}
			}
		})
	}
	all.Wait()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Find(finding.Package{Ecosystem: "npm", Name: "p1", Version: "1.0.0"}); err == nil {
		t.Error("a closed index answers")
	}
}

// Wherever the hashes stand, evenly spread or all in one place, the place of each is found, and of those that aren't there.
func TestFirstOfFindsAnyHash(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	spread := func(i uint64) uint64 { return hashKey(strconv.FormatUint(i, 10)) }
	for name, at := range map[string]func(i uint64) uint64{
		"spread": spread, "low": func(i uint64) uint64 { return i / 2 }, "high": func(i uint64) uint64 { return math.MaxUint64 - i/3 },
		"both ends": func(i uint64) uint64 { return spread(i) * (i % 2) }, "all the same": func(uint64) uint64 { return 7 },
	} {
		for _, n := range []int{1, 2, 9, 2000} {
			var hashes []uint64
			for i := range n {
				hashes = append(hashes, at(uint64(i)))
			}
			slices.Sort(hashes)
			var sections [flat.Sections][]byte
			for _, h := range hashes {
				sections[sectionKeys] = append(binary.BigEndian.AppendUint64(sections[sectionKeys], h), 0, 0, 0, 0)
			}
			path := filepath.Join(t.TempDir(), "index")
			if err := flat.Write(path, private, sections); err != nil {
				t.Fatal(err)
			}
			f, err := flat.Open(path, []ed25519.PublicKey{public})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			d := &DB{file: f, keys: uint64(n)}
			for i, wanted := range slices.Concat(hashes, []uint64{0, 1, 6, 8, 1 << 63, math.MaxUint64, math.MaxUint64 - 1}) {
				want, _ := slices.BinarySearch(hashes, wanted)
				if got, err := d.firstOf(wanted); err != nil || got != uint64(want) {
					t.Fatalf("%s, %d keys, no. %d: %d, %v; want %d", name, n, i, got, err, want)
				}
			}
		}
	}
}
