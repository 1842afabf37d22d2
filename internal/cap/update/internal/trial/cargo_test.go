package trial

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// crate is one as cargo packs it, of Rust's text.
func crate(t *testing.T, name, version, code string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range [][2]string{{"Cargo.toml", fmt.Sprintf("[package]\nname = %q\nversion = %q\nedition = \"2021\"\n", name, version)}, {"src/lib.rs", code}} {
		if err := w.WriteHeader(&tar.Header{Name: name + "-" + version + "/" + f[0], Mode: 0o644, Size: int64(len(f[1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestCargoTriesWithinWhatIsAskedFor: with the real cargo, and an index on loopback.
func TestCargoTriesWithinWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	need.Program(t, "cargo")
	need.Program(t, "cc")
	files := map[string][]byte{}
	index := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	sums := map[string]string{}
	for _, v := range []struct{ version, code string }{{"1.0.0", "pub fn one() -> u8 { 1 }"}, {"1.0.1", "pub fn one() -> u8 { 1 }"}, {"1.0.2", "pub fn one() -> u8 { 2 }"}, {"2.0.0", ""}} {
		b := crate(t, "part", v.version, v.code)
		sum := sha256.Sum256(b)
		sums[v.version] = hex.EncodeToString(sum[:])
		files["/dl/part/"+v.version+"/download"] = b
		index += fmt.Sprintf(`{"name":"part","vers":%q,"deps":[],"cksum":%q,"features":{},"yanked":false,"pubtime":"2026-01-01T00:00:00Z"}`+"\n", v.version, sums[v.version])
	}
	files["/config.json"], files["/pa/rt/part"] = []byte(`{"dl":"`+s.URL+`/dl/{crate}/{version}/download"}`), []byte(index)
	repo, commit := repository(t, map[string]string{
		"Cargo.toml": "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\npart = \"1\"\n",
		"Cargo.lock": "version = 3\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\n \"part\",\n]\n\n[[package]]\nname = \"part\"\nversion = \"1.0.0\"\n" +
			"source = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"" + sums["1.0.0"] + "\"\n",
		"src/lib.rs": "#[test]\nfn one() { assert_eq!(part::one(), 1) }\n",
	})
	e, err := registry.ReadCargoEnv(t.Context())
	if err != nil {
		need.Missing(t, err.Error())
	}
	e.Index = s.URL
	all, err := registry.NewCrates(e, nil).Releases(t.Context(), "part", "1.0.1")
	if err != nil || !slices.EqualFunc(all, []string{"1.0.1", "1.0.2", "2.0.0"}, func(r registry.Release, v string) bool { return r.Version == v && !r.Published.IsZero() }) {
		t.Fatal(all, err)
	}
	tr := begin(t, Config{Repo: repo, Commit: commit, Dir: ".", Ecosystem: choose.Crates, Cargo: e, Scratch: t.TempDir(), Sandbox: newBox(t), Progress: func(s string) { t.Log(s) }})
	for to, passes := range map[string]bool{"1.0.1": true, "1.0.2": false, "2.0.0": false} {
		out, err := tr.Try(t.Context(), []choose.Change{{Ecosystem: choose.Crates, Name: "part", From: "1.0.0", To: to, How: choose.Lock}})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(out.Passed) == 1; got != passes || passes && (len(out.Files) != 1 || !strings.Contains(string(out.Files["Cargo.lock"]), `version = "`+to+`"`)) || out.Tests != 1 {
			t.Errorf("%s: %+v", to, out)
		}
	}
	refused := func() {
		t.Helper()
		gitIn(t, repo, "add", "-A")
		gitIn(t, repo, "commit", "-q", "-m", "settings")
		c := Config{Repo: repo, Commit: strings.TrimSpace(gitIn(t, repo, "rev-parse", "HEAD")), Dir: ".", Ecosystem: choose.Crates, Cargo: e, Scratch: t.TempDir(), Sandbox: newBox(t)}
		if _, err := Begin(t.Context(), c); err == nil || !strings.Contains(err.Error(), ".cargo/config.toml") {
			t.Error(err)
		}
	}
	write(t, repo, map[string]string{".cargo/config.toml": "[build]\nrustc-wrapper = \"./evil\"\n"})
	refused()
	// The same through a link that leads somewhere only inside.
	gitIn(t, repo, "mv", ".cargo", "settings")
	if err := os.Symlink(inTree+"/settings", filepath.Join(repo, ".cargo")); err != nil {
		t.Fatal(err)
	}
	refused()
}
