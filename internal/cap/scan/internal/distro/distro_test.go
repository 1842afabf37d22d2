package distro

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/wardtest/need"
)

var today = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// mirror is an archive with one package, served on loopback.
type mirror struct {
	key   *openpgp.Entity
	other *openpgp.Entity // isn't in the keyring
	files map[string][]byte
	o     Options
}

const changelog = `weak (1.2-3+deb12u2) bookworm-security; urgency=high

  * CVE-2026-1111: the newest.

 -- A Person <a@example.com>  Mon, 04 May 2026 00:00:00 +0000

weak (1.2-3+deb12u1) bookworm-security; urgency=high

  * Mend CVE-2026-0002 and CVE-2026-0001 (Closes: #1)

 -- A Person <a@example.com>  Mon, 05 Jan 2026 00:00:00 +0000

weak (1.2-3) unstable; urgency=medium

  * CVE-2019-9999

 -- A Person <a@example.com>  Mon, 07 Jan 2019 00:00:00 +0000
`

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func xzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// deb is a package with a changelog.
func deb(t testing.TB, log string) []byte {
	t.Helper()
	var data bytes.Buffer
	w := tar.NewWriter(&data)
	packed := gzipped([]byte(log))
	for _, f := range []struct {
		name string
		b    []byte
	}{{"./usr/share/doc/weak/copyright", []byte("free")}, {"./usr/share/doc/weak/changelog.Debian.gz", packed}} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.b)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		w.Write(f.b)
	}
	w.Close()
	out := []byte("!<arch>\n")
	for _, part := range []struct {
		name string
		b    []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar.xz", []byte("odd")}, {"data.tar.xz", xzipped(t, data.Bytes())}} {
		out = append(out, fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n", part.name, 0, 0, 0, "100644", len(part.b))...)
		out = append(out, part.b...)
		if len(part.b)%2 == 1 {
			out = append(out, '\n')
		}
	}
	return out
}

func hashOf(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func newMirror(t *testing.T) *mirror {
	t.Helper()
	config := &packet.Config{Time: func() time.Time { return today.AddDate(-1, 0, 0) }, Algorithm: packet.PubKeyAlgoEdDSA}
	key, err := openpgp.NewEntity("archive", "", "a@example.com", config)
	if err != nil {
		t.Fatal(err)
	}
	other, err := openpgp.NewEntity("other", "", "o@example.com", config)
	if err != nil {
		t.Fatal(err)
	}
	var ring bytes.Buffer
	if err := key.Serialize(&ring); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ring.gpg"), ring.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	m := &mirror{key: key, other: other, files: map[string][]byte{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := m.files[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(b)
	}))
	t.Cleanup(server.Close)
	m.o = Options{
		Mirror: server.URL, Suite: "bookworm-security", Components: []string{"main"}, Arch: "amd64", Keyring: filepath.Join(dir, "ring.gpg"),
		Cache: filepath.Join(dir, "cache"), Clock: clock.Func(func() time.Time { return today }), Changelogs: true,
	}
	m.publish(t, m.key, today)
	return m
}

// publish signs a state of the archive.
func (m *mirror) publish(t testing.TB, by *openpgp.Entity, date time.Time) {
	t.Helper()
	pkg := deb(t, changelog)
	const file = "pool/updates/main/w/weak/libweak_1.2-3+deb12u2_amd64.deb"
	m.files[file] = pkg
	list := xzipped(t, fmt.Appendf(nil, "Package: libweak\nSource: weak\nVersion: 1.2-3+deb12u1\nFilename: pool/old.deb\nSize: 1\nSHA256: x\n\n"+
		"Package: libweak\nSource: weak\nVersion: 1.2-3+deb12u2\nFilename: %s\nSize: %d\nSHA256: %s\n\n", file, len(pkg), hashOf(pkg)))
	m.files["dists/bookworm-security/main/binary-amd64/Packages.xz"] = list
	m.sign(t, by, fmt.Sprintf("Origin: Debian\nSuite: oldstable-security\nCodename: bookworm-security\nDate: %s\nValid-Until: %s\nSHA256:\n %s %d main/binary-amd64/Packages.xz\n",
		date.Format(time.RFC1123), date.AddDate(0, 0, 7).Format(time.RFC1123), hashOf(list), len(list)))
}

func (m *mirror) sign(t testing.TB, by *openpgp.Entity, text string) {
	t.Helper()
	var out bytes.Buffer
	w, err := clearsign.Encode(&out, by.PrivateKey, &packet.Config{Time: func() time.Time { return today.AddDate(0, 0, -30) }})
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(text))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	m.files["dists/bookworm-security/InRelease"] = append(out.Bytes(), '\n')
}

func installed(name, version string) finding.Package {
	return finding.Package{Ecosystem: "Debian:12", Name: name, Version: version, Source: "weak", SourceVersion: version}
}

func TestUpdatesThatAreMissing(t *testing.T) {
	m := newMirror(t)
	a, err := Fetch(t.Context(), m.o)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Date.Equal(today) {
		t.Error(a.Date)
	}
	for _, test := range []struct {
		name, pkg, version string
		want               string
	}{
		{"two updates behind", "libweak", "1.2-3", "CVE-2026-0001 CVE-2026-0002 CVE-2026-1111"},
		{"one behind", "libweak", "1.2-3+deb12u1", "CVE-2026-1111"},
		{"up to date", "libweak", "1.2-3+deb12u2", "none"},
		{"newer", "libweak", "1:1.0", "none"},
		{"another package", "other", "1", "none"},
		{"no version", "libweak", "<none>", "unsure"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fs, err := a.Find(t.Context(), installed(test.pkg, test.version))
			if err != nil {
				t.Fatal(err)
			}
			got := "none"
			if len(fs) == 1 {
				got = strings.Join(fs[0].Aliases, " ")
				if fs[0].Unsure != "" {
					got = "unsure"
				}
				if diff := cmp.Diff([]string{"1.2-3+deb12u2"}, fs[0].Fixed); diff != "" {
					t.Error(diff)
				}
			}
			if got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestAnArchiveThatCanNotBeTrusted(t *testing.T) {
	const list = "dists/bookworm-security/main/binary-amd64/Packages.xz"
	const in = "dists/bookworm-security/InRelease"
	for _, test := range []struct {
		name, want string
		change     func(t *testing.T, m *mirror)
	}{
		{"another key", "signature", func(t *testing.T, m *mirror) { m.publish(t, m.other, today) }},
		{"a changed text", "signature", func(_ *testing.T, m *mirror) {
			m.files[in] = bytes.Replace(m.files[in], []byte("Origin: Debian"), []byte("Origin: Debiam"), 1)
		}},
		{"a text before the signed one", "one signed text", func(_ *testing.T, m *mirror) { m.files[in] = append([]byte("SHA256:\n\n"), m.files[in]...) }},
		{"a text after it", "one signed text", func(_ *testing.T, m *mirror) { m.files[in] = append(m.files[in], "Suite: x\n"...) }},
		{"no signature", "one signed text", func(_ *testing.T, m *mirror) { m.files[in] = []byte("Suite: bookworm-security\n") }},
		{"expired", "valid until", func(t *testing.T, m *mirror) { m.publish(t, m.key, today.AddDate(0, 0, -8)) }},
		{"of tomorrow", "to come", func(t *testing.T, m *mirror) { m.publish(t, m.key, today.AddDate(0, 0, 1)) }},
		{"another suite", "another suite", func(_ *testing.T, m *mirror) {
			m.o.Suite = "trixie-security"
			m.files["dists/trixie-security/InRelease"] = m.files[in]
		}},
		{"a replaced list", "isn't what is signed", func(t *testing.T, m *mirror) { m.files[list] = xzipped(t, []byte("Package: libweak\n")) }},
		{"a truncated list", "isn't what is signed", func(_ *testing.T, m *mirror) { m.files[list] = m.files[list][:20] }},
		{"another architecture", "no list for arm64", func(_ *testing.T, m *mirror) { m.o.Arch = "arm64" }},
		{"not there", "404", func(_ *testing.T, m *mirror) { delete(m.files, in) }},
		{"no keyring", "no such file", func(_ *testing.T, m *mirror) { m.o.Keyring += "x" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMirror(t)
			test.change(t, m)
			if _, err := Fetch(t.Context(), m.o); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestAPackageThatCanNotBeTrusted(t *testing.T) {
	const file = "pool/updates/main/w/weak/libweak_1.2-3+deb12u2_amd64.deb"
	for name, change := range map[string]func(b []byte) []byte{
		"truncated": func(b []byte) []byte { return b[:len(b)-10] },
		"replaced":  func([]byte) []byte { return deb(t, "weak (9) x; urgency=low\n") },
		"longer":    func(b []byte) []byte { return append(b, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirror(t)
			a, err := Fetch(t.Context(), m.o)
			if err != nil {
				t.Fatal(err)
			}
			m.files[file] = change(m.files[file])
			if fs, err := a.Find(t.Context(), installed("libweak", "1.2-3")); err == nil {
				t.Errorf("it was taken: %v", fs)
			}
		})
	}
}

func TestWhatWasSeenIsKept(t *testing.T) {
	m := newMirror(t)
	if _, err := Fetch(t.Context(), m.o); err != nil {
		t.Fatal(err)
	}
	served := m.files
	m.files = map[string][]byte{}
	if _, err := Fetch(t.Context(), m.o); err != nil {
		t.Errorf("without a network: %v", err)
	}
	m.files = served
	m.publish(t, m.key, today.AddDate(0, 0, -1))
	if _, err := Fetch(t.Context(), m.o); err == nil || !strings.Contains(err.Error(), "seen before") {
		t.Errorf("an older state: %v", err)
	}
	later := m.o
	later.Clock = clock.Func(func() time.Time { return today.AddDate(0, 0, 8) })
	m.files = map[string][]byte{}
	if _, err := Fetch(t.Context(), later); err == nil || !strings.Contains(err.Error(), "valid until") {
		t.Errorf("a kept state that has expired: %v", err)
	}
}

func TestVersionsAreOrderedAsByDpkg(t *testing.T) {
	dpkg := need.Program(t, "dpkg")
	versions := []string{
		"1", "1.0", "1.0-1", "1.0~rc1-1", "1.0-1+b1", "1.0-1+deb12u1", "1.0-1+deb12u10", "1.0-1+deb12u2", "1:0.5", "0:1.0", "2.36-9+deb12u10", "1.0+dfsg-1",
		"1.0a", "1.0.0", "1.0-1~bpo12+1", "01.0", "9.9~~", "9.9~", "9.9",
	}
	for _, a := range versions {
		for _, b := range versions {
			got, err := compare(a, b)
			if err != nil {
				t.Fatal(a, b, err)
			}
			op := [...]string{"lt", "eq", "gt"}[got+1]
			if err := exec.CommandContext(context.Background(), dpkg, "--compare-versions", a, op, b).Run(); err != nil {
				t.Errorf("%s %s %s: dpkg says no", a, op, b)
			}
		}
	}
	for _, bad := range []string{"", "1.0-", "latest", "a:1", "1 0", "1_0", ":1", strings.Repeat("1", 300), "99999999999:1"} {
		if _, err := compare(bad, "1"); err == nil {
			t.Errorf("%q was ordered", bad)
		}
	}
}

func FuzzDeb(f *testing.F) {
	f.Add(deb(f, changelog))
	f.Add([]byte("!<arch>\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if log, err := readDeb(b); err == nil {
			for _, e := range log {
				if e.version == "" {
					t.Error("an entry without a version")
				}
			}
		}
	})
}
