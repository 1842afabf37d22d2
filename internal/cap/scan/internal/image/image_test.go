package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/zstd"

	"github.com/wardhq/ward/internal/finding"
)

// entries are the headers of a layer; a file's content stands where its owner would.
type entries []tar.Header

func regular(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Uname: content, Size: int64(len(content)), Mode: 0o644}
}

func dir(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755} }

func link(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
}

func hard(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
}

func (es entries) tar(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range es {
		content := h.Uname
		h.Uname = ""
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// build makes an image of layers.
func build(t testing.TB, layers ...entries) v1.Image {
	t.Helper()
	img := empty.Image
	for i, es := range layers {
		b := es.tar(t)
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.Append(img, mutate.Addendum{Layer: l, History: v1.History{CreatedBy: fmt.Sprintf("/bin/sh -c make %d", i)}}); err != nil {
			t.Fatal(err)
		}
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", "amd64"
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	return img
}

// saved writes an image as docker save does.
func saved(t testing.TB, img v1.Image) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(file, name.MustParseReference("example.com/app:1"), img); err != nil {
		t.Fatal(err)
	}
	return file
}

func opened(t testing.TB, ref string) *Image {
	t.Helper()
	img, err := Open(t.Context(), ref, Options{Temp: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	return img
}

// files are the names and contents of a tree.
func files(t testing.TB, fsys fs.FS) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			to, err := fs.ReadLink(fsys, name)
			out[name] = "-> " + to
			return err
		}
		b, err := fs.ReadFile(fsys, name)
		out[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEveryFormOfAnImage(t *testing.T) {
	made := build(t, entries{dir("etc"), regular("etc/a", "one")}, entries{regular("etc/b", "two")})
	want := map[string]string{"etc/a": "one", "etc/b": "two"}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	ref, err := name.ParseReference(host + "/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, made); err != nil {
		t.Fatal(err)
	}
	digest, err := made.Digest()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(made, layout.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"})); err != nil {
		t.Fatal(err)
	}
	other := build(t, entries{regular("arm", "")})
	if err := path.AppendImage(other, layout.WithPlatform(v1.Platform{OS: "linux", Architecture: "arm64"})); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "oci.tar")
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	write(t, archive, b.Bytes())
	docker := saved(t, made)
	plain, err := os.ReadFile(docker)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(plain)
	z.Close()
	write(t, docker+".gz", packed.Bytes())
	for _, test := range []struct {
		name, ref string
		pinned    bool
	}{
		{"registry", host + "/app:1", false},
		{"registry by digest", host + "/app@" + digest.String(), true},
		{"layout", folder, true},
		{"OCI archive", archive, true},
		{"docker archive", docker, true},
		{"docker archive, compressed", docker + ".gz", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			img := opened(t, test.ref)
			if diff := cmp.Diff(want, files(t, img.FS())); diff != "" {
				t.Error(diff)
			}
			if l, ok := img.LayerOf("etc/b"); !ok || l.Created != "RUN make 1" || !strings.HasPrefix(l.Digest, "sha256:") {
				t.Errorf("layer of etc/b: %+v", l)
			}
			if img.pinned != test.pinned {
				t.Errorf("pinned: %v", img.pinned)
			}
			if err := fstest.TestFS(img.FS(), "etc/a", "etc/b"); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := Open(t.Context(), folder, Options{Platform: "linux/s390x"}); err == nil {
		t.Error("an image for another platform was opened")
	}
}

func write(t testing.TB, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestLayersOverLayers(t *testing.T) {
	for _, test := range []struct {
		name   string
		layers []entries
		want   map[string]string
	}{
		{"a file is replaced", []entries{{regular("a", "1")}, {regular("a", "2")}}, map[string]string{"a": "2"}},
		{"a whiteout", []entries{{regular("d/a", "1"), regular("d/b", "1")}, {regular("d/.wh.a", "")}}, map[string]string{"d/b": "1"}},
		{"a whiteout of a folder", []entries{{regular("d/a", "1")}, {regular(".wh.d", "")}}, map[string]string{}},
		{"a whiteout is for lower layers", []entries{{regular("d/a", "1")}, {regular("d/b", "2"), regular(".wh.d", "")}}, map[string]string{"d/b": "2"}},
		{"an opaque folder, last", []entries{{regular("d/a", "1")}, {dir("d"), regular("d/b", "2"), regular("d/.wh..wh..opq", "")}}, map[string]string{"d/b": "2"}},
		{"an opaque folder, first", []entries{{regular("d/e/a", "1")}, {dir("d"), regular("d/.wh..wh..opq", ""), regular("d/b", "2")}}, map[string]string{"d/b": "2"}},
		{"a folder becomes a file", []entries{{regular("d/a", "1")}, {regular("d", "2")}}, map[string]string{"d": "2"}},
		{"a folder is kept", []entries{{regular("d/a", "1")}, {dir("d")}}, map[string]string{"d/a": "1"}},
		{"a hard link", []entries{{regular("a", "1")}, {hard("b", "a"), regular("a", "2")}}, map[string]string{"a": "2", "b": "1"}},
		{"through a link", []entries{{dir("usr/bin"), link("bin", "usr/bin")}, {regular("bin/sh", "1")}}, map[string]string{"bin": "-> usr/bin", "usr/bin/sh": "1"}},
		{"names that lead out", []entries{{regular("/etc/a", "1"), regular("../../b", "2"), regular("./c/../d", "3")}}, map[string]string{"etc/a": "1", "b": "2", "d": "3"}},
		{"devices", []entries{{{Typeflag: tar.TypeChar, Name: "null"}, {Typeflag: tar.TypeFifo, Name: "pipe"}}}, map[string]string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			img := opened(t, saved(t, build(t, test.layers...)))
			if diff := cmp.Diff(test.want, files(t, img.FS())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLinksStayInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	write(t, outside, []byte("secret"))
	img := opened(t, saved(t, build(t, entries{
		link("out", outside), link("up", "../../../.."+outside), link("loop", "loop"), link("a", "b"), link("b", "a"),
		regular("etc/x", "inside"), link("abs", "/etc/x"), link("dots", "etc/../../etc/x"), link("escape", filepath.Dir(outside)),
	}, entries{regular("escape/planted", "1")})))
	for _, name := range []string{"out", "up", "loop", "a", "escape/secret"} {
		if b, err := fs.ReadFile(img.FS(), name); err == nil {
			t.Errorf("%s: %q", name, b)
		}
	}
	for _, name := range []string{"abs", "dots"} {
		if b, err := fs.ReadFile(img.FS(), name); err != nil || string(b) != "inside" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(outside), "planted")); err == nil {
		t.Error("a layer wrote outside")
	}
	if b, err := fs.ReadFile(img.FS(), "escape/planted"); err != nil || string(b) != "1" {
		t.Errorf("planted: %q, %v", b, err)
	}
}

// small are limits that a test can reach.
func small() limits {
	l := standard()
	l.entries, l.unpacked, l.slack, l.name, l.layers = 50, 1<<20, 1<<16, 200, 3
	return l
}

func TestHostileImagesAreRefused(t *testing.T) {
	var many entries
	for i := range 51 {
		many = append(many, regular(fmt.Sprint("f", i), ""))
	}
	made := build(t, entries{regular("a", "1")})
	for _, test := range []struct {
		name, want string
		ref        func(t *testing.T) string
	}{
		{"too many files", "more than 50 files", func(t *testing.T) string { return saved(t, build(t, many)) }},
		{"too many folders in one name", "more than 50 files", func(t *testing.T) string {
			return saved(t, build(t, entries{regular(strings.Repeat("d/", 60)+"a", "")}))
		}},
		{"a long name", "longer than 200", func(t *testing.T) string { return saved(t, build(t, entries{regular(strings.Repeat("n", 201), "")})) }},
		{"too many bytes", "more than 1048576 bytes", func(t *testing.T) string {
			return saved(t, build(t, entries{regular("a", noise(2<<20))}))
		}},
		{"a bomb", "more than 100 times", func(t *testing.T) string {
			return saved(t, build(t, entries{regular("a", strings.Repeat("0", 1<<19))}))
		}},
		{"too many layers", "at most 3", func(t *testing.T) string { return saved(t, build(t, nil, nil, nil, nil)) }},
		{"a hard link to a folder", "no file", func(t *testing.T) string { return saved(t, build(t, entries{dir("d"), hard("b", "d")})) }},
		{"a hard link to nothing", "no file", func(t *testing.T) string { return saved(t, build(t, entries{hard("b", "/etc/passwd")})) }},
		{"a file in a file", "no folder", func(t *testing.T) string { return saved(t, build(t, entries{regular("a", ""), regular("a/b", "")})) }},
		{"a file in a loop", "symbolic links", func(t *testing.T) string { return saved(t, build(t, entries{link("a", "a"), regular("a/b", "")})) }},
		{"another layer", "its hash is", func(t *testing.T) string {
			ref := saved(t, made)
			b, err := os.ReadFile(saved(t, build(t, entries{regular("a", "2")})))
			if err != nil {
				t.Fatal(err)
			}
			return swapLayer(t, ref, b)
		}},
		{"a truncated archive", "archive", func(t *testing.T) string {
			ref := saved(t, made)
			if err := os.Truncate(ref, 700); err != nil {
				t.Fatal(err)
			}
			return ref
		}},
		{"another configuration in a layout", "another hash", func(t *testing.T) string {
			folder := t.TempDir()
			path, err := layout.Write(folder, empty.Index)
			if err != nil {
				t.Fatal(err)
			}
			if err := path.AppendImage(made); err != nil {
				t.Fatal(err)
			}
			h, err := made.ConfigName()
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(folder, "blobs", "sha256", h.Hex), []byte("{}"))
			return folder
		}},
		{"a blob outside of the layout", "no SHA-256", func(t *testing.T) string {
			folder := t.TempDir()
			write(t, filepath.Join(folder, "index.json"), []byte(`{"manifests":[{"digest":"sha256:../../../etc/passwd"}]}`))
			return folder
		}},
		{"an index in itself", "indexes", func(t *testing.T) string { return nested(t) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			img, err := open(t.Context(), test.ref(t), Options{Temp: t.TempDir()}, small())
			if err == nil {
				img.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// nested is a layout with an index in an index in an index…
func nested(t *testing.T) string {
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, "blobs", "sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	index := []byte("{}")
	for range 6 {
		sum := fmt.Sprintf("%x", sha256.Sum256(index))
		write(t, filepath.Join(folder, "blobs", "sha256", sum), index)
		index = []byte(`{"manifests":[{"digest":"sha256:` + sum + `"}]}`)
	}
	write(t, filepath.Join(folder, "index.json"), index)
	return folder
}

// noise doesn't compress.
func noise(n int) string {
	b := make([]byte, n)
	x := uint64(1)
	for i := range b {
		x = x*6364136223846793005 + 1442695040888963407
		b[i] = byte(x >> 56)
	}
	return string(b)
}

// swapLayer puts the layer of another docker archive in place of ref's.
func swapLayer(t *testing.T, ref string, other []byte) string {
	t.Helper()
	b, err := os.ReadFile(ref)
	if err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) (names []string, contents map[string][]byte) {
		contents = map[string][]byte{}
		in := tar.NewReader(bytes.NewReader(b))
		for {
			h, err := in.Next()
			if err != nil {
				return names, contents
			}
			contents[h.Name], _ = io.ReadAll(in)
			names = append(names, h.Name)
		}
	}
	names, ours := read(b)
	theirNames, theirs := read(other)
	var layer []byte
	for _, n := range theirNames {
		if strings.HasSuffix(n, ".tar.gz") {
			layer = theirs[n]
		}
	}
	var out entries
	for _, n := range names {
		content := ours[n]
		if strings.HasSuffix(n, ".tar.gz") {
			content = layer
		}
		out = append(out, regular(n, string(content)))
	}
	write(t, ref, out.tar(t))
	return ref
}

func TestZstandardLayers(t *testing.T) {
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	z.Write([]byte("content"))
	z.Close()
	r, end, err := decompress(&packed)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	if b, err := io.ReadAll(r); err != nil || string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestTheLayerThatBroughtAPackage(t *testing.T) {
	stanza := func(name, version, status string) string {
		return fmt.Sprintf("Package: %s\nStatus: install ok %s\nVersion: %s\n\n", name, status, version)
	}
	const status = "var/lib/dpkg/status"
	img := opened(t, saved(t, build(t,
		entries{regular(status, stanza("base", "1", "installed")+stanza("upgraded", "1", "installed")+stanza("again", "1", "installed")), regular("app/go", "x")},
		entries{regular(status, stanza("base", "1", "installed")+stanza("upgraded", "2", "installed")+stanza("again", "1", "config-files"))},
		entries{regular(status, stanza("base", "1", "installed")+stanza("upgraded", "2", "installed")+stanza("again", "1", "installed"))},
	)))
	at := func(path, name, version string) finding.Package {
		return finding.Package{Name: name, Version: version, Location: finding.Location{Path: path}}
	}
	ps := []finding.Package{at(status, "base", "1"), at(status, "upgraded", "2"), at(status, "again", "1"), at("app/go", "m", "1"), at("gone", "m", "1")}
	img.Layers(ps)
	var got []int
	for _, p := range ps {
		n := -1
		for i, l := range img.layers {
			if l.Digest == p.Layer {
				n = i
			}
		}
		got = append(got, n)
	}
	if diff := cmp.Diff([]int{0, 1, 2, 0, -1}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFindingsOfTheConfiguration(t *testing.T) {
	bad := &Image{Ref: "app:1", Config: Config{
		Env:     []string{"PATH=/bin", "DB_PASSWORD=hunter2", "API_TOKEN=", "TOKEN_FILE=/run/t"},
		History: []string{"ENV DB_PASSWORD=hunter2", `RUN |1 NPM_TOKEN=abc /bin/sh -c npm ci # buildkit`, "RUN curl -H token=$TOKEN", "RUN /bin/sh -c make SECRET_FILE=/run/x"},
	}}
	var got []string
	for _, f := range bad.Findings() {
		got = append(got, f.ID+": "+f.Title)
		if strings.Contains(fmt.Sprintf("%+v", f), "hunter2") {
			t.Error("a finding shows the secret")
		}
	}
	want := []string{
		"image-user-root: The image runs as root",
		"image-secret-env: The image holds a secret in its environment: DB_PASSWORD",
		"image-secret-history: The image's history holds a secret: DB_PASSWORD",
		"image-secret-history: The image's history holds a secret: NPM_TOKEN",
		"image-no-digest: The image is named by a tag, which can be moved",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	good := &Image{Config: Config{User: "65532:65532", Env: []string{"PATH=/bin"}, History: []string{"RUN make"}}, pinned: true}
	if f := good.Findings(); len(f) > 0 {
		t.Error(f)
	}
}

// TestAFileIsntTakenForAnImageOfARegistry: a repository that is scanned may hold a file or folder of any name.
func TestAFileIsntTakenForAnImageOfARegistry(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, ref := range []string{"ghcr.io/org/app:1", "app:1", "ghcr.io/org/other"} {
		if err := os.MkdirAll(ref, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(ref, "index.json"), []byte("{}"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), ref, Options{}); err == nil || !strings.Contains(err.Error(), "a file here, too") {
			t.Errorf("%s: %v", ref, err)
		}
		if _, err := Open(t.Context(), "./"+ref, Options{}); err == nil || strings.Contains(err.Error(), "a file here, too") {
			t.Errorf("./%s: %v", ref, err)
		}
	}
}
